"""The server extension at a real Jupyter server: what it passes to a kernel, and everything that it rejects."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from jupyter_server_process import TOKEN, running_server
from waiting import wait_until

import comflowy_nb
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.server_extension import log_counts
from comflowy_nb.services.comflowy.webhook_files import Registration, WebhookFiles
from comflowy_nb.services.comflowy.webhook_handler import MAX_BURST, MAX_EVENT_BYTES, digest_of, new_secret
from comflowy_nb.services.comflowy.webhook_round_trip import try_round_trip
from comflowy_nb.services.comflowy.webhooks import Receiver

pytest.importorskip("jupyter_server")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory):
    return tmp_path_factory.mktemp("server") / "home"


@pytest.fixture(scope="module")
def server(shared_home):
    with running_server(shared_home.parent, shared_home) as running:
        yield running


@pytest.fixture
def events():
    return []


@pytest.fixture
def receiver(server, shared_home, events):
    """Start a receiver in this process, as a kernel does."""
    owner = ProcessLock(shared_home / "locks")
    receiver = Receiver(events.append, public_url=server.url, files=WebhookFiles(shared_home), owner=owner.name)
    yield receiver
    receiver.close()
    owner.release()


def secret_of(receiver, token="t1"):
    return receiver.urls(token)["on_result_url"].rpartition("/")[2]


def test_events_reach_the_kernel_without_login_cookie_and_xsrf_token(server, receiver, events):
    assert server.post(receiver.urls("t1")["on_result_url"], b'{"type": "success", "run_id": 7}') == 204
    wait_until(lambda: events)
    assert (events[0].token, events[0].kind, events[0].service_run_id) == ("t1", "success", "7")
    assert dict(receiver.via) == {"server extension": 1}
    status, headers, body = server.request("POST", f"/comflowy/hooks/{secret_of(receiver)}", b"{}")
    assert (status, body) == (204, b"")
    assert not {name.lower() for name in headers} & {"set-cookie", "location", "www-authenticate", "server"}


def test_everything_else_gets_404_without_a_body(server, receiver, events):
    secret = secret_of(receiver)
    assert server.request("POST", "/comflowy/hooks/" + secret, b"{}", {"Origin": "http://evil.example"})[0] == 404
    assert server.request("POST", "/comflowy/hooks/" + secret, b"{}", {"Origin": "null"})[0] == 404
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, body = server.request(method, "/comflowy/hooks/" + secret)
        assert (status, body) == (404, b""), method
        assert "Allow" not in headers
    shapes = ("", "/", "/x", f"/{secret[:-1]}", f"/{secret}x", f"/{secret}/x", "/%FF", "/../../api", "/" + "a" * 8000)
    for shape in shapes:
        status, _, body = server.request("POST", "/comflowy/hooks" + shape, b"{}")
        assert (status, body) == (404, b""), shape
    receiver.forget("t1")
    assert server.request("POST", "/comflowy/hooks/" + secret, b"{}")[0] == 404
    assert events == []


def test_the_other_routes_of_the_server_still_require_a_login(server, receiver):
    for path in ("/api/contents", "/api/kernels", "/files/server.log", "/comflowy/hooksx", "/comflowy"):
        status, _, _ = server.request("POST", path, b"{}", {"Cookie": "a=b"})
        assert status in {302, 403, 404, 405}, path
    assert server.request("GET", "/api/contents")[0] == 403
    # the secret of a run is not a login
    assert server.request("GET", f"/api/contents?token={secret_of(receiver)}")[0] == 403
    assert server.request("GET", f"/api/contents?token={TOKEN}")[0] == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_an_object_is_rejected(server, receiver, events, body):
    assert server.post(receiver.urls("t1")["on_result_url"], body) == 400
    assert events == []


def test_a_body_that_is_too_large_is_rejected_before_it_is_read(server, receiver, events):
    url = receiver.urls("t1")["on_result_url"]
    assert server.post(url, b'{"type": "success", "x": "' + b"x" * (MAX_EVENT_BYTES - 100) + b'"}') == 204
    wait_until(lambda: len(events) == 1)
    try:
        status = server.post(url, b"x" * (8 * MAX_EVENT_BYTES))
    except ConnectionError:  # it closes the connection, because it does not read the body
        status = 413
    assert status in {400, 413}
    chunks = iter([b'{"a": "'] + [b"x" * 65536] * 40 + [b'"}'])
    try:
        status = server.request("POST", "/comflowy/hooks/" + secret_of(receiver), chunks)[0]
    except ConnectionError:
        status = 400
    assert status == 400
    assert len(events) == 1


def test_too_many_events_of_a_run_are_rejected(server, receiver, events):
    url = receiver.urls("t1")["on_result_url"]
    statuses = [server.post(url) for _ in range(int(MAX_BURST) * 3)]
    assert 429 in statuses
    assert set(statuses) == {204, 429}
    assert server.post(receiver.urls("t2")["on_result_url"]) == 204


def test_ten_thousand_forged_calls_hold_little_memory_and_do_not_stop_events(server, receiver, events):
    process = psutil.Process(server.process.pid)
    process.memory_info()
    before, largest = process.memory_info().rss, 0
    url = receiver.urls("t1")["on_result_url"]
    body = b"x" * 20_000

    def forge(number):
        return server.request("POST", f"/comflowy/hooks/{new_secret()}", body if number % 2 else b"x" * 300_000)[0]

    with ThreadPoolExecutor(8) as pool:
        for number, status in enumerate(pool.map(forge, range(10_000))):
            assert status == 404
            if number % 250 == 0:
                largest = max(largest, process.memory_info().rss - before)
                assert server.post(url) == 204
    print(f"{largest / 1024**2:.1f} MiB")
    assert largest < 50 * 1024**2
    wait_until(lambda: len(events) == 40)


def test_slow_senders_do_not_block_other_events(server, receiver, events):
    """The server receives only a few events at the same time, and a slow sender could use all of these slots."""
    import socket

    url = receiver.urls("t1")["on_result_url"]
    port, path = int(url.split(":")[2].split("/")[0]), "/" + url.split("/", 3)[3]
    senders = []
    for _ in range(20):
        sender = socket.create_connection(("127.0.0.1", port), timeout=60)
        sender.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{".encode())
        senders.append(sender)
    other = receiver.urls("t2")["on_result_url"]
    wait_until(lambda: server.post(other) == 204, 30)
    for sender in senders:
        sender.close()


def test_the_log_contains_counts_and_no_path(server, receiver, shared_home):
    for name in ("t1", "t2"):
        server.post(receiver.urls(name)["on_result_url"])
        server.post(receiver.urls(name)["on_result_url"], b"[")
    server.request("POST", "/comflowy/hooks/forged-secret-of-a-run", b"{}")
    server.request("GET", f"/comflowy/hooks/{secret_of(receiver)}")
    server.request("GET", "/api/status")  # is logged after them
    wait_until(lambda: "/api/status" in server.log.read_text())
    text = server.log.read_text()
    assert "comflowy_nb: webhooks are accepted below /user/ann/comflowy/hooks/" in text
    assert "forged-secret" not in text
    assert "WebhookHandler registered" not in text, "a warning about an extension that requires no login"
    assert str(shared_home) not in "".join(line for line in text.splitlines() if "comflowy_nb:" in line)
    for name in ("t1", "t2"):
        assert secret_of(receiver, name) not in text


def test_the_file_of_a_dead_kernel_is_deleted_and_its_events_go_nowhere(server, shared_home, events):
    """The port of a dead kernel may belong to another program."""
    files, secret = WebhookFiles(shared_home), new_secret()
    other = Receiver(events.append)
    owner = ProcessLock(shared_home / "locks")
    owner.release()
    files.register(digest_of(secret), Registration(other.port, owner.name))
    try:
        assert server.request("POST", f"/comflowy/hooks/{secret}", b"{}")[0] == 404
        assert files.find(digest_of(secret)) is None
        assert not other.counts
    finally:
        other.close()


def test_an_event_for_a_kernel_that_is_stopped_may_be_repeated(server, shared_home):
    code = """
