"""`%comflowy webhooks` and `connect --webhooks`: the state, the test of the public address, and the advice."""

from __future__ import annotations

import json
import urllib.request

import pytest
from completing import completions_at
from faulty_server import close_after_reading, closed_port, html, no_response, redirect, reply
from waiting import wait_until

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.services.comflowy import webhook_round_trip
from comflowy_nb.services.comflowy.webhook_files import ServerNote, WebhookFiles
from comflowy_nb.settings import settings

ENABLE = "jupyter server extension enable comflowy_nb"


@pytest.fixture
def connected(cell, handles, api, monkeypatch):
    """Return the function that executes cells, connected to a scripted service named `studio`."""
    monkeypatch.setenv("COMFLOWY_API_KEY", "the-key")
    monkeypatch.setenv("COMFLOWY_URL", api.url)
    done = cell(f"%comflowy connect studio={api.url}")
    assert done.error is None
    return cell


@pytest.fixture
def enabled(home):
    """Write the file of a running Jupyter server with the prefix /user/ann/ and the extension."""
    files = WebhookFiles(home)
    lock = ProcessLock(files.folder)
    files.add_server(ServerNote("/user/ann/", lock.name))
    yield
    lock.release()


def text_of(cell, source="%comflowy webhooks"):
    done = cell(source)
    assert done.error is None, done.lines
    (shown,) = done.last
    assert "<" not in shown["text/plain"]
    return shown["text/plain"]


def test_on_this_machine_the_service_calls_the_kernel_directly(connected):
    text = text_of(connected)
    assert text.startswith(
        "webhooks: on, on this machine: studio calls this kernel directly\nevents of runs: none yet\n"
    )
    assert "test: an event arrived directly in 0." in text
    assert "what to do" not in text


def test_events_of_runs_are_counted_and_tests_are_not(connected, api, shell):
    api.live_statuses = ["running"] * 100_000
    shell.magics_manager.registry["Comflowy"].session.client.submit("wf-1", {"3::cfg": 1})
    url = api.wait_for("POST /api/open/v0/run")[0].json["callback_urls"]["on_progress_event_url"]
    for body in (b'{"type": "running"}', b'{"type": "message", "payload": "x"}', b'{"type": "odd"}'):
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=60).close()
    text_of(connected)
    assert "events of runs: 3 (1 running, 1 message, 1 unknown), the newest " in text_of(connected)


def test_the_command_and_the_option_are_completed(shell):
    assert completions_at(shell, "%comflowy ", "webh") == ["webhooks"]
    assert completions_at(shell, "%comflowy connect cloud ", "--w") == ["--webhooks"]


def test_without_a_connection_the_command_shows_how_to_connect(cell, handles, monkeypatch):
    assert "%comflowy connect cloud --webhooks https://..." in text_of(cell)
    cell("%config Comflowy.callback_url = 'https://hub.example.org/user/ann/'")
    assert "through https://hub.example.org/user/ann/comflowy/hooks/***" in text_of(cell)
    settings.reset()
    monkeypatch.setenv("COMFLOWY_CALLBACK_URL", "hub.example.org")
    assert "COMFLOWY_CALLBACK_URL must be an http or https address" in text_of(cell)


def test_webhooks_that_are_off_are_explained(connected, shell):
    cell = connected
    cell("%config Comflowy.webhooks = 'off'")
    assert text_of(cell) == "webhooks: off, by a setting: %config Comflowy.webhooks = 'auto'"
    cell("%config Comflowy.webhooks = 'auto'")
    shell.magics_manager.registry["Comflowy"].session.client.service.on_loopback = False
    text = text_of(cell)
    assert "studio can't reach this kernel without a public address" in text
    assert "%comflowy connect studio --webhooks https://" in text
    assert ENABLE in text


