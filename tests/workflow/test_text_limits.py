"""Untrusted files do not block, fill the memory or make the client read other files."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import warnings

import pytest
from PIL import Image

from comflowy_nb import load, params_from
from comflowy_nb.errors import ComflowyError, LineError, WorkflowError
from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.axes.table_file import read_table_file
from comflowy_nb.workflow.axes.yaml_file import read_sweep_file
from comflowy_nb.workflow.catalogue import Catalogue
from comflowy_nb.workflow.files import no_such_file
from comflowy_nb.workflow.graph import parse_graph, read_graph
from comflowy_nb.workflow.images import open_input
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import resolve
from comflowy_nb.workflow.workflow import Workflow

pytestmark = pytest.mark.timeout(30)

GRAPH = '{"1": {"class_type": "X", "inputs": {}}}'
UNDESCRIBED = Workflow("w", "w", is_partial=True)
DEPTHS = [100, 450, 900, 5000, 100_000]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def graph_of(project, home, graph):
    (project / "comflowy.yaml").write_text(f"workflows:\n  mine: {{graph: {json.dumps(graph)}}}\n")
    return Catalogue.open(project, home).get("mine").graph


@pytest.mark.parametrize("graph", ["/dev/zero", "pipe", "../secret.json", "link.json", "folder", "loop.json", "a\x00b"])
def test_a_projects_graph_is_a_regular_file_inside_the_project(project, home, graph):
    """/dev/zero filled the memory, a pipe hung, and the first key of a file elsewhere was quoted."""
    (project.parent / "secret.json").write_text('{"password-of-someone": 1}')
    os.mkfifo(project / "pipe")
    (project / "folder").mkdir()
    (project / "link.json").symlink_to(project.parent / "secret.json")
    (project / "loop.json").symlink_to(project / "loop.json")
    for named in (graph, str(project.parent / "secret.json")):
        with pytest.raises(WorkflowError) as caught:
            graph_of(project, home, named)
        assert "password-of-someone" not in str(caught.value)


def test_a_graph_inside_the_project_is_read(project, home):
    (project / "workflows").mkdir()
    (project / "workflows" / "mine.json").write_text(GRAPH)
    assert list(graph_of(project, home, "workflows/mine.json").nodes) == ["1"]
    assert list(graph_of(project, home, "workflows/../workflows/mine.json").nodes) == ["1"]
    assert list(graph_of(project, home, str(project / "workflows" / "mine.json")).nodes) == ["1"]


def test_a_graph_of_the_home_folder_may_be_anywhere(project, home):
    (project / "mine.json").write_text(GRAPH)
    home.mkdir()
    (home / "comflowy.yaml").write_text(f"workflows:\n  mine: {{graph: {project / 'mine.json'}}}\n")
    assert list(Catalogue.open(project, home).get("mine").graph.nodes) == ["1"]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(4 * 1024**3)
    with pytest.raises(WorkflowError, match="larger than 16 MiB"):
        read_graph(path)
    with pytest.raises(WorkflowError, match="larger than 1 MiB"):
        read_sweep_file(path)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_a_device_or_a_pipe_is_not_read(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    for read in (read_graph, read_sweep_file):
        with pytest.raises(WorkflowError, match="not a regular file"):
            read(tmp_path / name)
    (tmp_path / "comflowy.yaml").symlink_to(tmp_path / name)
    with pytest.raises(WorkflowError, match="not a regular file"):
        Catalogue.open(tmp_path, tmp_path / "home")


def test_a_name_that_begins_with_a_tilde_is_the_name_of_a_file(tmp_path, monkeypatch):
    """`run ~draft.json` ended with `RuntimeError: Could not determine home directory.`

    `Path.expanduser` raises it, because there is no user of that name.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~draft.json").write_text(GRAPH)
    Image.new("RGB", (4, 4)).save("~draft.png")
    graph = read_graph("~draft.json")
    assert open_input("~draft.png").name == "~draft.png"
    Workflow("w", graph=graph).export("~copy.json")
    assert read_graph("~copy.json").nodes.keys() == graph.nodes.keys()
    for missing in (read_graph, read_sweep_file, read_table_file, open_input, params_from, load):
        with pytest.raises(ComflowyError, match="there is no file"):
            missing("~missing.zip" if missing is load else "~missing.csv")


def test_an_image_or_an_archive_that_is_a_pipe_is_not_reported_as_missing(tmp_path, monkeypatch):
    """`image=file:pipe.png` answered "there is no file 'pipe.png'. Did you mean pipe.png?"."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipe.png", "pipe.zip"):
        os.mkfifo(name)
        for typed in (name, str(tmp_path / name)):
            assert no_such_file(typed) == f"{typed!r} can't be read: it is not a regular file"
    with pytest.raises(WorkflowError, match=r"'\.' is a folder, not a file"):
        read_sweep_file(".")


@pytest.mark.parametrize("name", ["default", "known"])
def test_a_project_that_redefines_a_known_name_warns_once(client, tmp_path, monkeypatch, home, name):
    """`default: {ids: {svc: OTHER}}` in a project's file redirected `default` without a warning."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    home.mkdir(exist_ok=True)
    (home / "comflowy.yaml").write_text("workflows:\n  known: {ids: {test: wf-1}}\n  mine: {ids: {test: wf-2}}\n")
    (folder / "comflowy.yaml").write_text(f"workflows:\n  {name}: {{ids: {{test: wf-other}}}}\n")
    with pytest.warns(UserWarning, match=f"redefines the workflow {name}") as caught_warnings:
        assert client.workflow(name).id == "wf-other"
    assert [str(warning.filename) for warning in caught_warnings] == ["comflowy.yaml"]
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("default")
        client.workflow(name)
        client.workflow("mine")
    assert again == []


