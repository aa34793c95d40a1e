"""The pictures the denoiser knows, and their mean under noise.

A scene is a light (a palette), a sky, a land before it, and a subject in a look, standing somewhere. Each layer is
painted once for every palette: a few hundred small pictures. A scene is any combination of them, so the set has tens of
thousands; yet its softmax-weighted mean needs no more than the layers. For given land and subject each pixel shows one
layer only, so the evidence `-|x - y|^2 / (2 sigma^2)` of a scene is the sum of what its layers earn where they show,
and skies, lands and looks can be summed over one after the other.

At antialiased edges two layers share a pixel; there each layer's evidence counts by its share, while the mean is mixed
exactly. That is the one place where the weights are not those of the scenes as finally seen.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comflowy_nb.sandbox.lands import LANDS
from comflowy_nb.sandbox.latents import CHANNELS, SCALE
from comflowy_nb.sandbox.layers import paint_layers
from comflowy_nb.sandbox.palettes import PALETTES
from comflowy_nb.sandbox.skies import SKY_TAGS
from comflowy_nb.sandbox.styles import STYLES
from comflowy_nb.sandbox.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.sandbox.layers import Layers
    from comflowy_nb.sandbox.prompts import Conditioning

Array: TypeAlias = NDArray[np.float32]
Real: TypeAlias = NDArray[np.float64]

_KEPT_SETS: Final = 4  # canvases and styles in memory, some 40 MB each
_NATS_PER_TAG: Final = 3.0  # a word that fits makes a thing 20 times as likely
_NATS_OF_LEANING: Final = 0.25
_NATS_FOR_NOTHING: Final = 3.0  # most landscapes have nobody in them
_NEGLIGIBLE: Final = 1e-6  # a share that changes no colour by as much as rounding does


@dataclass(frozen=True, slots=True)
class Weights:
    """ln c of every layer, as one prompt sets them, and the light it asks for."""

    palettes: Real  # (palettes,)
    skies: Real  # (S,)
    places: Real  # (L, B): land and silhouette together
    looks: tuple[Real, ...]  # B of (looks,)
    light: Array  # (CHANNELS, 1, 1)


@dataclass(frozen=True, slots=True)
class Guide:
    """What `SceneSet.mean` follows: two prompts, and how far to go from the one towards the other."""

    positive: Weights
    negative: Weights
    cfg: float


class SceneSet:
    """All scenes on one canvas.

    Parameters
    ----------
    layers
        What they are made of.
    canvas
        Height and width in pixels.
    """

    def __init__(self, layers: Layers, canvas: tuple[int, int]) -> None:
        self.layers = layers
        self.canvas = canvas
        self._shown = layers.land_cover  # (L, P)
        covers = np.stack([s.cover for s in layers.silhouettes])  # (B, P)
        self._bare = 1 - covers
        lands, silhouettes = len(layers.land_cover), len(covers)
        self._sky_shows = ((1 - layers.land_cover)[:, None] * self._bare[None]).reshape(lands * silhouettes, -1)
        self._sky_halves = _half_square(layers.skies)
        self._land_halves = _half_square(layers.lands)
        self._look_halves = [_half_square(s.looks) for s in layers.silhouettes]

    @cached_property
    def count(self) -> int:
        """How many scenes there are."""
        looks = sum(len(s.looks) for s in self.layers.silhouettes)
        return len(self.layers.skies) * len(self.layers.lands) * looks

    def guide(self, positive: Conditioning, negative: Conditioning, cfg: float) -> Guide:
        return Guide(self._weigh(positive), self._weigh(negative), cfg)

    def mean(self, noisy: Array, sigma: float, guide: Guide) -> Array:
        """The guided mean of all scenes given a noisy latent, (channels, h, w); the light's beyond the colours."""
        evidence = self._evidence(noisy[:3].reshape(3, -1), sigma)
        shares = [_share(evidence, side, self.layers.sky_palettes) for side in (guide.negative, guide.positive)]
        shares_mixed = _extrapolate(shares[0], shares[1], guide.cfg)
        result = np.empty_like(noisy)
        result[:3] = self._compose(shares_mixed).reshape(3, *self.canvas)
        light = guide.negative.light + np.float32(guide.cfg) * (guide.positive.light - guide.negative.light)
        result[3:] = light[3:]
        return result

    def _evidence(self, colours: Array, sigma: float) -> Evidence:
        """What every layer earns where it shows. |x|^2 is left out: it is the same for all scenes."""
        layers = self.layers
        lands, silhouettes = len(layers.land_cover), len(layers.silhouettes)
        scale = 1 / sigma**2
        sky = _earn(layers.skies, self._sky_halves, colours) @ self._sky_shows.T
        land = np.stack(
            [
                (_earn(layers.lands[k], self._land_halves[k], colours) * self._shown[k]) @ self._bare.T
                for k in range(lands)
            ]
        )
        looks = []
        for silhouette, half in zip(layers.silhouettes, self._look_halves, strict=True):
            near = colours[:, silhouette.pixels]
            looks.append(_earn(silhouette.looks, half, near) @ silhouette.cover[silhouette.pixels])
        return Evidence(
            sky.reshape(-1, lands, silhouettes).astype(np.float64) * scale,
            land.astype(np.float64) * scale,
            [look.astype(np.float64) * scale for look in looks],
        )

    def _compose(self, shares: Shares) -> Array:
        """The weighted sum of all scenes, (3, P)."""
        layers = self.layers
        total = np.zeros((3, self._bare.shape[1]), dtype=np.float32)
        skies = _flush(shares.skies.reshape(len(layers.skies), -1))
        used, behind = np.abs(skies).max(axis=1) > _NEGLIGIBLE, np.abs(skies).max(axis=0) > _NEGLIGIBLE
        for sky, amount in zip(
            np.flatnonzero(used), skies[np.ix_(used, behind)] @ self._sky_shows[behind], strict=True
        ):
            total += layers.skies[sky] * amount
        lands = _flush(shares.lands)
        seen = np.argwhere(np.abs(lands).max(axis=2) > _NEGLIGIBLE)
        for (land, palette), amount in zip(seen, lands[tuple(seen.T)] @ self._bare, strict=True):
            total += layers.lands[land, palette] * (amount * self._shown[land])
        for silhouette, share in zip(layers.silhouettes, shares.looks, strict=True):
            used = np.abs(share) > _NEGLIGIBLE
            if used.any():
                looks = silhouette.looks.reshape(share.size, -1)
                if used.sum() < share.size / 4:  # else picking them out costs more than it spares
                    seen_looks = share[used].astype(np.float32) @ looks[used.ravel()]
                else:
                    seen_looks = _flush(share).ravel() @ looks
                total[:, silhouette.pixels] += seen_looks.reshape(3, -1) * silhouette.cover[silhouette.pixels]
        return total

    def _weigh(self, prompt: Conditioning) -> Weights:
        layers = self.layers
        palettes = _ask(prompt, {p.name: p.tags for p in PALETTES})
        skies = _ask(prompt, {f"{name} sky": SKY_TAGS[name] for name in layers.sky_names})
        lands = _ask(prompt, {land.name: land.tags for land in LANDS})
        subjects = _ask(prompt, {s.name: s.tags for s in SUBJECTS})
        subjects[0] += _NATS_FOR_NOTHING
        places = np.zeros((len(LANDS), len(layers.silhouettes)))
        looks = []
        for b, silhouette in enumerate(layers.silhouettes):
            subject = SUBJECTS[silhouette.subject]
            likely = np.array([subject.fits(land.name) for land in LANDS])
            places[:, b] = lands + subjects[silhouette.subject] + likely - np.log(len(subject.places))
            named = _ask(prompt, {f"{subject.name} with {look}": tags for look, tags in subject.looks.items()})
            looks.append(named - _ln_sum_exp(named))  # what is in a bottle does not call for a bottle
        light = np.zeros((CHANNELS, 1, 1), dtype=np.float32)
        light[3:6, 0, 0] = prompt.light * SCALE
        sky_weights = np.array([skies[list(dict.fromkeys(layers.sky_names)).index(n)] for n in layers.sky_names])
        return Weights(palettes, sky_weights, places, tuple(looks), light)


