"""The set of scenes and its closed-form mean, compared with the explicit sum over all scenes."""

from dataclasses import replace

import numpy as np
import pytest

from comflowy_nb.sandbox.engine.latents import CHANNELS, SCALE, Latent, canvas_size, decode, empty_latent, encode
from comflowy_nb.sandbox.engine.layers import LANDS, PALETTES, SKY_TAGS, SUBJECTS, load_layers
from comflowy_nb.sandbox.engine.prompts import read_prompt
from comflowy_nb.sandbox.engine.scene_set import SceneSet, scene_set
from comflowy_nb.sandbox.engine.styles import CHECKPOINTS

CANVAS = (12, 16)


@pytest.fixture(scope="module")
def hard_edged():
    """Return a small set in which each pixel belongs to a single layer, so that the explicit sum is exact."""
    layers = load_layers(CHECKPOINTS[0], CANVAS)
    silhouettes = tuple(replace(s, cover=np.round(s.cover)) for s in layers.silhouettes)
    hard = replace(layers, land_cover=np.round(layers.land_cover), silhouettes=silhouettes)
    return SceneSet(hard, CANVAS)


def every_scene(scenes, weights):
    """Yield each scene as an image with its ln c."""
    layers = scenes.layers
    looks_of = {id(silhouette): looks for silhouette, looks in zip(layers.silhouettes, weights.looks, strict=True)}
    for s, sky in enumerate(layers.skies):
        palette = layers.sky_palettes[s]
        for land, cover in enumerate(layers.land_cover):
            ground = sky * (1 - cover) + layers.lands[land, palette] * cover
            for b, (silhouette, alpha, pixels) in enumerate(all_positions(layers)):
                looks = looks_of[id(silhouette)]
                for look, painted in enumerate(silhouette.looks[:, palette]):
                    image = ground.copy()
                    there = alpha > 0
                    behind = image[:, pixels[there]]
                    seen = painted[:, there]
                    image[:, pixels[there]] = behind * (1 - alpha[there]) + seen * alpha[there]
                    c = weights.palettes[palette] + weights.skies[s] + weights.placements[land, b] + looks[look]
                    yield image, c


def count_scenes(scenes):
    layers = scenes.layers
    return len(layers.skies) * len(layers.lands) * sum(len(s.looks) * len(s.pixels) for s in layers.silhouettes)


def all_positions(layers):
    return [(s, *at) for s in layers.silhouettes for at in zip(s.cover, s.pixels, strict=True)]


def subject_at(place):
    return [subject for subject in SUBJECTS for _ in subject.places][place]


@pytest.fixture(scope="module")
def plain_sum(hard_edged):
    prompt = read_prompt("a bottle by the sea")
    guide = hard_edged.guide(prompt, prompt, 1.0)
    images, prior = zip(*every_scene(hard_edged, guide.positive), strict=True)
    assert len(images) == count_scenes(hard_edged)
    return guide, np.stack(images), np.array(prior)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 4.0, 14.6])
def test_mean_is_the_softmax_weighted_mean_of_every_scene(hard_edged, plain_sum, sigma):
    guide, images, prior = plain_sum
    noise = np.random.default_rng(3).standard_normal((3, 192))
    noisy = images[1234] + sigma * noise
    ln_weights = prior - ((noisy - images) ** 2).sum(axis=(1, 2)) / (2 * sigma**2)
    weights = np.exp(ln_weights - ln_weights.max())
    expected = np.tensordot(weights / weights.sum(), images, 1)

    latent = np.zeros((CHANNELS, *CANVAS), dtype=np.float32)
    latent[:3] = noisy.reshape(3, *CANVAS)
    mean = hard_edged.mean(latent, sigma, guide)[:3].reshape(3, -1)
    assert np.abs(mean - expected).max() < 2e-4 * SCALE + 1e-5


def test_guidance_extrapolates_from_the_negative_beyond_the_positive_mean(hard_edged):
    yes, no = read_prompt("purple galaxy bottle"), read_prompt("day")
    latent = np.random.default_rng(5).standard_normal((CHANNELS, *CANVAS)).astype(np.float32) * 10
    means = {cfg: hard_edged.mean(latent, 10.0, hard_edged.guide(yes, no, cfg)) for cfg in (0, 1, 3)}
    alone = hard_edged.mean(latent, 10.0, hard_edged.guide(yes, yes, 5))
    assert np.allclose(means[1], alone, atol=1e-5)
    assert np.allclose(means[3], means[0] + 3 * (means[1] - means[0]), atol=1e-5)
    assert not np.allclose(means[0], means[1], atol=1e-3)


