"""Finds the kinds of lines in a log: what is the same in all lines of a kind, and what varies.

The first step is what Drain (He et al. 2017, "Drain: an online log parsing approach with fixed depth tree") does by its
masks: whatever begins with a digit, hexadecimal words and UUIDs vary, all else is the kind. The second differs from
Drain's similarity, which takes `session opened` and `session closed` for one kind: two words are taken for values of
one place only where many different words stand there and all else is equal, so a kind is rather split than lost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Stands for a value in the text of a kind: the first of these that no line has.
_MARKS = ("\x00", "\x01", "\x02", "\ue000")
_VARYING = re.compile(
    r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)"
    r"|(?<![\w])(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?![\w-])"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\ {1,2}\d{1,2}(?!\w)"
    r"|\d{4}-\d{2}-\d{2}(?=[T ])|(?=[a-fA-F]{1,40}\d)[0-9a-fA-F]{6,128}(?!\w)"
    # Internet names of three parts and more, for Java's packages and file names have a dot or two as well.
    r"|(?:[A-Za-z0-9-]{1,63}\.){2,8}(?:com|net|org|edu|gov|mil|[a-hj-qs-z][a-z]|ru|it|il)(?![\w.$/-]))"
    r"|(?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,9})?(?!\d)"
    r"|-?\d\w*(?:[.,/-]\d\w*)*)"
)
_BLANKS = re.compile(r"(\s+)")
# So many different words in one place, all else being equal, are values.
_MANY = 8
# A word in fewer lines than this share is rare: several rare words in a line may be values at once.
_RARE_SHARE = 0.005
_ROUNDS = 3
# Kinds beyond these are not merged: work stays in proportion to the log.
_MOST_MERGED = 20_000
_MOST_WORDS = 60


@dataclass(slots=True)
class Kind:
    """A kind of line.

    Attributes:
        literals: the text between the values: one more than there are values.
        lines: which lines are of it, by number from 0.
    """

    literals: tuple[str, ...]
    lines: list[int]


@dataclass(frozen=True, slots=True)
class Mined:
    """A log taken apart.

    Attributes:
        lines: the lines.
        kinds: the kinds, by first line.
        kind_of: for each line, the number of its kind.
        values: for each line, what stands in the places that vary.
    """

    lines: Sequence[str]
    kinds: Sequence[Kind]
    kind_of: Sequence[int]
    values: Sequence[Sequence[str]]


def mine(lines: Sequence[str]) -> Mined:
    """Return the kinds of lines of a log, in time linear in its length."""
    mark = next((mark for mark in _MARKS if not any(mark in line for line in lines)), None)
    if mark is None:
        return _each_by_itself(lines)
    split = _VARYING.split
    parts = [split(line) for line in lines]
    skeletons: dict[str, list[int]] = defaultdict(list)
    for number, part in enumerate(parts):
        skeletons[mark.join(part[::2])].append(number)
    merged = _merged(skeletons, len(lines), mark)
    kinds: dict[tuple[str, ...], Kind] = {}
    kind_of = [0] * len(lines)
    values: list[Sequence[str]] = [()] * len(lines)
    for key, numbers in skeletons.items():
        filling = merged.get(key)
        literals = filling.literals if filling is not None else tuple(key.split(mark))
        for number in numbers:
            values[number] = filling.values(parts[number]) if filling is not None else parts[number][1::2]
        kinds.setdefault(literals, Kind(literals, [])).lines.extend(numbers)
    for kind in kinds.values():
        kind.lines.sort()
    found = sorted(kinds.values(), key=lambda kind: kind.lines[0])
    for index, kind in enumerate(found):
        for number in kind.lines:
            kind_of[number] = index
    return Mined(lines, found, kind_of, values)


def _each_by_itself(lines: Sequence[str]) -> Mined:
    kinds: dict[str, Kind] = {}
    for number, line in enumerate(lines):
        kinds.setdefault(line, Kind((line,), [])).lines.append(number)
    found = {line: index for index, line in enumerate(kinds)}
    return Mined(lines, list(kinds.values()), [found[line] for line in lines], [()] * len(lines))


@dataclass(frozen=True, slots=True)
class _Filling:
    """How the values of a merged kind come from the parts of a line.

    Attributes:
        literals: the merged kind's.
        pieces: for each value, the pieces of text around the varying parts in it, one more than there are such parts.
    """

    literals: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]

    def values(self, parts: Sequence[str]) -> list[str]:
        found: list[str] = []
        varying = iter(parts[1::2])
        for pieces in self.pieces:
            text = pieces[0]
            for piece in pieces[1:]:
                text += next(varying) + piece
            found.append(text)
        return found


def _merged(skeletons: dict[str, list[int]], total: int, mark: str) -> dict[str, _Filling]:
    """Return, for the skeletons that are of one kind with others, how."""
    words_of: dict[str, tuple[str, ...]] = {}
    for key in list(skeletons)[:_MOST_MERGED]:
        words = tuple(_BLANKS.split(key))
        if len(words) <= 2 * _MOST_WORDS:
            words_of[key] = words
    shapes: dict[str, tuple[str | None, ...]] = dict(words_of)
    _merge_rare(shapes, words_of, skeletons, total)
    for _ in range(_ROUNDS):
        if not _merge_one_place(shapes):
            break
    return {key: _filling(words_of[key], shape, mark) for key, shape in shapes.items() if None in shape}


def _merge_rare(
    shapes: dict[str, tuple[str | None, ...]],
    words_of: dict[str, tuple[str, ...]],
    skeletons: dict[str, list[int]],
    total: int,
) -> None:
    """Merge skeletons that are equal but for words hardly any line has."""
    frequency: dict[str, int] = defaultdict(int)
    for key, words in words_of.items():
        for word in set(words):
            frequency[word] += len(skeletons[key])
    rare = max(2, int(_RARE_SHARE * total))
    groups: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
    for key, words in words_of.items():
        shape = tuple(
            None if frequency[word] <= rare and at % 2 == 0 and word else word for at, word in enumerate(words)
        )
        known = sum(word is not None for word in shape[::2])
        if None in shape and 2 * known > (len(shape) + 1) // 2:
            groups[shape].append(key)
    for shape, keys in groups.items():
        if len(keys) >= _MANY and _vary(shape, [words_of[key] for key in keys]):
            for key in keys:
                shapes[key] = shape


def _vary(shape: tuple[str | None, ...], rows: Sequence[tuple[str, ...]]) -> bool:
    """Say whether each open place holds many different words; else the words there tell kinds apart."""
    return all(len({row[at] for row in rows}) >= _MANY for at, word in enumerate(shape) if word is None)


def _merge_one_place(shapes: dict[str, tuple[str | None, ...]]) -> bool:
    """Merge those that differ in one word, where many words stand; say whether there were any."""
    has_merged = False
    distinct = set(shapes.values())
    width = max(map(len, distinct), default=0)
    for at in range(0, width, 2):
        groups: dict[tuple[tuple[str | None, ...], tuple[str | None, ...]], list[tuple[str | None, ...]]] = defaultdict(
            list
        )
        for shape in distinct:
            if at < len(shape) and shape[at]:
                groups[shape[:at], shape[at + 1 :]].append(shape)
        news: dict[tuple[str | None, ...], tuple[str | None, ...]] = {}
        for (before, after), same in groups.items():
            if len(same) >= _MANY and any(word and len(word) > 1 for word in (*before[::2], *after[::2])):
                news.update(dict.fromkeys(same, (*before, None, *after)))
        if news:
            has_merged = True
            for key, shape in shapes.items():
                if shape in news:
                    shapes[key] = news[shape]
            distinct = set(shapes.values())
    return has_merged


def _filling(words: Iterable[str], shape: Iterable[str | None], mark: str) -> _Filling:
    literals: list[str] = [""]
    pieces: list[tuple[str, ...]] = []
    for word, place in zip(words, shape, strict=True):
        if place is None:
            pieces.append(tuple(word.split(mark)))
            literals.append("")
            continue
        first, *others = place.split(mark)
        literals[-1] += first
        for other in others:
            pieces.append(("", ""))
            literals.append(other)
    return _Filling(tuple(literals), tuple(pieces))
