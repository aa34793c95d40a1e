"""`%comflowy disk`, `prune`, `delete`, `show --refetch` and `workflow remove`."""

from __future__ import annotations

import base64
import builtins
import io
import os
import re
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from IPython.core.error import UsageError
from jupyter_client.manager import start_new_kernel
from PIL import Image

from comflowy_nb.errors import ImageError, RefError, SettingsError, WorkflowError
from comflowy_nb.images.receive import image_path
from comflowy_nb.library import open_library
from comflowy_nb.status import StatusEvent
from comflowy_nb.tracking.run import ImageRecord

SMALL = "width=64 height=64 steps=1"


def texts(found):
    """Return the texts that a cell displayed, one below the other."""
    return "\n".join(bundle.get("text/plain", "") for bundle in found.last)


def age(library, days=90):
    """Make every run of the history older."""
    with closing(sqlite3.connect(library.home / "history.sqlite")) as database:
        database.execute(
            "UPDATE runs SET created_at = created_at - :s, finished_at = finished_at - :s", {"s": days * 86400}
        )
        database.commit()


@pytest.fixture
def answers(shell, monkeypatch):
    """Return a function: `answers("y")` sets the next answers, and returns the list of the questions so far."""
    questions, pending = [], []

    def ask(question=""):
        questions.append(question)
        return pending.pop(0)

    monkeypatch.setattr(shell, "kernel", SimpleNamespace(_allow_stdin=True), raising=False)
    monkeypatch.setattr(builtins, "input", ask)

    def answer(*words):
        pending.extend(words)
        return questions

    return answer


def test_disk_shows_each_kind_of_file_as_text_and_html(cell, handles, stored, library):
    stored("a", 2)
    stored("b", workflow="<b>portrait</b>")
    age(library)
    (shown,) = cell("%comflowy disk").last
    for bundle in ("text/plain", "text/html"):
        for word in ("originals", "thumbnails", "other outputs", "sandbox", "history", "total", "default"):
            assert word in shown[bundle]
    lines = [line.split() for line in shown["text/plain"].splitlines()]
    assert ["originals", "3"] in [line[:2] for line in lines]
    assert ["thumbnails", "6"] in [line[:2] for line in lines]
    assert "%comflowy prune --older 30d would free" in shown["text/plain"]
    assert "3 originals" in shown["text/plain"]
    assert "<table" in shown["text/html"]
    assert "<b>portrait" not in shown["text/html"]
    assert str(library.home) not in str(shown)


def test_the_overview_has_one_line_about_the_disk(cell, handles, stored):
    stored("a")
    (shown,) = cell("%comflowy").last
    (line,) = [line for line in shown["text/plain"].splitlines() if "on disk" in line]
    assert "1 original: %comflowy disk" in line


def test_the_overview_of_an_empty_history_has_no_line_about_the_disk(cell, handles):
    assert "on disk" not in texts(cell("%comflowy"))


def test_prune_lists_asks_and_removes(cell, stored, library, answers):
    run = stored("a", 2)
    stored("b", name="best")
    age(library)
    questions = answers("n", "", "y")
    for _ in range(2):
        declined = cell("%comflowy prune --older 60d")
        assert declined.error is None
        assert "nothing was removed" in texts(declined)
    assert image_path(library.folder, run.images[0]).is_file()
    found = cell("%comflowy prune --older 60d")
    assert questions == ["Remove 2 originals? [y/N] "] * 3
    assert "2 originals of 1 run that ended on " in texts(found)
    assert "1 original as old stays, because it has a name, a rating or a note" in texts(found)
    assert "2 originals removed" in texts(found)
    assert not image_path(library.folder, run.images[0]).exists()
    assert "nothing to prune" in texts(cell("%comflowy prune --older 60d"))


def test_prune_names_the_oldest_and_the_newest(cell, handles, stored, library):
    stored("a")
    age(library, days=400)
    stored("b")
    age(library, days=100)
    shown = texts(cell("%comflowy prune --older 60d --dry-run"))
    assert re.search(r"2 runs that ended from .+ to .+: ", shown)
    assert "2 originals of 2 runs" in shown


