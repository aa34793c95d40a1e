from __future__ import annotations

from comflowy_nb.layout.sweep_sizes import PageLimits, cell_size

LIMITS = PageLimits(1200)


def test_a_cell_is_as_large_as_its_mosaic_and_never_enlarges():
    assert cell_size([((64, 64),)], 256, LIMITS) == (96, 64)
    assert cell_size([((1024, 512),)], 256, LIMITS) == (256, 128)
    assert cell_size([((512, 512),) * 3], 256, LIMITS) == (256, 256)
    assert cell_size([((512, 256),) * 2], 256, LIMITS) == (256, 64)
    assert cell_size([], 700, LIMITS) == (256, 256)