# -- aliases and nesting -----------------------------------------------------------------------------------------


def nested_aliases(first, step):
    levels = [f"a{level}: &a{level} {step([f'*a{level - 1}'] * 9)}" for level in range(1, 10)]
    return "\n".join([f"a0: &a0 {first}", *levels])


ALIAS_FILES = [
    nested_aliases("[x]", lambda items: f"[{', '.join(items)}]"),
    nested_aliases("{x: 1}", lambda items: "{" + ", ".join(f"k{n}: {item}" for n, item in enumerate(items)) + "}"),
    nested_aliases("{x: 1}", lambda items: f"{{<<: [{', '.join(items)}], y: 1}}"),
    "a: &a [*a]",
]


@pytest.mark.parametrize("text", ALIAS_FILES)
def test_yaml_aliases_that_expand_to_too_many_values_are_rejected_quickly(tmp_path, home, text):
    """Nine levels of nine aliases are 400 million values: the command hung."""
    indented = text.replace("\n", "\n  ")
    file = tmp_path / "sweep.yaml"
    file.write_text(f"workflow: default\nfields:\n  {indented}\n")
    with pytest.raises(WorkflowError, match=r"sweep\.yaml, line \d+: .*alias"):
        read_sweep_file(file)
    (tmp_path / "comflowy.yaml").write_text(f"{text}\nworkflows: {{}}\n")
    with pytest.raises(WorkflowError, match=r"comflowy\.yaml of the project, line \d+: .*alias"):
        Catalogue.open(tmp_path, home)


def test_small_number_of_yaml_aliases_is_expanded(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("workflow: default\nfields:\n  3::cfg: &values [4, 8]\n  3::steps: *values\n")
    axes = read_axes(UNDESCRIBED, read_sweep_file(file).settings)
    assert axes.count == 4


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("[{a: ", "}]")])
def test_deep_nesting_in_a_file_is_rejected_quickly(tmp_path, home, depth, opening, closing):
    text = opening * depth + "1" + closing * depth
    file = tmp_path / "sweep.yaml"
    file.write_text(f"workflow: default\nfields:\n  3::x: {text}\n")
    with pytest.raises(WorkflowError, match=r"more than 64 deep|larger than 1 MiB"):
        read_sweep_file(file)
    (tmp_path / "comflowy.yaml").write_text(f"workflows:\n  mine: {text}\n")
    with pytest.raises(WorkflowError, match=r"more than 64 deep|larger than 1 MiB"):
        Catalogue.open(tmp_path, home)


@pytest.mark.slow
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}"), ('[{"a": ', "}]")])
def test_deep_nesting_in_a_cell_or_a_graph_is_rejected_quickly(tmp_path, depth, opening, closing):
    """5,000 brackets in a body took 9 seconds and then raised RecursionError; a graph of 450 raised it too."""
    text = opening * depth + "1" + closing * depth
    with pytest.raises(WorkflowError, match="JSON"):
        parse_graph(f'{{"3": {{"class_type": "X", "inputs": {{"x": {text}}}}}}}', "the graph")
    with pytest.raises(LineError, match="more than 64 deep"):
        read_body(f'{{"3::x": {text}}}')
    for read in (resolve, read_axes):
        with contextlib.suppress(ComflowyError):  # text that Python's JSON can't parse is a plain text
            read(UNDESCRIBED, read_body(f"3::x: {text}", sweep=True).settings)
    file = tmp_path / "sweep.yaml"
    file.write_text(f"workflow: default\nfields:\n  3::x: !json '{text}'\n")
    with pytest.raises(WorkflowError, match=r"more than 64 deep|larger than 1 MiB"):
        read_sweep_file(file)


@pytest.mark.slow
def test_deep_indentation_in_a_body_is_rejected_quickly():
    body = "3::x:\n" + "".join(f"{' ' * (level + 1)}a{level}:\n" for level in range(1500))
    with pytest.raises(ComflowyError, match="more than 64 times"):
        read_axes(UNDESCRIBED, read_body(body, sweep=True).settings)


@pytest.mark.parametrize("depth", [100, 900, 5000])
def test_a_deeply_nested_python_value_is_rejected(depth):
    value = functools.reduce(lambda inner, _: [inner], range(depth), 1)
    with pytest.raises(ComflowyError, match="more than 64 deep"):
        resolve(UNDESCRIBED, [Setting("3::x", value, is_python_value=True)])


def test_brackets_in_a_quoted_text_are_kept():
    """A quoted text may contain any number of brackets."""
    text = "[" * 500 + "a" + "]" * 500
    assert resolve(UNDESCRIBED, read_body(f'3::x: "{text}"').settings).params == {"3::x": text}
