"""What recording costs a call, and what importing thrift costs a start, beside the bare framework in the same run.

A fake model answers at once, so that a bare call is nothing but the framework. Each round makes one bare call and one
recorded call, in turn; what a recorded call takes longer than the bare one beside it is what recording costs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger

from benchmarks.records import Options, Record, watched

FIGURES = {
    "--part": "langchain, llamaindex or imports; without it, all",
    "what": "the ledger (in memory, or SQLite on disk) and whether budgets hold; or what is imported",
    "median_ms": "what recording adds to a call; what an import takes in a fresh interpreter; for `bare`, all of it",
    "p95_ms": "the same, in the worst of twenty calls",
    "ratio_to_bare": "the median recorded call (or import) as a multiple of the bare framework's",
    "n": "calls (imports) of each kind",
}

_CALLS = 2000
_IMPORTS = 5
_WARM_UP = 50
_MODEL = "gpt-4.1-mini"
_SYSTEM = "You are the support desk of a lamp shop; answer from the policy alone. " * 60
_USAGE = {"prompt_tokens": 1200, "completion_tokens": 40, "total_tokens": 1240}
# What an app that uses a model has imported in any case.
_BARE_IMPORTS = {
    "langchain": "import langchain_core.language_models.chat_models, langchain_core.callbacks",
    "llamaindex": "import llama_index.core",
}
_IMPORTED = {
    "import thrift_core": "langchain",
    "from thrift_core import *": "langchain",
    "import langchain_thrift": "langchain",
    "import llamaindex_thrift": "llamaindex",
}

Call = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where calls are recorded and whether limits hold."""

    is_on_disk: bool
    has_budgets: bool

    @property
    def name(self) -> str:
        return ("disk" if self.is_on_disk else "memory") + (" + budgets" if self.has_budgets else "")

    def ledger(self, folder: Path) -> Ledger:
        return Ledger(folder / "ledger.sqlite") if self.is_on_disk else Ledger()

    def budgets(self, folder: Path) -> Budgets | None:
        if not self.has_budgets:
            return None
        limits = (Budget(limit_usd=1000, per="user", window="day"), Budget(limit_calls=10**9, window="minute"))
        return Budgets(*limits, store=str(folder / "budgets.sqlite") if self.is_on_disk else None)


_SETTINGS = [Setting(is_on_disk, has_budgets) for is_on_disk in (False, True) for has_budgets in (False, True)]


def run(options: Options) -> Iterator[Record]:
    """Measure the parts that are asked for."""
    frameworks = {"langchain": _langchain, "llamaindex": _llamaindex}
    parts = [*frameworks, "imports"] if options.part is None else [options.part]
    for part in parts:
        if part == "imports":
            yield from _imports(min(options.limit or _IMPORTS, _IMPORTS))
        elif part in frameworks:
            yield from _calls(part, frameworks[part], options.limit or _CALLS)
        else:
            raise SystemExit(f"--part {part}: known are {', '.join([*frameworks, 'imports'])}")


