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
    """`form("steps=3")`: a form for `default`, with this text on its line."""
    made = []

    def make(words=SMALL, workflow="default"):
        cell = sandbox(f"%comflowy form {workflow} {words}")
        assert cell.error is None, cell.error
        made.append(cell.value)
        return cell.value

    yield make
    for one in made:
        one.close()


@pytest.fixture
def made(form, sandbox, shell):
    """`made("default", {"3::cfg": (1, 20)})`: a form created in Python."""
    closed = []

    def make(*args, **options):
        closed.append(comflowy_nb.form(*args, **options))
        return closed[-1]

    yield make
    for one in closed:
        one.close()


def secrets_of(home):
    """Return the key in the private file of the sandbox."""
    files = [path for path in (home / "sandbox").glob("*.json") if path.stat().st_mode & 0o077 == 0]
    found = [value for path in files for value in json.loads(path.read_text()).values() if isinstance(value, str)]
    assert found
    return [value for value in found if len(value) > 12]


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


def press(form):
    """Press Run, not as a double click, and wait until the run is submitted or the form shows a problem."""
    count = len(form.runs)
    form._last_click_s = float("-inf")
    form._run_button.click()
    wait_until(lambda: len(form.runs) > count or form._problem.value)


def settle(form):
    """Wait until the runs are settled and the form shows their status, thumbnails and images."""

    def is_shown():
        with form._history._lock:  # drawing holds it to its end
            shown = {each["token"]: each["status"] for each in form._history.strip.items}
            kept = {run.token for run in form.runs if run.status is Status.SUCCESS}
            return kept <= set(form._history.strip.thumbs) and all(
                run.record.is_settled and shown.get(run.token) == run.status for run in form.runs
            )

    wait_until(is_shown)


def item(form, number):
    return form._history.strip.items[number]


# -- fields and values --------------------------------------------------------------------------------------------


def test_every_field_has_a_control_with_its_label_and_default(form):
    one = form()
    workflow = one.client.workflow("default")
    assert set(one._body._controls) == set(workflow.fields)
    for key, field in workflow.fields.items():
        assert box(one, key).description == field.name
        if key not in {"5::width", "5::height", "3::steps"}:
            assert str(box(one, key).value) in {
                str(field.default),
                str(float(field.default)) if isinstance(field.default, int) else "",
            }
    kinds = {"6::text": "Textarea", "3::cfg": "FloatText", "3::denoise": "FloatSlider", "3::sampler_name": "Dropdown"}
    assert {key: type(box(one, key)).__name__ for key in kinds} == kinds


def test_only_typed_or_changed_values_are_submitted(form):
    one = form()
    assert one.params == {"3::steps": 3, "5::width": 128, "5::height": 128}
    box(one, "3::cfg").value = 5.5
    assert one.params["3::cfg"] == 5.5
    box(one, "3::cfg").value = 8.0
    assert "3::cfg" not in one.params, "the default is not submitted"


def test_the_same_values_are_the_same_request_as_on_the_line(form, sandbox):
    line = sandbox(f"%comflowy run default {SMALL} cfg=4.5")
    one = form(f"{SMALL} cfg=4.5")
    press(one)
    settle(one)
    assert one.runs[0].ref == line.value.ref
    assert "same as" in one._history.status.value


def test_fields_are_grouped_by_node_with_prompts_first(form):
    one = form()
    titles = [box.children[0].value for box, _ in one._body._groups]
    assert "CLIP Text Encode" in titles[0]
    assert "CLIP Text Encode" in titles[1]
    assert "KSampler" in titles[2]


def test_a_form_from_a_run_starts_with_its_values(form, sandbox):
    run = sandbox(f'%comflowy run default {SMALL} cfg=3 6::text="a sailing boat" --as boat').value
    one = form("--from boat", workflow="")
    assert one.params == run.params
    press(one)
    settle(one)
    assert one.runs[0].ref == run.ref


