"""The changelog starts with the current version and has the standard headings in order."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import comflowy_nb

ROOT = Path(__file__).parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def test_newest_entry_is_this_version():
    versions = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)
    assert versions[0] == comflowy_nb.__version__
    assert len(set(versions)) == len(versions)


def test_sections_are_added_changed_fixed():
    headings = set(re.findall(r"^### (.+)", CHANGELOG, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Fixed"}


def test_readme_and_licence_agree_with_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["readme"] == "README.md"
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause")
    readme = (ROOT / "README.md").read_text()
    assert "Python 3.11" in readme
    assert project["requires-python"] == ">=3.11"
