"""``shardwright COMMAND``: choose the command, run it, turn errors into one line and an exit code.

Only the module of the chosen command is imported, so help is there at once.
A command is a module with ``EXAMPLES``, ``configure(parser, arguments)`` and
``run(options)``, which returns the exit code, or nothing if all went well.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Any, NoReturn

from shardwright.base.errors import ConfigError, OutputExistsError, PlanMismatchError, ShardwrightError
from shardwright.cli.console import close_streams, complain
from shardwright.cli.exit_codes import DAMAGE, DONE, INTERRUPTED, STORAGE, WRONG_ARGUMENTS
from shardwright.cli.signals import Stopped
from shardwright.cli.words import as_typed, meant

__all__ = ["main"]

COMMANDS = {
    "convert": "convert a folder of images, or a converted split, into shards",
    "info": "show what a converted dataset holds",
    "index": "give random access to tar, Parquet, Arrow, .npy, HDF5 or TFRecord files of others, in place",
    "export": "write a split as class folders, TFRecord, .npz or webdataset tar files",
    "verify": "check every byte of a converted dataset",
    "view": "draw some samples with their labels on one sheet (PNG)",
    "finalize": "publish a split whose shards are all written",
    "formats": "list the formats, and what can be done with each",
}

EPILOG = """\
exit codes:
  0    done
  1    a problem in the data: verify found damage, an image cannot be converted,
       or all ranks together skipped more samples than --max-skipped allows (0 if not given)
  2    wrong arguments
  3    the disk or the file system failed, or another process writes the same split
  130  interrupted (Ctrl-C); 128 + its number for another signal (SIGTERM 143, SIGUSR1 138).
       The same command goes on where it stopped.

examples:
  shardwright convert photos out --format parquet
  shardwright info out
  shardwright verify out

'shardwright COMMAND --help' explains one command.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        complain(f"{self.prog}: {message}; see '{self.prog} --help'")
        raise SystemExit(WRONG_ARGUMENTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace()
    try:
        parser = _parser(arguments)
        _, unknown = parser.parse_known_args(arguments, options)
        if unknown:
            hint = meant(unknown, options.parser, getattr(options, "formats_with", lambda _: ())(unknown[0]))
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return int(options.run(options) or DONE)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is becomes one line
        if "--traceback" in arguments:
            traceback.print_exc()
        complain(f"shardwright: {as_typed(_message(error, options), getattr(options, 'parser', None))}")
        return _exit_code(error)
    finally:
        close_streams()


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="shardwright",
        description="Convert image datasets into memmap, HDF5, Parquet, Arrow IPC or tar shards, and look after them.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"shardwright {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            module = import_module(f"shardwright.cli.{name}")
            command.epilog = f"examples:\n{module.EXAMPLES}"
            command.set_defaults(run=module.run, parser=command)
            command.add_argument("--traceback", action="store_true", help="show where an error came from")
            module.configure(command, arguments)
    return parser


def _version() -> str:
    try:
        return metadata.version("shardwright")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _message(error: BaseException, options: argparse.Namespace) -> str:
    if isinstance(error, KeyboardInterrupt):
        kept = getattr(options, "stopped", "what is finished is kept: run the same command again to go on")
        return f"stopped by {str(error) or 'SIGINT'}; {kept}"
    if isinstance(error, ShardwrightError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path, the permissions and the disk"
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install shardwright into the Python that runs it, {sys.executable}: README.md says how"
    return f"{type(error).__name__}: {error}; this was not expected: run it with --traceback and report what it shows"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 128 + error.number if isinstance(error, Stopped) else INTERRUPTED
    if isinstance(error, (ConfigError, OutputExistsError, PlanMismatchError)):
        return WRONG_ARGUMENTS
    return STORAGE if isinstance(error, OSError) else DAMAGE
