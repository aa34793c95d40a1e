from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from comflowy_nb.errors import FieldError, RefError, spelled
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.object_info import read_field
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.line import split_line
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import MAX_GENERATED_SEED, generate_seed, resolve, settings_from_mapping
from comflowy_nb.workflow.workflow import Workflow


def line(workflow, text, **options):
    """Return the params that a line submits."""
    settings = [Setting(word.key, word.value, word.quoted, "the line") for word in split_line(text)]
    return resolve(workflow, settings, **options).params


def body(workflow, text, **options):
    """Return the params that a body submits."""
    return resolve(workflow, read_body(text).settings, **options).params


def problems(call, *args, **options):
    with pytest.raises(FieldError) as caught:
        call(*args, **options)
    return caught.value.problems


# -- examples of typed and submitted values ------------------------------------------------------------------------

EXAMPLES = [
    "bottle #1",
    "a photo: of",
    "[a:b:0.5]",
    "{day|night}",
    "don't",
    "C:\\pics",
    "$5",
    '"red" and "blue"',
    "1..5",
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_text_in_a_body_is_submitted_as_typed(workflow, text):
    assert body(workflow, f"6::text: {text}\n", namespace={}) == {"6::text": text}


@pytest.mark.parametrize(
    "text", ["[a:b:0.5]", "{day|night}", "don't", "C:\\pics", "$5", "1..5", "a||b", "4,8", "null", ""]
)
def test_a_text_on_the_line_is_submitted_as_typed(workflow, text):
    assert line(workflow, f"6::text={text}", namespace={}) == {"6::text": text}


def test_number_for_a_text_field_is_submitted_as_typed(workflow):
    assert line(workflow, "6::text=007 7::text=1.50") == {"6::text": "007", "7::text": "1.50"}


def test_list_or_mapping_for_a_text_field_is_text(workflow):
    assert body(workflow, '6::text: ["a", "b"]\n7::text: {soft: a, crisp: b}\n') == {
        "6::text": '["a", "b"]',
        "7::text": "{soft: a, crisp: b}",
    }
    assert body(workflow, "6::text:\n  - a\n  - b\n") == {"6::text": "- a - b"}


def test_values_are_converted_to_the_types_of_their_fields(workflow):
    params = line(workflow, "cfg=7 steps=+20 tiled=TRUE sampler_name=heun seed=18446744073709551615 denoise=.5")
    assert params == {
        "3::cfg": 7.0,
        "3::steps": 20,
        "11::tiled": True,
        "3::sampler_name": "heun",
        "3::seed": 2**64 - 1,
        "3::denoise": 0.5,
    }
    assert [type(value) for value in params.values()] == [float, int, bool, str, int, float]


def test_quotes_around_a_number_are_ignored_if_the_type_is_known(workflow):
    assert line(workflow, 'cfg="7"') == body(workflow, 'cfg: "7"') == body(workflow, '"3::cfg": "7"') == {"3::cfg": 7}


def test_quotes_make_text_if_the_type_is_unknown(undescribed):
    assert line(undescribed, '1::a=7 1::b="7" 1::c=true 1::d="true" 1::e=[1,2] 1::f=cat 1::g=null') == {
        "1::a": 7,
        "1::b": "7",
        "1::c": True,
        "1::d": "true",
        "1::e": [1, 2],
        "1::f": "cat",
        "1::g": None,
    }
    assert body(undescribed, "1::a: 7\n1::b: '7'\n1::c: bottle #1\n1::d: 7 # seven\n1::e: |\n  7\n") == {
        "1::a": 7,
        "1::b": "7",
        "1::c": "bottle #1",
        "1::d": 7,
        "1::e": "7",
    }
    assert body(undescribed, '"1::a": 7, "1::b": "7", "1::c": [1]') == {"1::a": 7, "1::b": "7", "1::c": [1]}


def test_comment_after_a_text_in_a_body_is_part_of_the_text(workflow):
    assert body(workflow, "cfg: 7 # good\n6::text: a # b\n") == {"3::cfg": 7, "6::text": "a # b"}


def test_params_are_in_the_order_in_which_they_were_set(workflow):
    settings = [Setting("steps", "4"), Setting("all::text", "x"), Setting("cfg", "2")]
    assert resolve(workflow, settings).set_params == ("3::steps", "6::text", "7::text", "3::cfg")


# -- errors --------------------------------------------------------------------------------------------------------


def test_all_problems_are_reported_in_one_error(workflow):
    messages = problems(
        line,
        workflow,
        "cfg=101 sampler_name=eulr stpes=4 steps=few 6::text={gone} text=x 3::seed=1 seed=2",
        namespace={},
    )
    assert len(messages) == 7
    message = "\n".join(messages)
    for part in (
        "node 3 (KSampler), cfg: 101 is above 100",
        "node 3 (KSampler), sampler_name: 'eulr' is not one of euler, euler_ancestral, heun, dpm_2, lms, dpmpp_2m,",
        "uni_pc and 2 more. Did you mean euler",
        "'stpes'. Did you mean steps (3::steps)",
        "node 3 (KSampler), steps: 'few' is not a whole number",
        "node 6 (CLIP Text Encode (Prompt)), text: {gone}: there is no variable gone",
        "'text' is the name of 2 fields",
        "node 3 (KSampler), seed is set twice on this line, as 3::seed and as seed. Keep one.",
    ):
        assert part in message


def test_a_problem_in_a_body_names_its_line(workflow):
    assert problems(body, workflow, "\n6::text: a\ncfg: hot\n")[0].startswith("line 3: node 3 (KSampler), cfg: 'hot'")
    assert problems(body, workflow, "nope: a\n")[0].startswith("line 1: default has no field 'nope'")


def test_field_set_twice_under_any_names_is_an_error(workflow):
    for first, second in (("cfg", "3::cfg"), ("prompt", "6::text"), ("all::text", "7::text"), ("cfg", "cfg")):
        messages = problems(
            resolve, workflow, [Setting(first, "1", where="the line"), Setting(second, "1", where="line 2")]
        )
        assert messages == tuple(message for message in messages if "set twice" in message)
        assert f"{first} (the line)" in messages[0]
        assert f"{second} (line 2)" in messages[0]


# -- several values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    ["cfg=4,8", "cfg=4||8", "cfg=1..5", "cfg=1..5..0.5", "cfg=1..5#3", "cfg=[4,8]", "cfg=1..3,8", "steps=10..30..10",
     "sampler_name=euler,heun", "sampler_name=euler||heun", "sampler_name=[euler,heun]", "tiled=true,false"],
)  # fmt: skip
def test_error_for_several_values_suggests_sweep(workflow, typed):
    (problem,) = problems(line, workflow, typed)
    assert "sweep" in problem


