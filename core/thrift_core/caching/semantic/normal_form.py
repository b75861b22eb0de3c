"""When two texts are the same question but for how it was typed."""

from __future__ import annotations

import re
import unicodedata

# Line breaks, indents, code and mathematics carry meaning in their spaces and signs: such a text is left as it is.
_VERBATIM = re.compile(r"[\n\r\t`{}\[\]<>=\\|^~#*+/@$%&]")
_SPACES = re.compile(r"\s+")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "..."})
# Words that mean another thing without their capitals: "does it work", "does IT work".
_TWO_MEANINGS = frozenset(
    {"aids", "april", "apple", "august", "bill", "bush", "chad", "chase", "chile", "china", "chip", "discord",
     "drive", "excel", "frank", "gap", "gas", "grace", "guinea", "hope", "ice", "ira", "it", "jack", "japan",
     "jordan", "lima", "march", "mark", "may", "mercury", "meta", "nice", "oracle", "outlook", "pat", "pip",
     "polish", "ram", "rob", "rose", "sat", "sharp", "slack", "square", "sue", "sun", "swift", "target", "teams",
     "turkey", "us", "visa", "who", "will", "windows", "word"}
)  # fmt: skip


def normal_form(text: str) -> str:
    """Return the text with one spelling for each way of typing it: spaces, quotes, a closing full stop, capitals.

    Capitals stay where they may carry meaning: in words that have another one without them, in words with a capital
    after their first letter (an acronym, a product), and in texts with line breaks, code or signs, which come back as
    they are but for Unicode's own equivalent forms.

    Example:
        >>> normal_form("  How do I reset my  Password? ")
        'how do i reset my password?'
        >>> normal_form("does IT work") == normal_form("does it work")
        False
    """
    composed = unicodedata.normalize("NFC", text)
    if _VERBATIM.search(composed):
        return composed
    plain = _SPACES.sub(" ", composed.translate(_QUOTES)).strip()
    if plain.endswith((".", "!")) and not plain.endswith(".."):
        plain = plain[:-1].rstrip()
    return " ".join(folded(word, is_first=place == 0) for place, word in enumerate(plain.split(" ")))


def folded(word: str, *, is_first: bool) -> str:
    """Return a word in small letters, or as it is where its capitals may carry meaning."""
    lowered = word.lower()
    if lowered == word:
        return word
    core = lowered.strip("\"'().,:;!?-")
    if len(core) > 1 and (core in _TWO_MEANINGS and not (is_first and word[1:] == lowered[1:])):
        return word
    return lowered if word[1:] == lowered[1:] else word
