"""What is bounded and gets noise at a site: gradients, moments of latents and losses."""

import math

import numpy as np
import pytest
from scipy import stats

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated import privacy
from fedsim_tf.federated.privacy import MOMENTS_BOUND, privatize, privatize_losses, privatize_moments
from fedsim_tf.federated.server import pool_moments
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.models.latents import LatentStatistics

GRADIENTS = {"a": np.full((30, 40), 0.1, np.float32), "b": np.full(1200, -0.1, np.float32)}  # norm sqrt(24)


def norm(gradients):
    return math.sqrt(sum(float(np.sum(value.astype(np.float64) ** 2)) for value in gradients.values()))


def test_large_gradients_are_scaled_down_together_and_small_ones_left():
    clipped = privatize(GRADIENTS, bound=2.0, multiplier=0.0)
    assert norm(clipped) == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_allclose(clipped["a"] / GRADIENTS["a"], 2.0 / math.sqrt(24), rtol=1e-5)
    for bound in (5.0, 0.0):
        for name, value in privatize(GRADIENTS, bound=bound, multiplier=0.0).items():
            np.testing.assert_array_equal(value, GRADIENTS[name])


def test_noise_has_the_width_that_was_asked_for_and_never_repeats():
    first, second = (privatize(GRADIENTS, bound=5.0, multiplier=0.3) for _ in range(2))
    noise = np.concatenate([(first[name] - GRADIENTS[name]).ravel() for name in GRADIENTS])
    assert noise.std() == pytest.approx(1.5, rel=0.1)
    assert abs(noise.mean()) < 0.15
    assert first["a"].dtype == np.float32
    assert np.all(first["a"] != second["a"])


def test_tiny_gradients_are_clipped_too():
    """Their squares are nothing in float32: a job that scales gradients down must not get round the noise."""
    tiny = {name: value * np.float32(1e-24) for name, value in GRADIENTS.items()}
    assert norm(privatize(tiny, bound=1e-35, multiplier=0.0)) <= 1e-35 * (1 + 1e-5)


def test_noise_without_a_bound_is_refused():
    with pytest.raises(InputError, match=r"clip_norm is 0\.0; it must be above 0 with noise"):
        FederatedConfig(noise_multiplier=1.0)


@pytest.fixture
def seeded(monkeypatch):
    """Noise that is the same whenever the tests run; a site's is seeded by the operating system."""
    rng = np.random.Generator(np.random.PCG64DXSM(3))
    monkeypatch.setattr(privacy, "_make_generator", lambda: rng)


BOUND = 3.0
SIDES = np.triu_indices(4, 1)


def in_units(moments):
    """Mean and mean outer product in units of the bound, the latter in an orthonormal basis of symmetric matrices."""
    mean, second = moments.sum / (moments.count * BOUND), moments.sum_outer / (moments.count * BOUND**2)
    upper = np.triu_indices(len(mean), 1)
    return np.concatenate([mean, np.diag(second), math.sqrt(2) * second[upper]])


def test_no_two_data_sets_have_moments_further_apart_than_the_bound_says(rng):
    """All pairs of a thousand sets of one to four latents of the plane, short and far too long ones."""
    angles, lengths = np.linspace(0, 2 * np.pi, 12, endpoint=False), BOUND * np.array([0.0, 0.4, 0.8, 1.0, 7.0])
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = (lengths[:, None, None] * plane).reshape(-1, 2)
    sets = [points[[i]] for i in range(len(points))]
    sets += [points[rng.integers(len(points), size=rng.integers(2, 5))] for _ in range(940)]
    found = np.stack([in_units(LatentStatistics.of(one, largest_norm=BOUND)) for one in sets])
    apart = np.linalg.norm(found[:, None] - found[None], axis=2)
    assert apart.max() == pytest.approx(2 * MOMENTS_BOUND, rel=1e-9)
    latents = rng.standard_normal((5, 2)) * BOUND
    for other in points:  # another patient in the place of one of n moves them by an n-th of that at most
        changed = np.concatenate([latents[:4], [other]])
        one, two = (in_units(LatentStatistics.of(z, largest_norm=BOUND)) for z in (latents, changed))
        assert np.linalg.norm(one - two) <= 2 * MOMENTS_BOUND / 5 * (1 + 1e-9)


