"""Finds the second hop: passages that matter because a relevant passage names them, or they name it.

A question of two hops names only the first: "the country of the author of X" says nothing of the author. The passage
about X does, and so links to the passage whose title is the author's name.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thrift_core.relevance.evidence import Evidence
from thrift_core.relevance.matching import Floats
from thrift_core.relevance.passage import Passage
from thrift_core.relevance.segmentation import Segments, words

# From so many of the most relevant passages links are followed.
_SOURCES = 3
# What a linked sentence is believed to be worth beside the passage that it is linked to, as the logarithm of a share:
# less for each sentence after the first, because a passage says first what the thing is that it is named after.
_LINK = -2.0
_LATER = -0.5


def linked_worth(
    evidence: Evidence, passages: Sequence[Passage], segments: Sequence[Segments], logits: Floats
) -> Floats:
    """Return the least that each sentence is worth for its links, in the logarithm of its odds; -inf for none.

    Args:
        evidence: where the question's words occur.
        passages: the passages; those without titles have no links.
        segments: the same, taken apart.
        logits: how relevant each sentence is by itself.
    """
    worth = np.full(len(logits), -np.inf)
    names = [_name(passage.title) for passage in passages]
    if not any(names) or not len(logits):
        return worth
    best = np.full(len(passages), -np.inf)
    np.maximum.at(best, evidence.owner, logits)
    ranked: list[int] = np.argsort(-best, kind="stable")[:_SOURCES].tolist()
    sources = [index for index in ranked if np.isfinite(best[index])]
    lowered = [passage.text.lower() for passage in passages]
    for source in sources:
        said = _joined(segments[source])
        # A quick look first: reading every passage word by word takes long.
        longest = max(names[source].split(), key=len, default="")
        for other in np.nonzero(best < best[source])[0].tolist():
            names_other = bool(names[other]) and names[other] in said
            may_name = bool(longest) and longest in lowered[other] and names[source] != names[other]
            naming = _naming(segments[other], names[source]) if may_name else []
            if not names_other and not naming:
                continue
            own = evidence.owner == other
            link = best[source] + _LINK + _LATER * evidence.place[own]
            link[naming] = best[source] + _LINK
            worth[own] = np.maximum(worth[own], link)
    return worth


def _joined(segments: Segments) -> str:
    return f" {' '.join(' '.join(sentence) for sentence in segments.words)} "


def _name(title: str) -> str:
    """Return a title as its words between blanks, without what stands in brackets after it; empty if it says little."""
    bare = words(title.partition(" (")[0])
    return f" {' '.join(bare)} " if sum(map(len, bare)) >= 4 else ""


def _naming(segments: Segments, name: str) -> list[int]:
    return [number for number, sentence in enumerate(segments.words) if name in f" {' '.join(sentence)} "]
