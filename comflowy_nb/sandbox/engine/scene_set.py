"""The set of scenes of the denoiser, and its softmax-weighted mean given a noisy latent.

A scene combines a palette, a sky, a land in front of it, and a subject at one of its positions, in one of its looks.
Each layer is painted once per palette: a few hundred small images, which combine to tens of thousands of scenes.

The mean is computed from the layers, without composing the scenes. For a given land and subject each pixel shows one
layer, so the log-likelihood `-|x - y|^2 / (2 sigma^2)` of a scene y given the latent x is the sum of the
log-likelihoods of its layers over their visible pixels. Skies and looks are therefore marginalised separately. At
antialiased edges two layers share a pixel: there the log-likelihood of each layer is weighted by its coverage, which is
an approximation. The mean itself is exact.

Axes of the arrays: P pixels of the canvas, row by row; S skies, each in one palette; L lands; B placements. A placement
is a subject at one of its positions; those of one subject are adjacent.
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

# Log weights are in nats (natural logarithm).
_NATS_PER_TAG: Final = 3.0  # a matching tag makes a layer 20 times as likely
_NATS_OF_BIAS: Final = 0.25  # of `Conditioning.lean`, by which also unknown words change the image
_NATS_FOR_NO_SUBJECT: Final = 3.0  # most landscapes have no subject
_DESATURATION: Final = 0.45  # as in real models, images without guidance are pale, and guidance saturates them
_NEGLIGIBLE: Final = 1e-6  # weights below this change colours less than rounding does


@dataclass(frozen=True, slots=True)
class Prior:
    """The log weight of each layer for a prompt, and the light of the prompt.

    The log weight of a scene is the sum of one value of each array.
    """

    palettes: Real  # (palettes,)
    skies: Real  # (S,)
    placements: Real  # (L, B): of a land with a placement
    looks: tuple[Real, ...]  # (looks,), for each subject
    light: Array  # (CHANNELS, 1, 1)


@dataclass(frozen=True, slots=True)
class Guide:
    """Classifier-free guidance: the priors of both prompts, and the guidance scale."""

    positive: Prior
    negative: Prior
    cfg: float


@dataclass(frozen=True, slots=True)
class PerLayer:
    """Values of each layer in each context: log-likelihoods over its visible pixels, or weights in the mean."""

    skies: Real  # (S, L, B): behind each land and placement
    lands: Real  # (L, palettes, B): behind each placement
    looks: list[Real]  # (positions, looks, palettes), for each subject


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
        self._placements = _row_slices([len(s.pixels) for s in layers.silhouettes])  # for each subject, its rows of B
        # The part of each pixel that a placement leaves visible, (B, P).
        self._uncovered = np.ones((self._placements[-1].stop, canvas[0] * canvas[1]), dtype=np.float32)
        for silhouette, rows in zip(layers.silhouettes, self._placements, strict=True):
            for uncovered, pixels, cover in zip(
                self._uncovered[rows], silhouette.pixels, silhouette.cover, strict=True
            ):
                uncovered[pixels[cover > 0]] -= cover[cover > 0]
        # No sky is visible from this pixel on, and no land before its own first pixel: these pixels are skipped.
        above_land = 1 - layers.land_cover
        self._sky_end = 1 + int(np.flatnonzero(above_land.any(axis=0))[-1])
        self._land_starts = [int(np.flatnonzero(cover)[0]) for cover in layers.land_cover]
        sky_visible = above_land[:, None, : self._sky_end] * self._uncovered[None, :, : self._sky_end]
        self._sky_visible = sky_visible.reshape(-1, self._sky_end)  # (L * B, sky_end)
        # |y|^2 / 2 of each layer over its visible pixels.
        self._sky_norms = _half_square(layers.skies[..., : self._sky_end]) @ self._sky_visible.T
        self._land_norms = [
            (_half_square(land) * cover) @ self._uncovered.T
            for land, cover in zip(layers.lands, layers.land_cover, strict=True)
        ]
        self._look_norms = [np.einsum("ksp,bp->bks", _half_square(s.looks), s.cover) for s in layers.silhouettes]

    def guide(self, positive: Conditioning, negative: Conditioning, cfg: float) -> Guide:
        return Guide(self._prior(positive), self._prior(negative), cfg)

    def mean(self, noisy: Array, sigma: float, guide: Guide) -> Array:
        """Return the guided mean of all scenes given a noisy latent, (channels, h, w)."""
        likelihoods = self._log_likelihoods(noisy[:3].reshape(3, -1), sigma)
        negative, positive = (
            _posterior(likelihoods, prior, self.layers.sky_palettes) for prior in (guide.negative, guide.positive)
        )
        weights = _extrapolate(negative, positive, guide.cfg)
        result = np.empty_like(noisy)
        result[:3] = self._weighted_sum(weights).reshape(3, *self.canvas)
        light = guide.negative.light + np.float32(guide.cfg) * (guide.positive.light - guide.negative.light)
        result[3:] = light[3:]
        result[5] -= _DESATURATION * SCALE
        return result

    def _log_likelihoods(self, colours: Array, sigma: float) -> PerLayer:
        """Return (x . y - |y|^2 / 2) / sigma^2 of each layer over its visible pixels.

        The term |x|^2 is omitted, because it is equal for all scenes.
        """
        layers = self.layers
        scale = 1 / sigma**2
        end = self._sky_end
        products = np.einsum("scp,cp->sp", layers.skies[..., :end], colours[:, :end])
        sky = (self._sky_visible @ products.T).T - self._sky_norms
        land = np.empty((len(layers.lands), len(PALETTES), len(self._uncovered)))
        for k, start in enumerate(self._land_starts):
            visible = colours[:, start:] * layers.land_cover[k, start:]
            products = np.einsum("scp,cp->sp", layers.lands[k, ..., start:], visible)
            land[k] = (self._uncovered[:, start:] @ products.T).T - self._land_norms[k]
        looks = []
        padded = np.append(colours, np.zeros((3, 1), dtype=np.float32), axis=1)  # pixel P: beyond the canvas
        for silhouette, norms in zip(layers.silhouettes, self._look_norms, strict=True):
            visible = (padded.take(silhouette.pixels, axis=1) * silhouette.cover).transpose(1, 0, 2)
            products = visible.reshape(len(visible), -1) @ _look_rows(silhouette.looks).T
            looks.append((products.reshape(norms.shape) - norms).astype(np.float64) * scale)
        sky = sky.astype(np.float64).reshape(len(sky), len(layers.lands), -1)
        return PerLayer(sky * scale, land * scale, looks)

    def _weighted_sum(self, weights: PerLayer) -> Array:
        """Return the weighted sum of all scenes, (3, P)."""
        layers = self.layers
        padded = np.zeros((3, self._uncovered.shape[1] + 1), dtype=np.float32)  # pixel P: beyond the canvas
        image = padded[:, :-1]
        end = self._sky_end
        skies = _flush_subnormals(weights.skies.reshape(len(layers.skies), -1))
        sky_used, context_used = (np.abs(skies).max(axis=axis) > _NEGLIGIBLE for axis in (1, 0))
        sky_weights = skies[np.ix_(sky_used, context_used)] @ self._sky_visible[context_used]
        for sky, weight in zip(np.flatnonzero(sky_used), sky_weights, strict=True):
            image[:, :end] += layers.skies[sky, :, :end] * weight
        lands = _flush_subnormals(weights.lands)
        for k, start in enumerate(self._land_starts):
            palette_used = np.abs(lands[k]).max(axis=1) > _NEGLIGIBLE
            land_weights = (lands[k, palette_used] @ self._uncovered[:, start:]) * layers.land_cover[k, start:]
            for palette, weight in zip(np.flatnonzero(palette_used), land_weights, strict=True):
                image[:, start:] += layers.lands[k, palette, :, start:] * weight
        for silhouette, look_weights in zip(layers.silhouettes, weights.looks, strict=True):
            look_used = np.abs(look_weights).max(axis=0).ravel() > _NEGLIGIBLE
            if look_used.any():
                positions = len(look_weights)
                rows, looks = _flush_subnormals(look_weights).reshape(positions, -1), _look_rows(silhouette.looks)
                if look_used.mean() < 0.25:  # else copying the rows costs more than it saves
                    rows, looks = rows[:, look_used], looks[look_used]
                sums = (rows @ looks).reshape(positions, 3, -1) * silhouette.cover[:, None]
                for pixels, colours in zip(silhouette.pixels, sums, strict=True):
                    padded[:, pixels] += colours
        return image

    def _prior(self, prompt: Conditioning) -> Prior:
        palettes = _log_weights(prompt, PALETTES)
        skies = _log_weights(prompt, {f"{name} sky": tags for name, tags in SKY_TAGS.items()})
        lands = _log_weights(prompt, LANDS)
        subjects = _log_weights(prompt, {subject.name: subject.tags for subject in SUBJECTS})
        subjects[0] += _NATS_FOR_NO_SUBJECT
        placements, looks = np.empty((len(LANDS), len(self._uncovered))), []
        for subject, weight, rows in zip(SUBJECTS, subjects, self._placements, strict=True):
            in_lands = np.array([subject.lands.get(land, subject.elsewhere) for land in LANDS])
            placements[:, rows] = (lands + weight + in_lands - np.log(len(subject.places)))[:, None]
            of_looks = _log_weights(
                prompt, {f"{subject.name} with {look}": tags for look, tags in subject.looks.items()}
            )
            looks.append(of_looks - _log_sum_exp(of_looks))  # normalised: a tag of a look does not select the subject
        light = np.zeros((CHANNELS, 1, 1), dtype=np.float32)
        light[3:6, 0, 0] = prompt.light * SCALE
        sky_weights = skies[[list(SKY_TAGS).index(sky) for _, sky in SKIES]]
        return Prior(palettes, sky_weights, placements, tuple(looks), light)


def _posterior(likelihoods: PerLayer, prior: Prior, sky_palettes: NDArray[np.int64]) -> PerLayer:
    """Return the softmax over all scenes, summed over the scenes that contain each layer in each context."""
    palettes = len(prior.palettes)
    skies = likelihoods.skies + prior.skies[:, None, None]
    by_palette = np.stack([_log_sum_exp(skies[sky_palettes == p]) for p in range(palettes)])  # (palettes, L, B)
    looks = [values + weights[:, None] for values, weights in zip(likelihoods.looks, prior.looks, strict=True)]
    by_position = [_log_sum_exp(values, axis=1) for values in looks]  # (positions, palettes), for each subject
    total = (
        by_palette
        + likelihoods.lands.transpose(1, 0, 2)
        + np.concatenate(by_position).T[:, None, :]
        + prior.palettes[:, None, None]
        + prior.placements[None]
    )
    scenes = np.exp(total - total.max())
    scenes /= scenes.sum()  # (palettes, L, B): summed over skies and looks
    placements = scenes.sum(axis=1).T  # (B, palettes)
    slices = _row_slices([len(values) for values in looks])
    return PerLayer(
        np.exp(skies - by_palette[sky_palettes]) * scenes[sky_palettes],
        scenes.transpose(1, 0, 2),
        [
            np.exp(values - sums[:, None]) * placements[rows, None]
            for values, sums, rows in zip(looks, by_position, slices, strict=True)
        ],
    )


def _extrapolate(negative: PerLayer, positive: PerLayer, cfg: float) -> PerLayer:
    return PerLayer(
        negative.skies + cfg * (positive.skies - negative.skies),
        negative.lands + cfg * (positive.lands - negative.lands),
        [n + cfg * (p - n) for n, p in zip(negative.looks, positive.looks, strict=True)],
    )


def _flush_subnormals(weights: Real) -> Array:
    """Set the smallest weights to 0: subnormal float32 numbers are many times slower to multiply."""
    return np.where(np.abs(weights) > _NEGLIGIBLE * 1e-6, weights, 0).astype(np.float32)


def _log_sum_exp(values: Real, axis: int = 0) -> Real:
    top = values.max(axis=axis, keepdims=True)
    return np.asarray(top + np.log(np.exp(values - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def _row_slices(counts: list[int]) -> list[slice]:
    """Return the slices of adjacent row groups with these numbers of rows."""
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]


def _half_square(images: Array) -> Array:
    return np.asarray(0.5 * np.einsum("...cp,...cp->...p", images, images), dtype=np.float32)


def _look_rows(looks: Array) -> Array:
    """Return (looks, palettes, channels, pixels) as one row for each look in each palette."""
    count, palettes, channels, pixels = looks.shape
    return looks.reshape(count * palettes, channels * pixels)


def _log_weights(prompt: Conditioning, tags_by_name: Mapping[str, Tags]) -> Real:
    """Return the log weights of layers, from the weights of their tags in the prompt."""
    matches = [sum(prompt.tags.get(tag, 0.0) * fit for tag, fit in tags.items()) for tags in tags_by_name.values()]
    return _NATS_PER_TAG * np.array(matches) + _NATS_OF_BIAS * prompt.lean(tags_by_name)


@lru_cache(maxsize=4)  # about 40 MB each
def scene_set(checkpoint: str, canvas: tuple[int, int]) -> SceneSet:
    """Return the scenes of a checkpoint on a canvas."""
    return SceneSet(load_layers(checkpoint, canvas), canvas)
