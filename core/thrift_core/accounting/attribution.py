"""Whom calls are for: set once around a piece of work, read by every adapter."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, replace
from typing import Any

from thrift_core.accounting.call import Attribution

_current: ContextVar[Attribution] = ContextVar("thrift_attribution", default=Attribution())  # noqa: B039 - frozen
_NAMES = tuple(field.name for field in fields(Attribution))
# Spellings that apps already use in their run metadata; the plain name comes first and wins.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "feature": ("feature", "thrift_feature"),
    "user": ("user", "user_id", "thrift_user"),
    "tenant": ("tenant", "tenant_id", "org_id", "thrift_tenant"),
    "task": ("task", "task_id", "thrift_task"),
    "run": ("run", "thread_id", "session_id", "conversation_id", "thrift_run"),
}


@contextmanager
def attribute(
    feature: str | None = None,
    user: str | None = None,
    *,
    tenant: str | None = None,
    task: str | None = None,
    run: str | None = None,
) -> Generator[Attribution]:
    """Attribute every call made inside the block, in this thread or asyncio task and those it starts.

    Blocks nest: an inner block overrides the names it gives and keeps the others. Threads started by hand inside the
    block need `contextvars.copy_context().run`, as with any context variable.

    Example:
        >>> with attribute(feature="search", user="ann"), attribute(task="ticket 7"):
        ...     current_attribution()
        Attribution(feature='search', user='ann', tenant=None, task='ticket 7', run=None)
    """
    inner = merged(_current.get(), Attribution(feature=feature, user=user, tenant=tenant, task=task, run=run))
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)


def current_attribution() -> Attribution:
    """Return what the enclosing `attribute` blocks say."""
    return _current.get()


def merged(outer: Attribution, inner: Attribution) -> Attribution:
    """Return `outer` with the names that `inner` gives."""
    given = {name: value for name in _NAMES if (value := getattr(inner, name)) is not None}
    return replace(outer, **given) if given else outer


def from_metadata(metadata: Mapping[str, Any], tags: tuple[str, ...] = ()) -> Attribution:
    """Read an attribution from a framework's run metadata and tags.

    Args:
        metadata: keys such as `feature`, `user` or `user_id`, `tenant`, `task` or `task_id`, `thread_id`; each also
            with the prefix `thrift_`. Values are turned into text; empty ones are ignored.
        tags: tags of the form `feature:search`; metadata wins over them.
    """
    tagged = dict(tag.split(":", 1) for tag in tags if ":" in tag)
    return Attribution(
        **{name: _first(metadata, keys) or _first(tagged, keys) for name, keys in _SPELLINGS.items()},
    )


def _first(values: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = values.get(key)
        if value is not None and (text := str(value).strip()):
            return text
    return None
