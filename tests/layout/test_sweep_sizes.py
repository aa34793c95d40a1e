from __future__ import annotations

from comflowy_nb.layout.sweep_sizes import cell_size


def test_a_cell_is_as_large_as_its_mosaic_and_never_enlarges():
    assert cell_size([((64, 64),)], 256) == (96, 64)
    assert cell_size([((1024, 512),)], 256) == (256, 128)
    assert cell_size([((512, 512),) * 3], 256) == (256, 256)
    assert cell_size([((512, 256),) * 2], 256) == (256, 64)
    assert cell_size([], 700) == (256, 256)
