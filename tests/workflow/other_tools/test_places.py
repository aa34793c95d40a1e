"""The fields of a workflow by role, found by its nodes and links, and the params that they take from an image."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.graph import Graph, parse_graph
from comflowy_nb.workflow.other_tools.fill import fill
from comflowy_nb.workflow.other_tools.metadata import ROLES, Generation
from comflowy_nb.workflow.other_tools.places import find_places
from comflowy_nb.workflow.workflow import Workflow

DEFAULT = parse_graph((files("comflowy_nb") / "workflow" / "builtin" / "default.json").read_text("utf-8"), "default")
PLACES = {
    "prompt": ("6::text",),
    "negative": ("7::text",),
    "steps": ("3::steps",),
    "cfg": ("3::cfg",),
    "seed": ("3::seed",),
    "sampler": ("3::sampler_name",),
    "scheduler": ("3::scheduler",),
    "width": ("5::width",),
    "height": ("5::height",),
}


def workflow(nodes, **options):
    """Return a workflow of nodes, given as `id: (class, inputs)`, or of a graph."""
    if not isinstance(nodes, Graph):
        nodes = Graph({node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in nodes.items()})
    return Workflow("w", graph=nodes, fields=nodes.fields(), **options)


def sampler(**inputs):
    values = {"seed": 1, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}
    return ("KSampler", {**values, "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], **inputs})


BASE = {
    "3": sampler(),
    "5": ("EmptyLatentImage", {"width": 512, "height": 512, "batch_size": 1}),
    "6": ("CLIPTextEncode", {"text": "a", "clip": ["4", 1]}),
    "7": ("CLIPTextEncode", {"text": "b", "clip": ["4", 1]}),
    "4": ("CheckpointLoaderSimple", {"ckpt_name": "x.safetensors"}),
}


def test_fields_of_the_default_workflow():
    assert find_places(workflow(DEFAULT)).fields == PLACES


def test_roles_are_found_by_links_and_not_by_the_order_of_nodes():
    places = find_places(workflow({**BASE, "3": sampler(positive=["7", 0], negative=["6", 0])})).fields
    assert (places["prompt"], places["negative"]) == (("7::text",), ("6::text",))


def test_a_controlnet_between_encoder_and_sampler():
    nodes = {
        **BASE,
        "3": sampler(positive=["9", 0], negative=["9", 1]),
        "9": (
            "ControlNetApplyAdvanced",
            {"positive": ["6", 0], "negative": ["7", 0], "image": ["1", 0], "strength": 1},
        ),
    }
    places = find_places(workflow(nodes)).fields
    assert (places["prompt"], places["negative"]) == (("6::text",), ("7::text",))


def test_an_encoder_with_two_texts_takes_the_prompt_twice():
    nodes = {**BASE, "6": ("CLIPTextEncodeSDXL", {"text_g": "a", "text_l": "a", "width": 1024, "height": 1024})}
    found = find_places(workflow(nodes)).fields
    assert found["prompt"] == ("6::text_g", "6::text_l")
    assert found["width"] == ("5::width",)
    params = fill(Generation("X", {"prompt": "new", "steps": 5}), workflow(nodes), "a.png").params
    assert params == {"6::text_g": "new", "6::text_l": "new", "3::steps": 5}


LINKS = {"noise": "25", "guider": "22", "sampler": "16", "sigmas": "17", "latent_image": "27"}


def test_a_workflow_of_separate_nodes():
    """As ComfyUI's example of Flux: noise, guider, sampler and sigmas are nodes; there is no negative prompt."""
    nodes = {
        "13": (
            "SamplerCustomAdvanced",
            {
                "noise": ["25", 0],
                "guider": ["22", 0],
                "sampler": ["16", 0],
                "sigmas": ["17", 0],
                "latent_image": ["27", 0],
            },
        ),
        "25": ("RandomNoise", {"noise_seed": 5}),
        "22": ("BasicGuider", {"model": ["12", 0], "conditioning": ["26", 0]}),
        "26": ("FluxGuidance", {"guidance": 3.5, "conditioning": ["6", 0]}),
        "6": ("CLIPTextEncode", {"text": "a", "clip": ["11", 0]}),
        "16": ("KSamplerSelect", {"sampler_name": "euler"}),
        "17": ("BasicScheduler", {"scheduler": "simple", "steps": 20, "denoise": 1, "model": ["12", 0]}),
        "27": ("EmptySD3LatentImage", {"width": 1024, "height": 1024, "batch_size": 1}),
        "12": ("UNETLoader", {"unet_name": "flux"}),
    }
    assert find_places(workflow(nodes)).fields == {
        "prompt": ("6::text",),
        "seed": ("25::noise_seed",),
        "sampler": ("16::sampler_name",),
        "scheduler": ("17::scheduler",),
        "steps": ("17::steps",),
        "width": ("27::width",),
        "height": ("27::height",),
    }


