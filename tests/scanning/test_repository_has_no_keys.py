"""The scanner has no findings in this repository, and the hooks of the repository run the scanner."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from comflowy_nb.cli import main as cli

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_notebooks_and_docs_of_the_repository_have_no_false_findings(capsys):
    names = [ROOT / name for name in ("notebooks", "docs", "README.md", "CHANGELOG.md", "comflowy_nb")]
    status = cli.main(["scan", *map(str, names)])
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", [".pre-commit-hooks.yaml", ".pre-commit-config.yaml"])
def test_the_hook_runs_a_command_that_exists(name):
    content = YAML(typ="safe").load(ROOT / name)
    hooks = content if isinstance(content, list) else [hook for repo in content["repos"] for hook in repo["hooks"]]
    (hook,) = [hook for hook in hooks if hook["id"] == "comflowy-nb-scan"]
    assert hook["entry"].endswith("comflowy-nb scan")
    assert hook.get("pass_filenames", True)
