from __future__ import annotations

import pytest

from comflowy_nb.layout.page import CellState
from comflowy_nb.status import Status
from comflowy_nb.sweeps.headings import cell_state_of, chosen_images


def test_a_cell_with_images_shows_no_text(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 2, 4), ends={2: None})
    assert cell_state_of(sweep.cells[0]).kind == "images"
    assert cell_state_of(sweep.cells[0]) == cell_state_of(sweep.cells[0]), "equal states are painted once"
    assert cell_state_of(sweep.cells[0], image=1) == CellState("warning", "success", "no such image")


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        (Status.FAILED, "error", "failed"),
        (Status.CANCELLED, "warning", "cancelled"),
        (Status.UNKNOWN, "warning", "unknown"),
        (Status.SUBMITTING, "waiting", "submitting"),
    ],
)
def test_a_cell_without_images_shows_the_reason(make_sweep, axis, end, kind, text):
    state = cell_state_of(make_sweep(axis("3::cfg", 2), ends={1: end}).cells[0])
    assert (state.kind, state.text) == (kind, text)
    if end is Status.FAILED:
        assert state.detail == "no luck with 1"


def test_a_cell_is_waiting_only_while_the_sweep_is_submitted(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 2, 4), ends={2: None})
    assert cell_state_of(sweep.cells[1]).text == "not submitted"
    sweep.is_submitted_elsewhere = True
    assert cell_state_of(sweep.cells[1]).text == "waiting"


def test_image_option_selects_one_of_several_images(make_sweep, axis):
    (cell,) = make_sweep(axis("3::cfg", 2)).cells
    images = cell.run.record.images
    assert chosen_images(images, node="9") == list(images)
    assert chosen_images(images, node="7") == []
    assert chosen_images(images, image=0) == [images[0]]