def test_only_longer_latents_are_scaled_down(rng):
    z = rng.standard_normal((9, 4)) * np.arange(1, 10)[:, None] / 3
    wanted = np.stack([one * min(1, 2.0 / np.linalg.norm(one)) for one in z])
    found = LatentStatistics.of(z, largest_norm=2.0)
    np.testing.assert_allclose(found.sum, wanted.sum(0), rtol=1e-12)
    np.testing.assert_allclose(found.sum_outer, sum(np.outer(one, one) for one in wanted), rtol=1e-12)
    with pytest.raises(FloatingPointError, match="longer than 2"):
        privatize_moments(LatentStatistics.of(10 * z), bound=2.0, multiplier=1.0)


def test_noise_on_moments_is_normal_of_one_width_in_all_directions(seeded, rng):
    """Where it is far smaller than what it is added to, so that nothing else changes."""
    latents, multiplier = LatentStatistics.of(rng.uniform(-1, 1, (50, 4))), 1e-6
    draws = [in_units(privatize_moments(latents, bound=BOUND, multiplier=multiplier)) for _ in range(500)]
    noise = (np.stack(draws) - in_units(latents)) / (multiplier * MOMENTS_BOUND)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.05
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(4 + 4 + 6), atol=0.2)
    np.testing.assert_allclose(noise.std(0), 1.0, atol=0.12)


def test_noise_on_losses_is_ten_times_that_of_gradients_in_units_of_their_range(seeded):
    losses = {"iou": 0.25, "material_mse": 0.5, "vgg": 28.0, "hinge": -3.0}
    found = np.array([list(privatize_losses(losses, multiplier=0.02).values()) for _ in range(500)])
    half = math.sqrt(4) / 2  # of the distance between four losses of 0 and four of 1
    assert stats.kstest(((found - [0.25, 0.5, 1.0, 0.0]) / (10 * 0.02 * half)).ravel(), "norm").pvalue > 0.05
    assert list(privatize_losses(losses, multiplier=0.02)) == list(losses)


@pytest.mark.parametrize("multiplier", [1e-4, 1e-2, 0.3, 50.0])
def test_noisy_moments_are_ones_that_latents_can_have(multiplier, rng):
    """The server refuses a negative variance; twelve latents of length 64 have no variance in most directions."""
    bound = 1.25 * math.sqrt(64)
    z = rng.standard_normal((12, 64)) + 0.5
    sent = privatize_moments(LatentStatistics.of(z, largest_norm=bound), bound=bound, multiplier=multiplier)
    SiteUpdate("a", "", 0, 12, latents=sent)
    covariance = sent.sum_outer / 12 - np.outer(sent.sum, sent.sum) / 144
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert np.trace(covariance) <= bound**2 * (1 + 1e-9)
    pooled = pool_moments([sent])
    if multiplier == 1e-4:
        truth = LatentStatistics.of(z).distribution()
        assert np.linalg.norm(pooled.mean - truth.mean) < 0.05 * np.linalg.norm(truth.mean)
        assert np.linalg.norm(pooled.covariance - truth.covariance) < 0.1 * np.linalg.norm(truth.covariance)
    if multiplier == 50.0:  # drowned: what latents are drawn from at first
        np.testing.assert_array_equal(sent.sum, np.zeros(64))
        np.testing.assert_allclose(sent.sum_outer, 12 * np.eye(64), atol=1e-9)


def test_without_noise_nothing_changes(rng):
    moments, losses = LatentStatistics.of(rng.standard_normal((4, 3))), {"vgg": 28.0}
    assert privatize_moments(moments, bound=0.0, multiplier=0.0) is moments
    assert privatize_losses(losses, multiplier=0.0) == losses


def test_noise_on_moments_and_losses_never_repeats(rng):
    moments = LatentStatistics.of(rng.uniform(-1, 1, (50, 4)))
    one, two = (privatize_moments(moments, bound=BOUND, multiplier=1e-3) for _ in range(2))
    assert np.all(one.sum != two.sum)
    first, second = (privatize_losses({"iou": 0.5}, multiplier=1.0) for _ in range(2))
    assert first != second
