"""Counts the model calls made inside a block, beside whoever else counts them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from langchain_thrift.costs import CostCallbackHandler


class Together(BaseCallbackHandler):
    """Several handlers as one, for blocks within blocks.

    Args:
        handlers: the handlers.
    """

    raise_error = True
    run_inline = True

    def __init__(self, handlers: tuple[CostCallbackHandler, ...]) -> None:
        self.handlers = handlers

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Tell all of a chat model's call."""
        for handler in self.handlers:
            handler.on_chat_model_start(*args, **kwargs)

    def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        """Tell all of a text model's call."""
        for handler in self.handlers:
            handler.on_llm_start(*args, **kwargs)

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        """Tell all of its end."""
        for handler in self.handlers:
            handler.on_llm_end(*args, **kwargs)

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        """Tell all of its failure."""
        for handler in self.handlers:
            handler.on_llm_error(*args, **kwargs)


_counting: ContextVar[Together | None] = ContextVar("thrift_counting", default=None)
register_configure_hook(_counting, inheritable=True)


@contextmanager
def counting(handler: CostCallbackHandler) -> Generator[None]:
    """Let a handler count every model call made inside the block, in this thread or asyncio task.

    Handlers of enclosing blocks go on counting; a ledger that two of them share counts each call once.
    """
    outer = _counting.get()
    token = _counting.set(Together((*(outer.handlers if outer else ()), handler)))
    try:
        yield
    finally:
        _counting.reset(token)
