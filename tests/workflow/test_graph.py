from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.graph import Graph, parse_graph, read_graph
from comflowy_nb.workflow.object_info import read_field

TEXT = (files("comflowy_nb") / "workflow" / "builtin" / "default.json").read_text("utf-8")


@pytest.fixture
def graph():
    return parse_graph(TEXT, "this text")


def test_a_graph_is_read_from_text_and_from_a_file(tmp_path, graph):
    path = tmp_path / "flow.json"
    path.write_text("\ufeff" + TEXT, "utf-8")
    assert read_graph(path) == read_graph(str(path)) == graph
    assert list(graph.nodes) == ["3", "4", "5", "6", "7", "8", "9"]


def test_the_body_of_a_request_is_read_as_its_graph(graph):
    assert parse_graph(json.dumps({"prompt": dict(graph.nodes), "client_id": "x"}), "this text") == graph


def test_unknown_keys_of_a_node_are_removed():
    text = '{"1": {"class_type": "X", "is_changed": [NaN], "_meta": {"title": "T"}}}'
    assert parse_graph(text, "this text").nodes == {"1": {"class_type": "X", "inputs": {}, "_meta": {"title": "T"}}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '{"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": []}',
            "is in the editor's format. To use it, connect to a ComfyUI server",
        ),
        ("{}", "no graph"),
        ('{"3": 5}', "no class_type in '3'"),
        ('{"3": {"inputs": {}}}', "no class_type in '3'"),
        ('{"3": {"class_type": "X", "inputs": []}}', "inputs of node '3'"),
        ('{"3": {"class_type": "X", "inputs": {"a": [NaN]}}}', "NaN"),
        ('{\n"3": }', "not JSON.*line 2"),
        ('{"a":' * 100_000, "can't be read as JSON"),
    ],
)
def test_text_that_is_not_a_graph_is_rejected_with_a_reason(tmp_path, text, why):
    with pytest.raises(WorkflowError, match=why):
        parse_graph(text, "this text")
    path = tmp_path / "flow.json"
    path.write_text(text)
    with pytest.raises(WorkflowError, match=why) as caught:
        read_graph(path)
    assert str(caught.value).startswith("flow.json")


