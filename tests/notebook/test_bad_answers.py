"""Errors of a faulty service in cells: one or two plain lines without key or address, and no run is lost."""

from __future__ import annotations

import pytest
from faulty_server import close_after_reading, closed_port, html, reply
from scripted_api import CHECK, RUN, TOKEN, ScriptedApi, png

from comflowy_nb.settings import settings

KEY = "canary-key-5521"


@pytest.fixture
def api(monkeypatch):
    with ScriptedApi() as server:
        monkeypatch.setenv("COMFLOWY_URL", server.url)
        monkeypatch.setenv("COMFLOWY_API_KEY", KEY)
        settings.retry_base_s = settings.retry_max_s = 0.02
        settings.lost_gap_s = 0.02
        yield server


@pytest.fixture
def connected(api, cell, handles):
    assert cell(f"%comflowy connect test={api.url}").error is None
    return cell


def slow_check(api):
    """Return an answer to checks that arrives after 0.5 s."""

    def answer(request, wire):
        wire.pause(0.5)
        return reply({"success": True, "data": api.state(request.query["id"])})(request, wire)

    return answer


def plain(cell, api=None):
    """Return the lines of a cell's error, after the checks that apply to all errors."""
    lines = cell.lines
    assert lines is not None, f"not rendered in plain lines: {cell.error!r}"
    text = "\n".join(lines)
    assert 1 <= len(text.splitlines()) <= 3
    assert len(text) < 600
    output = text + "".join(str(data) for data in cell.last) + cell.stdout + cell.stderr
    assert KEY not in output
    assert "token-of-the-service" not in output
    if api is not None:
        assert api.netloc not in output
    return text


def test_a_missing_key_is_one_plain_error(cell, monkeypatch):
    with ScriptedApi() as api:
        assert "login" in plain(cell(f"%comflowy connect {api.url}"))


def test_a_rejected_key_is_one_plain_error(cell, api):
    api.on(TOKEN, reply({"success": False, "error": f"key {KEY} is wrong"}, 401))
    text = plain(cell(f"%comflowy connect {api.url}"))
    assert "key" in text
    assert api.count(RUN) == 0


def test_an_unreachable_server_is_one_plain_error(cell, api):
    api.refuse()
    assert f"can't reach {api.url}" in plain(cell(f"%comflowy connect {api.url}"))
    cell(f"target = '{api.url}'")
    assert "can't reach the server" in plain(cell("%comflowy connect {target}"), api)  # not typed in this cell


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("htp://x", "not an http or https address"),
        ("localhost:8000", "type http://localhost:8000"),
        ("nonsense", "sandbox, cloud, comfyui, or an address"),
        ("http://user:secret@127.0.0.1:1", "user name or password"),
        ("http://127.0.0.1:99999", "port"),
        ("http://example.org", "http"),  # a key is never sent over plain http
    ],
)
def test_an_invalid_address_is_one_plain_error(cell, monkeypatch, target, message):
    monkeypatch.setenv("COMFLOWY_API_KEY", KEY)
    text = plain(cell(f"%comflowy connect {target}"))
    assert message in text
    assert "secret" not in text


def test_a_closed_port_is_one_plain_error(cell):
    assert "refused" in plain(cell(f"%comflowy connect http://127.0.0.1:{closed_port()}"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (html(), "web page"),
        (reply(b""), "empty response"),
        (reply({"success": False, "error": "closed for today"}), "closed for today"),
        (reply("oops", 500), "status 500"),
        (reply({}, 429, headers={"Retry-After": "900"}), "wait"),
    ],
)
def test_an_invalid_token_response_is_one_plain_error(cell, api, answer, message):
    api.on(TOKEN, answer)
    assert message in plain(cell(f"%comflowy connect {api.url}"))


@pytest.mark.parametrize(
    ("answer", "message", "sent"),
    [
        (html(), "it is not known whether", 1),
        (reply(b""), "it is not known whether", 1),
        (reply({"success": False, "error": "<b>no</b> credit"}), "credit", 1),
        (reply({"success": False, "error": "no such workflow"}, 404), "workflow", 1),
        (reply("oops", 500), "it is not known whether", 1),
        (reply({}, 429, headers={"Retry-After": "900"}), "wait", 1),
        (close_after_reading(), "it is not known whether", 1),
        (reply({"success": False, "error": "pay first"}, 402), "pay first", 1),
    ],
)
def test_a_failed_submit_is_never_repeated_automatically(connected, api, answer, message, sent):
    api.on(RUN, answer)
    assert message in plain(connected("%comflowy run wf-1 3::cfg=7"), api)
    assert api.count(RUN) == sent


def test_a_429_with_a_short_retry_after_is_retried(connected, api):
    good = reply({"success": True, "data": {"run_id": "x"}})
    api.on(RUN, reply({}, 429, headers={"Retry-After": "0.1"}), good)
    assert connected("%comflowy run wf-1").error is None
    assert api.count(RUN) == 2


def test_a_failed_run_names_the_node_and_its_html_is_escaped(connected, api):
    problem = {
        "node_id": "3",
        "node_type": "KSampler",
        "exception_message": "<script>alert(1)</script> out of memory",
        "exception_type": "OutOfMemoryError",
        "traceback": [],
    }
    import json

    api.finished = {"status": "failed", "error": json.dumps(problem)}
    cell = connected("%comflowy run wf-1")
    text = plain(cell, api)
    assert "node 3 (KSampler)" in text
    assert "out of memory" in text
    html = "".join(data["text/html"] for data in cell.last if "text/html" in data)
    assert "<script" not in html
    assert "out of memory" in html


