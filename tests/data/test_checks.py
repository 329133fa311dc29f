import numpy as np
import pytest

from fedsim_tf.data.checks import check_heart, check_image, check_same_grid
from fedsim_tf.volume import Geometry, Volume
from tests.data.files_for_tests import refused

WHERE = Geometry((50.0, 60.0, 200.0), (10.0, -20.0, 30.0))


def volume(array=None, where=WHERE) -> Volume:
    return Volume(np.linspace(-1000, 900, 60).reshape(3, 4, 5) if array is None else array, where)


def chest() -> np.ndarray:
    """A third lung, the rest soft tissue and vessels, in the noise of a scanner."""
    index, rng = np.arange(6000).reshape(30, 10, 20), np.random.default_rng(0)
    return np.where(index % 3 == 0, -800.0, np.where(index % 3 == 1, 40.0, 350.0)) + rng.normal(0, 60, index.shape)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_must_be_finite(value):
    array = volume().array.copy()
    array[1, 2, 3:] = value
    refused(lambda: check_image(volume(array), "a.nii"), "a.nii", "2 voxels that are NaN or infinite")
    check_image(volume(), "a.nii")


def test_images_must_have_contrast():
    refused(lambda: check_image(volume(np.full((2, 2, 2), 7.5)), "a.nii"), "a.nii", "the same value 7.5 everywhere")


def test_an_image_without_lung_is_warned_of(caplog):
    """A chest, also with padding; the same as stored, 1024 higher."""
    caplog.set_level("WARNING")
    where = Geometry((10.0, 10.0, 10.0))
    padded = chest()
    padded[:, 0] = -3024.0
    for array in (chest(), padded):
        check_image(volume(array, where), "a.nii")
    assert caplog.text == ""
    check_image(volume(chest() + 1024.0, where), "b.nii")
    check_image(volume(padded + 1024.0, where), "c.nii")
    for name in ("b.nii", "c.nii"):
        assert f"{name}: 0.0 % of the voxels are between -990 and -200, where lung lies in HU" in caplog.text


def windowed(low: float, high: float) -> np.ndarray:
    return np.clip(chest(), low, high)


def picture(low: float, high: float) -> np.ndarray:
    return np.round((windowed(low, high) - low) / (high - low) * 255)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (picture(-1000, 1000), "as of an 8-bit picture"),
        (picture(-160, 240).astype(np.uint8), "as of an 8-bit picture"),
        (windowed(-160, 240), "values from -160 to 240, as of a windowed or normalised image"),
        (windowed(-400, 350), "of the voxels at the ends, as of a windowed image"),
        (chest() / 1000, "as of a windowed or normalised image"),
        ((chest() - chest().mean()) / chest().std(), "as of a windowed or normalised image"),
        (np.digitize(chest(), (-500, 200)), "3 different whole numbers from 0 to 2, as of a label map"),
        (np.digitize(chest(), (-500, 200)) * 410.0, "3 different whole numbers from 0 to 820, as of a label map"),
    ],
)
def test_what_is_no_ct_in_hu_is_refused(array, what):
    refused(lambda: check_image(volume(array, Geometry((10.0,) * 3)), "a.nii"), "a.nii", what, "air has -1000")


@pytest.mark.parametrize(
    "array",
    [
        chest(),
        np.round(chest()).astype(np.int16),
        windowed(-1000, 1000),
        np.maximum(chest(), -150.0)
        + np.random.default_rng(1).normal(0, 20, chest().shape) * (chest() < -150)
        + 300 * (np.arange(20) == 3),  # a heart that fills the image, with bone
        np.clip(chest() + 1024, 0, 4095),
    ],
)
def test_plausible_cts_pass(array):
    check_image(volume(array, Geometry((10.0,) * 3)), "a.nii")


def test_values_that_were_cut_off_are_warned_of(caplog):
    caplog.set_level("WARNING")
    check_image(volume(windowed(-1000, 330), Geometry((10.0,) * 3)), "cut.nii")
    assert "cut.nii: " in caplog.text
    assert "of the voxels have the highest value, 330: was the image windowed?" in caplog.text


@pytest.mark.parametrize(
    ("mm", "text"),
    [
        (1.0, "20 x 10 x 30 mm, as if written in centimetres; expected 60 to 1000 mm"),
        (0.01, "0.2 x 0.1 x 0.3 mm, as if written in metres"),
        (1e4, "as if written in micrometres, or in millimetres below a header that says metres"),
        (5.9, "118 x 59 x 177 mm; expected 60 to 1000 mm along each axis: a CT of the chest"),
        (33.4, "668 x 334 x 1002 mm; expected"),
    ],
)
def test_a_field_of_view_that_no_chest_has_is_refused(mm, text):
    refused(lambda: check_image(volume(chest(), Geometry((mm,) * 3)), "a.nii"), "a.nii: found a field of view of", text)


@pytest.mark.parametrize("mm", [6.0, 33.3333])
def test_the_smallest_and_the_largest_field_of_view_pass(mm):
    check_image(volume(chest(), Geometry((mm,) * 3)), "a.nii")


@pytest.mark.parametrize(
    "other",
    [
        Geometry((50.0, 60.0, 200.0), (10.0, -20.0, 36.0)),
        Geometry((52.0, 60.0, 200.0), (10.0, -20.0, 30.0)),
        Geometry((50.0, 60.0, 200.0), (10.0, -20.0, 30.0), (-1.0, 0, 0, 0, 1, 0, 0, 0, 1)),
        Geometry(
            (50.0, 60.0, 200.0), (10.0, -20.0, 30.0), (0.9987503, -0.0499792, 0, 0.0499792, 0.9987503, 0, 0, 0, 1)
        ),
    ],
)
def test_grids_that_differ_by_more_than_a_tenth_of_a_voxel_are_refused(other):
    refused(
        lambda: check_same_grid(volume(where=other), volume(), "label.nii", image_subject="image.nii"),
        "label.nii",
        "corners lie up to",
        "image.nii",
    )


def test_rounded_headers_are_the_same_grid():
    close = Geometry((50.01, 60.0, 200.0), (12.0, -20.0, 30.0))
    check_same_grid(volume(where=close), volume(), "label.nii", image_subject="image.nii")


def test_shapes_are_compared_first():
    refused(
        lambda: check_same_grid(volume(np.zeros((3, 5, 4))), volume(), "label.nii", image_subject="image.nii"),
        "found a label of 4 x 5 x 3 voxels",
        "expected 5 x 4 x 3 voxels, as in image.nii",
    )


def test_labels_must_show_a_heart():
    refused(lambda: check_heart(np.zeros((2, 2, 2), np.uint8), "label.nii"), "label.nii", "an annotated heart")
    check_heart(np.eye(3, dtype=np.uint8)[None], "label.nii")


def test_labels_need_background():
    everything = np.ones((4, 5, 6), np.uint8)
    refused(lambda: check_heart(everything, "label.nii"), "no background: every voxel is heart", "swapped")
    inverted = everything.copy()
    inverted[1:3, 1:3, 1:3] = 0
    refused(lambda: check_heart(inverted, "label.nii"), "93% of the field of view as heart", "swapped")
    check_heart(1 - inverted, "label.nii")