def test_the_saved_notebook_shows_the_values_of_the_form(sandbox, form):
    cell = sandbox(f"%comflowy form default {SMALL}")
    shown = cell.last
    assert len(shown) == 3, "the form, and below it a display for images and one for a comparison"
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    assert "KSampler" in shown[0]["text/html"]
    assert "128" in shown[0]["text/plain"]
    assert "script" not in shown[0]["text/html"]
    again = sandbox(f"f = get_ipython().run_line_magic('comflowy', 'form default {SMALL}')\nf")
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in again.last) == 1
    for one in (cell.value, again.value):
        one.close()


# -- running ------------------------------------------------------------------------------------------------------


def test_run_does_not_block_and_shows_the_image_below_the_form(sandbox, form, monkeypatch):
    cell = sandbox(f"%comflowy form default {SMALL} cfg=2.5 --as made")
    one = cell.value
    submit, may_submit = one.client.submit, threading.Event()
    monkeypatch.setattr(one.client, "submit", lambda *args, **options: may_submit.wait(30) and submit(*args, **options))
    one._run_button.click()
    assert one.runs == (), "the click did not wait for the service"
    may_submit.set()
    wait_until(lambda: one.runs)
    settle(one)
    assert one.runs[0].status is Status.SUCCESS
    assert item(one, 0)["changed"] == "as it was opened"
    assert item(one, 0)["has_images"]
    assert "success" in one._history.status.value
    one.close()


def test_a_double_click_submits_once_unless_a_value_changes(form):
    one = form(f"{SMALL} cfg=2.25")
    for _ in range(3):
        one._run_button.click()
    wait_until(lambda: one.runs)
    settle(one)
    assert len(one.runs) == 1
    box(one, "3::cfg").value = 2.75
    one._run_button.click()
    box(one, "3::cfg").value = 3.25
    one._run_button.click()  # at once, as from a busy kernel's queue
    wait_until(lambda: len(one.runs) == 3)
    settle(one)
    assert [run.params["3::cfg"] for run in one.runs] == [2.25, 2.75, 3.25]
    assert item(one, 2)["changed"] == "cfg 2.75 → 3.25"


def test_each_of_several_runs_shows_its_own_status(form):
    one = form("steps=40 width=256 height=256 seed=71")
    seen = []
    one._history.strip.observe(lambda change: seen.append({each["status"] for each in change["new"]}), names="items")
    for cfg in (1.5, 2.5, 3.5, 4.5):
        box(one, "3::cfg").value = cfg
        press(one)
    settle(one)
    assert any(len(statuses) > 1 for statuses in seen)
    assert {each["status"] for each in one._history.strip.items} == {"success"}
    assert len({run.token for run in one.runs}) == 4


def test_stop_cancels_the_runs_of_the_form(form):
    one = form("steps=3000 width=256 height=256")
    press(one)
    wait_until(lambda: one.runs[0].status is Status.RUNNING)
    one._history.stop_button.click()
    wait_until(lambda: one.runs[0].status is Status.CANCELLED)
    settle(one)
    assert one._history.stop_button.disabled
    assert "cancelled" in one._history.status.value


def test_an_invalid_value_is_reported_and_nothing_is_submitted(form):
    one = form()
    box(one, "3::cfg").value = 1000.0
    box(one, "5::width").value = 2.5
    assert "above 100" in control(one, "3::cfg")._problem_html.value
    assert "whole number" in control(one, "5::width")._problem_html.value
    assert set(one.problems) == {"3::cfg", "5::width"}
    assert "3::cfg" not in one.params
    press(one)
    assert one.runs == ()
    assert "above 100" in one._problem.value
    assert "whole number" in one._problem.value
    with pytest.raises(FieldError, match="above 100"):
        one.run()
    box(one, "3::cfg").value, box(one, "5::width").value = 7.0, 128
    assert not one.problems
    assert control(one, "3::cfg")._problem_html.value == ""
    press(one)
    assert one._problem.value == ""
    settle(one)


