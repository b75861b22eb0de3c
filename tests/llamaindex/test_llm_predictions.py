"""What the planner predicts of a call stands beside its bill, streamed or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llamaindex_thrift import track_costs
from llamaindex_thrift.llm import ThriftLLM
from thrift_core.accounting.report import summarise
from thrift_core.caching.planner import PromptCachePlanner
from thrift_core.testing import LocalProvider, Reply
from thrift_core.thrift import Thrift

LONG = [ChatMessage(role="system", content="You look after orders. " * 600), ChatMessage(role="user", content="Hi")]


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_each_call_is_noted_with_what_was_predicted_of_it(openai_at: Callable[..., Any], way: str) -> None:
    with LocalProvider(lambda _: Reply(text="Hello")) as provider, track_costs() as costs:
        # What was just written can be read when its answer has begun, a second later.
        planner = PromptCachePlanner(clock=itertools.count(1_800_000_000, 5).__next__)
        llm = ThriftLLM(openai_at(provider), Thrift(planner=planner))
        for _ in range(3):
            answer = getattr(llm, way)(LONG)
            answer = await answer if way.startswith("a") else answer
            if way == "stream_chat":
                list(answer)
            elif way == "astream_chat":
                [piece async for piece in answer]
        calls = list(costs.ledger.calls())
        assert [call.predicted_cache_read_tokens is not None for call in calls] == [True] * 3
        seen = summarise(costs.ledger).prediction
        assert seen.predicted_tokens > 0
        assert seen.missed_tokens <= 0.05 * seen.billed_tokens
        with track_costs() as others:
            openai_at(provider).chat(LONG)
        assert [call.predicted_cache_read_tokens for call in others.ledger.calls()] == [None]
