"""The API over HTTP: the example of the API page, rejected requests, and routes that only the sandbox has."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import stat
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

# The example of the API page, in JSON.
EXAMPLE = """{
    "workflow_id": "test_workflow_id",
    "params": {
        "3::sampler_name": "euler",
        "6::text": "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"
    },
    "callback_urls": {
        "on_result_url": "test_url",
        "on_progress_event_url": "test_url"
    }
}"""
QUICK = {"3::steps": 1, "5::width": 64, "5::height": 64}


def get_image(url):
    answer = requests.get(url, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    return answer.content


def test_example_of_the_api_page_runs_as_printed(sandbox):
    answer = sandbox.post("run", data=EXAMPLE)
    assert answer.status_code == 200
    assert answer.json()["success"] is True
    data = sandbox.await_status(answer.json()["data"]["run_id"], "success")
    assert set(data) == {"status", "output_images", "full_outputs"}
    assert data["full_outputs"] == {"9": {"images": data["output_images"]}}
    (url,) = data["output_images"]
    image = Image.open(io.BytesIO(get_image(url)))
    assert image.size == (512, 512)
    assert json.loads(image.text["prompt"])["6"]["inputs"]["text"].startswith("beautiful scenery nature glass bottle")


@pytest.mark.parametrize("head", [b"", b"GET /api/open/v0/ping HTTP/1.1\r\n", b"GET /api/open/v0/ping HTTP/1.1\r\nX: "])
def test_connections_without_a_complete_header_are_closed(sandbox, head):
    """Fifteen slow sockets stayed open for ten minutes: the header time limit was that of idle connections."""
    host, port = urlsplit(sandbox.url).netloc.split(":")
    begun_s = time.monotonic()
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(15)]
    try:
        for connection in slow:
            connection.sendall(head)
        sandbox.session.close()  # the server closes connections that were idle for 5 s, too
        assert sandbox.request("GET", "/api/open/v0/auth/token", token=False, params={"ppt": sandbox.key}).ok
        assert [connection.recv(1) for connection in slow] == [b""] * 15
        assert time.monotonic() - begun_s < 30
    finally:
        for connection in slow:
            connection.close()
        sandbox.session.close()  # its connection is idle for so long that the server closes it


def test_token_response_contains_only_the_token(sandbox):
    answer = sandbox.request("GET", "/api/open/v0/auth/token", token=False, params={"ppt": sandbox.key})
    assert list(answer.json()) == ["access_token"]


@pytest.mark.parametrize("words", [{}, {"ppt": ""}, {"ppt": "wrong"}, {"ppt": "wröng 😀"}])
def test_wrong_key_gets_no_token(sandbox, words):
    answer = sandbox.request("GET", "/api/open/v0/auth/token", token=False, params=words)
    assert answer.status_code == 401
    assert answer.json() == {"success": False, "error": "the API key is missing or wrong"}


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic YTpi", "Bearer", "wrong"])
@pytest.mark.parametrize("path", ["run", "check?id=x", "cancel?id=x", "../../../upload/image"])
def test_requests_without_a_valid_token_are_rejected(sandbox, path, authorization):
    answer = sandbox.post(
        path, token=False, headers={"Authorization": authorization} if authorization else {}, data="{}"
    )
    assert answer.status_code == 401
    assert answer.json()["success"] is False


def test_the_key_is_not_accepted_as_a_token(sandbox):
    answer = sandbox.post("run", token=False, headers={"Authorization": f"Bearer {sandbox.key}"}, data=EXAMPLE)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"workflow_id": "default", "params": {"3::cfg": NaN}}', "not JSON"),
        ("[]", "JSON object"),
        ('"default"', "JSON object"),
        ("{}", "workflow_id"),
        ('{"workflow_id": 7}', "workflow_id"),
        ('{"workflow_id": "default", "params": []}', "params"),
        ('{"workflow_id": "default", "callback_urls": "test_url"}', "callback_urls"),
        ('{"workflow_id": "default", "callback_urls": {"on_result_url": 7}}', "callback_urls"),
    ],
)
def test_a_malformed_run_is_rejected_with_a_message(sandbox, body, words):
    answer = sandbox.post("run", data=body)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert words in answer.json()["error"]


@pytest.mark.parametrize("rest", [{}, {"params": None, "callback_urls": None}, {"unknown": [1]}])
def test_omitted_parts_of_a_run_count_as_empty(sandbox, rest):
    answer = sandbox.post("run", json={"workflow_id": "default", **rest})
    assert answer.status_code == 200
    sandbox.post("cancel", params={"id": answer.json()["data"]["run_id"]})


def test_the_error_for_an_unknown_workflow_lists_the_known_ones(sandbox):
    answer = sandbox.post("run", json={"workflow_id": "defualt", "params": {}})
    assert answer.status_code == 404
    assert "default" in answer.json()["error"]


@pytest.mark.parametrize("path", ["check", "cancel"])
def test_unknown_run_is_not_found(sandbox, path):
    assert sandbox.post(path, params={"id": "unknown"}).status_code == 404
    assert sandbox.post(path).status_code == 400


def test_errors_for_an_unknown_route_and_a_wrong_method_are_json(sandbox):
    assert sandbox.request("GET", "/nowhere").status_code == 404
    answer = sandbox.request("GET", "/api/open/v0/check?id=x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json() == {"success": False, "error": "method not allowed"}


def test_a_large_body_is_rejected_with_a_message(sandbox):
    answer = sandbox.post("run", json={"workflow_id": "default", "params": {"6::text": "x" * 1024 * 1024}})
    assert answer.status_code == 413
    assert "1 MiB" in answer.json()["error"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80"])
def test_a_foreign_host_name_that_resolves_to_loopback_is_rejected(sandbox, host):
    """A website can resolve its name to 127.0.0.1 (DNS rebinding); the Host header then contains that name."""
    answer = sandbox.request("GET", f"/api/open/v0/auth/token?ppt={sandbox.key}", token=False, headers={"Host": host})
    assert answer.status_code == 403
    assert "access_token" not in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_requests_of_another_origin_are_rejected(sandbox, origin):
    answer = sandbox.post("run", data=EXAMPLE, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_requests_to_localhost_get_image_urls_at_localhost(sandbox):
    run_id = sandbox.run(QUICK)
    sandbox.await_status(run_id, "success")
    port = sandbox.url.rpartition(":")[2]
    headers = {"Authorization": f"Bearer {sandbox.token}", "Origin": f"http://localhost:{port}"}
    url = f"http://localhost:{port}/api/open/v0/check?id={run_id}"
    data = requests.post(url, headers=headers, timeout=60).json()["data"]
    assert data["output_images"][0].startswith(f"http://localhost:{port}/images/")


def test_an_image_url_supports_head_requests_and_cannot_be_guessed(sandbox):
    run_id = sandbox.run(QUICK)
    (url,) = sandbox.await_status(run_id, "success")["output_images"]
    content = get_image(url)
    head = requests.head(url, timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(content)))
    base, _, name = url.rpartition("/")
    for other in (f"{run_id}_0.png", f"{'x' * (len(name) - 4)}.png", "../runs.sqlite", "..%2f..%2faddress.json"):
        assert requests.get(f"{base}/{other}", timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"3::no_such": 1}, "no_such"),
        ({"77::cfg": 1}, "77"),
        ({"3::sampler_name": "nope"}, "nope"),
        ({"3::steps": "many"}, "many"),
        ({"3::cfg": -1}, "cfg"),
    ],
)
def test_invalid_params_fail_with_an_error_in_comfyui_format(sandbox, params, words):
    data = sandbox.await_status(sandbox.run({**QUICK, **params}), "failed")
    assert data["output_images"] == []
    assert data["full_outputs"] == {}
    error = json.loads(data["error"])
    assert set(error) == {"error", "node_errors"}
    assert set(error["error"]) == {"type", "message", "details", "extra_info"}
    assert words in data["error"]


def test_workflows_are_published_with_their_fields(sandbox):
    workflows = sandbox.request("GET", "/api/open/v0/workflows").json()["data"]
    assert {"id": "default", "name": "default"} in workflows
    answer = sandbox.request("GET", "/api/open/v0/workflows/default").json()["data"]
    kind, options = answer["fields"]["3::cfg"]
    assert (kind, options["default"]) == ("FLOAT", 8)
    choices, options = answer["fields"]["3::sampler_name"]
    assert options["default"] == "euler"
    assert "dpmpp_2m" in choices
    assert "3::model" not in answer["fields"]
    assert answer["nodes"]["3"] == {"title": "KSampler", "class_type": "KSampler"}
    assert sandbox.request("GET", "/api/open/v0/workflows/nope").status_code == 404


def test_every_published_workflow_runs_with_its_defaults(sandbox):
    for name in [each["id"] for each in sandbox.request("GET", "/api/open/v0/workflows").json()["data"]]:
        fields = sandbox.request("GET", f"/api/open/v0/workflows/{name}").json()["data"]["fields"]
        params = {field: spec[1]["default"] for field, spec in fields.items()}
        sandbox.await_status(sandbox.run(params, workflow=name), "success")


def png(color, size=(64, 48)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def upload(sandbox, name, content, **form):
    return sandbox.request("POST", "/upload/image", files={"image": (name, content)}, data=form)


def test_uploaded_image_is_the_input_of_a_run(sandbox):
    content = png("red")
    answer = upload(sandbox, "../../../evil.png", content).json()
    assert (answer["subfolder"], answer["type"]) == ("", "input")
    stored = sandbox.home / "sandbox" / "inputs" / answer["name"]
    assert stored.read_bytes() == content
    assert upload(sandbox, "other.png", content).json() == answer
    assert upload(sandbox, "other.png", png("blue")).json() != answer
    fields = sandbox.request("GET", "/api/open/v0/workflows/img2img").json()["data"]["fields"]
    (field,) = [name for name, spec in fields.items() if spec[1].get("image_upload")]
    steps = next(name for name in fields if name.endswith("::steps"))
    for params in ({field: answer["name"]}, {field: "../address.json"}):
        expected = "failed" if ".." in params[field] else "success"
        sandbox.await_status(sandbox.run({**params, steps: 2}, workflow="img2img"), expected)


def test_an_upload_without_an_image_is_rejected(sandbox):
    assert sandbox.request("POST", "/upload/image", data={"type": "input"}).status_code == 400
    assert upload(sandbox, "a.png", b"").status_code == 400
    assert upload(sandbox, "a.png", png("red"), subfolder="..").status_code == 400
    assert upload(sandbox, "a.png", png("red"), type="output").status_code == 400
    inside = {path.name for path in (sandbox.home / "sandbox").iterdir()}
    assert "a.png" not in inside
    answer = upload(sandbox, "a.png", b"x" * (32 * 1024 * 1024 + 1))
    assert (answer.status_code, "32 MiB" in answer.json()["error"]) == (413, True)


def test_ping_proves_the_key_without_showing_it(sandbox):
    first = sandbox.request("GET", "/api/open/v0/ping?nonce=a", token=False)
    second = sandbox.request("GET", "/api/open/v0/ping?nonce=b", token=False)
    assert first.json()["data"]["proof"] != second.json()["data"]["proof"]
    assert sandbox.key not in first.text
    assert first.json()["data"]["pid"] == sandbox.process.pid


def test_key_is_in_one_private_file_only(sandbox):
    sandbox.request("GET", f"/api/open/v0/auth/token?ppt={sandbox.key}&x=%ff", token=False)
    note = sandbox.home / "sandbox" / "address.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert stat.S_IMODE(note.parent.stat().st_mode) == 0o700
    output = sandbox.output.read_text()
    assert str(note) in output
    holders = [path for path in sandbox.home.rglob("*") if path.is_file() and sandbox.key.encode() in path.read_bytes()]
    assert holders == [note]
    command_lines = " ".join(argument for process in sandbox.processes() for argument in process.cmdline())
    assert sandbox.key not in command_lines


def test_same_params_give_the_same_image_on_any_worker(sandbox):
    runs = [sandbox.run({**QUICK, "3::seed": 2**64 - 1, "3::steps": 3}) for _ in range(4)]
    urls = [sandbox.await_status(run_id, "success")["output_images"][0] for run_id in runs]
    assert len(set(urls)) == 4
    assert len({hashlib.sha256(get_image(url)).hexdigest() for url in urls}) == 1


def test_server_starts_without_numpy():
    """The server starts quickly because only its workers load numpy and Pillow."""
    code = "import sys, comflowy_nb.sandbox.server.server; print(sorted({'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_folders_become_private_and_partial_files_are_removed(home, start):
    """A sandbox kept its key in a folder with mode 0777, and partial files of a killed sandbox were never removed."""
    for folder in (home, home / "sandbox"):
        folder.mkdir()
        folder.chmod(0o777)
    parts = [home / "sandbox" / "address.0123.part", home / "sandbox" / "inputs" / "a.png.0123.part"]
    for part in parts:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"half")
    start()
    for folder in (home, home / "sandbox"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [part for part in parts if part.exists()] == []
