"""The decoder's gradients lead to a shape of the model, through the overlap alone."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.shape_fitting import fit_shape
from fedsim_tf.metrics import iou
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from tests.shape.shapes_for_tests import population

GRID = Grid.centred((32, 32, 32), (96.0, 96.0, 96.0))


@pytest.fixture(scope="module")
def model():
    return StatisticalShapeModel.fit(*population(), n_modes=4)


@pytest.mark.parametrize("gradient", ["finite_difference", "surface"])
def test_a_shape_of_the_model_is_found_again(model, gradient):
    decoder = ShapeDecoder(model, GRID, gradient)
    truth = np.array([1.0, -0.8, 0.5, -0.5, 0.15, -0.1, 0.1, 4.0, -3.0, 2.0, 0.08], np.float32)
    mask = decoder(truth[None])[0].numpy() > 0.5
    fit = fit_shape(decoder, mask, steps=80)
    assert len(fit.losses) == 81
    assert fit.losses[-1] < 0.4 * fit.losses[0]
    assert iou(decoder(fit.tau[None])[0].numpy() > 0.5, mask) > 97
    points, expected = (decoder.points_mm(tf.constant(t[None]))[0].numpy() for t in (fit.tau, truth))
    assert np.linalg.norm(points - expected, axis=1).mean() < 1.5  # half a voxel; balls may turn unseen
