"""Install a wheel into a new environment and run the first cells of the README there.

    python tools/try_wheel.py dist          # the only wheel of the folder, with pip and the package index
    python tools/try_wheel.py FILE.whl --offline   # with the packages of this Python, without pip

The cells run in IPython's shell, from an empty working folder and with an empty COMFLOWY_HOME, so that the installed
package is used and not the repository.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

CELLS = """\
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in (
    "%load_ext comflowy_nb",
    "%comflowy connect sandbox",
    "%comflowy run default width=64 height=64 steps=2 --as first",
    "size = first.images[0].pil().size",
):
    shell.run_cell(cell).raise_error()
import comflowy_nb
print("image", *shell.user_ns["size"], "from", comflowy_nb.__file__)
"""


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="a wheel, or a folder that contains one wheel")
    parser.add_argument("--offline", action="store_true", help="unpack the wheel, and use the packages of this Python")
    args = parser.parse_args(words)
    wheels = [args.wheel] if args.wheel.is_file() else sorted(args.wheel.glob("*.whl"))
    if len(wheels) != 1:
        print(f"{args.wheel} contains {len(wheels)} wheels instead of one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=not args.offline)
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if args.offline:
            _unpack(wheels[0], environment)
        else:
            subprocess.run([python, "-m", "pip", "install", "--quiet", wheels[0]], check=True)
        work = Path(folder) / "work"
        work.mkdir()
        variables = {**os.environ, "COMFLOWY_HOME": str(Path(folder) / "home"), "IPYTHONDIR": str(Path(folder) / "ipy")}
        variables.pop("PYTHONPATH", None)
        done = subprocess.run([python, "-c", CELLS], cwd=work, env=variables, check=False, timeout=300)
    return done.returncode


def _unpack(wheel: Path, environment: Path) -> None:
    """Unpack the wheel into the environment, and add the packages of this Python to its path.

    A `.pth` file of those packages is not read, so that an editable install of the repository has no effect.
    """
    variables = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", "venv", variables))
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
