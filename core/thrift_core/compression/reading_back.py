"""Reads back what was compressed without loss."""

from __future__ import annotations

import re

from thrift_core.compression import log_rows
from thrift_core.compression.json_documents import LINES_LEGEND
from thrift_core.compression.tables import LEGEND as TABLE_LEGEND
from thrift_core.notation.documents import JSON_LEGEND, MARK, read
from thrift_core.notation.phrases import PhrasesError, expanded
from thrift_core.notation.reading import NotationError
from thrift_core.notation.shapes import Json

_OTHER_LEGEND = re.compile(rf"{MARK}\((?:{LINES_LEGEND}|{TABLE_LEGEND}); ")


class NotLossless(ValueError):
    """The text was not written so that it can be read back by itself."""


def read_back(text: str) -> str | Json:
    """Return what a text without loss says: the bytes of a log or prose, the value of JSON, a table's rows.

    Args:
        text: the `text` of a `Compressed` whose `is_lossless` is true, and that is not as it was given.

    Raises:
        NotLossless: it is none of ours, or something was cut from it.

    Example:
        >>> read_back("§(JSON; [#columns| row; row]; ^ as above) [#id state=open| A1; B2]")
        [{'id': 'A1', 'state': 'open'}, {'id': 'B2', 'state': 'open'}]
    """
    try:
        if text.startswith(f"{MARK}lines("):
            return log_rows.read(text)
        if not text.startswith(f"{MARK}("):
            text = expanded(text)
            if not text.startswith(f"{MARK}("):
                return text
        return read(_OTHER_LEGEND.sub(f"{MARK}(", text, count=1))
    except (log_rows.RowsError, PhrasesError, NotationError) as error:
        legend = f"{MARK}({JSON_LEGEND})"
        raise NotLossless(
            f"cannot be read back: {error}; a text without loss begins with such as {legend!r}"
        ) from error
