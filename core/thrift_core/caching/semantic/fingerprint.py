"""A canonical form of everything that decides an answer, so that two requests compare byte by byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import cast

ID_BYTES = 16


class Uncacheable(Exception):
    """The request cannot be compared with another one, so it is not cached; says why."""


def digest(secret: bytes, *values: object, size: int = ID_BYTES) -> bytes:
    """Return a keyed hash of plain values: None, bool, numbers, text, bytes, lists and mappings of them.

    Different values never share a form: each is written with its kind and length. The order of a mapping's keys does
    not count, that of a list does.

    Args:
        secret: the key; without it nobody can tell which text or tenant a hash stands for.
        *values: what is hashed.
        size: bytes of the result.

    Raises:
        Uncacheable: a value is of another kind, such as an object of a framework.
    """
    parts: list[bytes] = []
    try:
        for value in values:
            _write(value, parts)
    except RecursionError:
        raise Uncacheable("a value is nested too deeply or contains itself") from None
    return blake2b(b"".join(parts), key=secret, digest_size=size).digest()


def _write(value: object, out: list[bytes]) -> None:
    # The plain types first: a request has thousands of them, and asking for abstract ones takes time.
    kind = type(value)
    if kind is str:
        _sized(b"s", cast("str", value).encode("utf-8", "surrogatepass"), out)
    elif value is None:
        out.append(b"n")
    elif kind is bool:
        out.append(b"t" if value else b"f")
    elif kind is list or kind is tuple:
        _sequence(cast("Sequence[object]", value), out)
    elif kind is dict:
        _mapping(cast("Mapping[object, object]", value), out)
    else:
        _write_other(value, out)


def _write_other(value: object, out: list[bytes]) -> None:
    if isinstance(value, str):
        _sized(b"s", value.encode("utf-8", "surrogatepass"), out)
    elif isinstance(value, int | float | Decimal):
        _sized(type(value).__name__[:1].encode(), repr(value).encode(), out)
    elif isinstance(value, bytes | bytearray):
        _sized(b"b", bytes(value), out)
    elif isinstance(value, Mapping):
        _mapping(cast("Mapping[object, object]", value), out)
    elif isinstance(value, Sequence):
        _sequence(cast("Sequence[object]", value), out)
    else:
        raise Uncacheable(f"a {type(value).__name__} cannot be compared with another one")


def _sized(kind: bytes, content: bytes, out: list[bytes]) -> None:
    out += (b"%s%d:" % (kind, len(content)), content)


def _sequence(values: Sequence[object], out: list[bytes]) -> None:
    out.append(b"l%d:" % len(values))
    for value in values:
        _write(value, out)


def _mapping(values: Mapping[object, object], out: list[bytes]) -> None:
    out.append(b"m%d:" % len(values))
    names: list[str] = []
    for name in values:
        if not isinstance(name, str):
            raise Uncacheable(f"a mapping has the key {name!r}, which is no text")
        names.append(name)
    for name in sorted(names):
        _write(name, out)
        _write(values[name], out)
