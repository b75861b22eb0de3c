"""Tells what kind of text one is, and how sure that is; looks at a bounded part of a long text.

JSON is sure only when it parses, everything else is a share of lines that look it. What looks like nothing is prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from thrift_core.compression.compressed import Kind
from thrift_core.notation.documents import parse

# Three parts of this length, from the start, the middle and the end, tell what a long text is.
_SAMPLE = 8_000
_MOST_LINES = 400
_LONGEST_LINE = 400
# Below this a kind is a guess, and the text is left as it is.
SURE = 0.5

_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_DIFF = re.compile(r"^(?:diff --git |@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@)", re.MULTILINE)
_TRACE_HEAD = re.compile(
    r"^(?:Traceback \(most recent call last\):|(?:Caused by: |Exception in thread |panic: |goroutine \d+ \[)"
    r"|(?:[A-Za-z_$][\w.$]{0,200}(?:Error|Exception)\b))",
    re.MULTILINE,
)
_TRACE_FRAME = re.compile(r'^[^\S\n]+(?:at\s\S+|File "[^"\n]{1,300}", line \d+|\d+: 0x[0-9a-f]+ - )', re.MULTILINE)
_HTML = re.compile(
    r"<(?:!doctype\s+html|html|head|body|div|p|span|table|ul|ol|a\s|h[1-6]|script|article|section)\b", re.I
)
_TAG = re.compile(r"</?[A-Za-z][\w:.-]{0,60}(?:\s[^<>]{0,1000})?/?>")
_TIME = re.compile(r"\b\d{1,2}:\d{2}:\d{2}\b|\b1[0-9]{9}(?:\d{3})?\b|\b\d{6} \d{6}\b")
_LEVEL = re.compile(
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|CRITICAL|FATAL|SEVERE)\b|\[(?:notice|error|warn|info|debug)\]"
)
_BEGINS_AS_LOG = re.compile(
    r"[\[<(\-\s\"]*(?:\d|[A-Z][a-z]{2} (?:[ \d]\d |[A-Z][a-z]{2} )|TRACE|DEBUG|INFO|WARN|ERROR|FATAL|[VDIWEF][/ ])"
)
# A name at the start of a line that stands for a statement, and what may begin a definition in common languages.
_STATEMENTS = "import|from|return|if|for|while|else|elif|try|except|with|raise|assert|throw|switch|case|break|yield"
_DEFINERS = (
    "def|async def|class|pub|static|public|private|protected|export|const|let|var|func|fn|function|struct|enum"
    "|interface|impl|package|using|namespace|type|trait|mod|use|module|extern|template|typedef"
)
_CODE_LINE = re.compile(
    rf"\s*(?:(?:{_STATEMENTS})\b.{{0,200}}[:{{(;]?\s*$|(?:{_DEFINERS}) .{{0,300}}|@\w[\w.]*|#include|#define|#!"
    r"|//|/\*|\*/| ?\* |[\w.\[\]\"']+ (?:=|\+=|:=) .{1,300}|[\w.]+\(.{0,300}\)[;,:]?\s*$|[})\]]+[;,)]*\s*$"
    r"|.{0,300}[;{]\s*$)"
)
_STRONG_CODE = re.compile(
    r"^[^\S\n]*(?:(?:async )?def \w+\s*\(|class \w+.{0,200}[:{]\s*$|from [\w.]+ import \w|import \w[\w.]*;?\s*$"
    r"|#include\s*[<\"]|(?:pub )?fn \w+|func (?:\(.{1,80}\) )?\w+\(|(?:export )?(?:async )?function \w*\s*\("
    r"|public (?:static |final |class )"
    r"|(?:const|let|var) \w+ ?= ?|package \w[\w.]*;?\s*$|namespace \w|using \w[\w.]*;|impl\b.{0,200}\{|struct \w+ ?\{)",
    re.MULTILINE,
)
_MARKDOWN = re.compile(
    r"^(?:#{1,6} \S| {0,6}[-*+] \S| {0,6}\d{1,3}[.)] \S|> |\|.{1,1000}\|\s*$)"
    r"|\[[^\]\n]{1,200}\]\([^)\s]{1,500}\)|\*\*\S",
    re.MULTILINE,
)
_SENTENCE = re.compile(r"[a-z,;] [a-z]{2,} \w|[.!?][\"')]? [A-Z]")


@dataclass(frozen=True, slots=True)
class Found:
    """What a text was taken for, and how sure that is, 0 to 1."""

    kind: Kind
    confidence: float


@dataclass(slots=True)
class _Look:
    """The part of a text that is looked at."""

    text: str
    sample: str
    lines: list[str] = field(default_factory=list[str])

    def share(self, holds: Callable[[str], object]) -> float:
        """Return the share of the lines that something holds for."""
        return sum(1 for line in self.lines if holds(line)) / len(self.lines) if self.lines else 0.0


def kind_of(text: str) -> Found:
    """Return what kind of text this is.

    Example:
        >>> kind_of('{"a": 1}').kind, kind_of("Once upon a time there was a lamp.").kind
        ('json', 'prose')
    """
    sample = _sample(text)
    lines = [line[:_LONGEST_LINE] for line in sample.splitlines() if line.strip()][:_MOST_LINES]
    look = _Look(text, sample, lines)
    for judge in (_json, _diff, _mixed, _trace, _markup, _log, _csv, _code, _markdown):
        found = judge(look)
        if found is not None:
            return found
    return Found("prose", 1.0 if _SENTENCE.search(sample) or not sample.strip() else 0.6)


def _sample(text: str) -> str:
    if len(text) <= 3 * _SAMPLE:
        return text
    middle, end = len(text) // 2, len(text) - _SAMPLE
    parts = [text[:_SAMPLE]]
    for start in (middle, end):
        line = text.find("\n", start, start + _LONGEST_LINE)
        parts.append(text[line + 1 if line >= 0 else start : start + _SAMPLE])
    return "\n".join(parts)


def _json(look: _Look) -> Found | None:
    start = look.text.lstrip()[:1]
    if start not in ("{", "["):
        return None
    if look.text.rstrip()[-1:] in ("}", "]") and parse(look.text) is not None:
        return Found("json", 1.0)
    values = [line for line in look.lines if line.lstrip()[:1] in ("{", "[")]
    if len(look.lines) > 1 and len(values) == len(look.lines) and all(_closes(line) for line in values):
        return Found("ndjson", 0.9)
    return None


def _closes(line: str) -> bool:
    return len(line) == _LONGEST_LINE or line.rstrip()[-1:] in ("}", "]")


def _diff(look: _Look) -> Found | None:
    if not _DIFF.search(look.sample):
        return None
    share = look.share(
        lambda line: line[:1] in "+-@ " or line.startswith(("diff ", "index ", "new file", "deleted file"))
    )
    return Found("diff", min(1.0, share + 0.1)) if share > 0.8 else None


def _mixed(look: _Look) -> Found | None:
    fences = len(_FENCE.findall(look.sample))
    return Found("mixed", 0.9) if fences >= 2 else None


def _trace(look: _Look) -> Found | None:
    frames = len(_TRACE_FRAME.findall(look.sample))
    if frames < 2 or not _TRACE_HEAD.search(look.sample):
        return None
    share = look.share(lambda line: line[:1].isspace() or _TRACE_HEAD.match(line))
    return Found("trace", min(1.0, 0.2 + share)) if share > 0.5 else None


def _markup(look: _Look) -> Found | None:
    start = look.text.lstrip()[:200].lower()
    if not start.startswith("<"):
        return None
    tags = sum(len(hit[0]) for hit in _TAG.finditer(look.sample))
    share = tags / max(1, len(look.sample))
    if start.startswith(("<!doctype html", "<html")) or (len(_HTML.findall(look.sample)) >= 3 and share > 0.1):
        return Found("html", min(1.0, 0.7 + share))
    if start.startswith("<?xml") or share > 0.2:
        return Found("xml", min(1.0, 0.5 + share))
    return None


def _log(look: _Look) -> Found | None:
    if len(look.lines) < 4:
        return None
    timed = look.share(lambda line: _TIME.search(line[:80]))
    begins = look.share(_BEGINS_AS_LOG.match)
    levels = look.share(lambda line: _LEVEL.search(line[:160]))
    if begins > 0.5 and (timed > 0.5 or levels > 0.5):
        return Found("log", min(1.0, 0.3 + max(timed, levels) * 0.7))
    return None


def _csv(look: _Look) -> Found | None:
    lines = look.lines
    if len(lines) < 3 or (len(look.text) > len(look.sample) + 1 and not lines):
        return None
    best = 0.0
    for delimiter in ("\t", "|", ";", ","):
        width = lines[0].count(delimiter)
        if width and not _is_sentence_like(lines, delimiter):
            alike = sum(line.count(delimiter) == width for line in lines) / len(lines)
            best = max(best, alike if width > 1 or delimiter != "," else alike * 0.9)
    return Found("csv", min(1.0, best)) if best > 0.85 else None


def _is_sentence_like(lines: Sequence[str], delimiter: str) -> bool:
    if delimiter == "|" and lines[0].lstrip().startswith("|"):
        return True  # a Markdown table
    return delimiter in ",;" and sum(delimiter + " " in line for line in lines) > 0.5 * len(lines)


def _code(look: _Look) -> Found | None:
    share = look.share(_CODE_LINE.match)
    strong = len(_STRONG_CODE.findall(look.sample))
    if (strong >= 1 and share > 0.35) or (strong >= 3 and share > 0.15):
        return Found("code", min(1.0, 0.4 + share))
    return None


def _markdown(look: _Look) -> Found | None:
    marks = len(_MARKDOWN.findall(look.sample))
    return Found("markdown", 0.9) if marks >= 2 and marks >= 0.08 * len(look.lines) else None