@pytest.mark.parametrize(
    "typed", ["1::a=1..5", "1::a=.5..2", "1::a=1..5..0.5", "1::a=1..5#3", "1::a=-1..1", "1::a=1..3,8", "1::a=[1..3]"]
)
def test_error_for_a_range_of_unknown_type_suggests_sweep(undescribed, typed):
    (problem,) = problems(line, undescribed, typed)
    assert "sweep" in problem


@pytest.mark.parametrize("text", ["1...", "a..b", "1..", "..5", "4,8", "a||b", "1..5x", "v1..2"])
def test_other_texts_than_ranges_are_text_if_the_type_is_unknown(undescribed, text):
    assert line(undescribed, f"1::a={text}") == {"1::a": text}


def test_a_range_in_quotes_is_text_if_the_type_is_unknown(undescribed):
    assert line(undescribed, '1::a="1..5"') == {"1::a": "1..5"}


def test_error_for_a_block_list_suggests_sweep(workflow, undescribed):
    for workflow_, key in ((workflow, "cfg"), (workflow, "sampler_name"), (undescribed, "3::cfg")):
        (problem,) = problems(body, workflow_, f"{key}:\n  - 4\n  - 8\n")
        assert "sweep" in problem


def test_error_for_a_list_in_a_payload_suggests_sweep_if_the_type_is_known(workflow):
    for key in ("3::cfg", "6::text", "3::sampler_name"):
        (problem,) = problems(body, workflow, f'"{key}": [1, 2]')
        assert "sweep" in problem


def test_an_option_with_a_comma_is_one_value():
    from comflowy_nb.workflow.object_info import read_field
    from comflowy_nb.workflow.workflow import Workflow

    workflow = Workflow("w", fields={"1::x": read_field("1::x", [["a", "b", "a,b"]])})
    assert line(workflow, "x=a,b") == {"1::x": "a,b"}
    assert "is not one of" in problems(line, workflow, "x=a,c")[0]


# -- expansion -----------------------------------------------------------------------------------------------------


def test_python_name_alone_is_replaced_by_its_object(workflow):
    names = {"c": 7.5, "n": 20, "s": "heun", "flag": True, "p": "it's {n} # 1"}
    assert line(
        workflow, "cfg={c} steps={n} sampler_name={s} tiled={flag} 6::text={p} 7::text={n}", namespace=names
    ) == {
        "3::cfg": 7.5,
        "3::steps": 20,
        "3::sampler_name": "heun",
        "11::tiled": True,
        "6::text": "it's {n} # 1",
        "7::text": "20",
    }


