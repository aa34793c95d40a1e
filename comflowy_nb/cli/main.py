"""The commands for a terminal: `comflowy-nb demo`, `sandbox`, `sweep` and `scan`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb import __version__
from comflowy_nb.errors import ComflowyError, LineError, RefError, SettingsError, WorkflowError, spelled

if TYPE_CHECKING:
    from collections.abc import Sequence


WRONG_USAGE = 2  # as argparse
INTERRUPTED = 130  # the status that a shell gives to a command ended by Ctrl-C
_USAGE_ERRORS = (SettingsError, LineError, WorkflowError, RefError)  # raised before anything is submitted


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    words
        The arguments without the name of the program. None uses the arguments of the process.

    Returns
    -------
    int
        The exit status: 0; 1 after an error, printed as one line; 2 for wrong usage; 130 after an interrupt.
    """
    args = _build_parser().parse_args(words)
    try:
        with spelled("file"):
            return {"demo": _demo, "sandbox": _sandbox, "sweep": _sweep, "scan": _scan}[args.command](args)
    except ComflowyError as error:
        from comflowy_nb.notebook.display.html import plain  # noqa: PLC0415 - only after an error

        # A graph or a server may contain escape sequences, which a terminal executes.
        print(plain(f"comflowy-nb {args.command}: {error}"), file=sys.stderr)
        return WRONG_USAGE if isinstance(error, _USAGE_ERRORS) else 1
    except KeyboardInterrupt as error:
        print(f"\ncomflowy-nb {args.command}: {str(error) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="comflowy-nb", description="ComfyUI workflows in a notebook; these commands need no notebook."
    )
    parser.add_argument("--version", action="version", version=f"comflowy_nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="run the quickstart notebook on the sandbox",
        description="Run the quickstart notebook on the sandbox, with progress here, and write a page and an image.",
    )
    demo.add_argument("notebook", nargs="?", type=Path, help="another notebook to run instead of the quickstart")
    demo.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the results (%(default)s)")

    sandbox = commands.add_parser(
        "sandbox",
        help="serve the sandbox on this machine",
        description="Serve the sandbox: the Comflowy API on loopback, with images rendered on this machine. "
        "`%comflowy connect sandbox` starts one if none runs, so this command is for other tools and a fixed port.",
    )
    sandbox.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1; 0 (default) uses a free one")
    sandbox.add_argument("--until-unused", action="store_true", help="stop when no client is connected")

    sweep = commands.add_parser(
        "sweep",
        help="run the sweep of a file",
        description="Run the sweep of a file, with the same history as a notebook's: cells that have "
        "succeeded are not submitted again, and an interrupted sweep continues. "
        "`%%comflowy sweep ... --export FILE.yaml` writes such a file.",
        epilog="Exit status: 0 if every cell succeeded, 1 if one did not, 2 for wrong usage, 130 after an interrupt.",
    )
    sweep.add_argument("file", metavar="FILE.yaml", type=Path, help="workflow, fields and options, as YAML")
    sweep.add_argument(
        "--connect", metavar="TARGET", help="sandbox, cloud, comfyui or [NAME=]URL; else COMFLOWY_TARGET"
    )
    sweep.add_argument("--as", dest="name", metavar="NAME", help="a name for the sweep, as in a notebook")
    sweep.add_argument(
        "--out", metavar="DIR", type=Path, help="folder or NAME.zip for copies, a contact sheet and a JSON file"
    )

    scan = commands.add_parser(
        "scan",
        help="find keys and tokens in notebooks and other files",
        description="Find keys and tokens in notebooks (cells, outputs, metadata, attachments, widgets, images), in "
        "texts, saved pages, images and zip files. It names the place and the kind, and never prints a key.",
        epilog="Exit status: 0 if none is found, 1 if one is, 2 for wrong usage or a file that can't be read.",
    )
    scan.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="a file, or a folder with all its folders")
    scan.add_argument(
        "--fix", action="store_true", help="blank the outputs of notebooks that hold one; cells are never changed"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: use a whole number from 0 to 65535")
    return int(text)


def _demo(args: argparse.Namespace) -> int:
    try:
        from comflowy_nb.cli import demo  # noqa: PLC0415 - its packages are an extra
    except ModuleNotFoundError as error:
        if str(error.name).startswith("comflowy_nb"):
            raise
        raise ComflowyError(f"{error.name} is not installed: pip install 'comflowy_nb[demo]'") from error
    demo.run_demo(args.out, args.notebook)
    return 0


def _sandbox(args: argparse.Namespace) -> int:
    from comflowy_nb.sandbox.server import server  # noqa: PLC0415 - numpy and tornado, only for this command

    return server.main(port=args.port, until_unused=args.until_unused) or 0


def _sweep(args: argparse.Namespace) -> int:
    from comflowy_nb.cli import sweep  # noqa: PLC0415 - HTTP and images, only for this command

    return sweep.main(args)


def _scan(args: argparse.Namespace) -> int:
    from comflowy_nb.cli import scan  # noqa: PLC0415 - images, only for this command

    return scan.main(args)


if __name__ == "__main__":
    sys.exit(main())
