"""Makes a budget hold by exact count where nothing else can: whole lines from both ends, then whole words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thrift_core.compression.compressed import Span
from thrift_core.compression.protected import cuts_inside, overlapping

_LONGEST_WORD = 64
# A token has seldom more characters than this; what is longer need not be counted to know it does not fit.
_MOST_CHARACTERS = 64


def longest_prefix(
    text: str, max_tokens: int, count: Callable[[str], int], *, end: int | None = None, protected: Sequence[Span] = ()
) -> int:
    """Return how many characters of a text's start fit, cut at a blank and inside no protected stretch.

    Args:
        text: the text.
        max_tokens: the budget.
        count: counts tokens.
        end: only so much of the text is thought of; None: all.
        protected: stretches, in reading order, that no cut may be inside of.
    """
    stop = min(len(text) if end is None else end, _MOST_CHARACTERS * max(0, max_tokens))
    if max_tokens <= 0 or not stop:
        return 0
    if count(text[:stop]) <= max_tokens:
        return _tidy(text, stop, protected, count, max_tokens)
    low, high = 0, stop
    # About four characters a token: a guess that halves the counting of a long text.
    guess = min(high - 1, 4 * max_tokens)
    while low < high:
        middle = guess or (low + high + 1) // 2
        guess = 0
        if middle > low and count(text[:middle]) <= max_tokens:
            low = middle
        else:
            high = max(low, middle - 1)
    return _tidy(text, low, protected, count, max_tokens)


def _tidy(text: str, stop: int, protected: Sequence[Span], count: Callable[[str], int], max_tokens: int) -> int:
    """Move a cut back to a blank that is inside nothing protected; a prefix may even cost more than a longer one."""
    while stop > 0:
        blank = _last_blank(text, stop) if stop < len(text) and not text[stop - 1 : stop + 1].isspace() else stop
        stop = blank if blank >= 0 else stop
        stop = _before(protected, stop)
        kept = len(text[:stop].rstrip()) if stop < len(text) else stop
        if count(text[:kept]) <= max_tokens:
            return kept
        stop = kept - 1
    return 0


def _before(protected: Sequence[Span], at: int) -> int:
    """Return a place itself, or the start of the protected stretch that it is inside of."""
    if not cuts_inside(protected, at):
        return at
    return overlapping(protected, at, at + 1)[0][0]


def _last_blank(text: str, stop: int) -> int:
    """Return the last blank not far before a place, -1 if there is none: not all scripts have blanks."""
    least = max(0, stop - _LONGEST_WORD)
    return max(text.rfind(" ", least, stop), text.rfind("\n", least, stop), text.rfind("\t", least, stop))


def ends_of_lines(lines: Sequence[str], max_tokens: int, count: Callable[[str], int]) -> tuple[int, int]:
    """Return how many lines from the start and from the end fit together, joined by line ends; two thirds at the start.

    Args:
        lines: the lines.
        max_tokens: the budget for both together.
        count: counts tokens.
    """
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        first, last = _shared(middle)
        text = "\n".join([*lines[:first], *lines[len(lines) - last :]])
        low, high = (middle, high) if count(text) <= max_tokens else (low, middle - 1)
    return _shared(low)


def _shared(number: int) -> tuple[int, int]:
    last = number // 3
    return number - last, last
