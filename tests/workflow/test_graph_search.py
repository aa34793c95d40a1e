"""Graphs beside notes, and within requests and responses of servers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.graph import read_graph

NODES = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
OTHER = {"1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32}}}
EDITORS = {"last_node_id": 2, "nodes": [{"id": 1, "type": "SaveImage"}], "links": []}
NOTES = {
    "_comment": "made by hand",
    "_meta": {"author": "somebody", "inputs": {"prompt": "what to draw"}},
    "comment_stage1": ["a", 1],
    "metadata": {"version": 3, "nodes": [1, 2]},
    "nodes": [],
    "version": 0.4,
    "extra": None,
}


def read(value):
    return read_graph(json.dumps(value))


def test_keys_that_hold_no_node_are_left_out():
    """A graph with `_comment` was refused as "no node", with the advice to export it again.

    Every key was taken for a node.
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
def test_a_node_without_its_class_is_named_and_never_left_out(key, damaged):
    """A node that is left out would change what is submitted."""
    with pytest.raises(WorkflowError, match=f"node '{key}' has no class_type: give it one, or remove it"):
        read({**NODES, key: damaged})


def test_a_note_that_a_node_links_to_is_named():
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
    """`{"input": {"workflow": ...}}` was refused as "'input' is no node", though the graph was in it."""
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
    assert read_graph(json.dumps({"of": wrapped})).nodes == NODES


def test_of_a_request_that_holds_its_own_past_the_outer_graph_is_read():
    assert read({"prompt": NODES, "extra_data": {"extra_pnginfo": {"prompt": OTHER}}}).nodes == NODES
    assert read({"prompt": NODES, "last": OTHER}).nodes == NODES


def test_several_graphs_are_named_and_none_is_chosen():
    with pytest.raises(WorkflowError, match=r"2 different graphs, in 'a\.prompt\[2\]', 'b\.prompt\[2\]': save the one"):
        read({"a": {"prompt": [1, "a", NODES]}, "b": {"prompt": [2, "b", OTHER]}})


def test_the_editors_format_is_told_wherever_it_is():
    with pytest.raises(WorkflowError, match=r"^this text is in the editor's format.*Export \(API\)"):
        read(EDITORS)
    with pytest.raises(WorkflowError, match=r"editor's format \(in input\.workflow\).*Export \(API\)"):
        read({"input": {"workflow": EDITORS}})
