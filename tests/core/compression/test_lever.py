"""The compressor as a lever: each new tool result and pasted text once, and the same bytes from call to call."""

import json
from dataclasses import replace

import pytest
from thrift_core.compression import Compressor, CompressorLever
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Opaque, Request, ToolCall
from thrift_core.notation.documents import read
from thrift_core.prices import PriceBook
from thrift_core.recall.tool import RECALL

from tests.core.compression import samples

PRICING = PriceBook().pricing("claude-sonnet-4-5", "anthropic")
UNCACHED = replace(PRICING, cache_read=PRICING.input)
# Long enough that what follows is beyond the length from which providers cache.
POLICY = Message("system", "Answer briefly, and name the order each time. " * 120)
ASKED = Message("user", "Which orders were lost?")
MODULE = "\n\n".join(
    f"def step_{n}(rows):\n    # one after another\n    found = [row for row in rows if row.number == {n}]\n"
    f"    if not found:\n        raise LookupError({n})\n    return found"
    for n in range(40)
)


def answered(text, number=1, tool="list_orders"):
    """Return an assistant's call of a tool and what it answers."""
    call = ToolCall(tool, "{}", f"call_{number}")
    return Message("assistant", "", (call,)), Message("tool", text, tool_call_id=call.id)


def decided(lever, *messages, pricing=PRICING):
    return {edit.index: edit for edit in lever.decide(Request((POLICY, *messages)), pricing)}


def test_a_tools_json_is_written_compactly_without_loss():
    [(index, edit)] = decided(CompressorLever(), ASKED, *answered(samples.rows())).items()
    assert index == 3
    assert read(edit.text) == json.loads(samples.rows())
    count = Compressor().counter.count
    assert edit.saved_tokens == count(samples.rows()) - count(edit.text) > 300


@pytest.mark.parametrize("lossy", [False, True])
def test_what_was_sent_keeps_its_bytes_as_the_history_grows_and_after_a_restart(lossy):
    history = [ASKED]
    shown = {}
    lever = CompressorLever(lossy=lossy)
    for number, text in enumerate((samples.rows(), samples.log(), samples.rows(50), MODULE, samples.PROSE)):
        history += answered(text, number)
        if number == 2:
            history += [Message("assistant", "Two."), Message("user", "And which of them by ship?")]
        edits = {index: edit.text for index, edit in decided(lever, *history).items()}
        assert edits.items() >= shown.items()
        assert edits == {i: edit.text for i, edit in decided(CompressorLever(lossy=lossy), *history).items()}
        shown = edits
    assert len(shown) >= 3


def test_the_first_call_saves_at_the_price_of_writing_and_later_ones_at_that_of_reading_from_the_cache():
    lever = CompressorLever()
    history = [ASKED, *answered(samples.rows())]
    first = decided(lever, *history)[3]
    later = decided(lever, *history, *answered("none", 2))[3]
    assert first.saved_usd == first.saved_tokens * PRICING.cache_write_5m / 1_000_000
    assert later.saved_usd == later.saved_tokens * PRICING.cache_read / 1_000_000
    assert decided(lever, *history, pricing=None)[3].saved_usd == 0


def test_what_the_model_recalled_is_sent_whole():
    by_name = Message("tool", samples.rows(), tool_call_id="lost", name=RECALL)
    history = [ASKED, *answered(samples.rows(), 1, RECALL), by_name, *answered(samples.rows(), 2)]
    assert list(decided(CompressorLever(), *history)) == [6]


def test_json_is_left_to_a_summarizer_that_is_on_and_logs_are_not():
    lever = CompressorLever(leave_json=True)
    history = [ASKED, *answered(samples.rows()), *answered(samples.log(), 2)]
    assert list(decided(lever, *history)) == [5]
    pasted = Message("user", samples.rows())
    assert list(decided(lever, pasted)) == [1]


def test_what_a_user_pasted_is_shortened_and_what_they_typed_is_not():
    typed = Message("user", " ".join(f"{samples.PROSE} That was letter {n}, and {n + 1} follows." for n in range(8)))
    for lossy in (False, True):
        edits = decided(CompressorLever(lossy=lossy), Message("user", samples.rows()), typed)
        assert list(edits) == [1]
    assert decided(CompressorLever(), Message("user", samples.rows(4))) == {}


def test_nothing_but_results_of_tools_and_pasted_text_is_touched():
    rows = samples.rows()
    others = (Message("system", rows), Message("assistant", rows), Message("tool", rows, opaque=(Opaque("image"),)))
    assert decided(CompressorLever(), *others) == {}


def test_a_prompt_is_not_brought_below_the_length_from_which_providers_cache():
    lever = CompressorLever()
    bare = Request((ASKED, *answered(samples.rows())))
    assert Compressor().counter.count(samples.rows()) > 1_100
    assert lever.decide(bare, PRICING) == []
    assert len(lever.decide(bare, UNCACHED)) == 1
    assert len(CompressorLever(minimum_cached=0).decide(bare, PRICING)) == 1
    tool = {"type": "function", "function": {"name": "list_orders", "description": POLICY.text}}
    assert len(lever.decide(replace(bare, tools=(tool,)), PRICING)) == 1


def test_lossy_what_is_cut_can_be_recalled_whole():
    lever = CompressorLever(lossy=True)
    assert [tool["function"]["name"] for tool in lever.tools] == [RECALL]
    edit = decided(lever, ASKED, *answered(samples.log()))[3]
    mark, _, rest = edit.text.partition("\n")
    handle = mark.removeprefix("§cut, recall ")
    assert mark != handle
    assert "certificate expired" in rest
    assert lever.store.get(handle) == samples.log()
    assert samples.log(400).splitlines()[0] in lever.recall({"id": handle})


def test_lossless_nothing_is_stored_and_no_tool_is_offered():
    lever = CompressorLever()
    edit = decided(lever, ASKED, *answered(samples.log()))[3]
    assert not edit.text.startswith("§cut")
    assert lever.tools == []


def test_short_results_are_left_alone():
    assert decided(CompressorLever(fewest_tokens=5_000), ASKED, *answered(samples.rows())) == {}


@pytest.mark.parametrize("name", ["fewest_tokens", "fewest_pasted_tokens", "minimum_cached"])
def test_a_negative_number_of_tokens_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name}=-1: give 0 or more"):
        CompressorLever(**{name: -1})
