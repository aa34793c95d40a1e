"""Captions, and legends of long texts, shortened to the passages in which the texts differ."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comflowy_nb.database.records import RunRecord
from comflowy_nb.layout.run_captions import sheet_of_runs
from comflowy_nb.layout.text import wrap
from comflowy_nb.layout.value_text import letter_of, name_fields, seeds_of, write_value
from comflowy_nb.status import Status
from comflowy_nb.sweeps.headings import sheet_of_sweep
from comflowy_nb.workflow.axes.expand import expand
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
from comflowy_nb.workflow.images import InputImage

LONG = "masterpiece, best quality, " + "a very long prompt about bottles and seas, " * 12
NARROW_PX = 380


def measure(text, tone):
    return len(text) * (6 if tone == "small" else 7)


def text_of_entry(paragraph):
    """Return the text of a legend entry on a narrow page, without its letter."""
    lines = wrap(paragraph.parts, NARROW_PX, measure, max_lines=paragraph.max_lines)
    return " ".join(" ".join(text for line in lines for _, text, _ in line).split()[1:])


def legend_of_sweep(texts):
    values = tuple(AxisValue({"6::text": text}, text) for text in texts)
    axes = Axes({}, (Axis("6::text", "values", ("6::text",), values),), (), ("6::text",), {})
    cells = expand(axes, workflow_content="default", identity="sandbox", seed_of=lambda key, fields: 1)
    sweep = SimpleNamespace(axes=axes, cells=cells, workflow="default", name="", ref="s1", record=object())
    return sheet_of_sweep(sweep, {"x": None, "y": None, "z": None})


def run_with(number, text):
    return RunRecord(
        token=f"t{number}", number=number, identity="i", origin="o", service="s", workflow="default", workflow_id=None,
        params={"6::text": text}, key="k", status=Status.SUCCESS, created_at=0, owner="me", set_params=("6::text",),
    )  # fmt: skip


def legend_of_runs(texts):
    return sheet_of_runs([run_with(number, text) for number, text in enumerate(texts, 1)], seeds=[{}] * len(texts))


def entries(texts):
    """Return the legend entries of the grid of a sweep and of the grid of several runs."""
    return (
        [text_of_entry(paragraph) for _, _, paragraph in legend_of_sweep(texts).legend],
        [text_of_entry(paragraph) for paragraph in legend_of_runs(texts).legend],
    )


@pytest.mark.parametrize(
    "texts",
    [
        [f"{LONG}by one", f"{LONG}by two", f"{LONG}by three"],
        [f"one {LONG}", f"two {LONG}", f"three {LONG}"],
        [f"{LONG}one {LONG}", f"{LONG}two {LONG}", f"{LONG}three {LONG}"],
        [f"{LONG}sea. {LONG}", f"{LONG}sea, {LONG}", f"{LONG}sea {LONG}"],
        [LONG, f"{LONG}by one", f"{LONG}by one, by two"],
        [f"{LONG} {number}" for number in range(40)],
        [f"{LONG}{a} {LONG}{b}" for a in ("one", "two") for b in ("three", "four")],
        [f"{'猫が海辺に座っている' * 60}{end}" for end in ("春", "夏")],
    ],
    ids=[
        "the end",
        "the start",
        "the middle",
        "punctuation",
        "each text continues the one before",
        "many",
        "two places",
        "Japanese",
    ],
)
def test_long_texts_keep_the_passages_in_which_they_differ(texts):
    """Three prompts that differ in their last words had three equal legends, each cut after six lines."""
    for legend in entries(texts):
        assert len(set(legend)) == len(legend) == len(texts)
        assert all(len(entry) < 700 for entry in legend), "text that all entries share is omitted"


def test_different_words_are_bold_in_the_legend():
    texts = [f"{LONG}by {word} {LONG}" for word in ("one", "two", "three")]
    for word, (_, _, paragraph) in zip(("one", "two", "three"), legend_of_sweep(texts).legend, strict=True):
        assert word in [part.text.strip() for part in paragraph.parts if part.tone == "strong"]
        assert "".join(part.text for part in paragraph.parts).rstrip().endswith("\N{HORIZONTAL ELLIPSIS}")


def test_short_texts_are_complete_in_the_legend():
    texts = [f"a glass bottle on a beach at {word}" for word in ("noon", "night")]
    for legend in entries(texts):
        assert legend == [f"text {text}" for text in texts]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a cat, on a long wall by the sea", "a cat,  on a long wall by the sea"),
        ("a cat on a long wall by the sea", "a cat on a long wall by the sea "),
        ("a cat on a long wall by the sea", "a cat on a long wall\nby the sea"),
        ("a cat on a long wall by the sea", "a cat on a long wall by\u00a0the sea"),
        ("caf\u00e9 on a long wall by the sea", "cafe\u0301 on a long wall by the sea"),
        ("a cat on a long wall by the sea", "a cat on a long wall by the\u200b sea"),
        ("a cat", "a cat "),
        ("", " "),
    ],
)
def test_texts_that_differ_in_invisible_characters_have_different_entries(first, second):
    sheet = legend_of_sweep([first, second])
    text_entries = [heading.text for heading in sheet.x.values] + [
        text_of_entry(paragraph) for _, _, paragraph in sheet.legend
    ]
    assert len(set(text_entries)) == len(text_entries) > 1
    captions = [
        "".join(part.text for part in cell.caption[0].parts)
        for cell in legend_of_runs([first, second]).sections[0].cells
    ]
    assert len(set(captions)) == 2, "two runs have different captions"
    text_entries = [text_of_entry(paragraph) for paragraph in legend_of_runs([first, second]).legend]
    assert len(set(text_entries)) == len(text_entries)


WORDS = st.lists(
    st.sampled_from(["sea", "sea,", "sea.", "a", "bottle", "glass", "(x:1.2)", "猫", "…", "\n"]), max_size=6
)
TEXTS = st.builds(
    lambda start, before, middle, after, end: " ".join(
        [*start, *["by the sea"] * before, *middle, *["a glass bottle"] * after, *end]
    ),
    WORDS,
    st.sampled_from([0, 60, 61]),
    WORDS,
    st.sampled_from([0, 50, 51]),
    WORDS,
)


@given(st.lists(TEXTS | st.text(max_size=40), min_size=2, max_size=8, unique=True))
@example([LONG, LONG[:-1], f"{LONG} "])
def test_different_texts_never_have_equal_legends(texts):
    for legend in entries(texts):
        assert len(set(legend)) == len(legend)
        assert len(legend) in {0, len(texts)}


def test_captions_of_many_fields_are_complete():
    """Two runs that differ in the last of many fields had equal captions, cut after three lines."""
    fields = [f"3::a_field_of_some_length_{number}" for number in range(12)]
    runs = []
    for number in (1, 2):
        params = dict.fromkeys(fields, number)
        runs.append(
            RunRecord(
                token=f"t{number}", number=number, identity="i", origin="o", service="s", workflow="default",
                workflow_id=None, params=params, key="k", status=Status.SUCCESS, created_at=0, owner="me",
                set_params=tuple(params),
            )
        )  # fmt: skip
    for number, cell in enumerate(sheet_of_runs(runs, seeds=[{}, {}]).sections[0].cells, 1):
        lines = wrap(cell.caption[0].parts, 120, measure, max_lines=cell.caption[0].max_lines)
        assert "".join(text for _, text, _ in lines[-1]).endswith(f"_11 {number}")


def test_field_names_omit_the_node_if_they_are_unique():
    assert name_fields(["3::cfg", "6::text", "7::text"]) == {
        "3::cfg": "cfg",
        "6::text": "6::text",
        "7::text": "7::text",
    }


def test_values_are_written_as_a_user_types_them():
    assert [write_value(value) for value in (7.0, 0.25, "a\n b", True, None, [1, "x"], 2**53)] == [
        "7", "0.25", "a b", "true", "null", '[1, "x"]', "9007199254740992"
    ]  # fmt: skip


def test_seeds_are_integers_in_fields_whose_name_contains_seed():
    assert seeds_of({"3::seed": 4, "5::noise_seed": 5, "6::seed": "x", "7::seed": True, "3::cfg": 2}) == {
        "3::seed": 4, "5::noise_seed": 5
    }  # fmt: skip


def test_an_image_is_written_as_its_name():
    assert write_value(InputImage("sky.png", "0" * 64, bytes)) == "sky.png"


def test_letters_continue_after_z():
    assert [letter_of(index) for index in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
