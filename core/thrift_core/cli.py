"""The `thrift` command: wires the subcommands and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from thrift_core.commands import audit, budget, calibrate, demo, report, train, transfer
from thrift_core.errors import ThriftError

_COMMANDS = (demo, report, budget, audit, calibrate, train, transfer)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0 is success, 2 a command line or a file that cannot be used, 130 an interruption.
    """
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except ThriftError as error:
        sys.stderr.write(f"thrift: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does; nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thrift", description="See and limit what an app's LLM calls cost.")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for, since that is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"thrift {version('thrift-core')}\n")
        parser.exit()
