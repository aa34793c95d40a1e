"""Dollars and backslashes of prompts and service errors: JupyterLab shows them as typed, not as mathematics."""

from __future__ import annotations

import json
import re

from faulty_server import choose, reply
from nbconvert import HTMLExporter
from scripted_api import CHECK, RUN, ScriptedApi

TEXTS = [
    r"a $5 note and a $10 note",
    r"$$5$$ \(x_1\) \[x^2\] \$1 $2",
]
ERROR = r"balance is $5, this run costs $10 of \(50\)"
MATHEMATICS = ".MathJax, mjx-container, .katex, .MathJax_Preview"

# A run whose params hold FAIL fails; every other one succeeds.
SETUP = """\
import os
os.environ["COMFLOWY_URL"] = "{url}"
os.environ["COMFLOWY_API_KEY"] = "key"
%comflowy connect shop={url}"""


def failing_by_text(api):
    failing = set()

    def run(request):
        run_id = f"run-{api.count(RUN)}"
        if "FAIL" in json.dumps(request.json["params"]):
            failing.add(run_id)
        return reply({"success": True, "data": {"run_id": run_id}})

    def check(request):
        if request.query["id"] in failing:
            return reply({"success": True, "data": {"status": "failed", "error": ERROR}})
        images = {"output_images": [f"{api.url}/images/a.png"]}
        return reply({"success": True, "data": {"status": "success", **images}})

    api.on(RUN, choose(run))
    api.on(CHECK, choose(check))


def one_line(text):
    return re.sub(r"\s+", " ", text)


def test_dollars_and_backslashes_are_shown_as_typed(new_notebook):
    """`$5, this run costs $10` became a formula in the status line, the table of runs, a comparison and the form."""
    with ScriptedApi() as api:
        failing_by_text(api)
        notebook = new_notebook(9)
        notebook.enter(0, "%load_ext comflowy_nb")
        notebook.enter(1, SETUP.format(url=api.url))
        outputs = [notebook.enter(2, "%comflowy run wf-1 6::text=FAIL")]
        for cell, text in enumerate(TEXTS, 3):
            notebook.enter_typed(cell, f"%%comflowy run wf-1\n6::text: {text}")
        outputs.append(notebook.enter(5, "%comflowy runs"))
        compared = notebook.enter(6, "%comflowy compare r2 r3")
        # names of fields are descriptions of widgets
        formed = notebook.enter(7, "%comflowy form wf-1 3::price$in$=1 3::cost$out$=2")
        typeset = notebook.enter(8, "from IPython.display import HTML; HTML('seen: $x_1$')")
        # the page has rendered the last cell, so it has rendered those above
        notebook.page.wait_for_selector(f".jp-Cell:nth-child(9) :is({MATHEMATICS})", timeout=60_000)
        for index in range(8):
            formulas = notebook.page.evaluate(
                "([index, css]) => window.area(index)?.querySelectorAll(css).length ?? 0", [index, MATHEMATICS]
            )
            assert formulas == 0, f"cell {index} has mathematics: {notebook.text(index)!r}"
        assert typeset
        assert all(ERROR in one_line(text) for text in outputs)
        assert all(text in one_line(outputs[1]) for text in TEXTS)
        assert all(text in one_line(compared) for text in TEXTS)
        assert "price$in$" in formed
        assert "cost$out$" in formed
        saved = notebook.save()
        notebook.screenshot("dollars")
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(saved)
    assert "balance is <span>$</span>5, this run" in page  # nbconvert's page has MathJax too
