"""Real diffusion sampling: noise schedules, a closed-form denoiser, samplers.

The denoiser of a set of images y_i with weights c_i under white noise of level sigma is their softmax-weighted mean,
`D(x; sigma) = sum_i w_i y_i`, `w_i ~ c_i exp(-|x - y_i|^2 / (2 sigma^2))` (Karras et al. 2022, arXiv 2206.00364,
appendix B.3). `SceneSet` computes that mean over all its scenes. Here each scene is moreover a soft cloud, not
a point: a Gaussian around the scene whose covariance is diagonal in the Fourier basis and falls off towards fine
detail, so that the denoiser adds `W_sigma * (x - mean)`, a Wiener filter: the strokes and the light that make every
seed's image its own. The weights are those of the points; the clouds are thin, so that this hardly matters.

Guidance is the usual one: `D = D_negative + cfg * (D_positive - D_negative)`, where the prompts set the c_i and the
light. Since all of it is linear in the weights, both sides share one pass over the set.

The noise levels are those of Stable Diffusion 1 (14.6 to 0.029 over 1000 timesteps), the samplers those of
k-diffusion, as ComfyUI has them. Colours are scaled into that range (`latents.SCALE`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comflowy_nb.sandbox.engine.latents import CLIP, SCALE, spectrum
from comflowy_nb.sandbox.engine.pixels import soften

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.sandbox.engine.prompts import Conditioning
    from comflowy_nb.sandbox.engine.scene_set import Guide, SceneSet

Array: TypeAlias = NDArray[np.float32]
Levels: TypeAlias = NDArray[np.float64]
Source: TypeAlias = "tuple[Array, float]"  # the image painted over, and the noise it was given

SAMPLERS: Final = ("euler", "euler_ancestral", "heun", "dpmpp_2m", "ddim", "lms")
SCHEDULERS: Final = ("normal", "karras", "exponential", "simple")
_NATS_AGAINST_SOURCE: Final = 3.0
_DECIDEDNESS: Final = 14.0  # above 1, since half one image and half the other pleases nobody
_VIEW: Final = 0.2  # how far it is looked around a point, in canvas sides: about as far as things are wide
_STRONGEST_STROKE: Final = np.float32(0.12 * SCALE)  # four times their spread
_CALM_STRIDE: Final = 0.8  # in the logarithm of noise: what 9 steps take at a time
_BLUR_PER_STRIDE: Final = 0.007  # of the canvas's shorter side


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
    """Noise the latents of (n, channels, h, w) to the level that `denoise` asks for, and sample them back.

    The same arguments give the same bytes. Every image of a batch has noise of its own, the first that of a batch of
    one.
    """
    levels = sigmas(scheduler, steps, denoise)
    if len(levels) < 2:
        return samples
    rngs = [np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFF, seed >> 32, k])) for k in range(len(samples))]
    guide = scene_set.guide(positive, negative, cfg)

    sources = [(image[:3], float(levels[0])) if image.any() else None for image in samples]

    def denoise_all(noisy: Array, sigma: float) -> Array:
        pairs = zip(noisy, sources, strict=True)
        return np.stack([_denoise(scene_set, image, sigma, guide, source) for image, source in pairs])

    def noise() -> Array:
        return np.stack([rng.standard_normal(samples.shape[1:], dtype=np.float32) for rng in rngs])

    x = samples + noise() * np.float32(levels[0])
    total = len(levels) - 1

    def step_done(done: int) -> None:
        if after_step:
            after_step(done, total)

    sampled = _SAMPLERS[sampler](denoise_all, x, levels, noise, step_done)
    return np.stack([_blur_strides(image, levels) for image in sampled])


def _blur_strides(image: Array, levels: Levels) -> Array:
    """Wide strides leave detail undecided. This denoiser, which is exact, would find it in the very last one."""
    if len(levels) < 3:
        return image
    stride = np.log(levels[0] / levels[-2]) / (len(levels) - 2)
    reach = _BLUR_PER_STRIDE * (stride - _CALM_STRIDE) * min(image.shape[1:])
    if reach <= 0:
        return image
    whole = int(np.ceil(reach))
    blurred = soften(image[:3], whole)
    return np.concatenate([image[:3] + (blurred - image[:3]) * np.float32(reach / whole), image[3:]])


# -- noise levels -----------------------------------------------------------------------------------------------------


def sigmas(scheduler: str, steps: int, denoise: float = 1.0) -> Levels:
    """The noise levels of a run, falling, the last one 0: `steps` + 1 of them; none where nothing is to be done.

    With `denoise` below 1 they are the last ones of a longer run of steps / denoise steps, as in ComfyUI. There that
    number is cut to a whole one, so that 0.96 may be the same as 1; here it is not.
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
        case "simple":  # every so many timesteps, never the very last
            skipped: Levels = np.arange(steps, dtype=np.float64) + (total - steps)
            levels = _at(table, len(table) - 1 - skipped * (len(table) / total))
        case _:
            levels = _at(table, (1 - ramp) * (len(table) - 1))
    return np.append(levels, 0.0)


def _at(table: Levels, timesteps: Levels) -> Levels:
    """Levels between timesteps, straight in the logarithm, as ComfyUI has them."""
    return np.exp(np.interp(timesteps, np.arange(len(table)), np.log(table)))


