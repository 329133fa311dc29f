import gzip
import resource
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.integrity import check_whole
from fedsim_tf.data.nifti import read_nifti as read_volume
from fedsim_tf.data.nifti import write_nifti as write_volume
from fedsim_tf.data.reading import read_volume as read_any
from fedsim_tf.volume import Geometry, Volume
from tests.data.files_for_tests import ct, gzip_with_flipped_voxel, raw_nifti, refused, truncate, write

TURN = np.array([[np.cos(0.3), -np.sin(0.3), 0.0], [np.sin(0.3), np.cos(0.3), 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_geometry_is_lps_with_the_header_in_ras(tmp_path, suffix):
    spacing, origin_ras = np.array([0.4, 0.5, 1.25]), np.array([10.0, -20.0, 30.0])
    content = raw_nifti(ct(), np.column_stack([TURN * spacing, origin_ras]))
    path = tmp_path / f"raw{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ct())
    np.testing.assert_allclose(volume.geometry.spacing_mm, spacing, rtol=1e-6)
    to_lps = np.diag([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(volume.geometry.origin_mm, to_lps @ origin_ras, rtol=1e-6)
    np.testing.assert_allclose(np.reshape(volume.geometry.direction, (3, 3)), to_lps @ TURN, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_what_is_written_is_what_simpleitk_reads(tmp_path, suffix, dtype):
    geometry = Geometry((0.4, 0.5, 1.25), (1.0, -2.0, 3.0), tuple((TURN @ np.diag([1.0, -1.0, -1.0])).ravel()))
    array = (ct() % 100).astype(dtype)
    path = tmp_path / "new folder" / f"out{suffix}"
    write_volume(Volume(array, geometry), path)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    np.testing.assert_allclose(image.GetSpacing(), geometry.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), geometry.origin_mm, rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), geometry.direction, atol=1e-6)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".nii.gz")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_masks_and_half_precision_are_stored_as_types_nifti_has(tmp_path):
    geometry = Geometry((1.0, 1.0, 1.0))
    write_volume(Volume(ct() > 0, geometry), tmp_path / "mask.nii.gz")
    write_volume(Volume(ct().astype(np.float16), geometry), tmp_path / "half.nii.gz")
    assert read_volume(tmp_path / "mask.nii.gz").array.dtype == np.uint8
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.nii.gz").array, ct() > 0)
    assert read_volume(tmp_path / "half.nii.gz").array.dtype == np.float32


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = write(tmp_path / "out.nii.gz", ct())
    before = path.read_bytes()

    def fail(image, name, **_):
        with open(name, "wb") as stream:
            stream.write(b"half")
        raise RuntimeError("ITK ERROR: one\n\ndisk full")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    refused(lambda: write_volume(Volume(ct(), Geometry((1.0, 1.0, 1.0))), path), path, "disk full")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_write_that_a_full_disk_cuts_short_leaves_what_was_there(tmp_path, suffix, monkeypatch):
    """ITK only warns of it."""
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # Python would keep what it compiles meanwhile, cut off
    path = write(tmp_path / f"out{suffix}", ct())
    before = path.read_bytes()
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        refused(lambda: write_volume(Volume(noise, Geometry((1.0, 1.0, 1.0))), path), path, "room on the disk")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = truncate(write(tmp_path / f"cut{suffix}", ct()))
    refused(lambda: read_volume(path), path, "truncated", "a whole three-dimensional NIfTI")


def test_a_stream_whole_but_for_its_voxels_is_refused(tmp_path):
    path = write(tmp_path / "short.nii", ct())
    path.with_name("short.nii.gz").write_bytes(gzip.compress(path.read_bytes()[:-2]))
    refused(
        lambda: read_volume(tmp_path / "short.nii.gz"),
        "670 bytes of voxels where its header announces 672",
    )


def test_damage_that_only_the_checksum_knows_is_refused(tmp_path):
    path = gzip_with_flipped_voxel(write(tmp_path / "flipped.nii.gz", ct()))
    refused(lambda: read_volume(path), path, "damaged gzip stream")


@pytest.mark.parametrize("name", ["page.nii", "page.nii.gz"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 40])
def test_files_that_are_not_images_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(lambda: read_volume(tmp_path / name), tmp_path / name, "expected a whole three-dimensional NIfTI")


def test_gzipped_text_is_refused(tmp_path):
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not an image " * 100))
    refused(lambda: read_volume(tmp_path / "text.nii.gz"), "no NIfTI header")


def test_missing_files_and_other_suffixes_are_refused(tmp_path):
    refused(lambda: read_volume(tmp_path / "none.nii.gz"), tmp_path / "none.nii.gz", "no such file")
    refused(lambda: read_volume(tmp_path / "scan.mha"), "'.mha'", ".nii or .nii.gz")
    refused(lambda: write_volume(Volume(ct(), Geometry((1.0, 1.0, 1.0))), tmp_path / "scan.nrrd"), "'.nrrd'")


def test_four_dimensions_and_vectors_are_refused(tmp_path):
    series = sitk.GetImageFromArray(np.zeros((3, 4, 5, 6), np.float32), isVector=False)
    sitk.WriteImage(series, str(tmp_path / "4d.nii.gz"))
    refused(lambda: read_volume(tmp_path / "4d.nii.gz"), "4 dimensions (6 x 5 x 4 x 3)", "three dimensions")
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.float32), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / "rgb.nii.gz"))
    refused(lambda: read_volume(tmp_path / "rgb.nii.gz"), tmp_path / "rgb.nii.gz", "3 values a voxel")


