"""Execute the notebooks and strip them, to commit them: `make notebooks`.

`comfyui.ipynb` runs on the scripted server of the tests, the others on the sandbox.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from comflowy_nb.cli.demo import ProgressReporter, execute, kernel_environment, strip, wait_for_sandbox_end
from comflowy_nb.errors import ComflowyError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SERVER = HERE.parent / "tests" / "comfyui" / "comfyui_server.py"


def main() -> int:
    progress = ProgressReporter(sys.stdout)
    with scripted_comfyui() as url:
        for path in sorted(HERE.glob("*.ipynb")):
            content = nbformat.read(path, as_version=4)
            progress.line(f"{path.name}:")
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder) / "home"
                home.mkdir()
                try:
                    execute(content, Path(folder), kernel_environment(home) | {"COMFYUI_URL": url}, progress)
                except ComflowyError as error:
                    progress.line(f"{path.name}: {error}")
                    return 1
                finally:
                    wait_for_sandbox_end(home, progress)
            strip(content)
            nbformat.write(content, path)
    return 0


@contextmanager
def scripted_comfyui() -> Iterator[str]:
    """Start a scripted ComfyUI server; yield its address."""
    command = [sys.executable, str(SERVER), "--previews"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.communicate("", timeout=30)


if __name__ == "__main__":
    sys.exit(main())
