from __future__ import annotations

import json
import subprocess
import sys

import pytest

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.catalogue import Catalogue
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.object_info import read_field

GRAPH = Graph({"1": {"class_type": "X", "inputs": {"text": "naïve 🦊"}}})


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comflowy.yaml").write_text(text, "utf-8")


def read(folder):
    return (folder / "comflowy.yaml").read_text("utf-8")


def test_default_always_exists_and_reading_creates_no_file(home, project):
    catalogue = Catalogue.open(project, home)
    assert catalogue.names() == ["default"]
    entry = catalogue.get("default")
    assert entry.graph.nodes["3"]["class_type"] == "KSampler"
    assert (entry.ids, entry.aliases, entry.fields) == ({}, {}, {})
    assert catalogue.get("other") is None
    assert not home.exists()
    assert list(project.iterdir()) == []


def test_added_properties_are_stored(home, project):
    catalogue = Catalogue.open(project, home)
    catalogue.add("portrait", identity="sandbox", id="default")
    catalogue.add("portrait", identity="https://app.comflowy.com", id="3fef208b")
    catalogue.add("portrait", graph=GRAPH)
    catalogue.alias("portrait", "prompt", "6::text")
    described = {
        "3::seed": read_field(
            "3::seed", ["INT", {"max": 2**64 - 1, "control_after_generate": True}], node_title="KSampler"
        ),
        "3::x": read_field("3::x", [["yes", "no", "1", "null", "a: b #", "é"], {}], class_type="X"),
        "6::text": read_field("6::text", ["STRING", {"default": "a\n  b: c\n", "multiline": True}]),
    }
    catalogue.describe("portrait", described)
    entry = catalogue.get("portrait")
    for stored_entry in (entry, Catalogue.open(project, home).get("portrait")):
        assert stored_entry.ids == {"sandbox": "default", "https://app.comflowy.com": "3fef208b"}
        assert stored_entry.aliases == {"prompt": "6::text"}
        assert stored_entry.fields == described
        assert stored_entry.graph == GRAPH
    assert not (project / "comflowy.yaml").exists()


def test_earlier_descriptions_of_fields_are_kept(home):
    catalogue = Catalogue.open(None, home)
    catalogue.describe("default", {"3::a": read_field("3::a", ["INT"])})
    catalogue.describe("default", {"3::b": read_field("3::b", ["INT"]), "3::a": read_field("3::a", ["FLOAT"])})
    assert {key: str(field.type) for key, field in catalogue.get("default").fields.items()} == {
        "3::a": "FLOAT",
        "3::b": "INT",
    }


def test_default_keeps_its_graph_when_an_alias_is_added(home):
    catalogue = Catalogue.open(None, home)
    catalogue.alias("default", "prompt", "6::text")
    entry = Catalogue.open(None, home).get("default")
    assert entry.aliases == {"prompt": "6::text"}
    assert "3" in entry.graph.nodes


def test_the_projects_file_takes_precedence_and_an_entry_is_changed_in_the_file_that_has_it(home, project):
    write(project, "workflows:\n  shared: {ids: {cloud: ours}}\n")
    write(home, "workflows:\n  shared: {ids: {cloud: mine}}\n  own: {ids: {cloud: x}}\n")
    catalogue = Catalogue.open(project, home)
    assert catalogue.names() == ["shared", "own", "default"]
    assert catalogue.get("shared").ids == {"cloud": "ours"}
    catalogue.alias("shared", "prompt", "6::text")
    catalogue.alias("own", "prompt", "6::text")
    catalogue.add("new", identity="cloud", id="y")
    assert "prompt" in read(project)
    assert "new" not in read(project)
    assert read(home).count("prompt") == 1
    assert catalogue.get("new").ids == {"cloud": "y"}


def test_project_folder_equal_to_the_home_folder_is_read_once(home):
    write(home, "workflows:\n  own: {ids: {cloud: x}}\n")
    assert Catalogue.open(home, home).names() == ["own", "default"]