def test_integers_are_never_wrapped(tmp_path):
    path = write(tmp_path / "labels.nii.gz", np.full((2, 2, 2), 505, np.int16))
    refused(lambda: read_any(path, dtype=np.uint8), path, "int16 values outside of uint8")
    assert read_any(path, dtype=np.int32).array.dtype == np.int32
    half = write(tmp_path / "half.nii.gz", np.full((2, 2, 2), 0.5, np.float32))
    refused(lambda: read_any(half, dtype=np.int16), half, "float32 values outside of int16")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_that_are_not_numbers_are_refused(tmp_path, dtype, suffix):
    array = np.ones((5, 6, 7), dtype)
    array[4, 5, 5:] = [np.nan, -np.inf]
    path = write(tmp_path / f"nan{suffix}", array)
    refused(lambda: read_volume(path), path, "2 voxels that are NaN or infinite")


def test_both_byte_orders_and_versions_of_the_header_are_known(tmp_path):
    array = np.zeros((5, 6, 7), "<i2")
    little = bytearray(raw_nifti(array, np.eye(3, 4)))
    big = bytearray(little)
    fields = [(0, 1, 4), (40, 8, 2), (70, 2, 2), (76, 8, 4), (108, 3, 4), (252, 2, 2), (256, 6, 4), (280, 12, 4)]
    for offset, n, size in fields:
        for start in range(offset, offset + n * size, size):
            big[start : start + size] = big[start : start + size][::-1]
    second = bytearray(544)
    struct.pack_into("<i8s2h8q", second, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16, 3, 7, 6, 5, 1, 1, 1, 1)
    struct.pack_into("<q", second, 168, 544)
    for name, content in {"big": big, "second": bytes(second) + array.tobytes()}.items():
        path = tmp_path / f"{name}.nii"
        path.write_bytes(content)
        check_whole(path)
        path.write_bytes(content[:-1])
        refused(lambda path=path: check_whole(path), "419 bytes of voxels where its header announces 420")


def sheared(degrees: float) -> np.ndarray:
    """An sform whose third axis leans towards the second, as that of a tilted gantry."""
    axes = np.diag([0.5, 0.5, 2.0])
    axes[1, 2] = 2.0 * np.tan(np.radians(degrees))
    return np.column_stack([axes, [1.0, 2.0, 3.0]])