def test_prune_fails_where_no_user_can_answer_and_removes_nothing(cell, handles, stored, library):
    run = stored("a")
    age(library)
    found = cell("%comflowy prune --older 60d --all")
    assert isinstance(found.error, UsageError)
    assert "%comflowy prune --older 60d --all --yes" in str(found.error)
    assert "1 original of 1 run" in texts(found)
    assert image_path(library.folder, run.images[0]).is_file()
    found = cell("%comflowy prune --older 60d --all --yes")
    assert found.error is None
    assert "1 original removed" in texts(found)
    assert not image_path(library.folder, run.images[0]).exists()


def test_a_dry_run_of_prune_removes_nothing_and_asks_nothing(cell, handles, stored, library):
    run = stored("a")
    age(library)
    found = cell("%comflowy prune --older 60d --dry-run")
    assert found.error is None
    assert "nothing was removed (--dry-run)" in texts(found)
    assert image_path(library.folder, run.images[0]).is_file()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("prune", "prune needs an age: %comflowy prune --older TIME, such as --older 60d"),
        ("prune --older soon", "invalid --older 'soon': use 30, 30s, 5m, 2h or 30d"),
        ("prune r1", "unexpected word 'r1'"),
        ("delete", r"missing argument. Usage: %comflowy delete REF ..."),
        ("disk usage", "unexpected word 'usage'"),
    ],
)
def test_the_error_of_wrong_usage_has_the_correct_line(cell, line, text):
    found = cell(f"%comflowy {line}")
    assert isinstance(found.error, UsageError)
    assert text in str(found.error)


def test_delete_warns_that_the_request_would_run_again_and_asks(cell, stored, library, answers):
    run = stored("a", 2)
    questions = answers("no", "yes")
    declined = cell("%comflowy delete r1")
    assert "The same request would then be submitted again." in texts(declined)
    assert "nothing was deleted" in texts(declined)
    assert library.history.get(run.token) is not None
    deleted = cell("%comflowy delete r1")
    assert questions == ["Delete r1? [y/N] "] * 2
    assert "r1 deleted, " in texts(deleted)
    assert library.history.get(run.token) is None
    assert isinstance(cell("%comflowy show r1").error, RefError)


def test_delete_warns_that_a_run_would_cost_money_again(cell, handles, stored):
    stored("a", origin="https://app.comflowy.com")
    found = cell("%comflowy delete r1")
    assert "The same request would then be submitted again and cost again." in texts(found)
    assert isinstance(found.error, UsageError)


def test_delete_fails_where_no_user_can_answer_and_deletes_nothing(cell, handles, stored, library):
    run = stored("a", name="best")
    found = cell("%comflowy delete best")
    assert isinstance(found.error, UsageError)
    assert (
        "delete can't ask for confirmation here, so nothing was deleted. To confirm: %comflowy delete best --yes"
        in str(found.error)
    )
    assert library.history.get(run.token) is not None
    assert cell("%comflowy delete best --yes").error is None
    assert library.history.get(run.token) is None


def test_a_dry_run_of_delete_lists_what_would_be_deleted(cell, handles, stored, library):
    run = stored("a")
    shown = texts(cell("%comflowy delete r1 --dry-run"))
    assert "r1: 4 files" in shown
    assert "The same request would then be submitted again" in shown
    assert "nothing was deleted (--dry-run)" in shown
    assert library.history.get(run.token) is not None
    assert run.images
    assert "there is no run r9" in str(cell("%comflowy delete r1 r9 --dry-run").error)


