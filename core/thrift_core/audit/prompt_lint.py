"""Finds dead weight in what is sent with every call: system prompts and tool definitions.

Each finding is a suggestion with the tokens that it could save at most; whether the text is dead weight, a person
decides. Findings may overlap, so their tokens are not to be added up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from thrift_core.audit.prompt_files import PromptFiles
from thrift_core.compression.schemas import minified_tool
from thrift_core.relevance.rarity import tokenizer_rarity
from thrift_core.relevance.segmentation import sentences, words

# Two rules say the same when they share this much of their words (Jaccard); chosen to pass over opposites of few words.
_SAME_SHARE = 0.8
_FEWEST_WORDS = 5
_MANY_EXAMPLES = 2
_MANY_TOOLS = 20
# Rules that differ in a word rarer than this, or in a turn such as `not`, say different things.
_COMMON = 0.8
_TURNS = frozenset(("not", "no", "never", "always", "must", "don", "only", "except", "unless", "before", "after"))
_VOLATILE: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "a date or time",
        re.compile(r"\b(?:20\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?|\d{1,2}:\d\d(?::\d\d)? ?(?:[AP]M|UTC|EST)?)\b"),
    ),
    (
        "an id",
        re.compile(
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b(?:request|session|trace)[ _-]?id\b",
            re.I,
        ),
    ),
    ("a placeholder", re.compile(r"\{\{[^{}\n]{1,60}\}\}|(?<![\w{])\{[a-z_]\w{0,40}\}|<%.{1,60}?%>|\$\{\w{1,40}\}")),
    ("the present", re.compile(r"\b(?:current (?:date|time)|today(?:'s date)? is|the time is now)\b", re.I)),
)
_EXAMPLE = re.compile(r"^\W{0,6}(?:example|e\.g\.|sample|input|for example)\b[^\n]{0,60}", re.I | re.M)
_DECORATION = re.compile(r"[=*#_~-]{6,}|[^\S\n]{3,}(?=\S)|[^\S\n]+$|\n{3,}", re.M)


@dataclass(frozen=True, slots=True)
class Finding:
    """One suggestion.

    Attributes:
        kind: what it is about: `repeated rule`, `examples`, `decoration`, `volatile text`, `tool schema`,
            `duplicate tool text`, `many tools`.
        where: the file, and the line or the tool.
        text: an excerpt.
        advice: what could be done.
        tokens: tokens of each call that it concerns: saved at most, or for volatile text sent anew because of it.
    """

    kind: str
    where: str
    text: str
    advice: str
    tokens: int


@dataclass(frozen=True, slots=True)
class PromptLint:
    """What was found.

    Attributes:
        prompt_tokens: tokens of the system prompts.
        tool_tokens: tokens of the tool definitions, as JSON.
        findings: the suggestions, the heaviest first.
    """

    prompt_tokens: int
    tool_tokens: int
    findings: tuple[Finding, ...]


def lint_prompts(files: PromptFiles, count: Callable[[str], int]) -> PromptLint:
    """Return what could go from prompts and tools.

    Args:
        files: what is sent with every call.
        count: counts tokens.
    """
    findings: list[Finding] = []
    for name, text in files.prompts.items():
        findings += _repeated(name, text, count)
        findings += _examples(name, text, count)
        findings += _decoration(name, text, count)
        findings += _volatile(name, text, count)
    findings += _tool_findings(files, count)
    prompt_tokens = sum(map(count, files.prompts.values()))
    tool_tokens = sum(count(_json(tool)) for _, tool in files.tools)
    ranked = sorted(findings, key=lambda finding: (-finding.tokens, finding.where, finding.kind))
    return PromptLint(prompt_tokens, tool_tokens, tuple(ranked))


def _repeated(name: str, text: str, count: Callable[[str], int]) -> Iterator[Finding]:
    seen: list[tuple[frozenset[str], int]] = []
    by_word: dict[str, list[int]] = {}
    for start, end in sentences(text):
        said = frozenset(words(text[start:end]))
        if len(said) < _FEWEST_WORDS:
            continue
        near = {index for word in said for index in by_word.get(word, ())}
        twin = next((index for index in sorted(near) if _are_same(said, seen[index][0])), None)
        if twin is not None:
            first = _line(text, seen[twin][1])
            advice = f"says nearly the same as line {first}; keep one"
            yield Finding(
                "repeated rule",
                f"{name}:{_line(text, start)}",
                _excerpt(text[start:end]),
                advice,
                count(text[start:end]),
            )
            continue
        for word in said:
            by_word.setdefault(word, []).append(len(seen))
        seen.append((said, start))


def _are_same(said: frozenset[str], other: frozenset[str]) -> bool:
    if len(said & other) < _SAME_SHARE * len(said | other):
        return False
    return all(word not in _TURNS and tokenizer_rarity(word) < _COMMON and not word.isdigit() for word in said ^ other)


def _examples(name: str, text: str, count: Callable[[str], int]) -> Iterator[Finding]:
    starts = [hit.start() for hit in _EXAMPLE.finditer(text)]
    if len(starts) <= _MANY_EXAMPLES:
        return
    ends = [*starts[1:], _end_of_block(text, starts[-1])]
    extra = list(zip(starts, ends, strict=True))[_MANY_EXAMPLES:]
    tokens = sum(count(text[start:end]) for start, end in extra)
    advice = f"{len(starts)} examples; measure whether those after the first {_MANY_EXAMPLES} change any answer"
    yield Finding("examples", f"{name}:{_line(text, extra[0][0])}", _excerpt(text[extra[0][0] :]), advice, tokens)


def _end_of_block(text: str, start: int) -> int:
    end = text.find("\n\n", start)
    return len(text) if end < 0 else end


def _decoration(name: str, text: str, count: Callable[[str], int]) -> Iterator[Finding]:
    plain = _DECORATION.sub(lambda hit: "\n\n" if hit[0].startswith("\n") else " " if hit[0].isspace() else "", text)
    saved = count(text) - count(plain)
    first = _DECORATION.search(text)
    if first is not None and saved >= 5:
        where = f"{name}:{_line(text, first.start())}"
        yield Finding(
            "decoration",
            where,
            repr(first[0][:20]),
            "rules, padding and blank lines cost tokens and say nothing",
            saved,
        )


def _volatile(name: str, text: str, count: Callable[[str], int]) -> Iterator[Finding]:
    lines: set[int] = set()
    for what, pattern in _VOLATILE:
        hit = pattern.search(text)
        if hit is None or (line := _line(text, hit.start())) in lines:
            continue
        lines.add(line)
        behind = count(text[hit.start() :])
        advice = "if it changes from call to call, nothing behind it is ever read from the prompt cache; put it last"
        yield Finding("volatile text", f"{name}:{line}", f"{what}: {_excerpt(hit[0])}", advice, behind)


def _tool_findings(files: PromptFiles, count: Callable[[str], int]) -> Iterator[Finding]:
    said: dict[str, str] = {}
    prompts = "\n".join(files.prompts.values())
    for name, tool in files.tools:
        called = _name(tool)
        saved = count(_json(tool)) - count(_json(minified_tool(tool)))
        if saved > 0:
            advice = "the same schema can be written shorter; thrift's tool minification does it"
            yield Finding("tool schema", f"{name}: {called}", _excerpt(_json(tool)), advice, saved)
        for text in _descriptions(tool):
            if len(words(text)) < _FEWEST_WORDS:
                continue
            key = " ".join(words(text))
            if key in said and said[key] != called:
                advice = f"stands in {said[key]} too; say it once, in the system prompt or in one of them"
                yield Finding("duplicate tool text", f"{name}: {called}", _excerpt(text), advice, count(text))
            elif text in prompts:
                advice = "stands in the system prompt word for word; keep one"
                yield Finding("duplicate tool text", f"{name}: {called}", _excerpt(text), advice, count(text))
            said.setdefault(key, called)
    if len(files.tools) > _MANY_TOOLS:
        tokens = sum(count(_json(tool)) for _, tool in files.tools[_MANY_TOOLS // 2 :])
        advice = (
            f"{len(files.tools)} tools go along with every call; offer ten chosen per thread, find_tools for the rest"
        )
        yield Finding("many tools", files.tools[0][0], f"{len(files.tools)} tools", advice, tokens)


def _descriptions(value: Any) -> Iterator[str]:
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            for key, inner in cast("Mapping[str, Any]", item).items():
                if key == "description" and isinstance(inner, str):
                    yield inner
                else:
                    stack.append(inner)
        elif isinstance(item, list):
            stack += cast("Sequence[Any]", item)


def _name(tool: Mapping[str, Any]) -> str:
    inner = tool.get("function")
    named = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool
    return str(named.get("name") or "a tool without a name")


def _json(tool: Mapping[str, Any]) -> str:
    return json.dumps(tool, ensure_ascii=False, separators=(",", ":"), default=repr)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 72 else line[:71] + "…"
