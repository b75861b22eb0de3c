"""Whom a call is for: noted when its run starts, for those whom LangChain does not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, Callbacks
from langchain_core.messages import BaseMessage
from langchain_core.tracers.context import register_configure_hook
from thrift_core.accounting.attribution import current_attribution, from_metadata, merged
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.ledger import Ledger

from langchain_thrift.attribution import configured
from langchain_thrift.costs import CostCallbackHandler
from langchain_thrift.passage import Run

# LangChain hands the metadata of a run to its callbacks, and not to `_stream`: noted when the run starts, taken by the
# call that comes next, which is in the same thread or task and before anything else.
_started: ContextVar[tuple[object, Run] | None] = ContextVar("thrift_started_run", default=None)


# The same for the caches of models that are not wrapped.
_announced: ContextVar[_Announced | None] = ContextVar("thrift_announced_run", default=None)
_listening: list[ContextVar[BaseCallbackHandler | None]] = []


class RunHandler(CostCallbackHandler):
    """A cost handler that remembers whom the run that has just started is for.

    Args:
        ledger: where calls are recorded.
        budgets: limits that hold.
        feature: the feature of calls that name none.
    """

    def __init__(self, ledger: Ledger, budgets: Budgets | None = None, *, feature: str | None = None) -> None:
        super().__init__(ledger, budgets, feature=feature)
        self._default = Attribution(feature=feature)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the call, stop it if a hard budget says so, and note whom it is for."""
        _started.set(None)
        super().on_chat_model_start(serialized, messages, run_id=run_id, tags=tags, metadata=metadata, **kwargs)
        _started.set((self, self._run(run_id, metadata, tags)))

    def run_of(self, run_manager: Any) -> Run | None:
        """Return the run that a call belongs to; None where LangChain did not say.

        Args:
            run_manager: what LangChain handed to the call, if anything.
        """
        noted = _started.get()
        _started.set(None)
        if run_manager is not None:
            return self._run(run_manager.run_id, run_manager.metadata, run_manager.tags)
        return noted[1] if noted is not None and noted[0] is self else None

    def _run(self, run_id: UUID, metadata: Mapping[str, Any] | None, tags: list[str] | None) -> Run:
        return _run(run_id, metadata, tags, self._default)


@dataclass(frozen=True, slots=True)
class _Announced:
    run: Run
    asked: frozenset[int]


class _Announcer(BaseCallbackHandler):
    """Notes every run of a chat model for the cache that the model asks next."""

    run_inline = True

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        asked = frozenset(map(_digest, messages))
        _announced.set(_Announced(_run(run_id, metadata, tags, Attribution()), asked))


def listen() -> None:
    """Note every run of a chat model from now on."""
    if not _listening:
        listening: ContextVar[BaseCallbackHandler | None] = ContextVar("thrift_announcer", default=_Announcer())  # noqa: B039 - the one that all share
        _listening.append(listening)
        register_configure_hook(listening, inheritable=False)


def announced_run(messages: Sequence[BaseMessage]) -> Run | None:
    """Return the run of the chat model that is asked these messages; None where another one started since.

    Where nothing was announced in this thread or task, it is what `attributed_run` returns.
    """
    announced = _announced.get()
    if announced is None:
        return attributed_run()
    return announced.run if _digest(messages) in announced.asked else None


def attributed_run() -> Run:
    """Return whom the chain that is running, or an enclosing `attribute` block, says that calls are for."""
    return Run(merged(current_attribution(), configured()), None)


def _digest(messages: Sequence[BaseMessage]) -> int:
    return hash(tuple(message.text for message in messages))


def _run(run_id: UUID, metadata: Mapping[str, Any] | None, tags: list[str] | None, default: Attribution) -> Run:
    told = from_metadata(metadata or {}, tuple(tags or ()))
    outer = merged(merged(default, current_attribution()), configured())
    return Run(merged(outer, told), run_id.hex)


def with_handler(callbacks: Callbacks, handler: RunHandler) -> Callbacks:
    """Return callbacks and the handler, which replaces one of its kind from another wrapper."""
    if isinstance(callbacks, BaseCallbackManager):
        both = callbacks.copy()
        both.add_handler(handler, inherit=False)
        return both
    return [*(other for other in callbacks or () if not isinstance(other, RunHandler)), handler]
