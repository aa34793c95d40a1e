"""`comflowy-nb scan PATH...`: find keys and tokens in notebooks and other files; never print them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError
from comflowy_nb.scanning.content import UnreadableError
from comflowy_nb.scanning.files import files_in, scan_file, shown_name

if TYPE_CHECKING:
    import argparse

ADVICE = """\
Revoke each of these keys at its service: every copy of the file has it, and version control keeps earlier ones.
Safe in a cell: %comflowy login, the environment variable COMFLOWY_API_KEY, a variable read from a file or keyring."""


def main(args: argparse.Namespace) -> int:
    """Search files and folders; with `--fix` blank the outputs of notebooks that hold secrets.

    Returns
    -------
    int
        1 if there is a secret, also if its output was blanked; 2 if a file can't be searched; else 0.

    Raises
    ------
    SettingsError
        If a path does not exist. Nothing was searched.
    """
    if missing := [path for path in args.paths if not path.exists()]:
        names = ", ".join(shown_name(str(path)) for path in missing)
        raise SettingsError(
            f"no such file or folder: {names}. Use paths of files and folders: comflowy-nb scan notebooks"
        )
    searched = found = left = unreadable = 0
    for path in dict.fromkeys(file for root in args.paths for file in files_in(root)):
        name = shown_name(str(path))
        try:
            findings = scan_file(path, fix=args.fix)
        except UnreadableError as error:
            print(f"{name}: not searched: {error}", file=sys.stderr)
            unreadable += 1
            continue
        searched += 1
        for finding in findings:
            found += 1
            left += not finding.is_blanked
            place = f"{name}: {finding.where}" if finding.where else name
            print(f"{place}: {finding.kind}{'; output removed' if finding.is_blanked else ''}")
    files = f"{searched} file{'s' if searched != 1 else ''} searched"
    if not found:
        print(f"{files}, no keys or tokens found")
        return 2 if unreadable else 0
    if args.fix and left:
        print(f"{left} of {found} are not in an output: --fix does not change them. Remove them by hand.")
    print(ADVICE)
    return 1