@dataclass(frozen=True, slots=True)
class Evidence:
    """ln of the likelihood of each layer where it shows."""

    skies: Real  # (S, L, B)
    lands: Real  # (L, palettes, B)
    looks: list[Real]  # B of (looks, palettes)


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the mean each layer gets; the same shapes."""

    skies: Real
    lands: Real
    looks: list[Real]


def _share(evidence: Evidence, weights: Weights, sky_palettes: NDArray[np.int64]) -> Shares:
    """The softmax over all scenes, one factor after the other."""
    palettes = len(weights.palettes)
    skies = evidence.skies + weights.skies[:, None, None]
    by_palette = np.stack([_ln_sum_exp(skies[sky_palettes == p]) for p in range(palettes)])  # (palettes, L, B)
    looks = [found + weight[:, None] for found, weight in zip(evidence.looks, weights.looks, strict=True)]
    by_look = np.stack([_ln_sum_exp(look) for look in looks], axis=-1)  # (palettes, B)
    total = (
        by_palette
        + evidence.lands.transpose(1, 0, 2)
        + by_look[:, None, :]
        + weights.palettes[:, None, None]
        + weights.places[None]
    )
    scenes = np.exp(total - total.max())
    scenes /= scenes.sum()  # (palettes, L, B)
    return Shares(
        np.exp(skies - by_palette[sky_palettes]) * scenes[sky_palettes],
        scenes.transpose(1, 0, 2),
        [np.exp(look - by_look[None, :, b]) * scenes[:, :, b].sum(axis=1)[None] for b, look in enumerate(looks)],
    )


def _extrapolate(negative: Shares, positive: Shares, cfg: float) -> Shares:
    return Shares(
        negative.skies + cfg * (positive.skies - negative.skies),
        negative.lands + cfg * (positive.lands - negative.lands),
        [n + cfg * (p - n) for n, p in zip(negative.looks, positive.looks, strict=True)],
    )


def _flush(shares: Real) -> Array:
    """Without the tiniest shares: numbers too small for float32's usual form are many times slower to multiply."""
    return np.where(np.abs(shares) > _NEGLIGIBLE * 1e-6, shares, 0).astype(np.float32)


