"""The magics as a user types them, on the real sandbox."""

from __future__ import annotations

import re

import pytest
from IPython.core.error import UsageError
from PIL import Image

from comflowy_nb.errors import FieldError, LineError, RefError, RunFailed, RunTimeout, SettingsError, WorkflowError
from comflowy_nb.settings import settings
from comflowy_nb.status import Status

SLOW = "3::steps=2000"  # long enough to be interrupted


def status_of(cell):
    return cell.last[0]["text/plain"]


def test_the_example_of_the_api_page_gives_status_and_one_image(sandbox):
    cell = sandbox(
        "%%comflowy run default\n"
        '"3::sampler_name": "euler",\n'
        '"6::text": "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"\n'
    )
    assert cell.error is None
    assert len(cell.handles) == 2, "status and images, and nothing by the value the cell ends in"
    status, images = cell.last
    ref = re.fullmatch(r"(r\d+) default - success in \d+\.?\d* s", status["text/plain"])
    assert ref
    assert set(status) == {"text/plain", "text/html"}
    assert set(images) == {"text/plain", "image/jpeg"}
    assert cell.value.ref == ref[1]
    assert cell.value.params == {
        "3::sampler_name": "euler",
        "6::text": "beautiful scenery nature glass bottle landscape, purple galaxy bottle,",
    }

    again = sandbox(
        "%%comflowy run default\n6::text: beautiful scenery nature glass bottle landscape, purple galaxy bottle,\n"
        "sampler_name: euler\n"
    )
    assert status_of(again) == f"same as {ref[1]}, nothing submitted; --fresh runs it again"
    assert again.last[1]["image/jpeg"] == images["image/jpeg"]


def test_a_result_is_drawn_once_whether_assigned_or_not(sandbox):
    line = "%comflowy run default 3::steps=2 3::seed=11"
    plain, assigned = sandbox(line), sandbox(f"r = {line}\nr")
    named = sandbox(f"{line} --as here\nhere")
    silent = sandbox(f"{line};")
    for cell in (plain, assigned, named, silent):
        assert cell.error is None
        assert sum("image/jpeg" in data for data in cell.last) == 1
    assert silent.value is None
    assert assigned.value.ref == plain.value.ref == named.value.ref
    later = sandbox("here")
    assert "success" in later.last[0]["text/plain"]
    assert "image/jpeg" in later.last[1], "another execution shows it again, from disk"


def test_a_semicolon_does_not_take_the_value_from_an_assignment(sandbox):
    """`r = %comflowy run default;` assigned None."""
    line = "%comflowy run default 3::steps=2 3::seed=11"
    assigned = sandbox(f"%comflowy workflows;\nr = {line} ;\nr")
    assert assigned.value.params == {"3::steps": 2, "3::seed": 11}
    assert sum("image/jpeg" in data for data in assigned.last) == 1


def test_a_prompt_that_ends_in_a_semicolon_returns_its_run(sandbox):
    """`%%comflowy run p` returned None when the prompt ended in `;`.

    IPython's output_can_be_silenced reads the body of a cell magic, so the punctuation of a prompt silenced the run.
    """
    cell = sandbox("%%comflowy run default\n3::steps: 2\n6::text: a cat;")
    assert cell.value.params["6::text"] == "a cat;"


def test_random_generates_a_seed_each_time_and_the_status_shows_it(sandbox):
    first, second = (sandbox("%comflowy run default 3::steps=2 seed=random") for _ in range(2))
    assert first.value.params["3::seed"] != second.value.params["3::seed"]
    assert f"seed {first.value.params['3::seed']} (generated)" in status_of(first)


def test_from_starts_with_the_values_of_a_run_or_of_a_saved_image(sandbox, tmp_path):
    sandbox('%comflowy run default 3::steps=3 6::text="a sailing boat" seed=12 --as boat')
    changed = sandbox("%comflowy run --from boat steps=2")
    assert changed.value.params == {"3::steps": 2, "6::text": "a sailing boat", "3::seed": 12}
    saved = sandbox(f"%comflowy save boat {tmp_path}/out")
    (name,) = [path.name for path in (tmp_path / "out").iterdir()]
    assert name in saved.last[0]["text/plain"]
    assert str(tmp_path) not in str(saved.last)
    from_image = sandbox(f"%comflowy run --from {tmp_path}/out/{name} steps=2")
    assert from_image.value.ref == changed.value.ref, "the same request, so nothing new"


