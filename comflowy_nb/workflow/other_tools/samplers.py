"""Convert the sampler and scheduler names of other tools to ComfyUI's names.

Sources of the names:

- ComfyUI: `comfy/sampler_names.py` and `comfy/samplers.py` (github.com/comfyanonymous/ComfyUI). SwarmUI and Fooocus
  use these names (`modules/flags.py` of github.com/lllyasviel/Fooocus).
- AUTOMATIC1111 and Forge, names and aliases: `modules/sd_samplers_kdiffusion.py`, `modules/sd_samplers_timesteps.py`
  and `modules/sd_schedulers.py` (github.com/AUTOMATIC1111/stable-diffusion-webui), `modules_forge/alter_samplers.py`
  (github.com/lllyasviel/stable-diffusion-webui-forge). These name the k-diffusion function of each sampler, and
  ComfyUI's samplers have the names of the same functions.
- InvokeAI: `SCHEDULER_MAP` in `invokeai/backend/stable_diffusion/schedulers/schedulers.py`
  (github.com/invoke-ai/InvokeAI). A suffix `_k` means the Karras schedule.
- NovelAI: `ImageSampler` in `novelai_api/ImagePreset.py` (github.com/Aedial/novelai-api).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


# ComfyUI's name -> the names in other tools that `comparable` does not make equal to it
SAMPLERS: Mapping[str, tuple[str, ...]] = {
    "euler": ("k_euler",),
    "euler_cfg_pp": (),
    "euler_ancestral": ("Euler a", "k_euler_a", "k_euler_ancestral"),
    "euler_ancestral_cfg_pp": (),
    "heun": ("k_heun",),
    "heunpp2": (),
    "dpm_2": ("DPM2", "k_dpm_2", "kdpm_2"),
    "dpm_2_ancestral": ("DPM2 a", "k_dpm_2_a", "k_dpm_2_ancestral", "kdpm_2_a"),
    "lms": ("k_lms",),
    "dpm_fast": ("k_dpm_fast",),
    "dpm_adaptive": ("k_dpm_ad", "k_dpm_adaptive"),
    "dpmpp_2s_ancestral": ("DPM++ 2S a", "k_dpmpp_2s_a", "k_dpmpp_2s_ancestral"),
    "dpmpp_2s_ancestral_cfg_pp": (),
    "dpmpp_sde": ("k_dpmpp_sde",),
    "dpmpp_sde_gpu": (),
    "dpmpp_2m": ("k_dpmpp_2m",),
    "dpmpp_2m_cfg_pp": (),
    "dpmpp_2m_sde": ("k_dpmpp_2m_sde",),
    "dpmpp_2m_sde_gpu": (),
    "dpmpp_2m_sde_heun": ("k_dpmpp_2m_sde_heun",),
    "dpmpp_2m_sde_heun_gpu": (),
    "dpmpp_3m_sde": ("k_dpmpp_3m_sde",),
    "dpmpp_3m_sde_gpu": (),
    "ddpm": (),
    "lcm": ("k_lcm",),
    "ipndm": (),
    "ipndm_v": (),
    "deis": (),
    "res_multistep": (),
    "res_multistep_cfg_pp": (),
    "res_multistep_ancestral": (),
    "res_multistep_ancestral_cfg_pp": (),
    "gradient_estimation": (),
    "gradient_estimation_cfg_pp": (),
    "er_sde": (),
    "seeds_2": (),
    "seeds_3": (),
    "sa_solver": (),
    "sa_solver_pece": (),
    "ddim": ("ddim_v3",),
    "uni_pc": ("UniPC",),
    "uni_pc_bh2": (),
}

SCHEDULERS: Mapping[str, tuple[str, ...]] = {
    "normal": ("Uniform", "native"),  # k-diffusion's `get_sigmas`: equal steps in time
    "karras": (),
    "exponential": (),
    "sgm_uniform": ("SGMUniform",),
    "simple": (),
    "ddim_uniform": ("DDIM",),
    "beta": (),
    "linear_quadratic": (),
    "kl_optimal": (),
}

# Suffix of a sampler's name -> scheduler: `DPM++ 2M Karras`, `euler_k`, and A1111's aliases `k_dpmpp_2m_ka`
_SUFFIXES = {
    "_karras": "karras",
    "_ka": "karras",
    "_k": "karras",
    "_exponential": "exponential",
    "_exp": "exponential",
    "_sgm_uniform": "sgm_uniform",
    "_sgmuniform": "sgm_uniform",
}

# A1111's `Schedule type: Automatic` is the `scheduler` in the options of the sampler, and Uniform without this option.
_AUTOMATIC = {
    "dpmpp_2m": "karras",
    "dpmpp_sde": "karras",
    "dpmpp_2m_sde": "exponential",
    "dpmpp_2m_sde_heun": "exponential",
    "dpmpp_2s_ancestral": "karras",
    "dpmpp_3m_sde": "exponential",
    "dpm_2": "karras",
    "dpm_2_ancestral": "karras",
}


def comparable(name: str) -> str:
    """Return a name in lower case, with `_` for blanks and hyphens, and `pp` for `++`."""
    return "_".join(name.lower().replace("++", "pp").replace("-", "_").split())


def comfyui_names(sampler: str | None, scheduler: str | None) -> tuple[str | None, str | None]:
    """Return ComfyUI's names for the sampler and the scheduler of another tool, each None if unknown.

    Parameters
    ----------
    sampler
        The tool's name of the sampler. Many tools append the scheduler: `DPM++ 2M Karras`.
    scheduler
        The tool's name of the scheduler. With `Automatic`, A1111 chooses it by the sampler. A suffix of the sampler
        takes precedence over `Automatic` and `Uniform`.

    Examples
    --------
    >>> comfyui_names("DPM++ 2M Karras", None), comfyui_names("Euler a", "Automatic")
    (('dpmpp_2m', 'karras'), ('euler_ancestral', 'normal'))
    """
    own, suffix = _split(comparable(sampler)) if sampler is not None else (None, None)
    named = comparable(scheduler) if scheduler is not None else None
    if named in {None, "automatic", "uniform"}:
        if suffix is not None:
            return own, suffix
        if named is not None and own == "ddim":  # A1111's DDIM has the steps of ddim_uniform, for any schedule type
            return own, "ddim_uniform"
        if named == "automatic":
            return own, _AUTOMATIC.get(own, "normal") if own is not None else None
    return own, _SCHEDULER_OF.get(named) if named is not None else None


def _split(name: str) -> tuple[str | None, str | None]:
    """Split a sampler name into ComfyUI's sampler and the scheduler in its suffix."""
    if name in _SAMPLER_OF:
        return _SAMPLER_OF[name], None
    for suffix, scheduler in _SUFFIXES.items():
        own = _SAMPLER_OF.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if own is not None:
            return own, scheduler
    return None, None


def _by_name(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {comparable(name): own for own, names in table.items() for name in (own, *names)}


_SAMPLER_OF = _by_name(SAMPLERS)
_SCHEDULER_OF = _by_name(SCHEDULERS)
