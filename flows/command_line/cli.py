"""The command line: `comat COMMAND`.

A user's mistake ends it with one line on standard error and exit code 2; an exception that nobody expected with one
line too, which names the file with its trace, and exit code 1.
"""

import argparse
import os
import select
import sys
from collections.abc import Sequence

from comat_core.support.errors import UserError
from flows.command_line.arguments import OneLineParser
from flows.command_line.commands import (
    ablate,
    audit,
    captioners,
    doctor,
    export,
    figure,
    images,
    layers,
    miniature,
    models,
    presets,
    run,
    sample,
    stores,
    study,
    timeline,
    train_node,
    view,
)
from flows.command_line.entry import EXIT_OF_FAILURE, EXIT_OF_INTERRUPT
from flows.failures import failure_line, is_debugging, show_trace, thread_failures_told

EXIT_OF_MISTAKE = 2
EXIT_OF_CLOSED_PIPE = 141

COMMANDS = (
    run,
    train_node,
    audit,
    ablate,
    stores,
    presets,
    timeline,
    sample,
    images,
    figure,
    view,
    export,
    study,
    models,
    doctor,
    layers,
    captioners,
    miniature,
)
"""In the order of `comat --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        with thread_failures_told():
            options = make_parser().parse_args(arguments)
            code = options.command(options)
            sys.stdout.flush()  # what the disk or the reader refuses is told here, not when the interpreter ends
            return code
    except UserError as error:
        if is_debugging():
            show_trace(error)
        print(f"comat: {error}", file=sys.stderr)
        return EXIT_OF_MISTAKE
    except KeyboardInterrupt:
        print("comat: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return EXIT_OF_INTERRUPT
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            return EXIT_OF_CLOSED_PIPE
        _drop_lost_output()
        print(f"comat: {failure_line(error)}", file=sys.stderr)
        return EXIT_OF_FAILURE


def _reader_has_left() -> bool:
    """Whether nobody reads standard output any more, as after `comat show PRESET | head -1`."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        _drop_lost_output()
        return True
    return False


def _drop_lost_output() -> None:
    """Forget what standard output does not take: the interpreter would fail over it once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = OneLineParser(
        prog="comat", allow_abbrev=False, description="Fine-tune text-to-image models to follow their prompts."
    )
    parsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(parsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
