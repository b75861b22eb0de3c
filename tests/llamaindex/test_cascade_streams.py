"""Nothing that a cascade of LLMs has streamed is ever taken back, and no answer is of two voices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ChatResponseAsyncGen, ChatResponseGen
from llama_index.core.llms import MockLLM
from llamaindex_thrift import CascadeLLM
from pydantic import PrivateAttr
from thrift_core.routing import RouterSettings

from tests.llamaindex.conftest import user

QUESTIONS = ("Translate 'bread' into French", "Prove that there is no largest prime")
SAYINGS = ("The bread is le pain.", "I'm not sure, perhaps it is le pain.", "I cannot help with that.", "", "Pain.")


class Broken(Exception):
    status_code = 503


class Speaker(MockLLM):
    """An LLM that says something of its own at each call, and may break off anywhere."""

    _speak: Callable[[str], tuple[str, int | None]] = PrivateAttr()
    _name: str = PrivateAttr()

    @classmethod
    def called(cls, name: str, speak: Callable[[str], tuple[str, int | None]]) -> Speaker:
        made = cls()
        made._name, made._speak = name, speak
        return made

    def _pieces(self) -> list[ChatResponse | None]:
        """Return what comes, piece by piece; None where it breaks off."""
        text, breaks_at = self._speak(self._name)
        starts = list(range(0, len(text), 3)) or [0]
        made: list[ChatResponse | None] = [
            ChatResponse(
                message=ChatMessage(role="assistant", content=text[: start + 3]), delta=text[start : start + 3]
            )
            for start in starts
        ]
        return made if breaks_at is None else [*made[:breaks_at], None]

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        pieces = self._pieces()
        if pieces[-1] is None:
            raise Broken
        return pieces[-1]

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.chat(messages, **kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        for piece in self._pieces():
            if piece is None:
                raise Broken
            yield piece

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def pieces() -> ChatResponseAsyncGen:
            for piece in self._pieces():
                if piece is None:
                    raise Broken
                yield piece

        return pieces()


def retracted_in(seeds: range) -> tuple[int, int]:
    """Return the retracted characters of many streams, and how many streams ended with an error."""
    said: list[str] = []
    chance = random.Random(seeds.start)

    def speak(name: str) -> tuple[str, int | None]:
        text = chance.choice(SAYINGS)
        said.append(f"{name}{len(said)}: {text}" if text else "")
        return said[-1], chance.randint(0, 6) if chance.random() < 0.2 else None

    tiers = {name: Speaker.called(name, speak) for name in ("cheap", "strong")}
    llm = CascadeLLM(tiers, router_settings=RouterSettings(cooldown_seconds=0))
    retracted = failures = 0
    for seed in seeds:
        said.clear()
        shown: list[str] = []
        asked = user(chance.choice(QUESTIONS))

        async def read(asked: list[ChatMessage] = asked, shown: list[str] = shown) -> None:
            async for piece in await llm.astream_chat(asked):
                shown.append(piece.delta or "")

        try:
            if seed % 2:
                for piece in llm.stream_chat(asked):
                    shown.append(piece.delta or "")
            else:
                asyncio.run(read())
        except Broken:
            failures += 1
            is_one_voice = any(text.startswith("".join(shown)) for text in said)
        else:
            is_one_voice = "".join(shown) in said
        retracted += 0 if is_one_voice else len("".join(shown))
    return retracted, failures


def test_no_character_of_a_stream_is_ever_taken_back():
    retracted, failures = retracted_in(range(300))
    assert retracted == 0
    assert 0 < failures < 100


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_character_of_ten_thousand_streams_is_ever_taken_back():
    retracted, failures = retracted_in(range(10_000))
    assert retracted == 0
    assert 0 < failures < 3000
