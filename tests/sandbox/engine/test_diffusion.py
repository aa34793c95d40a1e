"""Noise levels, samplers on an equation with a known solution, and the effect of each parameter."""

import numpy as np
import pytest

from comflowy_nb.sandbox.engine.diffusion import SAMPLERS, SCHEDULERS, sample, sigmas
from comflowy_nb.sandbox.engine.latents import Latent, decode, empty_latent, encode
from comflowy_nb.sandbox.engine.prompts import read_prompt
from comflowy_nb.sandbox.engine.scene_set import scene_set
from comflowy_nb.sandbox.engine.styles import CHECKPOINTS

BASE = {
    "positive": "a bottle in a landscape",
    "negative": "text, watermark",
    "seed": 156680208700286,
    "steps": 9,
    "cfg": 8.0,
    "sampler": "euler",
    "scheduler": "normal",
    "denoise": 1.0,
}


def run(count=1, samples=None, side=24, **changes):
    options = {**BASE, **changes}
    for prompt in ("positive", "negative"):
        options[prompt] = read_prompt(options[prompt])
    samples = empty_latent(side, side, count).samples if samples is None else samples
    return sample(scene_set(CHECKPOINTS[0], (side, side)), samples, **options)


@pytest.fixture(scope="module")
def base():
    return run()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 20, 1500])
def test_noise_levels_fall_to_zero(scheduler, steps):
    levels = sigmas(scheduler, steps)
    assert len(levels) == steps + 1
    assert levels[0] == pytest.approx(14.6146, abs=1e-3)
    assert levels[-1] == 0
    assert (np.diff(levels) <= 0).all()


def test_schedules_have_the_limits_of_stable_diffusion_and_differ_between_them():
    levels = {name: sigmas(name, 10) for name in SCHEDULERS}
    for name in ("normal", "karras", "exponential"):
        assert levels[name][-2] == pytest.approx(0.0292, abs=1e-4)
    assert len({round(levels[name][5], 4) for name in SCHEDULERS}) == len(SCHEDULERS)


def test_denoise_uses_the_last_levels_of_a_longer_schedule():
    for scheduler in SCHEDULERS:
        assert np.allclose(sigmas(scheduler, 10, 0.5), sigmas(scheduler, 20)[-11:], rtol=1e-9)
        assert sigmas(scheduler, 20, 0.99)[0] < sigmas(scheduler, 20)[0]
    assert len(sigmas("normal", 1, 0.5)) == 2
    assert len(sigmas("normal", 10, 0.0)) == 0


def gaussian(noisy, sigma):
    """Return the exact denoised value for a Gaussian with standard deviation 1."""
    return noisy / (1 + sigma**2)


def solve(sampler, steps):
    levels = np.append(np.geomspace(14.6, 0.03, steps), 0)
    start = np.array([7.3, -2.0], dtype=np.float64)
    *_, found = SAMPLERS[sampler](gaussian, start, levels, lambda: np.zeros(2))
    exact = start / np.sqrt(1 + 14.6**2)
    return np.abs(found - exact).max()


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("lms", 2)])
def test_samplers_solve_the_equation_to_their_order(sampler, order):
    coarse, fine = solve(sampler, 40), solve(sampler, 80)
    assert fine < coarse / (1.7 if order == 1 else 2.5)
    assert fine < (0.05 if order == 1 else 0.005)


def test_higher_order_samplers_are_more_accurate_than_euler():
    assert max(solve("heun", 40), solve("dpmpp_2m", 40), solve("lms", 40)) < solve("euler", 40) / 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_converges_to_the_only_image_of_a_set(sampler):
    image = np.full(3, 0.05)
    levels = sigmas("karras", 15)
    rng = np.random.default_rng(1)
    start = rng.standard_normal(3) * levels[0]
    *_, found = SAMPLERS[sampler](lambda x, sigma: image, start, levels, lambda: rng.standard_normal(3))
    assert np.allclose(found, image, atol=1e-4)


