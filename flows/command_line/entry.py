"""The console script `comat`: the command line, told in one line even when the program itself cannot be loaded."""

import sys

from flows.failures import failure_line

EXIT_OF_FAILURE = 1
EXIT_OF_INTERRUPT = 130


def main() -> int:
    """Load the command line and run it. Loading takes a second, in which Ctrl-C may come, or a library be missing."""
    try:
        from flows.command_line import cli
    except KeyboardInterrupt:
        return EXIT_OF_INTERRUPT
    except Exception as error:
        print(f"comat: {failure_line(error)}", file=sys.stderr)
        return EXIT_OF_FAILURE
    return cli.main()