def test_a_deleted_run_can_not_be_shown_or_fetched(connected):
    """The error named commands that can't work: `%comflowy show r1 fetches it again`."""
    run = connected(f"%comflowy run default {SMALL} seed=7020").value
    sweep = connected(f"%comflowy sweep default {SMALL} seed=7021 cfg=4,5").value
    assert connected(f"%comflowy delete {run.ref} {sweep.ref} --yes").error is None
    gone = f"{run.ref} was deleted, with its images: it can't be shown or fetched again"
    for command in ("show", "show --refetch", "delete", "resume", "cancel"):
        error = connected(f"%comflowy {command} {run.ref}").error
        assert isinstance(error, RefError)
        assert str(error) == gone
    assert str(connected(f"%comflowy save {run.ref}[0] out").error) == gone
    assert "was deleted, with its runs" in str(connected(f"%comflowy show {sweep.ref}").error)
    assert "was deleted, with its runs" in str(connected(f"%comflowy show {sweep.ref}.1").error)
    for image in (run.images[0], sweep.cells[0].images[0]):
        with pytest.raises(ImageError, match="was deleted, with its images"):
            _ = image.path
    newest = int(run.ref[1:]) + 2
    assert f"there is no run r{newest + 1}" in str(connected(f"%comflowy show r{newest + 1}").error)
    assert "there is no run r0" in str(connected("%comflowy show r0").error)


def test_delete_without_stdin_deletes_nothing(cell, stored, library, answers, monkeypatch):
    """A kernel can lose its front end after it was started."""
    run = stored("a")

    def ask(question=""):
        raise EOFError

    monkeypatch.setattr(builtins, "input", ask)
    assert "nothing was deleted" in texts(cell("%comflowy delete r1"))
    assert library.history.get(run.token) is not None


def test_pruned_images_are_drawn_from_their_thumbnails(connected):
    first = connected(f"%comflowy run default {SMALL} seed=7001")
    before = np.asarray(decoded(first.last[-1]), float)
    pruned = connected("%comflowy prune --older 0 --yes")
    assert pruned.error is None
    assert first.value.images[0].is_pruned, "the object in the notebook is brought up to date"
    again = connected(f"%comflowy run default {SMALL} seed=7001")
    line, grid = again.last
    assert "nothing submitted" in line["text/plain"]
    assert (
        f"{again.value.ref}[0] is pruned; %comflowy show {again.value.ref} --refetch fetches it again"
        in line["text/plain"]
    )
    assert np.abs(np.asarray(decoded(grid), float) - before).mean() < 6, "the thumbnail is a JPEG"


def test_show_fetches_only_with_refetch(connected):
    run = connected(f"%comflowy run default {SMALL} seed=7002").value
    content = run.images[0].bytes
    connected("%comflowy prune --older 0 --yes")
    shown = connected(f"%comflowy show {run.ref}")
    assert shown.value.images[0].is_pruned
    assert "--refetch" in shown.last[0]["text/plain"]
    fetched = connected(f"%comflowy show {run.ref} --refetch")
    assert fetched.error is None
    assert fetched.value.images[0].bytes == content
    assert "pruned" not in fetched.last[0]["text/plain"]


def test_show_names_a_damaged_original_and_refetch_replaces_it(connected, tmp_path):
    run = connected(f"%comflowy run default {SMALL} seed=7010").value
    content = run.images[0].bytes
    run.images[0].path.write_bytes(content[:-30])
    text = f"{run.ref}[0] is damaged: its file has changed since the download; "
    advice = f"%comflowy show {run.ref} --refetch fetches it again"
    assert text + advice in connected(f"%comflowy show {run.ref}").last[0]["text/plain"]
    refused = connected(f"%comflowy save {run.ref} {tmp_path}/out")
    assert f"changed since the download: {run.ref}[0]. %comflowy show {run.ref} --refetch" in str(refused.error)
    assert not list((tmp_path / "out").iterdir())
    compared = connected(f"%comflowy compare {run.ref} {run.ref}")
    assert "is damaged" in str(compared.error)
    fetched = connected(f"%comflowy show {run.ref} --refetch")
    assert fetched.error is None
    assert "damaged" not in fetched.last[0]["text/plain"]
    assert fetched.value.images[0].bytes == content


