"""A log told by its kinds of lines: each kind by a line of it, how often it came, and what values it had.

Every kind stays, every line of a rare kind, and of each kind of error the first and the last line; the share of the
tokens below or the budget given is then filled with values, lines that name a word of the question, and last lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from thrift_core.compression.compressed import Dropped, Span
from thrift_core.compression.log_templates import Kind, Mined
from thrift_core.compression.work import Draft, Job
from thrift_core.notation.documents import MARK
from thrift_core.relevance.segmentation import words

# Without a budget a log is told in this share of its tokens, more where its kinds need it.
SHARE = 0.09
_RARE = 3
_MOST_VALUES = 8
_LONGEST_VALUE = 40
_ERROR = re.compile(
    r"\b(?:ERROR|ERR|FATAL|CRIT(?:ICAL)?|SEVERE|EMERG|ALERT|PANIC)\b|\[(?:error|crit|alert|emerg)\]"
    r"|\b(?:exception|fail(?:ed|ure)?|error|panic|refused|denied|timed out|timeout|segfault|traceback)\b",
    re.IGNORECASE,
)
# Up to here a place at the start of a line holds the time, which says nothing by its values.
_TIME_CHARACTERS = 24
_ROUNDS = 8


def digest(mined: Mined, job: Job) -> Draft | None:
    """Return the log told by its kinds, under the job's budget; None where not even a few kinds fit."""
    budget = job.max_tokens if job.max_tokens is not None else max(1, int(SHARE * job.tokens))
    teller = _Teller(mined, job)
    needed = teller.needed()
    shown = teller.text(needed)
    room = budget - job.count(shown)
    if room < 0 and job.max_tokens is not None:
        return teller.fewer(needed, budget)
    if room > 0:
        needed, shown = teller.filled(needed, shown, budget)
    return teller.draft(shown, needed)


