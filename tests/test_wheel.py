"""The wheel has what it needs and nothing else, and works where only it is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_the_files_of_the_package_and_nothing_else(wheel):
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "comflowy_nb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        (shared,) = (name for name in names if ".data/" in name)
        assert shared.endswith(".data/data/etc/jupyter/jupyter_server_config.d/comflowy_nb-disabled.json")
        assert b"true" not in packed.read(shared), "the server extension is off until it is enabled"
    assert names - {shared} == files | {"comflowy_nb/quickstart.ipynb"}
    assert {Path(name).suffix for name in names - {shared}} <= {
        ".py", ".js", ".css", ".html", ".sql", ".json", ".zip", ".jpg", ".ipynb", ".typed", "",
    }  # fmt: skip


@pytest.mark.slow
def test_the_first_cells_work_where_only_the_wheel_is_installed(wheel):
    command = [sys.executable, "tools/try_wheel.py", str(wheel), "--offline"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("image 64 64 from ")
    assert not last.endswith(str(ROOT / "comflowy_nb" / "__init__.py"))
