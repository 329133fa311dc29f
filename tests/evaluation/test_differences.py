"""Differences between voxels: of ramps, parabolas, waves and noise they are known."""

import numpy as np
import pytest

from fedsim_tf.evaluation.differences import mean_differences, sum_differences

EVERYWHERE = np.ones((9, 10, 11), bool)


def measure(image, inside=EVERYWHERE):
    return mean_differences(sum_differences(image, inside))


def grid():
    return np.meshgrid(*(np.arange(edge, dtype=np.float32) for edge in EVERYWHERE.shape), indexing="ij")


def test_a_ramp_has_its_slopes_and_no_second_differences():
    z, y, x = grid()
    found = measure(3.0 * x - 5.0 * y + 7.0 * z)
    assert found.first == pytest.approx((3.0, 5.0, 7.0))
    assert found.second == pytest.approx((0.0, 0.0, 0.0))


def test_a_parabola_has_constant_second_differences():
    z, y, x = grid()
    assert measure(0.5 * x**2 - y**2 + 2.0 * z**2).second == pytest.approx((1.0, 2.0, 4.0))


def test_a_wave_has_the_differences_of_calculus():
    """Over whole periods |sin| has the mean 2 / pi; steps of h make it 2 sin(h / 2) and its square."""
    count = 4000
    step = 2 * np.pi * 17 / count
    wave = np.broadcast_to(np.sin(step * np.arange(count))[:, None, None], (count, 3, 3))
    found = measure(wave, np.ones(wave.shape, bool))
    assert found.first[2] == pytest.approx(2 / np.pi * 2 * np.sin(step / 2), rel=1e-3)
    assert found.second[2] == pytest.approx(2 / np.pi * (2 * np.sin(step / 2)) ** 2, rel=1e-3)
    assert found.first[:2] == (0.0, 0.0)


def test_white_noise_has_the_differences_of_normal_variables(rng):
    """Their variances are 2 and 6 times the noise's, and E|N(0, s^2)| = s sqrt(2 / pi)."""
    noise = rng.normal(0.0, 10.0, (40, 40, 40))
    found = measure(noise, np.ones(noise.shape, bool))
    assert found.first == pytest.approx([10 * np.sqrt(2 * 2 / np.pi)] * 3, rel=0.02)
    assert found.second == pytest.approx([10 * np.sqrt(6 * 2 / np.pi)] * 3, rel=0.02)


def test_differences_across_the_border_do_not_count():
    x = grid()[2]
    inside = x < 6
    assert measure(np.where(inside, 2.0 * x, 1000.0), inside).first == pytest.approx((2.0, 0.0, 0.0))
    found = sum_differences(2.0 * x, inside)
    assert found[:, :, 1].tolist() == [[9 * 10 * 5, 9 * 9 * 6, 8 * 10 * 6], [9 * 10 * 4, 9 * 8 * 6, 7 * 10 * 6]]


def test_volumes_are_weighted_by_their_voxels():
    x = grid()[2]
    large, small = sum_differences(x, EVERYWHERE), sum_differences(4.0 * x, EVERYWHERE & (x < 6))
    assert mean_differences(large + small).first[0] == pytest.approx((10 * 1.0 + 5 * 4.0) / 15)


def test_a_place_too_thin_for_second_differences_has_none():
    assert measure(grid()[0], EVERYWHERE & (grid()[0] < 2)) is None
