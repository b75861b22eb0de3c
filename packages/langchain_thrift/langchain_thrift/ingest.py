"""Compacts tool results as they come in, for smaller checkpoints, and restores them for the levers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from langchain_core.messages import BaseMessage, ToolMessage
from thrift_core.messages import ReplaceText
from thrift_core.recall.store import RecallStore
from thrift_core.tokens import TokenCounter, default_counter
from thrift_core.trajectory.ingest import compacted

from langchain_thrift.edits import edited
from langchain_thrift.view import message_view

# Where a compacted message says what it was: not sent to any provider, and kept by every checkpointer.
_KEY = "thrift"


class Originals:
    """The texts of compacted tool results, kept in a recall store.

    A message says under which handle its text is kept and what the text's SHA-256 is, so that nothing else is ever put
    in its place, whatever a state that came from outside may say.

    Args:
        store: where they are; None where nothing is compacted.
        counter: counts tokens; exact where tiktoken's files are at hand by default.
    """

    def __init__(self, store: RecallStore | None, counter: TokenCounter | None = None) -> None:
        self._store = store
        self._counter = counter

    def compacted(self, message: ToolMessage) -> ToolMessage:
        """Return a tool's result written compactly, or as it is if that is no shorter.

        Its id, artifact and metadata stay.
        """
        view = message_view(message)
        if self._store is None or view.opaque or _KEY in message.additional_kwargs:
            return message
        self._counter = self._counter or default_counter()
        text = compacted(message.name or "tool", view.text, self._counter)
        if text is None:
            return message
        # Kept before anything is replaced: a store that fails leaves the result as it was.
        where = {"recall": self._store.put(view.text), "sha256": _sha256(view.text)}
        short = edited([message], [ReplaceText(reason="compacted", index=0, text=text)])[0]
        kept = {**message.additional_kwargs, _KEY: where}
        return message.model_copy(update={"content": short.content, "additional_kwargs": kept})

    def restored(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return the messages with compacted results as they were; those whose text is gone stay as they are."""
        return [self._restored(message) if _KEY in message.additional_kwargs else message for message in messages]

    def _restored(self, message: BaseMessage) -> BaseMessage:
        where = message.additional_kwargs[_KEY]
        if self._store is None or not isinstance(message, ToolMessage) or not isinstance(where, dict):
            return message
        text = self._store.get(str(where.get("recall")))
        if text is None or _sha256(text) != where.get("sha256"):
            return message
        return edited([message], [ReplaceText(reason="restored", index=0, text=text)])[0]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