def test_python_name_is_expanded_in_each_kind_of_body(workflow):
    names = {"subject": "a fox", "n": 4}
    assert body(workflow, "6::text: {subject}, {n} of it\nsteps: {n} # few\n", namespace=names) == {
        "6::text": "a fox, 4 of it",
        "3::steps": 4,
    }
    assert body(workflow, '"6::text": "{subject}, {n}", "3::steps": {n}, "3::cfg": "{n}"', namespace=names) == {
        "6::text": "a fox, 4",
        "3::steps": 4,
        "3::cfg": 4,
    }
    assert body(workflow, "6::text: |\n  {subject}\n  {{n}}\n", namespace=names) == {"6::text": "a fox\n{n}"}


def test_a_number_is_expanded_and_then_parsed(workflow):
    assert line(workflow, "seed=1{n} cfg={n}.5", namespace={"n": 4}) == {"3::seed": 14, "3::cfg": 4.5}


def test_an_inserted_text_is_never_split_or_parsed(workflow, undescribed):
    names = {"x": "4,8", "t": "007", "n": "1..5", "s": "20"}
    assert line(undescribed, "1::a={x} 1::b={t} 1::c={n} 1::d={s}", namespace=names) == {
        "1::a": "4,8",
        "1::b": "007",
        "1::c": "1..5",
        "1::d": "20",
    }
    assert "is not a whole number" in problems(line, workflow, "steps={s}", namespace=names)[0]


def test_double_braces_are_the_literal_name(workflow):
    assert line(workflow, "6::text={{day}}", namespace={"day": 1}) == {"6::text": "{day}"}


def test_error_for_a_python_list_suggests_sweep(workflow, undescribed):
    import numpy as np

    names = {"l": [1, 2], "t": (1, 2), "r": range(3), "a": np.arange(3), "g": (n for n in [1])}
    for name in names:
        for workflow_, key in (
            (workflow, "cfg"),
            (workflow, "6::text"),
            (workflow, "sampler_name"),
            (undescribed, "1::x"),
        ):
            (problem,) = problems(line, workflow_, f"{key}={{{name}}}", namespace=names)
            assert f"{{{name}}}" in problem
            assert "sweep" in problem


def test_error_for_an_undefined_name_shows_double_braces(workflow):
    (problem,) = problems(line, workflow, "6::text={gone}", namespace={})
    assert "{{gone}}" in problem


def test_without_a_namespace_braces_are_text(workflow):
    assert line(workflow, "6::text={gone}") == {"6::text": "{gone}"}


# -- seeds ---------------------------------------------------------------------------------------------------------


def test_random_generates_a_seed_and_returns_it(workflow):
    resolved = resolve(workflow, [Setting("seed", "random")])
    assert resolved.params == resolved.generated_seeds
    assert 0 <= resolved.generated_seeds["3::seed"] <= 2**53 - 1


def test_a_generated_seed_is_within_the_ranges_of_its_field_and_of_javascript(workflow):
    assert MAX_GENERATED_SEED == 2**53 - 1
    small = workflow.fields["12::noise_seed"]
    assert all(0 <= generate_seed(small) <= 1000 for _ in range(200))
    assert len({generate_seed(None) for _ in range(20)}) == 20
    assert all(generate_seed(None) <= 2**53 - 1 for _ in range(200))


def test_every_execution_generates_a_new_seed(workflow):
    assert len({line(workflow, "seed=random")["3::seed"] for _ in range(8)}) == 8


def test_all_seeds_share_one_generated_seed(undescribed):
    from comflowy_nb.workflow.object_info import read_field
    from comflowy_nb.workflow.workflow import Workflow

    specs = {"1::seed": ["INT", {"max": 2**64 - 1}], "2::seed": ["INT", {"max": 9}], "3::seed": ["INT", {}]}
    workflow = Workflow("w", fields={key: read_field(key, spec) for key, spec in specs.items()})
    resolved = resolve(workflow, [Setting("all::seed", "random")])
    assert len(set(resolved.generated_seeds.values())) == 1
    assert resolved.generated_seeds["1::seed"] <= 9


def test_fields_set_separately_get_different_seeds(undescribed):
    resolved = resolve(undescribed, [Setting("1::seed", "random"), Setting("2::noise_seed", "random")])
    assert resolved.generated_seeds == resolved.params
    assert set(resolved.params) == {"1::seed", "2::noise_seed"}
    assert resolved.params["1::seed"] != resolved.params["2::noise_seed"]