def _ln_sum_exp(values: Real) -> Real:
    top = values.max(axis=0)
    return np.asarray(top + np.log(np.exp(values - top).sum(axis=0)))


def _half_square(pictures: Array) -> Array:
    return np.asarray(0.5 * np.einsum("...cp,...cp->...p", pictures, pictures), dtype=np.float32)


def _earn(pictures: Array, halves: Array, colours: Array) -> Array:
    """What each picture earns at each pixel: x . y - |y|^2 / 2."""
    return np.asarray(np.einsum("...cp,cp->...p", pictures, colours) - halves)


def _ask(prompt: Conditioning, things: Mapping[str, Mapping[str, float]]) -> Real:
    """How likely things are, as ln c, from how well their tags fit the prompt."""
    fits = [sum(prompt.tags.get(tag, 0.0) * fit for tag, fit in tags.items()) for tags in things.values()]
    return _NATS_PER_TAG * np.array(fits) + _NATS_OF_LEANING * prompt.lean(things)


_sets: OrderedDict[tuple[str, tuple[int, int]], SceneSet] = OrderedDict()
_painting = threading.Lock()


def scene_set(checkpoint: str, canvas: tuple[int, int]) -> SceneSet:
    """The scenes of a checkpoint on a canvas, painted when first asked for."""
    key = (checkpoint, canvas)
    with _painting:
        if key not in _sets:
            _sets[key] = SceneSet(paint_layers(canvas, STYLES[checkpoint]), canvas)
            while len(_sets) > _KEPT_SETS:
                _sets.popitem(last=False)
        _sets.move_to_end(key)
        return _sets[key]
