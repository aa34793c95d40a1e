from __future__ import annotations

import json
from importlib.resources import files

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comflowy_nb.errors import FieldError, ImageError, WorkflowError
from comflowy_nb.workflow.field_spec import read_field
from comflowy_nb.workflow.graph import Graph, graph_of_image, made_of_image, parse_graph, read_graph

TEXT = (files("comflowy_nb") / "workflow" / "builtin" / "default.json").read_text("utf-8")


@pytest.fixture
def graph():
    return read_graph(TEXT)


def test_a_graph_is_read_from_text_and_from_a_file(tmp_path, graph):
    path = tmp_path / "flow.json"
    path.write_text("\ufeff" + TEXT, "utf-8")
    assert read_graph(path) == read_graph(str(path)) == graph
    assert list(graph.nodes) == ["3", "4", "5", "6", "7", "8", "9"]


def test_the_body_of_a_request_is_read_as_its_graph(graph):
    assert read_graph(json.dumps({"prompt": dict(graph.nodes), "client_id": "x"})) == graph


def test_notes_of_a_server_are_left_out():
    text = '{"1": {"class_type": "X", "is_changed": [NaN], "_meta": {"title": "T"}}}'
    assert read_graph(text).nodes == {"1": {"class_type": "X", "inputs": {}, "_meta": {"title": "T"}}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '{"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": []}',
            r"editor's format.*Export \(API\)",
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
def test_what_is_no_graph_is_refused_plainly(tmp_path, text, why):
    with pytest.raises(WorkflowError, match=why):
        read_graph(text)
    path = tmp_path / "flow.json"
    path.write_text(text)
    with pytest.raises(WorkflowError, match=why) as caught:
        read_graph(path)
    assert str(caught.value).startswith("flow.json")


def test_files_that_hold_no_text_or_are_not_there(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.json").write_text("[1]")
    for name, why in (
        ("a.json", "not text"),
        ("gone.json", "there is no file"),
        ("list.json", "no graph"),
        ("", "can't be read"),
    ):
        with pytest.raises(WorkflowError, match=why):
            read_graph(tmp_path / name)


def test_titles_are_what_a_person_sees():
    graph = parse_graph('{"1": {"class_type": "X"}, "2": {"class_type": "X", "_meta": {"title": "Mine"}}}', "x")
    assert (graph.title("1"), graph.title("2"), graph.title("3")) == ("X", "Mine", None)


def test_fields_are_the_inputs_that_hold_values(graph):
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


def test_types_are_told_from_values():
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
    found = {key: str(one.type) for key, one in Graph(nodes).fields().items()}
    assert found == {
        "1::a": "BOOLEAN",
        "1::b": "FLOAT",
        "1::c": "STRING",
        "1::d": "UNKNOWN",
        "1::f": "UNKNOWN",  # no link: there is no node 9
        "1::noise_seed": "INT",
        "1::g": "UNKNOWN",
        "2::image": "IMAGEUPLOAD",
    }


def test_params_are_put_into_a_copy(graph):
    before = json.dumps(dict(graph.nodes))
    applied = graph.apply({"3::seed": 2**64 - 1, "6::text": "a fox", "3::extra": 1})
    assert applied["3"]["inputs"]["seed"] == 2**64 - 1
    assert applied["6"]["inputs"]["text"] == "a fox"
    assert applied["3"]["inputs"]["extra"] == 1
    assert applied["3"]["inputs"]["model"] == ["4", 0]
    assert json.dumps(dict(graph.nodes)) == before


def test_params_for_nodes_that_are_not_there_are_all_named(graph):
    with pytest.raises(FieldError) as caught:
        graph.apply({"33::seed": 1, "x::text": "a", "3::cfg": 1})
    assert len(caught.value.problems) == 2
    assert "nearest: 3" in caught.value.problems[0]


def image(path, **chunks):
    info = PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)
    return path


def test_a_image_gives_the_graph_that_made_it(tmp_path, graph):
    assert graph_of_image(image(tmp_path / "a.png", prompt=TEXT, workflow='{"nodes": []}')) == graph
    assert graph_of_image(image(tmp_path / "b.png")) is None
    assert graph_of_image(image(tmp_path / "c.png", prompt="a castle, 4k")) is None
    assert graph_of_image(str(image(tmp_path / "d.png", workflow='{"nodes": []}'))) is None


def test_a_webp_carries_it_in_its_exif(tmp_path, graph):
    image = Image.new("RGB", (2, 2))
    exif = image.getexif()
    exif[0x0110] = f"prompt:{TEXT}"
    image.save(tmp_path / "a.webp", exif=exif)
    assert graph_of_image(tmp_path / "a.webp") == graph


def test_what_is_no_image_carries_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    for name in ("a.png", "gone.png"):
        with pytest.raises(ImageError, match=name):
            graph_of_image(tmp_path / name)


def test_a_saved_copy_says_what_made_it(tmp_path):
    made = {"workflow": "default", "workflow_id": "default", "params": {"3::seed": 2**60}, "set_params": ["3::seed"]}
    found = made_of_image(image(tmp_path / "a.png", comflowy=json.dumps(made)))
    assert (found.workflow, found.workflow_id, found.params, found.set_params) == (
        "default",
        "default",
        {"3::seed": 2**60},
        ("3::seed",),
    )


def test_a_saved_copy_of_another_format_says_it_beside(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg")
    assert made_of_image(tmp_path / "a.jpg") is None
    (tmp_path / "a.jpg.json").write_text('{"workflow": "w", "workflow_id": null, "params": {}}')
    found = made_of_image(tmp_path / "a.jpg")
    assert (found.workflow, found.workflow_id, found.set_params) == ("w", None, ())


def test_a_copy_that_the_history_saved_is_read_back(tmp_path):
    from comflowy_nb.images.save import copy_with_params

    source = image(tmp_path / "source.png", prompt=TEXT)
    made = {"workflow": "default", "workflow_id": None, "params": {"6::text": "é 🦊"}, "set_params": ["6::text"]}
    copy = copy_with_params(source, tmp_path / "copy.png", made)
    assert made_of_image(copy).params == {"6::text": "é 🦊"}
    assert graph_of_image(copy) == read_graph(TEXT)


@pytest.mark.parametrize("text", ["5", "[]", "{", '{"params": 5}', '{"workflow": "x"}'])
def test_somebody_elses_chunk_says_nothing(tmp_path, text):
    assert made_of_image(image(tmp_path / "a.png", comflowy=text)) is None


def test_a_title_with_line_breaks_is_one_line():
    """Errors and tables were torn in two by the title of a node."""
    graph = parse_graph(
        json.dumps({"3": {"class_type": "A", "inputs": {"x": 1}, "_meta": {"title": "my\n\n node\t"}}}), "g"
    )
    assert graph.title("3") == "my node"
    assert graph.fields()["3::x"].where == "node 3 (my node), x"
    described = read_field("3::x", ["INT"], node_title="my\nnode")
    assert described.node_title == "my node"