def test_a_pruned_sweep_is_drawn_and_fetched_again(connected):
    line = f"%comflowy sweep default {SMALL} seed=7003 cfg=4,7"
    first = connected(line)
    before = np.asarray(decoded(first.last[-1]), float)
    connected("%comflowy prune --older 0 --yes")
    again = connected(line)
    sweep = again.value
    text = again.last[1]["text/plain"]
    assert f"images of 2 are pruned; %comflowy show {sweep.ref} --refetch fetches them again" in text
    assert all(cell.run.images[0].is_pruned for cell in sweep.cells)
    assert np.abs(np.asarray(decoded(again.last[-1]), float) - before).mean() < 6
    fetched = connected(f"%comflowy show {sweep.ref} --refetch")
    assert fetched.error is None
    assert all(len(cell.run.images[0].bytes) > 100 for cell in fetched.value.cells)
    assert "pruned" not in fetched.last[0]["text/plain"]


def test_a_sweep_shown_before_is_read_again_after_a_delete(connected):
    sweep = connected(f"%comflowy sweep default {SMALL} seed=7004 cfg=4,7").value
    assert connected(f"%comflowy delete {sweep.ref}.2 --yes").error is None
    shown = connected(f"%comflowy show {sweep.ref}").value
    assert [cell.run is not None for cell in shown.cells] == [True, False]
    again = connected(f"%comflowy sweep default {SMALL} seed=7004 cfg=4,7")
    assert again.value.plan.to_submit == 1
    deleted = connected(f"%comflowy delete {sweep.ref} --yes")
    assert f"{sweep.ref} with 2 runs deleted" in texts(deleted)


def test_refetch_needs_a_connection(cell, handles, stored, library):
    stored("a")
    library.prune(0)
    assert isinstance(cell("%comflowy show r1 --refetch").error, SettingsError)


def test_a_run_of_another_service_is_fetched_from_that_service(connected, run_request):
    history = open_library().history
    token = history.record_or_reuse(
        run_request("elsewhere", service="studio", origin="https://studio.example")
    ).record.token
    image = ImageRecord(0, "9", 0, "pruned", f"2026-01/{token}_0.png", "0" * 64, 1, 64, 64, "PNG")
    run = history.apply(token, StatusEvent.SEEN_SUCCESS, images=[image])
    found = connected(f"%comflowy show {run.ref} --refetch")
    assert isinstance(found.error, RefError)
    assert "was submitted to studio" in str(found.error)


def test_a_terminal_prints_the_path_of_the_thumbnail(cell, stored, library):
    stored("a")
    library.prune(0)
    shown = cell("%comflowy show r1").stdout
    assert "r1[0] is pruned" in shown
    assert ".t512.jpg" in shown


def test_a_workflow_name_is_removed(cell, handles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "comflowy.yaml").write_text("workflows: {ours: {ids: {sandbox: default}}}")
    (tmp_path / "mine.json").write_text('{"1": {"class_type": "X", "inputs": {"text": "a"}}}')
    cell("%comflowy workflow add mine mine.json")
    assert "Did you mean mine?" in str(cell("%comflowy workflow remove mien").error)
    removed = cell("%comflowy workflow remove mine")
    assert "mine was removed from the catalogue; the file of its graph, mine.json, is kept" in texts(removed)
    assert "mine" not in texts(cell("%comflowy workflows"))
    for name, text in (("default", "can't be removed"), ("ours", "comflowy.yaml beside the notebook")):
        found = cell(f"%comflowy workflow remove {name}")
        assert isinstance(found.error, WorkflowError)
        assert text in str(found.error)
    assert isinstance(cell("%comflowy workflow remove").error, UsageError)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_kernel_asks_its_front_end(stored, library):
    run = stored("a")
    manager, client = start_new_kernel(env={**os.environ, "COMFLOWY_HOME": str(library.home)})
    try:
        questions = []

        def answer(message):
            questions.append(message["content"]["prompt"])
            client.input("y")

        client.execute_interactive("%load_ext comflowy_nb", timeout=60)
        reply = client.execute_interactive(
            "%comflowy delete r1", allow_stdin=True, stdin_hook=answer, output_hook=lambda message: None, timeout=60
        )
        assert reply["content"]["status"] == "ok"
        assert questions == ["Delete r1? [y/N] "]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert library.history.get(run.token) is None


def decoded(bundle):
    return Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))).convert("RGB")
