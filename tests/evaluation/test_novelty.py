import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from fedsim_tf.evaluation.novelty import measure_novelty

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