class _Teller:
    """Tells one log.

    Args:
        mined: the log, taken apart.
        job: how.
    """

    def __init__(self, mined: Mined, job: Job) -> None:
        self._mined = mined
        self._job = job
        self._ends: list[int] = []
        at = 0
        for line in mined.lines:
            self._ends.append(at := at + len(line) + 1)
        self._is_error = [_ERROR.search(mined.lines[kind.lines[0]]) is not None for kind in mined.kinds]
        self._told_values: dict[int, str] = {}

    def needed(self) -> set[int]:
        """Return the lines that must stay: the first of each kind, all of rare kinds, the last of errors."""
        found: set[int] = set()
        for kind, is_error in zip(self._mined.kinds, self._is_error, strict=True):
            if len(kind.lines) <= _RARE:
                found.update(kind.lines)
            else:
                found.add(kind.lines[0])
                if is_error:
                    found.add(kind.lines[-1])
        return found

    def text(self, numbers: set[int]) -> str:
        """Return the head and the lines, each kind's count and values behind its first line."""
        mined = self._mined
        told = [
            f"{MARK}log {len(mined.lines)} lines of {len(mined.kinds)} kinds; xN: N lines of this kind {{values xN}}"
        ]
        for number in sorted(numbers):
            kind = mined.kinds[mined.kind_of[number]]
            is_first = number == kind.lines[0] or (
                kind.lines[0] not in numbers and number == self._first(kind, numbers)
            )
            if is_first and len(kind.lines) > 1 and not numbers.issuperset(kind.lines):
                told.append(
                    f"{mined.lines[number]} x{len(kind.lines)}{self._told_values.get(mined.kind_of[number], '')}"
                )
            else:
                told.append(mined.lines[number])
        return "\n".join(told)

    def filled(self, numbers: set[int], shown: str, budget: int) -> tuple[set[int], str]:
        """Return the lines and the text with the room that is left used."""
        room = budget - self._job.count(shown)
        for index, kind in enumerate(self._mined.kinds):
            if len(kind.lines) > _RARE and (values := self._values(kind)):
                cost = self._job.count(values) + 1
                if cost <= room:
                    self._told_values[index] = values
                    room -= cost
        added: list[int] = []
        for number in self._wanted(numbers):
            cost = self._job.count(self._mined.lines[number]) + 1
            if cost > room:
                continue
            added.append(number)
            room -= cost
            if room < 8:
                break
        while True:
            chosen = numbers | set(added)
            shown = self.text(chosen)
            if not (added or self._told_values) or self._job.count(shown) <= budget:
                return chosen, shown
            # Pieces seldom cost more together than one by one; then what was added last goes.
            if added:
                del added[-max(1, len(added) // 8) :]
            else:
                self._told_values.popitem()

    def fewer(self, numbers: set[int], budget: int) -> Draft | None:
        """Return what fits of the lines that should stay: of errors first, then of rare kinds."""
        mined = self._mined

        def rank(number: int) -> tuple[bool, bool, int, int]:
            index = mined.kind_of[number]
            kind = mined.kinds[index]
            return (number != kind.lines[0], not self._is_error[index], len(kind.lines), number)

        ranked = sorted(numbers, key=rank)
        low, high = 0, len(ranked)
        best: tuple[str, set[int]] | None = None
        while low < high:
            middle = (low + high + 1) // 2
            chosen = set(ranked[:middle])
            shown = self.text(chosen)
            if self._job.count(shown) <= budget:
                low, best = middle, (shown, chosen)
            else:
                high = middle - 1
        return None if best is None else self.draft(*best)

    def draft(self, shown: str, numbers: set[int]) -> Draft:
        """Return the result."""
        mined = self._mined
        kinds = {mined.kind_of[number] for number in numbers}
        dropped = [Dropped("line of a kind that is shown", len(mined.lines) - len(numbers))]
        if len(kinds) < len(mined.kinds):
            dropped.append(Dropped("kind of line", len(mined.kinds) - len(kinds)))
        spans = tuple(self._span(number) for number in sorted(numbers))
        return Draft(shown, f"{len(kinds)} kinds of log lines, each by example", spans=spans, dropped=tuple(dropped))

    def _span(self, number: int) -> Span:
        end = self._ends[number] - 1
        return end - len(self._mined.lines[number]), end

    def _first(self, kind: Kind, numbers: set[int]) -> int:
        return next(line for line in kind.lines if line in numbers)

    def _values(self, kind: Kind) -> str:
        """Return what stands in a kind's places, where it is few different values or numbers in a range."""
        columns = zip(*(self._mined.values[number] for number in kind.lines), strict=True)
        told: list[str] = []
        at = 0
        for literal, column in zip(kind.literals, columns, strict=False):
            at += len(literal) + len(column[0])
            if at > _TIME_CHARACTERS and (text := _told(column)):
                told.append(text)
        return " {" + "; ".join(told) + "}" if told else ""

    def _wanted(self, numbers: set[int]) -> Iterator[int]:
        """Yield lines worth adding: those that name what is asked for, then the last of each kind."""
        if self._job.question:
            yield from self._asked(frozenset(words(self._job.question)), numbers)
        for kind in sorted(self._mined.kinds, key=lambda kind: len(kind.lines)):
            if kind.lines[-1] not in numbers:
                yield kind.lines[-1]

    def _asked(self, asked: frozenset[str], numbers: set[int]) -> Iterator[int]:
        found: list[tuple[int, int]] = []
        for number, line in enumerate(self._mined.lines):
            hits = len(asked & set(words(line)))
            if hits and number not in numbers:
                found.append((-hits, number))
        yield from (number for _, number in sorted(found))


def _told(column: Sequence[str]) -> str:
    counts = Counter(column)
    if len(counts) == 1:
        return ""
    if len(counts) <= _MOST_VALUES and all(len(value) <= _LONGEST_VALUE for value in counts):
        return " ".join(f"{value} x{number}" if number > 1 else value for value, number in counts.most_common())
    if len(column) > _RARE and all(value.isdecimal() and len(value) < 16 for value in counts):
        numbers = [int(value) for value in column]
        if numbers != sorted(numbers):
            return f"{min(numbers)}..{max(numbers)}"
    return ""
