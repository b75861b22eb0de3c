"""OpenAI's automatic prompt cache: which part of a prompt is billed at the cached rate.

The rule, from OpenAI's prompt caching guide (developers.openai.com/api/docs/guides/prompt-caching) for the models
before GPT-5.6: the longest prefix that an earlier request shared, in steps of 128 tokens, from 1,024 tokens up; an
entry goes after 5 to 10 minutes without use; caches are not shared between organisations or models, and
`prompt_cache_key` takes part in choosing the machine. What the guide leaves open is taken as the worst case (5
minutes) or as exact (two different cache keys never meet, one machine holds everything of a key).
"""

from __future__ import annotations

import hashlib
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

STEP_TOKENS = 128
SMALLEST_TOKENS = 1024


class PrefixCache:
    """Remembers prefixes as a chain of block hashes, so that a lookup is linear in the prompt.

    Args:
        idle_seconds: how long an entry lives without use.
        clock: tells the time in seconds.
    """

    def __init__(self, idle_seconds: float = 300.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_seconds = idle_seconds
        self._clock = clock
        # Least recently used first, so that what is too old is always at the front.
        self._used_at: OrderedDict[tuple[Hashable, bytes], float] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, scope: Hashable, tokens: array[int]) -> int:
        """Return how many leading tokens are cached, and remember this prompt.

        Args:
            scope: what a cache is kept for: the key of the caller, the model, the cache key.
            tokens: the prompt as sent, tools and system first.
        """
        if len(tokens) < SMALLEST_TOKENS:
            return 0
        digests = list(_block_digests(tokens))
        now = self._clock()
        with self._lock:
            self._forget_before(now - self._idle_seconds)
            shared = self._shared_blocks(scope, digests)
            # Last block first: a chain that ages out loses its tail before its head.
            for digest in reversed(digests):
                self._used_at[scope, digest] = now
                self._used_at.move_to_end((scope, digest))
        cached = shared * STEP_TOKENS
        return cached if cached >= SMALLEST_TOKENS else 0

    def clear(self) -> None:
        """Forget everything, as when all entries have idled out."""
        with self._lock:
            self._used_at.clear()

    def _shared_blocks(self, scope: Hashable, digests: list[bytes]) -> int:
        for count, digest in enumerate(digests):
            if (scope, digest) not in self._used_at:
                return count
        return len(digests)

    def _forget_before(self, oldest: float) -> None:
        while self._used_at and next(iter(self._used_at.values())) < oldest:
            self._used_at.popitem(last=False)


def _block_digests(tokens: array[int]) -> Iterator[bytes]:
    """Yield one digest per whole block, each standing for the whole prefix up to its end."""
    data = memoryview(tokens).cast("B")
    step = STEP_TOKENS * tokens.itemsize
    chain = hashlib.blake2b(digest_size=16)
    for end in range(step, len(data) + 1, step):
        chain.update(data[end - step : end])
        yield chain.digest()
