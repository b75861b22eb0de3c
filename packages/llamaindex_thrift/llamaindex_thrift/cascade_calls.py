"""One request of a cascade of LLMs: how its tiers are asked, and what their answers look like to the router."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.tools import BaseTool
from pydantic import BaseModel
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.usage import Usage
from thrift_core.messages import Request
from thrift_core.routing import Draft
from thrift_core.routing.cascade_run import CascadeRun

from llamaindex_thrift.answers import chat_pieces, completion_pieces, finish_reason
from llamaindex_thrift.usage import reported_usage
from llamaindex_thrift.view import provider_of, request_view, tool_calls

Response = ChatResponse | CompletionResponse
R = TypeVar("R", ChatResponse, CompletionResponse)
# The keyword argument by which a call says which tools it offers; each tier is given them in its own way.
OFFERED = "thrift_offered"


@dataclass(frozen=True, slots=True)
class Offered:
    """Tools that a call offers.

    Attributes:
        tools: the tools.
        options: how they may be called, and further arguments of the call.
    """

    tools: Sequence[BaseTool]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def described(self) -> list[dict[str, Any]]:
        """The tools as OpenAI describes them."""
        return [tool.metadata.to_openai_tool(skip_length_check=True) for tool in self.tools]

    def prepared(self, llm: LLM, messages: Sequence[ChatMessage]) -> dict[str, Any]:
        """Return messages and tools as keyword arguments of one LLM's chat methods."""
        if not isinstance(llm, FunctionCallingLLM):
            raise TypeError(f"{llm.class_name()} does not call functions")
        # A copy: clients append to the history that they are given.
        return llm._prepare_chat_with_tools_compat(list(self.tools), chat_history=list(messages), **self.options)


class LLMCall(Generic[R]):
    """What chats and completions have in common.

    Args:
        llms: the tiers' LLMs.
        request: the request as the router sees it.
    """

    may_pass_on = True

    def __init__(self, llms: Sequence[LLM], request: Request) -> None:
        self._llms = tuple(llms)
        self.request = request

    def draft(self, index: int, answer: R) -> Draft:
        """Return an answer as the router judges it."""
        is_chat = isinstance(answer, ChatResponse)
        calls = tool_calls(answer.message) if isinstance(answer, ChatResponse) else ()
        more: Mapping[str, Any] = answer.message.additional_kwargs if isinstance(answer, ChatResponse) else {}
        return Draft(
            text=_text(answer),
            tool_calls=calls,
            finish_reason=finish_reason(answer.raw),
            logprobs=_logprobs(answer.logprobs) if is_chat else None,
            refusal=bool(more.get("refusal")),
            usage=self._usage(index, answer),
        )

    def says(self, piece: R) -> bool:
        """Return whether a piece has anything in it that a user would see."""
        return bool(piece.delta or piece.additional_kwargs.get("thinking_delta"))

    def acts(self, piece: R) -> bool:
        """Return whether a piece is of a tool call."""
        return isinstance(piece, ChatResponse) and bool(tool_calls(piece.message))

    def closing(self, run: CascadeRun[R], held: Sequence[R]) -> Iterator[R]:
        """Yield what was held back of a stream, and what was decided."""
        yield from held
        yield self.told(run).model_copy(update={"delta": ""})

    def told(self, run: CascadeRun[R]) -> R:
        """Return the answer, which says what was decided; a copy, for cached answers are one object for all."""
        answer = run.answer
        earlier = answer.additional_kwargs.get("thrift")
        facts = {**(earlier if isinstance(earlier, Mapping) else {}), **run.as_metadata()}
        return answer.model_copy(update={"additional_kwargs": {**answer.additional_kwargs, "thrift": facts}})

    def _usage(self, index: int, answer: Response) -> Usage | None:
        reported = reported_usage(answer)
        if reported is None:
            return None
        llm = self._llms[index]
        try:
            return read_usage(reported, provider=provider_of(vars(llm), llm.class_name())).usage
        except ValueError:  # an answer whose usage cannot be read is still an answer
            return None


