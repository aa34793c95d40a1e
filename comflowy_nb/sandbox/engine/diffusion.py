"""Diffusion sampling: noise schedules, a closed-form denoiser, samplers.

The denoiser of a set of images y_i with weights c_i under white noise of level sigma is their softmax-weighted mean,
`D(x; sigma) = sum_i w_i y_i`, `w_i ~ c_i exp(-|x - y_i|^2 / (2 sigma^2))` (Karras et al. 2022, arXiv 2206.00364,
appendix B.3). `SceneSet` computes this mean. Each scene is the centre of a Gaussian whose covariance is diagonal in the
Fourier basis and falls off towards fine detail, so the denoiser adds a Wiener filter, `W_sigma * (x - mean)`: it gives
the image of each seed its own strokes and light. The weights ignore this covariance, which is small.

Guidance is classifier-free: `D = D_negative + cfg * (D_positive - D_negative)`. The prompts set the c_i and the light.
Because this is linear in the weights, one pass over the set computes both sides.

The noise levels are those of Stable Diffusion 1 (14.6 to 0.029 over 1000 timesteps). The samplers are those of
k-diffusion, as in ComfyUI. Colours are scaled into that range (`latents.SCALE`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comflowy_nb.sandbox.engine.image_ops import soften
from comflowy_nb.sandbox.engine.latents import CLIP, SCALE, spectrum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from comflowy_nb.sandbox.engine.prompts import Conditioning
    from comflowy_nb.sandbox.engine.scene_set import Guide, SceneSet

Array: TypeAlias = NDArray[np.float32]
Levels: TypeAlias = NDArray[np.float64]
Source: TypeAlias = "tuple[Array, float]"  # the image of an img2img run, and the noise level added to it

SCHEDULERS: Final = ("normal", "karras", "exponential", "simple")
_NATS_AGAINST_SOURCE: Final = 3.0
_SOURCE_STEEPNESS: Final = 14.0  # above 1, to avoid mixtures of the source and a scene
_FIELD_OF_VIEW: Final = 0.2  # in canvas sides: about the width of a subject
_MAX_STROKE: Final = np.float32(0.12 * SCALE)  # four standard deviations
_SHARP_STRIDE: Final = 0.8  # in the logarithm of sigma: the stride of a run of 9 steps
_BLUR_PER_STRIDE: Final = 0.007  # in shorter sides of the canvas


def sample(
    scene_set: SceneSet,
    samples: Array,
    *,
    positive: Conditioning,
    negative: Conditioning,
    seed: int,
    steps: int,
    cfg: float,
    sampler: str,
    scheduler: str,
    denoise: float,
    after_step: Callable[[int, int], None] | None = None,
) -> Array:
    """Add noise to latents (n, channels, h, w) up to the level of `denoise`, and sample.

    The same arguments give the same bytes. Each image of a batch has separate noise; the first image has the noise of a
    batch of one.
    """
    levels = sigmas(scheduler, steps, denoise)
    if len(levels) < 2:
        return samples
    # One generator per image, from the low and high 32 bits of the seed and the index of the image.
    rngs = [np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFF, seed >> 32, k])) for k in range(len(samples))]
    guide = scene_set.guide(positive, negative, cfg)

    sources = [(image[:3], float(levels[0])) if image.any() else None for image in samples]

    def denoise_all(noisy: Array, sigma: float) -> Array:
        pairs = zip(noisy, sources, strict=True)
        return np.stack([_denoise(scene_set, image, sigma, guide, source) for image, source in pairs])

    def noise() -> Array:
        return np.stack([rng.standard_normal(samples.shape[1:], dtype=np.float32) for rng in rngs])

    sampled = samples + noise() * np.float32(levels[0])
    steps_done = SAMPLERS[sampler](denoise_all, sampled, levels, noise)
    for done, sampled in enumerate(steps_done, start=1):  # noqa: B007 - used after the loop
        if after_step:
            after_step(done, len(levels) - 1)
    return np.stack([_blur_strides(image, levels) for image in sampled])


def _blur_strides(image: Array, levels: Levels) -> Array:
    """Blur the result of a few large steps, as real models do. The exact denoiser would stay sharp."""
    if len(levels) < 3:
        return image
    stride = np.log(levels[0] / levels[-2]) / (len(levels) - 2)
    reach = _BLUR_PER_STRIDE * (stride - _SHARP_STRIDE) * min(image.shape[1:])
    if reach <= 0:
        return image
    radius = int(np.ceil(reach))
    blurred = soften(image[:3], radius)
    return np.concatenate([image[:3] + (blurred - image[:3]) * np.float32(reach / radius), image[3:]])


# -- noise levels -----------------------------------------------------------------------------------------------------


def sigmas(scheduler: str, steps: int, denoise: float = 1.0) -> Levels:
    """Return the `steps` + 1 noise levels of a run, descending to 0; an empty array if `denoise` is 0.

    With `denoise` below 1 they are the last levels of a run of steps / denoise steps, as in ComfyUI. ComfyUI truncates
    that number, so that 0.96 may equal 1; this function does not.
    """
    if denoise <= 0:
        return np.zeros(0)
    total = steps / denoise
    start = min(1.0, (total - steps) / max(total - 1, 1e-9))
    table = _sigma_table()
    low, high = table[0], table[-1]
    ramp: Levels = np.linspace(start, 1, steps)
    match scheduler:
        case "karras":  # equation 5 of the paper, rho = 7
            levels = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
        case "exponential":
            levels = np.exp(np.log(high) + ramp * (np.log(low) - np.log(high)))
        case "simple":  # evenly spaced timesteps, without the last one
            skipped: Levels = np.arange(steps, dtype=np.float64) + (total - steps)
            levels = _at(table, len(table) - 1 - skipped * (len(table) / total))
        case _:
            levels = _at(table, (1 - ramp) * (len(table) - 1))
    return np.append(levels, 0.0)


def _at(table: Levels, timesteps: Levels) -> Levels:
    """Interpolate levels between timesteps in the logarithm, as ComfyUI does."""
    return np.exp(np.interp(timesteps, np.arange(len(table)), np.log(table)))


@lru_cache(maxsize=1)
def _sigma_table() -> Levels:
    """Return the 1000 levels of Stable Diffusion: the square roots of the betas are linear from 0.00085 to 0.012."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    products = np.cumprod(1 - betas)
    return np.sqrt((1 - products) / products)


