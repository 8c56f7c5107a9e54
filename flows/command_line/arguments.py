"""What the commands' parsers have in common: how a mistake is told, the preset and the store, kinds of numbers."""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from comat_core.support.errors import UserError
from stages.store.store import default_store


class OneLineParser(argparse.ArgumentParser):
    """Reports mistakes like every other part of the project: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message, "command line", f"see `{self.prog} --help`")


def add_command(
    parsers: Any, name: str, command: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """A command's parser, for the caller to add arguments to."""
    parser = parsers.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(command=command)
    return parser


def add_preset(parser: argparse.ArgumentParser, with_store: bool = True) -> None:
    parser.add_argument("preset", metavar="PRESET", help="a shipped preset's name, or a .yaml file")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="override a preset's setting"
    )
    if with_store:
        add_store(parser)


def add_store(parser: argparse.ArgumentParser) -> None:
    default = default_store()
    parser.add_argument(
        "--store", default=default, metavar="URL", help=f"folder or fsspec URL of the store (default: {default})"
    )


def port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return int(text)


def repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"{text} is no repository: write ORG/NAME")
    return text


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)
