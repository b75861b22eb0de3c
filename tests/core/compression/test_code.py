"""Code, diffs and stack traces: what is folded keeps its line numbers, and unfolds to the same bytes."""

import ast
import inspect
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.compression.folding import Fold, FoldError, fold_to, folded, unfolded

COMPRESSOR = Compressor()
MODULES = [textwrap, inspect, ast]


def signatures(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_module_keeps_every_signature_and_unfolds_to_the_same_bytes(module):
    text = inspect.getsource(module)
    done = COMPRESSOR.compress(text)
    lines = text.split("\n")
    assert done.kind == "code"
    assert done.saved_pct > 35
    assert unfolded(done.text, text) == text
    shown = set(done.text.split("\n"))
    assert all(lines[number - 1] in shown for number in signatures(text))


def test_the_body_that_the_question_names_stays_longest():
    text = inspect.getsource(textwrap)
    done = COMPRESSOR.compress(text, "How does dedent find the common margin?", max_tokens=1700)
    assert inspect.getsource(textwrap.dedent).rstrip().endswith(end := "margin, '', text)\n    return text")
    assert end in done.text
    others = COMPRESSOR.compress(text, "How does TextWrapper handle a long word?", max_tokens=1700)
    assert end not in others.text


def test_code_is_left_as_it_is_where_nothing_may_be_lost():
    text = inspect.getsource(textwrap)
    assert COMPRESSOR.compress(text, lossless=True).text == text


def test_a_budget_holds_for_code():
    text = inspect.getsource(inspect)
    for max_tokens in (50, 2_000, 9_000):
        assert COMPRESSOR.compress(text, max_tokens=max_tokens).tokens <= max_tokens


JAVASCRIPT = """/*
 * Copyright 2020 Somebody
 * All rights reserved, and so on
 * for some lines more.
 */
import { a } from "b";

// A cart holds items.
// It knows its total, which is
// worked out anew each time.
class Cart {
  constructor(items) {
    this.items = items; // { not a brace
    this.total = 0;
    this.label = "}";
    this.when = new Date();
  }

  add(item) {
    if (item.price < 0) {
      throw new Error(`bad price {${item.price}`);
    }
    this.items.push(item);
    this.total += item.price;
  }
}

export function checkout(cart) {
  const fee = cart.total > 100 ? 0 : 5;
  const sum = cart.total + fee;
  log("checkout", sum);
  return pay(cart, sum);
}
"""


def test_code_in_braces_keeps_its_signatures():
    done = COMPRESSOR.compress(JAVASCRIPT)
    assert done.kind == "code"
    assert unfolded(done.text, JAVASCRIPT) == JAVASCRIPT
    for line in ("class Cart {", "  constructor(items) {", "  add(item) {", "export function checkout(cart) {"):
        assert line in done.text.split("\n")


def test_a_brace_in_a_string_folds_nothing_wrong():
    broken = JAVASCRIPT.replace('this.label = "}";', 'this.label = "')
    done = COMPRESSOR.compress(broken, kind="code")
    assert done.text == broken or unfolded(done.text, broken) == broken


DIFF = "\n".join(
    ["diff --git a/shop.py b/shop.py", "--- a/shop.py", "+++ b/shop.py", "@@ -1,30 +1,30 @@ def total(cart):"]
    + [f"     line number {n} of the context, which says little" for n in range(14)]
    + ["-    return sum(cart)", "+    return sum(cart) + fee(cart)"]
    + [f"     line number {n} after the change, which says little" for n in range(14)]
)


def test_a_diff_keeps_every_changed_line_and_what_is_next_to_it():
    done = COMPRESSOR.compress(DIFF)
    assert done.kind == "diff"
    assert done.saved_pct > 50
    assert [line for line in DIFF.split("\n") if line[0] in "+-@d" and line not in done.text] == []
    assert "line number 13 of the context" in done.text
    assert unfolded(done.text, DIFF) == DIFF


TRACE = (
    "Traceback (most recent call last):\n"
    '  File "/app/main.py", line 8, in <module>\n    run()\n'
    + "".join(
        f'  File "/usr/lib/python3.11/site-packages/flow/core.py", line {n}, in step\n    return self.next(step, {n})\n'
        for n in range(20)
    )
    + '  File "/app/shop.py", line 31, in price\n    return table[key]\n'
    "KeyError: 'lamp'\n"
)


def test_a_trace_keeps_the_cause_and_the_applications_own_frames():
    done = COMPRESSOR.compress(TRACE)
    assert done.kind == "trace"
    assert done.saved_pct > 60
    for said in ("/app/main.py", "/app/shop.py", "return table[key]", "KeyError: 'lamp'"):
        assert said in done.text
    assert unfolded(done.text, TRACE) == TRACE


def test_a_text_that_looks_like_a_fold_is_not_folded():
    text = "§3-5\n" + "x = 1  # a comment\n" * 20
    assert fold_to(text, [Fold(3, 12, "line", 0.0)], 1, len) is None


@settings(deadline=None, max_examples=200)
@given(
    lines=st.lists(st.text(alphabet="ab §-1#\t", max_size=30), min_size=1, max_size=30),
    cuts=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 8)), max_size=6),
)
def test_whatever_is_folded_unfolds(lines, cuts):
    folds = [Fold(first, min(len(lines), first + more), "line", 0.0) for first, more in cuts if first <= len(lines)]
    text = "\n".join(lines)
    draft = fold_to(text, folds, 0, len)
    assert draft is None or unfolded(draft.text, text) == text


def test_a_fold_that_does_not_go_with_the_text_is_refused():
    lines = ["one", "two", "three", "four"]
    shown = folded(lines, [Fold(2, 3, "line", 0.0)])
    assert unfolded(shown, "\n".join(lines)) == "\n".join(lines)
    for whole in ("one", "one\ntwo\nthree\nFOUR", "ONE\ntwo\nthree\nfour"):
        with pytest.raises(FoldError):
            unfolded(shown, whole)
