"""Files of the repository contain no path of one machine, source archives are complete, and paths in docs exist."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import comflowy_nb

ROOT = Path(__file__).parent.parent

# A home folder or a working folder of one machine. Docs may use `/path/to/...` and `~`.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|Users|root|tmp|var/folders|work|workspace|mnt)/[\w.-]+|[A-Z]:\\Users\\\w+"
)
TEXT = {".py", ".md", ".toml", ".json", ".ipynb", ".yaml", ".yml", ".cfg", ".txt", ".js", ".css", ""}


def tracked(root=ROOT):
    """Return the files of the repository; without git, as in an unpacked source archive, those on disk."""
    answer = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if answer.returncode == 0 and answer.stdout:
        names = answer.stdout.decode().split("\0")[:-1]
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*") if not is_made(path.relative_to(root))]
    own = Path(__file__).name  # contains examples of such paths
    return [n for n in names if (root / n).is_file() and Path(n).suffix in TEXT and Path(n).name != own]


def is_made(path):
    """Return whether a tool or `make` wrote a file: `.venv`, `.hypothesis`, `.pytest_cache` ..."""
    return any(folder.startswith(".") or folder in {"build", "dist"} for folder in path.parts[:-1])


def test_files_written_by_tools_are_not_searched_without_git(tmp_path):
    """The second run of the suite in an unpacked archive failed: the first had filled `.hypothesis`."""
    for name in (".hypothesis/examples/0/1.txt", ".venv/lib/x.py", "build/demo/x.json", "tests/test_x.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(tracked(tmp_path)) == ["README.md", "tests/test_x.py"]


def test_no_file_names_a_path_of_one_machine():
    paths_by_file = {}
    for name in tracked():
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".ipynb"):
            text = "\n".join(_strings(json.loads(text)))  # JSON escapes paths
        if paths := [match.group() for match in MACHINE_PATH.finditer(text)]:
            paths_by_file[name] = paths[:3]
    assert not paths_by_file


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not key.startswith("image/"):
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


@pytest.mark.parametrize("bad", ["see /home/ada/x", "'/root/.cache'", "C:\\Users\\ada"])
def test_the_search_finds_a_machine_path(bad):
    assert MACHINE_PATH.search(bad)


@pytest.mark.parametrize(
    "good", ["https://x.org/home/page", "make demo PYTHON=/path/to/python3.11", "~/notes", "api/v0"]
)
def test_the_search_ignores_other_paths(good):
    assert not MACHINE_PATH.search(good)


def test_the_source_archive_has_all_files_of_the_tests():
    """hatchling packs only the names in `include`; without `tests/data` the suite fails in an unpacked archive.

    An unpacked archive contains one more file, `PKG-INFO`.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = set(project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    folders = {name.split("/")[0] for name in tracked() if not name.startswith(".")} - {"PKG-INFO"}
    assert folders <= packed | {"pyproject.toml"}
    assert packed <= {path.name for path in ROOT.iterdir()}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_paths_in_the_docs_exist(page):
    """Paths in docs exist, relative to the root of the repository or to the package."""
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|ipynb|json|md|txt))?)`", text))
    named |= {f"{Path(page).parent}/{link}" for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)}
    named |= {f"{Path(page).parent}/{image}" for image in re.findall(r'\b(?:src|srcset)="([^"]+)"', text)}
    generated_folders = {"images/", "inputs/", "sandbox/"} if page == "README.md" else set()  # in the home folder
    assert not [
        n
        for n in sorted(named - generated_folders)
        if not n.startswith("build/")  # what the commands of the Makefile write
        and not any((base / n).exists() for base in (ROOT, ROOT / "comflowy_nb"))
    ]
    assert named, "the page names no path: the pattern is out of date"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_commands_in_the_docs_are_in_the_makefile(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE)) <= targets


def test_the_citation_has_the_version_of_the_package():
    (version,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert version == comflowy_nb.__version__
