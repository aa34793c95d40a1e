"""`%comflowy rate`, and ratings in lists, searches, grids and tables."""

from __future__ import annotations

import pytest
from completing import completions_at
from IPython.core.error import UsageError

from comflowy_nb import grid, history
from comflowy_nb.errors import HistoryError, LineError, RefError

SMALL = "width=64 height=64 steps=1"


def texts(found):
    """Return the texts that a cell displayed, one below the other."""
    return "\n".join(bundle.get("text/plain", "") for bundle in found.last)


@pytest.fixture
def swept(connected):
    """Run a sweep of three cells, s1."""
    assert connected(f"%comflowy sweep default cfg=4,6,8 seed=1 {SMALL}").error is None
    return connected


def own(ref):
    image = history.find(ref).image or history.find(ref).run.images[0]
    return image.rating, image.rejected, image.note


def test_a_cell_is_rated_and_the_line_shows_the_undo(swept):
    found = swept('%comflowy rate s1.2 4 --note "best sky"')
    assert texts(found) == "s1.2: rated 4, note 'best sky'; undo: %comflowy rate s1.2 0 --note \"\""
    assert found.value is None
    assert own("s1.2") == (4, False, "best sky")
    assert history.find("s1.2").run.rating == 4


@pytest.mark.parametrize(
    "before",
    [
        "3",
        "0 --reject",
        '5 --note "it\'s a \\"sky\\""',
        "2 --reject --note 'a {{x}} b'",
        "1 --note 'say \"hi\" to all'",
    ],
)
def test_the_undo_of_a_line_restores_everything(swept, before):
    swept(f"%comflowy rate s1.1 {before}")
    was = own("s1.1")
    undo = texts(swept('%comflowy rate s1.1 4 --note "other"')).partition("undo: ")[2]
    assert own("s1.1") == (4, False, "other")
    assert swept(undo).error is None
    assert own("s1.1") == was


def test_the_undo_of_a_note_with_line_breaks_is_python(swept):
    history.find("s1.1").run.images[0].rate(note="two\nlines 'and' \"quotes\"")
    undo = texts(swept('%comflowy rate s1.1 --note ""')).partition("undo: ")[2]
    assert own("s1.1") == (None, False, "")
    assert swept(f"import comflowy_nb\n{undo};").error is None
    assert own("s1.1") == (None, False, "two\nlines 'and' \"quotes\"")


def test_several_images_are_rejected_at_once(swept):
    assert "s1.1: rejected; undo: %comflowy rate s1.1 0\ns1.3: rejected" in texts(
        swept("%comflowy rate s1.1 s1.3 --reject")
    )
    assert (own("s1.1"), own("s1.3")) == ((None, True, ""), (None, True, ""))


def test_python_objects_are_rated(swept):
    swept("import comflowy_nb")
    swept("one = comflowy_nb.history.find('s1.1').run\nimage = comflowy_nb.history.find('s1.2[0]').image")
    swept("both = [one, image]\nstars = 5")
    found = swept("%comflowy rate {both} {stars}")
    assert found.error is None
    assert (own("s1.1"), own("s1.2")) == ((5, False, ""), (5, False, ""))


def test_an_image_of_several_is_named(swept):
    swept(f"%comflowy run default 5::batch_size=2 seed=2 {SMALL}")
    found = swept("%comflowy rate r4 3")
    assert isinstance(found.error, RefError)
    assert "r4 has 2 images; name the one to rate: r4[0], r4[1]" in str(found.error)
    assert swept("%comflowy rate r4[1] 3").error is None
    assert (own("r4[0]"), own("r4[1]")) == ((None, False, ""), (3, False, ""))
    assert history.find("r4").run.rating == 3


@pytest.mark.parametrize(
    ("line", "error", "problem"),
    [
        ("s1.1 6", UsageError, "invalid rating 6: use a whole number from 1 to 5, or 0 to remove it"),
        ("s1.1 -1", UsageError, "invalid rating -1"),
        ("s1.1 4.5", UsageError, "invalid rating 4.5"),
        ("s1.1", UsageError, "rate needs a rating from 1 to 5, --note or --reject"),
        ("4", UsageError, "rate needs the reference of an image: %comflowy rate r41[0] 4"),
        ("s1 4", RefError, "s1 is a sweep, and ratings belong to images"),
        ("s1.1 s1.9 4", RefError, "there is no s1.9"),
        ("s1.1[3] 4", RefError, "{first} has 1 image, so there is no {first}[3]"),
        ("s1.1 --note {gone}", LineError, "there is no variable gone"),
        ("s1.1 cfg=4", UsageError, "unexpected word 'cfg=4'"),
    ],
)
def test_invalid_lines_change_nothing(swept, line, error, problem):
    found = swept(f"%comflowy rate {line}")
    assert isinstance(found.error, error)
    first = history.find("s1.1").run.ref  # cells are submitted at once, so any can have the first number
    assert problem.format(first=first) in str(found.error)
    assert own("s1.1") == (None, False, "")