def test_paths_of_graphs_are_relative_to_their_file(home, project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(project, "workflows:\n  flow: {graph: graphs/flow.json}\n")
    (project / "graphs").mkdir()
    (project / "graphs" / "flow.json").write_text(json.dumps(dict(GRAPH.nodes)))
    assert Catalogue.open(project, home).get("flow").graph == GRAPH


def test_a_missing_or_damaged_graph_is_an_error_when_it_is_read(home):
    write(home, "workflows:\n  a: {graph: gone.json}\n  b: {graph: bad.json}\n")
    (home / "bad.json").write_text("{")
    catalogue = Catalogue.open(None, home)
    assert catalogue.names() == ["a", "b", "default"]
    for name, file in (("a", "gone.json"), ("b", "bad.json")):
        with pytest.raises(WorkflowError, match=file) as caught:
            _ = catalogue.get(name).graph
        assert str(home) not in str(caught.value)


def test_a_graph_never_overwrites_another_file(home):
    (home / "workflows").mkdir(parents=True)
    (home / "workflows" / "flow.json").write_text("precious")
    catalogue = Catalogue.open(None, home)
    catalogue.add("flow", graph=GRAPH)
    assert (home / "workflows" / "flow.json").read_text() == "precious"
    assert catalogue.get("flow").graph == GRAPH
    newer = Graph({"1": {"class_type": "Y", "inputs": {}}})
    catalogue.add("flow", graph=newer)
    assert catalogue.get("flow").graph == newer


def test_unknown_entries_and_comments_are_kept(home):
    before = (
        "# mine\nnotes: [a, b]\nworkflows:\n  own:  # the good one\n    ids: {cloud: x}\n    rating: 5\nlast: yes\n"
    )
    write(home, before)
    Catalogue.open(None, home).alias("own", "prompt", "6::text")
    after = read(home)
    for line in before.splitlines():
        assert line in after.splitlines()
    assert "prompt: 6::text" in after


def test_comments_of_a_file_without_entries_are_kept(home):
    write(home, "# my workflows\n# below\n")
    Catalogue.open(None, home).add("own", identity="cloud", id="x")
    assert read(home).startswith("# my workflows\n# below\n")
    assert Catalogue.open(None, home).get("own").ids == {"cloud": "x"}


def test_empty_sections_of_a_file_are_read_as_empty(home):
    write(home, "workflows:\n  own:\n  other: {ids: , aliases: }\n")
    catalogue = Catalogue.open(None, home)
    assert catalogue.get("own").ids == {}
    catalogue.alias("other", "a", "3::b")
    catalogue.add("own", identity="cloud", id="x")
    assert Catalogue.open(None, home).get("other").aliases == {"a": "3::b"}


def test_numbers_as_names_and_ids_are_converted_to_texts(home):
    write(home, "workflows:\n  2024: {ids: {cloud: 12}, aliases: {1: 3::a}}\n")
    entry = Catalogue.open(None, home).get("2024")
    assert (entry.ids, entry.aliases) == ({"cloud": "12"}, {"1": "3::a"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("workflows:\n  a: [\n  b: }\n", "line 3"),
        ("a: 1\na: 2\n", "line 2"),
        ("workflows: [a]\n", "workflows must be a mapping"),
        ("- a\n", "the file must be a mapping"),
        ("workflows:\n  a: text\n", "a must be a mapping"),
        ("workflows:\n  a: {ids: {x: [1]}}\n", "a.ids must be a mapping of texts"),
        ("workflows:\n  a: {graph: 5}\n", "a.graph must be the name of a file"),
        ("workflows:\n  a: {fields: {3::x: 5}}\n", "a.fields: 3::x"),
        ("workflows:\n  a: {fields: {x: [INT]}}\n", "a.fields: 'x' is not a field id"),
        ("a: \x07\n", "comflowy.yaml"),
        ("a: !!python/object:os.system x\n", "comflowy.yaml"),
        ("\tworkflows: 1\n", "line 1"),
    ],
)
def test_damaged_file_is_an_error_with_its_line_and_is_not_changed(home, text, why):
    good = Catalogue.open(None, home)
    write(home, text)
    with pytest.raises(WorkflowError, match=why) as caught:
        Catalogue.open(None, home)
    assert "comflowy.yaml of the home folder" in str(caught.value)
    for change in (lambda: good.add("x", identity="cloud", id="y"), lambda: good.alias("default", "a", "3::b")):
        with pytest.raises(WorkflowError, match=why):
            change()
    assert read(home) == text


def test_a_binary_file_is_reported(home):
    home.mkdir()
    (home / "comflowy.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkflowError, match="UTF-8"):
        Catalogue.open(None, home)


def test_invalid_names_and_aliases_are_rejected(home):
    catalogue = Catalogue.open(None, home)
    for name in ("", "a/b", "x?id=1", "a=b", "flow.json", "me.PNG", "me.jpeg", " a", "-x", "a:b", "a\nb", '"a"'):
        with pytest.raises(WorkflowError, match="name of a workflow"):
            catalogue.add(name, identity="cloud", id="x")
    for word in ("", "a b", "3::cfg", "a=b", "-x", "#1", "a,b", "a||b"):
        with pytest.raises(WorkflowError, match="alias"):
            catalogue.alias("default", word, "3::cfg")
    with pytest.raises(WorkflowError, match="not a field"):
        catalogue.alias("default", "a", "")
    with pytest.raises(WorkflowError, match="not a field"):
        catalogue.alias("default", "a", "my cfg")
    assert not (home / "comflowy.yaml").exists()


def test_an_alias_names_a_field_whose_node_id_contains_a_space(home):
    """`workflow alias W="my node::text"` was refused; the field itself could be set on the line."""
    Catalogue.open(None, home).alias("default", "W", "my node::text")
    assert Catalogue.open(None, home).get("default").aliases == {"W": "my node::text"}


def test_an_unknown_workflow_is_reported_with_the_nearest_name(home):
    catalogue = Catalogue.open(None, home)
    for call in (lambda: catalogue.alias("defalt", "a", "3::b"), lambda: catalogue.describe("defalt", {})):
        with pytest.raises(WorkflowError, match="Did you mean default"):
            call()


def test_a_home_folder_that_cannot_be_written_to_is_reported(home):
    home.parent.mkdir(exist_ok=True)
    home.write_text("in the way")
    with pytest.raises(WorkflowError, match=r"comflowy.yaml of the home folder can't be"):
        Catalogue.open(None, home).add("a", identity="cloud", id="x")


def test_a_failed_write_leaves_the_file_unchanged(home, monkeypatch):
    write(home, "workflows: {}\n")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WorkflowError, match="No space left"):
        Catalogue.open(None, home).add("a", identity="cloud", id="x")
    assert read(home) == "workflows: {}\n"
    assert not [path for path in home.iterdir() if path.name.startswith(".comflowy")]


def test_a_symbolic_link_is_kept(home, tmp_path):
    target = tmp_path / "dotfiles" / "comflowy.yaml"
    target.parent.mkdir()
    target.write_text("workflows: {}\n")
    home.mkdir()
    (home / "comflowy.yaml").symlink_to(target)
    Catalogue.open(None, home).add("a", identity="cloud", id="x")
    assert (home / "comflowy.yaml").is_symlink()
    assert "cloud: x" in target.read_text()


ADD_FIVE = """
import sys
from pathlib import Path
from comflowy_nb.workflow.catalogue import Catalogue

catalogue = Catalogue.open(None, Path(sys.argv[1]))
for number in range(5):
    catalogue.add(f"{sys.argv[2]}{number}", identity="cloud", id=str(number))
"""


def test_concurrent_changes_of_two_processes_are_both_kept(home):
    processes = [subprocess.Popen([sys.executable, "-c", ADD_FIVE, home, name]) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(Catalogue.open(None, home).names()) == sorted(
        [f"{process_name}{n}" for process_name in "ab" for n in range(5)] + ["default"]
    )


def test_a_name_is_removed_and_the_rest_of_the_file_stays(home):
    write(home, "# mine\nworkflows:\n  one: {ids: {sandbox: a}}  # first\n  two: {ids: {sandbox: b}}\nother: 1\n")
    catalogue = Catalogue.open(None, home)
    assert catalogue.removable_names() == ["one", "two"]
    assert catalogue.remove("one") is None
    assert catalogue.names() == ["two", "default"]
    assert read(home) == "# mine\nworkflows:\n  two: {ids: {sandbox: b}}\nother: 1\n"
    catalogue.remove("two")
    assert Catalogue.open(None, home).names() == ["default"]


BLOCKS = """\
# top
workflows:
  # about one
  one: {ids: {sandbox: a}}  # end of one
  # about two
  two:
    ids: {sandbox: b}  # id
      # inner

  # about 3
  3:
    ids: {sandbox: c}
# after
other: 1
"""


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("one", "  one: {ids: {sandbox: a}}  # end of one\n"),
        ("two", "  two:\n    ids: {sandbox: b}  # id\n      # inner\n"),
        ("3", "  3:\n    ids: {sandbox: c}\n"),
    ],
)
def test_only_the_lines_of_a_removed_name_are_removed(home, name, removed):
    """The comment above the next entry was removed too, and a name that is a number stayed."""
    write(home, BLOCKS)
    catalogue = Catalogue.open(None, home)
    names = catalogue.names()
    catalogue.remove(name)
    assert read(home) == BLOCKS.replace(removed, "")
    assert catalogue.names() == [each for each in names if each != name]


