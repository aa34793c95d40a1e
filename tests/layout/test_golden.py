"""Positions of all boxes and texts on a page, compared with the files in `golden/`.

The texts are measured by a fixed rule, so that the positions do not depend on the fonts of the machine.
`python tests/layout/test_golden.py` writes the files again; look at the difference before you commit it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from comflowy_nb.database.records import ImageRecord, RunRecord
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.layout.run_grid import arrange
from comflowy_nb.layout.sweep_grid import arrange_sweep
from comflowy_nb.layout.sweep_page import PageLimits
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status
from comflowy_nb.sweeps.headings import sheet_of_sweep
from comflowy_nb.sweeps.sweep_painting import contact_sheet_limits
from comflowy_nb.workflow.axes.expand import expand
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
from comflowy_nb.workflow.images import InputImage

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE_PX = 1
PROMPT = "a glass bottle for $5 on a beach, purple galaxy inside, {} and far away"
CHINESE = "美しい風景、ガラスの瓶、紫の銀河、{}、遠くの海辺に立つ古い灯台と小さな猫"


def measure(text, tone):
    return sum(12 if ord(letter) > 0x2E7F else 5 if tone == "small" else 7 for letter in text)


# -- runs -------------------------------------------------------------------------------------------------------------


def run(number, *sizes, node="9", status=Status.SUCCESS, params=None, states=None, **changes):
    images = tuple(
        ImageRecord(
            index, node[index] if isinstance(node, tuple) else node, 0, (states or {}).get(index, "kept"),
            f"{index}.png", "0", 1, *size, "PNG",
        )
        for index, size in enumerate(sizes)
    )  # fmt: skip
    params = params or {"3::cfg": float(number), "3::seed": 42}
    return RunRecord(
        token=f"t{number}", number=number, identity="i", origin="o", service="s", workflow="default", workflow_id=None,
        params=params, key="k", status=status, created_at=0, owner="me", images=images, set_params=tuple(params),
        **changes,
    )  # fmt: skip


def page_of_run(record, width_px=1200):
    sheet = sheet_of_run(record, titles={"9": "Save Image"}, seeds={})
    return arrange(sheet, width_px=width_px, measure=measure)


def page_of_runs(records, width_px=1200):
    return arrange(sheet_of_runs(records, seeds=[{}] * len(records)), width_px=width_px, measure=measure)


# -- sweeps -----------------------------------------------------------------------------------------------------------


def axis(field, values, labels=None):
    names = labels or [str(value) for value in values]
    pairs = zip(values, names, strict=True)
    return Axis(
        field, "values", (field,), tuple(AxisValue({field: value}, name, labels is not None) for value, name in pairs)
    )


def sweep(*axes, fixed=None):
    fixed = fixed or {}
    all_axes = Axes(fixed, axes, (), (*fixed, *(axis_.name for axis_ in axes)), {})
    cells = expand(all_axes, workflow_content="default", identity="sandbox", seed_of=lambda key, fields: 1)
    return SimpleNamespace(axes=all_axes, cells=cells, workflow="default", name="bottles", ref="s1", record=object())


def page_of_sweep(sweep_data, images=(((512, 512),),), *, width_px=1200, page=1, layout=None, limits=None):
    def make_sheet(lettered):
        return sheet_of_sweep(sweep_data, layout or {}, lettered=lettered)

    return arrange_sweep(make_sheet, limits=limits or PageLimits(width_px), measure=measure, images=images, page=page)


def contact_sheet(sweep_data, images=(((256, 256),),), **limits):
    limits = replace(contact_sheet_limits(len(sweep_data.cells)), **limits)
    return page_of_sweep(sweep_data, images, limits=limits)


CASES = {
    "run_with_one_image": lambda: page_of_run(run(1, (512, 512))),
    "run_with_three_shapes": lambda: page_of_run(run(1, (512, 512), (1024, 300), (64, 200))),
    "run_with_two_nodes": lambda: page_of_run(run(1, (256, 256), (256, 128), (64, 64), node=("9", "9", "12"))),
    "sixteen_runs": lambda: page_of_runs([run(number, (512, 512)) for number in range(1, 17)]),
    "runs_without_images": lambda: page_of_runs(
        [
            run(1, (300, 200), (300, 200), states={1: "missing"}),
            run(2, status=Status.FAILED, problem=Problem("out of memory", "3", "KSampler")),
            run(3, status=Status.RUNNING),
            run(4, (640, 480), states={0: "expected"}),
        ]
    ),
    "runs_with_long_texts_narrow": lambda: page_of_runs(
        [
            run(number, (512, 768), params={"6::text": text.format(word), "3::note": "$x_1$"})
            for number, (text, word) in enumerate([(PROMPT, "noon"), (PROMPT, "night"), (CHINESE, "夜")], 1)
        ],
        width_px=460,
    ),
    "sweep_without_axes": lambda: page_of_sweep(sweep(fixed={"3::cfg": 4})),
    "sweep_of_one_axis": lambda: page_of_sweep(sweep(axis("3::seed", list(range(10))))),
    "sweep_of_two_axes": lambda: page_of_sweep(
        sweep(
            axis("3::cfg", [2, 4.5, 8]),
            axis("6::text", [PROMPT.format("noon"), PROMPT.format("night")], ["day", "night"]),
            fixed={"3::steps": 20, "7::text": CHINESE.format("夜")},
        ),
        images=(((1024, 512),),),
    ),
    "sweep_of_three_axes": lambda: page_of_sweep(
        sweep(axis("3::cfg", [2, 4]), axis("3::steps", [5, 6, 7]), axis("3::scheduler", ["normal", "karras", "beta"])),
        images=(((64, 64), (64, 64), (96, 64)),),
    ),
    "sweep_of_four_axes": lambda: page_of_sweep(
        sweep(*(axis(f"3::axis{number}", [1, 2]) for number in range(4))), layout={"x": "3::axis3", "z": "3::axis0"}
    ),
    "sweep_of_many_pages": lambda: page_of_sweep(
        sweep(axis("3::cfg", list(range(14))), axis("6::text", [PROMPT.format(number) for number in range(60)])), page=2
    ),
    "sweep_with_long_texts_narrow": lambda: page_of_sweep(
        sweep(
            axis("6::text", [PROMPT.format("noon"), CHINESE.format("夜"), "$5 and $10"]),
            axis("3::sampler_name", ["euler_ancestral_cfg_pp", "heun", "12345678901234567890123"]),
        ),
        width_px=480,
    ),
    "sweep_high_and_narrow": lambda: page_of_sweep(sweep(axis("3::cfg", [1, 2]), axis("3::seed", list(range(24))))),
    "sweep_of_input_images": lambda: page_of_sweep(
        sweep(axis("10::image", [InputImage(f"sky{n}.png", f"{n}" * 64, bytes) for n in range(3)]), axis("3::cfg", [1]))
    ),
    "contact_sheet_of_one_cell": lambda: contact_sheet(sweep(fixed={"6::text": CHINESE.format("夜")})),
    "contact_sheet_of_sixteen": lambda: contact_sheet(
        sweep(axis("3::cfg", list(range(4))), axis("6::text", [PROMPT.format(number) for number in range(4)])),
        images=(((256, 192),),),
    ),
    "contact_sheet_of_three_axes": lambda: contact_sheet(
        sweep(axis("3::cfg", [2, 4]), axis("3::seed", [1, 2]), axis("3::scheduler", ["normal", "karras", "beta"])),
    ),
    "contact_sheet_of_many_pages": lambda: contact_sheet(
        sweep(axis("3::cfg", list(range(20))), axis("3::seed", list(range(6)))), width_px=800, height_px=400
    ),
}


def describe(page):
    """Return a line for the page, each box and each text."""
    lines = [f"page {page.width} x {page.height}"]

    def add(line, *position):
        lines.append(f"{line} at {' '.join(str(round(number)) for number in position)}")

    for box in page.boxes:
        tile = box.tile
        if tile.input_image is not None:
            content = f"input {tile.input_image.name}"
        elif tile.state is not None:
            content = f"{tile.state.kind} {tile.cell} {tile.state.text}: {tile.state.detail}"
        else:
            content = f"cell {tile.cell}" if tile.image is None else f"image {tile.cell} {tile.image}"
        add(content, box.x, box.y, box.width, box.height)
    for text in page.texts:
        add(f"{text.tone} {text.text!r}", text.x, text.y)
    return lines


def split(line):
    """Return the words of a line before its position, and its position."""
    content, _, position = line.rpartition(" at ")
    return content, [int(number) for number in position.split()] if content else []


@pytest.mark.parametrize("name", CASES)
def test_all_positions_equal_the_golden_file(name):
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    lines = describe(CASES[name]())
    assert [split(line)[0] or line for line in lines] == [split(line)[0] or line for line in expected]
    for line, expected_line in zip(lines, expected, strict=True):
        pairs = zip(split(line)[1], split(expected_line)[1], strict=True)
        assert all(abs(first - second) <= TOLERANCE_PX for first, second in pairs), f"{line} != {expected_line}"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, make in CASES.items():
        (GOLDEN / f"{name}.txt").write_text("\n".join(describe(make())) + "\n", encoding="utf-8")
