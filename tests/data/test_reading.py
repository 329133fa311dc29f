import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.text_headers import list_data_files
from fedsim_tf.data.writing import write_volume
from fedsim_tf.volume import Geometry, Volume
from tests.data.files_for_tests import ct, refused

ENDINGS = ("nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd", "seg.nrrd")
TURN = np.array([[np.cos(0.3), -np.sin(0.3), 0.0], [np.sin(0.3), np.cos(0.3), 0.0], [0.0, 0.0, -1.0]])
PLACE = Geometry((0.4, 0.5, 1.25), (1.0, -2.0, 3.0), tuple(TURN.ravel()))


def image_of(array, place=PLACE):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(place.spacing_mm)
    image.SetOrigin(place.origin_mm)
    image.SetDirection(place.direction)
    return image


def write_itk(path, array=None, *, packed=False):
    sitk.WriteImage(image_of(ct() if array is None else array), str(path), useCompression=packed)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_read_in_its_place(tmp_path, ending, packed):
    volume = read_volume(write_itk(tmp_path / f"p1.{ending}", packed=packed))
    np.testing.assert_array_equal(volume.array, ct())
    np.testing.assert_allclose(volume.geometry.spacing_mm, PLACE.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.origin_mm, PLACE.origin_mm, rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.direction, PLACE.direction, atol=1e-6)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_every_format_is_written_for_simpleitk(tmp_path, ending):
    write_volume(Volume(ct() > 0, PLACE), tmp_path / f"mask.{ending}")
    image = sitk.ReadImage(str(tmp_path / f"mask.{ending}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ct() > 0)
    np.testing.assert_allclose(image.GetOrigin(), PLACE.origin_mm, rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), PLACE.direction, atol=1e-6)


def test_formats_that_are_not_written_say_which_are(tmp_path):
    for ending in ("mhd", "nhdr", "png"):
        refused(lambda ending=ending: write_volume(Volume(ct(), PLACE), tmp_path / f"a.{ending}"), ".nrrd", ".mha")


def test_a_raw_nrrd_of_right_anterior_superior_is_turned(tmp_path):
    """The header is written by hand; x and y change their signs from RAS to LPS."""
    header = "NRRD0004\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 8 7 6\nencoding: raw\n"
    header += "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (10,20,30)\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + ct().astype("<i2").tobytes())
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.array, ct())
    assert volume.geometry.spacing_mm == (2.0, 3.0, 4.0)
    assert volume.geometry.origin_mm == (-10.0, -20.0, 30.0)
    np.testing.assert_array_equal(np.reshape(volume.geometry.direction, (3, 3)), np.diag([-1.0, -1.0, 1.0]))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
def test_files_that_were_cut_short_are_refused(tmp_path, ending, packed):
    path = write_itk(tmp_path / f"p1.{ending}", packed=packed)
    data = list_data_files(path)[-1]
    data.write_bytes(data.read_bytes()[:-7])
    refused(lambda: read_volume(path), path)
    data.write_bytes(data.read_bytes()[:-200])
    message = refused(lambda: read_volume(path), path)
    assert "bytes of voxels where its header announces 672" in message


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_a_flipped_byte_in_a_packed_stream_is_refused(tmp_path, ending):
    path = write_itk(tmp_path / f"p1.{ending}", packed=True)
    content = bytearray(path.read_bytes())
    content[-60] ^= 0xFF
    path.write_bytes(content)
    refused(lambda: read_volume(path), path, "a damaged packed stream")


@pytest.mark.parametrize("ending", ["nhdr", "mhd"])
def test_a_header_without_its_voxels_is_refused(tmp_path, ending):
    path = write_itk(tmp_path / f"p1.{ending}")
    data = list_data_files(path)[-1]
    assert data.suffix == ".raw"
    data.unlink()
    refused(lambda: read_volume(path), path, "no p1.raw beside it")


@pytest.mark.parametrize(("ending", "line"), [("nrrd", b"space directions"), ("mha", b"ElementSpacing")])
def test_voxels_without_a_size_are_refused(tmp_path, ending, line):
    """ITK would take them for 1 mm."""
    path = write_itk(tmp_path / f"p1.{ending}")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(one for one in lines if not one.startswith(line)))
    refused(lambda: read_volume(path), path, "no size of its voxels")


def test_a_size_that_is_no_number_is_refused(tmp_path):
    path = write_itk(tmp_path / "p1.nrrd")
    lines = [
        b"space directions: (nan,0,0) (0,1,0) (0,0,1)" if one.startswith(b"space dir") else one
        for one in path.read_bytes().split(b"\n")
    ]
    path.write_bytes(b"\n".join(lines))
    refused(lambda: read_volume(path), path, "nan")


def test_sheared_axes_are_refused(tmp_path):
    path = write_itk(tmp_path / "p1.mha")
    lines = path.read_bytes().split(b"\n")
    lines = [b"TransformMatrix = 1 0 0 0 1 0 0 0.3 1" if one.startswith(b"TransformMatrix") else one for one in lines]
    path.write_bytes(b"\n".join(lines))
    refused(lambda: read_volume(path), path, "sheared axes")


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_vectors_four_dimensions_and_numbers_that_are_none(tmp_path, ending):
    vectors, series = np.zeros((4, 5, 6, 3), np.float32), np.zeros((3, 4, 5, 6), np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), f"{tmp_path}/v.{ending}")
    refused(lambda: read_volume(tmp_path / f"v.{ending}"), "3 values a voxel")
    sitk.WriteImage(sitk.GetImageFromArray(series, isVector=False), f"{tmp_path}/4.{ending}")
    refused(lambda: read_volume(tmp_path / f"4.{ending}"), "4 dimensions (6 x 5 x 4 x 3)")
    array = np.ones((5, 6, 7), np.float32)
    array[0, 0, :2] = [np.nan, np.inf]
    path = write_itk(tmp_path / f"n.{ending}", array)
    refused(lambda: read_volume(path), path, "2 voxels that are NaN or infinite")


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_integers_are_never_wrapped_whatever_the_format(tmp_path, ending):
    path = write_itk(tmp_path / f"p1.{ending}", np.full((2, 2, 2), 505, np.int16))
    refused(lambda: read_volume(path, dtype=np.uint8), path, "int16 values outside of uint8")
    assert read_volume(path, dtype=np.float32).array.dtype == np.float32


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
def test_what_is_no_header_is_refused(tmp_path, ending):
    path = tmp_path / f"p1.{ending}"
    path.write_bytes(b"\x00\x01 no header\nat all")
    refused(lambda: read_volume(path), path, "header", "NRRD or MetaImage")


def test_other_names_are_refused_with_those_that_are_read(tmp_path):
    refused(lambda: read_volume(tmp_path / "none"), "no such file or folder")
    (tmp_path / "a.png").write_bytes(b"x")
    refused(lambda: read_volume(tmp_path / "a.png"), "'.png'", ".nrrd", "DICOM")
