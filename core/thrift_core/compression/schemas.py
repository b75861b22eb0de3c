"""Tool definitions without what models need not read: the same tools, fewer tokens, each proved to be equivalent.

Gone are titles, unions written out only to allow null, definitions used once, what says nothing, blanks inside
descriptions, and signatures that frameworks put before a description though the schema says the same.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from thrift_core.compression.schema_forms import (
    LISTED,
    NAMED,
    SINGLE,
    Schema,
    equivalent,
    is_list,
    is_mapping,
    resolved,
)

_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"[^\S\n]*\n[^\S\n]*")
_SIGNATURE = re.compile(r"(\w{1,128})\((.{0,2000}?)\)(?:\s*->\s*([^\n]{1,200}))?\n+")
_PARAMETER = re.compile(r"(?:^|,)\s*(\w+)\s*(?=[:=,]|$)")
# Keywords that a null passes, so that a type beside null may carry them.
_PASSED_BY_NULL = frozenset(
    (
        *(
            "type",
            "description",
            "default",
            "title",
            "enum",
            "items",
            "minItems",
            "maxItems",
            "uniqueItems",
            "properties",
        ),
        *("required", "additionalProperties", "minLength", "maxLength", "pattern", "format", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)
# Gemini's schemas have one type each; a list of types is refused.
_ONE_TYPE_ONLY = frozenset(("google", "google-gla", "google-vertex", "google_genai"))
_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema")
_ROUNDS = 4
_NOTHING: dict[str, Any] = {"required": [], "additionalProperties": True, "examples": []}


def minified_tools(tools: Iterable[Mapping[str, Any]], *, provider: str | None = None) -> tuple[Mapping[str, Any], ...]:
    """Return tool definitions, each minified where that is proved to be equivalent and as given where it is not."""
    return tuple(minified_tool(tool, provider=provider) for tool in tools)


def minified_tool(tool: Mapping[str, Any], *, provider: str | None = None) -> Mapping[str, Any]:
    """Return a tool's definition in fewer tokens, in the form it came in (OpenAI's, Anthropic's or a bare function).

    Args:
        tool: the definition; not changed.
        provider: who it is sent to, as genai-prices spells it, for not all take lists of types.

    Example:
        >>> tool = {"name": "f", "input_schema": {"type": "object", "title": "F", "required": [],
        ...     "properties": {"a": {"title": "A", "anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}}}
        >>> minified_tool(tool)["input_schema"]
        {'type': 'object', 'properties': {'a': {'type': ['string', 'null']}}}
    """
    inner = tool.get("function")
    if is_mapping(inner):
        return {**tool, "function": _minified(inner, provider)}
    return _minified(tool, provider)


def _minified(tool: Schema, provider: str | None) -> dict[str, Any]:
    found = dict(tool)
    for key in _SCHEMA_KEYS:
        schema = tool.get(key)
        if is_mapping(schema):
            given = schema
            shorter = minified_schema(given, may_list_types=provider not in _ONE_TYPE_ONLY)
            if _length(shorter) < _length(given):
                found[key] = shorter
    if isinstance(description := tool.get("description"), str):
        found["description"] = _without_signature(_tidy(description), found)
    return found


def minified_schema(schema: Schema, *, may_list_types: bool = True) -> Schema:
    """Return an equivalent schema in fewer tokens, or the one given where equivalence cannot be shown."""
    found = schema
    try:
        # A definition made short may now be worth writing out where it is used.
        for _ in range(_ROUNDS):
            before, found = found, _Minifier(found, may_list_types=may_list_types).schema()
            if found == before:
                break
    except (RecursionError, TypeError, ValueError, LookupError):
        return schema
    return found if equivalent(schema, found) else schema


class _Minifier:
    def __init__(self, root: Schema, *, may_list_types: bool) -> None:
        self._root = root
        self._may_list_types = may_list_types
        self._uses = Counter(_references(root))
        self._kept: set[str] = set()

    def schema(self) -> dict[str, Any]:
        found: dict[str, Any] = self._schema(self._root, ())
        for key in ("$defs", "definitions"):
            named = self._root.get(key)
            if not is_mapping(named):
                continue
            kept: dict[str, Any] = {}
            while wanted := [name for name in named if self._is_wanted(key, name) and name not in kept]:
                for name in wanted:
                    kept[name] = self._schema(named[name], (f"#/{key}/{name}",))
            found.pop(key, None)
            if kept:
                found[key] = kept
        return found

    def _is_wanted(self, key: str, name: str) -> bool:
        return f"#/{key}/{name}" in self._kept

    def _schema(self, schema: Any, inside: tuple[str, ...]) -> Any:
        if not is_mapping(schema):
            return schema
        own = dict(schema)
        if not inside and own is not self._root:
            own = {key: value for key, value in own.items() if key not in ("$defs", "definitions")}
        reference = own.get("$ref")
        if isinstance(reference, str):
            target = self._target(reference, inside)
            if target is None:
                self._kept.add(reference)
            else:
                siblings = {key: value for key, value in own.items() if key != "$ref"}
                return self._schema({**target, **siblings}, (*inside, reference))
        found: dict[str, Any] = {}
        for key, value in own.items():
            if key == "title" and isinstance(value, str):
                continue
            found[key] = self._value(key, value, inside)
        return self._shorter({key: value for key, value in found.items() if not _says_nothing(key, value)})

    def _value(self, key: str, value: Any, inside: tuple[str, ...]) -> Any:
        if key in NAMED and is_mapping(value):
            return {name: self._schema(item, inside) for name, item in value.items()}
        if key in LISTED and is_list(value):
            return [self._schema(item, inside) for item in value]
        if key in SINGLE:
            return self._schema(value, inside)
        return _tidy(value) if key == "description" and isinstance(value, str) else value

    def _target(self, reference: str, inside: tuple[str, ...]) -> dict[str, Any] | None:
        """Return a definition to write out in place: one used once, or so short that the reference is no shorter."""
        target = resolved(reference, self._root)
        if target is None or reference in inside:
            return None
        is_short = _length(target) <= len(reference) + 12
        return dict(target) if self._uses[reference] == 1 or is_short else None

    def _shorter(self, found: dict[str, Any]) -> dict[str, Any]:
        parts = found.get("allOf")
        if is_list(parts) and len(parts) == 1:
            inner: Any = parts[0]
            if is_mapping(inner) and not (inner.keys() - {"description"}) & found.keys():
                found = {
                    **{key: value for key, value in inner.items() if key not in found},
                    **_but(found, "allOf"),
                }
        union = found.get("anyOf")
        if self._may_list_types and is_list(union) and len(union) == 2:
            found = _with_null(found, union)
        is_nullable = is_list(kind := found.get("type")) and "null" in kind
        if is_nullable and "default" in found and found["default"] is None:
            del found["default"]
        return found


def _with_null(found: dict[str, Any], union: Sequence[Any]) -> dict[str, Any]:
    """Return a union of one type and null as one schema with two types."""
    others = [part for part in union if part != {"type": "null"}]
    if len(others) != 1 or not is_mapping(others[0]):
        return found
    other = others[0]
    kind = other.get("type")
    outer = _but(found, "anyOf")
    if not isinstance(kind, str) or not other.keys() <= _PASSED_BY_NULL or outer.keys() & other.keys():
        return found
    merged = {**other, **outer, "type": [kind, "null"]}
    if "enum" in merged:
        merged["enum"] = [*merged["enum"], None]
    return merged


def _but(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != key}


def _says_nothing(key: str, value: Any) -> bool:
    return key in _NOTHING and type(value) is type(_NOTHING[key]) and value == _NOTHING[key]


def _references(value: Any) -> Iterable[str]:
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if is_mapping(item):
            fields = item
            if isinstance(reference := fields.get("$ref"), str):
                yield reference
            stack += fields.values()
        elif is_list(item):
            stack += item


def _tidy(text: str) -> str:
    """Return a description without the indentation and the trailing blanks of the docstring that it was."""
    lines = _LINES.sub("\n", text.strip())
    return _BLANKS.sub(" ", re.sub(r"\n{2,}", "\n", lines))


_PLAIN_RETURNS = frozenset(("", "str", "None", "Any", "object"))


def _without_signature(description: str, tool: Mapping[str, Any]) -> str:
    """Return a description without a leading signature that names just the parameters of the schema."""
    hit = _SIGNATURE.match(description)
    if hit is None or hit[1] != tool.get("name") or (hit[3] or "").strip() not in _PLAIN_RETURNS:
        return description
    schema = next((tool[key] for key in _SCHEMA_KEYS if is_mapping(tool.get(key))), None)
    names = set(schema.get("properties") or ()) if schema is not None else set[str]()
    rest = description[hit.end() :]
    return rest if rest and set(_PARAMETER.findall(_outside_brackets(hit[2]))) == names else description


def _outside_brackets(text: str) -> str:
    depth = 0
    kept: list[str] = []
    for character in text:
        depth += (character in "[({") - (character in "])}")
        if depth == 0 and character not in "])}":
            kept.append(character)
    return "".join(kept)


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr))


def tool_tokens(tools: Sequence[Mapping[str, Any]], count: Callable[[str], int]) -> int:
    """Return the tokens of tool definitions, written as JSON as clients send them."""
    return sum(count(json.dumps(tool, ensure_ascii=False, separators=(",", ":"), default=repr)) for tool in tools)
