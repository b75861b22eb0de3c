"""Every LLM call of a LlamaIndex app, priced and attributed: an event handler and a context manager."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher
from pydantic import PrivateAttr
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger

from llamaindex_thrift.calls import Calls

# Reentrant: the garbage collector may close a stream, and so end a call, while it is held.
_dispatcher_lock = threading.RLock()


class CostEventHandler(BaseEventHandler):
    """Records what every LLM call costs, and stops calls that would pass a hard budget.

    Works with chat and completion, sync, async and streaming calls, query engines and agents. Each call is counted
    once, however many LLMs hand it on. Embeddings are not counted.

    Whom a call is for is read from LlamaIndex's `instrument_tags({"feature": "search", "user_id": ...})`, then from
    enclosing `thrift_core.attribute(...)` blocks, then from the arguments here.

    LlamaIndex's dispatcher swallows what event handlers raise. To stop calls all the same, a handler with budgets
    stands in for an LLM's `rate_limiter` while a call goes out; the LLM's own limiter is asked after it, and is back
    in its place when the call has been made.

    OpenAI-like providers report the usage of a stream only when asked to:
    `OpenAI(..., additional_kwargs={"stream_options": {"include_usage": True}})`. Where they are not, the tokens are
    counted here, and the call is marked as estimated.

    Args:
        ledger: where calls are recorded; a new one in memory if none is given.
        budgets: limits that hold: `BudgetExceeded` is raised before a call goes out.
        feature: the feature of calls that name none.
        user: the user of calls that name none.
        tenant: the tenant of calls that name none.
        on_call: called with each recorded call.

    Example:
        >>> from llama_index.core.instrumentation import get_dispatcher
        >>> handler = CostEventHandler(feature="search")
        >>> get_dispatcher().add_event_handler(handler)
        >>> handler.total_usd
        Decimal('0')
    """

    _calls: Calls = PrivateAttr()
    _is_retired: bool = PrivateAttr(default=False)

    def __init__(
        self,
        ledger: Ledger | None = None,
        budgets: Budgets | None = None,
        *,
        feature: str | None = None,
        user: str | None = None,
        tenant: str | None = None,
        on_call: Iterable[Callable[[Call], object]] = (),
    ) -> None:
        super().__init__()
        attribution = Attribution(feature=feature, user=user, tenant=tenant)
        self._calls = Calls(ledger, budgets, attribution, tuple(on_call))

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "CostEventHandler"

    @property
    def ledger(self) -> Ledger:
        """Where calls are recorded."""
        return self._calls.ledger

    @property
    def total_usd(self) -> Decimal:
        """Dollars of all priced calls in the ledger; see `ledger.total()` for those that no price is known for."""
        return self.ledger.total().cost_usd

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Follow one event of the dispatcher."""
        self._calls.tell(event)
        if self._is_retired:
            self._leave_if_idle()

    def _enter_scope(self) -> None:
        self._calls.are_mine = lambda: _tracked.get() is self
        root = get_dispatcher()
        with _dispatcher_lock:
            root.event_handlers = [*root.event_handlers, self]

    def _retire(self) -> None:
        """Leave the dispatcher as soon as no call is open: a stream may well be read after its block."""
        self._is_retired = True
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._calls.are_open:
            return
        root = get_dispatcher()
        with _dispatcher_lock:
            # A new list: a thread that is going through the old one must not skip a handler.
            root.event_handlers = [handler for handler in root.event_handlers if handler is not self]
        self._calls.close()


_tracked: ContextVar[CostEventHandler | None] = ContextVar("thrift_tracked_costs", default=None)


def is_tracked() -> bool:
    """Return whether this runs inside a `track_costs` block."""
    return _tracked.get() is not None


@contextmanager
def track_costs(
    ledger: Ledger | None = None,
    budgets: Budgets | None = None,
    *,
    feature: str | None = None,
    user: str | None = None,
    tenant: str | None = None,
    on_call: Iterable[Callable[[Call], object]] = (),
) -> Iterator[CostEventHandler]:
    """Record every LLM call made inside the block, in this thread or asyncio task and those it starts.

    Takes what `CostEventHandler` takes, and yields one. Blocks nest: calls go to the innermost block. A stream that was
    opened inside the block is recorded also if it is read after it. (A streaming query engine asks its LLM only when
    its answer is read: read that inside the block.)

    Example:
        >>> with track_costs(feature="search") as costs:
        ...     pass
        >>> costs.total_usd
        Decimal('0')
    """
    handler = CostEventHandler(ledger, budgets, feature=feature, user=user, tenant=tenant, on_call=on_call)
    token = _tracked.set(handler)
    handler._enter_scope()
    try:
        yield handler
    finally:
        _tracked.reset(token)
        handler._retire()
