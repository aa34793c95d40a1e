from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.database.references import Ref, check_name, parse_ref
from comflowy_nb.errors import RefError

TABLE = {
    "r41": Ref("number", "r41", number=41),
    " r41 ": Ref("number", "r41", number=41),
    "best": Ref("name", "best"),
    "räume": Ref("name", "räume"),
    "rest": Ref("name", "rest"),
    "r": Ref("name", "r"),
    "lastly": Ref("name", "lastly"),
    "7f3a-11": Ref("id", "7f3a-11"),
    "1041": Ref("id", "1041"),
    "a7f3": Ref("name", "a7f3"),
    "last": Ref("last", "last"),
    "last~0": Ref("last", "last~0"),
    "last~3": Ref("last", "last~3", back=3),
    "r41[0]": Ref("number", "r41", number=41, image=0),
    "last[2]": Ref("last", "last", image=2),
    "best:9[0]": Ref("name", "best", node="9", image=0),
    "r41:12:3[1]": Ref("number", "r41", number=41, node="12:3", image=1),
    "last~1:9[10]": Ref("last", "last~1", back=1, node="9", image=10),
    "s3": Ref("sweep", "s3", number=3),
    "s3.12": Ref("sweep", "s3.12", number=3, cell=12),
    "s3.12[0]": Ref("sweep", "s3.12", number=3, cell=12, image=0),
    "s3.12:9:1[2]": Ref("sweep", "s3.12", number=3, cell=12, node="9:1", image=2),
    "s3[0]": Ref("sweep", "s3", number=3, image=0),
    "s": Ref("name", "s"),
    "sunset": Ref("name", "sunset"),
    "s3x": Ref("name", "s3x"),
    "s3.x": Ref("id", "s3.x"),
    "s3.": Ref("id", "s3."),
    "r41.2": Ref("id", "r41.2"),
    "ck.1": Ref("name", "ck.1", cell=1),
    "ck.12[0]": Ref("name", "ck.12", cell=12, image=0),
    "ck.1:9:1[2]": Ref("name", "ck.1", cell=1, node="9:1", image=2),
    "last.3": Ref("last", "last.3", cell=3),
    "last~1.3": Ref("last", "last~1.3", back=1, cell=3),
    "ck.": Ref("id", "ck."),
    "ck.x": Ref("id", "ck.x"),
    "ck.1.2": Ref("id", "ck.1.2"),
    "7f.1": Ref("id", "7f.1"),
}


@pytest.mark.parametrize("text", TABLE)
def test_reference_is_parsed(text):
    assert parse_ref(text) == TABLE[text]


@pytest.mark.parametrize(
    "text", ["", " ", "[0]", ":9[0]", "r41[", "r41[]", "r41[-1]", "r41[0][1]", "r41:[0]", "a b", "p\udce9.png"]
)
def test_invalid_reference_is_an_error_with_examples(text):
    with pytest.raises(RefError, match="r41:9"):
        parse_ref(text)


@pytest.mark.parametrize("text", ["last~", "last~x", "last~-1"])
def test_invalid_count_after_last_is_an_error(text):
    with pytest.raises(RefError, match="invalid reference"):
        parse_ref(text)


def test_node_without_an_image_is_an_error_with_the_right_spelling():
    with pytest.raises(RefError, match=r"r41:9\[0\]"):
        parse_ref("r41:9")


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_a_ref_error(text):
    with contextlib.suppress(RefError):
        assert parse_ref(text).run in {"number", "name", "id", "last", "sweep"}


@given(
    run=st.one_of(
        st.integers(0, 10**17).map("r{}".format),
        st.integers(0, 10**17).map("s{}".format),
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map("s{0[0]}.{0[1]}".format),
        st.just("last"),
        st.integers(0, 999).map("last~{}".format),
    ),
    node=st.none() | st.from_regex(r"[A-Za-z0-9_]+(:[A-Za-z0-9_]+)*", fullmatch=True),
    image=st.integers(0, 10**6),
)
def test_parts_of_a_reference_are_parsed(run, node, image):
    ref = parse_ref(f"{run}:{node}[{image}]" if node else f"{run}[{image}]")
    assert (ref.text, ref.node, ref.image) == (run, node, image)


@pytest.mark.parametrize("name", ["s3", "s0", "r41", "last"])
def test_a_name_that_is_a_reference_is_rejected(name):
    with pytest.raises(RefError, match="it is reserved; use another name"):
        check_name(name)


@pytest.mark.parametrize("name", ["s", "s3x", "sweep", "bottles"])
def test_names_that_begin_with_s_are_accepted(name):
    check_name(name)