def test_python_names_are_expanded_by_the_magic_only(sandbox, shell):
    shell.user_ns.update(steps=2, what="a {cat} costs $5", which="default")
    cell = sandbox("%comflowy run {which} steps={steps} 6::text={what}")
    assert cell.value.params == {"3::steps": 2, "6::text": "a {cat} costs $5"}
    within = sandbox(
        "def f(inner):\n    return get_ipython().run_line_magic('comflowy', 'run default steps={inner}')\nf(3)"
    )
    assert within.error is None
    undefined = sandbox("%%comflowy run default\n6::text: a {nonsense} b")
    assert isinstance(undefined.error, FieldError | LineError)
    assert "{nonsense}" in undefined.lines[0]
    assert "{{nonsense}}" in " ".join(undefined.lines)


@pytest.mark.parametrize(
    ("source", "kind", "text"),
    [
        ("%comflowy run default stepps=3", FieldError, "steps"),
        ("%comflowy run defualt", WorkflowError, "default"),
        ("%comflowy run default steps=soon", FieldError, "whole number"),
        ("%comflowy run default 6::text='unclosed", LineError, "is not closed"),
        ("%%comflowy run default\nsteps 3", LineError, "line"),
        ("%comflowy run default cfg=1..3", FieldError, "sweep"),
        ("%%comflowy run default\n" + '{"workflow_id": "other", "params": {}}', WorkflowError, "other"),
        ("%comflowy show r9999", RefError, "r9999"),
        ("%comflowy run --from missing", RefError, "missing"),
        ("%comflowy fields nothing", WorkflowError, "nothing"),
    ],
)
def test_errors_are_plain_lines_and_can_be_caught(sandbox, source, kind, text):
    cell = sandbox(source)
    assert isinstance(cell.error, kind)
    assert text in "\n".join(cell.lines)
    assert cell.lines[0].startswith(f"{type(cell.error).__name__}: ")
    assert not cell.handles, "nothing is drawn for a request that was not submitted"
    call = (
        f"run_cell_magic('comflowy', *{_split(source)!r})"
        if source.startswith("%%")
        else (f"run_line_magic('comflowy', {source[10:]!r})")
    )
    caught = sandbox(
        "from comflowy_nb import ComflowyError\n"
        f"try:\n    get_ipython().{call}\nexcept ComflowyError:\n    seen = True\nseen"
    )
    assert caught.value is True


def _split(source):
    line, _, body = source.partition("\n")
    return line[11:], body


def test_wrong_usage_raises_the_usage_error_of_ipython(sandbox):
    for source in (
        "%comflowy rnu default",
        "%comflowy run default --freh",
        "%comflowy run",
        "%comflowy workflow ad x y",
    ):
        cell = sandbox(source)
        assert type(cell.error) is UsageError
        assert "UsageError" in cell.stderr
        assert "Traceback" not in cell.stderr


def test_tracebacks_are_shown_on_demand_and_for_errors_raised_by_users(sandbox):
    try:
        sandbox("%config Comflowy.tracebacks = True")
        assert sandbox("%comflowy run default stepps=3").lines is None
    finally:
        sandbox("%config Comflowy.tracebacks = False")
    assert sandbox("from comflowy_nb.errors import RunFailed\nraise RunFailed('mine', None)").lines is None


@pytest.mark.parametrize("mode", ["Minimal", "Plain", "Context", "Verbose"])
def test_an_error_of_two_lines_is_shown_in_two_lines(sandbox, shell, mode):
    """In a terminal, `%xmode Minimal` and `Plain` showed both lines as one, without a separator."""
    before = shell.InteractiveTB.mode
    try:
        sandbox(f"%xmode {mode}")
        shown = sandbox("%comflowy run default stepps=3 cgf=7").stdout
    finally:
        sandbox(f"%xmode {before}")
    assert shown.strip().splitlines() == [
        "FieldError: default has no field 'stepps'. Did you mean steps (3::steps)?",
        "default has no field 'cgf'. Did you mean cfg (3::cfg)?",
    ]


def test_config_shows_and_checks_the_settings(sandbox, shell):
    listing = sandbox("%config Comflowy").stdout
    assert "Comflowy.window=" in listing
    assert "Comflowy.tracebacks=" in listing
    sandbox("%config Comflowy.window = 5")
    assert settings.window == 5
    assert sandbox("%config Comflowy.window").value == 5
    sandbox("%config Comflowy.window = -5")
    assert settings.window == 5
    with pytest.warns(UserWarning, match="it stays 5"):  # IPython stores the rejected value
        shell.run_line_magic("reload_ext", "comflowy_nb")
    del shell.config["Comflowy"]