@pytest.mark.parametrize("degrees", [0.01, 0.1])
def test_axes_that_were_rounded_are_read(tmp_path, degrees):
    """At the corners of a few slices they are less than a tenth of a voxel from upright ones."""
    path = tmp_path / "rounded.nii"
    path.write_bytes(raw_nifti(ct(), sheared(degrees)))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ct())
    np.testing.assert_allclose(volume.geometry.spacing_mm, (0.5, 0.5, 2.0), rtol=1e-4)
    np.testing.assert_allclose(np.reshape(volume.geometry.direction, (3, 3)), np.diag([-1.0, -1.0, 1.0]), atol=2e-3)


@pytest.mark.parametrize("with_qform", [False, True])
def test_sheared_axes_are_refused_even_where_a_qform_hides_them(tmp_path, with_qform):
    path = tmp_path / "tilted.nii"
    content = bytearray(raw_nifti(ct(), sheared(20.0)))
    if with_qform:  # an upright one: quaternion (0, 0, 0)
        struct.pack_into("<h", content, 252, 1)
    path.write_bytes(content)
    refused(lambda: read_volume(path), path, "sheared axes", "resampled", "gantry")


def test_a_header_without_orientation_is_warned_of(tmp_path, caplog):
    caplog.set_level("WARNING")
    upright = np.column_stack([np.diag([0.5, 0.5, 2.0]), [1.0, 2.0, 3.0]])
    content = bytearray(raw_nifti(ct(), upright))
    (tmp_path / "known.nii").write_bytes(content)
    struct.pack_into("<2h", content, 252, 0, 0)
    (tmp_path / "unknown.nii").write_bytes(content)
    read_volume(tmp_path / "known.nii")
    assert caplog.text == ""
    volume = read_volume(tmp_path / "unknown.nii")
    assert "unknown.nii: no orientation in its header" in caplog.text
    np.testing.assert_array_equal(np.reshape(volume.geometry.direction, (3, 3)), np.eye(3))


UPRIGHT = np.column_stack([np.diag([0.5, 0.5, 2.0]), [1.0, 2.0, 3.0]])


@pytest.mark.parametrize("size", [1.0, 1.9])
def test_voxels_of_two_sizes_are_refused(tmp_path, size):
    """ITK believes pixdim, viewers sform: a mask would be drawn squeezed, and distances would be wrong."""
    path = tmp_path / "two_sizes.nii"
    content = bytearray(raw_nifti(ct(), UPRIGHT))
    struct.pack_into("<f", content, 88, size)
    path.write_bytes(content)
    refused(
        lambda: read_volume(path), path, f"voxels of 0.5 x 0.5 x {size:g} mm in pixdim", "0.5 x 0.5 x 2 mm in sform"
    )


def test_sizes_that_were_rounded_are_read(tmp_path):
    path = tmp_path / "rounded.nii"
    content = bytearray(raw_nifti(ct(), UPRIGHT))
    struct.pack_into("<f", content, 88, 2.01)
    path.write_bytes(content)
    assert read_volume(path).geometry.spacing_mm[2] == pytest.approx(2.01)


@pytest.mark.parametrize("size", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (0, 0)])
def test_voxels_without_a_size_are_refused(tmp_path, size, codes):
    """ITK would take them for 1 mm."""
    path = tmp_path / "no_size.nii"
    content = bytearray(raw_nifti(ct(), UPRIGHT))
    struct.pack_into("<2h", content, 252, *codes)
    struct.pack_into("<f", content, 84, size)
    path.write_bytes(content)
    refused(lambda: read_volume(path), path, f"voxels of 0.5 x {size:g} x 2 mm in its header", "pixdim")


@pytest.mark.parametrize(("name", "codes", "offset"), [("qform", (1, 0), 260), ("sform", (0, 1), 284)])
def test_axes_that_are_no_numbers_are_refused(tmp_path, name, codes, offset):
    """ITK would take a qform's for upright ones at the origin."""
    path = tmp_path / "nan.nii"
    content = bytearray(raw_nifti(ct(), UPRIGHT))
    struct.pack_into("<2h", content, 252, *codes)
    struct.pack_into("<f", content, offset, np.nan)
    path.write_bytes(content)
    refused(lambda: read_volume(path), path, f"{name} with values that are no numbers")
