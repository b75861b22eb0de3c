"""The semantic cache: how fast it answers, and what it must never mix up."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator

from benchmarks.records import Options, Record

FIGURES = {
    "--part": "context, speed, trust, stream or scaling, where they are installed; without it, all",
    "context": "every turn of the conversations is stored and then looked up, together with the same last turn behind"
    " every other history of its file; the matcher accepts whatever is put before it, so only the key keeps them apart",
    "cross_context_hits": "answers that were given in one context to a question asked in another; the aim is 0",
    "colliding_pairs": "pairs of rows whose last turns are equal or all but equal, and whose histories differ",
    "blind_hits": "the same count for a key of the last turn alone, as GPTCache and others make it",
    "speed": "one partition holds all the entries, the worst case; every lookup is timed by itself, in a process of its"
    " own for each store and size",
    "entries": "answers in the store; each has some 55 characters of question and 700 of prose",
    "exact_p50_ms, exact_p99_ms": "a lookup of a question as it was stored, key and all",
    "semantic_p50_ms, semantic_p99_ms": "a lookup that searches by vector and hits, the question's vector known",
    "exact_p99_cpu_ms, semantic_p99_cpu_ms": "the processor time of the same lookups: what the clock would say on a"
    " machine with nothing else to do, but for waiting for Redis",
    "miss_p99_ms": "the same for questions that have no match",
    "with_embedder_p99_ms": "a lookup that embeds its question with the embedder that comes with thrift, and hits",
    "store_p50_ms": "keeping an answer, embedding included",
    "bytes_per_entry": "growth of the process's memory (memory), the file (sqlite) or Redis's memory (redis) an entry",
    "bytes_ratio": "the same as a multiple of the question, the answer and its vector as 32-bit floats",
    "loaded_once_mb": "what the process grows by before the first entry, and whatever their number: the embedder's"
    " rows, its memory of words, the work space of the matrix library; not part of bytes_per_entry",
    "scaling": "several Redis processes on this machine, 64 tenants spread over them by a hash, two client processes"
    " that look paraphrases up for four seconds",
    "server_ms_per_store, server_ms_per_exact, server_ms_per_semantic": "the servers' own processor time, which does"
    " not depend on what else the machine does; ..._per_second_per_server_core is its inverse",
    "peers": "on the same embedder, in the same run, at the largest of their sizes that --limit allows",
}
# Where each part is; those that are not there yet are left out.
PARTS = {
    "context": "benchmarks.cache_context",
    "speed": "benchmarks.cache_speed",
    "trust": "benchmarks.cache_trust",
    "stream": "benchmarks.cache_stream",
    "scaling": "benchmarks.cache_scaling",
}


def run(options: Options) -> Iterator[Record]:
    """Yield the records of the parts asked for."""
    present = [part for part, module in PARTS.items() if importlib.util.find_spec(module) is not None]
    if options.part is not None and options.part not in present:
        raise SystemExit(f"--part {options.part}: give one of {', '.join(present)}")
    for part in present if options.part is None else [options.part]:
        for record in importlib.import_module(PARTS[part]).run(options):
            yield {"benchmark": "cache", "part": part, **record}