def test_ratings_are_searched(swept):
    swept('%comflowy rate s1.1 2 --note "grey sky"')
    swept("%comflowy rate s1.2 5")
    swept("%comflowy rate s1.3 --reject")

    def cells(condition):
        return {run.params["3::cfg"] for run in swept(f"r = %comflowy runs {condition}\nr").value or ()}

    assert cells('--where "rating >= 4"') == {6}
    assert cells('--where "rated"') == {4, 6}
    assert cells('--where "rejected"') == {8}
    assert cells('--where "not rated and not rejected"') == set()
    assert cells('--where "note contains SKY"') == {4}
    assert cells('--where "rated and cfg > 4 or rejected"') == {6, 8}
    assert cells("rating=2..3") == {4}
    assert cells("rating>2") == {6}
    assert [run.params["3::cfg"] for run in history.runs(where="rating >= 4")] == [6]


def test_a_run_matches_if_one_of_its_images_does(connected):
    connected(f"%comflowy run default 5::batch_size=2 seed=2 {SMALL}")
    connected("%comflowy rate r1[0] 1 --note sea")
    connected("%comflowy rate r1[1] 5")

    def count(condition):
        return len(history.runs(where=condition))

    assert (
        count("rating = 5") == count("rating = 1 and note = sea") == count("not note contains sky or rating = 5") == 1
    )
    assert count("rating = 5 and note = sea") == 0
    assert count("not rated") == 0
    connected("%comflowy rate r1[1] 0")
    assert count("not rated") == 1


def test_sweeps_are_found_by_a_cell(swept):
    swept(f"%comflowy sweep default cfg=5,7 seed=3 {SMALL}")
    swept("%comflowy rate s1.2 5")
    assert "s1" in texts(swept('%comflowy sweeps --where "rating = 5"'))
    assert "s2" not in texts(swept('%comflowy sweeps --where "rating = 5"'))
    assert "No sweeps match" in texts(swept('%comflowy sweeps --where "rating = 4"'))


def test_no_result_does_not_call_a_rating_an_unknown_field(swept):
    shown = texts(swept('%comflowy runs --where "rating = 1 and nonsense = 2"'))
    assert "No run has a field nonsense" in shown
    assert "rating" not in shown


def test_lists_show_the_best_rating(swept):
    swept('%comflowy rate s1.1 2 --note "grey sky"')
    swept("%comflowy rate s1.2 5")
    swept("%comflowy rate s1.3 --reject")
    (head, row, *_) = texts(swept("%comflowy runs")).splitlines()
    assert "rating" in head
    assert "\N{BLACK STAR}5" in row
    assert "\N{BLACK STAR}2" in texts(swept("%comflowy runs s1.1"))
    shown = texts(swept("%comflowy runs s1")).splitlines()
    assert [("\N{BLACK STAR}2" in line, "\N{MULTIPLICATION SIGN}" in line) for line in shown[-3:]] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert "grey sky" in shown[-3]


def test_show_has_the_rating_and_the_note(swept):
    assert "\N{BLACK STAR}" not in texts(swept("%comflowy show s1"))
    swept('%comflowy rate s1.2 5 --note "best sky"')
    quoted = "\N{LEFT DOUBLE QUOTATION MARK}best sky\N{RIGHT DOUBLE QUOTATION MARK}"
    for ref in ("s1", "s1.2", "s1.1 s1.2"):
        shown = texts(swept(f"%comflowy show {ref}"))
        assert "\N{BLACK STAR}5" in shown
        assert quoted in shown


def test_deduplicated_cells_share_a_rating_and_a_fresh_one_starts_without(swept):
    swept("%comflowy rate s1.2 5")
    swept(f"%comflowy sweep default cfg=6,7 seed=1 {SMALL}")
    assert history.find("s2.1").run.rating == 5
    swept(f"%comflowy run default cfg=6 seed=1 {SMALL} --fresh")
    assert history.find("last").run.rating is None


def test_prune_keeps_originals_with_a_rating_or_a_note(swept):
    swept("%comflowy rate s1.1 1")
    swept("%comflowy rate s1.2 --note keep")
    swept("%comflowy rate s1.3 --reject")
    pruned = texts(swept("%comflowy prune --older 0 --yes"))
    assert "2 originals as old stay, because they have a name, a rating or a note" in pruned
    assert [image.is_pruned for n in (1, 2, 3) for image in history.find(f"s1.{n}").run.images] == [False, False, True]
    swept("%comflowy prune --older 0 --yes --all")
    assert all(image.is_pruned for n in (1, 2) for image in history.find(f"s1.{n}").run.images)


def test_references_are_completed(swept, shell):
    assert "s1.2" in completions_at(shell, "%comflowy rate ", "s1.")
    assert {"--note", "--reject"} <= set(completions_at(shell, "%comflowy rate s1.2 ", "--"))
    assert "rating=" in completions_at(shell, "%comflowy runs ", "rat")


def test_a_grid_is_drawn_though_the_history_can_not_be_read(swept, library):
    run = library.find("s1.2").run
    library.close()
    assert grid(run).jpeg
    assert grid([run, run]).jpeg
    with pytest.raises(HistoryError):
        _ = run.rating


def test_rate_needs_no_connection(swept, shell):
    shell.run_line_magic("unload_ext", "comflowy_nb")
    shell.run_line_magic("load_ext", "comflowy_nb")
    assert swept("%comflowy rate s1.1 3").error is None
    assert own("s1.1") == (3, False, "")
