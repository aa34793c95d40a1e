"""`%comflowy explore`, and other commands that take the images of an explorer."""

from __future__ import annotations

import pytest
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("handles")

SWEEP = "s = %comflowy sweep default 3::cfg=2,5 3::steps=1,2 3::seed={seed} 5::width=64 5::height=64"


@pytest.fixture
def explored(sandbox):
    """Return a function that explores a sweep of four cells, of this seed, as `e`; it returns the sweep's cell."""

    def make(seed):
        swept = sandbox(SWEEP.format(seed=seed))
        assert swept.error is None
        shown = sandbox("e = %comflowy explore {s}")
        assert shown.error is None
        return shown

    return make


def widgets_of(shown):
    return [data for data in shown.last if "application/vnd.jupyter.widget-view+json" in data]


def test_the_explorer_is_shown_once_with_its_static_grid(explored, sandbox, answering):
    shown = explored(701)
    (data,) = widgets_of(shown)
    assert "4 cells" in data["text/plain"]
    assert "image/jpeg" in data
    assert len(widgets_of(sandbox("%comflowy explore {s} --x cfg"))) == 1, "the value of the cell is not shown again"
    assert len(widgets_of(sandbox("e"))) == 1


def test_options_set_the_axes_the_condition_and_the_variable(explored, sandbox):
    explored(702)
    result = sandbox('%comflowy explore {s} --x steps --y cfg --where "cfg > 3" --as winner')
    assert result.error is None
    value = sandbox("(winner.x, winner.y, winner.where, [cell.number for cell in winner.visible])").value
    assert value == ("3::steps", "3::cfg", "cfg > 3", [3, 4])


def test_a_search_is_explored_without_references(explored, sandbox, shell):
    explored(703)
    shown = sandbox('f = %comflowy explore --since 1h --where "seed = 703 and cfg < 3"')
    assert shown.error is None
    steps = [run.params["3::steps"] for run in shell.user_ns["f"].visible]
    assert sorted(steps) == [1, 2], "the cells of a sweep are submitted concurrently, so their runs have any order"


def test_no_connection_is_needed(explored, sandbox, shell, answering):
    explored(704)
    ref = shell.user_ns["s"].ref
    sandbox("%comflowy logout")
    shown = sandbox(f"e = %comflowy explore {ref}")
    assert shown.error is None
    assert widgets_of(shown)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explore", "missing argument"),
        ("explore {s} --since 7d", "--since can't be used with references"),
        ("explore {s} --x nothing", "'nothing' is not an axis here; the axes are cfg, steps"),
        ('explore {s} --where "cgf > 3"', "no cell or run here has a field cgf. Did you mean cfg?"),
        ("explore absent", "there is no run absent"),
        ("explore --since 1s --where cfg=12345", "no runs match, so there is nothing to explore"),
        ("compare {e.selectd}", "{e.selectd}: e has no selectd. Did you mean selected?"),
        ("compare {absent.selected}", "there is no variable absent"),
        ("compare {e.selected}", "{e.selected} is an empty list, so it names no run"),
        ("show {e._at}", "_at"),
        ("save {both} one.txt", "can't save a .txt file: use a folder (one), one.zip"),
    ],
)
def test_invalid_lines_are_errors_with_the_correct_usage(explored, sandbox, line, message):
    explored(705)
    sandbox("both = s.cells[:2]")
    result = sandbox(f"%comflowy {line}")
    assert result.error is not None
    assert message in str(result.error)


def test_marked_cells_and_the_current_one_go_on_into_other_commands(explored, sandbox, shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explored(706)
    sandbox("e.selected = [s.cells[1], s.cells[2]]")
    compared = sandbox("c = %comflowy compare {e.selected}")
    assert compared.error is None
    cells = shell.user_ns["s"].cells
    assert shell.user_ns["c"].names == [cells[1].ref, cells[2].ref]
    saved = sandbox("%comflowy save {e.selected} winners")
    assert saved.error is None
    assert len(list((tmp_path / "winners").glob("*.png"))) == 2
    current = sandbox("%comflowy show {e.current}")
    assert current.error is None
    assert cells[0].run.ref in current.last[0]["text/plain"]
    around = sandbox("a = %comflowy sweep --around {e.current} cfg --dry-run")
    assert around.error is None
    assert cells[0].params["3::cfg"] in {cell.params["3::cfg"] for cell in shell.user_ns["a"].cells}
    again = sandbox("r = %comflowy run --from {e.current}")
    assert again.error is None
    assert shell.user_ns["r"].params == dict(cells[0].params)


def test_braces_with_an_attribute_stay_text_in_values(sandbox, shell):
    """Only references are expanded: a prompt is submitted as typed."""
    result = sandbox('r = %comflowy run default 6::text="{e.current}" 3::steps=1 5::width=64 5::height=64 3::seed=1')
    assert result.error is None
    assert shell.user_ns["r"].params["6::text"] == "{e.current}"


def test_ratings_of_another_cell_reach_the_explorer(explored, sandbox, shell):
    explored(707)
    explorer, cells = shell.user_ns["e"], shell.user_ns["s"].cells
    sandbox("e.where = 'rating >= 4'")
    assert explorer.visible == []
    assert sandbox(f"%comflowy rate {cells[2].ref} 4").error is None
    wait_until(lambda: explorer.visible == [cells[2]])
