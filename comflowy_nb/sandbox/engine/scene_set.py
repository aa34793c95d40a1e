"""The set of scenes of the denoiser, and its softmax-weighted mean given a noisy latent.

A scene combines a palette, a sky, a land in front of it, and a subject with a look and a position. Each layer is
painted once per palette: a few hundred small images, which combine to tens of thousands of scenes. The mean needs only
the layers: for a given land and subject each pixel shows one layer, so the log-likelihood `-|x - y|^2 / (2 sigma^2)`
of a scene is the sum of those of its layers over their visible pixels, and skies, lands and looks are summed out in
turn.

At antialiased edges two layers share a pixel. There the log-likelihood of each layer is weighted by its coverage, which
is an approximation; the mean is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comflowy_nb.sandbox.engine.latents import CHANNELS, SCALE
from comflowy_nb.sandbox.engine.layers import LANDS, PALETTES, SKIES, SKY_TAGS, SUBJECTS, load_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.sandbox.engine.layers import Layers, Tags
    from comflowy_nb.sandbox.engine.prompts import Conditioning

Array: TypeAlias = NDArray[np.float32]
Real: TypeAlias = NDArray[np.float64]

_NATS_PER_TAG: Final = 3.0  # a matching tag makes a layer 20 times as likely
_NATS_OF_BIAS: Final = 0.25
_NATS_FOR_NO_SUBJECT: Final = 3.0  # most landscapes have no subject
_UNGUIDED_DESATURATION: Final = 0.45  # of images without guidance
_NEGLIGIBLE: Final = 1e-6  # weights below this change colours less than rounding does


@dataclass(frozen=True, slots=True)
class Weights:
    """ln c of each layer for a prompt, and the light of the prompt."""

    palettes: Real  # (palettes,)
    skies: Real  # (S,)
    places: Real  # (L, B): land, and subject at one of its positions
    looks: tuple[Real, ...]  # of each subject, (looks,)
    light: Array  # (CHANNELS, 1, 1)


@dataclass(frozen=True, slots=True)
class Guide:
    """Classifier-free guidance: the weights of both prompts, and the scale."""

    positive: Weights
    negative: Weights
    cfg: float


@dataclass(frozen=True, slots=True)
class PerLayer:
    """A value for each layer: the log-likelihood over its visible pixels, or its weight in the mean."""

    skies: Real  # (S, L, B)
    lands: Real  # (L, palettes, B)
    looks: list[Real]  # of each subject, (places, looks, palettes)


class SceneSet:
    """All scenes on one canvas.

    Parameters
    ----------
    layers : Layers
        The painted layers on this canvas.
    canvas : tuple of int
        Height and width in pixels.
    """

    def __init__(self, layers: Layers, canvas: tuple[int, int]) -> None:
        self.layers = layers
        self.canvas = canvas
        self._places = _slices([len(s.pixels) for s in layers.silhouettes])
        self._bare = np.ones((self._places[-1].stop, canvas[0] * canvas[1]), dtype=np.float32)  # (B, P)
        for silhouette, places in zip(layers.silhouettes, self._places, strict=True):
            for bare, pixels, cover in zip(self._bare[places], silhouette.pixels, silhouette.cover, strict=True):
                bare[pixels[cover > 0]] -= cover[cover > 0]
        # Pixels are row by row: the sky ends before some index, and each land begins at another.
        behind = 1 - layers.land_cover
        self._sky_end = 1 + int(np.flatnonzero(behind.any(axis=0))[-1])
        self._land_starts = [int(np.flatnonzero(cover)[0]) for cover in layers.land_cover]
        sky_shows = behind[:, None, : self._sky_end] * self._bare[None, :, : self._sky_end]
        self._sky_shows = sky_shows.reshape(-1, self._sky_end)  # (L * B, sky_end)
        # |y|^2 / 2 over the visible pixels of each layer.
        self._sky_halves = _half_square(layers.skies[..., : self._sky_end]) @ self._sky_shows.T
        self._land_halves = [
            (_half_square(land) * cover) @ self._bare.T
            for land, cover in zip(layers.lands, layers.land_cover, strict=True)
        ]
        self._look_halves = [np.einsum("ksp,bp->bks", _half_square(s.looks), s.cover) for s in layers.silhouettes]

    def guide(self, positive: Conditioning, negative: Conditioning, cfg: float) -> Guide:
        return Guide(self._weigh(positive), self._weigh(negative), cfg)

    def mean(self, noisy: Array, sigma: float, guide: Guide) -> Array:
        """Return the guided mean of all scenes given a noisy latent, (channels, h, w)."""
        evidence = self._evidence(noisy[:3].reshape(3, -1), sigma)
        shares = [_share(evidence, side, self.layers.sky_palettes) for side in (guide.negative, guide.positive)]
        shares_mixed = _extrapolate(shares[0], shares[1], guide.cfg)
        result = np.empty_like(noisy)
        result[:3] = self._compose(shares_mixed).reshape(3, *self.canvas)
        light = guide.negative.light + np.float32(guide.cfg) * (guide.positive.light - guide.negative.light)
        result[3:] = light[3:]
        result[5] -= _UNGUIDED_DESATURATION * SCALE
        return result

    def _evidence(self, colours: Array, sigma: float) -> PerLayer:
        """Return x . y - |y|^2 / 2 of each layer over its visible pixels; |x|^2 is the same for all scenes."""
        layers = self.layers
        scale = 1 / sigma**2
        end = self._sky_end
        sky = np.einsum("scp,cp->sp", layers.skies[..., :end], colours[:, :end])
        sky = (self._sky_shows @ sky.T).T - self._sky_halves
        land = np.empty((len(layers.lands), len(PALETTES), len(self._bare)))
        for k, start in enumerate(self._land_starts):
            near = colours[:, start:] * layers.land_cover[k, start:]
            earned = np.einsum("scp,cp->sp", layers.lands[k, ..., start:], near)
            land[k] = (self._bare[:, start:] @ earned.T).T - self._land_halves[k]
        looks = []
        within = np.append(colours, np.zeros((3, 1), dtype=np.float32), axis=1)  # and one pixel for all outside
        for silhouette, half in zip(layers.silhouettes, self._look_halves, strict=True):
            near = (within.take(silhouette.pixels, axis=1) * silhouette.cover).transpose(1, 0, 2)
            earned = near.reshape(len(near), -1) @ _in_rows(silhouette.looks).T
            looks.append((earned.reshape(half.shape) - half).astype(np.float64) * scale)
        sky = sky.astype(np.float64).reshape(len(sky), len(layers.lands), -1)
        return PerLayer(sky * scale, land * scale, looks)

    def _compose(self, shares: PerLayer) -> Array:
        """Return the weighted sum of all scenes, (3, P)."""
        layers = self.layers
        whole = np.zeros((3, self._bare.shape[1] + 1), dtype=np.float32)  # and one pixel for all outside
        total = whole[:, :-1]
        end = self._sky_end
        skies = _flush(shares.skies.reshape(len(layers.skies), -1))
        used, behind = np.abs(skies).max(axis=1) > _NEGLIGIBLE, np.abs(skies).max(axis=0) > _NEGLIGIBLE
        for sky, amount in zip(
            np.flatnonzero(used), skies[np.ix_(used, behind)] @ self._sky_shows[behind], strict=True
        ):
            total[:, :end] += layers.skies[sky, :, :end] * amount
        lands = _flush(shares.lands)
        for k, start in enumerate(self._land_starts):
            seen = np.abs(lands[k]).max(axis=1) > _NEGLIGIBLE
            amounts = (lands[k, seen] @ self._bare[:, start:]) * layers.land_cover[k, start:]
            for palette, amount in zip(np.flatnonzero(seen), amounts, strict=True):
                total[:, start:] += layers.lands[k, palette, :, start:] * amount
        for silhouette, share in zip(layers.silhouettes, shares.looks, strict=True):
            used = np.abs(share).max(axis=0).ravel() > _NEGLIGIBLE
            if used.any():
                amounts, looks = _flush(share).reshape(len(share), -1), _in_rows(silhouette.looks)
                if used.mean() < 0.25:  # else copying the rows costs more than it saves
                    amounts, looks = amounts[:, used], looks[used]
                there = (amounts @ looks).reshape(len(share), 3, -1) * silhouette.cover[:, None]
                for pixels, colours in zip(silhouette.pixels, there, strict=True):
                    whole[:, pixels] += colours
        return total

    def _weigh(self, prompt: Conditioning) -> Weights:
        palettes = _score(prompt, PALETTES)
        skies = _score(prompt, {f"{name} sky": tags for name, tags in SKY_TAGS.items()})
        lands = _score(prompt, LANDS)
        subjects = _score(prompt, {subject.name: subject.tags for subject in SUBJECTS})
        subjects[0] += _NATS_FOR_NO_SUBJECT
        at, looks = np.empty((len(LANDS), len(self._bare))), []
        for subject, score, places in zip(SUBJECTS, subjects, self._places, strict=True):
            likely = np.array([subject.lands.get(land, subject.elsewhere) for land in LANDS])
            at[:, places] = (lands + score + likely - np.log(len(subject.places)))[:, None]
            named = _score(prompt, {f"{subject.name} with {look}": tags for look, tags in subject.looks.items()})
            looks.append(named - _ln_sum_exp(named))  # normalised: a tag of a look does not select the subject
        light = np.zeros((CHANNELS, 1, 1), dtype=np.float32)
        light[3:6, 0, 0] = prompt.light * SCALE
        sky_weights = skies[[list(SKY_TAGS).index(sky) for _, sky in SKIES]]
        return Weights(palettes, sky_weights, at, tuple(looks), light)


def _share(evidence: PerLayer, weights: Weights, sky_palettes: NDArray[np.int64]) -> PerLayer:
    """Return the softmax over all scenes, summed to layers."""
    palettes = len(weights.palettes)
    skies = evidence.skies + weights.skies[:, None, None]
    by_palette = np.stack([_ln_sum_exp(skies[sky_palettes == p]) for p in range(palettes)])  # (palettes, L, B)
    looks = [found + weight[:, None] for found, weight in zip(evidence.looks, weights.looks, strict=True)]
    by_look = [_ln_sum_exp(look, axis=1) for look in looks]  # of each subject, (places, palettes)
    total = (
        by_palette
        + evidence.lands.transpose(1, 0, 2)
        + np.concatenate(by_look).T[:, None, :]
        + weights.palettes[:, None, None]
        + weights.places[None]
    )
    scenes = np.exp(total - total.max())
    scenes /= scenes.sum()  # (palettes, L, B)
    at = scenes.sum(axis=1).T  # (B, palettes)
    places = _slices([len(look) for look in looks])
    return PerLayer(
        np.exp(skies - by_palette[sky_palettes]) * scenes[sky_palettes],
        scenes.transpose(1, 0, 2),
        [np.exp(look - by[:, None]) * at[place, None] for look, by, place in zip(looks, by_look, places, strict=True)],
    )


def _extrapolate(negative: PerLayer, positive: PerLayer, cfg: float) -> PerLayer:
    return PerLayer(
        negative.skies + cfg * (positive.skies - negative.skies),
        negative.lands + cfg * (positive.lands - negative.lands),
        [n + cfg * (p - n) for n, p in zip(negative.looks, positive.looks, strict=True)],
    )


def _flush(shares: Real) -> Array:
    """Set the smallest weights to 0: subnormal float32 numbers are many times slower to multiply."""
    return np.where(np.abs(shares) > _NEGLIGIBLE * 1e-6, shares, 0).astype(np.float32)


def _ln_sum_exp(values: Real, axis: int = 0) -> Real:
    top = values.max(axis=axis, keepdims=True)
    return np.asarray(top + np.log(np.exp(values - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def _slices(counts: list[int]) -> list[slice]:
    """Return the slice of each of several groups of rows."""
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]


def _half_square(images: Array) -> Array:
    return np.asarray(0.5 * np.einsum("...cp,...cp->...p", images, images), dtype=np.float32)


def _in_rows(looks: Array) -> Array:
    """Return one row per look and palette."""
    count, palettes, channels, pixels = looks.shape
    return looks.reshape(count * palettes, channels * pixels)


def _score(prompt: Conditioning, things: Mapping[str, Tags]) -> Real:
    """Return ln c of layers, from the weights of their tags in the prompt."""
    fits = [sum(prompt.tags.get(tag, 0.0) * fit for tag, fit in tags.items()) for tags in things.values()]
    return _NATS_PER_TAG * np.array(fits) + _NATS_OF_BIAS * prompt.lean(things)


@lru_cache(maxsize=4)  # about 40 MB each
def scene_set(checkpoint: str, canvas: tuple[int, int]) -> SceneSet:
    """Return the scenes of a checkpoint on a canvas."""
    return SceneSet(load_layers(checkpoint, canvas), canvas)
