"""Large tool sets: a few tools chosen once per thread, the rest behind one tool that finds and calls them.

The choice depends on the tools and on what the thread begins with, up to the first user message, so it is the same at
every call of the thread and the provider's cached prefix, which tools stand at the very start of, stays valid.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from thrift_core.compression.schema_forms import is_list
from thrift_core.compression.schemas import minified_tool
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message
from thrift_core.relevance.rarity import tokenizer_rarity
from thrift_core.relevance.segmentation import words

FIND_TOOLS = "find_tools"
_PARTS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_MOST_FOUND = 5
# BM25's usual saturation and length damping; words of a tool's name count so many times.
_K, _B = 1.2, 0.6
_NAME_WEIGHT = 4
# What the system prompt says is about all tasks; what the user says is about this one.
_SYSTEM_WEIGHT = 1.0
_FEEDBACK = 8
# A word as common as this in all texts says nothing about a task.
_COMMON = 0.75
_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema")


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call of a tool that is not offered, made through `find_tools`.

    Attributes:
        name: the tool to call.
        arguments: its arguments as JSON text.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolSelection:
    """What a thread is offered.

    Attributes:
        offered: the tools chosen, in the order given, with `find_tools` last where any is left out.
        left_out: the others.
    """

    offered: tuple[Mapping[str, Any], ...]
    left_out: tuple[Mapping[str, Any], ...]

    def answer(self, arguments: Mapping[str, Any]) -> str | FoundCall:
        """Answer a call of `find_tools`.

        Args:
            arguments: `query`, words to look for; or `name` and `arguments`, to call a tool that was found.

        Returns:
            definitions of the tools found, or words for the model where there are none; or the call to make.
        """
        name = arguments.get("name")
        if isinstance(name, str) and name:
            known = {_name(tool): tool for tool in self.left_out}
            if name in known:
                return FoundCall(name, _as_json(arguments.get("arguments")))
            close = ", ".join(_name(tool) for tool in self.found(name)) or "none like it"
            return f"There is no tool {name!r} here; found: {close}."
        found = self.found(str(arguments.get("query") or ""))
        if not found:
            names = ", ".join(_name(tool) for tool in self.left_out)
            return f"No tool matches. There are: {names}."
        shown = "\n".join(_compact(minified_tool(tool)) for tool in found)
        return f'{shown}\nCall one with {FIND_TOOLS}: {{"name": ..., "arguments": {{...}}}}'

    def found(self, query: str) -> list[Mapping[str, Any]]:
        """Return the tools left out that match a query, best first, a few at most."""
        scores = _scores(self.left_out, Counter(words(_spaced(query))))
        ranked = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        return [self.left_out[index] for index in ranked[:_MOST_FOUND] if scores[index] > 0]


def find_tools_schema() -> dict[str, Any]:
    """Return the definition of `find_tools`, in OpenAI's form and as short as it can be."""
    text = {"type": "string"}
    return {
        "type": "function",
        "function": {
            "name": FIND_TOOLS,
            "description": "More tools. Give query to find some, then name and arguments to call one.",
            "parameters": {
                "type": "object",
                "properties": {"query": text, "name": text, "arguments": {"type": "object"}},
            },
        },
    }


def select_tools(
    tools: Sequence[Mapping[str, Any]], messages: Sequence[Message], *, most: int = 10, always: Sequence[str] = ()
) -> ToolSelection:
    """Return what a thread that begins with these messages is offered.

    Args:
        tools: all tools, in any provider's form.
        messages: the thread; only what comes before the model's first answer is read.
        most: how many are offered, `find_tools` not counted; all of them where there are no more.
        always: names of tools that are offered whatever the thread is about.

    Raises:
        ConfigurationError: `most` is less than 1.

    Example:
        >>> tools = [{"name": f"get_{what}", "description": f"Look up a {what}."} for what in ("fare", "seat", "meal")]
        >>> selection = select_tools(tools, [Message("user", "Which meal is served?")], most=1)
        >>> [tool.get("name") for tool in selection.offered][:1], len(selection.left_out)
        (['get_meal'], 2)
    """
    if most < 1:
        raise ConfigurationError(f"most={most!r}: offer at least 1 tool")
    if len(tools) <= most:
        return ToolSelection(tuple(tools), ())
    asked = _asked(messages)
    scores = _scores(tools, asked)
    scores = _scores(tools, _widened(tools, scores, asked))
    fixed = {index for index, tool in enumerate(tools) if _name(tool) in always}
    ranked = sorted(range(len(tools)), key=lambda index: (index not in fixed, -scores[index], index))
    chosen = set(ranked[: max(most, len(fixed))])
    offered = [tool for index, tool in enumerate(tools) if index in chosen]
    left_out = tuple(tool for index, tool in enumerate(tools) if index not in chosen)
    return ToolSelection((*offered, find_tools_schema()), left_out)