def test_a_failing_run_is_drawn_and_then_raised(sandbox):
    cell = sandbox("%comflowy run img2img image=never-uploaded.png")
    assert isinstance(cell.error, RunFailed)
    assert "failed" in status_of(cell)
    assert cell.lines[0].startswith("RunFailed: r")
    assert len(cell.lines) <= 2
    assert cell.error.run.status is Status.FAILED


def test_timeout_does_not_cancel_the_run(sandbox):
    cell = sandbox("%comflowy run default 3::steps=300 3::seed=77 --timeout 0.05")
    assert isinstance(cell.error, RunTimeout)
    assert cell.error.run.status is not Status.CANCELLED
    cell.error.run.wait(60)
    assert cell.error.run.status is Status.SUCCESS


def test_an_interrupt_cancels_the_run_and_is_raised_again_as_one_line(sandbox, interrupting):
    with interrupting():
        cell = sandbox(f"%comflowy run default {SLOW} 3::seed=501 --as stopped\nwent_on = True")
    assert type(cell.error) is KeyboardInterrupt
    assert len(cell.lines) == 1
    assert cell.lines[0].startswith("KeyboardInterrupt: r")
    assert " - cancelled" in status_of(cell)
    assert sandbox("stopped.status").value is Status.CANCELLED
    assert sandbox("'went_on' in globals()").value is False


def test_an_interrupt_of_show_only_stops_the_waiting(sandbox, interrupting, monkeypatch):
    monkeypatch.setattr("comflowy_nb.notebook.session.Session.can_answer", True)
    started = sandbox(f"%comflowy run default {SLOW} 3::seed=502 --background --as going")
    assert started.error is None
    with interrupting():
        cell = sandbox("%comflowy show going")
    assert type(cell.error) is KeyboardInterrupt
    assert started.value.status.is_live
    cancelled = sandbox("%comflowy cancel going")
    assert "cancelled" in cancelled.last[0]["text/plain"]


def test_background_returns_immediately_and_waits_in_non_interactive_kernels(sandbox, monkeypatch):
    waited = sandbox("%comflowy run default 3::steps=2 3::seed=503 --background")
    assert waited.value.status is Status.SUCCESS
    assert "image/jpeg" in waited.last[1]
    monkeypatch.setattr("comflowy_nb.notebook.session.Session.can_answer", True)
    cell = sandbox("%comflowy run default 3::steps=2000 3::seed=504 --background")
    assert cell.value.status.is_live
    assert len(cell.handles) == 2
    cell.value.cancel()
    cell.value.wait(60)


def test_runs_are_listed_and_searched(sandbox):
    result = sandbox('%comflowy run default 3::steps=2 6::text="a semaphore in fog" 3::cfg=3.51 --as signal').value
    for search in ("semaphore", "cfg=3.51", "signal", "--since 1h --status success --limit 50 semaphore fog"):
        cell = sandbox(f"%comflowy runs {search}")
        assert [run.ref for run in cell.value] == [result.ref]
        assert result.ref in cell.last[0]["text/plain"]
        assert len(cell.handles) == 1
    assert "No runs match. %comflowy runs shows the latest." in sandbox("%comflowy runs cfg=99").last[0]["text/plain"]


def test_show_and_save_accept_a_run_several_runs_or_one_image(sandbox, tmp_path):
    first = sandbox("%comflowy run default 3::steps=2 3::seed=21 5::batch_size=2").value
    second = sandbox("%comflowy run default 3::steps=2 3::seed=22").value
    cell = sandbox(f"%comflowy show {first.ref}[1]")
    assert cell.last[1]["text/plain"].startswith(f"{first.ref}: 1 image")
    both = sandbox(f"%comflowy show {first.ref} {second.ref}")
    assert len(both.handles) == 3, "a status each, and one grid"
    assert both.last[2]["text/plain"].startswith(f"{first.ref}, {second.ref}: 3 images")
    assert [run.ref for run in both.value] == [first.ref, second.ref]
    sandbox(f"%comflowy save {first.ref}[1] {tmp_path}/one")
    (saved,) = (tmp_path / "one").iterdir()
    assert Image.open(saved).tobytes() == first.images[1].pil().tobytes()


def test_show_fetches_an_image_that_was_deleted_from_disk(sandbox):
    run = sandbox("%comflowy run default 3::steps=2 3::seed=31").value
    content = run.images[0].bytes
    run.images[0].path.unlink()
    cell = sandbox(f"%comflowy show {run.ref}")
    assert cell.error is None
    assert cell.value.images[0].bytes == content