def test_values_of_primitive_nodes():
    nodes = {
        **BASE,
        "3": sampler(seed=["20", 0]),
        "20": ("PrimitiveInt", {"value": 4}),
        "6": ("CLIPTextEncode", {"text": ["21", 0], "clip": ["4", 1]}),
        "21": ("PrimitiveStringMultiline", {"value": "a"}),
        "5": ("EmptyLatentImage", {"width": ["22", 0], "height": ["22", 1], "batch_size": 1}),
        "22": ("Aspect ratio", {"ratio": "1:1", "scale": 2}),
    }
    found = find_places(workflow(nodes))
    assert (found.fields["seed"], found.fields["prompt"]) == (("20::value",), ("21::value",))
    assert "width" not in found.fields


def test_the_first_of_two_passes_takes_the_settings():
    nodes = {
        **BASE,
        "10": sampler(latent_image=["11", 0], denoise=0.5),
        "11": ("LatentUpscale", {"samples": ["3", 0], "width": 1024, "height": 1024}),
    }
    assert find_places(workflow(nodes)).fields == PLACES


def test_two_samplers_that_start_an_image_are_not_guessed():
    found = find_places(workflow({**BASE, "10": sampler()}))
    assert not found.fields
    assert found.problems["steps"] == "the workflow has several samplers, nodes 3, 10"
    with pytest.raises(WorkflowError, match=r"w has no field for the settings in a\.png; name its fields"):
        fill(Generation("X", {"steps": 5}), workflow({**BASE, "10": sampler()}), "a.png")


def test_the_size_of_an_input_image_is_not_set():
    nodes = {**BASE, "5": ("VAEEncode", {"pixels": ["8", 0], "vae": ["4", 2]}), "8": ("LoadImage", {"image": "a.png"})}
    filled = fill(Generation("X", {"steps": 5, "width": 64, "height": 64}), workflow(nodes), "a.png")
    assert filled.params == {"3::steps": 5}
    assert filled.left_out[0] == "width 64 (the size comes from another node)"


def test_an_empty_negative_prompt_without_a_field_is_not_mentioned():
    nodes = {**BASE, "3": sampler(negative=["9", 0]), "9": ("ConditioningZeroOut", {"conditioning": ["6", 0]})}
    for text, left_out in (("", ()), ("blurry", ("negative prompt",))):
        assert fill(Generation("X", {"steps": 5, "negative": text}), workflow(nodes), "a.png").left_out == left_out


