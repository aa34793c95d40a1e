"""Pruned and damaged images are fetched only by `show --refetch`, never automatically."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from faulty_server import choose, reply, send_in_pieces
from scripted_api import CHECK, RUN, png
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.errors import ImageError

pytestmark = pytest.mark.usefixtures("short_delays")


@pytest.fixture
def pruned(client, api):
    """Return a run with a pruned image."""
    run = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    assert client.prune(0).images.files == 1
    assert run.images[0].is_pruned
    return run


def refetch(client, run):
    assert client.connection.registry.refresh(run, refetch=True)
    run.wait(60)


def images_seen(api):
    return api.count("GET /images/a.png")


def test_the_same_request_submits_and_fetches_nothing(client, api, pruned):
    """A pruned image was treated as a missing one: every execution of its cell downloaded it again."""
    checks = api.count(CHECK)
    again = client.submit("wf-1", {"3::cfg": 7})
    assert (again.outcome, again.run) == ("same", pruned)
    assert again.run.wait(60).images[0].is_pruned
    assert not client.connection.registry.refresh(pruned)
    client.resume(pruned.ref)
    assert (api.count(RUN), api.count(CHECK), images_seen(api)) == (1, checks, 1)


def test_a_sweep_over_pruned_runs_submits_and_fetches_nothing(client, api):
    sweep = client.sweep("wf-1", {"3::cfg": [4, 7]}, timeout=60)
    client.prune(0)
    fetched = images_seen(api)
    again = client.sweep("wf-1", {"3::cfg": [4, 7]}, timeout=60)
    assert again.plan.to_submit == 0
    assert all(cell.run.images[0].is_pruned for cell in (*again.cells, *sweep.cells))
    assert (api.count(RUN), images_seen(api)) == (2, fetched)


def test_a_new_client_fetches_nothing(client, api, pruned):
    with connect(f"test={api.url}", key="the-key") as other:
        (run,) = other.runs()
        assert run.images[0].is_pruned
        assert other.live() == []
    assert images_seen(api) == 1


def test_an_image_can_be_fetched_again_and_pruned_again(client, api, pruned):
    refetch(client, pruned)
    assert pruned.images[0].bytes == png()
    assert pruned.images[0].record.error is None
    assert client.library.find("r1[0]").image.record.state == "kept"
    assert client.prune(0).images.files == 1
    with pytest.raises(ImageError, match="was pruned"):
        _ = pruned.images[0].bytes
    assert images_seen(api) == 2


def test_an_image_that_the_service_no_longer_has_stays_pruned(client, api, pruned):
    api.on(CHECK, reply({"success": False, "error": "no such run"}, 404))
    refetch(client, pruned)
    image = pruned.images[0]
    assert image.is_pruned
    assert image.thumbnail(256).is_file()
    with pytest.raises(ImageError, match=r"was pruned.*\(test no longer has it\)"):
        _ = image.bytes
    assert client.library.find("r1[0]").image.record.state == "pruned"


def test_an_image_that_can_not_be_downloaded_stays_pruned(client, api, pruned):
    api.on("GET /images/*", reply({"error": "gone"}, 404))
    refetch(client, pruned)
    assert pruned.images[0].is_pruned
    assert pruned.images[0].record.file is not None
    assert pruned.images[0].thumbnail(512).is_file()


@pytest.mark.timeout(120)
def test_a_kernel_killed_while_it_fetches_again_leaves_the_thumbnail(client, api, pruned):
    """The next client fetches it; if the service has lost it, the image is pruned as before."""
    client.close()
    api.on("GET /images/*", send_in_pieces(png(size=(400, 400)), every_s=0.05, piece=50))
    code = (
        "import sys; from comflowy_nb import connect; client = connect(f'test={sys.argv[1]}', key='the-key'); "
        "run = client.runs()[0]; client.connection.registry.refresh(run, refetch=True); run.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, api.url])
    wait_until(lambda: images_seen(api) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    api.on(CHECK, reply({"success": False, "error": "no such run"}, 404))
    with connect(f"test={api.url}", key="the-key") as other:
        (run,) = other.runs()
        run.wait(60)
        assert run.images[0].is_pruned
        assert run.images[0].thumbnail(256).is_file()


# -- damaged originals -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[png("red"), png()[:-20], b""], ids=["another image", "truncated", "empty"])
def damaged(client, api, request):
    """Return a run whose original was changed after its download."""
    run = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    run.images[0].path.write_bytes(request.param)
    assert run.images[0].is_damaged
    return run


def test_a_damaged_original_is_fetched_again_only_with_refetch(client, api, damaged):
    """A changed file was used as if the service had sent it, and no command fetched it again."""
    path = damaged.images[0].path
    assert not client.connection.registry.refresh(damaged)
    assert images_seen(api) == 1
    refetch(client, damaged)
    assert images_seen(api) == 2
    assert damaged.images[0].bytes == png()
    assert damaged.images[0].path == path
    assert not damaged.images[0].is_damaged
    assert not client.connection.registry.refresh(damaged, refetch=True)


def test_a_damaged_original_of_an_earlier_month_is_replaced_in_its_folder(client, api, damaged):
    image = damaged.images[0].record
    earlier = client.library.folder / "2020-01"
    earlier.mkdir()
    moved = damaged.images[0].path.rename(earlier / damaged.images[0].path.name)
    client.library.history.set_images(damaged.token, replace(image, file=f"2020-01/{moved.name}"))
    client.connection.registry.reload([damaged.token])
    refetch(client, damaged)
    assert damaged.images[0].path == moved
    assert damaged.images[0].bytes == png()


def test_a_damaged_file_stays_if_the_service_no_longer_has_the_image(client, api, damaged):
    content = damaged.images[0].path.read_bytes()
    api.on(CHECK, reply({"success": False, "error": "no such run"}, 404))
    refetch(client, damaged)
    image = damaged.images[0]
    assert (image.record.state, image.record.error) == ("missing", "test no longer has it")
    assert image.path.read_bytes() == content
    with pytest.raises(ImageError, match=r"is damaged.*\(test no longer has it\)"):
        _ = image.bytes
    api.on(CHECK, choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})))
    assert client.connection.registry.refresh(damaged)  # a missing image is tried again
    assert damaged.wait(60).images[0].bytes == png()
