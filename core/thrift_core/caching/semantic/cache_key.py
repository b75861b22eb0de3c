"""What a request must share with another one before an answer may be shared: all but how its question is put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from thrift_core.accounting.call import Attribution
from thrift_core.caching.semantic.fingerprint import Uncacheable, digest
from thrift_core.caching.semantic.normal_form import normal_form
from thrift_core.messages import Message, Opaque, Request

ScopeName = Literal["tenant", "user", "feature"]
SCOPE_NAMES: tuple[ScopeName, ...] = ("tenant", "user", "feature")
# They say how an answer travels, not what it is.
TRANSPORT_PARAMETERS: frozenset[str] = frozenset(
    {"stream", "stream_options", "stream_usage", "timeout", "request_timeout", "max_retries"}
)
_OWNER_BYTES = 8
SCOPE_TAG_BYTES = 4
"""How an id begins: with the first bytes of its scope, by which a store can keep a scope together."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Where the answer of a request is kept.

    All fields but `question` are keyed hashes. Nothing of the scope is ever part of the text that is embedded, and
    nothing that is embedded decides which partition is searched.

    Attributes:
        id: the partition and the question in its normal form, behind the first bytes of the scope; one answer is kept
            for each id.
        exact: the question as it was typed.
        partition: the scope, the corpus version and everything that decides the answer except the last user text:
            system message, earlier turns, media, model, parameters, tools and response format.
        scope: whom it is for.
        owners: tenant, user and feature one by one, empty where the scope does not have one; for purges.
        corpus: the corpus version, empty where there is none.
        principal: who asked, whether or not that is part of the scope.
        question: the last user text as it was typed.
        is_exact_only: the question alone does not say what is asked, so that only the very same request matches: a
            tool has answered or been called, or the last message is not the user's.
        feature: the part of the app, in plain; it decides how long an answer is kept.
    """

    id: bytes
    exact: bytes
    partition: bytes
    scope: bytes
    owners: tuple[bytes, ...]
    corpus: bytes
    principal: bytes
    question: str
    is_exact_only: bool
    feature: str | None = None

    @classmethod
    def of(
        cls,
        request: Request,
        scope: Attribution | None = None,
        *,
        secret: bytes,
        corpus: str | None = None,
        isolate_by: Sequence[ScopeName] = SCOPE_NAMES,
        ignored_parameters: frozenset[str] = TRANSPORT_PARAMETERS,
    ) -> CacheKey:
        """Return the key of a request.

        Args:
            request: what is about to be sent.
            scope: whom it is for.
            secret: keys the hashes.
            corpus: the version of the documents that the answer rests on.
            isolate_by: which of tenant, user and feature never share answers.
            ignored_parameters: parameters that do not decide the answer.

        Raises:
            Uncacheable: the request has nothing to compare, or something that cannot be compared.
        """
        whom = scope or Attribution()
        if not request.messages:
            raise Uncacheable("the request has no message")
        whose = _whose(secret, tuple(isolate_by), whom.tenant, whom.user, whom.feature)
        question, is_exact_only = _question(request.messages)
        compatibility = _compatibility(request, is_exact_only, ignored_parameters)
        partition = digest(secret, "partition", whose.scope, corpus, compatibility)
        exact = digest(secret, "exact", partition, question)
        normal = question if is_exact_only else normal_form(question)
        return cls(
            id=whose.scope[:SCOPE_TAG_BYTES] + digest(secret, "id", partition, is_exact_only, normal),
            exact=exact,
            partition=partition,
            scope=whose.scope,
            owners=whose.owners,
            corpus=tag(secret, "corpus", corpus),
            principal=whose.principal,
            question=question,
            is_exact_only=is_exact_only,
            feature=whom.feature,
        )


@dataclass(frozen=True, slots=True)
class _Whose:
    scope: bytes
    owners: tuple[bytes, ...]
    principal: bytes


@lru_cache(maxsize=4096)
def _whose(
    secret: bytes, isolate_by: tuple[str, ...], tenant: str | None, user: str | None, feature: str | None
) -> _Whose:
    """Return the hashes of a scope; the same few come again and again."""
    given: dict[ScopeName, str | None] = {"tenant": tenant, "user": user, "feature": feature}
    shared: dict[ScopeName, str | None] = {name: value if name in isolate_by else None for name, value in given.items()}
    return _Whose(
        scope=digest(secret, "scope", list(shared.values())),
        owners=tuple(owner_id(secret, name, value) for name, value in shared.items()),
        principal=digest(secret, "principal", tenant, user, size=_OWNER_BYTES),
    )


def owner_id(secret: bytes, name: ScopeName, value: str | None) -> bytes:
    """Return the hash of a tenant, user or feature; empty for none."""
    return tag(secret, name, value)


def tag(secret: bytes, kind: str, value: str | None) -> bytes:
    """Return the short hash by which entries are found for a purge; empty for None."""
    return b"" if value is None else digest(secret, "tag", kind, value, size=_OWNER_BYTES)


def _question(messages: Sequence[Message]) -> tuple[str, bool]:
    """Return the text that is asked, and whether it cannot be understood without what a tool did."""
    last = messages[-1]
    after_tool = any(message.role == "tool" or message.tool_calls for message in messages)
    if last.role != "user":
        return next((message.text for message in reversed(messages) if message.role == "user"), ""), True
    if not last.text.strip() and not last.opaque:
        raise Uncacheable("the last user message is empty")
    return last.text, after_tool or not last.text.strip()


def _compatibility(request: Request, is_exact_only: bool, ignored: frozenset[str]) -> list[object]:
    """Return everything of a request that decides its answer, without the question where it may vary."""
    places: dict[str, int] = {}
    *earlier, last = request.messages
    parameters = {name: value for name, value in request.parameters.items() if name not in ignored}
    return [
        [_message(message, places) for message in earlier],
        _message(last, places, with_text=is_exact_only),
        request.model,
        request.provider,
        list(request.tools),
        request.max_output_tokens,
        parameters,
    ]


def _message(message: Message, places: dict[str, int], *, with_text: bool = True) -> list[object]:
    return [
        message.role,
        message.text if with_text else None,
        [[call.name, call.arguments, _place(call.id, places)] for call in message.tool_calls],
        _place(message.tool_call_id, places),
        message.name,
        [_opaque(block) for block in message.opaque],
    ]


def _place(call_id: str | None, places: dict[str, int]) -> int | None:
    # The ids of tool calls are random and mean nothing but which answer belongs to which call.
    return None if call_id is None else places.setdefault(call_id, len(places))


def _opaque(block: Opaque) -> list[object]:
    value: Any = block.value
    if value is None or not isinstance(value, str | bytes | Mapping | Sequence):
        raise Uncacheable(f"the content of a block of kind {block.kind!r} cannot be compared")
    return [block.kind, value]
