"""An event from end to end: the sandbox calls the address of a real Jupyter server, which calls a real kernel."""

from __future__ import annotations

import nbformat
import pytest
from jupyter_server_process import isolated_environment, running_server
from nbclient import NotebookClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Records the requests of the kernel's client, and the secrets of its runs.
RECORD = """
from comflowy_nb.notebook.magics import current_session
service = current_session().client.service
checks, urls, real_check, real_submit = [], set(), service.check, service.submit
service.check = lambda run_id: checks.append(run_id) or real_check(run_id)
service.submit = lambda submission: urls.update(submission.callback_urls.values()) or real_submit(submission)
"""


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("jupyter_server")
    with running_server(tmp_path / "server", tmp_path / "home") as running:
        yield running


def execute(server, tmp_path, *sources):
    """Execute cells in a kernel with the home folder of the server; return the notebook."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=isolated_environment(tmp_path / "server", tmp_path / "home"))
    return notebook


def texts(notebook, index):
    """Return the text of the outputs of a cell."""
    outputs = notebook.cells[index].outputs
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_events_of_a_run_arrive_through_the_jupyter_server(server, tmp_path):
    notebook = execute(
        server, tmp_path,
        f"%load_ext comflowy_nb\n%comflowy connect sandbox --webhooks {server.url}",
        RECORD,
        "r = %comflowy run default 3::steps=8 5::width=64 5::height=64",
        "print(len(checks), (r.queued_s or 0) + r.seconds, *(event.kind for event in r.events))",
        "%comflowy webhooks",
        "%comflowy sweep default 3::steps=4 3::seed=1..12 5::width=64 5::height=64",
        "print(len(checks))",
        "import pathlib, comflowy_nb.settings\npathlib.Path('urls').write_text(' '.join(urls))\n"
        "print(*(p.suffix for p in (comflowy_nb.settings.home() / 'webhooks').glob('*.json')))",
    )  # fmt: skip
    assert "webhooks: an event arrived through the server extension in " in texts(notebook, 0)
    assert "success" in texts(notebook, 2)
    checks, took_s, *kinds = texts(notebook, 3).split()
    assert kinds[:2] == ["waiting", "pending"]
    assert kinds[-1] == "success"
    assert set(kinds[2:-1]) == {"running"}
    assert int(checks) <= 3 + float(took_s), "one confirms the end, others only while a busy machine delays events"
    shown = texts(notebook, 4)
    assert f"webhooks: on, through {server.url}/comflowy/hooks/***" in shown
    assert "server extension: enabled at the Jupyter server with the prefix /user/ann/" in shown
    assert "1 success" in shown
    assert "test: an event arrived through the server extension in " in shown
    assert "12 of 12 success" in texts(notebook, 5)
    assert int(texts(notebook, 6)) - int(checks) <= 30, "one to two checks a run, not twelve"
    assert texts(notebook, 7).split() == [".json"], "the file of the server; those of runs are deleted"

    secrets = [url.rpartition("/")[2] for url in (tmp_path / "urls").read_text().split()]
    assert len(secrets) == 13
    (tmp_path / "urls").unlink()
    service = tmp_path / "home" / "sandbox"  # the sandbox stores the addresses that it has to call
    files = [path for path in tmp_path.rglob("*") if path.is_file() and service not in path.parents]
    kept = [nbformat.writes(notebook).encode(), *(path.read_bytes() for path in files)]
    assert any(b"SQLite" in content for content in kept)
    for content in kept:
        assert not [secret for secret in secrets if secret.encode() in content]


def test_without_the_extension_the_kernel_shows_what_to_do_and_runs_are_polled(tmp_path):
    with running_server(tmp_path / "server", tmp_path / "home", is_enabled=False) as plain:
        notebook = execute(
            plain, tmp_path,
            f"%load_ext comflowy_nb\n%comflowy connect sandbox --webhooks {plain.url}",
            "%comflowy webhooks",
            "r = %comflowy run default 3::steps=4 5::width=64 5::height=64\nprint(r.status, len(r.events))",
        )  # fmt: skip
    assert "webhooks: no event arrived: the address answered with status 403" in texts(notebook, 0)
    assert "jupyter server extension enable comflowy_nb" in texts(notebook, 1)
    assert texts(notebook, 2).splitlines()[-1] == "success 0"
