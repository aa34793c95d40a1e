"""Parse prompts into weighted tags."""

import numpy as np
import pytest

from comflowy_nb.sandbox.engine.prompts import read_prompt


def test_synonyms_are_the_same_tag():
    assert read_prompt("nebula").tags == read_prompt("cosmos").tags == {"galaxy": 1.0}
    assert read_prompt("Lighthouses").tags == {"lighthouse": 1.0}
    assert read_prompt("lilies, fireflies").tags == {"firefly": 1.0}


@pytest.mark.parametrize(
    ("text", "weight"),
    [("cat", 1.0), ("(cat)", 1.1), ("((cat))", 1.21), ("(cat:1.5)", 1.5), ("(a cat:0.5)", 0.5), (r"\(cat\)", 1.0)],
)
def test_emphasis_has_the_same_weight_as_in_comfyui(text, weight):
    assert read_prompt(text).tags["cat"] == pytest.approx(weight)


@pytest.mark.parametrize("text", ["", "()", ")", "((((", "(:", "(cat", "cat)", "(cat:)", "(cat:x)", "猫", "a" * 5000])
def test_any_text_can_be_read(text):
    prompt = read_prompt(text)
    assert np.isfinite(prompt.light).all()


def test_repeated_word_has_1_5_times_the_weight():
    assert read_prompt("bottle, bottle").tags["bottle"] == pytest.approx(1.5)


def test_unknown_words_have_a_deterministic_effect():
    names = [f"thing {k}" for k in range(50)]
    lean = read_prompt("zyzzyva").lean(names)
    assert np.abs(lean).max() > 0.1
    assert (lean == read_prompt("Zyzzyva!").lean(names)).all()
    assert not np.allclose(lean, read_prompt("xylem").lean(names))


def test_words_about_light_change_the_light():
    assert read_prompt("bright").light[0] > read_prompt("dark").light[0]
    assert read_prompt("warm").light[1] > read_prompt("cold").light[1]
    assert read_prompt("vivid").light[2] > read_prompt("pale").light[2]
