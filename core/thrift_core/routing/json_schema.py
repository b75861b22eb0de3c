"""Checks a JSON value against the part of JSON Schema that tools are described with.

Follows https://json-schema.org/draft/2020-12/json-schema-validation. Keywords that are not understood accept
everything, so what is refused is surely wrong; `format` is not checked, as the standard allows. Types are also read as
BFCL and Gemini write them (`dict`, `float`, `STRING`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import regex

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_SPELLINGS = {
    "dict": "object",
    "list": "array",
    "tuple": "array",
    "str": "string",
    "int": "integer",
    "bool": "boolean",
    "float": "number",
    "double": "number",
    "none": "null",
}
_MAX_DEPTH = 64
_PATTERN_SECONDS = 0.02
Schema = Mapping[str, Any]


def problems(value: object, schema: object) -> list[str]:
    """Return what is wrong with a value, each with its place; an empty list if nothing is.

    Example:
        >>> weather = {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}}, "required": ["city"]}
        >>> problems({"unit": "K"}, weather)
        ['city is missing', "unit: 'K' is none of 'C', 'F'"]
    """
    return list(dict.fromkeys(_Check(schema).problems(value, schema, "", 0)))


class _Check:
    """One check, with the root that references point into."""

    def __init__(self, root: object) -> None:
        self._root = root

    def problems(self, value: object, schema: object, at: str, depth: int) -> list[str]:
        if schema is False:
            return [_said(at, "is not allowed")]
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return []
        rules = cast("Schema", schema)
        found: list[str] = []
        if isinstance(reference := rules.get("$ref"), str):
            found += self.problems(value, self._resolved(reference), at, depth + 1)
        if value is None and rules.get("nullable") is True:
            return found
        if wrong := _wrong_type(value, rules.get("type")):
            return [*found, _said(at, wrong)]
        found += [_said(at, wrong) for check in _SIMPLE if (wrong := check(value, rules))]
        found += self._combined(value, rules, at, depth)
        if isinstance(value, dict):
            found += self._object(cast("dict[str, object]", value), rules, at, depth)
        elif isinstance(value, list):
            found += self._array(cast("list[object]", value), rules, at, depth)
        return found

    def _object(self, value: dict[str, object], rules: Schema, at: str, depth: int) -> list[str]:
        properties = _mapping(rules.get("properties"))
        required = rules.get("required")
        names = cast("list[object]", required) if isinstance(required, list) else []
        found = [_said(_inside(at, str(name)), "is missing", " ") for name in names if name not in value]
        others = rules.get("additionalProperties")
        patterns = _mapping(rules.get("patternProperties"))
        for name, item in value.items():
            matching = [patterns[pattern] for pattern in patterns if _matches(pattern, name)]
            if name in properties:
                matching.append(properties[name])
            elif not matching and others is False:
                found.append(_said(_inside(at, name), "is no parameter", " "))
            elif not matching and others is not None:
                matching.append(others)
            for schema in matching:
                found += self.problems(item, schema, _inside(at, name), depth + 1)
        return found

    def _array(self, value: list[object], rules: Schema, at: str, depth: int) -> list[str]:
        first = rules.get("prefixItems")
        heads = cast("list[object]", first) if isinstance(first, list) else []
        found: list[str] = []
        for place, item in enumerate(value):
            schema = heads[place] if place < len(heads) else rules.get("items")
            if schema is not None and not isinstance(schema, list):
                found += self.problems(item, schema, f"{at}[{place}]", depth + 1)
        return found

    def _combined(self, value: object, rules: Schema, at: str, depth: int) -> list[str]:
        found: list[str] = []
        for schema in _schemas(rules.get("allOf")):
            found += self.problems(value, schema, at, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            options = _schemas(rules.get(keyword))
            fitting = sum(not self.problems(value, schema, at, depth + 1) for schema in options)
            if options and (fitting == 0 or (keyword == "oneOf" and fitting > 1)):
                found.append(_said(at, f"fits {fitting} of the {len(options)} forms"))
        if isinstance(rules.get("not"), Mapping) and not self.problems(value, rules["not"], at, depth + 1):
            found.append(_said(at, "has a form that is ruled out"))
        return found

    def _resolved(self, reference: str) -> object:
        if not reference.startswith("#"):
            return True
        at = self._root
        for part in reference.lstrip("#").split("/"):
            if part:
                name = part.replace("~1", "/").replace("~0", "~")
                at = cast("Schema", at).get(name) if isinstance(at, Mapping) else None
        return True if at is None else at


def _wrong_type(value: object, asked: object) -> str | None:
    names = [asked] if isinstance(asked, str) else cast("list[object]", asked) if isinstance(asked, list) else []
    known = [_SPELLINGS.get(str(name).lower(), str(name).lower()) for name in names]
    if not known or any(name not in _TYPES for name in known):
        return None
    return None if any(_is(value, name) for name in known) else f"is {_named(value)}, not {' or '.join(known)}"


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _named(value: object) -> str:
    return next((name for name in ("boolean", "integer", *_TYPES) if _is(value, name)), type(value).__name__)


def _enum(value: object, rules: Schema) -> str | None:
    options = rules.get("enum")
    if isinstance(options, list):
        choices = cast("list[object]", options)
        if not any(_same(value, option) for option in choices):
            return f"{value!r} is none of {', '.join(map(repr, choices))}"
    if "const" in rules and not _same(value, rules["const"]):
        return f"{value!r} is not {rules['const']!r}"
    return None


def _same(value: object, other: object) -> bool:
    """Whether two values are equal in JSON, where true is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _number(value: object, rules: Schema) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    tests: tuple[tuple[str, Callable[[float], bool]], ...] = (
        ("minimum", lambda limit: value >= limit),
        ("maximum", lambda limit: value <= limit),
        ("exclusiveMinimum", lambda limit: value > limit),
        ("exclusiveMaximum", lambda limit: value < limit),
        ("multipleOf", lambda step: step <= 0 or abs(value / step - round(value / step)) < 1e-9),
    )
    return _limit(value, rules, tests)


