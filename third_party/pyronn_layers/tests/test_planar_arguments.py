import numpy as np
import pytest
import tensorflow as tf
from planar_geometries import arguments, scan

import pyronn_layers

MADE = {beam: scan(beam) for beam in ("parallel", "fan")}
WRONG = [
    ({"volume": tf.zeros((14, 17))}, r"volume: found shape \(14, 17\); expected three dimensions, none of them 0"),
    ({"volume": tf.zeros((1, 14, 0))}, r"volume: found shape \(1, 14, 0\); expected"),
    ({"projection_shape": [8, 35]}, "projection_shape: found 8 views; expected 7, as RAYS"),
    ({"projection_shape": [7, 0]}, "projection_shape: found 0 columns; expected at least 1"),
    ({"projection_shape": [7]}, r"projection_shape: found shape \(1,\); expected two numbers"),
    ({"projection_shape": "all"}, "projection_shape: found all; expected two numbers"),
    ({"projection_shape": [0, 35], "RAYS": np.zeros((0, 2))}, "RAYS: found no views; expected at least one"),
    ({"volume_spacing": [0.0, 1.0]}, "volume_spacing: found 0 along y; expected positive lengths"),
    ({"volume_spacing": [1.0, 1.0, 1.0]}, r"volume_spacing: found shape \(3,\); expected two numbers"),
    ({"volume_spacing": "fine"}, "volume_spacing: found 'fine'; expected numbers"),
    ({"volume_origin": [np.nan, 1.0]}, "volume_origin: found NaN or infinity; expected finite values"),
    ({"volume_origin": [[-6.5, -8.0], [-6.5, -7.9]]}, "volume_origin: found 2 entries; expected 1, as in the batch"),
    ({"detector_origin": [np.inf]}, "detector_origin: found NaN or infinity; expected a finite value"),
    ({"detector_origin": [1e4]}, "detector_origin: found the volume outside the detector in every view"),
    ({"detector_origin": [1.0, 2.0]}, r"detector_origin: found shape \(2,\); expected one number in a list"),
    ({"detector_spacing": [-1.0]}, "detector_spacing: found -1; expected a positive length"),
    ({"RAYS": np.zeros((7, 2))}, r"RAYS: view 0: found \(0, 0\); expected a direction"),
    ({"RAYS": np.full((7, 2), np.nan)}, r"RAYS: view 0: found \(nan, nan\); expected a direction"),
    ({"RAYS": np.ones((7, 3))}, r"RAYS: found shape \(7, 3\); expected shape \(views, 2\)"),
]
WRONG_FANS = [
    ({"source_2_isocenter_distance": 0.0}, "source_2_isocenter_distance: found 0; expected a positive length"),
    ({"source_2_isocenter_distance": 6.0}, "source_2_isocenter_distance: found 6, with a volume that reaches to"),
    ({"source_2_detector_distance": np.nan}, "source_2_detector_distance: found nan; expected a positive length"),
    ({"source_2_detector_distance": [[1.0]]}, r"source_2_detector_distance: found shape \(1, 1\); expected a number"),
]


@pytest.mark.parametrize(
    ("beam", "change", "message"),
    [("parallel", *each) for each in WRONG] + [("fan", *each) for each in WRONG + WRONG_FANS],
)
def test_bad_input_is_refused_by_name_in_one_line(beam, change, message):
    rays = "ray_vectors" if beam == "parallel" else "central_ray_vectors"
    change = {name.replace("RAYS", rays): value for name, value in change.items()}
    call = {"volume": tf.zeros((1, 14, 17)), "projection_shape": [7, 35], **arguments(MADE[beam]), **change}
    with pytest.raises(ValueError, match=message.replace("RAYS", rays)) as error:
        getattr(pyronn_layers, f"{beam}_projection2d")(**call)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("operator", ["backprojection2d", "projection2d_adjoint"])
@pytest.mark.parametrize("beam", MADE)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sinogram": tf.zeros((7, 35))}, "sinogram: found shape"),
        ({"sinogram": tf.zeros((1, 6, 35))}, "sinogram: found 6 views; expected 7, as"),
        ({"volume_shape": [-1, 17]}, "volume_shape: found -1 pixels along y; expected at least 1"),
        ({"volume_shape": [1 << 20, 1 << 20]}, r"volume_shape: found about 2\^31 pixels or more"),
    ],
)
def test_bad_sinogram_is_refused_by_name(beam, operator, change, message):
    call = {"sinogram": tf.zeros((1, 7, 35)), "volume_shape": [14, 17], **arguments(MADE[beam]), **change}
    with pytest.raises(ValueError, match=message):
        getattr(pyronn_layers, f"{beam}_{operator}")(**call)


@pytest.mark.parametrize(("beam", "fitting"), [("parallel", 17), ("fan", 17)])
def test_truncation_of_the_ellipse_in_the_image_warns_and_a_fitting_detector_does_not(beam, fitting, recwarn):
    """The corners of a square image lie beyond a detector as wide as the image, with nothing to be warned of."""
    project = getattr(pyronn_layers, f"{beam}_projection2d")
    fan = {"pixel": 1.0 / np.sqrt(1 - (8.5 / 600) ** 2), "distances": (600.0, 600.0)}  # the outer rays touch the disc
    made = scan(beam, (17, 17), columns=fitting, **(fan if beam == "fan" else {}))
    project(tf.zeros((1, 17, 17)), made.sinogram_shape, **arguments(made))
    assert not [w for w in recwarn if "detector" in str(w.message)]
    narrow = scan(beam, (17, 17), columns=fitting - 1, **(fan if beam == "fan" else {}))
    with pytest.warns(UserWarning, match="does not see the whole ellipse in the volume in 7 of 7 views"):
        project(tf.zeros((1, 17, 17)), narrow.sinogram_shape, **arguments(narrow))


def test_geometry_of_pyronn_1_1_is_taken_as_its_layers_pass_it():
    """They repeat everything for the batch, and have scalars for a fan's distances."""
    made, batch = MADE["fan"], 3
    each = {name: np.broadcast_to(value, [batch, *np.shape(value)]) for name, value in arguments(made).items()}
    found = pyronn_layers.fan_projection2d(tf.ones((batch, 14, 17)), projection_shape=made.sinogram_shape, **each)
    one = pyronn_layers.fan_projection2d(tf.ones((1, 14, 17)), made.sinogram_shape, **arguments(made))
    np.testing.assert_array_equal(found, np.repeat(one, batch, 0))
