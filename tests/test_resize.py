import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.resize import linear_matrix, resize_slices, resize_volume


@pytest.mark.parametrize(("n_in", "n_out"), [(16, 32), (16, 128), (32, 16), (20, 7), (8, 8)])
def test_agrees_with_tensorflows_resize_in_the_plane(rng, n_in, n_out):
    image = rng.standard_normal((n_in, n_in)).astype(np.float32)
    matrix = linear_matrix(n_in, n_out)
    expected = tf.image.resize(image[..., None], (n_out, n_out), "bilinear", antialias=True)[..., 0]
    np.testing.assert_allclose(matrix @ image @ matrix.T, expected, atol=2e-5)


def test_a_ramp_stays_a_ramp_in_the_middle():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[:, None, None], (16, 16, 16))
    fine = resize_volume(tf.constant(ramp[None]), 64)[0].numpy()
    expected = (np.arange(64) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(fine[4:-4, 5, 5], expected[4:-4], atol=1e-5)


def test_slices_are_those_of_the_whole_volume(rng):
    coarse = tf.constant(rng.standard_normal((3, 16, 16, 16)), tf.float32)
    index = np.array([0, 17, 31], np.int32)
    whole = resize_volume(coarse, 32).numpy()
    np.testing.assert_allclose(resize_slices(coarse, index, 32), whole[[0, 1, 2], index], atol=1e-5)


def test_coarsening_keeps_the_mean(rng):
    volume = rng.standard_normal((2, 64, 64, 64)).astype(np.float32)
    coarse = resize_volume(tf.constant(volume), 16).numpy()
    assert coarse.std() < 0.2 * volume.std()  # noise averages out: nothing aliases
    np.testing.assert_allclose(coarse[:, 2:-2, 2:-2, 2:-2].mean(), volume[:, 8:-8, 8:-8, 8:-8].mean(), atol=3e-3)