def test_binary_and_missing_files_are_rejected(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.json").write_text("[1]")
    for name, why in (
        ("a.json", "not text"),
        ("gone.json", "there is no file"),
        ("list.json", "no graph"),
        ("", "is a folder, not a file"),
    ):
        with pytest.raises(WorkflowError, match=why):
            read_graph(tmp_path / name)


def test_title_of_a_node_defaults_to_its_class():
    graph = parse_graph('{"1": {"class_type": "X"}, "2": {"class_type": "X", "_meta": {"title": "Mine"}}}', "x")
    assert (graph.title("1"), graph.title("2"), graph.title("3")) == ("X", "Mine", None)


def test_fields_are_the_inputs_that_are_not_links(graph):
    fields = graph.fields()
    assert "3::model" not in fields
    assert {
        key: str(fields[key].type)
        for key in ("3::seed", "3::steps", "3::cfg", "3::sampler_name", "6::text", "5::width")
    } == {
        "3::seed": "INT",
        "3::steps": "INT",
        "3::cfg": "FLOAT",
        "3::sampler_name": "STRING",
        "6::text": "STRING",
        "5::width": "INT",
    }
    assert fields["3::cfg"].read("7.5") == 7.5
    assert fields["6::text"].node_title == "CLIP Text Encode (Prompt)"
    assert fields["3::seed"].default == graph.nodes["3"]["inputs"]["seed"]


def test_types_are_derived_from_values():
    inputs = {
        "a": True,
        "b": 0.5,
        "c": "x",
        "d": None,
        "e": ["1", 0],
        "f": ["9", 0],
        "noise_seed": 2**60,
        "g": {"k": 1},
    }
    nodes = {"1": {"class_type": "X", "inputs": inputs}, "2": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    types = {key: str(field.type) for key, field in Graph(nodes).fields().items()}
    assert types == {
        "1::a": "BOOLEAN",
        "1::b": "FLOAT",
        "1::c": "STRING",
        "1::d": "UNKNOWN",
        "1::f": "UNKNOWN",  # not a link: there is no node 9
        "1::noise_seed": "INT",
        "1::g": "UNKNOWN",
        "2::image": "IMAGEUPLOAD",
    }


def test_params_are_applied_to_a_copy(graph):
    before = json.dumps(dict(graph.nodes))
    applied = graph.apply({"3::seed": 2**64 - 1, "6::text": "a fox", "3::extra": 1})
    assert applied["3"]["inputs"]["seed"] == 2**64 - 1
    assert applied["6"]["inputs"]["text"] == "a fox"
    assert applied["3"]["inputs"]["extra"] == 1
    assert applied["3"]["inputs"]["model"] == ["4", 0]
    assert json.dumps(dict(graph.nodes)) == before


def test_all_params_for_missing_nodes_are_reported(graph):
    with pytest.raises(FieldError) as caught:
        graph.apply({"33::seed": 1, "x::text": "a", "3::cfg": 1})
    assert len(caught.value.problems) == 2
    assert "Did you mean 3" in caught.value.problems[0]


def test_a_title_with_line_breaks_is_one_line():
    """The title of a node broke errors and tables into several lines."""
    graph = parse_graph(
        json.dumps({"3": {"class_type": "A", "inputs": {"x": 1}, "_meta": {"title": "my\n\n node\t"}}}), "g"
    )
    assert graph.title("3") == "my node"
    assert graph.fields()["3::x"].where == "node 3 (my node), x"
    field = read_field("3::x", ["INT"], node_title="my\nnode")
    assert field.node_title == "my node"


def test_a_title_with_escape_sequences_of_a_terminal_has_no_control_characters():
    """The title of a node of a downloaded graph changed the title of the terminal through an error."""
    node = {"class_type": "\x1b[31mA\x9b", "inputs": {"x": 1}}
    titled = {**node, "_meta": {"title": "a\x1b]0;b\x07\x00", "group": "\x9bc"}}
    graph = parse_graph(json.dumps({"1": node, "2": titled}), "g")
    assert (graph.title("1"), graph.title("2"), graph.group("2")) == ("[31mA", "a ]0;b", "c")


# -- graphs beside notes, and within requests and responses of servers -----------------------------------------------

NODES = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
OTHER = {"1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32}}}
EDITORS = {"last_node_id": 2, "nodes": [{"id": 1, "type": "SaveImage"}], "links": []}
NOTES = {
    "_comment": "made by hand",
    "_meta": {"author": "a user", "inputs": {"prompt": "what to draw"}},
    "comment_stage1": ["a", 1],
    "metadata": {"version": 3, "nodes": [1, 2]},
    "nodes": [],
    "version": 0.4,
    "extra": None,
}


def read(value):
    return parse_graph(json.dumps(value), "this text")


def test_notes_beside_nodes_are_removed():
    """A graph with `_comment` was rejected with the advice to export it again.

    Every key was read as a node.
    """
    for key, note in NOTES.items():
        assert read({key: note, **NODES}).nodes == NODES, key
    assert read({**NOTES, **NODES}).nodes == read({**NODES, **NOTES}).nodes == NODES


@pytest.mark.parametrize(
    ("key", "damaged"),
    [
        ("3", {"inputs": {"width": 1}}),
        ("3", {"class_type": None, "inputs": {}}),
        ("save", {"class_type": 5}),
        ("save", {"inputs": {"images": ["1", 0]}}),
    ],
)
def test_a_node_without_a_class_is_an_error(key, damaged):
    """An omitted node would change the submitted graph."""
    with pytest.raises(WorkflowError, match=f"node '{key}' has no class_type: give it one, or remove it"):
        read({**NODES, key: damaged})


def test_a_note_that_a_node_links_to_is_an_error():
    with pytest.raises(WorkflowError, match="node 'image' has no class_type"):
        read({"image": "to do", "2": {"class_type": "SaveImage", "inputs": {"images": ["image", 0]}}})


WRAPPERS = {
    "a request to ComfyUI": lambda graph: {"prompt": graph, "client_id": "x", "extra_data": {}},
    "a request to a worker": lambda graph: {"input": {"workflow": graph, "images": [{"name": "a", "image": "b"}]}},
    "under its name": lambda graph: {"workflow": graph},
    "what the editor's graphToPrompt gives": lambda graph: {"output": graph, "workflow": EDITORS},
    "ComfyUI's history": lambda graph: {
        "5d1c": {"prompt": [3, "5d1c", graph, {"extra_pnginfo": {"workflow": EDITORS}}, ["2"]], "outputs": {}}
    },
    "ComfyUI's queue": lambda graph: {"queue_running": [[0, "5d1c", graph, {}, ["2"]]], "queue_pending": []},
    "a list": lambda graph: [{"id": 1}, graph],
    "as text": lambda graph: {"meta": {"prompt": json.dumps(graph), "workflow": json.dumps(EDITORS)}},
    "as text in text": lambda graph: json.dumps(json.dumps(graph)),
    "twice the same": lambda graph: {"input": graph, "echo": graph},
    "beside a server's errors": lambda graph: {
        "node_errors": {"1": {"class_type": "EmptyImage", "errors": []}}, "request": {"prompt": graph}
    },
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
def test_a_graph_is_found_in_requests_and_responses(tmp_path, wrapper):
    """`{"input": {"workflow": ...}}` was rejected: its keys were read as nodes, though the graph was inside."""
    path = tmp_path / "request.json"
    path.write_text(json.dumps(wrapper(NODES)))
    assert read_graph(path).nodes == NODES
    path.write_text(json.dumps(wrapper({"_comment": "x", **NODES})))
    assert read_graph(path).nodes == NODES


@given(st.lists(st.text(max_size=5) | st.integers(0, 3), max_size=8))
def test_a_graph_is_found_at_any_depth(places):
    wrapped = NODES
    for place in places:
        wrapped = {"id": 7, place: wrapped} if isinstance(place, str) else [None] * place + [wrapped]
    assert parse_graph(json.dumps({"of": wrapped}), "this text").nodes == NODES


def test_the_outermost_graph_of_a_request_is_read():
    assert read({"prompt": NODES, "extra_data": {"extra_pnginfo": {"prompt": OTHER}}}).nodes == NODES
    assert read({"prompt": NODES, "last": OTHER}).nodes == NODES


def test_two_different_graphs_in_one_file_are_an_error():
    with pytest.raises(WorkflowError, match=r"2 different graphs, in 'a\.prompt\[2\]', 'b\.prompt\[2\]': save the one"):
        read({"a": {"prompt": [1, "a", NODES]}, "b": {"prompt": [2, "b", OTHER]}})


def test_the_editors_format_is_reported_at_any_depth():
    with pytest.raises(WorkflowError, match=r"^this text is in the editor's format\..*connect comfyui"):
        read(EDITORS)
    with pytest.raises(WorkflowError, match=r"editor's format \(in input\.workflow\)\..*connect comfyui"):
        read({"input": {"workflow": EDITORS}})
