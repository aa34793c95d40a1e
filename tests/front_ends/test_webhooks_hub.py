"""Webhooks at a real JupyterHub: its proxy, a server with the prefix of a user, a kernel, and the sandbox as service.

Needs the packages `jupyterhub` and, from npm, `configurable-http-proxy`, on the path or in `node_modules`.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_server_process import isolated_environment
from nbclient import NotebookClient
from ports import free_port
from waiting import end_process, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
CONFIG = """
import os, sys
c = get_config()
c.JupyterHub.bind_url = {public!r}
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{root}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{root}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{root}/home-of-{{username}}"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--ServerApp.jpserver_extensions=comflowy_nb=True"]
c.Spawner.environment = {{name: os.environ[name] for name in os.environ if name.startswith(("COMFLOWY_", "JUPYTER_"))}}
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers"]}}]
"""


def proxy_path():
    found = shutil.which("configurable-http-proxy")
    local = ROOT / "node_modules" / ".bin" / "configurable-http-proxy"
    return found or (str(local) if local.exists() else None)


class Hub:
    """A running hub, with a server of the user `ann`."""

    def __init__(self, port, token, log):
        self.port, self.token, self.log = port, token, log
        self.url = f"http://127.0.0.1:{port}"

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def api(self, method, path):
        headers = {"Authorization": f"token {self.token}"}
        status, _, body = self.request(method, f"/hub/api{path}", None if method == "GET" else b"{}", headers)
        return status, json.loads(body or b"null")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(root):
    pytest.importorskip("jupyterhub", reason="jupyterhub is not installed")
    proxy = proxy_path()
    if shutil.which("node") is None or proxy is None:
        pytest.skip("Node and configurable-http-proxy are not installed (npm install configurable-http-proxy)")
    port, token = free_port(), secrets.token_hex(32)
    config = root / "jupyterhub_config.py"
    ports = {"hub_port": free_port(), "api_port": free_port()}
    config.write_text(CONFIG.format(public=f"http://127.0.0.1:{port}", root=root, proxy=proxy, token=token, **ports))
    environment = isolated_environment(root, root / "comflowy")
    log = root / "hub.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "--debug", "-f", str(config)],
            cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    hub = Hub(port, token, log)

    def answers(path="/hub/api/"):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return hub.request("GET", path)[0] == 200
        except OSError:
            return False

    def has_started():
        return hub.api("GET", "/users/ann")[1].get("server") == "/user/ann/"

    try:
        wait_until(answers, 90, lambda: log.read_text()[-3000:])
        assert hub.api("POST", "/users/ann")[0] == 201
        assert hub.api("POST", "/users/ann/server")[0] in {201, 202}
        wait_until(has_started, 120, lambda: log.read_text()[-3000:])
        yield hub
        hub.api("DELETE", "/users/ann/server")
    finally:
        end_process(process)


def execute(root, *sources):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(root)}})
    client.execute(env=isolated_environment(root, root / "comflowy"))
    return [
        "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
    ]


def test_events_arrive_through_the_proxy_of_a_hub_without_login(hub, root):
    connected, _, run, shown = execute(
        root,
        f"%load_ext comflowy_nb\n%comflowy connect sandbox --webhooks {hub.url}/user/ann",
        "%comflowy run default 3::steps=8 5::width=64 5::height=64 --as one",
        "print(*(event.kind for event in one.events))",
        "%comflowy webhooks",
    )
    assert "webhooks: an event arrived through the server extension in " in connected
    kinds = run.split()
    assert (kinds[:2], kinds[-1]) == (["waiting", "pending"], "success")
    assert "server extension: enabled at the Jupyter server with the prefix /user/ann/" in shown
    assert "1 success" in shown


def test_the_rest_of_the_server_still_requires_the_login_of_the_hub(hub):
    for method, path in (("GET", "/api/contents"), ("POST", "/api/kernels"), ("GET", "/lab"), ("POST", "/comflowy")):
        status, headers, _ = hub.request(method, f"/user/ann{path}", b"{}" if method == "POST" else None)
        assert status in {302, 403, 405}, path
        assert "comflowy" not in headers.get("Location", "").partition("next=")[0]
    status, headers, body = hub.request("POST", f"/user/ann/comflowy/hooks/{secrets.token_urlsafe(32)}", b"{}")
    assert (status, body) == (404, b"")
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("path", ["", "/user/bob", "/user/ann/lab", "/hub"])
def test_a_wrong_prefix_at_a_hub_is_explained(hub, root, path):
    (shown,) = execute(
        root,
        f"%load_ext comflowy_nb\n%config Comflowy.callback_url = '{hub.url}{path}'\n"
        "%comflowy connect sandbox\n%comflowy webhooks",
    )
    assert "no event arrived: the address answered with status" in shown
    assert "The prefix is wrong: the Jupyter server has /user/ann/" in shown
    assert f"%config Comflowy.callback_url = '{hub.url}/user/ann'" in shown


def test_no_secret_of_a_run_is_in_the_logs_of_hub_proxy_and_server(hub, root):
    record = (
        "from comflowy_nb.notebook.magics import current_session\n"
        "service, urls = current_session().client.service, set()\nreal = service.submit\n"
        "service.submit = lambda one: urls.update(one.callback_urls.values()) or real(one)\n"
    )
    execute(
        root,
        f"%load_ext comflowy_nb\n%comflowy connect sandbox --webhooks {hub.url}/user/ann",
        record,
        "%comflowy run default 3::steps=4 3::seed=5 5::width=64 5::height=64 --fresh",
        "import pathlib\npathlib.Path('urls').write_text(' '.join(urls))",
    )
    (url,) = (root / "urls").read_text().split()
    assert url.startswith(f"{hub.url}/user/ann/comflowy/hooks/")
    text = hub.log.read_text(errors="replace")
    assert "webhooks are accepted below /user/ann/comflowy/hooks/" in text
    assert url.rpartition("/")[2] not in text
