import numpy as np
import pytest
import tensorflow as tf
from sklearn.covariance import shrunk_covariance

from fedsim_tf.errors import InputError
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics, LatentTable

CORRELATED = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])


def assert_same_distribution(a, b):
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-9)
    np.testing.assert_allclose(a.covariance, b.covariance, atol=1e-9)


@pytest.mark.parametrize(("count", "dim"), [(400, 3), (30, 8), (12, 64), (4, 64), (2, 5)])
def test_fitted_normal_is_scikit_learns_shrunk_one(rng, count, dim):
    z = rng.normal(1.5, 2.0, (count, dim)) @ rng.normal(size=(dim, dim))
    fitted = LatentStatistics.of(z).distribution()
    np.testing.assert_allclose(fitted.mean, z.mean(axis=0), rtol=1e-9)
    oracle = shrunk_covariance(np.cov(z.T), shrinkage=0.1)
    np.testing.assert_allclose(fitted.covariance, oracle, rtol=1e-6, atol=1e-8 * np.trace(z.T @ z))


def test_total_variance_of_a_few_latents_is_that_of_their_normal_on_average(rng):
    draws = [LatentStatistics.of(rng.normal(size=(4, 64))).distribution().covariance for _ in range(200)]
    assert np.mean([np.trace(covariance) for covariance in draws]) == pytest.approx(64, rel=0.03)


def test_pooled_parts_equal_all_at_once(rng):
    z = rng.normal(3.0, 1.0, (15, 6))
    first, second, third = (LatentStatistics.of(part) for part in (z[:4], z[4:10], z[10:]))
    pooled = first + second + third
    assert pooled.count == 15
    assert_same_distribution(pooled.distribution(), LatentStatistics.of(z).distribution())
    assert_same_distribution((third + (first + second)).distribution(), pooled.distribution())


def test_pooled_sites_with_different_means_spread_between_the_sites(rng):
    sites = [offset + 0.1 * rng.normal(size=(50, 2)) for offset in ([-5, 0], [5, 0])]
    covariance = (LatentStatistics.of(sites[0]) + LatentStatistics.of(sites[1])).distribution().covariance
    assert covariance[0, 0] == pytest.approx(25, rel=0.1)


def test_float32_latents_are_summed_in_double_precision(rng):
    z = (1000 + rng.normal(size=(50, 3))).astype(np.float32)
    covariance = LatentStatistics.of(z).distribution().covariance
    np.testing.assert_allclose(covariance, shrunk_covariance(np.cov(z.astype(np.float64).T), 0.1), atol=1e-6)


def test_fewer_points_than_dimensions_still_span_all_dimensions(rng):
    distribution = LatentStatistics.of(rng.normal(size=(4, 64))).distribution()
    assert np.linalg.eigvalsh(distribution.covariance)[0] > 0.05
    assert np.linalg.matrix_rank(distribution.sample(200, seed=0) - distribution.mean) == 64


@pytest.mark.parametrize("count", [6, 20])
def test_samples_vary_as_the_latents_do_in_the_directions_that_they_span(rng, count):
    """Latents of a dozen volumes keep to a few of 64 directions; there samples must reach as far as they do."""
    z = rng.normal(size=(count, 64))
    directions = np.linalg.svd(z - z.mean(0), full_matrices=False)[2][: count - 1]
    samples = LatentStatistics.of(z).distribution().sample(4000, seed=0)
    own, drawn = ((points - z.mean(0)) @ directions.T for points in (z, samples))
    np.testing.assert_allclose(drawn.std(0), own.std(0), rtol=0.1)


def test_identical_points_are_sampled_as_they_are():
    distribution = LatentStatistics.of(np.tile([[1.0, -2.0, 4.0]], (5, 1))).distribution()
    np.testing.assert_allclose(distribution.sample(3, seed=0), np.tile([[1, -2, 4]], (3, 1)), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_points_are_refused(count):
    with pytest.raises(InputError, match=f"latents: found {count}; expected at least 2"):
        LatentStatistics.of(np.zeros((count, 3))).distribution()


def test_many_samples_have_the_mean_and_covariance():
    mean = np.array([5.0, -1.0, 0.0])
    samples = LatentDistribution(mean, CORRELATED).sample(200_000, seed=1)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(samples.T), CORRELATED, atol=0.03)


def test_samples_of_a_singular_normal_stay_in_its_plane():
    direction = np.array([3.0, 4.0]) / 5
    samples = LatentDistribution(np.zeros(2), np.outer(direction, direction)).sample(100, seed=0)
    np.testing.assert_allclose(samples @ [-4.0, 3.0], 0, atol=1e-5)
    assert samples.std(0).min() > 0.3


def test_sampling_is_deterministic_for_each_seed():
    distribution = LatentDistribution(np.zeros(3), CORRELATED)
    np.testing.assert_array_equal(distribution.sample(5, seed=3), distribution.sample(5, seed=3))
    assert np.abs(distribution.sample(5, seed=3) - distribution.sample(5, seed=4)).min() > 0


def test_table_starts_as_a_standard_normal():
    table = LatentTable(500, 64, seed=1).table.numpy()
    assert table.mean() == pytest.approx(0, abs=0.02)
    assert table.std() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(LatentTable(500, 64, seed=1).table, table)
    assert np.any(LatentTable(500, 64, seed=2).table.numpy() != table)


def test_table_looks_up_rows_and_only_they_get_gradients():
    latents = LatentTable(4, 3, seed=0)
    with tf.GradientTape() as tape:
        found = latents.lookup(tf.constant([2, 0, 2]))
        value = tf.reduce_sum(found)
    np.testing.assert_array_equal(found, latents.table.numpy()[[2, 0, 2]])
    gradient = tf.convert_to_tensor(tape.gradient(value, latents.table))
    np.testing.assert_array_equal(gradient, np.repeat([[1.0], [0.0], [2.0], [0.0]], 3, axis=1))
    assert latents.trainable_variables == (latents.table,)
