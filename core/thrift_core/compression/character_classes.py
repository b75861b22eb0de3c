"""Unicode's character properties for the standard library's patterns, which know none but run several times as fast.

A property is written out as the ranges of characters that have it. That is done for the basic plane alone: with
characters beyond it, `re` looks through the ranges one by one. Texts with letters or digits from beyond, see
`has_rare_letters`, are for the `regex` module, which takes the same patterns with the properties' names in them.
"""

from __future__ import annotations

import importlib
import re
from functools import cache

# Beyond the basic plane stand emoji, old scripts, rare ideographs and letters for formulas. Emoji are no letters.
_RARE_LETTER = re.compile("[\U00010000-\U0001efff\U0001fbf0-\U0010ffff]")


def has_rare_letters(text: str) -> bool:
    """Say whether a text may have letters or digits that `characters` leaves out."""
    return not text.isascii() and _RARE_LETTER.search(text) is not None


@cache
def characters(members: str) -> str:
    r"""Return the inside of a character class for `re`: the ranges of what a class of the `regex` module matches.

    Args:
        members: the inside of a class in the syntax of the `regex` module, version 1, such as `\p{L}\p{M}`.

    Example:
        >>> characters(r"\p{Nd}")[:19]
        '\\u0030-\\u0039\\u0660'
    """
    module = importlib.import_module("regex")
    runs = module.compile(rf"[{members}]++", module.V1).finditer(_basic_plane())
    return "".join([_range(hit[0]) for hit in runs])


@cache
def _basic_plane() -> str:
    # What is left out for surrogates breaks no run: neither neighbour has a property of letters.
    return "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000)]))


def _range(run: str) -> str:
    first, last = ord(run[0]), ord(run[-1])
    return f"\\u{first:04x}" if first == last else f"\\u{first:04x}-\\u{last:04x}"
