"""The fields of the default graph as ComfyUI describes them, and a workflow without descriptions."""

from __future__ import annotations

import pytest

from comflowy_nb.workflow.object_info import read_field
from comflowy_nb.workflow.workflow import Workflow

SAMPLERS = ["euler", "euler_ancestral", "heun", "dpm_2", "lms", "dpmpp_2m", "ddim", "uni_pc", "lcm", "ipndm"]
SPECS = {
    "3::seed": (["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}], "KSampler"),
    "3::steps": (["INT", {"default": 20, "min": 1, "max": 10000}], "KSampler"),
    "3::cfg": (["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}], "KSampler"),
    "3::sampler_name": ([SAMPLERS, {}], "KSampler"),
    "3::denoise": (["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}], "KSampler"),
    "5::batch_size": (["INT", {"default": 1, "min": 1, "max": 4096}], "Empty Latent Image"),
    "6::text": (["STRING", {"multiline": True}], "CLIP Text Encode (Prompt)"),
    "7::text": (["STRING", {"multiline": True}], "CLIP Text Encode (Prompt)"),
    "9::filename_prefix": (["STRING", {"default": "ComfyUI"}], "Save Image"),
    "10::image": ([["example.png"], {"image_upload": True}], "Load Image"),
    "11::tiled": (["BOOLEAN", {"default": False}], "VAE Decode"),
    "12::noise_seed": (["INT", {"min": 0, "max": 1000}], "Noise"),
}


@pytest.fixture
def workflow():
    fields = {key: read_field(key, spec, node_title=title) for key, (spec, title) in SPECS.items()}
    return Workflow("default", "default", fields=fields, aliases={"prompt": "6::text", "avoid": "7::text"})


@pytest.fixture
def undescribed():
    return Workflow("portrait", "3fef208b", aliases={"prompt": "6::text"})
