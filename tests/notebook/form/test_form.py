"""Forms without a browser: the tests set widgets and press buttons; the runs are on the real sandbox."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading

import ipywidgets as widgets
import pytest
from IPython.core.error import UsageError
from PIL import Image
from waiting import wait_until

import comflowy_nb
from comflowy_nb.errors import FieldError, RefError, WorkflowError
from comflowy_nb.notebook.form.fields import FormField, form_fields
from comflowy_nb.notebook.form.form import Form
from comflowy_nb.notebook.form.image_control import ImageControl
from comflowy_nb.status import Status
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.workflow import Workflow

SMALL = "width=128 height=128 steps=3"


@pytest.fixture
def form(sandbox):
    """Return a function: `form("steps=3")` opens a form for `default`, with this text on its line."""
    opened_forms = []

    def make(words=SMALL, workflow="default"):
        cell = sandbox(f"%comflowy form {workflow} {words}")
        assert cell.error is None, cell.error
        opened_forms.append(cell.value)
        return cell.value

    yield make
    for widget in opened_forms:
        widget.close()


@pytest.fixture
def python_form(form, sandbox, shell):
    """Return a function: `python_form("default", {"3::cfg": (1, 20)})` creates a form in Python."""
    closed = []

    def make(*args, **options):
        closed.append(comflowy_nb.form(*args, **options))
        return closed[-1]

    yield make
    for widget in closed:
        widget.close()


def secrets_of(home):
    """Return the key in the private file of the sandbox."""
    files = [path for path in (home / "sandbox").glob("*.json") if path.stat().st_mode & 0o077 == 0]
    secrets = [value for path in files for value in json.loads(path.read_text()).values() if isinstance(value, str)]
    assert secrets
    return [value for value in secrets if len(value) > 12]


def control(form, key):
    return form._body._controls[key]


def box(form, key):
    return control(form, key).input


def choose_file(chooser, name, content):
    """Change the widget as the browser does when the user chooses a file."""
    about = {"name": name, "type": "image/png", "size": len(content)}
    if isinstance(chooser.value, tuple):
        now = dt.datetime.now(dt.UTC)
        chooser.value = ({**about, "last_modified": now, "content": memoryview(content)},)
    else:  # ipywidgets 7
        chooser.set_state({"metadata": [about], "data": [memoryview(content)], "_counter": 1})


def run_button(widget):
    """Return the button Run among the widgets inside a form; None if there is none."""
    for part in getattr(widget, "children", ()):
        found = part if isinstance(part, widgets.Button) and part.description == "Run" else run_button(part)
        if found is not None:
            return found
    return None


def press(form):
    """Press Run, not as a double click, and wait until the run is submitted or the form shows a problem."""
    count = len(form.runs)
    form._last_click_s = float("-inf")
    run_button(form).click()
    wait_until(lambda: len(form.runs) > count or form._problem.value)


def settle(form):
    """Wait until the runs are settled and the form shows their status, thumbnails and images."""

    def is_shown():
        with form._history._lock:  # the form holds the lock while it draws
            statuses = {each["token"]: each["status"] for each in form._history.strip.items}
            successful = {run.token for run in form.runs if run.status is Status.SUCCESS}
            return successful <= set(form._history.strip.thumbs) and all(
                run.record.is_settled and statuses.get(run.token) == run.status for run in form.runs
            )

    wait_until(is_shown)


def item(form, number):
    return form._history.strip.items[number]


# -- fields and values --------------------------------------------------------------------------------------------


def test_every_field_has_a_control_with_its_label_and_default(form):
    opened_form = form()
    workflow = opened_form.client.workflow("default")
    assert set(opened_form._body._controls) == set(workflow.fields)
    for key, field in workflow.fields.items():
        assert box(opened_form, key).description == field.name
        if key not in {"5::width", "5::height", "3::steps"}:
            assert str(box(opened_form, key).value) in {
                str(field.default),
                str(float(field.default)) if isinstance(field.default, int) else "",
            }
    kinds = {"6::text": "Textarea", "3::cfg": "FloatText", "3::denoise": "FloatSlider", "3::sampler_name": "Dropdown"}
    assert {key: type(box(opened_form, key)).__name__ for key in kinds} == kinds


def test_only_typed_or_changed_values_are_submitted(form):
    opened_form = form()
    assert opened_form.params == {"3::steps": 3, "5::width": 128, "5::height": 128}
    box(opened_form, "3::cfg").value = 5.5
    assert opened_form.params["3::cfg"] == 5.5
    box(opened_form, "3::cfg").value = 8.0
    assert "3::cfg" not in opened_form.params, "the default is not submitted"


def test_the_same_values_are_the_same_request_as_on_the_line(form, sandbox):
    line = sandbox(f"%comflowy run default {SMALL} cfg=4.5")
    opened_form = form(f"{SMALL} cfg=4.5")
    press(opened_form)
    settle(opened_form)
    assert opened_form.runs[0].ref == line.value.ref
    assert "same as" in opened_form._history.status.value


def test_fields_are_grouped_by_node_with_prompts_first(form):
    opened_form = form()
    titles = [box.children[0].value for box, _ in opened_form._body._groups]
    assert "CLIP Text Encode" in titles[0]
    assert "CLIP Text Encode" in titles[1]
    assert "KSampler" in titles[2]


def test_a_form_from_a_run_starts_with_its_values(form, sandbox):
    run = sandbox(f'%comflowy run default {SMALL} cfg=3 6::text="a sailing boat" --as boat').value
    opened_form = form("--from boat", workflow="")
    assert opened_form.params == run.params
    press(opened_form)
    settle(opened_form)
    assert opened_form.runs[0].ref == run.ref


def test_the_saved_notebook_shows_the_values_of_the_form(sandbox, form, answering):
    cell = sandbox(f"%comflowy form default {SMALL}")
    bundles = cell.last
    assert len(bundles) == 3, "the form, and below it a display for images and one for a comparison"
    assert "application/vnd.jupyter.widget-view+json" in bundles[0]
    assert "KSampler" in bundles[0]["text/html"]
    assert "128" in bundles[0]["text/plain"]
    assert "script" not in bundles[0]["text/html"]
    again = sandbox(f"f = get_ipython().run_line_magic('comflowy', 'form default {SMALL}')\nf")
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in again.last) == 1
    for opened_form in (cell.value, again.value):
        opened_form.close()


# -- running ------------------------------------------------------------------------------------------------------


def test_run_does_not_block_and_shows_the_image_below_the_form(sandbox, form, monkeypatch):
    cell = sandbox(f"%comflowy form default {SMALL} cfg=2.5 --as made")
    opened_form = cell.value
    submit, may_submit = opened_form.client.submit, threading.Event()
    monkeypatch.setattr(
        opened_form.client, "submit", lambda *args, **options: may_submit.wait(30) and submit(*args, **options)
    )
    run_button(opened_form).click()
    assert opened_form.runs == (), "the click did not wait for the service"
    may_submit.set()
    wait_until(lambda: opened_form.runs)
    settle(opened_form)
    assert opened_form.runs[0].status is Status.SUCCESS
    assert item(opened_form, 0)["changed"] == "as it was opened"
    assert item(opened_form, 0)["has_images"]
    assert "success" in opened_form._history.status.value
    opened_form.close()


def test_a_double_click_submits_once_unless_a_value_changes(form):
    opened_form = form(f"{SMALL} cfg=2.25")
    for _ in range(3):
        run_button(opened_form).click()
    wait_until(lambda: opened_form.runs)
    settle(opened_form)
    assert len(opened_form.runs) == 1
    box(opened_form, "3::cfg").value = 2.75
    run_button(opened_form).click()
    box(opened_form, "3::cfg").value = 3.25
    run_button(opened_form).click()  # in immediate succession, like messages in the queue of a busy kernel
    wait_until(lambda: len(opened_form.runs) == 3)
    settle(opened_form)
    assert [run.params["3::cfg"] for run in opened_form.runs] == [2.25, 2.75, 3.25]
    assert item(opened_form, 2)["changed"] == "cfg 2.75 → 3.25"


def test_each_of_several_runs_shows_its_status(form):
    opened_form = form("steps=40 width=256 height=256 seed=71")
    statuses_shown = []
    opened_form._history.strip.observe(
        lambda change: statuses_shown.append({each["status"] for each in change["new"]}), names="items"
    )
    for cfg in (1.5, 2.5, 3.5, 4.5):
        box(opened_form, "3::cfg").value = cfg
        press(opened_form)
    settle(opened_form)
    assert any(len(statuses) > 1 for statuses in statuses_shown)
    assert {each["status"] for each in opened_form._history.strip.items} == {"success"}
    assert len({run.token for run in opened_form.runs}) == 4


def test_stop_cancels_the_runs_of_the_form(form):
    opened_form = form("steps=3000 width=256 height=256")
    press(opened_form)
    wait_until(lambda: opened_form.runs[0].status is Status.RUNNING)
    opened_form._history.stop_button.click()
    wait_until(lambda: opened_form.runs[0].status is Status.CANCELLED)
    settle(opened_form)
    assert opened_form._history.stop_button.disabled
    assert "cancelled" in opened_form._history.status.value


def test_an_invalid_value_is_reported_and_nothing_is_submitted(form):
    opened_form = form()
    box(opened_form, "3::cfg").value = 1000.0
    box(opened_form, "5::width").value = 2.5
    assert "above 100" in control(opened_form, "3::cfg")._problem_html.value
    assert "whole number" in control(opened_form, "5::width")._problem_html.value
    assert set(opened_form.problems) == {"3::cfg", "5::width"}
    assert "3::cfg" not in opened_form.params
    press(opened_form)
    assert opened_form.runs == ()
    assert "above 100" in opened_form._problem.value
    assert "whole number" in opened_form._problem.value
    with pytest.raises(FieldError, match="above 100"):
        opened_form.run()
    box(opened_form, "3::cfg").value, box(opened_form, "5::width").value = 7.0, 128
    assert not opened_form.problems
    assert control(opened_form, "3::cfg")._problem_html.value == ""
    press(opened_form)
    assert opened_form._problem.value == ""
    settle(opened_form)


def test_a_click_submits_the_values_in_the_browser(form):
    """While the kernel was busy, a click on Run overtook the last change, and the value before it was submitted.

    ipywidgets delays changes of a widget whose earlier change is not answered, but never a click.
    """
    opened_form = form()
    ids = {key: box(opened_form, key).model_id for key in ("3::cfg", "3::sampler_name", "6::text")}
    assert set(ids.values()) <= set(opened_form._history.strip.inputs)
    opened_form._history.strip._on_message(
        None, {"values": {ids["3::cfg"]: 2.125, ids["3::sampler_name"]: 2, ids["6::text"]: "newest", "gone": 1}}, None
    )
    assert (opened_form.params["3::cfg"], opened_form.params["6::text"]) == (2.125, "newest")
    assert opened_form.params["3::sampler_name"] == box(opened_form, "3::sampler_name").options[2][1]
    opened_form._history.strip._on_message(None, {"values": {ids["3::sampler_name"]: 99}}, None)
    assert opened_form.params["3::sampler_name"] == box(opened_form, "3::sampler_name").options[2][1]


def test_click_on_an_earlier_run_restores_all_values(form):
    opened_form = form(f"{SMALL} cfg=6.5")
    press(opened_form)
    box(opened_form, "6::text").value = "a lighthouse"
    box(opened_form, "3::cfg").value = 9.0
    press(opened_form)
    settle(opened_form)
    assert item(opened_form, 1)["changed"].startswith("cfg 6.5 → 9")
    assert "+ a lighthouse" in item(opened_form, 1)["changed"]
    opened_form._history.strip._on_message(None, {"pick": opened_form.runs[0].token}, None)
    assert opened_form.params == opened_form.runs[0].params
    assert opened_form._history.strip.shown == opened_form.runs[0].token
    opened_form.go_back(opened_form.runs[1])
    assert box(opened_form, "6::text").value == "a lighthouse"
    assert opened_form.params == opened_form.runs[1].params


def test_marked_runs_are_compared(form):
    opened_form = form(f"{SMALL} seed=5")
    for cfg in (2.0, 12.0):
        box(opened_form, "3::cfg").value = cfg
        press(opened_form)
    settle(opened_form)
    opened_form._history.strip._on_message(None, {"compare": [run.token for run in opened_form.runs]}, None)
    wait_until(lambda: opened_form._history._comparison is not None)
    assert opened_form._history._comparison.names == [run.ref for run in opened_form.runs]
    opened_form._history.strip._on_message(None, {"compare": [opened_form.runs[0].token]}, None)
    wait_until(lambda: "two or more" in opened_form._problem.value)


def test_the_cell_of_a_form_is_the_same_request(form, sandbox):
    opened_form = form(f'{SMALL} cfg=5.25 6::text="a {{{{cat}}}} #1"')
    press(opened_form)
    settle(opened_form)
    again = sandbox(opened_form.cell())
    assert again.value.ref == opened_form.runs[0].ref


def test_each_of_several_comparisons_is_shown_once(sandbox, shell):
    """The second comparison of a kernel was shown twice: by the magic, and as the value of its cell.

    IPython looks formatters up by class, and anywidget creates a class for every instance.
    """
    shell.user_ns.update(a=Image.new("RGB", (8, 8), "red"), b=Image.new("RGB", (8, 8), "blue"))
    for _ in range(3):
        cell = sandbox("%comflowy compare {a} {b}")
        assert cell.error is None
        assert sum("image/jpeg" in data for data in cell.last) == 1
        cell.value.close()


# -- seeds --------------------------------------------------------------------------------------------------------


def test_seeds_keep_every_digit(form):
    opened_form = form(f"{SMALL} seed={2**64 - 1}")
    assert box(opened_form, "3::seed").value == str(2**64 - 1)
    assert opened_form.params["3::seed"] == 2**64 - 1


def test_seed_modes_fixed_random_and_count_up(form):
    opened_form = form(f"{SMALL} seed=100")
    mode = control(opened_form, "3::seed").mode
    assert mode.value == "fixed"
    mode.value = "count up"
    for _ in range(3):
        press(opened_form)
    mode.value = "random"
    press(opened_form)
    settle(opened_form)
    seeds = [run.params["3::seed"] for run in opened_form.runs]
    assert seeds[:3] == [100, 101, 102]
    assert seeds[3] not in seeds[:3]
    assert box(opened_form, "3::seed").value == str(seeds[3]), "the box shows the submitted seed"
    assert "seed 101 → 102" in item(opened_form, 2)["changed"]


def test_random_on_the_line_generates_a_seed_for_every_run(form):
    opened_form = form(f"{SMALL} seed=random")
    assert control(opened_form, "3::seed").mode.value == "random"
    press(opened_form)
    press(opened_form)
    settle(opened_form)
    assert len({run.params["3::seed"] for run in opened_form.runs}) == 2


def test_count_up_starts_with_the_default_seed(form):
    opened_form = form()
    control(opened_form, "3::seed").mode.value = "count up"
    press(opened_form)
    press(opened_form)
    settle(opened_form)
    first, second = (run.params.get("3::seed") for run in opened_form.runs)
    assert (first, second) == (156680208700286, 156680208700287)


def test_count_up_continues_from_a_seed_that_is_still_being_submitted(form, monkeypatch):
    """A second click before the first run was submitted used the same seed again."""
    opened_form = form(f"{SMALL} seed=100")
    control(opened_form, "3::seed").mode.value = "count up"
    submit, may_submit = opened_form.client.submit, threading.Event()
    monkeypatch.setattr(
        opened_form.client, "submit", lambda *args, **options: may_submit.wait(30) and submit(*args, **options)
    )
    for _ in range(3):
        opened_form._last_click_s = float("-inf")
        run_button(opened_form).click()
    may_submit.set()
    wait_until(lambda: len(opened_form.runs) == 3)
    assert [run.params["3::seed"] for run in opened_form.runs] == [100, 101, 102]
    settle(opened_form)


def test_the_same_run_again_keeps_its_description_of_changes(form):
    opened_form = form(f"{SMALL} seed=5")
    press(opened_form)
    box(opened_form, "3::cfg").value = 3.75
    press(opened_form)
    settle(opened_form)
    opened_form._last_click_s = float("-inf")
    run_button(opened_form).click()
    wait_until(lambda: item(opened_form, 1)["status_text"] == "same")
    assert item(opened_form, 1)["changed"] == "cfg 8 → 3.75"
    assert len(opened_form.runs) == 2


# -- in Python, and for workflows without descriptions ------------------------------------------------------------


def test_abbreviations_of_interact_make_sliders_and_choices(python_form):
    opened_form = python_form(
        "default",
        {"3::steps": (1, 30), "sampler_name": ["euler", "heun"], "6::text": {"day": "at noon", "night": "at night"}},
    )
    assert isinstance(box(opened_form, "3::steps"), widgets.IntSlider)
    assert box(opened_form, "3::steps").max == 30
    assert box(opened_form, "3::sampler_name").options == (("euler", "euler"), ("heun", "heun"))
    assert box(opened_form, "6::text").label == "day"
    assert opened_form.params["6::text"] == "at noon"


def test_a_form_for_a_workflow_without_descriptions_has_the_given_fields():
    from comflowy_nb.notebook.form.fields import abbreviated_fields, form_fields
    from comflowy_nb.workflow.workflow import Workflow

    bare = Workflow("wf-1", "wf-1", is_partial=True)
    described = abbreviated_fields(bare, {"3::cfg": (1.0, 9.0, 0.5), "6::text": "a cat", "3::steps": 20})
    values = {key: field_.value for key, field_ in described.items()}
    fields = form_fields(bare, values, explicit=list(values), described=described)
    assert [(field.field.id, field.field.type, field.value) for field in fields] == [
        ("3::cfg", FieldType.FLOAT, 5.0),
        ("6::text", FieldType.STRING, "a cat"),
        ("3::steps", FieldType.UNKNOWN, 20),
    ]
    with pytest.raises(WorkflowError, match="%%comflowy fields wf-1"):
        form_fields(bare, {}, explicit=())
    with pytest.raises(FieldError, match="'cfg' is not a field id"):
        abbreviated_fields(bare, {"cfg": 3})


def test_a_form_in_another_layout_shows_its_images_inside(python_form):
    opened_form = python_form("default", {"width": 128, "height": 128, "steps": 2, "cfg": 4.75})
    around = widgets.HBox([opened_form])
    opened_form.run()
    settle(opened_form)
    wait_until(lambda: opened_form._history._images.widget.children)
    (image,) = opened_form._history._images.widget.children
    assert Image.open(io.BytesIO(image.value)).format == "JPEG"
    around.close()


def test_params_and_runs_can_be_observed(python_form):
    opened_form = python_form("default", {"steps": 2, "width": 128, "height": 128})
    observed = []
    opened_form.observe(lambda change: observed.append(change["name"]), names=["params", "runs"])
    opened_form.set({"cfg": 5.75})
    assert opened_form.params["3::cfg"] == 5.75
    opened_form.run()
    settle(opened_form)
    assert observed == ["params", "runs"]


def test_unknown_keywords_and_names_are_errors(python_form):
    with pytest.raises(TypeError, match="steps"):
        python_form("default", steps=4)
    opened_form = python_form("default")
    with pytest.raises(FieldError, match="nonsense"):
        opened_form.set({"nonsense": 1, "cfg": 3.25})
    assert opened_form.params == {"3::cfg": 3.25}, "the others are set"


def test_closing_frees_the_widgets_and_stops_the_thread(python_form):
    before = len(widgets.Widget.get_manager_state()["state"])
    opened_form = python_form("default", {"steps": 2, "width": 128, "height": 128, "cfg": 1.25})
    opened_form.run()
    settle(opened_form)
    opened_form.close()
    opened_form.close()
    after = len(widgets.Widget.get_manager_state()["state"])
    assert after <= before
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("comflowy-form")])


def test_the_saved_state_is_small_and_contains_no_key(form, shared_home):
    before = len(json.dumps(widgets.Widget.get_manager_state()["state"], default=str))  # the forms of other tests
    opened_form = form(f"{SMALL} seed=9")
    for cfg in (1.0, 5.0, 10.0):
        box(opened_form, "3::cfg").value = cfg
        press(opened_form)
    settle(opened_form)
    state = json.dumps(widgets.Widget.get_manager_state()["state"], default=str)
    assert len(state) - before < 300_000
    for secret in secrets_of(shared_home):
        assert secret not in state
    assert str(shared_home) not in state


# -- images -------------------------------------------------------------------------------------------------------


def test_a_chosen_image_has_a_preview_and_is_not_kept_in_the_widget(form, tmp_path):
    opened_form = form("steps=2", workflow="img2img")
    image = control(opened_form, "1::image")
    path = tmp_path / "photo.png"
    Image.new("RGB", (640, 480), "teal").save(path)
    content = path.read_bytes()
    choose_file(image._chooser, "photo.png", content)
    assert image.input.value == "photo.png"
    assert image._preview.layout.display == ""
    assert len(image._preview.value) < 10_000
    assert not image._chooser.value
    state = json.dumps(image._chooser.get_state(), default=lambda value: bytes(value).hex())
    assert "photo.png" not in state
    assert content[:100].hex() not in state
    press(opened_form)
    settle(opened_form)
    assert opened_form.runs[0].status is Status.SUCCESS, opened_form.runs[0].error
    assert opened_form.runs[0].params["1::image"] != "example.png"


def test_a_file_with_the_name_of_the_default_is_another_image(form):
    """A chosen file named example.png was not submitted: its name equals the default."""
    opened_form = form("steps=2", workflow="img2img")
    assert "1::image" not in opened_form.params
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
    choose_file(control(opened_form, "1::image")._chooser, "example.png", buffer.getvalue())
    assert opened_form.params["1::image"].name == "example.png"
    assert opened_form.params["1::image"].load() == buffer.getvalue()


def test_image_reference_can_be_typed_as_on_a_line(form, sandbox, tmp_path):
    run = sandbox(f"%comflowy run default {SMALL} cfg=1.75").value
    opened_form = form("steps=2", workflow="img2img")
    box(opened_form, "1::image").value = f"run:{run.ref}[0]"
    assert not opened_form.problems
    box(opened_form, "1::image").value = "file:missing.png"
    assert "no file" in opened_form.problems["1::image"]
    (tmp_path / "text.png").write_text("no image")
    box(opened_form, "1::image").value = f"file:{tmp_path}/text.png"
    assert "can't be read as an image" in opened_form.problems["1::image"]


def test_a_service_without_uploads_needs_an_address():
    field = Field("1::image", FieldType.IMAGEUPLOAD)
    image = ImageControl(field, "image", can_upload=False, open_run=lambda ref: None)
    assert "accepts no uploads" in image.widget.children[1].value
    image.show("https://example.org/a.png")
    assert image.read() == "https://example.org/a.png"
    image.show("file:a.png")
    with pytest.raises(FieldError, match="accepts no uploads: use the https address"):
        image.read()
    assert "https address" in image._problem_html.value


# -- invalid input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("%comflowy form", UsageError, "needs a WORKFLOW"),
        ("%comflowy form defualt", WorkflowError, "default"),
        ("%comflowy form default cfg=lots", FieldError, "not a number"),
        ("%comflowy form default cfg=1..3", FieldError, "sweep"),
        ("%comflowy form --from missing", RefError, "missing"),
    ],
)
def test_errors_are_raised_before_anything_is_shown(sandbox, line, kind, message):
    cell = sandbox(line)
    assert isinstance(cell.error, kind)
    assert message in (cell.lines[0] if cell.lines else str(cell.error))
    assert cell.last == []


def test_a_terminal_names_the_commands_to_use_instead(cell, shell, shared_home, monkeypatch):
    monkeypatch.setenv("COMFLOWY_HOME", str(shared_home))
    cell("%comflowy connect sandbox")
    form_cell = cell("%comflowy form default")
    assert form_cell.error is None
    assert "a form needs a notebook" in form_cell.stdout


def test_texts_of_a_service_are_escaped(form):
    from comflowy_nb.notebook.form.controls import show_alert
    from comflowy_nb.notebook.form.layout import FormBody

    opened_form = form()
    history = opened_form._history
    history.say("<img src=x onerror=alert(1)>")
    assert "<img" not in history.status.value
    show_alert(opened_form._problem, "<b>bold</b>")
    assert "<b>" not in opened_form._problem.value
    bad = FormField(Field("1::<i>x</i>", FieldType.STRING, default="x", node_title="<script>"), "x")

    body = FormBody(opened_form.client, opened_form.workflow, [bad], changed=lambda: None)
    assert "<script>" not in body._groups[0][0].children[0].value


def test_a_default_that_is_not_an_option_is_reported_before_anything_is_submitted(form):
    opened_form = form()
    options = ("sdxl.safetensors", "v1-5.safetensors")
    fields = {"4::ckpt_name": Field("4::ckpt_name", FieldType.CHOICE, options, default="v1-5-x.safetensors")}
    workflow = Workflow("default", "default", fields=fields)
    other = Form(
        opened_form.client, workflow, form_fields(workflow, {}, explicit=()), updater=opened_form._history._updater
    )
    assert "'v1-5-x.safetensors' is not one of" in other.problems["4::ckpt_name"]
    assert "Did you mean v1-5.safetensors" in control(other, "4::ckpt_name")._problem_html.value
    press(other)
    assert other.runs == ()
    box(other, "4::ckpt_name").value = "v1-5.safetensors"
    assert other.problems == {}
    assert other.params == {"4::ckpt_name": "v1-5.safetensors"}
    other.close()


# -- on a ComfyUI server ------------------------------------------------------------------------------------------


def test_a_form_for_a_comfyui_server_shows_its_models_and_previews(comfy, cell, handles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    comfy.previews = True
    comfy.pause_at("3", 4)
    assert cell(f"%comflowy connect home={comfy.url}").error is None
    form_cell = cell("%comflowy form default 5::width=64 5::height=64 3::steps=8")
    assert form_cell.error is None, form_cell.error
    opened_form = form_cell.value
    assert box(opened_form, "4::ckpt_name").options, "the checkpoints of this server"
    assert box(opened_form, "3::seed").value == "156680208700286"
    press(opened_form)
    wait_until(lambda: opened_form._history.strip.preview)
    assert opened_form._history.strip.preview["token"] == opened_form.runs[0].token
    assert opened_form._history.strip.preview["url"].startswith("data:image/jpeg;base64,")
    assert "base64" not in opened_form._history.status.value, "the preview does not move other parts"
    comfy.resume()
    settle(opened_form)
    assert opened_form.runs[0].status is Status.SUCCESS
    opened_form.close()
