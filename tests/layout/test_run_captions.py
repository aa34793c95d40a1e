"""The text of grids of runs."""

from __future__ import annotations

import pytest

from comflowy_nb.layout.page import CellState
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import ImageRecord, RunRecord

PROMPT = "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"


def record(number=1, *nodes, params=None, set_params=None, status=Status.SUCCESS, **changes):
    params = params or {}
    images = tuple(
        ImageRecord(index, node, 0, "kept", f"{index}.png", "0", 1, 64, 64, "PNG") for index, node in enumerate(nodes)
    )
    return RunRecord(
        token=f"t{number}", number=number, identity="i", origin="o", service="s", workflow="default", workflow_id=None,
        params=params, key="k", status=status, created_at=0, owner="me", images=changes.pop("images", images),
        set_params=tuple(params if set_params is None else set_params), **changes,
    )  # fmt: skip


def text(paragraphs):
    return ["".join(part.text for part in paragraph.parts) for paragraph in paragraphs]


def sheet(run, **options):
    return sheet_of_run(run, titles=options.pop("titles", {}), seeds=options.pop("seeds", {}), **options)


def test_caption_has_the_set_params_the_seed_and_the_reference():
    run = record(7, "9", params={"3::sampler_name": "euler", "6::text": PROMPT, "3::seed": 42})
    assert text(sheet(run).footer) == ["sampler_name euler", f"text {PROMPT}", "default · seed 42 · r7"]


def test_a_seed_that_was_not_set_is_read_from_the_image():
    assert text(sheet(record(1, "9"), seeds={"3::seed": 156680208700286}).footer) == [
        "default · seed 156680208700286 · r1"
    ]


def test_labels_replace_the_params_that_were_set():
    run = record(1, "9", params={"3::cfg": 7.0, "3::steps": 20}, set_params=["3::steps"])
    assert text(sheet(run, label=["3::cfg"]).footer)[0] == "cfg 7"


def test_one_node_has_no_title_and_several_nodes_have_titles():
    (section_of_one_node,) = sheet(record(1, "9", "9")).sections
    assert section_of_one_node.title is None
    assert text(section_of_one_node.cells[1].caption) == ["r1[1]"]
    titles = {"9": "Save Image", "12": ""}
    sections = sheet(record(1, "9", "9", "12", None, None), titles=titles).sections
    assert [section.title or section.cells[0].title for section in sections] == [
        "Save Image (9)", "node 12", "other images"
    ]  # fmt: skip


def test_nodes_with_one_image_each_are_side_by_side():
    (section,) = sheet(record(1, "9", "12"), titles={"9": "Save", "12": "Preview"}).sections
    assert [cell.title for cell in section.cells] == ["Save (9)", "Preview (12)"]


def test_caption_of_a_single_image_has_its_reference():
    sheet_of_image = sheet(record(1, "9", "9"), only=[1])
    assert [tile.image for section in sheet_of_image.sections for cell in section.cells for tile in cell.tiles] == [1]
    assert text(sheet_of_image.footer)[-1].endswith("r1[1]")


def test_a_missing_image_shows_the_reason_and_the_command():
    missing = (ImageRecord(0, "9", 0, "missing", error="cut short"),)
    (tile,) = sheet(record(3, images=missing)).sections[0].cells[0].tiles
    assert tile.state == CellState("error", "missing", "r3[0]: cut short. %comflowy show r3 fetches it again.")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.FAILED, CellState("error", "failed", "node 3 (KSampler): out of memory")),
        (Status.RUNNING, CellState("live", "running")),
        (Status.UNKNOWN, CellState("warning", "unknown", "it is not known whether the service accepted this run")),
        (Status.SUCCESS, CellState("warning", "success", "without any image")),
    ],
)
def test_a_run_without_images_shows_its_state(status, state):
    problem = Problem("out of memory", "3", "KSampler") if status is Status.FAILED else None
    (tile,) = sheet(record(1, status=status, problem=problem)).sections[0].cells[0].tiles
    assert tile.state == state


def test_shared_params_are_above_the_grid_and_the_others_below_each_image():
    runs = [record(n, "9", params={"3::cfg": float(n), "3::sampler_name": "euler", "3::seed": 5}) for n in (1, 2)]
    sheet_of_both = sheet_of_runs(runs, seeds=[{}, {}])
    assert text(sheet_of_both.head) == ["default · sampler_name euler"]
    assert [text(cell.caption) for cell in sheet_of_both.sections[0].cells] == [
        ["cfg 1", "seed 5 · r1"], ["cfg 2", "seed 5 · r2"]
    ]  # fmt: skip


def test_long_texts_become_letters_and_different_words_are_bold():
    texts = [PROMPT, PROMPT.replace("bottle", "vase")]
    runs = [record(n, "9", params={"6::text": prompt}) for n, prompt in enumerate([*texts, texts[0]], 1)]
    sheet_of_three = sheet_of_runs(runs, seeds=[{}] * 3)
    assert [text(cell.caption)[0] for cell in sheet_of_three.sections[0].cells] == ["text A", "text B", "text A"]
    assert text(sheet_of_three.legend) == [f"A  text {texts[0]}", f"B  text {texts[1]}"]
    bold = [part.text.strip() for part in sheet_of_three.legend[1].parts if part.tone == "strong"]
    assert bold == ["B", "vase", "vase,"]


def test_mosaic_has_all_images_of_a_run():
    sheet_of_both = sheet_of_runs([record(1, "9", "9", "12"), record(2, "9")], seeds=[{}, {}])
    assert [len(cell.tiles) for cell in sheet_of_both.sections[0].cells] == [3, 1]