def test_a_click_submits_the_values_in_the_browser(form):
    """While the kernel was busy, a click on Run overtook the last change, and the value before it was submitted.

    ipywidgets delays changes of a widget whose earlier change is not answered, but never a click.
    """
    one = form()
    ids = {key: box(one, key).model_id for key in ("3::cfg", "3::sampler_name", "6::text")}
    assert set(ids.values()) <= set(one._history.strip.inputs)
    one._history.strip._on_message(
        None, {"values": {ids["3::cfg"]: 2.125, ids["3::sampler_name"]: 2, ids["6::text"]: "newest", "gone": 1}}, None
    )
    assert (one.params["3::cfg"], one.params["6::text"]) == (2.125, "newest")
    assert one.params["3::sampler_name"] == box(one, "3::sampler_name").options[2][1]
    one._history.strip._on_message(None, {"values": {ids["3::sampler_name"]: 99}}, None)
    assert one.params["3::sampler_name"] == box(one, "3::sampler_name").options[2][1]


def test_going_back_restores_all_values(form):
    one = form(f"{SMALL} cfg=6.5")
    press(one)
    box(one, "6::text").value = "a lighthouse"
    box(one, "3::cfg").value = 9.0
    press(one)
    settle(one)
    assert item(one, 1)["changed"].startswith("cfg 6.5 → 9")
    assert "+ a lighthouse" in item(one, 1)["changed"]
    one._history.strip._on_message(None, {"pick": one.runs[0].token}, None)
    assert one.params == one.runs[0].params
    assert one._history.strip.shown == one.runs[0].token
    one.go_back(one.runs[1])
    assert box(one, "6::text").value == "a lighthouse"
    assert one.params == one.runs[1].params


def test_marked_runs_are_compared(form):
    one = form(f"{SMALL} seed=5")
    for cfg in (2.0, 12.0):
        box(one, "3::cfg").value = cfg
        press(one)
    settle(one)
    one._history.strip._on_message(None, {"compare": [run.token for run in one.runs]}, None)
    wait_until(lambda: one._history._comparison is not None)
    assert one._history._comparison.names == [run.ref for run in one.runs]
    one._history.strip._on_message(None, {"compare": [one.runs[0].token]}, None)
    wait_until(lambda: "two or more" in one._problem.value)


def test_the_cell_of_a_form_is_the_same_request(form, sandbox):
    one = form(f'{SMALL} cfg=5.25 6::text="a {{{{cat}}}} #1"')
    press(one)
    settle(one)
    again = sandbox(one.cell())
    assert again.value.ref == one.runs[0].ref


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
    one = form(f"{SMALL} seed={2**64 - 1}")
    assert box(one, "3::seed").value == str(2**64 - 1)
    assert one.params["3::seed"] == 2**64 - 1


def test_fixed_random_and_count_up(form):
    one = form(f"{SMALL} seed=100")
    mode = control(one, "3::seed").mode
    assert mode.value == "fixed"
    mode.value = "count up"
    for _ in range(3):
        press(one)
    mode.value = "random"
    press(one)
    settle(one)
    seeds = [run.params["3::seed"] for run in one.runs]
    assert seeds[:3] == [100, 101, 102]
    assert seeds[3] not in seeds[:3]
    assert box(one, "3::seed").value == str(seeds[3]), "the box shows the submitted seed"
    assert "seed 101 → 102" in item(one, 2)["changed"]


def test_random_on_the_line_generates_a_seed_for_every_run(form):
    one = form(f"{SMALL} seed=random")
    assert control(one, "3::seed").mode.value == "random"
    press(one)
    press(one)
    settle(one)
    assert len({run.params["3::seed"] for run in one.runs}) == 2


def test_count_up_starts_with_the_default_seed(form):
    one = form()
    control(one, "3::seed").mode.value = "count up"
    press(one)
    press(one)
    settle(one)
    first, second = (run.params.get("3::seed") for run in one.runs)
    assert (first, second) == (156680208700286, 156680208700287)


def test_count_up_continues_from_a_seed_that_is_still_being_submitted(form, monkeypatch):
    """A second click before the first run was submitted used the same seed again."""
    one = form(f"{SMALL} seed=100")
    control(one, "3::seed").mode.value = "count up"
    submit, may_submit = one.client.submit, threading.Event()
    monkeypatch.setattr(one.client, "submit", lambda *args, **options: may_submit.wait(30) and submit(*args, **options))
    for _ in range(3):
        one._last_click_s = float("-inf")
        one._run_button.click()
    may_submit.set()
    wait_until(lambda: len(one.runs) == 3)
    assert [run.params["3::seed"] for run in one.runs] == [100, 101, 102]
    settle(one)


