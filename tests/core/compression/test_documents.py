"""Pages, tables and documents of several parts."""

import csv
import io
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.compression.kinds import kind_of
from thrift_core.compression.mixed import _parts
from thrift_core.notation.documents import JSON_LEGEND, read

from tests.core.compression import samples

COMPRESSOR = Compressor()
PAGE = """<!DOCTYPE html><html><head><title>Lamps</title><style>p { color: red }</style></head><body>
<nav><a href="/home">Home</a> <a href="#top">Top</a></nav><script>track("visit", {id: 12});</script>
<h1>All lamps</h1><p class="lead" id="p-1">We have <b>312</b> lamps &amp; 4 chairs.</p>
<ul><li>Desk lamp, <a href="https://shop.example/l1">20 euro</a></li><li>Floor lamp</li></ul>
<table><tr><th>Name</th><th>Price</th></tr><tr><td>Desk</td><td>20</td></tr></table></body></html>"""


def table(rows=60, seed=3):
    chance = random.Random(seed)
    lines = ["date,region,product,units,price"]
    for n in range(rows):
        lines.append(
            f"2026-01-{1 + n % 28:02d},{chance.choice(['north', 'south'])},lamp {n},{chance.randrange(90)},20.50"
        )
    return "\n".join([*lines, "total,,,2710,20.50"])


def test_a_page_becomes_what_its_reader_sees():
    done = COMPRESSOR.compress(PAGE)
    assert done.kind == "html"
    for said in (
        "Lamps",
        "# All lamps",
        "We have 312 lamps & 4 chairs.",
        "[20 euro](https://shop.example/l1)",
        "Desk | 20",
    ):
        assert said in done.text
    for hidden in ("track(", "color: red", "<p", "#top"):
        assert hidden not in done.text


def test_a_page_is_left_as_it_is_where_nothing_may_be_lost():
    assert COMPRESSOR.compress(PAGE, lossless=True).text == PAGE


def test_a_table_is_written_without_loss():
    text = table()
    done = COMPRESSOR.compress(text, lossless=True)
    assert (done.kind, done.round_trip) == ("csv", "value")
    cells = read(f"§({JSON_LEGEND}) " + done.text.partition(") ")[2])
    assert cells == list(csv.DictReader(io.StringIO(text)))


def test_a_table_over_the_budget_keeps_head_total_and_the_rows_asked_for():
    text = table(300)
    done = COMPRESSOR.compress(text, "How many units of lamp 217 were sold?", max_tokens=400)
    row = next(line for line in text.split("\n") if "lamp 217," in line)
    assert done.tokens <= 400
    for line in (text.split("\n")[0], row, "total,,,2710,20.50"):
        assert line in done.text


MIXED = (
    f"# Report\n\nThe service fell over twice on 3 May.\n\n```json\n{samples.rows(12)}\n```\n\n"
    f"And the log:\n\n```\n{samples.log(120)}\n```\n"
)


def test_each_part_of_a_document_is_shortened_as_what_it_is():
    done = COMPRESSOR.compress(MIXED)
    assert done.kind == "mixed"
    assert done.saved_pct > 60
    for said in ("The service fell over twice on 3 May.", "```json", "[#order_id", "certificate expired"):
        assert said in done.text


def test_a_document_of_parts_keeps_its_budget():
    for max_tokens in (40, 300, 1500):
        assert COMPRESSOR.compress(MIXED, "What fell over?", max_tokens=max_tokens).tokens <= max_tokens


@settings(deadline=None, max_examples=150)
@given(
    text=st.lists(st.sampled_from(["```", "~~~", "````", "```py", " text", "", "   ```"]), max_size=12).map("\n".join)
)
def test_the_parts_of_a_document_are_the_document(text):
    assert "".join(part.text for part in _parts(text)) == text


def test_kinds_are_told_apart():
    texts = {
        "json": samples.rows(3),
        "log": samples.log(30),
        "prose": samples.PROSE,
        "html": PAGE,
        "csv": table(),
        "mixed": MIXED,
        "ndjson": '{"a": 1}\n{"a": 2}\n',
        "xml": "<?xml version='1.0'?><a><b>1</b><b>2</b></a>",
        "markdown": "# Title\n\n- one\n- two\n\nSome **bold** text and a [link](https://example.com).",
        "code": "import os\n\ndef main(path):\n    for name in os.listdir(path):\n        print(name)\n",
        "diff": "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n context\n-old\n+new\n",
        "trace": 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    f()\n'
        '  File "a.py", line 2, in f\n'
        "    1/0\nZeroDivisionError: division by zero\n",
    }
    assert {name: kind_of(text).kind for name, text in texts.items()} == {name: name for name in texts}
