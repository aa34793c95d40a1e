"""Files and cell bodies in the encodings that editors and shells write."""

from __future__ import annotations

import codecs
import json

import pytest

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.axes.yaml_file import read_sweep_file
from comflowy_nb.workflow.catalogue import Catalogue
from comflowy_nb.workflow.files import MAX_YAML_BYTES, read_text
from comflowy_nb.workflow.graph import read_graph
from comflowy_nb.workflow.image_metadata import metadata_of_image
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.payload import read_console

NODES = {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "猫 собака café 🦊"}}}
ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8 with a BOM": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16 with the other BOM": "utf-16-be with a BOM",
    "utf-16-le without a BOM": "utf-16-le",
    "utf-16-be without a BOM": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32-be without a BOM": "utf-32-be",
}


@pytest.fixture(params=ENCODINGS.values(), ids=ENCODINGS)
def encode(request):
    def encoded(text):
        if request.param == "utf-16-be with a BOM":
            return codecs.BOM_UTF16_BE + text.encode("utf-16-be")
        return text.encode(request.param)

    return encoded


def test_a_graph_is_read_in_any_unicode_encoding(tmp_path, encode):
    """A graph in UTF-16, as PowerShell's `>` writes it, was rejected with the advice to export it again.

    Files were read as UTF-8 only.
    """
    path = tmp_path / "flow.json"
    path.write_bytes(encode(json.dumps(NODES, ensure_ascii=False)))
    assert read_graph(path).nodes == NODES


def test_a_sweep_file_is_read_in_any_unicode_encoding(tmp_path, encode):
    path = tmp_path / "night.yaml"
    path.write_bytes(encode("workflow: default\r\nfields:\r\n  6::text: 猫が座っている\r\n"))
    sweep_file = read_sweep_file(path)
    assert sweep_file.workflow == "default"
    assert sweep_file.settings[0].value == "猫が座っている"


def test_a_catalogue_is_read_and_changed_in_any_unicode_encoding(tmp_path, encode):
    """`comflowy.yaml` as Windows' editor saves it; a change keeps its comments."""
    (tmp_path / "home").mkdir()
    path = tmp_path / "home" / "comflowy.yaml"
    path.write_bytes(encode("# 猫\r\nworkflows:\r\n  mine:\r\n    ids: {cloud: abc}\r\n    graph: mine.json\r\n"))
    (tmp_path / "home" / "mine.json").write_bytes(encode(json.dumps(NODES, ensure_ascii=False)))
    catalogue = Catalogue.open(None, tmp_path / "home")
    assert dict(catalogue.get("mine").ids) == {"cloud": "abc"}
    assert catalogue.get("mine").graph.nodes == NODES
    catalogue.alias("mine", "prompt", "6::text")
    again = Catalogue.open(None, tmp_path / "home")
    assert dict(again.get("mine").aliases) == {"prompt": "6::text"}
    assert "# 猫" in read_text(path, MAX_YAML_BYTES)


def test_the_metadata_beside_an_image_is_read_in_any_unicode_encoding(tmp_path, encode):
    from PIL import Image

    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg.json").write_bytes(encode('{"workflow": "w", "params": {"6::text": "x"}}'))
    assert metadata_of_image(tmp_path / "a.jpg").params == {"6::text": "x"}


def test_encoding_that_is_not_unicode_is_an_error(tmp_path):
    content = '{"1": {"class_type": "X", "inputs": {"text": "café"}}}'.encode("latin-1")
    (tmp_path / "flow.json").write_bytes(content)
    (tmp_path / "night.yaml").write_bytes(content)
    for read, name in ((read_graph, "flow.json"), (read_sweep_file, "night.yaml")):
        with pytest.raises(WorkflowError, match=f"{name} is not text in UTF-8, UTF-16 or UTF-32.*save it in UTF-8"):
            read(tmp_path / name)


@pytest.mark.parametrize("before", ["\ufeff", "\n\ufeff", "\ufeff\ufeff"])
def test_a_bom_before_a_body_is_removed(before):
    """A body pasted from a file with a BOM was rejected: there was no field `\\ufeffsteps`."""
    (steps, text) = read_body(f"{before}steps: 4\ntext: a\ufeffb").settings
    assert (steps.key, steps.value) == ("steps", "4")
    assert text.value == "a\ufeffb", "within a text it is sent as typed"
    payload = read_body(f'{before}{{"params": {{"3::steps": 4}}}}')
    assert [setting.key for setting in payload.settings] == ["3::steps"]
    assert list(read_console(f'{before}{{"3::cfg": ["FLOAT", {{"default": 8.0}}]}}')) == ["3::cfg"]