def test_words_increase_the_weight_of_their_scenes():
    scenes = scene_set(CHECKPOINTS[0], CANVAS)
    weights = scenes.guide(read_prompt("a lighthouse, sunset"), read_prompt(""), 1).positive
    places = weights.placements.max(axis=0)
    likeliest = subject_at(int(places.argmax()))
    assert likeliest.name == "lighthouse"
    assert list(PALETTES)[int(weights.palettes.argmax())] == "sunset"
    assert list(LANDS)[int(weights.placements[:, int(places.argmax())].argmax())] in {"sea", "cliffs"}


def test_every_tag_of_a_scene_is_in_the_vocabulary():
    """A tag that no prompt can contain could never be selected."""
    tags_of_prompt = set(read_prompt(" ".join(_vocabulary())).tags)
    things = [
        *PALETTES.values(),
        *LANDS.values(),
        *(s.tags for s in SUBJECTS),
        *SKY_TAGS.values(),
    ]
    things += [tags for subject in SUBJECTS for tags in subject.looks.values()]
    assert {tag for tags in things for tag in tags} <= tags_of_prompt


def _vocabulary():
    from comflowy_nb.sandbox.engine.prompts import SYNONYMS

    return SYNONYMS


def test_loading_is_deterministic_and_colours_are_in_range():
    first, second = (load_layers(CHECKPOINTS[1], (20, 32)) for _ in range(2))
    for a, b in ((first.skies, second.skies), (first.lands, second.lands), (first.land_cover, second.land_cover)):
        assert a.tobytes() == b.tobytes()
    for images in (first.skies, first.lands, *(s.looks for s in first.silhouettes)):
        assert np.isfinite(images).all()
        assert np.abs(images).max(initial=0) <= 0.5 * SCALE + 1e-6
    for cover in (first.land_cover, *(s.cover for s in first.silhouettes)):
        assert cover.min(initial=0) >= 0
        assert cover.max(initial=0) <= 1


def test_skies_lands_and_looks_are_all_different():
    layers = scene_set(CHECKPOINTS[0], CANVAS).layers
    images = [*layers.skies, *layers.lands.reshape(-1, 3, 192)]
    assert len({image.tobytes() for image in images}) == len(images)
    for silhouette in layers.silhouettes[1:]:  # the first is empty
        flat = silhouette.looks.reshape(-1, silhouette.looks[0, 0].size)
        assert len({look.tobytes() for look in flat}) == len(flat)


def test_a_set_is_cached():
    assert scene_set(CHECKPOINTS[0], CANVAS) is scene_set(CHECKPOINTS[0], CANVAS)
    assert scene_set(CHECKPOINTS[0], CANVAS) is not scene_set(CHECKPOINTS[1], CANVAS)


@pytest.mark.parametrize(("width", "height"), [(512, 512), (1024, 256), (256, 1024), (64, 48), (2048, 16), (16, 16)])
def test_canvas_has_the_shape_of_the_image(width, height):
    rows, columns = canvas_size(width, height)
    assert rows * columns <= 128 * 128 * 1.02
    if min(rows, columns) > 8:
        assert columns / rows == pytest.approx(width / height, rel=0.5 / min(rows, columns) * 2)


@pytest.mark.parametrize("canvas", [(8, 60), (60, 8), (8, 8)])
def test_narrow_canvases_have_all_scenes(canvas):
    assert count_scenes(scene_set(CHECKPOINTS[0], canvas)) > 10_000


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_decoding_returns_the_requested_size(checkpoint):
    latent = empty_latent(200, 104, 2)
    image = decode(latent, 1, checkpoint)
    assert image.shape == (104, 200, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1


def test_decoding_an_encoded_image_returns_the_image():
    y, x = np.mgrid[0:96, 0:128] / 96
    image = np.stack([x / 1.4, y, 0.5 + 0.3 * np.sin(6 * x)], axis=-1)[None].astype(np.float32)
    decoded = decode(encode(image), 0, CHECKPOINTS[0])
    assert np.abs(decoded - image[0]).mean() < 0.01


def test_drift_moves_the_strokes_but_not_the_edges():
    image = np.zeros((1, 64, 64, 3), dtype=np.float32)
    image[:, :, 30:34] = 1
    latent = encode(image)
    moved = Latent(latent.samples.copy(), 64, 64)
    moved.samples[:, 6] = 0.05 * SCALE
    still, shifted = decode(latent, 0, CHECKPOINTS[0]), decode(moved, 0, CHECKPOINTS[0])
    middle = [float((p[..., 0].sum(axis=0) * np.arange(64)).sum() / p[..., 0].sum()) for p in (still, shifted)]
    assert 1.5 < middle[0] - middle[1] < 3.5
