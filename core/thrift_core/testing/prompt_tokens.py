"""Turns a request into the token stream that a provider would see, tools and system first."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Opaque
from thrift_core.testing.chat import ChatRequest
from thrift_core.testing.json_values import as_mapping
from thrift_core.tokens import TiktokenCounter

# Frame tokens stand outside every vocabulary, so text can never imitate them. Three for each message and three to
# open the answer is OpenAI's count (OpenAI cookbook, "How to count tokens with tiktoken").
_START, _SEPARATE, _END, _ANSWER = 2**31 - 4, 2**31 - 3, 2**31 - 2, 2**31 - 1
# What gpt-4o bills for an image in low detail and for a 1024 x 1024 one in high detail (OpenAI vision guide).
_LOW_DETAIL_TOKENS, _HIGH_DETAIL_TOKENS = 85, 765
_PIECE = re.compile(r"\s?[^\W\d_]{1,5}|\s?\d{1,3}|\s?[^\w\s]{1,3}|_|\s+")


class Tokenizer(Protocol):
    """Splits text into tokens."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the token ids of the text."""
        ...

    def shorten(self, text: str, max_tokens: int) -> str:
        """Return the longest start of the text that has at most `max_tokens` tokens."""
        ...


class TiktokenTokenizer:
    """OpenAI's own tokens.

    Args:
        encoding: a loaded tiktoken encoding.
    """

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> Sequence[int]:
        """Return the token ids of the text; special tokens in it are plain text."""
        tokens: list[int] = self._encoding.encode_ordinary(text)
        return tokens

    def shorten(self, text: str, max_tokens: int) -> str:
        """Return the start of the text, without a character cut in two at its end."""
        tokens = self.encode(text)
        if len(tokens) <= max_tokens:
            return text
        start: str = self._encoding.decode(tokens[:max_tokens], errors="ignore")
        return start


class PieceTokenizer:
    """Pieces of words of up to five letters; what a provider uses here when tiktoken has no ranks on disk."""

    def encode(self, text: str) -> Sequence[int]:
        """Return one id per piece, the same for the same piece in every process."""
        return [_piece_id(piece) for piece in _PIECE.findall(text)]

    def shorten(self, text: str, max_tokens: int) -> str:
        """Return the first `max_tokens` pieces."""
        pieces = _PIECE.findall(text)
        return text if len(pieces) <= max_tokens else "".join(pieces[:max_tokens])


class PromptTokens:
    """Counts and renders prompts with one tokenizer; each text is tokenized once while it is remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._encode = lru_cache(maxsize=4096)(self._encode_anew)

    def count(self, text: str) -> int:
        """Return how many tokens the text has."""
        return len(self._encode(text))

    def shorten(self, text: str, max_tokens: int) -> str:
        """Return the start of the text that fits into `max_tokens`."""
        return self._tokenizer.shorten(text, max_tokens)

    def render(self, request: ChatRequest) -> array[int]:
        """Return the whole prompt in the order it is cached: response schema, tools, then messages."""
        stream: array[int] = array("i")
        for definition in (request.response_format, *request.tools):
            if definition:
                stream.extend(self._encode(_canonical(definition)))
                stream.append(_SEPARATE)
        for message in request.messages:
            self._add_message(stream, message)
        stream.extend((_ANSWER, _ANSWER, _ANSWER))
        return stream

    def _add_message(self, stream: array[int], message: Message) -> None:
        stream.append(_START)
        stream.extend(self._encode(message.role if message.name is None else f"{message.role}:{message.name}"))
        stream.append(_SEPARATE)
        stream.extend(self._encode(message.text))
        for block in message.opaque:
            stream.extend(_opaque_tokens(block))
        for call in message.tool_calls:
            stream.extend(self._encode(f"{call.name}({call.arguments})"))
            stream.append(_SEPARATE)
        stream.append(_END)

    def _encode_anew(self, text: str) -> array[int]:
        return array("i", self._tokenizer.encode(text))


@lru_cache(maxsize=1)
def default_tokenizer() -> Tokenizer:
    """Return tiktoken's `o200k_base` if its ranks are on disk, otherwise pieces. Never touches the network."""
    try:
        counter = TiktokenCounter("o200k_base")
    except ConfigurationError:
        return PieceTokenizer()
    return TiktokenTokenizer(counter.encoding)


@lru_cache(maxsize=65536)
def _piece_id(piece: str) -> int:
    return int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=3).digest())


def _opaque_tokens(block: Opaque) -> Sequence[int]:
    """Return stand-ins for a block that is not text: as many as it is billed for, the same for the same block."""
    raw = _canonical(block.value)
    if block.kind != "image":
        return [_piece_id(raw)] * max(1, len(raw) // 4)
    detail = as_mapping(as_mapping(block.value).get("image_url")).get("detail")
    return [_piece_id(raw)] * (_LOW_DETAIL_TOKENS if detail == "low" else _HIGH_DETAIL_TOKENS)


def _canonical(value: Mapping[str, Any] | Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
