import numpy as np
import pytest

from fedsim_tf.data.checks import check_heart, check_image, check_same_grid
from fedsim_tf.volume import Geometry, Volume
from tests.data.files_for_tests import refused

WHERE = Geometry((0.5, 0.6, 2.0), (10.0, -20.0, 30.0))


def volume(array=None, where=WHERE) -> Volume:
    return Volume(np.arange(60.0).reshape(3, 4, 5) if array is None else array, where)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_must_be_finite(value):
    array = np.arange(60.0).reshape(3, 4, 5)
    array[1, 2, 3:] = value
    refused(lambda: check_image(volume(array), "a.nii"), "a.nii", "2 voxels that are NaN or infinite")
    check_image(volume(), "a.nii")


def test_images_must_have_contrast():
    refused(lambda: check_image(volume(np.full((2, 2, 2), 7.5)), "a.nii"), "a.nii", "the same value 7.5 everywhere")


def test_an_image_without_lung_is_warned_of(caplog):
    """A chest: a third lung, the rest soft tissue; the same with padding, and the same as stored, 1024 higher."""
    caplog.set_level("WARNING")
    chest = np.where(np.arange(60).reshape(3, 4, 5) % 3 == 0, -800.0, 40.0)
    padded = chest.copy()
    padded[:, 0] = -3024.0
    for array in (chest, padded):
        check_image(volume(array), "a.nii")
    assert caplog.text == ""
    check_image(volume(chest + 1024.0), "b.nii")
    padded[:, 0] = -2000.0 - 1024.0
    check_image(volume(padded + 1024.0), "c.nii")
    for name in ("b.nii", "c.nii"):
        assert f"{name}: 0.0 % of the voxels are between -990 and -200, where lung lies in HU" in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        Geometry((0.5, 0.6, 2.0), (10.0, -20.0, 30.06)),
        Geometry((0.52, 0.6, 2.0), (10.0, -20.0, 30.0)),
        Geometry((0.5, 0.6, 2.0), (10.0, -20.0, 30.0), (-1.0, 0, 0, 0, 1, 0, 0, 0, 1)),
        Geometry((0.5, 0.6, 2.0), (10.0, -20.0, 30.0), (0.9987503, -0.0499792, 0, 0.0499792, 0.9987503, 0, 0, 0, 1)),
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
    close = Geometry((0.5001, 0.6, 2.0), (10.02, -20.0, 30.0))
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