def test_cancel_and_resume_of_finished_runs_report_it(sandbox):
    run = sandbox("%comflowy run default 3::steps=2 3::seed=41").value
    assert "is not running: success" in sandbox(f"%comflowy cancel {run.ref}").last[0]["text/plain"]
    assert sandbox("%comflowy resume").error is None


def test_workflows_aliases_and_fields_are_listed(sandbox, tmp_path):
    aliased = sandbox("%comflowy workflow alias default prompt=6::text")
    assert aliased.error is None
    assert sandbox('%comflowy run default prompt="by alias" steps=2').value.params["6::text"] == "by alias"
    listing = sandbox("%comflowy fields default").last[0]["text/plain"]
    assert re.search(r"6::text +prompt +STRING", listing)
    assert re.search(r"3::sampler_name +CHOICE +euler +euler, ", listing)
    assert sandbox("%comflowy workflow add mine default").error is None
    assert "mine" in sandbox("%comflowy workflows").last[0]["text/plain"]
    assert sandbox("%comflowy run mine steps=2 3::seed=61").error is None


def test_url_of_the_editor_is_accepted_as_a_workflow(sandbox):
    assert sandbox("%comflowy workflow add pasted https://app.example/app?id=default").error is None
    assert sandbox("%comflowy fields pasted").error is None
    for url in ("https://app.example/app", "https://app.example/app?id=a&id=b", "https://[app?id=1"):
        for command in ("workflow add pasted", "fields"):
            assert "must end in ?id=" in str(sandbox(f"%comflowy {command} {url}").error)


