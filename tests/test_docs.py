"""The reference names every command, option of the configuration and environment variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import comflowy_nb
from comflowy_nb.notebook.magic_line.command_table import COMMANDS
from comflowy_nb.settings import OPTIONS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS_PAGE = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
SETTINGS_PAGE = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")


def section(page, heading, level=2):
    """Return the text below a heading, up to the next one of its level."""
    mark = "#" * level
    found = re.search(rf"^{mark} {re.escape(heading)}\n(.*?)(?=^{mark} |\Z)", page, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_section_with_its_help(name):
    text = section(COMMANDS_PAGE, name)
    assert text, f"docs/reference/commands.md has no section {name}"
    assert ("%comflowy help\n" if name == "help" else f"%comflowy help {name}\n") in text


def test_each_section_is_a_command():
    headings = set(re.findall(r"^## (.+)$", COMMANDS_PAGE, re.MULTILINE))
    assert headings - set(COMMANDS) == {"References", "%comflowy"}


def test_examples_of_the_reference_are_commands():
    typed = set(re.findall(r"^%{1,2}comflowy ([a-z]+)", COMMANDS_PAGE, re.MULTILINE))
    assert typed <= set(COMMANDS)


def test_the_settings_are_listed_by_the_command_for_all_settings():
    """`%config Comflowy` is executed when the page is built, so the page can't miss a setting."""
    assert "\n%config Comflowy\n" in section(SETTINGS_PAGE, "Settings")
    named = set(re.findall(r"\b(?:settings|Comflowy)\.([a-z_]+)\b(?! ?\()", SETTINGS_PAGE))
    assert named - {"settings", "home"} <= set(OPTIONS)


def test_each_environment_variable_of_the_package_is_explained():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "comflowy_nb").rglob("*.py")]
    used = {name for text in sources for name in re.findall(r"\bCOMFLOWY_[A-Z][A-Z_]*[A-Z]\b", text)}
    explained = set(re.findall(r"^\| `(COMFLOWY_[A-Z_]+)` \|", section(SETTINGS_PAGE, "Environment"), re.MULTILINE))
    assert explained == used


def test_each_page_of_a_folder_is_in_its_table_of_contents():
    for folder in ("howto", "reference", "explanation"):
        index = (DOCS / folder / "index.md").read_text(encoding="utf-8")
        listed = set(re.findall(r"^([\w./-]+)$", index.split("```{toctree}", 1)[1], re.MULTILINE))
        pages = {path.stem for path in (DOCS / folder).iterdir() if path.suffix in {".md", ".rst"}} - {"index"}
        assert pages <= {Path(name).name for name in listed}, folder


def test_each_public_function_and_class_is_in_the_reference_of_python():
    page = (DOCS / "reference" / "api.rst").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. auto(?:function|class):: (\w+)", page, re.MULTILINE))
    modules = {"history", "load_ipython_extension", "unload_ipython_extension", "ComflowyError"}
    assert set(comflowy_nb.__all__) - modules <= documented
