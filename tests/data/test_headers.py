"""NIfTI headers that ITK and other software read differently are refused; the others mean what ITK makes of them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fedsim_tf.data.headers import parse_header, qform_matrix
from fedsim_tf.data.reading import read_volume
from tests.data.files_for_tests import ct, raw_nifti, refused

SIZES, PLACE = np.array([0.5, 0.5, 2.0]), np.array([10.0, -20.0, 300.0])
TO_LPS = np.diag([-1.0, -1.0, 1.0])


def matrix(axes=TO_LPS, place=PLACE) -> np.ndarray:
    """An affine (3, 4) in the RAS frame; by default of voxels that run left, back and headwards."""
    return np.column_stack([axes * SIZES, place])


def saved(folder, srow=None, **fields):
    path = folder / "scan.nii"
    path.write_bytes(raw_nifti(ct(), matrix() if srow is None else srow, **fields))
    return path


def read_as_ras(path) -> np.ndarray:
    where = read_volume(path).geometry
    axes = np.reshape(where.direction, (3, 3)) * where.spacing_mm
    return TO_LPS @ np.column_stack([axes, where.origin_mm])


TURNS = [*np.random.default_rng(0).uniform(-np.pi, np.pi, (6, 3)), (0.0, 0.0, np.pi - 2e-4), (0.0, 0.0, np.pi)]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("mirrored", [1, -1])
def test_a_qform_and_an_sform_of_one_place_are_read_as_what_they_say(tmp_path, turn, mirrored):
    """Near half a turn a quaternion in single precision is off by some hundredths of a degree."""
    axes = Rotation.from_rotvec(turn).as_matrix() * [1, 1, mirrored]
    path = saved(tmp_path, matrix(axes), qform=matrix(axes))
    np.testing.assert_allclose(read_as_ras(path), matrix(axes), atol=1e-3)
    np.testing.assert_allclose(qform_matrix(parse_header(path.read_bytes())), matrix(axes), atol=1e-3)


MIRRORED, UPSIDE_DOWN = np.diag([1.0, -1.0, 1.0]), np.diag([-1.0, 1.0, -1.0])


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (1, 4)])
@pytest.mark.parametrize(("axes", "name"), [(MIRRORED, "RPS"), (UPSIDE_DOWN, "LAI")])
def test_a_qform_and_an_sform_that_flip_the_patient_are_refused(tmp_path, codes, axes, name):
    path = saved(tmp_path, matrix(axes), qform=matrix(), codes=codes)
    said = f"axes LPS in qform (code {codes[0]}) and {name} in sform (code {codes[1]})"
    refused(lambda: read_volume(path), path, said, "mm apart", "the same place in both")
    path = saved(tmp_path, matrix(), qform=matrix(axes), codes=codes)
    refused(lambda: read_volume(path), f"axes {name} in qform", "LPS in sform")


def test_a_qform_and_an_sform_that_move_the_patient_are_refused(tmp_path):
    path = saved(tmp_path, qform=matrix(place=PLACE + np.array([0, 30, 0])))
    refused(lambda: read_volume(path), "corners up to 30 mm apart")
    assert read_volume(saved(tmp_path, qform=matrix(place=PLACE + np.array([0, 0.02, 0])))).spacing_mm == (
        0.5,
        0.5,
        2.0,
    )


@pytest.mark.parametrize("code", [(1, 0), (0, 1)])
def test_a_form_without_a_code_does_not_count(tmp_path, code):
    path = saved(tmp_path, matrix(MIRRORED), qform=matrix(), codes=code)
    expected = matrix() if code == (1, 0) else matrix(MIRRORED)
    np.testing.assert_allclose(read_as_ras(path), expected, atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (0, 0)])
@pytest.mark.parametrize("sizes", [(-0.5, 0.5, 2.0), (-0.5, -0.5, -2.0), (0.5, 0.5, 0.0)])
def test_sizes_that_are_not_positive_are_refused(tmp_path, codes, sizes):
    """ITK mirrors the axis of a negative one and takes 0 for 1 mm."""
    path = saved(tmp_path, qform=matrix(), codes=codes, sizes=sizes)
    refused(lambda: read_volume(path), "voxels of " + " x ".join(f"{mm:g}" for mm in sizes), "positive (pixdim)")


@pytest.mark.parametrize(("units", "mm"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001), (2 + 8, 1.0)])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
def test_lengths_follow_the_unit_of_the_header(tmp_path, units, mm, codes):
    """ITK's reading is the oracle of the header's mm, and the unit that of ITK's reading."""
    path = saved(tmp_path, qform=matrix(), codes=codes, units=units)
    np.testing.assert_allclose(read_as_ras(path), matrix() * mm, rtol=1e-5, atol=1e-9 * mm)
    header = parse_header(path.read_bytes())
    np.testing.assert_allclose(qform_matrix(header), matrix() * mm, rtol=1e-5, atol=1e-3 * mm)
    np.testing.assert_allclose(header.sform, matrix() * mm, rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 348.0, 350.0])
def test_voxels_within_the_header_are_refused(tmp_path, offset):
    """ITK would read bytes of the header as the first voxels."""
    path = saved(tmp_path, offset=offset)
    refused(lambda: read_volume(path), path, f"begin at byte {offset:.0f}, within its header", "352 or more")


@pytest.mark.parametrize("scaling", [(np.nan, 0.0), (np.inf, 0.0), (1.0, np.nan), (0.0, 5.0), (0.0, np.nan)])
def test_scalings_that_nobody_reads_alike_are_refused(tmp_path, scaling):
    refused(lambda: read_volume(saved(tmp_path, scaling=scaling)), "a scaling with slope", "finite numbers")


@pytest.mark.parametrize("scaling", [(1.0, 0.0), (0.0, 0.0), (2.0, -1024.0), (1.0, -1024.0), (-1.0, 3.0)])
def test_other_scalings_follow_the_standard(tmp_path, scaling):
    """y = slope x + intercept where the slope is not 0, else y = x (nifti1.h)."""
    expected = scaling[0] * ct() + scaling[1] if scaling[0] else ct()
    np.testing.assert_array_equal(read_volume(saved(tmp_path, scaling=scaling)).array, expected)


def test_an_sform_without_an_axis_is_refused(tmp_path):
    srow = matrix()
    srow[:, 1] = 0.0
    path = saved(tmp_path, srow, sizes=SIZES, qform=matrix())
    refused(lambda: read_volume(path), path, "an sform without the direction of an axis", "sform_code 0")
