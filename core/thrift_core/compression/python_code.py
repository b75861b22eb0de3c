"""What may be folded in a Python module: licences, comments, docstrings but for their first and last line, bodies.

Signatures, decorators, class attributes and whatever stands at module level stay.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

from thrift_core.compression.folding import Fold, asked_shares

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# A parsed module takes some hundred times its text in memory.
_MOST_CHARACTERS = 3_000_000
_COMMENT = re.compile(r"\s*#(?!!)")
_LICENCE_RANK, _DOCSTRING_RANK, _COMMENT_RANK, _BODY_RANK = 0.0, 1.0, 2.0, 3.0


def python_folds(text: str, question: str | None) -> list[Fold] | None:
    """Return what may be folded in a Python module, or None where it is none.

    Args:
        text: the module.
        question: bodies that name its words are folded last.
    """
    if len(text) > _MOST_CHARACTERS or "\0" in text or "\r" in text or "\f" in text:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    definitions: list[_Definition] = []
    strings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _Definition):
            definitions.append(node)
        elif isinstance(node, ast.Constant | ast.JoinedStr):
            strings.update(_inside_string(node))
    lines = text.split("\n")
    docstrings = list(_docstrings(tree, definitions))
    return [
        *(Fold(first, last, "docstring", _DOCSTRING_RANK, _indent(lines[first - 1])) for first, last in docstrings),
        *_comments(lines, strings),
        *_bodies(lines, definitions, question),
    ]


def _docstrings(tree: ast.Module, definitions: Sequence[_Definition]) -> Iterator[tuple[int, int]]:
    """Yield the lines inside docstrings, without the first and the last."""
    for node in (tree, *definitions):
        if (string := _docstring(node)) is not None:
            first, last = string.lineno + 1, (string.end_lineno or string.lineno) - 1
            if first <= last:
                yield first, last


def _docstring(node: ast.Module | _Definition) -> ast.expr | None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value
    return None


def _inside_string(node: ast.Constant | ast.JoinedStr) -> range:
    """Return the lines of a string over several lines: what looks like a comment there is none."""
    end = node.end_lineno or node.lineno
    return range(node.lineno, end + 1) if end > node.lineno else range(0)


def _comments(lines: Sequence[str], strings: set[int]) -> Iterator[Fold]:
    start: int | None = None
    for number, line in enumerate([*lines, ""], 1):
        is_comment = number not in strings and _COMMENT.match(line) is not None
        if is_comment and start is None:
            start = number
        elif not is_comment and start is not None:
            is_licence = not any(item.strip() and not item.startswith("#!") for item in lines[: start - 1])
            rank = _LICENCE_RANK if is_licence else _COMMENT_RANK
            yield Fold(
                start, number - 1, "licence" if is_licence else "comment", rank, _indent(lines[start - 1]) + "# "
            )
            start = None


def _bodies(lines: Sequence[str], definitions: Sequence[_Definition], question: str | None) -> Iterator[Fold]:
    """Yield runs of lines of one function's body without a definition or docstring in them, the longest first."""
    owner: dict[int, _Definition] = {}
    fixed: set[int] = set()
    first_of: dict[_Definition, int] = {}
    for node in definitions:  # in the order of `ast.walk`, so that inner ones overrule outer ones
        first, signature_end, end = _extent(node)
        fixed.update(range(first, signature_end + 1))
        if (string := _docstring(node)) is not None:
            fixed.update(range(string.lineno, (string.end_lineno or string.lineno) + 1))
        first_of[node] = first
        for number in range(signature_end + 1, end + 1):
            owner[number] = node
    runs = [
        (first, _last_written(lines, first, last), node)
        for first, last, node in _runs(owner, fixed)
        if not isinstance(node, ast.ClassDef)
    ]
    shares = asked_shares(question, ["\n".join(lines[first_of[node] - 1 : last]) for _, last, node in runs])
    for (first, last, _), share in sorted(zip(runs, shares, strict=True), key=lambda item: item[0][0] - item[0][1]):
        yield Fold(first, last, "body", _BODY_RANK + share, _indent(lines[first - 1]) + "...  # ")


def _last_written(lines: Sequence[str], first: int, last: int) -> int:
    """Return the last line that is not blank."""
    return next((number for number in range(last, first, -1) if lines[number - 1].strip()), first)


def _extent(node: _Definition) -> tuple[int, int, int]:
    """Return the first line of a definition with its decorators, the last of its signature, and its last."""
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    body = node.body[0]
    starts = [body.lineno]
    if isinstance(body, _Definition):
        starts += [item.lineno for item in body.decorator_list]
    return first, max(node.lineno, min(starts) - 1), node.end_lineno or node.lineno


def _runs(owner: dict[int, _Definition], fixed: set[int]) -> Iterator[tuple[int, int, _Definition]]:
    start = before = -1
    node: _Definition | None = None
    for number in sorted(owner):
        is_next = number == before + 1 and node is owner[number]
        if number in fixed or not is_next:
            if node is not None:
                yield start, before, node
            node = None
        if number not in fixed and node is None:
            start, node = number, owner[number]
        before = number
    if node is not None:
        yield start, before, node


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