def test_an_address_of_a_server_is_not_shown(connected, api, shell):
    """A saved notebook contains names of services, never their addresses."""
    connected(f"%comflowy connect {api.url}")
    shell.magics_manager.registry["Comflowy"].session.client.service.on_loopback = False
    text = text_of(connected)
    assert "%comflowy connect URL --webhooks https://hub.example.org/user/ann" in text
    assert api.url not in text


def test_a_comfyui_server_needs_no_webhooks(cell, handles, comfy):
    cell(f"%comflowy connect home={comfy.url}")
    assert text_of(cell) == "home reports progress through its own socket, and needs no webhooks"
    error = cell(f"%comflowy connect home={comfy.url} --webhooks https://hub.example.org").error
    assert str(error).endswith("leave out --webhooks")


@pytest.mark.parametrize(
    "address", ["hub.example.org", "https://ann:s3cret@hub.example.org", "https://x.org/?a=s3cret"]
)
def test_an_invalid_public_address_is_an_error_without_its_password(connected, address, caplog):
    error = connected(f"%comflowy connect sandbox --webhooks {address}").error
    assert "--webhooks must be an " in str(error)
    connected(f"%config Comflowy.callback_url = '{address}'")  # IPython logs the error
    assert "callback_url must be an " in caplog.text
    assert "s3cret" not in f"{error} {caplog.text}"
    assert settings.callback_url is None


def test_connecting_with_a_public_address_tests_it(connected, api, faulty):
    faulty.on("POST /*", html(404))
    text = text_of(connected, f"%comflowy connect studio --webhooks {faulty.url}")
    assert "webhooks: no event arrived: the address answered with status 404 after " in text
    assert "; runs are polled: %comflowy webhooks says what to do" in text
    (request,) = faulty.requests()
    assert request.path.startswith("/comflowy/hooks/")
    assert request.path.rpartition("/")[2] not in text


def test_a_tunnel_to_the_receiver_needs_no_jupyter_server(connected, api):
    """The prefix of the address does not matter, because a tunnel may keep or remove it."""
    port = closed_port()
    connected(f"%config Comflowy.callback_port = {port}")
    text = text_of(connected, f"%comflowy connect studio --webhooks http://localhost:{port}/any/prefix")
    assert "webhooks: an event arrived directly in " in text
    assert f"receiver: listens at port {port} of this machine" in text_of(connected)


def test_a_port_that_is_in_use_is_explained_and_runs_are_polled(connected, api, faulty):
    connected(f"%config Comflowy.callback_port = {faulty.port}")
    text = text_of(connected, f"%comflowy connect studio --webhooks {faulty.url}")
    assert f"webhooks: off - the webhook receiver can't start at the port {faulty.port} of callback_port" in text
    assert f"the port {faulty.port} of callback_port: Address already in use" in text_of(connected)
    api.live_statuses = []
    run = connected("r = %comflowy run wf-1 3::cfg=1")
    assert run.error is None
    assert api.requests("POST /api/open/v0/run")[0].json["callback_urls"] == {}


@pytest.mark.parametrize(
    ("answer", "result", "advice"),
    [
        (html(404), "status 404", ENABLE),
        (html(403), "status 403", ENABLE),
        (redirect("https://hub.example.org/login"), "status 302", ENABLE),
        (html(200), "status 200", ENABLE),
        (html(502), "status 502", "does the Jupyter server run there?"),
        (html(503), "status 503", "does the Jupyter server run there?"),
        (reply(b"", 429), "status 429", "try again in a few seconds"),
        (close_after_reading(), "the connection broke", "a firewall lets requests through"),
    ],
)
def test_advice_without_the_server_extension(connected, faulty, answer, result, advice):
    faulty.on("POST /*", answer)
    connected(f"%config Comflowy.callback_url = '{faulty.url}'")
    text = text_of(connected)
    assert f"webhooks: on, through {faulty.url}/comflowy/hooks/***" in text
    assert "server extension: not enabled" in text
    assert "test: no event arrived: " in text
    assert result in text
    assert advice in text.partition("what to do:")[2]


