"""Logs: told by their kinds of lines, or written in rows without loss."""

from __future__ import annotations

from thrift_core.compression.log_digest import digest
from thrift_core.compression.log_rows import rows
from thrift_core.compression.log_templates import mine
from thrift_core.compression.work import Draft, Job


def log(text: str, job: Job) -> Draft | None:
    """Return a log shortened: without loss where only that is allowed or it is enough for the budget."""
    mined = mine(text.split("\n"))
    if job.is_lossless or job.max_tokens is not None:
        written = rows(mined)
        if written is not None and (job.max_tokens is None or job.count(written) <= job.max_tokens):
            return Draft(written, "log lines in rows", "bytes")
        if job.is_lossless or not job.must_cut:
            return None
    return digest(mined, job)