class ChatCall(LLMCall[ChatResponse]):
    """A chat, with tools or without.

    Args:
        llms: the tiers' LLMs.
        messages: as the app gave them; never changed.
        kwargs: the call's keyword arguments, likewise.
    """

    def __init__(self, llms: Sequence[LLM], messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> None:
        self._messages = messages
        self._kwargs = {name: value for name, value in kwargs.items() if name != OFFERED}
        offered = kwargs.get(OFFERED)
        self._offered = offered if isinstance(offered, Offered) else None
        tools = {} if self._offered is None else {"tools": self._offered.described}
        super().__init__(llms, _view(messages, {**self._kwargs, **tools}, llms[-1]))

    def ask(self, index: int) -> ChatResponse:
        """Return a tier's answer."""
        return self._llms[index].chat(**self._arguments(index))

    async def aask(self, index: int) -> ChatResponse:
        """Do what `ask` does."""
        return await self._llms[index].achat(**self._arguments(index))

    def stream(self, index: int) -> Generator[ChatResponse]:
        """Yield the pieces of a tier's answer."""
        with closing(self._llms[index].stream_chat(**self._arguments(index))) as stream:
            yield from stream

    async def astream(self, index: int) -> AsyncGenerator[ChatResponse]:
        """Do what `stream` does."""
        async with aclosing(await self._llms[index].astream_chat(**self._arguments(index))) as chunks:
            async for chunk in chunks:
                yield chunk

    def joined(self, pieces: list[ChatResponse]) -> ChatResponse:
        """Return the pieces of an answer as a whole one; some clients keep only the last piece of the text in it."""
        last = _last(pieces)
        said = "".join(piece.delta or "" for piece in pieces)
        if len(last.message.content or "") >= len(said):
            return last
        message = last.message.model_copy()
        message.content = said
        return last.model_copy(update={"message": message})

    def pieces(self, run: CascadeRun[ChatResponse]) -> Iterator[ChatResponse]:
        """Yield an accepted answer as a stream of it would come."""
        return chat_pieces(self.told(run))

    def _arguments(self, index: int) -> dict[str, Any]:
        if self._offered is None:
            return {"messages": self._messages, **self._kwargs}
        return {**self._offered.prepared(self._llms[index], self._messages), **self._kwargs}


class CompletionCall(LLMCall[CompletionResponse]):
    """A completion.

    Args:
        llms: the tiers' LLMs.
        prompt: the prompt.
        is_formatted: it is in the LLM's own format already.
        kwargs: the call's keyword arguments.
    """

    def __init__(self, llms: Sequence[LLM], prompt: str, kwargs: Mapping[str, Any], *, is_formatted: bool) -> None:
        self._arguments = {"prompt": prompt, "formatted": is_formatted, **kwargs}
        super().__init__(llms, _view(prompt, kwargs, llms[-1]))

    def ask(self, index: int) -> CompletionResponse:
        """Return a tier's answer."""
        return self._llms[index].complete(**self._arguments)

    async def aask(self, index: int) -> CompletionResponse:
        """Do what `ask` does."""
        return await self._llms[index].acomplete(**self._arguments)

    def stream(self, index: int) -> Generator[CompletionResponse]:
        """Yield the pieces of a tier's answer."""
        with closing(self._llms[index].stream_complete(**self._arguments)) as stream:
            yield from stream

    async def astream(self, index: int) -> AsyncGenerator[CompletionResponse]:
        """Do what `stream` does."""
        async with aclosing(await self._llms[index].astream_complete(**self._arguments)) as chunks:
            async for chunk in chunks:
                yield chunk

    def joined(self, pieces: list[CompletionResponse]) -> CompletionResponse:
        """Return the pieces of an answer as a whole one."""
        last = _last(pieces)
        said = "".join(piece.delta or "" for piece in pieces)
        return last if len(last.text) >= len(said) else last.model_copy(update={"text": said})

    def pieces(self, run: CascadeRun[CompletionResponse]) -> Iterator[CompletionResponse]:
        """Yield an accepted answer as a stream of it would come."""
        return completion_pieces(self.told(run))


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a tier made of a structured prediction: an object, or the error that there is none."""

    value: BaseModel | None
    error: Exception | None = None


class PredictionCall:
    """A structured prediction.

    Args:
        llms: the tiers' LLMs.
        messages: what is asked, for the router to see.
        output_cls: the class of the answer.
        predict: asks an LLM.
        apredict: does so without blocking.
    """

    def __init__(
        self,
        llms: Sequence[LLM],
        messages: Sequence[ChatMessage],
        output_cls: type[BaseModel],
        *,
        predict: Callable[[LLM], Any],
        apredict: Callable[[LLM], Any],
    ) -> None:
        self._llms = tuple(llms)
        self._output_cls = output_cls
        self._predict, self._apredict = predict, apredict
        form = {"response_format": output_cls.__name__} if all(map(_calls_functions, llms)) else {}
        self.request = replace(_view(messages, {}, llms[-1]), parameters=form)
        self.last_error: Exception | None = None

    def ask(self, index: int) -> Predicted:
        """Return what a tier predicts."""
        try:
            return self._checked(self._predict(self._llms[index]))
        except (AssertionError, TypeError, ValueError) as error:  # how LlamaIndex's programs say that nothing fits
            return self._unfit(error)

    async def aask(self, index: int) -> Predicted:
        """Do what `ask` does."""
        try:
            return self._checked(await self._apredict(self._llms[index]))
        except (AssertionError, TypeError, ValueError) as error:
            return self._unfit(error)

    def draft(self, index: int, answer: Predicted) -> Draft:
        """Return a prediction as the router judges it; its tokens are known to the ledger alone."""
        if answer.value is None:
            return Draft(structured="invalid")
        return Draft(answer.value.model_dump_json(), structured="ok")

    def _checked(self, value: object) -> Predicted:
        if not isinstance(value, self._output_cls):
            raise TypeError(f"a {type(value).__name__} came instead of a {self._output_cls.__name__}")
        return Predicted(value)

    def _unfit(self, error: Exception) -> Predicted:
        self.last_error = error
        return Predicted(None, error)


def _view(messages: Sequence[ChatMessage] | str, kwargs: Mapping[str, Any], strongest: LLM) -> Request:
    request = request_view(messages, kwargs, vars(strongest))
    form = {"response_format": kwargs["response_format"]} if kwargs.get("response_format") else {}
    return replace(request, model=None, parameters=form)


def _calls_functions(llm: LLM) -> bool:
    return llm.metadata.is_function_calling_model


def _text(answer: Response) -> str:
    return (answer.message.content or "") if isinstance(answer, ChatResponse) else answer.text


def _last(pieces: list[R]) -> R:
    if not pieces:
        raise ConnectionResetError("the stream ended before it began")
    return pieces[-1]


def _logprobs(told: Any) -> tuple[float, ...] | None:
    chosen = [options[0] if isinstance(options, list) and options else options for options in told or ()]
    found = [token.logprob for token in chosen if hasattr(token, "logprob")]
    return tuple(found) if found else None
