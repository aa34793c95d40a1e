"""`%load_ext comflowy_nb` imports no heavy library, because users remove a slow extension."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["matplotlib", "numpy", "requests", "ipywidgets", "anywidget", "PIL", "pandas"]

SCRIPT = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def newly_imported(code, home):
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code=code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    *output, modules = answer.stdout.splitlines()
    return output, json.loads(modules)


@pytest.mark.parametrize(
    "code",
    [
        "shell.run_line_magic('load_ext', 'comflowy_nb')",
        "import comflowy_nb.notebook.commands.connect",
    ],
)
def test_extension_imports_no_heavy_library(code, home):
    output, modules = newly_imported(code, home)
    heavy = [name for name in modules if name.split(".")[0] in HEAVY]
    assert not heavy
    assert "comflowy_nb" in modules
    assert not output, "loading prints nothing"
    assert not home.exists(), "loading writes no file"


def test_helper_newly_imported_detects_an_import(home):
    _, modules = newly_imported("import PIL.Image", home)
    assert "PIL" in modules
