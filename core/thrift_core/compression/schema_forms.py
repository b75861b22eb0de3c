"""A normal form of JSON Schema, so that two schemas can be shown to accept the same values.

Covered is what tool definitions are made of. References are written out, annotations left away, lists of types and
unions brought into one form, and what says nothing (an empty `required`) dropped. Two schemas with the same form accept
the same values; what the form does not know stays in it as it is, so that a doubt makes them differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "deprecated", "readOnly")
)
_DEFINITIONS = ("$defs", "definitions")
# Keywords that a value of another type passes, by the type that they are about.
_ABOUT: dict[str, frozenset[str]] = {
    "object": frozenset(
        (
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "minProperties",
            "maxProperties",
            "propertyNames",
        )
    ),
    "array": frozenset(("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains")),
    "string": frozenset(("minLength", "maxLength", "pattern", "format")),
    "number": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
}
_DEEPEST = 60
# What schemas are inside of: under `properties`, names stand where keywords stand elsewhere.
NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions"))
LISTED = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
SINGLE = frozenset(("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"))
Schema = Mapping[str, Any]


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Say whether a value is a list."""
    return isinstance(value, list)


def is_mapping(value: object) -> TypeGuard[Schema]:
    """Say whether a value is a mapping."""
    return isinstance(value, Mapping)


def equivalent(before: Schema, after: Schema) -> bool:
    """Say whether two schemas surely accept the same values and say the same about them; False where it is not sure.

    Example:
        >>> equivalent({"anyOf": [{"type": "string"}, {"type": "null"}], "title": "A"}, {"type": ["string", "null"]})
        True
        >>> equivalent({"type": "string"}, {"type": "integer"})
        False
    """
    try:
        return _form(before, before, 0) == _form(after, after, 0) and _said(before) <= _said(after)
    except (RecursionError, ValueError, TypeError, LookupError):
        return False


def resolved(reference: str, root: Schema) -> Schema | None:
    """Return what a local reference points to."""
    if not reference.startswith("#/"):
        return None
    found: Any = root
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not is_mapping(found) or key not in found:
            return None
        found = found[key]
    return found if is_mapping(found) else None


def _form(schema: Any, root: Schema, depth: int) -> Any:
    """Return the normal form: a sorted list of alternatives, each a mapping of one type's keywords."""
    if depth > _DEEPEST:
        raise RecursionError("a schema that holds itself")
    if not is_mapping(schema):
        return schema
    own = {key: value for key, value in schema.items() if key not in ANNOTATIONS and key not in _DEFINITIONS}
    if isinstance(reference := own.get("$ref"), str):
        target = resolved(reference, root)
        if target is None:
            raise LookupError(reference)
        del own["$ref"]
        own = (
            {**{key: value for key, value in target.items() if key not in ANNOTATIONS}, **own}
            if not own.keys() & (target.keys() - ANNOTATIONS)
            else {**own, "allOf": [*own.get("allOf", ()), target]}
        )
    if is_list(parts := own.get("allOf")) and len(parts) == 1:
        inner = _plain(parts[0])
        if not own.keys() & inner.keys() - {"allOf"}:
            return _form({**{key: value for key, value in own.items() if key != "allOf"}, **inner}, root, depth + 1)
    unions = [key for key in ("anyOf", "oneOf") if key in own]
    if unions == ["anyOf"] and len(own) == 1:
        alternatives = [item for part in own["anyOf"] for item in _alternatives(_form(part, root, depth + 1))]
        return _sorted(alternatives)
    return _sorted(_by_type(own, root, depth))


def _plain(schema: Any) -> dict[str, Any]:
    if not is_mapping(schema):
        return {"allOf": [schema]}
    return {key: value for key, value in schema.items() if key not in ANNOTATIONS}


def _alternatives(form: Any) -> list[Any]:
    return form if is_list(form) else [form]


def _by_type(own: Mapping[str, Any], root: Schema, depth: int) -> list[Any]:
    types = own.get("type")
    if not is_list(types):
        return [_keywords(own, root, depth)]
    found: list[Any] = []
    for one in types:
        others = {key for name, keys in _ABOUT.items() if name != _family(one) for key in keys}
        mine = {key: value for key, value in own.items() if key not in others}
        mine["type"] = one
        if is_list(values := own.get("enum")):
            mine["enum"] = [value for value in values if _is_of(value, one)]
            if mine["enum"] == [None]:
                del mine["enum"]
        found.append(_keywords(mine, root, depth))
    return found


def _keywords(own: Mapping[str, Any], root: Schema, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in own.items():
        if key in NAMED and is_mapping(value):
            named = value
            found[key] = {name: _form(item, root, depth + 1) for name, item in sorted(named.items())}
        elif key in LISTED and is_list(value):
            found[key] = _sorted([_form(item, root, depth + 1) for item in value], keep_order=key == "prefixItems")
        elif key in SINGLE:
            found[key] = _form(value, root, depth + 1)
        elif key in ("required", "enum") and is_list(value):
            found[key] = _sorted(value)
        else:
            found[key] = value
    return {key: value for key, value in found.items() if not _says_nothing(key, value)}


def _says_nothing(key: str, value: Any) -> bool:
    if key in ("required", "properties"):
        return not value
    return key == "additionalProperties" and value in (True, {}, [{}])


def _family(one: str) -> str:
    return "number" if one == "integer" else one


def _is_of(value: Any, one: str) -> bool:
    if value is None or isinstance(value, bool):
        return one == ("null" if value is None else "boolean")
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "array": list,
        "object": Mapping,
    }
    return one in kinds and isinstance(value, kinds[one])


def _sorted(items: Sequence[Any], *, keep_order: bool = False) -> list[Any]:
    written = {json.dumps(item, sort_keys=True, default=repr): item for item in items}
    return list(items) if keep_order else [written[key] for key in sorted(written)]


def _said(schema: Any) -> set[str]:
    """Return the descriptions and defaults in a schema, in words: none may be lost."""
    found: set[str] = set()
    stack: list[tuple[Any, bool]] = [(schema, False)]
    while stack:
        value, are_names = stack.pop()
        if is_mapping(value):
            for key, item in value.items():
                if not are_names and key == "description" and isinstance(item, str):
                    found.add(" ".join(item.split()))
                elif not are_names and key == "default" and item is not None:
                    found.add(json.dumps(item, sort_keys=True, default=repr))
                else:
                    stack.append((item, not are_names and key in NAMED))
        elif is_list(value):
            stack += [(item, False) for item in value]
    return found - {""}
