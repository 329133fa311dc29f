import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from fedsim_tf.evaluation.novelty import average_features, compare_features, kernel_distance, measure_novelty
from tests.training.toy_site import toy_vgg

WINDOW_HU = (-1000.0, 1000.0)


def test_distances_are_to_the_nearest_volume(rng):
    real, synthetic = rng.uniform(-1, 1, (4, 3, 4, 5)), rng.uniform(-1, 1, (6, 3, 4, 5))
    flat = [part.reshape(len(part), -1) for part in (real, synthetic)]
    scale = 1000.0 / np.sqrt(60)
    across, among = cdist(flat[1], flat[0]).min(axis=1), np.sort(cdist(flat[0], flat[0]), axis=1)[:, 1]
    assert dataclasses.asdict(measure_novelty(real, synthetic, WINDOW_HU)) == pytest.approx(
        {
            "sample_to_real_hu": scale * across.mean(),
            "closest_sample_hu": scale * across.min(),
            "real_to_real_hu": scale * among.mean(),
            "closest_real_hu": scale * among.min(),
        }
    )


def test_a_repeated_training_volume_shows(rng):
    real = rng.uniform(-1, 1, (4, 3, 4, 5))
    found = measure_novelty(real, np.stack([real[2], rng.uniform(-1, 1, (3, 4, 5))]), WINDOW_HU)
    assert found.closest_sample_hu == 0.0
    assert found.closest_real_hu > 0.0


def test_kernel_distance_is_the_pairs_mean_of_a_cubic_kernel(rng):
    first, second = rng.normal(size=(5, 3)), rng.normal(1.0, size=(4, 3))
    kernel = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    pairs = lambda part: [kernel(a, b) for i, a in enumerate(part) for j, b in enumerate(part) if i != j]  # noqa: E731
    expected = (
        np.mean(pairs(first)) + np.mean(pairs(second)) - 2 * np.mean([kernel(a, b) for a in first for b in second])
    )
    assert kernel_distance(first, second) == pytest.approx(expected)


def test_kernel_distance_of_samples_of_one_distribution_is_about_nothing(rng):
    near = kernel_distance(rng.normal(size=(400, 8)), rng.normal(size=(400, 8)))
    far = kernel_distance(rng.normal(size=(400, 8)), rng.normal(0.5, size=(400, 8)))
    assert abs(near) < 0.1 * far


def test_features_tell_texture_from_flat_slices(rng):
    """Two kinds of real texture are nearer to each other than to flat images."""
    real = rng.uniform(-1, 1, (4, 8, 32, 32))
    vgg = toy_vgg()
    found = compare_features(average_features(vgg, real), average_features(vgg, np.full((2, 8, 32, 32), 0.3)))
    assert abs(found.real_to_real) < 0.2 * found.real_to_synthetic
