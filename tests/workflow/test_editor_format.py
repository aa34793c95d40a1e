"""Workflows as ComfyUI's editor saves them, converted to API format by the descriptions of their node classes."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from pathlib import Path

import pytest
from editor_cases import CASES
from editor_graphs import descriptions, empty, node, show, subgraph, uses, workflow
from editor_subgraph_cases import BLUR, SUBGRAPH_CASES, TWICE
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.editor_format import convert, node_classes

DESCRIPTIONS = descriptions()
BOUND_S = 30.0  # on a busy machine; a workflow of the largest allowed size takes 2 s on an idle one

# Workflows and what ComfyUI's editor makes of them, beside the project. They are not part of it: their licence is GPL.
PAIRS = Path(__file__).parents[3] / "shared" / "data" / "comfyui" / "editor"
# Inputs that the editor adds only to display something. No class has them, and the server ignores them.
DISPLAYED = {
    ("SaveGLB", "image"): "the view of a 3D model",
    ("Preview3D", "image"): "the view of a 3D model",
    ("PreviewAny", "preview"): "the text that the node shows",
    ("LoadImageOutput", "refresh"): "a button",
}


def problem_of(editor):
    with pytest.raises(WorkflowError) as caught:
        convert(editor, DESCRIPTIONS)
    return str(caught.value)


@pytest.mark.parametrize("case", [*CASES, *SUBGRAPH_CASES], ids=lambda case: case.name)
def test_a_workflow_of_the_editor_is_converted_by_this_rule(case):
    converted = convert(case.editor, DESCRIPTIONS)
    assert without_groups(converted.nodes) == case.api
    assert list(converted.notes) == case.notes


def test_the_graph_is_what_the_editor_submits():
    """106 workflows of ComfyUI, converted by its editor 1.27.10 in a browser, before a ComfyUI 0.3.64."""
    if not PAIRS.exists():
        pytest.skip("the recorded workflows are not on this machine")
    known = json.loads(gzip.decompress((PAIRS / "object_info.json.gz").read_bytes()))
    pairs = [json.loads(line) for line in gzip.decompress((PAIRS / "pairs.jsonl.gz").read_bytes()).splitlines()]
    different = [
        one["name"]
        for one in pairs
        if comparable(convert(one["editor"], known).nodes, known) != comparable(one["api"], known)
    ]
    assert len(pairs) == 106
    assert different == []


def without_groups(nodes):
    return {key: {**one, "_meta": {"title": one["_meta"]["title"]}} for key, one in nodes.items()}


def comparable(nodes, known):
    """Return a graph without empty and displayed inputs, and without titles that only the editor has a name for."""
    return {
        node_id: {
            "class_type": one["class_type"],
            "inputs": {
                name: value
                for name, value in one["inputs"].items()
                if value is not None and (one["class_type"], name) not in DISPLAYED
            },
            "title": one["_meta"]["title"] if known[one["class_type"]]["display_name"] else None,
        }
        for node_id, one in nodes.items()
    }


# -- the result ----------------------------------------------------------------------------------------------------


def test_nodes_are_in_the_order_in_which_the_editor_runs_them():
    nodes = [show(9, 5), uses(5, 2, [15]), empty(1)]
    editor = workflow(*nodes, subgraphs=[BLUR, TWICE])
    for one, order in zip(editor["nodes"], (2, 1, 0), strict=True):
        one["order"] = order
    assert list(convert(editor, DESCRIPTIONS).nodes) == ["1", "5:72:71", "5:73:71", "9"]


def test_groups_of_the_canvas_and_names_of_subgraphs_are_kept():
    groups = [
        {"title": "Load\nall", "bounding": [290, -10, 1000, 400]},
        {"title": "Inner", "bounding": [290, -10, 300, 200]},
        {"title": "Damaged", "bounding": ["x"]},
    ]
    nodes = [empty(1), show(2, 1), uses(5, 1), uses(6, 1, title="Soft"), empty(9)]
    converted = convert(workflow(*nodes, subgraphs=[BLUR], groups=groups), DESCRIPTIONS)
    groups = {key: converted.group(key) for key in converted.nodes if converted.group(key)}
    assert groups == {"1": "Inner", "2": "Load all", "5:71": "Blur", "6:71": "Soft"}


def test_the_classes_to_describe_are_those_of_nodes_on_every_canvas():
    editor = workflow(empty(1), uses(2, 2), node(3, "Note"), node(4, "Reroute"), subgraphs=[BLUR, TWICE])
    assert node_classes(editor) == ["EmptyImage", "ImageBlur"]


# -- what can't be converted ---------------------------------------------------------------------------------------


NEWER = "it is one of ComfyUI itself, of version '0.9.1', so the server may be too old"


def test_all_unknown_nodes_are_named_with_their_extension():
    editor = workflow(
        empty(1),
        node(2, "SharpenPlus", title="Make it crisp", properties={"cnr_id": "sharpen-plus"}),
        node(3, "Glow", properties={"aux_id": "someone/glow"}),
        node(4, "NewSampler", properties={"cnr_id": "comfy-core", "ver": "0.9.1"}),
        node(5, "Nowhere"),
        node(6, "Muted", mode=2),
        uses(7, 7),
        subgraphs=[subgraph(uses(7, 7)["type"], "Sub", {}, {}, node(70, "Deep", properties={"cnr_id": "deep"}))],
    )
    assert problem_of(editor).splitlines() == [
        "node 2 'Make it crisp' (SharpenPlus): the server has no such node; it comes from the extension 'sharpen-plus'",
        "node 3 (Glow): the server has no such node; it comes from the extension 'someone/glow'",
        "node 4 (NewSampler): the server has no such node; " + NEWER,
        "node 5 (Nowhere): the server has no such node; the file does not say which extension has it",
        "node 7:70 (Deep): the server has no such node; it comes from the extension 'deep'",
    ]


def test_damaged_links_are_left_out_and_named():
    editor = workflow(empty(1), show(2, 1), show(3, 1), show(4, 1), show(5, 1))
    links = {link[3]: link for link in editor["links"]}
    links[2][1] = 99  # from a node that does not exist
    links[3][2] = -1
    editor["links"].remove(links[4])
    converted = convert(editor, DESCRIPTIONS)
    assert [converted.nodes[key]["inputs"] for key in "2345"] == [{}, {}, {}, {"images": ["1", 0]}]
    assert converted.notes == ("left out damaged links: 2::images, 3::images, 4::images",)


def test_only_the_first_problems_are_listed():
    lines = problem_of(workflow(*(node(i, "Nowhere") for i in range(30)))).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 20 more problems"


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([node(1, "workflow>Mine")], "group node of an older editor"),
        ([uses(1, 7)], "the file lacks the subgraph that it uses"),
        ([node(1, "Anything Everywhere")], "makes links that only the editor knows"),
        ([node(1, "GetNode", ["pic"]), show(2, 1)], "node 1 (GetNode) gets 'pic', which no node sets"),
        ([node(1, "EmptyImage", [float("nan")])], "node 1 (EmptyImage): a value is NaN or Infinity"),
        ([node(1, "Note", ["x"])], "the workflow has no node that runs"),
        ([empty(1, mode=2)], "the workflow has no node that runs"),
    ],
)
def test_nodes_that_can_not_be_converted_are_named(nodes, problem):
    assert problem in problem_of(workflow(*nodes))


def test_a_node_whose_image_the_editor_makes_can_not_run():
    known = DESCRIPTIONS | {"Load3D": {"input": {"required": {"image": ["LOAD_3D", {}]}}, "output": ["IMAGE"]}}
    with pytest.raises(WorkflowError, match=r"node 1 \(Load3D\): its image is made by the editor"):
        convert(workflow(node(1, "Load3D", [""])), known)


@pytest.mark.parametrize("mode", [0, 4])
def test_links_in_a_circle_are_named(mode):
    kind = {"outputs": [{"name": "IMAGE", "type": "IMAGE"}], "mode": mode}
    name = "Reroute" if mode == 0 else "ImageInvert"
    nodes = [
        node(1, name, [], {"image": (2, 0, "IMAGE")}, **kind),
        node(2, name, [], {"image": (1, 0, "IMAGE")}, **kind),
    ]
    assert problem_of(workflow(*nodes, show(3, 2))) == "a link forms a cycle through the nodes 3, 2, 1"


def test_a_subgraph_that_contains_itself_is_named():
    own = subgraph(uses(1, 8)["type"], "Endless", {}, {}, uses(80, 9))
    other = subgraph(uses(1, 9)["type"], "Other", {}, {}, uses(90, 8))
    assert problem_of(workflow(uses(1, 8), subgraphs=[own, other])) == "the subgraph 'Endless' contains itself"


def test_subgraphs_in_subgraphs_have_a_bound():
    """Each subgraph uses the next one twice, so that 40 small ones would expand to a million million nodes."""
    chain = [subgraph(uses(1, i)["type"], str(i), {}, {}, uses(1, i + 1), uses(2, i + 1)) for i in range(40)]
    assert "nested more than 32 deep" in problem_of(workflow(uses(1, 0), subgraphs=chain))
    assert "too large" in problem_of(workflow(uses(1, 0), subgraphs=[*chain[:20], chain[20] | {"nodes": [empty(1)]}]))


@pytest.mark.parametrize(
    "editor",
    [
        pytest.param(
            {"nodes": [{"id": i, "type": "KSampler"} for i in range(15_000)], "links": []}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"nodes": [{"id": i, "type": "KSampler"} for i in range(300_000)], "links": []}, marks=pytest.mark.slow
        ),
        {
            "nodes": [
                *({"id": i, "type": "Reroute", "inputs": [{"name": "", "link": i}]} for i in range(6000)),
                *({"id": 6000 + i, "type": "Show", "inputs": [{"name": "images", "link": i}]} for i in range(6000)),
            ],
            "links": [[i, (i - 1) % 6000, 0, i, 0, "*"] for i in range(6000)],
        },
        {"nodes": [{"id": 1, "type": "Prompt", "widgets_values": ["/*" * 500_000 + "{" * 500_000]}], "links": []},
        {"nodes": [{"id": 1, "type": "SaveImage", "widgets_values": ["%a.b" * 500_000]}], "links": []},
    ],
)
def test_a_huge_workflow_takes_bounded_time(editor):
    start_s = time.monotonic()
    with contextlib.suppress(WorkflowError):
        convert(editor, DESCRIPTIONS)
    assert time.monotonic() - start_s < BOUND_S


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-30, 30)
    | st.floats()
    | st.sampled_from(["", "1", "-10", "IMAGE", "s", "Show"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "name", "link"]), inner),
    max_leaves=8,
)
TYPES = st.sampled_from(["Show", "Mix", "Reroute", "PrimitiveNode", "SetNode", "GetNode", "Note", "Format", "s"])


def damaged(**usual):
    """Return mappings in which any value may have another type, or be absent."""
    return st.fixed_dictionaries({}, optional={name: value | JSON for name, value in usual.items()})


NAMES = st.sampled_from("ab")
SLOTS = st.lists(damaged(name=NAMES, type=st.just("IMAGE"), link=st.integers(0, 5), widget=JSON), max_size=3)
NODE = damaged(
    mode=st.sampled_from([0, 2, 4]),
    inputs=SLOTS,
    outputs=SLOTS,
    order=JSON,
    widgets_values=JSON,
    properties=damaged(proxyWidgets=JSON),
    title=JSON,
    pos=JSON,
    size=JSON,
)
IDS = st.fixed_dictionaries({"id": st.integers(0, 5), "type": TYPES}) | damaged(id=JSON, type=TYPES)
NODES = st.lists(st.tuples(NODE, IDS).map(lambda parts: parts[0] | parts[1]), max_size=5)
LINKS = st.lists(st.lists(st.integers(-20, 6) | JSON, min_size=5, max_size=6) | JSON, max_size=6)
SUBGRAPH = damaged(id=st.just("s"), name=JSON, nodes=NODES, links=LINKS, inputs=SLOTS, outputs=SLOTS)
DEFINITIONS = damaged(subgraphs=st.lists(SUBGRAPH, max_size=2))
EDITORS = damaged(nodes=NODES, links=LINKS, groups=JSON, definitions=DEFINITIONS)


@given(EDITORS)
def test_a_damaged_workflow_is_converted_or_reported(editor):
    with contextlib.suppress(WorkflowError):
        node_classes(editor)
        assert_links_lead_to_nodes(convert(editor, DESCRIPTIONS))


@st.composite
def valid_workflows(draw):
    """Return nodes in a row, each linked to any before it, of which some are muted, bypassed or only pass a link on."""
    nodes = [empty(0)]
    kinds = st.sampled_from(["ImageInvert", "Mix", "Reroute", "Split", "Pass", "sub"])
    for index in range(1, draw(st.integers(2, 14))):
        kind, mode = draw(kinds), draw(st.sampled_from([0, 0, 2, 4]))
        before = st.integers(0, index - 1).map(lambda origin: (origin, 0, "IMAGE"))
        if kind == "sub":
            nodes.append(uses(index, 1, [9], {"image": draw(before)}, mode=mode))
        else:
            names = {"Mix": ["a", "b"], "Split": ["image", "mask"], "Pass": ["value", "image"]}.get(kind, ["image"])
            linked = [name for name in names if draw(st.booleans())]
            outputs = [{"name": "IMAGE", "type": "IMAGE"}]
            nodes.append(node(index, kind, [], {name: draw(before) for name in linked}, mode=mode, outputs=outputs))
    return workflow(*nodes, subgraphs=[BLUR])


@given(valid_workflows())
def test_links_lead_to_nodes_of_the_graph(editor):
    graph = convert(editor, DESCRIPTIONS)
    assert_links_lead_to_nodes(graph)
    running = [one for one in editor["nodes"] if one["mode"] == 0 and one["type"] != "Reroute"]
    assert len(graph.nodes) == len(running)


def assert_links_lead_to_nodes(graph):
    links = [value for one in graph.nodes.values() for value in one["inputs"].values() if isinstance(value, list)]
    assert all(link[0] in graph.nodes and type(link[1]) is int for link in links)