def _asked(messages: Sequence[Message]) -> dict[str, float]:
    """Return the words that a thread begins with, and how much each counts: more where it comes again and again."""
    counts: dict[str, Counter[str]] = {}
    for message in messages:
        if message.role == "assistant":
            break
        counts.setdefault(message.role, Counter()).update(words(_spaced(message.text)))
    weights: dict[str, float] = {}
    for role, found in counts.items():
        share = _SYSTEM_WEIGHT if role == "system" else 1.0
        for word, count in found.items():
            weight = share * math.log1p(count) * max(0.0, tokenizer_rarity(word) - _COMMON)
            if weight:
                weights[word] = weights.get(word, 0.0) + weight
    return weights


def _scores(tools: Sequence[Mapping[str, Any]], asked: Mapping[str, float]) -> list[float]:
    """Return how well each tool matches, by BM25 over its name, its description and its parameters."""
    bags = [_bag(tool) for tool in tools]
    lengths = [sum(bag.values()) for bag in bags]
    mean = sum(lengths) / max(1, len(lengths)) or 1.0
    total = len(tools)
    found = Counter(stem for bag in bags for stem in bag)
    stems: dict[str, float] = {}
    for word, weight in asked.items():
        stems[_stem(word)] = max(weight, stems.get(_stem(word), 0.0))
    scores: list[float] = []
    for bag, length in zip(bags, lengths, strict=True):
        score = 0.0
        for stem, weight in stems.items():
            if count := bag.get(stem):
                rarity = (total - found[stem] + 0.5) / (found[stem] + 0.5)
                damped = count + _K * (1 - _B + _B * length / mean)
                score += weight * max(0.0, math.log(1 + rarity)) * count * (_K + 1) / damped
        scores.append(round(score, 9))
    return scores


def _bag(tool: Mapping[str, Any]) -> Counter[str]:
    inner = _inner(tool)
    bag: Counter[str] = Counter()
    for word in words(_spaced(_name(tool))):
        bag[_stem(word)] += _NAME_WEIGHT
    texts = [str(inner.get("description") or "")]
    for key in _SCHEMA_KEYS:
        if key in inner:
            texts += _texts(inner[key])
    bag.update(_stem(word) for text in texts for word in words(_spaced(text)))
    return bag


def _widened(
    tools: Sequence[Mapping[str, Any]], scores: Sequence[float], asked: Mapping[str, float]
) -> dict[str, float]:
    """Return the asked words with those of the best tools' names: an app's tools are about the same few things.

    That is pseudo-relevance feedback (Rocchio 1971), for threads begin vaguely and their tools work together.
    """
    best = sorted(range(len(scores)), key=lambda index: (-scores[index], index))[:_FEEDBACK]
    names = Counter(stem for index in best for stem in {_stem(word) for word in words(_spaced(_name(tools[index])))})
    widened = dict(asked)
    heaviest = max(asked.values(), default=1.0)
    for stem, count in names.items():
        if count > 1:
            widened[stem] = widened.get(stem, 0.0) + heaviest * count / _FEEDBACK
    return widened


def _texts(schema: Any) -> list[str]:
    """Return the names and descriptions in a schema."""
    found: list[str] = []
    stack: list[Any] = [schema]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            for key, item in cast("Mapping[str, Any]", value).items():
                if key == "description" and isinstance(item, str):
                    found.append(item)
                elif key == "properties" and isinstance(item, Mapping):
                    found += cast("Mapping[str, Any]", item)
                if isinstance(item, Mapping | list):
                    stack.append(item)
        elif is_list(value):
            stack += value
    return found


def _inner(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = tool.get("function")
    return cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool


def _name(tool: Mapping[str, Any]) -> str:
    return str(_inner(tool).get("name") or "")


def _spaced(text: str) -> str:
    """Return a text with the words inside names such as `getUserDetails` set apart."""
    return " ".join(_PARTS_OF_NAME.findall(text)) if text.isascii() else text.replace("_", " ")


def _stem(word: str) -> str:
    """Return a word without a common English ending; other languages' words lose little by it."""
    for ending in ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s", "e", "y"):
        if len(word) - len(ending) >= 3 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def _as_json(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)


def _compact(tool: Mapping[str, Any]) -> str:
    return json.dumps(_inner(tool), ensure_ascii=False, separators=(",", ":"), default=repr)
