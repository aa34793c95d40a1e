from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from faulty_server import reply

from comflowy_nb import connect
from comflowy_nb.errors import ImageError
from comflowy_nb.tracking.downloads import Downloads


def test_deleted_images_are_expected_again(library, runs):
    downloads = Downloads(None, library.history, library.folder)
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


@pytest.mark.usefixtures("short_delays")
def test_an_image_that_a_killed_process_has_stored_is_found_although_the_service_has_lost_it(api, home):
    """It was killed between the rename of the file and the write of the row; the image was shown as missing."""
    with connect(f"test={api.url}", key="the-key") as client:
        path = client.run("wf-1", {"3::cfg": 7}, timeout=60).images[0].path
    with closing(sqlite3.connect(home / "history.sqlite")) as database:
        database.execute("UPDATE images SET state = 'expected', file = NULL, sha256 = NULL")
        database.commit()
    api.on("GET /images/*", reply({}, 404))
    with connect(f"test={api.url}", key="the-key") as client:
        client.resume("r1")
        run = client.find("r1").run.wait(60)
        assert [image.state for image in run.record.images] == ["kept"]
        assert run.images[0].path == path
        assert run.images[0].pil().size == (64, 48)
