"""The calls of a cascade's tiers as runs: told to whoever counts and traces, to nobody who shows tokens to a user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from langchain_core.runnables.config import ensure_config
from langchain_core.tracers.langchain import LangChainTracer
from thrift_core.accounting.attribution import current_attribution, from_metadata, merged
from thrift_core.accounting.call import Attribution

from langchain_thrift.costs import CostCallbackHandler
from langchain_thrift.counting import Together

# LangGraph passes on no tokens and no messages of runs with this tag.
NOSTREAM = "nostream"


@dataclass(frozen=True, slots=True)
class Outer:
    """The run of the cascade itself, as callbacks see it.

    Attributes:
        run_id: its id; None where LangChain did not say.
        handlers: who is told of it.
        tags: its tags.
        metadata: its metadata.
    """

    run_id: UUID | None = None
    handlers: tuple[BaseCallbackHandler, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def attribution(self) -> Attribution:
        """Whom the run is for."""
        return merged(current_attribution(), from_metadata(self.metadata, self.tags))

    @property
    def thread(self) -> str | None:
        """The key of the conversation, which is one user's of one tenant."""
        whom = self.attribution
        return None if whom.run is None else "\x1f".join((whom.tenant or "", whom.user or "", whom.run))


_noted: ContextVar[tuple[object, Outer] | None] = ContextVar("thrift_noted_run", default=None)


class _Noting(BaseCallbackHandler):
    """Notes the run that starts: LangChain tells `_stream` neither its run nor who listens to it."""

    run_inline = True

    def __init__(self, owner: object, handlers: Sequence[BaseCallbackHandler]) -> None:
        self._owner = owner
        self._handlers = tuple(handlers)

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
        _noted.set((self._owner, Outer(run_id, self._handlers, tuple(tags or ()), metadata or {})))


def noting(callbacks: Callbacks, owner: object) -> Callbacks:
    """Return callbacks that note the next run, for `outer_run` to find.

    Args:
        callbacks: what a call was given.
        owner: the model that is called.
    """
    if isinstance(callbacks, BaseCallbackManager):
        both = callbacks.copy()
        both.add_handler(_Noting(owner, callbacks.handlers), inherit=False)
        return both
    return [*(callbacks or ()), _Noting(owner, callbacks or ())]


def outer_run(owner: object, run_manager: Any) -> Outer:
    """Return the run that a call belongs to.

    Args:
        owner: the model that is called.
        run_manager: what LangChain handed to the call, if anything.
    """
    note = _noted.get()
    _noted.set(None)
    if run_manager is not None:
        handlers = tuple(run_manager.handlers)
        return Outer(run_manager.run_id, handlers, tuple(run_manager.tags), run_manager.metadata)
    if note is not None and note[0] is owner:
        found = note[1]
    else:
        config = ensure_config()
        given = config.get("callbacks")
        handlers = tuple(given.handlers) if isinstance(given, BaseCallbackManager) else tuple(given or ())
        found = Outer(None, handlers, tuple(config.get("tags") or ()), config.get("metadata") or {})
    # `track_costs()` and the like, which LangChain adds when a run starts.
    hooked = [handler for handler in CallbackManager.configure().handlers if _counts(handler)]
    return Outer(found.run_id, (*found.handlers, *hooked), found.tags, found.metadata)


@dataclass(frozen=True, slots=True)
class TierRun:
    """One call to a tier.

    Attributes:
        name: the tier's name.
        model: its chat model.
        outer: the cascade's run.
        own: the cascade's own cost handler.
    """

    name: str
    model: BaseChatModel
    outer: Outer
    own: CostCallbackHandler

    def start(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> CallbackManagerForLLMRun:
        """Say that the call goes out; raises what a hard budget raises."""
        manager = CallbackManager(**self._about(stop, kwargs))
        run = manager.on_chat_model_start(self.model._serialized, [messages], **self._params(stop, kwargs))[0]
        self._note(run)
        return run

    async def astart(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncCallbackManagerForLLMRun:
        """Do what `start` does."""
        manager = AsyncCallbackManager(**self._about(stop, kwargs))
        runs = await manager.on_chat_model_start(self.model._serialized, [messages], **self._params(stop, kwargs))
        self._note(runs[0])
        return runs[0]

    def _note(self, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun) -> None:
        # For a tier that is a cascade itself: its calls are told to the same handlers.
        _noted.set((self.model, Outer(run.run_id, tuple(run.handlers), tuple(run.tags), run.metadata)))

    def _about(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        model = self.model
        outside = {name: value for name, value in self.outer.metadata.items() if not name.startswith("ls_")}
        about = model._get_ls_params(stop=stop, **kwargs)
        return {
            "handlers": list(dict.fromkeys(self._handlers())),
            "parent_run_id": self.outer.run_id,
            "tags": [*self.outer.tags, *(model.tags or ()), NOSTREAM, f"thrift:tier:{self.name}"],
            "metadata": {**outside, **(model.metadata or {}), **about, "thrift_tier": self.name},
        }

    def _handlers(self) -> Iterator[BaseCallbackHandler]:
        yield from (handler for handler in self.outer.handlers if _counts(handler))
        yield self.own
        theirs = self.model.callbacks
        yield from theirs.handlers if isinstance(theirs, BaseCallbackManager) else theirs or ()

    def _params(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        params = self.model._get_invocation_params(stop=stop, **kwargs)
        return {"invocation_params": params, "options": {"stop": stop}, "name": self.name, "batch_size": 1}


def ended(result: ChatResult) -> LLMResult:
    """Return a result as callbacks get it."""
    return LLMResult(generations=[list(result.generations)], llm_output=result.llm_output)


def failed(error: BaseException, chunks: Sequence[ChatGenerationChunk] = ()) -> LLMResult:
    """Return what a failed call has cost as callbacks get it: what was streamed, or the body that could not be read.

    OpenAI's client checks structured output by itself; what it refuses was paid for, and its error keeps the body.
    """
    if chunks:
        whole = merge_chat_generation_chunks(list(chunks))
        return LLMResult(generations=[] if whole is None else [[whole]])
    try:
        body = error.response.json()  # type: ignore[attr-defined]
        about = {"token_usage": dict(body["usage"]), "model_name": body.get("model")}
    except Exception:  # most errors have no body, and most bodies of errors no usage
        return LLMResult(generations=[])
    return LLMResult(generations=[[ChatGeneration(message=AIMessage("", response_metadata=about))]])


def _counts(handler: BaseCallbackHandler) -> bool:
    return isinstance(handler, CostCallbackHandler | Together | LangChainTracer)
