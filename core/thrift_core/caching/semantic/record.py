"""An entry as sealed bytes: what a store keeps, and what proves that it is what was put there."""

from __future__ import annotations

import hmac
import json
import struct
from dataclasses import dataclass
from hashlib import blake2b

from thrift_core.caching.semantic.answer import CachedAnswer, answer_from, details_of

_HEADER = struct.Struct("<BBqqd8s8sIII")
_VERSION = 1
_CONFIRMED = 1
_SEAL_BYTES = 16
NEVER_MS = 2**53
"""The expiry of what does not expire: the last whole number that a Redis number holds."""


class Broken(Exception):
    """The bytes are not an entry that this cache put there."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a store reads of an entry without opening it.

    Attributes:
        created_ms: when it was stored, in milliseconds since 1970.
        expires_ms: when it ends, whatever happens to it meanwhile.
        worth_usd: what one hit saves.
        is_confirmed: it may be served.
    """

    created_ms: int
    expires_ms: int
    worth_usd: float
    is_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A question and its answer, as kept.

    Attributes:
        header: what a store reads of it.
        exact: the first bytes of the hash of the question as typed.
        principal: who asked.
        question: the question as typed.
        answer: the answer.
    """

    header: Header
    exact: bytes
    principal: bytes
    question: str
    answer: CachedAnswer


def sealed(entry: Entry, *, entry_id: bytes, partition: bytes, secret: bytes) -> bytes:
    """Return an entry as bytes that only open in its place: under this id, in this partition, with this secret."""
    question = entry.question.encode("utf-8", "surrogatepass")
    payload = entry.answer.payload.encode("utf-8", "surrogatepass")
    details = json.dumps(details_of(entry.answer), separators=(",", ":")).encode()
    head = entry.header
    body = b"".join(
        (
            _HEADER.pack(
                _VERSION,
                _CONFIRMED if head.is_confirmed else 0,
                head.created_ms,
                head.expires_ms,
                head.worth_usd,
                entry.exact,
                entry.principal,
                len(question),
                len(payload),
                len(details),
            ),
            question,
            payload,
            details,
        )
    )
    return body + _seal(body, entry_id, partition, secret)


def header_of(record: bytes) -> Header:
    """Return what a store needs; says nothing of whether the seal holds.

    Raises:
        Broken: too short, or of another version.
    """
    try:
        version, flags, created, expires, worth, *_ = _HEADER.unpack_from(record)
    except struct.error as error:
        raise Broken(f"{len(record)} bytes are no entry") from error
    if version != _VERSION:
        raise Broken(f"version {version} is not known")
    return Header(created, expires, worth, bool(flags & _CONFIRMED))


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry whose seal holds; its answer is read only if it is wanted.

    Attributes:
        header: what a store reads of it.
        exact: the first bytes of the hash of the question as typed.
        principal: who asked.
        question: the question as typed.
        body: the whole, without the seal.
        payload_at: where the payload begins.
    """

    header: Header
    exact: bytes
    principal: bytes
    question: str
    body: bytes
    payload_at: int

    def entry(self) -> Entry:
        """Return the entry with its answer.

        Raises:
            Broken: nothing we wrote.
        """
        *_, payload_size, details_size = _HEADER.unpack_from(self.body)
        payload_ends = self.payload_at + payload_size
        payload = self.body[self.payload_at : payload_ends]
        details = self.body[payload_ends : payload_ends + details_size]
        try:
            answer = answer_from(payload.decode("utf-8", "surrogatepass"), json.loads(details))
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise Broken(f"the entry cannot be read: {error}") from error
        return Entry(
            header=self.header, exact=self.exact, principal=self.principal, question=self.question, answer=answer
        )


def opened(record: bytes, *, entry_id: bytes, partition: bytes, secret: bytes) -> Opened:
    """Return the entry.

    Raises:
        Broken: the bytes were changed, moved from another place, or sealed with another secret.
    """
    header = header_of(record)
    body, seal = record[:-_SEAL_BYTES], record[-_SEAL_BYTES:]
    if not hmac.compare_digest(seal, _seal(body, entry_id, partition, secret)):
        raise Broken("the seal does not hold: changed, moved, or of another secret")
    *_, exact, principal, question_size, _, _ = _HEADER.unpack_from(body)
    payload_at = _HEADER.size + question_size
    question = body[_HEADER.size : payload_at].decode("utf-8", "surrogatepass")
    return Opened(header, exact, principal, question, body, payload_at)


def _seal(body: bytes, entry_id: bytes, partition: bytes, secret: bytes) -> bytes:
    sealing = blake2b(body, key=secret, digest_size=_SEAL_BYTES, person=b"thrift-cache")
    sealing.update(entry_id)
    sealing.update(partition)
    return sealing.digest()
