"""Every model call of a LangChain app, priced and attributed: a callback handler and a context manager."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from langchain_core.tracers.context import register_configure_hook
from thrift_core.accounting.attribution import from_metadata
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.meter import Answer, Meter

from langchain_thrift.usage_details import keep_usage_details
from langchain_thrift.view import is_replayed, request_view, tool_calls

_RAW_USAGE = ("token_usage", "usage", "usage_metadata")
_URLS = ("openai_api_base", "base_url", "api_base", "azure_endpoint", "anthropic_api_url", "endpoint_url")


class CostCallbackHandler(BaseCallbackHandler):
    """Records what every model call costs, and stops calls that would pass a hard budget.

    Works with sync, async, streaming and batch calls, chains and LangGraph agents. Each call is counted once, however
    deep it is nested. A hit of a cache, LangChain's or ours, is recorded with cost 0.

    Whom a call is for is read from the run's `metadata` (`feature`, `user`, `tenant`, `task`, `thread_id`...) and tags
    (`feature:search`), then from enclosing `thrift_core.attribute(...)` blocks, then from the arguments here.

    Args:
        ledger: where calls are recorded; a new one in memory if none is given.
        budgets: limits that hold: `BudgetExceeded` is raised before a call goes out.
        feature: the feature of calls that name none.
        user: the user of calls that name none.
        tenant: the tenant of calls that name none.
        on_call: called with each recorded call.

    Example:
        >>> handler = CostCallbackHandler(feature="search")
        >>> handler.total_usd
        Decimal('0')
    """

    # Budgets must stop the call; every other error is caught before it gets here.
    raise_error = True
    # A record takes well under a millisecond, less than a hop to a thread, and what is set in the caller's context
    # tells a wrapped model from its wrapper.
    run_inline = True

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
        attribution = Attribution(feature=feature, user=user, tenant=tenant)
        self._meter = Meter(ledger, budgets, attribution=attribution, on_call=on_call)

    @property
    def ledger(self) -> Ledger:
        """Where calls are recorded."""
        return self._meter.ledger

    @property
    def total_usd(self) -> Decimal:
        """Dollars of all priced calls in the ledger; see `ledger.total()` for those that no price is known for."""
        return self.ledger.total().cost_usd

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
        """Open the call, and stop it if a hard budget says so."""
        self._start(serialized, messages[0] if messages else [], run_id, tags=tags, metadata=metadata, **kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the call of a text-completion model."""
        messages: list[BaseMessage] = [HumanMessage(prompt) for prompt in prompts]
        self._start(serialized, messages, run_id, tags=tags, metadata=metadata, **kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Price the call and record it."""
        try:
            answer = answer_of(response)
        except Exception as error:  # an answer of an unknown shape is still a call
            self._meter.note_fault("callback", error)
            answer = Answer()
        self._meter.finish(run_id, answer)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record a failed call; what had been streamed by then was paid for."""
        response = kwargs.get("response")
        try:
            answer = answer_of(response) if isinstance(response, LLMResult) else None
        except Exception as trouble:  # as above
            self._meter.note_fault("callback", trouble)
            answer = None
        self._meter.fail(run_id, error, answer)

    def _start(
        self,
        serialized: Mapping[str, Any] | None,
        messages: Sequence[BaseMessage],
        run_id: UUID,
        *,
        tags: list[str] | None,
        metadata: Mapping[str, Any] | None,
        **kwargs: Any,
    ) -> None:
        metadata = metadata or {}
        params: Mapping[str, Any] = kwargs.get("invocation_params") or {}
        model = params.get("model") or params.get("model_name") or metadata.get("ls_model_name")
        provider = metadata.get("ls_provider")
        if isinstance(provider, str):
            keep_usage_details(provider)
        self._meter.start(
            run_id,
            lambda: request_view(messages, params),
            model=model if isinstance(model, str) else None,
            provider=provider,
            api_url=_api_url(serialized),
            attribution=from_metadata(metadata, tuple(tags or ())),
            siblings=kwargs.get("parent_run_id") or "batch" if (kwargs.get("batch_size") or 1) > 1 else None,
            parent=kwargs.get("parent_run_id"),
            # How `Runnable.with_retry` marks the attempts after the first.
            is_retry=any(tag.startswith("retry:attempt:") for tag in tags or ()),
            call_id=run_id.hex,
        )


def answer_of(response: LLMResult) -> Answer:
    """Return what an LLM result says about the call that it ended.

    Only the first generation is read: with `n` answers to one prompt, providers report the usage of all with each.
    """
    generation = response.generations[0][0] if response.generations and response.generations[0] else None
    if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
        return _chat_answer(generation.message, response)
    return _text_answer(generation, response.llm_output or {})


def _chat_answer(message: AIMessage, response: LLMResult) -> Answer:
    about = message.response_metadata
    usage = message.usage_metadata
    model = about.get("model_name") or about.get("model") or (response.llm_output or {}).get("model_name")
    raw = next((about[key] for key in _RAW_USAGE if isinstance(about.get(key), Mapping) and about[key]), None)
    return Answer(
        payload={"model": model, "usage": raw} if raw is not None else None,
        usage=usage,
        text="".join(generation.text for generation in response.generations[0]),
        tool_calls=tool_calls(message),
        model=model,
        provider=about.get("model_provider"),
        service_tier=about.get("service_tier"),
        is_cache_hit=is_replayed(message),
    )


def _text_answer(generation: Generation | None, output: Mapping[str, Any]) -> Answer:
    raw = next((output[key] for key in _RAW_USAGE if isinstance(output.get(key), Mapping) and output[key]), None)
    model = output.get("model_name")
    return Answer(
        payload={"model": model, "usage": raw} if raw is not None else None,
        text=generation.text if generation is not None else "",
        model=model,
    )


def _api_url(serialized: Mapping[str, Any] | None) -> str | None:
    given = (serialized or {}).get("kwargs")
    if not isinstance(given, Mapping):
        return None
    return next((url for key in _URLS if isinstance(url := given.get(key), str)), None)


_tracked: ContextVar[CostCallbackHandler | None] = ContextVar("thrift_tracked_costs", default=None)
register_configure_hook(_tracked, inheritable=True)


@contextmanager
def track_costs(
    ledger: Ledger | None = None,
    budgets: Budgets | None = None,
    *,
    feature: str | None = None,
    user: str | None = None,
    tenant: str | None = None,
    on_call: Iterable[Callable[[Call], object]] = (),
) -> Generator[CostCallbackHandler]:
    """Record every model call made inside the block, without touching the chains that make them.

    Takes what `CostCallbackHandler` takes, and yields one. Blocks nest: calls go to the innermost block.

    Example:
        >>> with track_costs(feature="search") as costs:
        ...     pass
        >>> costs.total_usd
        Decimal('0')
    """
    handler = CostCallbackHandler(ledger, budgets, feature=feature, user=user, tenant=tenant, on_call=on_call)
    token = _tracked.set(handler)
    try:
        yield handler
    finally:
        _tracked.reset(token)
