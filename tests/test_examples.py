"""Each example runs as it stands, with no key, and shows what it says."""

import asyncio
import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ELSEWHERE = {"function_agent", "memory_block"}
HERE = {
    "agent_middleware",
    "audit_first",
    "cascade_golden_set",
    "existing_chain",
    "faq_cache",
    "pre_model_hook",
    "rag_langchain",
    "rag_llamaindex",
    "shared_redis",
}


@pytest.fixture
def run(capsys, monkeypatch):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / f"{name}.py"), *arguments])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def dollars(shown, label):
    """Return the dollars of the line that begins with a label."""
    line = next(line for line in shown.splitlines() if line.strip().startswith(label))
    return float(re.search(r"\$(\d+\.\d+)", line)[1])


def test_every_example_is_run_by_a_test():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == HERE | ELSEWHERE


# `langchain-openai` leaves its client to be collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
class TestExamples:
    def test_a_limit_stops_the_script_and_nobody_else(self, run):
        shown = run("existing_chain")
        assert dollars(shown, "no limit") > 2 * dollars(shown, "with limit")
        assert dollars(shown, "its ledger") == dollars(shown, "with limit")
        assert dollars(shown, "a script") <= 0.005
        assert "ann: 3 calls" in shown
        assert "bob: 2 calls" in shown

    def test_a_certified_cache_saves_more_than_a_careful_one_and_shadow_changes_nothing(self, run):
        shown = run("faq_cache")
        assert dollars(shown, "as it is") == dollars(shown, "shadow")
        assert dollars(shown, "shadow") > 1.9 * dollars(shown, "on")
        assert dollars(shown, "on") > 1.9 * dollars(shown, "certified")
        assert "at most 5 % of hits are wrong" in shown
        assert shown.count(" 0 wrong") == 2

    def test_a_cascade_is_as_right_as_the_strong_model_for_less(self, run):
        shown = run("cascade_golden_set")
        assert dollars(shown, "small") < dollars(shown, "cascade") < 0.5 * dollars(shown, "large")
        assert "at most 3.0% lost" in shown
        assert re.search(r"large .* 100\.0% right\ncascade .* (9[789]|100)\.\d% right", shown)

    def test_passages_and_tables_cost_less_in_langchain(self, run):
        shown = run("rag_langchain")
        assert dollars(shown, "with thrift") < 0.9 * dollars(shown, "as it is")
        assert "answers the same: True" in shown

    def test_nodes_cost_less_in_llamaindex_and_a_changed_document_is_read_anew(self, run):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # what LlamaIndex's synchronous engines would make and leave open
        shown = run("rag_llamaindex")
        asyncio.set_event_loop(None)
        loop.close()
        assert dollars(shown, "with thrift") < 0.5 * dollars(shown, "as it is")
        assert "answers the same: True" in shown
        assert "after the change: The code is 4199." in shown

    def test_an_audit_says_what_a_date_costs_and_whom_a_limit_would_have_stopped(self, run):
        shown = run("audit_first")
        assert dollars(shown, "system.md:1 makes") == pytest.approx(91 * 0.225e-6 * 1000, abs=1e-4)
        assert "would have stopped 38 of 120 calls" in shown

    def test_an_agent_answers_the_same_for_less(self, run):
        shown = run("agent_middleware")
        assert dollars(shown, "with thrift") < dollars(shown, "as it is")
        assert dollars(shown, "its ledger") == dollars(shown, "with thrift")
        assert "answers the same: True" in shown

    def test_an_older_agent_answers_the_same_for_less_by_a_hook(self, run):
        shown = run("pre_model_hook")
        assert dollars(shown, "lean, append_only") < dollars(shown, "as it is")
        assert shown.count("answers the same: True") == 2

    def test_what_one_process_paid_for_the_other_has(self, run, redis_url):
        shown = run("shared_redis", redis_url)
        first, second = shown.split("second process")
        assert "0 of 6 answered from the cache" in first
        assert "6 of 6 answered from the cache, the others for $0.000000" in second
        assert "recalled byte for byte: True" in second
        assert "$0.004 per day would be passed" in second
