"""Random tool schemas, and calls that fit them or do not."""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]


def tool_schema(chance: random.Random) -> Schema:
    """Return an object schema of one to four properties."""
    names = chance.sample(["city", "unit", "count", "tags", "where", "is_new", "ratio", "note"], chance.randint(1, 4))
    schema: Schema = {"type": "object", "properties": {name: _schema(chance, 2) for name in names}}
    schema["required"] = sorted(chance.sample(names, chance.randint(0, len(names))))
    if chance.random() < 0.5:
        schema["additionalProperties"] = False
    return schema


def fitting(chance: random.Random, schema: Schema) -> Any:  # noqa: PLR0911 - one line for each kind of schema
    """Return a value that a schema allows."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if "anyOf" in schema:
        return fitting(chance, chance.choice(schema["anyOf"]))
    match schema["type"]:
        case "object":
            wanted = schema.get("required", [])
            named = schema["properties"]
            return {name: fitting(chance, named[name]) for name in named if name in wanted or chance.random() < 0.5}
        case "array":
            count = chance.randint(schema.get("minItems", 0), schema.get("maxItems", 3))
            return [fitting(chance, schema["items"]) for _ in range(count)]
        case "string":
            return "paris"[: schema.get("maxLength", 5)].ljust(schema.get("minLength", 0), "x")
        case "integer":
            return chance.randint(schema.get("minimum", -5), schema.get("maximum", 50))
        case "number":
            return chance.choice([0.5, 1, 2.25])
        case "boolean":
            return chance.random() < 0.5
        case _:
            return None


def arguments(chance: random.Random, schema: Schema) -> Any:
    """Return arguments of a call: half of them fit, half have something done to them, which may not even hurt."""
    given = fitting(chance, schema)
    if chance.random() < 0.5:
        return given
    names = list(schema["properties"])
    for _ in range(chance.randint(1, 2)):
        name = chance.choice([*names, "other"])
        if name in given and chance.random() < 0.4:
            del given[name]
        else:
            given[name] = chance.choice([None, "many", -999, 3.75, [], ["a", 1], {}, {"city": 5}, True, "x" * 40])
    return given


def _schema(chance: random.Random, depth: int) -> Schema:  # noqa: PLR0911 - as above
    kinds = ["string", "integer", "number", "boolean", "enum", "const", "anyOf", "nullable"]
    match chance.choice([*kinds, "array", "object"] if depth else kinds):
        case "enum":
            return {"enum": chance.choice([["C", "F"], [1, 2, 3], ["a", None], [True, "yes"]])}
        case "const":
            return {"const": chance.choice(["fixed", 7])}
        case "anyOf":
            return {"anyOf": [_schema(chance, 0), _schema(chance, 0)]}
        case "nullable":
            return {"anyOf": [{"type": "string"}, {"type": "null"}]}
        case "array":
            most = chance.randint(1, 3)
            return {"type": "array", "items": _schema(chance, depth - 1), "minItems": 1, "maxItems": most}
        case "object":
            named = {"city": _schema(chance, depth - 1), "zip": _schema(chance, depth - 1)}
            return {"type": "object", "properties": named, "required": ["city"], "additionalProperties": False}
        case "string":
            least = chance.randint(0, 3)
            return {"type": "string", "minLength": least, "maxLength": least + chance.randint(2, 8)}
        case "integer":
            least = chance.randint(-3, 3)
            return {"type": "integer", "minimum": least, "maximum": least + chance.randint(1, 9)}
        case kind:
            return {"type": kind}
