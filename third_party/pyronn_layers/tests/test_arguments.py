import numpy as np
import pytest
import tensorflow as tf
from geometries import arguments, cone

import pyronn_layers


def inside_the_volume():
    return cone(distances=(600.0, 10.0)).projection_matrices


def behind_the_source():
    """The volume's near half reaches beyond a source that is beside it."""
    matrices = cone(views=1, distances=(600.0, 400.0)).projection_matrices.astype(np.float64)
    matrices[0, 2, 3] = 5.0
    matrices[0, :2, 3] = matrices[0, 2, 3] * 7.0 + 1e4
    return np.repeat(matrices, 7, axis=0)


def shifted_off_the_detector(made):
    matrices = made.projection_matrices.copy()
    matrices[:, 0] += 500.0 * matrices[:, 2]  # pixels
    return matrices


MADE = cone()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": tf.zeros((8, 9, 10))}, r"volume: found shape \(8, 9, 10\); expected four dimensions"),
        ({"volume": tf.zeros((0, 8, 9, 10))}, r"volume: found shape \(0, 8, 9, 10\); expected .* none of them 0"),
        ({"volume": tf.zeros((1, 8, 0, 10))}, "volume: found shape"),
        ({"projection_shape": [8, 14, 17]}, "projection_shape: found 8 views; expected 7, as projection_matrices"),
        ({"projection_shape": [0, 14, 17], "projection_matrices": np.zeros((0, 3, 4))}, "found no views"),
        ({"projection_shape": [7, 0, 17]}, "detector_shape: found 0 rows; expected at least 1"),
        ({"projection_shape": [7, 14]}, r"projection_shape: found shape \(2,\); expected three numbers"),
        ({"projection_shape": "all"}, "projection_shape: found"),
        ({"volume_spacing": [1.0, 0.0, 1.0]}, "volume_spacing: found 0 along y; expected positive lengths"),
        ({"volume_spacing": [1.0, 1.0]}, r"volume_spacing: found shape \(2,\); expected three numbers"),
        ({"volume_spacing": "fine"}, "volume_spacing: found 'fine'; expected numbers"),
        ({"volume_origin": [1.0, np.nan, 1.0]}, "volume_origin: found NaN or infinity; expected finite values"),
        ({"projection_matrices": np.full((7, 3, 4), np.nan)}, "projection_matrices: view 0: found NaN or infinity"),
        ({"projection_matrices": np.zeros((7, 3, 4))}, "projection_matrices: view 0: found a singular matrix"),
        ({"projection_matrices": np.ones((7, 3, 4))}, "projection_matrices: view 0: found a singular matrix"),
        ({"projection_matrices": np.ones((7, 4, 4))}, r"projection_matrices: found shape \(7, 4, 4\)"),
        ({"projection_matrices": inside_the_volume()}, "view 0: found the source inside the volume"),
        (
            {"projection_matrices": behind_the_source()},
            "view 0: found (the source inside|a volume that reaches behind)",
        ),
        (
            {"projection_matrices": shifted_off_the_detector(MADE)},
            "found the volume outside the detector in every view",
        ),
        ({"projection_multiplier": np.nan}, "projection_multiplier: found NaN or infinity"),
        ({"volume_origin": np.zeros((2, 3))}, "volume_origin: found 2 entries; expected 1, as in the batch"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    call = {"volume": tf.zeros((1, 8, 9, 10)), "projection_shape": MADE.sinogram_shape, **arguments(MADE), **change}
    with pytest.raises(ValueError, match=message):
        pyronn_layers.cone_projection3d(**call)


@pytest.mark.parametrize("operator", [pyronn_layers.cone_backprojection3d, pyronn_layers.cone_projection3d_adjoint])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sinogram": tf.zeros((7, 14, 17))}, "sinogram: found shape"),
        ({"sinogram": tf.zeros((1, 6, 14, 17))}, "sinogram: found 6 views; expected 7, as projection_matrices"),
        ({"volume_shape": [8, -1, 10]}, "volume_shape: found -1 voxels along y; expected at least 1"),
        ({"volume_shape": [4000, 4000, 4000]}, r"volume_shape: found about 2\^31 voxels or more"),
    ],
)
def test_bad_sinogram_is_refused_by_name(operator, change, message):
    call = {"sinogram": tf.zeros((1, 7, 14, 17)), "volume_shape": [8, 9, 10], **arguments(MADE), **change}
    with pytest.raises(ValueError, match=message):
        operator(**call)


def test_constant_geometry_is_refused_when_a_graph_is_traced():
    given = {**arguments(MADE), "volume_spacing": [1.0, -1.0, 1.0]}
    traced = tf.function(lambda x: pyronn_layers.cone_projection3d(x, MADE.sinogram_shape, **given))
    with pytest.raises(ValueError, match="volume_spacing: found -1 along y"):
        traced.get_concrete_function(tf.TensorSpec([None, 8, 9, 10]))


def test_truncation_warns_and_a_fitting_detector_does_not(recwarn):
    pyronn_layers.cone_projection3d(tf.zeros((1, 8, 9, 10)), MADE.sinogram_shape, **arguments(MADE))
    assert not [w for w in recwarn if "detector" in str(w.message)]
    small = cone(detector=(14, 5))
    with pytest.warns(UserWarning, match="does not see the whole volume in 7 of 7 views"):
        pyronn_layers.cone_projection3d(tf.zeros((1, 8, 9, 10)), small.sinogram_shape, **arguments(small))


def test_scale_and_sign_of_the_matrices_do_not_matter(rng):
    volume = rng.random((1, 8, 9, 10)).astype(np.float32)
    expected = pyronn_layers.cone_projection3d(volume, MADE.sinogram_shape, **arguments(MADE))
    scaled = {**arguments(MADE), "projection_matrices": -3.0 * MADE.projection_matrices}
    found = pyronn_layers.cone_projection3d(volume, MADE.sinogram_shape, **scaled)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