def _size(value: object, rules: Schema) -> str | None:
    kinds = {str: ("minLength", "maxLength"), list: ("minItems", "maxItems"), dict: ("minProperties", "maxProperties")}
    for kind, (least, most) in kinds.items():
        if isinstance(value, kind):
            size = float(len(cast("Sequence[object]", value)))
            if wrong := _limit(size, rules, ((least, size.__ge__), (most, size.__le__))):
                return f"size {wrong}"
    if isinstance(value, list) and rules.get("uniqueItems") is True:
        items = cast("list[object]", value)
        if any(_same(item, other) for place, item in enumerate(items) for other in items[:place]):
            return "has an item twice"
    return None


def _limit(value: float, rules: Schema, tests: Sequence[tuple[str, Callable[[float], bool]]]) -> str | None:
    for keyword, holds in tests:
        limit = rules.get(keyword)
        if isinstance(limit, int | float) and not isinstance(limit, bool) and not holds(limit):
            return f"{value} breaks {keyword} {limit}"
    return None


def _pattern(value: object, rules: Schema) -> str | None:
    pattern = rules.get("pattern")
    if isinstance(value, str) and isinstance(pattern, str) and not _matches(pattern, value):
        return f"does not match {pattern}"
    return None


def _matches(pattern: str, text: str) -> bool:
    # A pattern is anybody's: one that is broken or takes too long accepts.
    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS) is not None
    except (regex.error, TimeoutError):
        return True


_SIMPLE: tuple[Callable[[object, Schema], str | None], ...] = (_enum, _number, _size, _pattern)


def _schemas(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _mapping(value: object) -> Schema:
    return cast("Schema", value) if isinstance(value, Mapping) else {}


def _inside(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _said(at: str, what: str, joint: str = ": ") -> str:
    return f"{at}{joint}{what}" if at else what
