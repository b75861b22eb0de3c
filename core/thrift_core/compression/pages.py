"""HTML: the text that a reader of the page sees, with headings, lists, tables and where links lead."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from thrift_core.compression.compressed import Dropped
from thrift_core.compression.work import Draft, Job

_UNSEEN = frozenset(("script", "style", "noscript", "template", "svg", "iframe", "object", "head", "canvas", "select"))
_BLOCKS = frozenset(
    (
        *("p", "div", "section", "article", "main", "header", "footer", "nav", "aside", "form", "fieldset", "figure"),
        *(
            "ul",
            "ol",
            "dl",
            "dt",
            "dd",
            "table",
            "tr",
            "blockquote",
            "pre",
            "br",
            "hr",
            "address",
            "details",
            "summary",
        ),
        *("h1", "h2", "h3", "h4", "h5", "h6", "li"),
    )
)
_VOID = frozenset(
    ("br", "hr", "img", "input", "meta", "link", "wbr", "source", "area", "base", "col", "embed", "track")
)
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*\n\s*|[^\S\n]*\n[^\S\n]*")
# The standard library's parser is quadratic on some broken pages; longer ones are left to the budget alone.
_MOST_CHARACTERS = 3_000_000


def page(text: str, job: Job) -> Draft | None:
    """Return a page's readable text with its links; None where nothing may be lost."""
    if not job.may_cut or len(text) > _MOST_CHARACTERS:
        return None
    reader = _Reader()
    reader.feed(text)
    reader.close()
    shown = reader.text()
    if not shown:
        return None
    from thrift_core.compression.codecs import prose  # noqa: PLC0415 - which loads this module

    tokens = job.count(shown)
    dropped = (Dropped("tag", reader.tags), *((Dropped("script or style", reader.hidden),) if reader.hidden else ()))
    draft = Draft(shown, "the readable text of a page", dropped=dropped)
    if job.max_tokens is None or tokens <= job.max_tokens:
        return draft
    cut = prose(shown, job.part(tokens, job.max_tokens))
    return None if cut is None else Draft(cut.text, f"{draft.note}, {cut.note}", dropped=(*dropped, *cut.dropped))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags = 0
        self.hidden = 0
        self._pieces: list[str] = []
        self._unseen: list[str] = []
        self._links: list[tuple[int, str]] = []
        self._title = False

    def text(self) -> str:
        """Return what was read."""
        return _LINES.sub(lambda hit: "\n\n" if hit[0].count("\n") > 1 else "\n", "".join(self._pieces)).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in the start of an element."""
        self.tags += 1
        if tag == "title":
            self._title = True
        if tag in _UNSEEN:
            self._unseen.append(tag)
            self.hidden += tag in ("script", "style")
        if self._unseen:
            return
        if tag in _BLOCKS:
            self._pieces.append("\n")
        if tag.startswith("h") and tag[1:].isdecimal():
            self._pieces.append("#" * int(tag[1:2]) + " ")
        elif tag == "li":
            self._pieces.append("- ")
        elif tag in ("td", "th"):
            self._pieces.append(" | ")
        elif tag == "a":
            target = dict(attrs).get("href") or ""
            self._links.append((len(self._pieces), target))
        elif tag == "img" and (alt := dict(attrs).get("alt")):
            self._pieces.append(f"[{alt}]")

    def handle_endtag(self, tag: str) -> None:
        """Take in the end of an element."""
        if tag == "title":
            self._title = False
            self._pieces.append("\n")
        if tag in self._unseen:
            del self._unseen[len(self._unseen) - 1 - self._unseen[::-1].index(tag) :]
            return
        if self._unseen:
            return
        if tag == "a" and self._links:
            at, target = self._links.pop()
            label = "".join(self._pieces[at:]).strip()
            is_worth = label and target and not target.startswith(("#", "javascript:"))
            self._pieces[at:] = [f"[{label}]({target})" if is_worth else label]
        elif tag in _BLOCKS and tag != "li":
            self._pieces.append("\n")

    def handle_data(self, data: str) -> None:
        """Take in text."""
        if self._title or not self._unseen:
            self._pieces.append(_BLANKS.sub(" ", data.replace("\n", " ")))
