"""What a brain is asked and what it answers, whichever API the client speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from thrift_core.messages import Message, ToolCall
from thrift_core.testing.json_values import as_mapping, as_text

Api = Literal["chat", "responses", "messages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request as it arrived, read into one shape for all APIs.

    Attributes:
        api: the API it came by: OpenAI `chat` completions, OpenAI `responses` or Anthropic `messages`.
        model: the model asked for.
        messages: the conversation, instructions and system prompts included as system messages.
        tools: tool definitions as sent.
        tool_choice: `auto`, `none`, `required` or the name of the one tool that must be called.
        may_call_in_parallel: whether the answer may ask for more than one tool call.
        max_output_tokens: the limit on the answer, reasoning included; None for no limit.
        stop: texts that end the answer.
        is_stream: whether the client wants server-sent events.
        wants_stream_usage: whether a stream shall end with its usage.
        choices: how many answers are asked for.
        choice: which of them this is, from 0.
        api_key: the key the client sent.
        cache_key: OpenAI's `prompt_cache_key`, if sent.
        service_tier: the tier asked for, if any.
        response_format: OpenAI's `response_format` (or `text.format`), empty for plain text.
        body: the request's JSON as sent.
    """

    api: Api
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str = "auto"
    may_call_in_parallel: bool = True
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    is_stream: bool = False
    wants_stream_usage: bool = False
    choices: int = 1
    choice: int = 0
    api_key: str = ""
    cache_key: str | None = None
    service_tier: str | None = None
    response_format: Mapping[str, Any] = field(default_factory=dict[str, Any])
    body: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def system(self) -> str:
        """All system text, joined by blank lines."""
        return "\n\n".join(message.text for message in self.messages if message.role == "system")

    @property
    def question(self) -> str:
        """The text of the last user message, empty if there is none."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Names of the tools on offer, in the order they were sent."""
        return tuple(as_text(as_mapping(tool.get("function")).get("name") or tool.get("name")) for tool in self.tools)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a brain answers.

    Attributes:
        text: the answer's text.
        tool_calls: tools to call; a call without an id is given one.
        reasoning_tokens: hidden tokens spent before the answer, billed as output.
        finish_reason: overrides the reason in the API's own word; None for the one that follows from the answer.
        usage_override: sent as the usage block, byte for byte as JSON allows, instead of the counted one. The bill
            then reads it too.
        extra: top-level fields that replace or join those of the response, such as `service_tier`.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning_tokens: int = 0
    finish_reason: str | None = None
    usage_override: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


Brain = Callable[[ChatRequest], Reply]


class ApiError(Exception):
    """A refusal in the API's own words; a brain may raise it too.

    Args:
        status: the HTTP status.
        message: what the client is told.
        kind: OpenAI's `type`, such as `invalid_request_error`.
        code: OpenAI's `code`, such as `model_not_found`.
        param: the request's field at fault.
        retry_after_seconds: sent as a `Retry-After` header.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds
