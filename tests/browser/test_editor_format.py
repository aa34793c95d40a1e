"""The conversion of the editor's format gives the graph that ComfyUI's own editor submits.

The editor is the package `comfyui-frontend-package` of PyPI (GPL), which is not a dependency of this project: the test
runs where it is installed.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from comfyui_server import ComfyServer
from editor_cases import CASES
from editor_graphs import descriptions, empty, workflow
from editor_subgraph_cases import SUBGRAPH_CASES

OLDEST = (1, 58)
START_MS = 180_000
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.ShowMissingModelsWarning": False}
ANSWERS = {
    "object_info": descriptions(),
    "settings": SETTINGS,
    "users": {"storage": "server", "migrated": True},
    **{key: [] for key in ("extensions", "embeddings", "userdata", "v2/userdata", "experiment/models")},
    **{key: {} for key in ("i18n", "features", "workflow_templates", "global_subgraphs")},
}
TO_PROMPT = """async editor => {
    await window.app.loadGraphData(editor)
    return (await window.app.graphToPrompt()).output
}"""
SAME = [one for one in (*CASES, *SUBGRAPH_CASES) if not one.differs]
IS_READY = f"async editor => (await ({TO_PROMPT})(editor))['1']?.class_type === 'EmptyImage'"


@pytest.fixture(scope="module")
def editor(browser, tmp_path_factory):
    """Open the page of the editor, with the scripted server as its backend."""
    try:
        package = distribution("comfyui-frontend-package")
    except PackageNotFoundError:
        pytest.skip("the package comfyui-frontend-package is not installed")
    if tuple(map(int, package.version.split(".")[:2])) < OLDEST:
        pytest.skip(f"comfyui-frontend-package {package.version} treats muted nodes and dynamic choices differently")
    files = Path(str(package.locate_file("comfyui_frontend_package"))) / "static"

    def answer(route):
        path = urlsplit(route.request.url).path.strip("/") or "index.html"
        known = ANSWERS.get(path.removeprefix("api/")) if path.startswith("api/") else None
        if known is not None:
            route.fulfill(body=json.dumps(known), content_type="application/json")
        elif (files / path).is_file():
            route.fulfill(path=files / path)
        else:
            route.continue_()

    with ComfyServer(tmp_path_factory.mktemp("comfyui")) as server:
        page = browser.new_page()
        page.route("**/*", answer)
        page.goto(server.url, wait_until="domcontentloaded", timeout=START_MS)
        page.wait_for_function("() => window.app && window.app.graph", timeout=START_MS)
        page.wait_for_function(IS_READY, arg=workflow(empty(1)), timeout=START_MS)
        yield page
        page.close()


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.name)
def test_the_editor_submits_the_same_graph(editor, case):
    submitted = editor.evaluate(TO_PROMPT, case.editor)
    assert _untitled(submitted) == _untitled(case.api)


def _untitled(graph):
    """Return a graph without titles, for which the editor has its own table, and without values of buttons."""
    return {
        node_id: {
            "class_type": one["class_type"],
            "inputs": {name: value for name, value in one["inputs"].items() if name != "refresh"},
        }
        for node_id, one in graph.items()
    }
