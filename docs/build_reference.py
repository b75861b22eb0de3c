"""Writes the reference: one page for each public name, from its docstring, and an index of them.

python docs/build_reference.py          # write docs/reference
python docs/build_reference.py --check  # exit with 1 where a page is not what the docstrings say
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import griffe

PACKAGES = {"thrift_core": "Core", "langchain_thrift": "LangChain", "llamaindex_thrift": "LlamaIndex"}
FOLDER = Path(__file__).parent / "reference"
_HEADINGS = {
    griffe.DocstringSectionKind.parameters: "Arguments",
    griffe.DocstringSectionKind.attributes: "Attributes",
    griffe.DocstringSectionKind.raises: "Raises",
    griffe.DocstringSectionKind.returns: "Returns",
    griffe.DocstringSectionKind.yields: "Yields",
}


def pages() -> dict[str, str]:
    """Return each page's text by its file name."""
    written = {}
    index = ["# Reference", "", "Written from the docstrings by `docs/build_reference.py`.", ""]
    for package, title in PACKAGES.items():
        index += [f"## {title}: `{package}`", "", "| name | what it is |", "|---|---|"]
        for name in sorted(import_module(package).__all__, key=str.casefold):
            thing = getattr(import_module(package), name)
            file = f"{package}.{name}.md"
            written[file] = page(package, name, thing)
            summary = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
            index.append(f"| [`{name}`]({file}) | {summary} |")
        index.append("")
    written["README.md"] = "\n".join(index)
    return written


def page(package: str, name: str, thing: object) -> str:
    """Return one name's page."""
    lines = [f"# {name}", "", "```python", f"from {package} import {name}", "```", ""]
    lines += _described(thing, "##")
    if inspect.isclass(thing):
        for member, method in _methods(thing):
            lines += ["", f"## {member}", ""]
            if inspect.isroutine(method):
                lines += ["```python", f"{member}{_signature(method)}", "```", ""]
            lines += _described(method, "###")
    return "\n".join(lines).rstrip() + "\n"


def _described(thing: object, heading: str) -> Iterator[str]:
    doc = griffe.Docstring(inspect.getdoc(thing) or "")
    # What the house's docstrings call "Example:" is an admonition to the parser.
    for section in doc.parse("google", warnings=False, warn_unknown_params=False):
        if section.kind is griffe.DocstringSectionKind.text:
            yield from (section.value, "")
        elif section.kind is griffe.DocstringSectionKind.admonition:
            yield from (f"{heading} {section.title}", "", "```pycon", section.value.contents, "```", "")
        elif section.kind in _HEADINGS:
            yield from (f"{heading} {_HEADINGS[section.kind]}", "")
            yield from (_item(item) for item in section.value)
            yield ""


def _item(item: griffe.DocstringElement) -> str:
    name = getattr(item, "name", None) or getattr(item, "annotation", None)
    text = item.description.replace("\n", " ")
    return f"- `{name}`: {text}" if name else f"- {text}"


def _methods(thing: type) -> Iterator[tuple[str, object]]:
    """Return what a class adds of its own: a framework's own methods are documented there."""
    for name, member in sorted(vars(thing).items()):
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isroutine(plain) or isinstance(member, property):
            yield name, plain


def _signature(method: object) -> str:
    try:
        signature = inspect.signature(method)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    return str(signature.replace(parameters=[_steady(each) for each in signature.parameters.values()]))


def _steady(parameter: inspect.Parameter) -> inspect.Parameter:
    # A set is written in another order by each process.
    is_set = isinstance(parameter.default, set | frozenset)
    return parameter.replace(default=sorted(parameter.default)) if is_set else parameter


def main() -> int:
    """Write the pages or check them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and say which pages are out of date")
    is_checking = parser.parse_args().check
    wanted = pages()
    held = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.md")}
    stale = sorted({name for name in {*wanted, *held} if wanted.get(name) != held.get(name)})
    if is_checking:
        print("\n".join(stale))
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
