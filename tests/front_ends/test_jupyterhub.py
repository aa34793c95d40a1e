"""Two users of a JupyterHub, behind its proxy and below a base path."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from front_end_processes import SMALL, require, serving
from lab_pages import CELL_MS, Lab, Notebook
from ports import free_port

require("jupyterhub")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/hub-of-the-lab/"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.Spawner.args = ["--allow-root", "--LabApp.expose_app_in_browser=True"]
c.Spawner.default_url = "/lab"
c.Spawner.http_timeout = c.Spawner.start_timeout = 120
"""


@pytest.fixture(scope="module")
def hub(folder, variables):
    """Run a hub; return its address and the folder with a home folder for each user."""
    proxy = shutil.which("configurable-http-proxy", path=str(ROOT / "node_modules" / ".bin"))
    if shutil.which("node") is None or proxy is None:
        reason = "no configurable-http-proxy: it needs Node, then npm ci in the repository"
        pytest.skip(reason)
    homes, port = folder / "homes", free_port()
    homes.mkdir()
    ports = {"port": port, "hub_port": free_port(), "api_port": free_port()}
    (folder / "config.py").write_text(CONFIG.format(homes=str(homes), proxy=proxy, **ports))
    address = f"http://127.0.0.1:{port}/hub-of-the-lab"
    command = [sys.executable, "-m", "jupyterhub", "-f", "config.py"]
    kept = {name: value for name, value in variables.items() if name not in {"COMFLOWY_HOME", "IPYTHONDIR"}}
    with serving(command, f"{address}/hub/login", variables=kept, cwd=folder):
        yield address, homes


@pytest.fixture
def open_notebook(hub, browser):
    """Return a function that logs a user in, and opens a notebook of five cells in the user's JupyterLab."""
    address, homes = hub
    contexts = []

    def open_for(user):
        (homes / user).mkdir()
        contexts.append(context := browser.new_context(viewport={"width": 1280, "height": 1000}))
        page = context.new_page()
        page.goto(f"{address}/hub/login")
        page.locator("input[name=username]").fill(user)
        page.locator("input[name=password]").fill("any")
        page.locator("input[type=submit], button[type=submit]").first.click()
        page.wait_for_url(re.compile(f"/user/{user}/lab"), timeout=CELL_MS)
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell() for _ in range(5)])
        content.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(content, homes / user / "work.ipynb")
        lab = Lab(address, homes / user, homes, query="")
        return Notebook(page, lab, "work.ipynb", homes / user, within=f"user/{user}/lab/tree").open()

    yield open_for
    for context in contexts:
        context.close()


def test_two_users_have_separate_histories_and_widgets_work(open_notebook, hub):
    _, homes = hub
    for user, seed in (("ada", 7), ("grace", 8)):
        notebook = open_notebook(user)
        assert "connected to sandbox" in notebook.enter(0, "%load_ext comflowy_nb\n%comflowy connect sandbox")
        swept = notebook.enter(1, f"%comflowy sweep default cfg=3,6 seed={seed} {SMALL} --as grid")
        assert "2 of 2 success" in swept
        assert "s1 grid" in swept, "the first sweep of each user"
        notebook.await_images(1, 1)
        notebook.enter(2, "%comflowy explore grid")
        explorer = notebook.cell(2).locator(".comflowy-explore")
        explorer.get_by_role("slider", name="cfg").press("ArrowRight")
        notebook.await_text(2, f"cfg 6, seed {seed}")
        notebook.enter(3, "%comflowy compare grid.1 grid.2")
        notebook.await_images(3, 2)
        notebook.enter(4, f"%comflowy form default seed={seed} steps=3 width=64 height=64")
        notebook.cell(4).get_by_role("button", name="Run", exact=True).click()
        notebook.await_text(4, "success")
        notebook.screenshot(f"jupyterhub-{user}")
        notebook.check()
        images = list((homes / user).rglob("images/*/*_0.png"))
        assert len(images) == 3, "the images are in the home folder of the user"
