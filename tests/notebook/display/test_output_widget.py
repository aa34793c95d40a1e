"""Runs inside an ipywidgets Output, where updates of a display are not applied."""

from __future__ import annotations

import os

import pytest
from jupyter_client.manager import start_new_kernel

pytestmark = pytest.mark.slow

BEGIN = "%load_ext comflowy_nb\n%comflowy connect sandbox\nimport ipywidgets as w\nfrom IPython.display import display"
SMALL = "width=64 height=64"


def line(command):
    return f"get_ipython().run_line_magic('comflowy', {command!r})"


def inside(*commands, name="out"):
    """Return a cell that runs magics inside a new Output."""
    return "\n".join((f"{name} = w.Output()", f"with {name}:", *(f"    {line(command)}" for command in commands)))


def texts(outputs):
    return [output["data"]["text/plain"] for output in outputs if "data" in output]


def count_images(outputs):
    return sum(any(mime.startswith("image/") for mime in output.get("data", {})) for output in outputs)


class FrontEnd:
    """A kernel with a minimal front end, in which Outputs capture displays and ignore their updates."""

    def __init__(self, home):
        environment = {**os.environ, "COMFLOWY_HOME": str(home)}
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=environment)
        self.outputs = {}  # of each Output, by the id of its comm
        self.captures = {}  # the id of the comm -> the message that it captures
        self.cell = []

    def execute(self, source):
        """Return the final outputs of the cell."""
        self.cell = []
        self._listen(self.client.execute(source))
        errors = [output for output in self.cell if "ename" in output]
        assert not errors, errors[0]["traceback"]
        return self.cell

    def printed(self, source):
        return "".join(output.get("text", "") for output in self.execute(source)).strip()

    def change(self, comm_id, **state):
        """Change a widget as a user does, and wait for its callbacks."""
        content = {"comm_id": comm_id, "data": {"method": "update", "state": state}}
        message = self.client.session.msg("comm_msg", content)
        self.client.shell_channel.send(message)
        self._listen(message["header"]["msg_id"])

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def _listen(self, own):
        while True:
            message = self.client.get_iopub_msg(timeout=100)
            content, kind = message["content"], message["msg_type"]
            if kind in {"comm_open", "comm_msg"}:
                self._track_outputs(content, is_new=kind == "comm_open")
            if message["parent_header"].get("msg_id") != own:
                continue
            if kind == "status" and content["execution_state"] == "idle":
                return
            captured = next((self.outputs[comm] for comm, of in self.captures.items() if of == own), None)
            output = self.cell if captured is None else captured
            if kind in {"display_data", "execute_result", "stream", "error"}:
                output.append(content)
            elif kind == "clear_output":
                output.clear()
            elif kind == "update_display_data":
                for output in self.cell:
                    if output.get("transient") == content["transient"]:
                        output.update(content)

    def _track_outputs(self, content, *, is_new):
        state = content["data"].get("state", {})
        comm = content["comm_id"]
        if is_new and state.get("_model_name") == "OutputModel":
            self.outputs[comm] = []
        if comm in self.outputs and "msg_id" in state:
            self.captures.pop(comm, None)
            if state["msg_id"]:
                self.captures[comm] = state["msg_id"]
        if comm in self.outputs and "outputs" in state and not is_new:
            self.outputs[comm] = list(state["outputs"])


@pytest.fixture(scope="module")
def started(shared_home):
    front_end = FrontEnd(shared_home)
    try:
        front_end.execute(BEGIN)
        yield front_end
    finally:
        front_end.close()


@pytest.fixture
def front_end(started):
    """Return the shared front end, in which each test sees only its Outputs."""
    started.outputs, started.captures = {}, {}
    return started


