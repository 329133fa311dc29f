"""Keras's up-convolution, concatenation and convolution are the oracle, in double precision, gradients included."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models import raised_convolution
from fedsim_tf.models.raised_convolution import RaisedConvolution, compose_kernels, convolve_up


def keras_layers(filters, up_filters):
    up = tf.keras.layers.Conv3DTranspose(up_filters, 2, 2, dtype="float64")
    convolution = tf.keras.layers.Conv3D(filters, 3, padding="same", dtype="float64")
    call = lambda skipped, coarse: convolution(tf.concat([skipped, up(coarse)], axis=-1))  # noqa: E731
    return call, lambda: [*up.trainable_variables, *convolution.trainable_variables]


def outputs_and_gradients(call, variables, maps, weights):
    call(*maps)
    for variable, weight in zip(variables(), weights, strict=True):
        variable.assign(weight)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        out = call(*maps)
        loss = tf.reduce_sum(tf.sin(out))
    gradients = tape.gradient(loss, [*maps, *variables()])
    return [out, *gradients]


@pytest.mark.parametrize("composing", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 2)])
def test_both_forms_are_kerass_layers(rng, monkeypatch, composing, shape):
    monkeypatch.setattr(raised_convolution, "_is_worthwhile", lambda *_: composing)
    filters, up_filters, channels, skipped = 3, 5, 4, 2
    maps = [
        tf.constant(rng.standard_normal((2, *(2 * edge for edge in shape), skipped))),
        tf.constant(rng.standard_normal((2, *shape, channels))),
    ]
    shapes = [(2, 2, 2, up_filters, channels), (up_filters,), (3, 3, 3, skipped + up_filters, filters), (filters,)]
    weights = [rng.standard_normal(each) for each in shapes]
    layer = RaisedConvolution(filters, up_filters, seed=0, dtype="float64")
    ours = outputs_and_gradients(lambda *maps: layer(maps), lambda: layer.trainable_variables, maps, weights)
    theirs = outputs_and_gradients(*keras_layers(filters, up_filters), maps, weights)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_kernel_of_ones_counts_the_fine_voxels_that_each_neighbour_gives():
    composed = compose_kernels(tf.ones((2, 2, 2, 1, 1)), tf.ones((3, 3, 3, 1, 1))).numpy()
    assert composed.shape == (2, 2, 2, 1, 8)
    assert composed.sum() == 8 * 27
    # The odd voxel takes two of its three neighbours from the coarse voxel before the corner, the even one only one.
    assert composed[0, 0, 0, 0, 0] == 8
    assert composed[0, 0, 0, 0, 7] == 1
    inner = convolve_up(tf.ones((1, 3, 3, 3, 1)), tf.constant(composed))[0, 1:-1, 1:-1, 1:-1, 0]
    np.testing.assert_array_equal(inner, 27 * np.ones((4, 4, 4)))


@pytest.mark.parametrize(("edge", "worthwhile"), [(64, True), (8, False)])
def test_composing_waits_for_large_maps(edge, worthwhile):
    skipped, coarse = tf.TensorShape([1, edge, edge, edge, 8]), tf.TensorShape([1, 128])
    assert raised_convolution._is_worthwhile(skipped, coarse) is worthwhile
