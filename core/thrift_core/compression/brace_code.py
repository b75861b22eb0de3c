"""What may be folded in code of other languages, by what most share: comments, strings, braces around bodies.

The scanner knows strings and comments of the C family and of `#` languages, nothing of a grammar. Where its braces do
not balance it folds comments alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from thrift_core.compression.folding import Fold, asked_shares

_NEXT = re.compile(r"//|/\*|[\"'`{}\n]")
_ENDS = {
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*["\n]', re.DOTALL),
    "`": re.compile(r"[^`\\]*(?:\\.[^`\\]*)*`", re.DOTALL),
}
# A character literal; what else an apostrophe is (a lifetime, a digit separator) has no end to look for.
_CHARACTER = re.compile(r"(?:[^'\\\n]{1,80}|\\.{1,8}?)'")
_CONTROL = re.compile(
    r"\s*\}?\s*(?:if|for|while|switch|else|catch|try|do|finally|match|select|case|default|with|unsafe)\b"
)
_HASH = re.compile(r"\s*#(?![!\[])")
_SLASHES = re.compile(r"\s*//")
_FEWEST_LINES = 3
_COMMENT_RANK, _BODY_RANK = 1.0, 2.0


@dataclass(slots=True)
class _Scan:
    """What a scan found: blocks of comments and of braces, by their first and last line, from 1."""

    comments: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    blocks: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    is_balanced: bool = True


def brace_folds(text: str, question: str | None) -> tuple[list[Fold], str]:
    """Return what may be folded in code, and what a comment begins with there.

    Args:
        text: the code.
        question: bodies that name its words are folded last.
    """
    lines = text.split("\n")
    hashes = sum(_HASH.match(line) is not None for line in lines)
    slashes = sum(_SLASHES.match(line) is not None or "/*" in line for line in lines)
    if text.count("{") < 2 and hashes >= slashes:
        return list(_line_comments(lines, _HASH, "# ")), "# "
    scan = _scan(text)
    folds = list(_line_comments(lines, _SLASHES, "// "))
    folds += [
        Fold(first + 1, last - 1, "comment", _COMMENT_RANK, _indent(lines[first]))
        for first, last in scan.comments
        if last - first > 2
    ]
    if scan.is_balanced:
        folds += _bodies(lines, scan.blocks, question)
    return folds, "// "


def _line_comments(lines: Sequence[str], comment: re.Pattern[str], lead: str) -> Iterator[Fold]:
    start: int | None = None
    for number, line in enumerate([*lines, ""], 1):
        is_comment = comment.match(line) is not None
        if is_comment and start is None:
            start = number
        elif not is_comment and start is not None:
            yield Fold(start, number - 1, "comment", _COMMENT_RANK, _indent(lines[start - 1]) + lead)
            start = None


def _bodies(lines: Sequence[str], blocks: Sequence[tuple[int, int]], question: str | None) -> Iterator[Fold]:
    functions = [
        (first, last) for first, last in sorted(blocks) if last - first > _FEWEST_LINES and _is_function(lines, first)
    ]
    outer: list[tuple[int, int]] = []
    for first, last in functions:
        if not outer or first > outer[-1][1]:
            outer.append((first, last))
    shares = asked_shares(question, ["\n".join(lines[max(0, first - 2) : last]) for first, last in outer])
    for (first, last), share in sorted(zip(outer, shares, strict=True), key=lambda item: item[0][0] - item[0][1]):
        yield Fold(first + 1, last - 1, "body", _BODY_RANK + share, _indent(lines[first]) + "// ")


def _is_function(lines: Sequence[str], first: int) -> bool:
    """Say whether the brace that a line ends with opens the body of a function."""
    header = lines[first - 1]
    at = first - 1
    if header.strip() == "{" and at > 0:
        at -= 1
        header = lines[at]
    return ")" in header and _CONTROL.match(header) is None


def _scan(text: str) -> _Scan:
    found = _Scan()
    opened: list[int] = []
    line, at = 1, 0
    while (hit := _NEXT.search(text, at)) is not None:
        at = hit.end()
        match hit[0]:
            case "\n":
                line += 1
            case "{":
                opened.append(line)
            case "}":
                if not opened:
                    found.is_balanced = False
                    return found
                first = opened.pop()
                found.blocks.append((first, line))
            case "//":
                at = _or_end(text.find("\n", at), text)
            case "/*":
                end = text.find("*/", at)
                if end < 0:
                    found.is_balanced = False
                    return found
                last = line + text.count("\n", at, end)
                if last > line:
                    found.comments.append((line, last))
                line, at = last, end + 2
            case quote:
                pattern = _CHARACTER if quote == "'" else _ENDS[quote]
                if (string := pattern.match(text, at)) is not None:
                    end = string.end() - (string[0][-1:] == "\n")
                    line += text.count("\n", at, end)
                    at = end
                elif quote == "`":
                    found.is_balanced = False
                    return found
    found.is_balanced = not opened
    return found


def _or_end(at: int, text: str) -> int:
    return len(text) if at < 0 else at


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
