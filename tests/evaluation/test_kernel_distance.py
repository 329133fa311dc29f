"""The kernel distance of features: against its definition, and against integrals over normal distributions."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from fedsim_tf.evaluation.kernel_distance import PLANES, SLICES, average_features, compare_features, kernel_distance
from tests.training.toy_site import small_vgg


def test_kernel_distance_is_the_pairs_mean_of_a_cubic_kernel(rng):
    first, second = rng.normal(size=(5, 3)), rng.normal(1.0, size=(4, 3))
    pairs = lambda part: polynomial_kernel(part)[~np.eye(len(part), dtype=bool)]  # noqa: E731
    expected = pairs(first).mean() + pairs(second).mean() - 2 * polynomial_kernel(first, second).mean()
    assert kernel_distance(first, second) == pytest.approx(expected)


def mean_over_draws(rng, shift, *, count=12, draws=4000):
    """Mean and standard error of the distance between small sets of numbers from N(0, 1) and N(shift, 1)."""
    found = [kernel_distance(rng.normal(size=(count, 1)), rng.normal(shift, size=(count, 1))) for _ in range(draws)]
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(draws)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_kernel_distance_is_unbiased(rng, shift):
    """It is 3 (dm)^2 + 3 (ds)^2 + (dt)^2, from E (xy + 1)^3 = t t' + 3 s s' + 3 m m' + 1 with the first three moments.

    Of N(a, 1) these are m = a, s = 1 + a^2 and t = a^3 + 3 a.
    """
    expected = 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2
    mean, error = mean_over_draws(rng, shift)
    assert abs(mean - expected) < 4 * error
    assert error < 0.25


def test_features_tell_texture_from_flat_slices(rng):
    """Two kinds of real texture are nearer to each other than to flat images, in each plane."""
    real = rng.uniform(-1, 1, (4, 32, 32, 32))
    vgg = small_vgg()
    found = compare_features(average_features(vgg, real), average_features(vgg, np.full((2, 32, 32, 32), 0.3)))
    assert list(found) == list(PLANES)
    for distances in found.values():
        assert abs(distances.real_to_real) < 0.2 * distances.real_to_synthetic


def test_stripes_along_z_show_in_the_planes_that_cut_them():
    """Every other slice is turned dark; the axial slices that are looked at are not among them."""
    smooth = np.broadcast_to(np.linspace(-0.8, 0.8, 32)[:, None, None], (1, 32, 32, 32)).astype(np.float32)
    striped = smooth.copy()
    striped[:, 1::2] = -1.0
    one, other = (average_features(small_vgg(), images) for images in (smooth, striped))
    assert all(len(features[plane]) == SLICES for features in (one, other) for plane in PLANES)
    np.testing.assert_array_equal(one["axial"], other["axial"])
    for plane in ("coronal", "sagittal"):
        assert not np.allclose(one[plane], other[plane], rtol=0.05)


def test_distances_do_not_depend_on_the_scale_of_features(rng):
    real, synthetic = (
        {plane: rng.normal(mean, 1.0, (count, 5)) for plane in PLANES} for mean, count in ((1, 48), (2, 16))
    )
    found, scaled = (
        compare_features(*({plane: factor * one for plane, one in part.items()} for part in (real, synthetic)))
        for factor in (1.0, 1e4)
    )
    for plane in PLANES:
        assert scaled[plane].real_to_synthetic == pytest.approx(found[plane].real_to_synthetic)
        unit = np.sqrt(np.mean(real[plane] ** 2))
        assert found[plane].real_to_synthetic == pytest.approx(
            kernel_distance(real[plane] / unit, synthetic[plane] / unit)
        )


def test_halves_of_the_real_volumes_are_every_other_one():
    """Even volumes have one feature, odd ones another; what differs within a volume differs in both halves alike."""
    within = np.linspace(0.0, 0.1, SLICES)[:, None]
    volumes = [within + (0.0 if number % 2 else 1.0) for number in range(4)]
    features = {plane: np.concatenate(volumes) for plane in PLANES}
    unit = np.sqrt(np.mean(features["axial"] ** 2))
    halves = (np.concatenate(volumes[start::2]) / unit for start in (0, 1))
    assert compare_features(features, features)["coronal"].real_to_real == pytest.approx(kernel_distance(*halves))
