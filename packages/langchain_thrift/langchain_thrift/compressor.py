"""Prompts made shorter, as a runnable: text, messages, a prompt value or a state in, the same out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import StringPromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation
from thrift_core.accounting.booking import Booking, BookingMode
from thrift_core.accounting.ledger import Ledger
from thrift_core.compression import CompressionBackend, Compressor
from thrift_core.compression.parts import PartsCompressor
from thrift_core.messages import ReplaceText
from thrift_core.recall.store import RecallStore

from langchain_thrift.attribution import attributed
from langchain_thrift.conversation import Conversation, like, messages_in
from langchain_thrift.edits import edited
from langchain_thrift.view import message_view

_LONGEST_QUESTION = 2_000


class PromptCompressor(RunnableSerializable[Any, Any]):
    """Shortens prompts by what they hold: JSON, logs, code, tables, pages, prose.

    Put it before the model in a chain. Takes a text, a list of messages, a prompt value or a dictionary with
    `messages`, and returns the same kind; messages that are shortened are copies. Without a budget nothing is lost. It
    calls no model, unless a `backend` is one. Whatever goes wrong in it, the prompt comes out as it went in.

    Of messages, what users and tools say is shortened. The system prompt is left alone unless `system=True`, for it is
    what providers cache; the model's own messages, and messages that hold images, files or thinking, always are. With a
    budget, the last message, if it is short, is taken for the question and stays whole.

    Not for an agent's running conversation: there `ThriftMiddleware` shortens each message once, so that the provider's
    cached prefix stays valid.

    Attributes:
        max_tokens: the budget for all that may be shortened, together; None: none.
        ratio: at most this share of its tokens, more than 0 and at most 1; None: none.
        question: what is to be answered from the prompt, or a function of the input that says so.
        lossless: only what can be read back; None: so where there is no budget.
        system: also shorten the system prompt.
        protect: patterns of what may not be cut inside, in the syntax of the `regex` module.
        backend: a model that chooses what stays of prose.
        store: keeps the whole of what is cut; the text then says by which id it can be recalled.
        model: the model that reads the prompt, for the dollars booked.
        provider: who bills it.
        ledger: where savings are booked.
        mode: `shadow` books what would be saved and changes nothing.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> rows = ", ".join('{"sku": "SKU-%d", "warehouse": "Rotterdam"}' % n for n in range(9))
        >>> len(PromptCompressor().invoke(f"[{rows}]")) < len(f"[{rows}]") / 2
        True
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_tokens: int | None = None
    ratio: float | None = None
    question: str | Callable[[Any], str | None] | None = None
    lossless: bool | None = None
    system: bool = False
    protect: tuple[str, ...] = ()
    backend: SkipValidation[CompressionBackend | None] = Field(default=None, exclude=True)
    store: SkipValidation[RecallStore | None] = Field(default=None, exclude=True)
    model: str | None = None
    provider: str | None = None
    ledger: Ledger | None = Field(default=None, exclude=True)
    mode: BookingMode = "on"
    _parts: PartsCompressor = PrivateAttr()
    _booking: Booking = PrivateAttr()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._booking = Booking("compressor", self.ledger, model=self.model, provider=self.provider, mode=self.mode)
        self._parts = PartsCompressor(
            Compressor(store=self.store, protect=self.protect, backend=self.backend),
            self._booking,
            max_tokens=self.max_tokens,
            ratio=self.ratio,
            lossless=self.lossless,
        )

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Return the prompt as it should be sent."""
        return self._call_with_config(self._shorter, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """As `invoke`, with the work kept off the event loop."""
        return await self._acall_with_config(self._ashorter, input, config)

    async def _ashorter(self, given: str | Conversation) -> str | Conversation:
        return await asyncio.to_thread(self._shorter, given)

    def _shorter(self, given: str | Conversation) -> str | Conversation:
        text = given.text if isinstance(given, StringPromptValue) else given
        if isinstance(text, str):
            shorter = self._text(text, given)
            return StringPromptValue(text=shorter) if isinstance(given, StringPromptValue) else shorter
        messages = messages_in(text)
        shorter_messages = self._messages(messages, given)
        return text if shorter_messages is None else like(text, shorter_messages)

    def _text(self, text: str, given: Any) -> str:
        with attributed():
            done = self._parts.compress([text], self._asked(given))
        return text if done is None else done[0].text

    def _messages(self, messages: Sequence[BaseMessage], given: Any) -> list[BaseMessage] | None:
        try:
            views = [message_view(message) for message in messages]
            roles = {"user", "tool", "system"} if self.system else {"user", "tool"}
            places = [at for at, view in enumerate(views) if view.role in roles and view.text and not view.opaque]
            question = self._asked(given)
            if question is None and self._has_budget and len(places) > 1 and places[-1] == len(views) - 1:
                last = views[-1]
                if last.role == "user" and len(last.text) <= _LONGEST_QUESTION:
                    question = last.text
                    places.pop()
        except Exception as error:  # a message that we cannot read
            self._booking.note(error)
            return None
        with attributed():
            done = self._parts.compress([views[at].text for at in places], question)
        if done is None:
            return None
        edits = [
            ReplaceText(index=at, text=part.text, reason=part.note, saved_tokens=part.saved_tokens)
            for at, part in zip(places, done, strict=True)
            if part.saved_tokens
        ]
        return edited(messages, edits)

    @property
    def _has_budget(self) -> bool:
        return self.max_tokens is not None or self.ratio is not None

    def _asked(self, given: Any) -> str | None:
        if not callable(self.question):
            return self.question
        try:
            return self.question(given)
        except Exception as error:  # the app's own function; without a question less is known, and nothing breaks
            self._booking.note(error)
            return None
