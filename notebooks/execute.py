"""Executes the tutorials again on the sandbox and strips them, to commit them: `make notebooks`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat

from comflowy_nb.demo import await_end_of_sandbox, execute, kernel_environment, strip
from comflowy_nb.demo_teller import Teller
from comflowy_nb.errors import ComflowyError

HERE = Path(__file__).parent


def main() -> int:
    teller = Teller(sys.stdout)
    for path in sorted(HERE.glob("*.ipynb")):
        content = nbformat.read(path, as_version=4)
        teller.line(f"{path.name}:")
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            home.mkdir()
            try:
                execute(content, Path(folder), kernel_environment(home), teller)
            except ComflowyError as error:
                teller.line(f"{path.name}: {error}")
                return 1
            finally:
                await_end_of_sandbox(home, teller)
        strip(content)
        nbformat.write(content, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