def test_each_command_shows_its_result_in_an_output_once(front_end):
    """An Output kept "submitting - 0.0 s" and an empty placeholder; `show` had no image either.

    Status and images were updates of a display, which an Output does not apply.
    """
    run, other = (f"run default steps={steps} seed=71 {SMALL}" for steps in (2, 4))
    expected = {
        inside(f"{run} --as first"): 1,
        inside("show last"): 1,
        inside(f"sweep default steps=2,3 seed=71 {SMALL}"): 1,
        f"a = {line('show last')}": 0,
        inside("show last", f"{other} --as second"): 2,
        inside("compare first second"): 1,
        f"out = w.Output()\n@out.capture()\ndef draw():\n    print('first')\n    {line(run)}\ndraw()": 1,
    }
    for source, images in expected.items():
        known = set(front_end.outputs)
        cell = front_end.execute(source)
        result = [outputs for comm, outputs in front_end.outputs.items() if comm not in known]
        if not images:
            assert count_images(cell) == 1
            continue
        assert count_images(result[0]) == images, source
        assert not count_images(cell), source
        assert "" not in texts(result[0])
        lines = [text for text in texts(result[0]) if "success" in text or "same as" in text]
        assert len(lines) == len(set(lines)) == source.count("run_line_magic") - source.count("compare"), lines


def test_outside_an_output_each_result_is_displayed_once(front_end):
    """An Output elsewhere in the notebook changes nothing."""
    front_end.execute("out = w.Output()\nwith out:\n    print('x')")
    run = front_end.execute(f"r = %comflowy run default steps=2 seed=73 {SMALL}\nr")
    sweep = front_end.execute(f"%comflowy sweep default steps=2,3 seed=73 {SMALL}")
    assert [count_images(run), count_images(sweep)] == [1, 1]
    assert [len(run), len(sweep)] == [2, 3]


def test_a_cell_shows_a_value_again_that_it_has_shown_in_an_output(front_end):
    cell = front_end.execute(
        f"{inside(f'run default steps=2 seed=74 {SMALL} --as r', name='one')}\n    display(r)\n"
        "other = w.Output()\nwith other:\n    display(r)\nr"
    )
    assert [count_images(outputs) for outputs in (*front_end.outputs.values(), cell)] == [1, 1, 1]


@pytest.mark.parametrize(
    "body",
    [
        f"return get_ipython().run_line_magic('comflowy', f'run default seed=75 {SMALL} steps={{steps}}')",
        "return client.run('default', {'3::seed': 75, '5::width': 64, '5::height': 64, 'steps': steps})",
    ],
    ids=["magic", "Python"],
)
def test_interact_shows_the_images_of_each_value(front_end, body):
    """Moving a slider showed nothing, or never showed again a run that had been shown.

    A callback of a widget is not an execution, so the values drawn by the last cell counted as drawn.
    """
    front_end.execute("import comflowy_nb\nclient = comflowy_nb.connect('sandbox')")
    front_end.execute(f"def draw(steps):\n    {body}\nmade = w.interact(draw, steps=(1, 3)).widget")
    slider = front_end.printed("print(made.children[0].comm.comm_id)")
    (comm,) = front_end.outputs
    for steps in (3, 1, 3, 2):
        front_end.change(slider, value=steps)
        assert count_images(front_end.outputs[comm]) == 1, steps


def test_a_background_run_is_displayed_in_its_output(front_end):
    front_end.execute(inside(f"run default steps=2 seed=76 {SMALL} --background"))
    front_end.execute(
        "import time\nend = time.monotonic() + 60\n"
        "while not any('image/jpeg' in one['data'] for one in out.outputs):\n"
        "    assert time.monotonic() < end\n    time.sleep(0.05)"
    )
    (outputs,) = front_end.outputs.values()
    assert count_images(outputs) == 1
    assert "success" in texts(outputs)[-2]


def test_a_form_in_an_output_keeps_its_images_within_itself(front_end):
    """Images below a form in an Output would be updates of a display."""
    front_end.execute(f"{inside(f'form default steps=2 seed=77 {SMALL}')}")
    front_end.execute(
        f"with out:\n    f = {line(f'form default steps=2 seed=77 {SMALL}')}\n    display(f)\nf.run(wait=True)"
    )
    printed = front_end.printed(
        "def within(widget):\n    if widget.layout.display != 'none':\n        yield widget\n"
        "        for child in getattr(widget, 'children', ()):\n            yield from within(child)\n"
        "print(sum(isinstance(one, w.Image) and len(one.value) > 1000 for one in within(f)))"
    )
    assert printed == "1"