import sys
from pathlib import Path
from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.services.comflowy.webhook_files import WebhookFiles
from comflowy_nb.services.comflowy.webhooks import Receiver
home = Path(sys.argv[1])
owner = ProcessLock(home / "locks")
receiver = Receiver(print, public_url=sys.argv[2], files=WebhookFiles(home), owner=owner.name)
print(receiver.urls("t")["on_result_url"], flush=True)
sys.stdin.read()
"""
    kernel = subprocess.Popen(
        [sys.executable, "-c", code, str(shared_home), server.url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = kernel.stdout.readline().strip()
        kernel.send_signal(signal.SIGSTOP)
        try:
            assert server.post(url) == 503
        finally:
            kernel.send_signal(signal.SIGCONT)
        assert server.post(url) == 204
        kernel.kill()
        kernel.wait()

        # More than 20 events a second are rejected with 429.
        wait_until(lambda: server.post(url) == 404, interval_s=0.1)
    finally:
        kernel.kill()
        kernel.communicate()


def test_two_servers_and_two_kernels_do_not_mix_their_events(server, receiver, shared_home, events, tmp_path):
    other_home, other_events = tmp_path / "home", []
    owner = ProcessLock(other_home / "locks")
    with running_server(tmp_path, other_home, prefix="/") as other:
        files = WebhookFiles(other_home)
        elsewhere = Receiver(other_events.append, public_url=other.url, files=files, owner=owner.name)
        second = Receiver(events.append, public_url=other.url, files=WebhookFiles(shared_home), owner=owner.name)
        try:
            assert try_round_trip(elsewhere).via == "server extension"
            assert try_round_trip(receiver).via == "server extension"
            foreign = try_round_trip(second)  # registered in the home folder of the first server only
            assert (foreign.via, foreign.response.status) == (None, 404)
            for number in range(4):
                assert server.post(receiver.urls(f"a{number}")["on_result_url"]) == 204
                assert other.post(elsewhere.urls(f"b{number}")["on_result_url"]) == 204
            wait_until(lambda: len(events) == len(other_events) == 4)
            assert [event.token for event in events] == ["a0", "a1", "a2", "a3"]
            assert [event.token for event in other_events] == ["b0", "b1", "b2", "b3"]
        finally:
            elsewhere.close()
            second.close()
            owner.release()


def test_several_servers_of_one_home_folder_serve_the_same_kernel(server, receiver, shared_home, tmp_path):
    with running_server(tmp_path, shared_home, prefix="/second/") as second:
        notes = WebhookFiles(shared_home).servers(lambda _: True)
        assert {note.base_url for note in notes} >= {"/user/ann/", "/second/"}
        url = receiver.urls("t1")["on_result_url"]
        assert server.post(url) == 204
        assert second.request("POST", f"/comflowy/hooks/{secret_of(receiver)}", b"{}")[0] == 204


def test_the_route_does_not_exist_until_the_extension_is_enabled(shared_home, tmp_path):
    with running_server(tmp_path, shared_home, is_enabled=False) as plain:
        status, _, body = plain.request("POST", f"/comflowy/hooks/{new_secret()}", b"{}")
        assert status in {302, 403, 404}
        assert body != b""


def test_enable_command_accepts_the_package_and_an_update_keeps_the_choice(tmp_path):
    """Jupyter's command accepts only listed names, so the wheel lists the extension, as disabled."""
    folder = tmp_path / "jupyter_server_config.d"
    folder.mkdir()
    listed = ROOT / "jupyter-config" / "comflowy_nb-disabled.json"
    shutil.copy(listed, folder)
    assert json.loads(listed.read_text()) == {"ServerApp": {"jpserver_extensions": {"comflowy_nb": False}}}
    code = (
        "import sys; from jupyter_server.extension import serverextension as s; s.ENV_CONFIG_PATH[:] = [sys.argv[1]]; "
        "s.EnableServerExtensionApp.launch_instance(['comflowy_nb'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "successfully enabled" in done.stderr + done.stdout
    shutil.copy(listed, folder)  # an update of the package
    from jupyter_server.extension.config import ExtensionConfigManager

    manager = ExtensionConfigManager(read_config_path=[str(tmp_path)], write_config_dir=str(folder))
    assert manager.get_jpserver_extensions() == {"comflowy_nb": True}


def test_without_jupyter_server_the_module_loads_and_the_error_names_the_missing_package():
    code = (
        "import sys; sys.modules['jupyter_server'] = None\n"
        "import comflowy_nb.server_extension as extension\n"
        "from types import SimpleNamespace as N\n"
        "web = N(settings={'base_url': '/'}, add_handlers=print)\n"
        "log = N(info=print, warning=print)\n"
        "try: extension._load_jupyter_server_extension(N(web_app=web, log=log))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == (
        "ComflowyError the server extension needs Jupyter Server, which is not installed here: "
        "pip install jupyter_server"
    ), done.stderr


def test_the_package_names_the_module_of_its_extension():
    assert comflowy_nb._jupyter_server_extension_points() == [{"module": "comflowy_nb.server_extension"}]


def test_concurrent_kernels_register_and_forget_runs_while_events_arrive(server, receiver, events):
    """A file that was half written, or deleted during a request, must not fail a request."""
    problems = []

    def churn(name):
        for number in range(100):
            url = receiver.urls(f"{name}{number}")["on_result_url"]
            if server.post(url) != 204:
                problems.append(f"{name}{number}")
            receiver.forget(f"{name}{number}")

    threads = [threading.Thread(target=churn, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_the_counts_are_logged_when_they_have_changed():
    logged, scheduled = [], []
    gate = SimpleNamespace(counts=Counter())
    log = SimpleNamespace(info=lambda text, *values: logged.append(text % values))
    loop = SimpleNamespace(
        call_later=lambda seconds, function, *arguments: scheduled.append((seconds, function, arguments))
    )
    log_counts(gate, log, loop, {})
    gate.counts.update({"accepted": 3, "rejected": 1})
    for _ in range(2):
        seconds, function, arguments = scheduled.pop()
        function(*arguments)
    assert logged == ["comflowy_nb: webhooks since the start: 3 accepted, 1 rejected, 0 limited"]
    assert seconds >= 60
