from __future__ import annotations

from dataclasses import replace

import pytest

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings
from comflowy_nb.tracking.downloads import Downloads


def test_deleted_images_are_expected_again(library, runs):
    downloads = Downloads(None, library.history, library.folder, settings)
    run = library.find("r1").run
    assert not downloads.reset_missing(run)
    run.images[1].path.unlink()
    assert downloads.reset_missing(run)
    assert [image.state for image in run.record.images] == ["kept", "expected", "kept"]
    assert library.history.get(run.token) == run.record
    with pytest.raises(ImageError, match="not on disk"):
        _ = run.images[1].path
    missing = replace(run.record.images[1], state="missing", file=None, error="gone from the service")
    run.update(library.history.set_images(run.token, missing))
    assert downloads.reset_missing(run)
    assert run.record.images[1].error is None