def test_failed_checks_do_not_end_the_run(connected, api):
    from faulty_server import choose

    api.live_statuses = []
    good = choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])}))
    api.on(CHECK, html(), reply(b""), reply({"success": False}), reply("x", 500), close_after_reading(), good)
    cell = connected("%comflowy run wf-1")
    assert cell.error is None
    assert "success" in cell.last[0]["text/plain"]
    assert api.count(RUN) == 1


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/images/a.png", reply(png()[:60]), "missing"),
        ("/images/a.png", html(), "missing"),
        ("/images/a.png", reply(b"%!PS-Adobe EPSF"), "missing"),
        ("/images/a.png", reply(b"", 404), "missing"),
    ],
)
def test_an_unreadable_image_keeps_the_success_and_is_reported(connected, api, path, answer, message):
    api.on(f"GET {path}", answer)
    cell = connected("%comflowy run wf-1")
    assert cell.error is None
    assert cell.value.status == "success"
    assert message in cell.last[0]["text/plain"]
    assert "%comflowy show r1" in cell.last[0]["text/plain"]
    api.on(f"GET {path}", reply(png()))
    output = connected("%comflowy show r1")
    assert any("image/jpeg" in data for data in output.last)
    assert api.count(RUN) == 1


def test_a_huge_image_is_kept_and_the_status_explains_why_it_is_not_shown(connected, api):
    """The status reported a missing image, and `show` did not help: the file was deleted after its download."""
    settings.image_max_px = 100
    cell = connected("%comflowy run wf-1")
    assert cell.error is None
    assert "r1[0] is kept, without a thumbnail: it has 64 x 48 pixels" in cell.last[0]["text/plain"]
    assert cell.value.images[0].path.read_bytes() == png()
    fetched = api.count("GET /images/a.png")
    output = connected("%comflowy show r1")
    assert any("image/jpeg" in data for data in output.last)
    assert api.count("GET /images/a.png") == fetched


def test_an_image_at_a_file_url_is_not_fetched(connected, api, monkeypatch, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("black"))
    state = {"status": "success", "output_images": [f"file://{secret}"], "full_outputs": {}}
    api.on(CHECK, reply({"success": True, "data": state}))
    cell = connected("%comflowy run wf-1")
    assert cell.error is None
    assert "missing" in cell.last[0]["text/plain"]
    assert str(tmp_path) not in str(cell.last)


def test_a_full_disk_prevents_the_submit(connected, api, home):
    """A run that can't be recorded must not be submitted."""
    from comflowy_nb.library import open_library

    connected("%comflowy runs")
    for connection in open_library().history._store._idle:  # SQLite then raises the error of a full disk
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    text = plain(connected("%comflowy run wf-1 6::text=" + "x" * 60_000), api)
    assert "full" in text
    assert api.count(RUN) == 0


def test_an_unrecognised_status_is_shown_unchanged(connected, api):
    api.live_statuses = ["queued_for_gpu"] * 3
    cell = connected("%comflowy run wf-1")
    assert cell.error is None
    displayed = " ".join(output["data"]["text/plain"] for output in cell.sent)
    assert "queued_for_gpu" in displayed


def test_resume_shows_a_held_run_after_its_check(connected, api):
    """It still showed `lost`, and the image was only seen with another `show`: `resume` did not wait for the check."""
    api.live_statuses = []
    api.on(CHECK, reply({"success": False, "error": "no such run"}, 404))
    assert "is lost" in plain(connected("%comflowy run w 3::cfg=1"))
    again = connected("%comflowy resume last")
    assert again.error is None
    assert again.last[0]["text/plain"].startswith("r1 w - lost")
    checks = api.count(CHECK)
    api.on(CHECK, slow_check(api))
    found = connected("%comflowy resume last")
    assert found.last[0]["text/plain"].startswith("r1 w - success")
    assert "image/jpeg" in found.last[1]
    assert api.count(CHECK) > checks
    assert api.count(RUN) == 1


def test_a_failed_submit_shows_the_text_of_the_service(connected, api):
    """Only the status was shown, though the text says why: other requests show both."""
    api.on(RUN, reply({"success": False, "error": f"the queue is full for {KEY}"}, 500))
    assert "(test answered with status 500: the queue is full for ***)" in plain(connected("%comflowy run w 3::cfg=3"))


def test_the_next_command_can_be_run_on_a_service_that_needs_ids(connected):
    """It was `%comflowy run default` also where `default` has no id, which is an error."""
    assert "next: %comflowy workflow add NAME ID " in connected("%comflowy").last[0]["text/plain"]
    assert connected("%comflowy workflow add mine abc-1").error is None
    assert "next: %comflowy run mine " in connected("%comflowy").last[0]["text/plain"]


def test_a_success_does_not_say_that_the_service_reports_another_status(connected, api):
    """`success - test reports the status 'odd'` was shown, and stayed in the saved notebook."""
    api.live_statuses = ["odd"]
    line = connected("%comflowy run w 3::cfg=2").last[0]["text/plain"]
    assert " - success in " in line
    assert line.endswith("test reported an unknown status: 'odd'")


def test_an_id_for_the_cloud_in_the_catalogue(cell, handles, api, tmp_path, monkeypatch):
    """The error was `bottle has no id on cloud (it has one on cloud)`: only the address of the service was a key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "comflowy.yaml").write_text("workflows:\n  bottle:\n    ids: {cloud: abc-9}\n", encoding="utf-8")
    assert cell("%comflowy connect cloud").error is None
    assert cell("%comflowy run bottle 3::cfg=4").error is None
    assert api.requests(RUN)[-1].json["workflow_id"] == "abc-9"
    assert cell(f"%comflowy connect other={api.url}").error is None
    assert "bottle has no id on other (it has one on cloud)" in plain(cell("%comflowy run bottle 3::cfg=4"))