# -- the denoiser -----------------------------------------------------------------------------------------------------


def _denoise(scene_set: SceneSet, noisy: Array, sigma: float, guide: Guide, source: Source | None) -> Array:
    mean = scene_set.mean(noisy, sigma, guide)
    if source is not None:
        mean[:3] = _keep_source(mean[:3], *source)
    _, height, width = noisy.shape
    power = spectrum(height, width)
    rest = np.fft.rfft2(noisy - mean)
    rest *= power / (power + np.float32(sigma) ** 2)
    strokes = np.fft.irfft2(rest, s=(height, width)).astype(np.float32)
    # After very few steps the residual contains what guidance exaggerated.
    strokes[:3] = np.clip(strokes[:3], -_MAX_STROKE, _MAX_STROKE)
    return np.asarray(mean + strokes)


def _keep_source(mean: Array, source: Array, start: float) -> Array:
    """Add the image of an img2img run to the set, separately around each point.

    The weight at a point is the probability that noise of level `start` leaves the image distinguishable from the mean
    within a limited field of view (Kamb and Ganguli 2024, arXiv 2412.20292): little noise keeps the image, much noise
    replaces it.
    """
    reach = max(1, round(min(mean.shape[1:]) * _FIELD_OF_VIEW))
    points = (2 * reach + 1) ** 2
    evidence = soften(((mean - source) ** 2).sum(axis=0, keepdims=True), reach) * (points / (2 * start**2))
    share = 1 / (1 + np.exp(-np.clip(_SOURCE_STEEPNESS * (evidence - _NATS_AGAINST_SOURCE), -30, 30)))
    return np.asarray(mean + (source - mean) * share, dtype=np.float32)