def test_adding_a_workflow_that_the_sandbox_does_not_run(sandbox, tmp_path, monkeypatch):
    """Any id was added and then rejected; for a graph, the error named an editor that the sandbox does not have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sketch.json").write_text('{"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}}')
    for reference in ("unknown-id", "https://app.comflowy.com/app?id=unknown-id"):
        refused = sandbox(f"%comflowy workflow add tiny {reference}").error
        assert isinstance(refused, WorkflowError)
        assert "sandbox has no workflow 'unknown-id': it runs only default, img2img" in str(refused)
        assert "%comflowy connect cloud" in str(refused)
    advice = "sandbox can't run sketch, only its own workflows (default, img2img): connect a server"
    added = sandbox("%comflowy workflow add sketch sketch.json").last[0]["text/plain"]
    assert added.startswith(f"sketch is now a graph - {advice}")
    for command in ("run sketch", "fields sketch", "run sketch.json"):
        error = sandbox(f"%comflowy {command}").error
        assert str(error).startswith(advice)
        assert "editor" not in str(error)
    assert re.search(r"sketch +catalogue +no\b", sandbox("%comflowy workflows").last[0]["text/plain"])


def test_fields_stores_the_output_of_the_console(sandbox):
    sandbox("%comflowy workflow add portrait default")
    cell = sandbox(
        '%%comflowy fields portrait\nField_id: 3::sampler_name\nField_info: [["euler", "heun"]]\n'
        'Field_id: 6::text\nField_info: ["STRING", {"multiline": true}]'
    )
    assert cell.error is None
    assert "kept: 3::sampler_name, 6::text" in cell.last[0]["text/plain"]


def test_every_command_has_help(sandbox):
    whole = sandbox("%comflowy help").last[0]["text/plain"]
    for command in ("connect", "run", "runs", "show", "resume"):
        assert command in whole
        help_text = sandbox(f"%comflowy help {command}").last[0]["text/plain"]
        assert f"%comflowy {command}" in help_text
    text = sandbox("%comflowy help run").last[0]["text/plain"]
    assert "--fresh" in text
    assert "ends in ?" in text


def test_the_bare_magic_shows_the_connection(sandbox):
    text = sandbox("%comflowy").last[0]["text/plain"]
    assert text.startswith("connected to sandbox")
    assert "%comflowy run default" in text


def test_without_a_connection_the_error_names_the_ways_to_connect(cell):
    failed_cell = cell("%comflowy run default")
    assert isinstance(failed_cell.error, SettingsError)
    assert "%comflowy connect sandbox" in failed_cell.lines[0]
    assert "no service is connected" in cell("%comflowy").stdout


def test_comflowy_target_connects_automatically(cell, monkeypatch, shared_home):
    monkeypatch.setenv("COMFLOWY_HOME", str(shared_home))
    monkeypatch.setenv("COMFLOWY_TARGET", "sandbox")
    assert cell("%comflowy run default 3::steps=2 3::seed=71").error is None


def test_a_terminal_shows_lines_and_paths(sandbox, shell, monkeypatch):
    monkeypatch.setattr(shell, "kernel", None, raising=False)
    cell = sandbox("%comflowy run default 3::steps=2 3::seed=81")
    lines = cell.stdout.splitlines()
    assert any(" - success in " in line for line in lines)
    assert f"  {cell.value.images[0].path}" in lines
    assert "<Run r" in lines[-1]


def test_a_sweep_as_the_value_of_a_cell_shows_paths_in_a_terminal(sandbox, shell, monkeypatch):
    """Only its status line was printed, though a run and `%comflowy show s1` print the paths of the images."""
    monkeypatch.setattr(shell, "kernel", None, raising=False)
    sweep = sandbox("%comflowy sweep default 3::steps=2 3::seed=82,83").value
    shell.user_ns["sweep"] = sweep
    for source in ("sweep", "import comflowy_nb\ncomflowy_nb.show(sweep)"):
        lines = sandbox(source).stdout.splitlines()
        assert f"  {sweep.cells[1].images[0].path}" in lines, source


def test_no_output_names_an_address_or_the_home_folder(sandbox, shared_home):
    sources = ["%comflowy", "%comflowy runs", "%comflowy show last", "%comflowy workflows", "%comflowy fields default",
               "%comflowy connect sandbox"]  # fmt: skip
    output = "".join(str(sandbox(source).sent) + sandbox(source).stdout for source in sources)
    assert str(shared_home) not in output
    assert "127.0.0.1" not in output
    assert "Bearer" not in output


def test_unloaded_extension_removes_magics_completer_and_callbacks(shell, cell, folder):
    magics = shell.magics_manager.registry["Comflowy"]
    shell.run_line_magic("unload_ext", "comflowy_nb")
    try:
        assert "comflowy" not in shell.magics_manager.magics["line"]
        assert "comflowy" not in shell.magics_manager.magics["cell"]
        assert magics not in shell.configurables
        assert not any("comflowy" in each.__qualname__ for each in shell.Completer.custom_matchers)
        assert magics.session.begin_execution not in shell.events.callbacks["pre_execute"]
        text = shell.display_formatter.format(folder.run())
        assert "<Run r1" in text[0]["text/plain"]
    finally:
        shell.run_line_magic("load_ext", "comflowy_nb")


def test_reloaded_extension_registers_each_callback_once(shell):
    shell.run_line_magic("reload_ext", "comflowy_nb")
    shell.run_line_magic("reload_ext", "comflowy_nb")
    configurables = [each for each in shell.configurables if type(each).__name__ == "Comflowy"]
    assert len(configurables) == 1
    registered = [each for each in shell.events.callbacks["pre_execute"] if "Session" in each.__qualname__]
    assert len(registered) == 1


def test_a_kernel_that_loses_output_gets_one_warning(shell, monkeypatch):
    import sys
    import types

    shell.run_line_magic("unload_ext", "comflowy_nb")
    monkeypatch.setitem(sys.modules, "ipykernel", types.SimpleNamespace(__version__="7.0.1"))
    with pytest.warns(UserWarning, match="ipykernel 7.0.1") as warned:
        shell.run_line_magic("load_ext", "comflowy_nb")
    assert sum("ipykernel" in str(warning.message) for warning in warned) == 1


def test_an_image_shows_itself_with_its_caption(sandbox):
    """The last line `boat.images[0]` of a cell showed a repr, and an image in the middle of a cell nothing."""
    sandbox("boat = get_ipython().run_line_magic('comflowy', 'run default steps=2 seed=31 --as boat')")
    cell = sandbox("boat.images[0]")
    assert cell.error is None
    (shown,) = cell.last
    assert "image/jpeg" in shown
    assert shown["text/plain"].startswith(f"{cell.value.run.ref}: 1 image")
    twice = sandbox(
        "display(boat.images[0])\ndisplay(boat.images[0])\nimport comflowy_nb\ncomflowy_nb.show(boat.images[0])"
    )
    assert len(twice.last) == 2, "a value is displayed once, and `show` displays it again"


def test_a_run_can_be_awaited_in_a_cell(sandbox):
    cell = sandbox(
        "import comflowy_nb\nclient = comflowy_nb.connect('sandbox')\n"
        "(await client.run('default', {'steps': 2, 'seed': 32}, wait=False)).status"
    )
    assert cell.error is None
    assert cell.value == "success"
