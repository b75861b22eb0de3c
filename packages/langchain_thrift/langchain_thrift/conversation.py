"""The ways in which LangChain hands over a conversation: messages, a prompt value or a state."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue

Conversation = list[BaseMessage] | PromptValue | dict[str, Any]


def messages_in(given: Conversation) -> list[BaseMessage]:
    """Return the messages of a conversation.

    Raises:
        TypeError: it is none.
    """
    found = given.to_messages() if isinstance(given, PromptValue) else given
    if isinstance(found, dict):
        found = found.get("messages", ())
    if not isinstance(found, list | tuple) or not all(isinstance(message, BaseMessage) for message in found):
        raise TypeError(
            "give a list of messages, a prompt value or a dictionary with a list of messages under 'messages'; "
            f"got {type(given).__name__}"
        )
    return list(found)


def like(given: Conversation, messages: list[BaseMessage]) -> Conversation:
    """Return messages in the way in which a conversation was given."""
    if isinstance(given, PromptValue):
        return ChatPromptValue(messages=messages)
    return {**given, "messages": messages} if isinstance(given, dict) else messages
