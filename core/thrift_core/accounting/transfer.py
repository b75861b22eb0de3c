"""Carries a ledger out to a file of JSON lines, and back in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from thrift_core.accounting.call import Call, Saving
from thrift_core.accounting.jsonl import (
    Line,
    dump_call,
    dump_fault,
    dump_lookup,
    dump_resolution,
    dump_saving,
    load_line,
)
from thrift_core.accounting.ledger_rows import (
    CALL_COLUMNS,
    FAULT_COLUMNS,
    INSERT_CALL,
    INSERT_FAULT,
    INSERT_LOOKUP,
    INSERT_RESOLUTION,
    INSERT_SAVING,
    LOOKUP_COLUMNS,
    SAVING_COLUMNS,
    Row,
    call_from,
    call_row,
    lookup_from,
    lookup_row,
    saving_from,
    saving_row,
)
from thrift_core.accounting.ledger_store import LedgerStore
from thrift_core.accounting.lookup import Lookup
from thrift_core.errors import LedgerError

_BATCH = 1000
_SHOWN = 10
_INSERTS = {
    "call": INSERT_CALL,
    "saving": INSERT_SAVING,
    "lookup": INSERT_LOOKUP,
    "resolution": INSERT_RESOLUTION,
    "fault": INSERT_FAULT,
}


def export_lines(store: LedgerStore, path: Path, *, on_line: Callable[[], object] | None = None) -> int:
    """Write a ledger to a file and return the number of lines; see `Ledger.export_jsonl`."""
    count = 0
    try:
        with path.open("w", encoding="utf-8") as file:
            for line in _dumped(store):
                file.write(line + "\n")
                count += 1
                if on_line is not None:
                    on_line()
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def line_count(store: LedgerStore) -> int:
    """Return how many lines `export_lines` would write."""
    tables = ("calls", "savings", "lookups", "resolutions", "faults")
    return sum(store.read(f"SELECT count(*) FROM {table}")[0][0] for table in tables)  # noqa: S608


def import_lines(
    store: LedgerStore, path: Path, price: Callable[[Call], Call], *, on_line: Callable[[], object] | None = None
) -> int:
    """Add a file's lines to a ledger and return how many were new; see `Ledger.import_jsonl`."""
    malformed: list[str] = []
    new = 0
    batch: list[Line] = []
    for line in _loaded(path, malformed, on_line):
        batch.append(line)
        if len(batch) == _BATCH:
            new += _keep(store, price, batch)
            batch = []
    new += _keep(store, price, batch)
    if malformed:
        raise LedgerError(_complaint(path, malformed, new))
    return new


def _dumped(store: LedgerStore) -> Iterator[str]:
    for row in store.pages("calls", "started_at", CALL_COLUMNS):
        yield dump_call(call_from(row))
    for id_, *rest in store.pages("savings", "at", SAVING_COLUMNS):
        yield dump_saving(id_, saving_from((id_, *rest)))
    for id_, *rest in store.pages("lookups", "at", LOOKUP_COLUMNS):
        yield dump_lookup(id_, lookup_from((id_, *rest)))
    yield from map(dump_resolution, store.read("SELECT task, success, at FROM resolutions ORDER BY at, task"))
    yield from map(dump_fault, store.pages("faults", "at", FAULT_COLUMNS))


def _loaded(path: Path, malformed: list[str], on_line: Callable[[], object] | None) -> Iterator[Line]:
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if on_line is not None:
                    on_line()
                try:
                    # A byte order mark, as editors on Windows leave it, is no part of the first line.
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                    if text:
                        yield load_line(text)
                except UnicodeDecodeError:
                    malformed.append(f"line {number} is not UTF-8")
                except ValueError as error:
                    malformed.append(f"line {number}: {error}")
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror or error}") from error


def _keep(store: LedgerStore, price: Callable[[Call], Call], lines: list[Line]) -> int:
    rows: dict[str, list[Row]] = {}
    for line in lines:
        rows.setdefault(line.kind, []).append(_row(price, line))
    return sum(store.write(_INSERTS[kind], of_kind) for kind, of_kind in rows.items())


def _row(price: Callable[[Call], Call], line: Line) -> Row:
    if isinstance(line.value, Call):
        return call_row(price(line.value))
    if isinstance(line.value, Saving):
        return saving_row(line.value, line.id)
    if isinstance(line.value, Lookup):
        return lookup_row(line.value, line.id)
    return line.value


def _complaint(path: Path, malformed: list[str], new: int) -> str:
    shown = "; ".join(malformed[:_SHOWN])
    more = f"; and {len(malformed) - _SHOWN} more" if len(malformed) > _SHOWN else ""
    kept = f"{new} other lines were new and are in the ledger" if new else "no other line was new"
    return f"{path} has {len(malformed)} malformed lines, mend and import it again: {shown}{more} ({kept})"
