"""The script of each widget is one text without imports and without requests, in which each name is defined once."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from comflowy_nb.layout.scripts import widget_script, widget_style

SCRIPTS = ("compare/compare.js", "explore/explore.js", "explore/page.js", "form/filmstrip.js")
STYLES = ("compare/compare.css", "explore/explore.css", "form/form.css")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_one_module_that_imports_nothing(name):
    text = widget_script(name)
    assert not re.search(r"^import\b|\bimport\(", text, re.MULTILINE)
    assert re.findall(r"^export\b.*", text, re.MULTILINE) in ([], ["export default { render };"], ["export default {"])
    names = re.findall(r"^(?:async )?(?:const|let|function|class) (\w+)", text, re.MULTILINE)
    assert sorted(names) == sorted(set(names)), "modules in one scope use a name twice"
    assert text.count("export function clamp") == 0
    assert text.count("export const ICONS") == 0
    assert text.count("const ICONS =") == 1, "a module that several import is there once"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_valid(name, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node; the browser tests run the scripts too")
    path = tmp_path / "script.mjs"
    path.write_text(widget_script(name), encoding="utf-8")
    assert subprocess.run([node, "--check", path], capture_output=True, text=True, check=False).stderr == ""


def test_scripts_and_styles_load_nothing_and_parse_no_html():
    for text in (*map(widget_script, SCRIPTS), *map(widget_style, STYLES)):
        assert not re.search(
            r"https?://(?!www\.w3\.org/2000/svg)|@import|import\(|url\(|fetch\(|innerHTML|</script", text
        )