def test_the_same_run_again_keeps_its_description_of_changes(form):
    one = form(f"{SMALL} seed=5")
    press(one)
    box(one, "3::cfg").value = 3.75
    press(one)
    settle(one)
    one._last_click_s = float("-inf")
    one._run_button.click()
    wait_until(lambda: item(one, 1)["status_text"] == "same")
    assert item(one, 1)["changed"] == "cfg 8 → 3.75"
    assert len(one.runs) == 2


# -- in Python, and for workflows without descriptions ------------------------------------------------------------


def test_abbreviations_of_interact_make_sliders_and_choices(made):
    one = made(
        "default",
        {"3::steps": (1, 30), "sampler_name": ["euler", "heun"], "6::text": {"day": "at noon", "night": "at night"}},
    )
    assert isinstance(box(one, "3::steps"), widgets.IntSlider)
    assert box(one, "3::steps").max == 30
    assert box(one, "3::sampler_name").options == (("euler", "euler"), ("heun", "heun"))
    assert box(one, "6::text").label == "day"
    assert one.params["6::text"] == "at noon"


def test_a_form_for_a_workflow_without_descriptions_has_the_given_fields():
    from comflowy_nb.notebook.form.fields import abbreviated_fields, form_fields
    from comflowy_nb.workflow.workflow import Workflow

    bare = Workflow("wf-1", "wf-1", is_partial=True)
    described = abbreviated_fields(bare, {"3::cfg": (1.0, 9.0, 0.5), "6::text": "a cat", "3::steps": 20})
    values = {key: one.value for key, one in described.items()}
    fields = form_fields(bare, values, explicit=list(values), described=described)
    assert [(one.field.id, one.field.type, one.value) for one in fields] == [
        ("3::cfg", FieldType.FLOAT, 5.0),
        ("6::text", FieldType.STRING, "a cat"),
        ("3::steps", FieldType.UNKNOWN, 20),
    ]
    with pytest.raises(WorkflowError, match="%%comflowy fields wf-1"):
        form_fields(bare, {}, explicit=())
    with pytest.raises(FieldError, match="'cfg' is not a field id"):
        abbreviated_fields(bare, {"cfg": 3})


def test_a_form_in_another_layout_shows_its_images_inside(made):
    one = made("default", {"width": 128, "height": 128, "steps": 2, "cfg": 4.75})
    around = widgets.HBox([one])
    one.run()
    settle(one)
    wait_until(lambda: one._history._images.widget.children)
    (image,) = one._history._images.widget.children
    assert Image.open(io.BytesIO(image.value)).format == "JPEG"
    around.close()


def test_params_and_runs_can_be_observed(made):
    one = made("default", {"steps": 2, "width": 128, "height": 128})
    observed = []
    one.observe(lambda change: observed.append(change["name"]), names=["params", "runs"])
    one.set({"cfg": 5.75})
    assert one.params["3::cfg"] == 5.75
    one.run()
    settle(one)
    assert observed == ["params", "runs"]


def test_unknown_keywords_and_names_are_errors(made):
    with pytest.raises(TypeError, match="steps"):
        made("default", steps=4)
    one = made("default")
    with pytest.raises(FieldError, match="nonsense"):
        one.set({"nonsense": 1, "cfg": 3.25})
    assert one.params == {"3::cfg": 3.25}, "the others are set"


def test_closing_frees_the_widgets_and_stops_the_thread(made):
    before = len(widgets.Widget.get_manager_state()["state"])
    one = made("default", {"steps": 2, "width": 128, "height": 128, "cfg": 1.25})
    one.run()
    settle(one)
    one.close()
    one.close()
    after = len(widgets.Widget.get_manager_state()["state"])
    assert after <= before
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("comflowy-form")])


