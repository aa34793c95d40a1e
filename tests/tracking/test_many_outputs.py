"""A service that lists thousands of outputs: the run ends, and does not delay the images of other runs."""

from __future__ import annotations

import threading

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK, png
from waiting import wait_until

from comflowy_nb.errors import ImageError

MAX_OUTPUTS = 1000  # of one run


def success(urls):
    return reply({"success": True, "data": {"status": "success", "output_images": urls, "full_outputs": {}}})


@pytest.mark.slow
@pytest.mark.timeout(400)  # it works for 20 s, and a busy machine takes ten times as long
def test_a_result_with_60000_urls_ends_with_a_warning_about_the_limit(client, api):
    """A success with a response over 1 MiB was polled for ever: the response was truncated and could not be read."""
    api.on(CHECK, success([f"{api.url}/gone/{'x' * 40}-{number}.png" for number in range(60_000)]))
    run = client.run("wf-1", {"3::cfg": 1}, wait=False)
    wait_until(lambda: run.status == "success", timeout_s=120)
    assert len(run.record.images) == MAX_OUTPUTS
    assert f"60000 outputs, and only the first {MAX_OUTPUTS}" in run.record.warning
    run.wait(240)
    assert {image.state for image in run.record.images} == {"missing"}


def test_one_check_brings_the_fresh_urls_of_all_images(client, api):
    """Every expired URL caused another check: thousands of checks of one run, each with thousands of URLs."""
    api.on(CHECK, success([f"{api.url}/gone/{number}.png" for number in range(100)]))
    run = client.run("wf-1", {"3::cfg": 1}, timeout=120)
    assert run.status == "success"
    assert {image.state for image in run.record.images} == {"missing"}
    assert api.count(CHECK) < 10
    with pytest.raises(ImageError, match=r"r1\[0\] is not on disk \(.*404.*\); %comflowy show r1 fetches it again"):
        _ = run.images[0].path


def test_an_image_with_an_expired_url_is_fetched_at_its_fresh_url(client, api):
    """Signed URLs change at every check; one check serves all images of the run."""
    checks = []

    def check(_):
        checks.append(True)
        return success([f"{api.url}/signed/{number}.png?sig={len(checks)}" for number in range(20)])

    api.on(CHECK, choose(check))
    api.on("GET /signed/*", choose(lambda seen: reply({}, 403) if seen.query["sig"] == "1" else reply(png())))
    run = client.run("wf-1", {"3::cfg": 1}, timeout=120)
    assert [image.state for image in run.record.images] == ["kept"] * 20
    assert len(checks) < 10


def test_images_of_another_run_do_not_wait_behind_a_run_whose_images_hang(client, api):
    """The images of all runs were in one queue, so a run with many slow images stopped every other run."""
    released = threading.Event()

    def hang(_):
        assert released.wait(60)
        return reply({}, 404)

    api.on("GET /slow/*", choose(hang))
    slow = success([f"{api.url}/slow/{number}.png" for number in range(MAX_OUTPUTS)])
    quick = success([f"{api.url}/images/{number}.png" for number in range(8)])
    api.on(CHECK, choose(lambda seen: slow if seen.query["id"] == "run-1" else quick))
    try:
        first = client.run("wf-1", {"3::cfg": 1}, wait=False)
        wait_until(lambda: api.count("GET /slow/*") >= 3)
        second = client.run("wf-1", {"3::cfg": 2}, timeout=60)
        assert [image.state for image in second.record.images] == ["kept"] * 8
        assert not first.record.is_settled
    finally:
        released.set()