def test_combined_prompts_are_not_guessed():
    nodes = {
        **BASE,
        "3": sampler(positive=["9", 0]),
        "9": ("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["8", 0]}),
        "8": ("CLIPTextEncode", {"text": "c"}),
    }
    found = find_places(workflow(nodes))
    assert "prompt" not in found.fields
    assert found.problems["prompt"] == "2 text encoders are combined"


def test_an_alias_takes_precedence():
    aliases = {"prompt": "7::text", "cfg": "9::guidance"}
    found = find_places(workflow(DEFAULT, aliases=aliases))
    assert found.fields["prompt"] == ("7::text",)
    assert "9::guidance" not in str(found.fields)


# -- workflows of which only the fields are known ---------------------------------------------------------------------


def described(*titles, extra=()):
    """Return a workflow on a service: its fields and titles, without links."""
    texts = [Field(f"{n}::text", FieldType.STRING, node_title=title) for n, title in enumerate(titles, 6)]
    names = [("3::steps", FieldType.INT), ("3::cfg", FieldType.FLOAT), *((one, FieldType.INT) for one in extra)]
    fields = [*texts, *(Field(name, kind, node_title="KSampler") for name, kind in names)]
    return Workflow("w", "id1", fields={one.id: one for one in fields})


def test_titles_distinguish_the_prompts():
    for titles in (("Positive", "Negative"), ("CLIP Text Encode (Prompt)", "Negative Prompt")):
        found = find_places(described(*titles)).fields
        assert (found["prompt"], found["negative"]) == (("6::text",), ("7::text",))
        assert found["steps"] == ("3::steps",)
    assert find_places(described("Prompt")).fields["prompt"] == ("6::text",)


def test_equal_titles_name_the_command_for_an_alias():
    found = find_places(described("CLIP Text Encode", "CLIP Text Encode"))
    assert "prompt" not in found.fields
    assert found.problems["prompt"] == "name its field: %comflowy workflow alias w prompt=6::text"


def test_a_name_of_several_fields_is_not_guessed():
    found = find_places(described("Prompt", extra=("10::steps",)))
    assert "steps" not in found.fields
    assert found.problems["steps"] == "2 fields have this name"


def test_a_graph_of_the_catalogue_is_used_if_it_fits():
    fields = {key: one for key, one in DEFAULT.fields().items() if not key.startswith("9")}
    assert find_places(Workflow("default", "id1", fields=fields), DEFAULT).fields == PLACES
    other = {**fields, "6::text": Field("6::text", FieldType.STRING, class_type="Other")}
    assert "negative" not in find_places(Workflow("default", "id1", fields=other), DEFAULT).fields
    assert not find_places(Workflow("default", "id1", is_partial=True), DEFAULT).fields


# -- values ----------------------------------------------------------------------------------------------------------

ALL = {
    "prompt": "a boat",
    "negative": "",
    "steps": 12,
    "cfg": 6.5,
    "seed": 77,
    "sampler": "DPM++ 2M",
    "scheduler": "Karras",
    "width": 128,
    "height": 192,
}


def with_options():
    fields = DEFAULT.fields()
    choices = {"3::sampler_name": ("euler", "heun", "dpmpp_2m"), "3::scheduler": ("normal", "karras")}
    for key, options in choices.items():
        fields[key] = Field(key, FieldType.CHOICE, options, class_type="KSampler")
    fields["3::steps"] = Field("3::steps", FieldType.INT, min=1, max=100, class_type="KSampler")
    return Workflow("w", graph=DEFAULT, fields=fields)


def test_all_settings_of_an_image():
    filled = fill(Generation("AUTOMATIC1111", ALL), with_options(), "a.png")
    assert filled.params == {
        "6::text": "a boat",
        "7::text": "",
        "3::steps": 12,
        "3::cfg": 6.5,
        "3::seed": 77,
        "3::sampler_name": "dpmpp_2m",
        "3::scheduler": "karras",
        "5::width": 128,
        "5::height": 192,
    }
    assert filled.left_out == ()
    assert filled.summary == "the settings in a.png (AUTOMATIC1111) are used for w"


def test_names_that_the_service_lacks_are_left_out_with_the_nearest():
    values = {"steps": 500, "cfg": 7.0, "sampler": "DPM++ 2M SDE", "scheduler": "Karras Exponential"}
    filled = fill(Generation("AUTOMATIC1111", values), with_options(), "a.png")
    assert filled.params == {"3::cfg": 7.0}
    assert filled.left_out == (
        "steps 500 (500 is above 100, the maximum)",
        "sampler DPM++ 2M SDE (w does not offer dpmpp_2m_sde, nearest: dpmpp_2m)",
        "scheduler Karras Exponential (not known in ComfyUI, nearest: karras)",
    )


def test_a_name_that_only_the_service_knows_is_used():
    """SwarmUI runs ComfyUI, also with samplers that are newer than the table."""
    fields = {"3::sampler_name": Field("3::sampler_name", FieldType.CHOICE, ("new_one",), class_type="KSampler")}
    filled = fill(Generation("SwarmUI", {"sampler": "new_one"}), Workflow("w", "id1", fields=fields), "a.png")
    assert filled.params == {"3::sampler_name": "new_one"}


def test_the_summary_is_one_line_and_counts_what_it_does_not_list():
    extras = tuple(f"Setting{n} {n}" for n in range(20))
    filled = fill(Generation("X", {"steps": 5}, extras), workflow(DEFAULT), "a.png")
    assert filled.summary.endswith("are used for w, without: " + ", ".join(extras[:12]) + " and 8 more")
    assert filled.left_out == extras


NODE_IDS = st.sampled_from("123456")
VALUES = st.integers(0, 9) | st.text(max_size=3) | st.tuples(NODE_IDS, st.integers(0, 1)).map(list) | st.none()
INPUTS = (
    "positive",
    "negative",
    "latent_image",
    "samples",
    "guider",
    "conditioning",
    "text",
    "seed",
    "width",
    "height",
)


@given(
    st.dictionaries(
        NODE_IDS,
        st.tuples(
            st.sampled_from(["KSampler", "CLIPTextEncode", "ConditioningZeroOut"]),
            st.dictionaries(st.sampled_from(INPUTS), VALUES, max_size=8),
        ),
        min_size=1,
    )
)
def test_any_graph_gives_existing_fields(nodes):
    """Circular links end, and each field id exists."""
    made = workflow(nodes)
    found = find_places(made).fields
    assert set(found) <= set(ROLES)
    assert all(one in made.fields for ids in found.values() for one in ids)
    json.dumps(found)