def test_random_is_text_in_other_fields(workflow, undescribed):
    assert line(workflow, "6::text=random") == {"6::text": "random"}
    assert line(undescribed, "1::cfg=random 1::x=each") == {"1::cfg": "random", "1::x": "each"}
    assert "is not a number" in problems(line, workflow, "cfg=random")[0]


def test_random_in_a_payload_generates_a_seed_and_is_text_in_quotes_if_the_type_is_unknown(workflow, undescribed):
    for params in (
        body(workflow, '"3::seed": "random"'),
        body(undescribed, '"3::seed": "random"'),
        resolve(undescribed, settings_from_mapping({"3::seed": "random"})).params,
        line(workflow, 'seed="random"'),
    ):
        assert isinstance(params["3::seed"], int)
    assert line(undescribed, '3::seed="random"') == {"3::seed": "random"}


@pytest.mark.parametrize(("seed_word", "tip"), [("random#4", "--count"), ("each", "sweep")])
def test_error_for_several_seeds_suggests_sweep_or_count(workflow, undescribed, seed_word, tip):
    for workflow_, key in ((workflow, "seed"), (undescribed, "3::seed")):
        with spelled("magic"):
            (problem,) = problems(line, workflow_, f"{key}={seed_word}")
        assert tip in problem
        (problem,) = problems(line, workflow_, f"{key}={seed_word}")
        assert "client.sweep takes" in problem


def test_largest_seed_of_a_field_is_accepted(workflow):
    assert line(workflow, f"seed={2**64 - 1}") == {"3::seed": 2**64 - 1}
    assert "above" in problems(line, workflow, f"seed={2**64}")[0]


# -- images ------------------------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path, monkeypatch):
    path = tmp_path / "my photo.png"
    Image.new("RGB", (4, 4), "red").save(path)
    monkeypatch.chdir(tmp_path)
    return path


def test_a_file_is_an_image_in_an_image_field(workflow, undescribed, photo):
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    for workflow_ in (workflow, undescribed):
        for typed in ('10::image="file:my photo.png"', f"10::image='file:{photo}'"):
            image = line(workflow_, typed)["10::image"]
            assert isinstance(image, InputImage)
            assert (image.name, image.content_sha256, image.load()) == (
                "my photo.png",
                digest,
                photo.read_bytes(),
            )


def test_a_file_is_text_in_a_text_field(workflow, photo):
    assert line(workflow, '6::text="file:my photo.png"') == {"6::text": "file:my photo.png"}
    assert "text" in problems(line, workflow, "6::text={p}", namespace={"p": photo})[0]


def test_missing_file_is_text_only_if_the_type_is_unknown(workflow, undescribed):
    assert line(undescribed, "1::x=file:gone.png 1::y=run:r99 1::z=run:") == {
        "1::x": "file:gone.png",
        "1::y": "run:r99",
        "1::z": "run:",
    }
    assert "gone.png" in problems(line, workflow, "image=file:gone.png")[0]


def test_run_reference_in_an_image_field_is_its_image(workflow, undescribed):
    image = InputImage("r41_0.png", "0" * 64, lambda: b"")

    def open_run(ref):
        if ref != "r41[0]":
            raise RefError(f"there is no run {ref}")
        return image

    for workflow_ in (workflow, undescribed):
        assert line(workflow_, "10::image=run:r41[0]", open_run=open_run) == {"10::image": image}
    assert "no run r7" in problems(line, workflow, "image=run:r7", open_run=open_run)[0]
    assert line(undescribed, "10::image=run:r7", open_run=open_run) == {"10::image": "run:r7"}
    assert "run:r7" in problems(line, workflow, "image=run:r7")[0]


def test_url_and_file_name_on_the_server_are_submitted_unchanged(workflow):
    for text in ("https://example.com/a.png?x=1", "example.png", "other.png"):
        assert line(workflow, f"image={text}") == {"10::image": text}


def test_python_images_become_input_images(workflow, undescribed, photo):
    names = {"path": photo, "image": Image.open(photo)}
    for workflow_ in (workflow, undescribed):
        for name in names:
            assert isinstance(line(workflow_, f"10::image={{{name}}}", namespace=names)["10::image"], InputImage)
        assert isinstance(
            resolve(workflow_, settings_from_mapping({"10::image": photo})).params["10::image"], InputImage
        )
    assert "is not a number" in problems(line, workflow, "cfg={image}", namespace=names)[0]


# -- Python's own params -------------------------------------------------------------------------------------------