def test_a_name_in_a_flow_mapping_is_removed(home):
    write(home, "workflows: {one: {ids: {sandbox: a}}, two: {ids: {sandbox: b}}}\n")
    catalogue = Catalogue.open(None, home)
    catalogue.remove("one")
    assert catalogue.names() == ["two", "default"]
    assert Catalogue.open(None, home).get("two").ids == {"sandbox": "b"}


def test_a_name_with_a_graph_elsewhere_is_removed(home, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    write(home, f"workflows: {{one: {{graph: {tmp_path / 'mine.json'}}}}}")
    assert Catalogue.open(None, home).remove("one") == "mine.json"


def test_the_graph_of_a_removed_name_is_kept(home):
    catalogue = Catalogue.open(None, home)
    catalogue.add("portrait", graph=GRAPH)
    assert catalogue.remove("portrait") == "portrait.json"
    assert (home / "workflows" / "portrait.json").is_file()
    assert catalogue.get("portrait") is None


def test_default_can_not_be_removed(home):
    catalogue = Catalogue.open(None, home)
    catalogue.alias("default", "prompt", "6::text")
    with pytest.raises(WorkflowError, match="default can't be removed, because it is the built-in workflow"):
        catalogue.remove("default")
    assert catalogue.get("default").aliases == {"prompt": "6::text"}


def test_a_name_of_the_project_is_removed_in_an_editor(home, project):
    write(project, "workflows: {portrait: {ids: {sandbox: default}}}")
    catalogue = Catalogue.open(project, home)
    with pytest.raises(WorkflowError, match=r"portrait is a name in the comflowy\.yaml beside the notebook: open that"):
        catalogue.remove("portrait")
    assert "portrait" in read(project)
    assert catalogue.removable_names() == []


def test_an_unknown_name_to_remove_is_reported_with_the_nearest(home):
    catalogue = Catalogue.open(None, home)
    catalogue.add("portrait", identity="sandbox", id="default")
    with pytest.raises(
        WorkflowError, match=r"no workflow 'portriat'\. Did you mean portrait\? %comflowy workflows lists"
    ):
        catalogue.remove("portriat")