def test_the_saved_state_is_small_and_contains_no_key(form, shared_home):
    before = len(json.dumps(widgets.Widget.get_manager_state()["state"], default=str))  # the forms of other tests
    one = form(f"{SMALL} seed=9")
    for cfg in (1.0, 5.0, 10.0):
        box(one, "3::cfg").value = cfg
        press(one)
    settle(one)
    state = json.dumps(widgets.Widget.get_manager_state()["state"], default=str)
    assert len(state) - before < 300_000
    for secret in secrets_of(shared_home):
        assert secret not in state
    assert str(shared_home) not in state


# -- images -------------------------------------------------------------------------------------------------------


def test_a_chosen_image_has_a_preview_and_is_not_kept_in_the_widget(form, tmp_path):
    one = form("steps=2", workflow="img2img")
    image = control(one, "1::image")
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
    press(one)
    settle(one)
    assert one.runs[0].status is Status.SUCCESS, one.runs[0].error
    assert one.runs[0].params["1::image"] != "example.png"


def test_a_file_with_the_name_of_the_default_is_another_image(form):
    """A chosen file named example.png was not submitted: its name equals the default."""
    one = form("steps=2", workflow="img2img")
    assert "1::image" not in one.params
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
    choose_file(control(one, "1::image")._chooser, "example.png", buffer.getvalue())
    assert one.params["1::image"].name == "example.png"
    assert one.params["1::image"].load() == buffer.getvalue()


def test_images_can_be_typed_as_on_a_line(form, sandbox, tmp_path):
    run = sandbox(f"%comflowy run default {SMALL} cfg=1.75").value
    one = form("steps=2", workflow="img2img")
    box(one, "1::image").value = f"run:{run.ref}[0]"
    assert not one.problems
    box(one, "1::image").value = "file:missing.png"
    assert "no file" in one.problems["1::image"]
    (tmp_path / "text.png").write_text("no image")
    box(one, "1::image").value = f"file:{tmp_path}/text.png"
    assert "not an image" in one.problems["1::image"]


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
    shown = cell("%comflowy form default")
    assert shown.error is None
    assert "a form needs a notebook" in shown.stdout


def test_texts_of_a_service_are_escaped(form):
    from comflowy_nb.notebook.form.controls import show_alert
    from comflowy_nb.notebook.form.layout import FormBody

    one = form()
    history = one._history
    history.say("<img src=x onerror=alert(1)>")
    assert "<img" not in history.status.value
    show_alert(one._problem, "<b>bold</b>")
    assert "<b>" not in one._problem.value
    bad = FormField(Field("1::<i>x</i>", FieldType.STRING, default="x", node_title="<script>"), "x")

    body = FormBody(one.client, one.workflow, [bad], changed=lambda: None)
    assert "<script>" not in body._groups[0][0].children[0].value


def test_a_default_that_is_not_an_option_is_reported_before_anything_is_submitted(form):
    one = form()
    options = ("sdxl.safetensors", "v1-5.safetensors")
    fields = {"4::ckpt_name": Field("4::ckpt_name", FieldType.CHOICE, options, default="v1-5-x.safetensors")}
    workflow = Workflow("default", "default", fields=fields)
    other = Form(one.client, workflow, form_fields(workflow, {}, explicit=()), updater=one._history._updater)
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
    comfy.wait_at("3", 4)
    assert cell(f"%comflowy connect home={comfy.url}").error is None
    shown = cell("%comflowy form default 5::width=64 5::height=64 3::steps=8")
    assert shown.error is None, shown.error
    one = shown.value
    assert box(one, "4::ckpt_name").options, "the checkpoints of this server"
    assert box(one, "3::seed").value == "156680208700286"
    press(one)
    wait_until(lambda: one._history.strip.preview)
    assert one._history.strip.preview["token"] == one.runs[0].token
    assert one._history.strip.preview["url"].startswith("data:image/jpeg;base64,")
    assert "base64" not in one._history.status.value, "the preview does not move other parts"
    comfy.go_on()
    settle(one)
    assert one.runs[0].status is Status.SUCCESS
    one.close()