def test_the_same_arguments_give_the_same_bytes(base):
    assert run().tobytes() == base.tobytes()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_repeats_exactly(sampler):
    first, second = (run(sampler=sampler, steps=5) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert np.isfinite(first).all()


CHANGES = [
    {"seed": 1},
    {"seed": 2**64 - 1},
    {"steps": 10},
    {"cfg": 7.5},
    {"cfg": 1.0},
    {"scheduler": "karras"},
    {"scheduler": "exponential"},
    {"scheduler": "simple"},
    {"denoise": 0.9},
    {"positive": "a bottle in a landscape, zyzzyva"},
    {"positive": "a cat"},
    {"negative": "text"},
    {"negative": ""},
    *({"sampler": name} for name in SAMPLERS if name != "euler"),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_parameter_changes_the_image(base, change):
    """The difference must survive rounding to 8 bits: one colour step or more in at least 1 % of the pixels."""
    before, after = (decode(Latent(samples, 64, 64), 0, CHECKPOINTS[0]) for samples in (base, run(**change)))
    assert (np.abs(after - before) > 1 / 255).mean() > 0.01


def test_neighbouring_seeds_give_different_images_and_high_bits_count():
    images = {run(seed=seed, steps=4).tobytes() for seed in (0, 1, 2**32, 2**53, 2**53 + 1, 2**64 - 1)}
    assert len(images) == 6


def test_images_of_a_batch_differ_and_the_first_is_that_of_a_batch_of_one(base):
    batch = run(count=3)
    assert batch[0].tobytes() == base[0].tobytes()
    assert len({image.tobytes() for image in batch}) == 3


def test_the_prompt_selects_the_content_of_the_image():
    night, day = run(positive="dark night, stars"), run(positive="bright sunny day, blue sky")
    assert day[0, :3].mean() > night[0, :3].mean() + 0.03
    purple = run(positive="purple galaxy")[0, :3].mean(axis=(1, 2))
    assert purple[1] < min(purple[0], purple[2])


def look(**changes):
    return decode(Latent(run(**changes), 64, 64), 0, CHECKPOINTS[0])


def test_guidance_increases_the_saturation():
    chroma = [np.ptp(look(cfg=cfg, positive="a lighthouse, sunset"), axis=-1).mean() for cfg in (2, 5, 8, 12)]
    assert chroma == sorted(chroma)
    assert chroma[-1] > 1.3 * chroma[0]


def test_few_steps_leave_the_image_blurred():
    edges = [
        np.mean([np.abs(np.diff(look(steps=n, seed=k, side=48), axis=0)).mean() for k in range(1, 4)])
        for n in (2, 4, 9)
    ]
    assert edges[0] < 0.75 * edges[1]
    assert edges[1] < 0.8 * edges[2]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_much_guidance_in_two_steps_does_not_saturate_the_image(sampler):
    """Cells of two steps were white and yellow: the second step did not correct the overshoot of the first."""
    image = look(steps=2, cfg=12.0, positive="a lighthouse by the sea, sunset, clouds", sampler=sampler)
    assert ((image < 0.01) | (image > 0.99)).all(axis=-1).mean() < 0.02
    assert ((image < 0.01) | (image > 0.99)).mean() < 0.2


def test_content_of_the_negative_prompt_is_avoided():
    def blue(negative):
        return np.mean([run(positive="a meadow", negative=negative, seed=k, steps=5)[0, :3].mean() for k in range(4)])

    assert (
        blue("night, dark, dusk, galaxy, aurora, moon, star")
        > blue("day, dawn, sunset, fog, sun, clouds, bright") + 0.01
    )


def test_little_noise_keeps_the_input_image_and_much_noise_replaces_it():
    y, x = np.mgrid[0:24, 0:24] / 24
    image = np.stack([0.2 + 0.6 * (x > 0.5), 0.8 - 0.6 * y, 0.3 + 0.3 * y], axis=-1)[None].astype(np.float32)
    source = encode(image).samples
    gaps = [
        np.abs(run(samples=source, denoise=denoise, steps=10) - source)[0, :3].mean() / 0.2
        for denoise in (0.05, 0.2, 0.6, 1.0)
    ]
    assert gaps[0] < 0.05
    assert gaps == sorted(gaps)
    assert gaps[-1] > 3 * gaps[0]
    assert run(samples=source, denoise=0.0).tobytes() == source.tobytes()


def test_each_step_is_reported_and_may_end_the_run():
    calls = []

    def after_step(done, total):
        calls.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(after_step=after_step)
    assert calls == [(1, 9), (2, 9), (3, 9)]