# -- samplers ---------------------------------------------------------------------------------------------------------

Denoiser: TypeAlias = "Callable[[Array, float], Array]"
Noise: TypeAlias = "Callable[[], Array]"
Steps: TypeAlias = "Iterator[Array]"  # the latents after each step


def _blend(x: Array, estimate: Array, share: float) -> Array:
    """Interpolate between the noisy image and the estimate."""
    return np.float32(share) * x + np.float32(1 - share) * estimate


def _euler(denoise: Denoiser, x: Array, levels: Levels, _noise: Noise) -> Steps:
    for now, after in pairwise(levels):
        x = _blend(x, denoise(x, now), after / now)
        yield x


def _ddim(denoise: Denoiser, x: Array, levels: Levels, noise: Noise) -> Steps:
    """Sample with Euler steps and clipped estimates, as the reference code of DDIM does."""
    limit = np.float32(CLIP)
    return _euler(lambda x, level: np.clip(denoise(x, level), -limit, limit), x, levels, noise)


def _euler_ancestral(denoise: Denoiser, x: Array, levels: Levels, noise: Noise) -> Steps:
    for now, after in pairwise(levels):
        up = min(after, (after**2 * (now**2 - after**2) / now**2) ** 0.5)
        down = (after**2 - up**2) ** 0.5
        x = _blend(x, denoise(x, now), down / now)
        if up:
            x = x + noise() * np.float32(up)
        yield x


def _heun(denoise: Denoiser, x: Array, levels: Levels, _noise: Noise) -> Steps:
    for now, after in pairwise(levels):
        slope = (x - denoise(x, now)) / np.float32(now)
        step = np.float32(after - now)
        ahead = x + slope * step
        if after:
            slope = (slope + (ahead - denoise(ahead, after)) / np.float32(after)) / 2
            ahead = x + slope * step
        x = ahead
        yield x


def _dpmpp_2m(denoise: Denoiser, x: Array, levels: Levels, _noise: Noise) -> Steps:
    """Sample with DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095)."""
    before: tuple[float, Array] | None = None  # the level and the estimate of the last step
    for now, after in pairwise(levels):
        estimate = denoise(x, now)
        if not after:
            x = estimate
        else:
            guess = estimate
            if before is not None:
                ratio = np.log(before[0] / now) / np.log(now / after)
                guess = estimate + (estimate - before[1]) * np.float32(1 / (2 * ratio))
            x = _blend(x, guess, after / now)
        before = now, estimate
        yield x


def _lms(denoise: Denoiser, x: Array, levels: Levels, _noise: Noise) -> Steps:
    """Sample with the linear multistep method of order 4, with exact weights for uneven levels."""
    slopes: list[Array] = []
    for k, (now, after) in enumerate(pairwise(levels)):
        slopes = [*slopes, (x - denoise(x, now)) / np.float32(now)][-4:]
        known = levels[k - len(slopes) + 1 : k + 1]
        for j, slope in enumerate(slopes):
            x = x + slope * np.float32(_lagrange_area(known, j, now, after))
        yield x


def _lagrange_area(known: Levels, j: int, now: float, after: float) -> float:
    """Integrate the j-th Lagrange polynomial of the known levels from `now` to `after`."""
    polynomial = np.polynomial.Polynomial([1.0])
    for i, level in enumerate(known):
        if i != j:
            polynomial *= np.polynomial.Polynomial([-level, 1.0]) / (known[j] - level)
    total = polynomial.integ()
    return float(total(after) - total(now))


SAMPLERS: Final[dict[str, Callable[[Denoiser, Array, Levels, Noise], Steps]]] = {
    "euler": _euler,
    "euler_ancestral": _euler_ancestral,
    "heun": _heun,
    "dpmpp_2m": _dpmpp_2m,
    "ddim": _ddim,
    "lms": _lms,
}