@pytest.mark.usefixtures("enabled")
@pytest.mark.parametrize(
    ("path", "answer", "advice"),
    [
        ("/user/ann", html(403), "without a login, for this path only: /user/ann/comflowy/hooks/"),
        ("/user/ann", redirect("/hub/login"), "A login page answers instead of the Jupyter server."),
        ("/user/ann", html(401), "A login page answers instead of the Jupyter server."),
        ("/user/ann", html(404), "the proxy changes the path"),
        ("/user/ann", html(200), "Another server answers at this address"),
        ("/user/ann/lab", html(404), "the Jupyter server has /user/ann/, the address ends in /user/ann/lab/"),
        ("", redirect("/hub/login"), "the Jupyter server has /user/ann/, the address ends in /"),
    ],
)  # fmt: skip
def test_advice_with_the_server_extension(connected, faulty, path, answer, advice):
    faulty.on("POST /*", answer)
    connected(f"%config Comflowy.callback_url = '{faulty.url}{path}'")
    text = text_of(connected)
    assert "server extension: enabled at the Jupyter server with the prefix /user/ann/" in text
    assert advice in text.partition("what to do:")[2]
    if "the address ends in" in advice:
        assert "The prefix is wrong" in text
        assert f"%config Comflowy.callback_url = '{faulty.url}/user/ann'" in text
        connected(f"%comflowy connect studio --webhooks {faulty.url}{path}")
        assert f"%comflowy connect studio --webhooks {faulty.url}/user/ann" in text_of(connected)


def test_a_prefix_that_the_jupyter_server_does_not_have_is_named(connected, faulty, home):
    """The Jupyter server without a prefix answers 403, as a login page does."""
    files = WebhookFiles(home)
    lock = ProcessLock(files.folder)
    files.add_server(ServerNote("/", lock.name))
    faulty.on("POST /*", html(403))
    connected(f"%config Comflowy.callback_url = '{faulty.url}/user/ann'")
    text = text_of(connected)
    lock.release()
    assert "the address ends in /user/ann/. Leave that out, unless a proxy removes it" in text
    assert f"%config Comflowy.callback_url = '{faulty.url}'" in text


def test_advice_if_nothing_listens(connected):
    connected(f"%config Comflowy.callback_url = 'http://127.0.0.1:{closed_port()}'")
    text = text_of(connected)
    assert "no event arrived: connection refused" in text
    assert "Nothing listens at the address: start the proxy or the tunnel" in text


def test_advice_if_nothing_answers(connected, faulty, monkeypatch):
    monkeypatch.setattr(webhook_round_trip, "TIMEOUT_S", 0.5)
    faulty.on("POST /*", no_response())
    connected(f"%config Comflowy.callback_url = '{faulty.url}'")
    text = text_of(connected)
    assert "no event arrived, and nothing answered within " in text
    assert "only a run shows whether events arrive" in text


def test_advice_if_the_certificate_is_not_trusted(connected, authority):
    from faulty_server import FaultyServer

    with FaultyServer(tls=authority.server("localhost")) as server:
        connected(f"%config Comflowy.callback_url = 'https://localhost:{server.port}'")
        text = text_of(connected)
    assert "its certificate is not trusted" in text
    assert "REQUESTS_CA_BUNDLE" in text


def test_advice_if_the_address_is_not_https(connected, faulty):
    connected(f"%config Comflowy.callback_url = 'https://127.0.0.1:{faulty.port}'")
    assert "TLS failed: check whether the address is http or https" in text_of(connected)


@pytest.mark.slow
def test_a_public_address_that_the_sandbox_cannot_call_is_not_used(sandbox, cell):
    cell("%config Comflowy.callback_url = 'https://hub.example.org/user/ann'")
    text = text_of(cell)
    assert "sandbox calls this kernel directly" in text
    assert "the public address is not used: the sandbox calls this machine only" in text
    assert "hub.example.org" not in json.dumps(text)
    wait_until(lambda: "an event arrived directly" in text_of(cell))
