from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.notebook.display.figure import draw_figure, encode, measure, read_image, writable


def test_a_figure_has_the_pixels_of_its_paper_at_either_scale():
    for scale in (1, 2):
        paper = Image.new("RGB", (40 * scale, 20 * scale), "teal")
        figure, drawn = draw_figure((40, 20), [], scale=scale, paper=paper)
        assert drawn.size == paper.size
        assert np.abs(np.asarray(drawn).astype(int) - np.asarray(paper)).max() <= 2
        assert figure.axes


def test_a_figure_has_every_size_that_is_asked_for():
    """With matplotlib 3.8 a comparison was 827 pixels high beside a text that said 828: 4.3125 inches are 827.9999."""
    for side in (29, 57, 58, 113, 114, 414, 1200):
        _, drawn = draw_figure((side, side), [], scale=2)
        assert drawn.size == (2 * side, 2 * side)


def test_a_lower_quality_takes_fewer_bytes():
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    assert len(encode(noise, quality=40)) < len(encode(noise))


def test_longer_words_are_wider_and_line_breaks_are_none():
    assert 0 < measure("cfg", "text") < measure("cfg cfg", "text")
    assert "\n" not in writable("two\nlines")


def test_a_file_that_can_t_be_decoded_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        read_image(tmp_path / "broken.png", (8, 8))