@lru_cache(maxsize=1)
def _sigma_table() -> Levels:
    """Stable Diffusion's 1000 levels: betas linear in their root from 0.00085 to 0.012."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    return np.sqrt((1 - kept) / kept)


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
    # After very few steps what guidance exaggerated is left over, far beyond what any stroke is.
    strokes[:3] = np.clip(strokes[:3], -_STRONGEST_STROKE, _STRONGEST_STROKE)
    return np.asarray(mean + strokes)


def _keep_source(mean: Array, source: Array, start: float) -> Array:
    """Where an image is painted over, that image is in the set as well: part by part, not only as a whole.

    Around every point it is weighed how surely the noise at the start, of level `start`, would have let the image be
    told from the scenes, as by a denoiser with a limited field of view (Kamb and Ganguli 2024, arXiv 2412.20292): what
    little noise could not hide is kept, and under much noise all is painted anew.
    """
    reach = max(1, round(min(mean.shape[1:]) * _VIEW))
    points = (2 * reach + 1) ** 2
    evidence = soften(((mean - source) ** 2).sum(axis=0, keepdims=True), reach) * (points / (2 * start**2))
    share = 1 / (1 + np.exp(-np.clip(_DECIDEDNESS * (evidence - _NATS_AGAINST_SOURCE), -30, 30)))
    return np.asarray(mean + (source - mean) * share, dtype=np.float32)


# -- samplers ---------------------------------------------------------------------------------------------------------

Denoiser: TypeAlias = "Callable[[Array, float], Array]"
Noise: TypeAlias = "Callable[[], Array]"
Done: TypeAlias = "Callable[[int], None]"


def _blend(x: Array, estimate: Array, kept: float) -> Array:
    """Part of the way from the noisy image to the estimate."""
    return np.float32(kept) * x + np.float32(1 - kept) * estimate


def _euler(denoise: Denoiser, x: Array, levels: Levels, noise: Noise, done: Done) -> Array:
    del noise
    for k, (now, after) in enumerate(pairwise(levels)):
        x = _blend(x, denoise(x, now), after / now)
        done(k + 1)
    return x


def _ddim(denoise: Denoiser, x: Array, levels: Levels, noise: Noise, done: Done) -> Array:
    """Euler's step, but with every estimate held within the range of colours, as the authors' code clips it."""
    del noise
    limit = np.float32(CLIP)
    for k, (now, after) in enumerate(pairwise(levels)):
        x = _blend(x, np.clip(denoise(x, now), -limit, limit), after / now)
        done(k + 1)
    return x


def _euler_ancestral(denoise: Denoiser, x: Array, levels: Levels, noise: Noise, done: Done) -> Array:
    for k, (now, after) in enumerate(pairwise(levels)):
        up = min(after, (after**2 * (now**2 - after**2) / now**2) ** 0.5)
        down = (after**2 - up**2) ** 0.5
        x = _blend(x, denoise(x, now), down / now)
        if up:
            x = x + noise() * np.float32(up)
        done(k + 1)
    return x


def _heun(denoise: Denoiser, x: Array, levels: Levels, noise: Noise, done: Done) -> Array:
    del noise
    for k, (now, after) in enumerate(pairwise(levels)):
        slope = (x - denoise(x, now)) / np.float32(now)
        step = np.float32(after - now)
        ahead = x + slope * step
        if after:
            slope = (slope + (ahead - denoise(ahead, after)) / np.float32(after)) / 2
            ahead = x + slope * step
        x = ahead
        done(k + 1)
    return x


def _dpmpp_2m(denoise: Denoiser, x: Array, levels: Levels, noise: Noise, done: Done) -> Array:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095)."""
    del noise
    before: Array | None = None
    for k, (now, after) in enumerate(pairwise(levels)):
        estimate = denoise(x, now)
        if not after:
            x = estimate
        else:
            guess = estimate
            if before is not None:
                ratio = np.log(levels[k - 1] / now) / np.log(now / after)
                guess = estimate + (estimate - before) * np.float32(1 / (2 * ratio))
            x = _blend(x, guess, after / now)
        before = estimate
        done(k + 1)
    return x


def _lms(denoise: Denoiser, x: Array, levels: Levels, noise: Noise, done: Done) -> Array:
    """Linear multistep of order 4: the slopes of the last steps, each with its exact weight over this one."""
    del noise
    slopes: list[Array] = []
    for k, now in enumerate(levels[:-1]):
        slopes = [*slopes, (x - denoise(x, now)) / np.float32(now)][-4:]
        known = levels[k - len(slopes) + 1 : k + 1]
        for j, slope in enumerate(slopes):
            x = x + slope * np.float32(_lagrange_area(known, j, now, levels[k + 1]))
        done(k + 1)
    return x


def _lagrange_area(known: Levels, j: int, now: float, after: float) -> float:
    """The integral from `now` to `after` of the polynomial that is 1 at the j-th known level and 0 at the others."""
    polynomial = np.polynomial.Polynomial([1.0])
    for i, level in enumerate(known):
        if i != j:
            polynomial *= np.polynomial.Polynomial([-level, 1.0]) / (known[j] - level)
    total = polynomial.integ()
    return float(total(after) - total(now))


_SAMPLERS: Final[dict[str, Callable[[Denoiser, Array, Levels, Noise, Done], Array]]] = {
    "euler": _euler,
    "euler_ancestral": _euler_ancestral,
    "heun": _heun,
    "dpmpp_2m": _dpmpp_2m,
    "ddim": _ddim,
    "lms": _lms,
}
