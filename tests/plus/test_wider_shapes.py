import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.plus.wider_shapes import LEAST_POSE_SD, MODE_LIMIT, WiderShapes, find_deformation, measure_changes
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from tests.training.toy_site import toy_shape_model

MODES = 4


@pytest.fixture(scope="module")
def decoder():
    return ShapeDecoder(toy_shape_model(), Grid.centred((32, 32, 32), (256.0, 256.0, 256.0)))


def test_changes_have_the_deviation_of_the_model_and_of_annotated_poses(rng):
    annotated = np.zeros((50, MODES + 7))
    annotated[:, MODES:] = rng.standard_normal((50, 7)) * [0.1, 0.2, 0.3, 4.0, 5.0, 6.0, 0.05]
    shapes = WiderShapes(measure_changes(annotated, spread=0.5))
    start = np.zeros(MODES + 7, np.float32)
    changed = np.stack([shapes.change(start, rng.standard_normal(MODES + 7)) for _ in range(80)])
    pose = np.maximum(annotated[:, MODES:].std(axis=0, ddof=1), LEAST_POSE_SD)
    assert (pose > LEAST_POSE_SD).any()
    assert (pose == LEAST_POSE_SD).any()
    expected = 0.5 * np.concatenate([np.ones(MODES), pose])
    np.testing.assert_allclose(changed.std(axis=0), expected, rtol=0.3)
    np.testing.assert_allclose(changed.mean(axis=0) / expected, 0.0, atol=0.4)


def test_modes_stay_within_their_limit(rng):
    shapes = WiderShapes(measure_changes(np.zeros((2, MODES + 7)), spread=5.0))
    start = np.zeros(MODES + 7, np.float32)
    changed = np.stack([shapes.change(start, rng.standard_normal(MODES + 7)) for _ in range(20)])
    assert np.abs(changed[:, :MODES]).max() == MODE_LIMIT


def test_without_spread_hearts_stay(decoder, rng):
    tau = rng.standard_normal(MODES + 7).astype(np.float32)
    tau[0] = MODE_LIMIT + 0.3  # no change, no limit
    for spread, noise in ((0.0, rng.standard_normal(MODES + 7)), (1.0, np.zeros(MODES + 7))):
        shapes = WiderShapes(measure_changes(rng.standard_normal((3, MODES + 7)), spread=spread))
        changed = shapes.change(tau, noise)
        np.testing.assert_array_equal(changed, tau)
        assert find_deformation(decoder, tau, changed) is None


def test_the_deformation_makes_the_changed_heart_of_the_old_one(decoder, rng):
    """The voxelized changed heart is the oracle."""
    annotated = np.zeros((2, MODES + 7))
    annotated[1, MODES:] = [0.2, 0.2, 0.2, 10.0, 10.0, 10.0, 0.1]
    tau = np.zeros(MODES + 7, np.float32)
    changed = WiderShapes(measure_changes(annotated, spread=1.0)).change(tau, rng.standard_normal(MODES + 7))
    deformation = find_deformation(decoder, tau, changed)
    before, wanted = (decoder(tf.constant(one[None]))[0].numpy() for one in (tau, changed))
    overlap = lambda a, b: 2 * np.minimum(a, b).sum() / (a.sum() + b.sum())  # noqa: E731
    assert overlap(deformation.warp(before), wanted) > 0.92 > overlap(before, wanted)
