"""Puts a wrapped chat model in the place of the bare one in what its own methods return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableParallel, RunnableSequence, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase

Wrap = Callable[[BaseChatModel], BaseChatModel]


def rewrapped(runnable: Any, wrap: Wrap) -> Any:
    """Return a runnable with every chat model in it wrapped; steps of kinds that are not known stay as they are.

    Args:
        runnable: what `bind_tools` or `with_structured_output` of a model returned.
        wrap: wraps a model.
    """
    if isinstance(runnable, BaseChatModel):
        return wrap(runnable)
    if isinstance(runnable, RunnableBindingBase):
        return runnable.model_copy(update={"bound": rewrapped(runnable.bound, wrap)})
    if isinstance(runnable, RunnableSequence):
        steps = [rewrapped(step, wrap) for step in runnable.steps]
        return RunnableSequence(*steps, name=runnable.name)
    if isinstance(runnable, RunnableParallel):
        branches = {name: rewrapped(step, wrap) for name, step in runnable.steps__.items()}
        return RunnableParallel(branches)
    if isinstance(runnable, RunnableWithFallbacks):
        others = [rewrapped(other, wrap) for other in runnable.fallbacks]
        return runnable.model_copy(update={"runnable": rewrapped(runnable.runnable, wrap), "fallbacks": others})
    return runnable