def _calls(part: str, open_pair: Callable[..., Any], count: int) -> Iterator[Record]:
    bare_times: list[float] = []
    measured: list[tuple[Setting, list[float], list[float]]] = []
    for setting in _SETTINGS:
        # No progress bar: the thread that draws it would take its turns in the middle of the calls.
        print(f"{part}: {setting.name}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, setting.ledger(Path(folder)) as ledger:
            with open_pair(ledger, setting.budgets(Path(folder))) as (bare, recorded):
                bare_here, recorded_here = _interleaved(bare, recorded, count)
            if ledger.total().calls != count + _WARM_UP:
                raise SystemExit(
                    f"{part}: {ledger.total().calls} calls are in the ledger, {count + _WARM_UP} were made"
                )
        bare_times += bare_here
        measured.append((setting, bare_here, recorded_here))
    yield _record(part, "bare", bare_times, statistics.median(bare_times), statistics.median(bare_times))
    for setting, bare_here, recorded_here in measured:
        added = [after - before for before, after in zip(bare_here, recorded_here, strict=True)]
        yield _record(part, setting.name, added, statistics.median(recorded_here), statistics.median(bare_here))


def _interleaved(bare: Call, recorded: Call, count: int) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(-_WARM_UP, count):
        for call, taken in zip((bare, recorded), times, strict=True):
            began = time.perf_counter()
            call(f"Question {number}: may I return a lamp that I have used for a week?")
            if number >= 0:
                taken.append(time.perf_counter() - began)
    return times


@contextmanager
def _langchain(ledger: Ledger, budgets: Budgets | None) -> Iterator[tuple[Call, Call]]:
    from langchain_core.language_models import BaseChatModel  # noqa: PLC0415 - only where it is measured
    from langchain_core.messages import AIMessage  # noqa: PLC0415
    from langchain_core.outputs import ChatGeneration, ChatResult  # noqa: PLC0415
    from langchain_thrift import CostCallbackHandler  # noqa: PLC0415

    class Answering(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "answering"

        def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
            return {"ls_provider": "openai", "ls_model_name": _MODEL, "ls_model_type": "chat"}

        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            about = {"model_name": _MODEL, "model_provider": "openai", "token_usage": _USAGE}
            message = AIMessage("Yes, within thirty days.", response_metadata=about)
            return ChatResult(generations=[ChatGeneration(message=message)])

    model = Answering()
    handler = CostCallbackHandler(ledger, budgets, feature="support")

    def ask(question: str, config: Any = None) -> object:
        return model.invoke([("system", _SYSTEM), ("user", question)], config)

    yield ask, lambda question: ask(question, {"callbacks": [handler], "metadata": {"user_id": "ann"}})


@contextmanager
def _llamaindex(ledger: Ledger, budgets: Budgets | None) -> Iterator[tuple[Call, Call]]:
    from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata  # noqa: PLC0415
    from llama_index.core.llms import MockLLM  # noqa: PLC0415
    from llama_index.core.llms.callbacks import llm_chat_callback  # noqa: PLC0415
    from llama_index_instrumentation import get_dispatcher  # noqa: PLC0415
    from llamaindex_thrift import track_costs  # noqa: PLC0415

    class Answering(MockLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(model_name=_MODEL, is_chat_model=True)

        @classmethod
        def class_name(cls) -> str:
            return "openai_llm"

        @llm_chat_callback()  # type: ignore[untyped-decorator]
        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            message = ChatMessage(role="assistant", content="Yes, within thirty days.")
            return ChatResponse(message=message, raw={"model": _MODEL, "usage": _USAGE})

    llm = Answering()
    root = get_dispatcher()
    off = root.event_handlers, root.span_handlers

    def ask(question: str) -> object:
        return llm.chat([ChatMessage(role="system", content=_SYSTEM), ChatMessage(role="user", content=question)])

    with track_costs(ledger, budgets, feature="support", user="ann"):
        on = root.event_handlers, root.span_handlers

        def bare(question: str) -> object:
            root.event_handlers, root.span_handlers = off
            try:
                return ask(question)
            finally:
                root.event_handlers, root.span_handlers = on

        yield bare, ask


def _imports(count: int) -> Iterator[Record]:
    statements = [*_BARE_IMPORTS.values(), *_IMPORTED]
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    for number in watched(range(count + 1), "imports"):
        for statement in statements:
            seconds = _import_seconds(statement)
            if number:  # the first round writes the byte code
                times[statement].append(seconds)
    for framework, statement in _BARE_IMPORTS.items():
        bare = statistics.median(times[statement])
        yield _record("imports", f"bare {framework}", times[statement], bare, bare)
    for statement, framework in _IMPORTED.items():
        taken = times[statement]
        bare = statistics.median(times[_BARE_IMPORTS[framework]])
        yield _record("imports", statement, taken, statistics.median(taken), bare)


def _import_seconds(statement: str) -> float:
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _record(part: str, what: str, seconds: list[float], median: float, bare: float) -> Record:
    return {
        "benchmark": "overhead",
        "part": part,
        "data": part,
        "system": "bare" if what.startswith("bare") else "thrift",
        "what": what,
        "n": len(seconds),
        "median_ms": round(1000 * statistics.median(seconds), 4),
        "p95_ms": round(1000 * sorted(seconds)[min(len(seconds) - 1, int(0.95 * len(seconds)))], 4),
        "ratio_to_bare": round(median / bare, 3),
    }
