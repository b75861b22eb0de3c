"""Attributes what is saved in a run to whom the run is for, as calls are."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from langchain_core.runnables.config import ensure_config
from thrift_core.accounting.attribution import attribute, from_metadata
from thrift_core.accounting.call import Attribution


def configured() -> Attribution:
    """Return whom the chain or agent that is running says that it works for.

    Metadata and tags win over `configurable`, where LangGraph's apps put a `thread_id` and often a `user_id`.
    """
    config = ensure_config()
    told = {**(config.get("configurable") or {}), **(config.get("metadata") or {})}
    return from_metadata(told, tuple(config.get("tags") or ()))


@contextmanager
def attributed() -> Generator[None]:
    """Read the attribution of the current run from its config, for everything done inside the block."""
    whom = configured()
    with attribute(whom.feature, whom.user, tenant=whom.tenant, task=whom.task, run=whom.run):
        yield
