"""Says what a text repeats of earlier texts, in whole lines: a second view of a file costs what changed in it.

A run of lines that stood in an earlier text is written as `tool#2:14-30`, lines 14 to 30 of that tool's second result.
Where the lines carry numbers (as in `cat -n` or an editor's window) and only those moved, `+3` says by how much.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_NUMBERED = re.compile(r"(\s*)(\d{1,7})([:|\t ].*)\Z", re.DOTALL)
_REFERENCE = re.compile(r"([\w.-]+#\d+):(\d+)-(\d+)(?: ([+-]\d+))?\Z", re.ASCII)
# A shorter line may continue a run but not begin one: it would be found everywhere.
_SHORTEST_START = 4
# A reference costs about ten tokens; a run must be well above that to be worth the reader's effort.
_FEWEST_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class _Line:
    """A line without its number; `pad` is the width that the number fills."""

    rest: str
    number: int | None = None
    pad: int = 0


@dataclass(slots=True)
class LineIndex:
    """The lines of all texts so far, by content; each points at the first place where it stands in full."""

    _places: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    _texts: dict[str, list[_Line]] = field(default_factory=dict[str, list[_Line]])

    def add(self, name: str, text: str, *, literal: Sequence[bool] | None = None) -> None:
        """Remember a text under its name; `literal` tells which lines stand in full."""
        lines = [_parse(line) for line in text.split("\n")]
        self._texts[name] = lines
        for at, line in enumerate(lines):
            if len(line.rest) >= _SHORTEST_START and (literal is None or literal[at]):
                self._places.setdefault(line.rest, (name, at))

    def forget(self, name: str) -> None:
        """Refer no more to the text of that name."""
        for line in self._texts.pop(name, ()):
            if self._places.get(line.rest, ("", 0))[0] == name:
                del self._places[line.rest]

    def refer(self, text: str) -> tuple[str, list[bool]] | None:
        """Return the text with repeated runs as references and which lines stand in full, or None if none repeats."""
        originals = text.split("\n")
        lines = [_parse(line) for line in originals]
        written: list[str] = []
        literal = [True] * len(lines)
        at = 0
        while at < len(lines):
            run = self._run(lines, at)
            if run is None or sum(len(line) + 1 for line in originals[at : at + run[0]]) < _FEWEST_CHARACTERS:
                step = run[0] if run else 1
                written.extend(originals[at : at + step])
                at += step
                continue
            length, reference = run
            written.append(reference)
            literal[at : at + length] = [False] * length
            at += length
        return None if all(literal) else ("\n".join(written), literal)

    def expand(self, text: str) -> str:
        """Return the text with its references written out.

        Raises:
            KeyError: a reference names a text that is not there.
        """
        written: list[str] = []
        for line in text.split("\n"):
            if not (match := _REFERENCE.match(line)):
                written.append(line)
                continue
            name, first, last, shift = match.groups()
            lines = self._texts[name][int(first) - 1 : int(last)]
            written.extend(_text(item, int(shift or 0)) for item in lines)
        return "\n".join(written)

    def _run(self, lines: Sequence[_Line], at: int) -> tuple[int, str] | None:
        place = self._places.get(lines[at].rest) if len(lines[at].rest) >= _SHORTEST_START else None
        if place is None:
            return None
        name, start = place
        source = self._texts[name]
        shift = _shift(lines[at], source[start])
        length = 0
        while (
            at + length < len(lines)
            and start + length < len(source)
            and lines[at + length].rest == source[start + length].rest
            and lines[at + length].pad == source[start + length].pad
            and (lines[at + length].number is None) == (source[start + length].number is None)
            and (lines[at + length].number is None or _shift(lines[at + length], source[start + length]) == shift)
        ):
            length += 1
        if not length:
            return None
        moved = f" {shift:+d}" if shift else ""
        return length, f"{name}:{start + 1}-{start + length}{moved}"


def _shift(line: _Line, source: _Line) -> int:
    return (line.number or 0) - (source.number or 0)


def _parse(line: str) -> _Line:
    match = _NUMBERED.match(line)
    if match is None or (match[2] != "0" and match[2].startswith("0")):
        return _Line(line)
    blanks, digits, rest = match.groups()
    if blanks.strip(" "):
        return _Line(line)
    return _Line(rest, int(digits), len(blanks) + len(digits) if blanks else 0)


def _text(line: _Line, shift: int) -> str:
    return line.rest if line.number is None else str(line.number + shift).rjust(line.pad) + line.rest


def names_in(text: str) -> set[str]:
    """Return the names of the texts that a text refers to."""
    return {match[1] for line in text.split("\n") if (match := _REFERENCE.match(line))}
