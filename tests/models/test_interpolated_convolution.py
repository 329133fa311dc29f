"""Maps interpolated on their way up: beside NumPy's interpolation, and without checks."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.interpolated_convolution import InterpolatedConvolution, double_trilinearly
from fedsim_tf.models.unet3d import UNet3D


def interpolate(values, axis):
    """Return values at twice as many places along an axis; beyond the border the outermost value goes on."""
    n = values.shape[axis]
    places = (np.arange(2 * n) + 0.5) / 2 - 0.5
    return np.apply_along_axis(lambda line: np.interp(places, np.arange(n), line), axis, values)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5, 2), (1, 2, 2, 2, 1), (1, 1, 2, 1, 3)])
def test_maps_are_interpolated_along_each_axis(rng, shape):
    maps = rng.normal(size=shape).astype(np.float32)
    expected = maps
    for axis in (1, 2, 3):
        expected = interpolate(expected, axis)
    np.testing.assert_allclose(double_trilinearly(tf.constant(maps)), expected, atol=1e-6)


def test_a_level_is_the_convolution_of_skipped_and_interpolated_maps(rng):
    skipped, coarse = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 4, 6, 4, 2), (1, 2, 3, 2, 3)))
    layer = InterpolatedConvolution(4, seed=0)
    found = layer((tf.constant(skipped), tf.constant(coarse)))
    both = np.concatenate([skipped, double_trilinearly(tf.constant(coarse))], axis=-1)
    kernel, bias = layer.convolution.kernel, layer.convolution.bias
    np.testing.assert_allclose(found, tf.nn.conv3d(both, kernel, [1] * 5, "SAME") + bias, atol=1e-5)


def checks(volume):
    """Return the share of a volume's variance that changes sign from voxel to voxel along some axis."""
    volume = volume - volume.mean()
    spectrum = np.abs(np.fft.fftn(volume)) ** 2
    edge = volume.shape[0] // 2
    places = [place for place in itertools.product((0, edge), repeat=3) if any(place)]
    return sum(spectrum[place] for place in places) / spectrum.sum()


def test_an_untrained_network_that_interpolates_makes_far_fewer_checks(rng):
    """Of a smooth volume, in the middle, where no border is seen."""
    z, y, x = np.indices((32, 32, 32)) / 32
    smooth = np.sin(4 * z + 3 * y).astype(np.float32) + np.cos(5 * x).astype(np.float32)
    found = {}
    for interpolated in (False, True):
        networks = [UNet3D(4, seed=seed, interpolated=interpolated) for seed in range(3)]
        outputs = [network(smooth[None, ..., None])[0, 8:24, 8:24, 8:24, 0].numpy() for network in networks]
        found[interpolated] = np.mean([checks(one) for one in outputs])
    assert found[True] < 0.2 * found[False]
