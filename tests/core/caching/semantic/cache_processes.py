"""Processes that use one cache file, for tests that kill them or take their disk away.

python cache_processes.py kill FILE TIMES
python cache_processes.py full FILE BYTES
python cache_processes.py share FILE PROCESSES ENTRIES
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np  # noqa: F401 - once here, not in each child
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.sqlite_store import SQLiteStore
from thrift_core.messages import Message, Request
from thrift_core.testing.embeddings import hashed_vector, words_of


class WordEmbedder:
    name, dimensions = "words-64", 64

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [hashed_vector(Counter(words_of(text)), self.dimensions) for text in texts]


def asked(number: int) -> Request:
    return Request(messages=(Message("user", f"question number {number} of many"),))


def answered(number: int) -> CachedAnswer:
    return CachedAnswer(payload=f"answer {number} " + "x" * (number * 37 % 3000))


def opened(path: Path) -> SemanticCache:
    return SemanticCache(SQLiteStore(path), WordEmbedder())


def write(path: Path, first: int, told: int) -> None:
    cache = opened(path)
    for number in range(first, first + 100_000):
        if cache.store(asked(number), answered(number)):
            os.write(told, b"%d\n" % number)


def kill(path: Path, times: int) -> None:
    """Kill a writing process again and again; what it said was kept must be there."""
    opened(path).close()
    generator = random.Random(5)
    kept = 0
    for turn in range(times):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            write(path, turn * 100_000, writing)
            os._exit(0)
        os.close(writing)
        os.read(reading, 1)  # it has begun
        time.sleep(generator.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as lines:
            told = lines.read().split(b"\n")
        cache = opened(path)
        # The first line lost its first digit to the read above; the last may be cut.
        for line in told[1:-1]:
            number = int(line)
            hit = cache.lookup(asked(number))
            assert hit is not None, f"turn {turn}: {number} was kept and is gone"
            assert hit.answer == answered(number)
            kept += 1
        assert cache.stats().faults == {}, cache.stats().faults
        cache.close()
    sys.stdout.write(str(kept))


def full(path: Path, most: int) -> None:
    """Write until no file may grow; the cache then refuses, goes on answering, and opens again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    cache = opened(path)
    kept = [number for number in range(3000) if cache.store(asked(number), answered(number))]
    assert 0 < len(kept) < 3000, len(kept)
    assert cache.stats().faults, "the disk was full"
    time.sleep(1.1)  # a store that failed is left alone for a second
    hits = [cache.lookup(asked(number)) for number in kept]
    assert all(hit is not None and hit.answer == answered(number) for hit, number in zip(hits, kept, strict=True))
    cache.close()
    sys.stdout.write(str(len(kept)))


def share(path: Path, processes: int, entries: int) -> None:
    """Write from many processes at once, each looking up what the others write."""
    children: list[int] = []
    for process in range(processes):
        child = os.fork()
        if not child:
            cache = opened(path)
            missed = 0
            for number in range(entries):
                own = process * entries + number
                while not cache.store(asked(own), answered(own)):
                    missed += 1
                    time.sleep(0.01)
                other = random.randrange(processes * entries)
                hit = cache.lookup(asked(other))
                assert hit is None or hit.answer == answered(other)
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    cache = opened(path)
    hits = [cache.lookup(asked(number)) for number in range(processes * entries)]
    assert all(hit is not None and hit.answer == answered(number) for number, hit in enumerate(hits))
    sys.stdout.write(str(len(hits)))


if __name__ == "__main__":
    work, file, *numbers = sys.argv[1:]
    {"kill": kill, "full": full, "share": share}[work](Path(file), *map(int, numbers))  # type: ignore[operator]