def test_params_of_the_python_api_are_not_parsed_as_text(workflow, undescribed):
    params = {"cfg": 7, "6::text": "{not expanded} 'a' # 1", "steps": 20.0, "sampler_name": "heun"}
    assert resolve(workflow, settings_from_mapping(params)).params == {
        "3::cfg": 7.0,
        "6::text": "{not expanded} 'a' # 1",
        "3::steps": 20,
        "3::sampler_name": "heun",
    }
    assert resolve(undescribed, settings_from_mapping({"1::a": "7", "1::b": [1, {"c": None}]})).params == {
        "1::a": "7",
        "1::b": [1, {"c": None}],
    }
    assert "sweep" in problems(resolve, workflow, settings_from_mapping({"cfg": [4, 8]}))[0]
    assert "JSON" in problems(resolve, undescribed, settings_from_mapping({"1::a": object()}))[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_python_text_is_submitted_byte_for_byte(workflow, text):
    assert resolve(workflow, settings_from_mapping({"6::text": text})).params == {"6::text": text}
    assert line(workflow, "6::text={t}", namespace={"t": text}) == {"6::text": text}


def test_a_field_set_twice_on_the_line_has_a_short_error(workflow):
    """The error said `cfg is given twice: cfg (the line) and cfg (the line)`."""
    settings = [Setting("cfg", "1", where="the line"), Setting("cfg", "2", where="the line")]
    assert problems(resolve, workflow, settings) == ("cfg is set twice on this line. Keep one.",)


# -- messages about typing errors --------------------------------------------------------------------------------------


def test_error_for_an_expression_in_braces_explains_that_only_names_are_expanded(workflow):
    """The error for `cfg={np.linspace(2,8,3)}` did not mention that braces take only names."""
    for text in ("cfg={np.linspace(2,8,3)}", "steps={2+3}", "sampler_name={names[0]}", "tiled={a.b}"):
        (message,) = problems(line, workflow, text, namespace={})
        assert "braces take only the name of a variable" in message
        assert f"{text.partition('=')[0]}={{values}}" in message
    assert line(workflow, "6::text={a+b}", namespace={}) == {"6::text": "{a+b}"}
    assert "braces" not in problems(line, workflow, "cfg={np.linspace(2,8,3)}")[0]  # no namespace: braces are text


def test_error_for_a_seed_below_its_range_suggests_random(workflow):
    """The error for `seed=-1`, which means a random seed in other programs, did not mention `random`."""
    assert "seed=random" in problems(line, workflow, "seed=-1")[0]
    assert "random" not in problems(line, workflow, "cfg=-1")[0]


def test_error_for_a_range_with_a_dash_shows_how_a_range_is_written(workflow):
    """The error for `seed=1-4` was only `'1-4' is not a whole number`."""
    assert problems(line, workflow, "seed=1-4")[0].endswith(
        "'1-4' is not a whole number; a range is written seed=1..4 in a sweep"
    )
    assert problems(line, workflow, "cfg=8-2")[0].endswith("a range is written cfg=8..2..-1 in a sweep")
    assert "range" not in problems(line, workflow, "sampler_name=1-4")[0]
    assert line(workflow, "6::text=1-4") == {"6::text": "1-4"}


@pytest.mark.parametrize(
    ("spec", "several", "single"),
    [
        (
            ["INT", {}],
            ["1,2", "1||2", "[1, 2]", "1..5", "1..3, 7", "[1..3]", "1, 2"],
            ["1,", "a,b", "", ",", "1.5", "[]", "1;2"],
        ),
        ([["a", "b"]], ["a,b", '["a", "b"]'], ["a,c"]),
    ],
)
def test_an_error_suggests_several_values_only_if_each_part_is_valid(spec, several, single):
    described = Workflow("w", "w", fields={"1::x": read_field("1::x", spec)})
    for text in [*several, *single]:
        with pytest.raises(FieldError) as caught:
            resolve(described, [Setting("1::x", text)])
        assert ("several values" in str(caught.value)) is (text in several), text


def test_value_of_a_text_field_is_never_split():
    described = Workflow("w", "w", fields={"1::x": read_field("1::x", ["STRING"])})
    assert resolve(described, [Setting("1::x", "a||b")]).params == {"1::x": "a||b"}


def test_seed_words_need_their_exact_spelling():
    described = Workflow("w", "w", fields={"1::seed": read_field("1::seed", ["INT"])})
    for word in ("random#1", "random#10", "each"):
        with pytest.raises(FieldError, match="several seeds"):
            resolve(described, [Setting("1::seed", word)])
    for word in ("Random", "random#", "random#-1", "randomly", "random 3"):
        with pytest.raises(FieldError, match="invalid seed"):
            resolve(described, [Setting("1::seed", word)])
