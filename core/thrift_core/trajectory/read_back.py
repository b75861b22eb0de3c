"""Reads shortened results as whoever reads the whole conversation can: what stands there, and nothing else."""

from __future__ import annotations

import json

from thrift_core.notation.shapes import Json
from thrift_core.trajectory.results import Results


class ReadBack(Results):
    """Turns the results of a conversation, as they were sent, into what the tools said.

    Feed it the results in the order in which they stand in the request; each may refer to those before it.

    Example:
        >>> from thrift_core.trajectory.results import Results
        >>> sent, said = Results(len), '{"order": "A-1", "state": "paid", "items": ["a lamp", "a long table"]}'
        >>> shortened = sent.shorten("get_order", said, 10_000)
        >>> ReadBack().text("get_order", shortened.text) == said
        True
    """

    def __init__(self) -> None:
        super().__init__(len)
        self._found: list[Json] = []

    def text(self, tool: str, text: str) -> str:
        """Return what a tool said, given what was sent in its place; what is not shortened comes back as it is.

        JSON comes back as equal JSON, not with the same blanks.
        """
        self._found.clear()
        self.absorb(tool, text)
        if not self._found:
            return text
        said = self._found[-1]
        return said if isinstance(said, str) else json.dumps(said)

    def _read(self, tool: str, kind: str, body: str) -> Json:
        found = super()._read(tool, kind, body)
        self._found.append(found)
        return found
