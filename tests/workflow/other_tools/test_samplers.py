"""The names of samplers and schedulers of other tools."""

from __future__ import annotations

import pytest

from comflowy_nb.workflow.other_tools.samplers import SAMPLERS, SCHEDULERS, comfyui_names

NAMES = [
    # AUTOMATIC1111 names them in modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py and sd_schedulers.py
    ("DPM++ 2M Karras", None, "dpmpp_2m", "karras"),
    ("DPM++ 2M Karras", "Uniform", "dpmpp_2m", "karras"),
    ("DPM++ 2M", "Karras", "dpmpp_2m", "karras"),
    ("DPM++ 2M", "Automatic", "dpmpp_2m", "karras"),
    ("DPM++ 2M", "Uniform", "dpmpp_2m", "normal"),
    ("DPM++ 2M SDE", "Automatic", "dpmpp_2m_sde", "exponential"),
    ("DPM++ 2M SDE Heun Exponential", None, "dpmpp_2m_sde_heun", "exponential"),
    ("DPM++ 2S a Karras", None, "dpmpp_2s_ancestral", "karras"),
    ("DPM++ 3M SDE", "Exponential", "dpmpp_3m_sde", "exponential"),
    ("DPM++ SDE", "SGM Uniform", "dpmpp_sde", "sgm_uniform"),
    ("Euler a", "Automatic", "euler_ancestral", "normal"),
    ("Euler", "Simple", "euler", "simple"),
    ("DPM2 a Karras", None, "dpm_2_ancestral", "karras"),
    ("DPM fast", None, "dpm_fast", None),
    ("LMS Karras", None, "lms", "karras"),
    ("k_dpmpp_2m_ka", None, "dpmpp_2m", "karras"),
    ("DDIM", "Automatic", "ddim", "ddim_uniform"),
    ("UniPC", "Beta", "uni_pc", "beta"),
    ("LCM", "KL Optimal", "lcm", "kl_optimal"),
    ("Restart", "Karras", None, "karras"),
    ("Restart", "Automatic", None, None),
    ("PLMS", None, None, None),
    ("Euler", "Align Your Steps", "euler", None),
    # Forge names them in modules_forge/alter_samplers.py
    ("HeunPP2", "DDIM", "heunpp2", "ddim_uniform"),
    ("IPNDM_V", None, "ipndm_v", None),
    # SwarmUI and Fooocus use the names in comfy/sampler_names.py
    ("dpmpp_2m_sde_gpu", "karras", "dpmpp_2m_sde_gpu", "karras"),
    ("euler_ancestral_cfg_pp", "linear_quadratic", "euler_ancestral_cfg_pp", "linear_quadratic"),
    # InvokeAI names them in backend/stable_diffusion/schedulers/schedulers.py
    ("euler_a", "Uniform", "euler_ancestral", "normal"),
    ("dpmpp_2m_sde_k", "Uniform", "dpmpp_2m_sde", "karras"),
    ("kdpm_2_a", "Uniform", "dpm_2_ancestral", "normal"),
    ("unipc", "Uniform", "uni_pc", "normal"),
    ("dpmpp_2s", "Uniform", None, "normal"),  # DPMSolverSinglestep, which ComfyUI lacks
    # NovelAI: the names in novelai_api/ImagePreset.py
    ("k_euler_ancestral", "native", "euler_ancestral", "normal"),
    ("k_dpmpp_2m", "exponential", "dpmpp_2m", "exponential"),
    ("ddim_v3", None, "ddim", None),
    ("nai_smea_dyn", "polyexponential", None, None),
    (None, "karras", None, "karras"),
    (None, None, None, None),
]


@pytest.mark.parametrize(("sampler", "scheduler", "own_sampler", "own_scheduler"), NAMES)
def test_names_are_translated(sampler, scheduler, own_sampler, own_scheduler):
    assert comfyui_names(sampler, scheduler) == (own_sampler, own_scheduler)


def test_no_name_has_two_meanings():
    for table in (SAMPLERS, SCHEDULERS):
        names = [name for own, others in table.items() for name in {own, *others}]
        assert len(names) == len(set(names))
