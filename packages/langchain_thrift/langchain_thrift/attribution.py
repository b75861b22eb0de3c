"""Attributes what is saved in a run to whom the run is for, as calls are."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from langchain_core.runnables.config import ensure_config
from thrift_core.accounting.attribution import attribute, from_metadata


@contextmanager
def attributed() -> Generator[None]:
    """Read the attribution of the current run from its metadata and tags, for everything done inside the block."""
    config = ensure_config()
    whom = from_metadata(config.get("metadata") or {}, tuple(config.get("tags") or ()))
    with attribute(whom.feature, whom.user, tenant=whom.tenant, task=whom.task, run=whom.run):
        yield
