"""Tiers that answer what a test says, for driving a cascade without a framework."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from typing import Any

from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.meter import Answer, Meter
from thrift_core.accounting.usage import Usage
from thrift_core.messages import Message, Request
from thrift_core.routing import CascadeRouter, Draft, RouterSettings, Tier
from thrift_core.routing.cascade_run import CascadeRun
from thrift_core.routing.driving import adrive, adrive_stream, drive, drive_stream
from thrift_core.routing.waiting import Waiting

TIERS = [Tier("cheap", "gpt-4.1-nano", "openai"), Tier("strong", "gpt-4.1", "openai")]
EASY = Request((Message("user", "Translate 'bread' into French"),))
HARD = Request((Message("user", "Prove that there is no largest prime"),))
WORD_USAGE = Usage(input_tokens=100, output_tokens=20)


@dataclass
class Says:
    """An answer, after some time; an error at its end breaks it off after so many of its words."""

    text: str = ""
    seconds: float = 0.0
    error: BaseException | None = None
    breaks_after: int = 0
    draft: dict[str, Any] = field(default_factory=dict)


class Scripted:
    """A caller of text; each tier says the next thing of its script, the last one again and again."""

    may_pass_on = True

    def __init__(self, ledger: Ledger, *scripts: list[Says]) -> None:
        self.meter = Meter(ledger)
        self.scripts = [list(script) for script in scripts]
        self.asked: list[int] = []

    def _next(self, index: int) -> Says:
        self.asked.append(index)
        script = self.scripts[index]
        return script.pop(0) if len(script) > 1 else script[0]

    def _recorded(self, index: int, says: Says) -> str:
        key = object()
        self.meter.start(key, lambda: EASY, model=TIERS[index].model, provider="openai")
        if says.error is not None:
            self.meter.fail(key, says.error)
            raise says.error
        self.meter.finish(key, Answer(usage=WORD_USAGE, text=says.text))
        return says.text

    def ask(self, index: int) -> str:
        says = self._next(index)
        time.sleep(says.seconds)
        return self._recorded(index, says)

    async def aask(self, index: int) -> str:
        says = self._next(index)
        await asyncio.sleep(says.seconds)
        return self._recorded(index, says)

    def draft(self, index: int, answer: str) -> Draft:
        more = self.scripts[index][0].draft
        return Draft(answer, **more)

    def stream(self, index: int) -> Generator[str]:
        says = self._next(index)
        for place, word in enumerate(says.text.split(" ")):
            if says.error is not None and place == says.breaks_after:
                break
            time.sleep(says.seconds)
            yield f"{word} "
        self._recorded(index, says)

    async def astream(self, index: int) -> AsyncGenerator[str]:
        says = self._next(index)
        for place, word in enumerate(says.text.split(" ")):
            if says.error is not None and place == says.breaks_after:
                break
            await asyncio.sleep(says.seconds)
            yield f"{word} "
        self._recorded(index, says)

    def says(self, piece: str) -> bool:
        return bool(piece)

    def acts(self, piece: str) -> bool:
        return piece.startswith("!")

    def joined(self, pieces: list[str]) -> str:
        return "".join(pieces)

    def pieces(self, run: CascadeRun[str]) -> list[str]:
        return [run.answer]

    def closing(self, run: CascadeRun[str], held: list[str]) -> list[str]:
        return held


@dataclass
class Driven:
    """What came out: the text, in pieces where it was streamed."""

    run: CascadeRun[str]
    caller: Scripted
    pieces: list[str]

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()


class Driver:
    """Drives one request in one of four ways; the error that came out of it is kept with what was passed on."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.ledger = Ledger()

    def __call__(
        self, request: Request, *scripts: list[Says], settings: dict[str, Any] | None = None, **waiting: Any
    ) -> Driven:
        router = CascadeRouter(TIERS, ledger=self.ledger, settings=RouterSettings(**(settings or {})))
        caller = Scripted(self.ledger, *scripts)
        self.passed: list[str] = []
        run: CascadeRun[str] = CascadeRun(router, request)
        waits = Waiting(**waiting)
        if self.way == "sync":
            self.passed.append(drive(run, caller, waits))
        elif self.way == "sync stream":
            for piece in drive_stream(run, caller, waits):
                self.passed.append(piece)
        else:
            asyncio.run(self._unsync(run, caller, waits))
        return Driven(run, caller, self.passed)

    async def _unsync(self, run: CascadeRun[str], caller: Scripted, waits: Waiting) -> None:
        if self.way == "async":
            self.passed.append(await adrive(run, caller, waits))
        else:
            async for piece in adrive_stream(run, caller, waits):
                self.passed.append(piece)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    def outcomes(self) -> list[tuple[str, str]]:
        return [(call.model, call.outcome) for call in self.ledger.calls()]
