import locale

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from fedsim_tf.data.dicom_files import RTSTRUCT_CLASS
from fedsim_tf.data.reading import read_volume
from tests.data.dicom_for_tests import ORIGIN, SPACING, new_dataset, stored_values, write_series
from tests.data.files_for_tests import refused


def test_a_series_is_read_in_hu_in_its_place(tmp_path):
    stored = stored_values()
    write_series(tmp_path / "ct", stored)
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.geometry.spacing_mm, SPACING)
    np.testing.assert_allclose(volume.geometry.origin_mm, ORIGIN)
    np.testing.assert_array_equal(np.reshape(volume.geometry.direction, (3, 3)), np.eye(3))


@pytest.mark.parametrize("axes", [(1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0)])
def test_other_directions_are_those_that_simpleitk_reads(tmp_path, axes):
    """Coronal, sagittal, and a patient who lies face down."""
    write_series(tmp_path / "ct", stored_values(), axes=axes)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    image, volume = reader.Execute(), read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.geometry.origin_mm, image.GetOrigin())
    np.testing.assert_allclose(volume.geometry.spacing_mm, image.GetSpacing())
    np.testing.assert_allclose(volume.geometry.direction, image.GetDirection())


def test_each_slice_has_its_own_rescale_slope(tmp_path):
    stored, slopes = stored_values(), [1.0, 0.5, 2.0, 0.25, 1.5]
    write_series(tmp_path / "ct", stored, slope=slopes)
    expected = stored * np.reshape(slopes, (5, 1, 1)) - 1024
    np.testing.assert_allclose(read_volume(tmp_path / "ct").array, expected)


def test_masks_plans_and_scout_views_beside_the_slices_are_left_out(tmp_path):
    write_series(tmp_path / "ct", stored_values())
    scout = stored_values((1, 9, 7))
    write_series(tmp_path / "ct", scout, series="1.2.4", prefix="s", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    plan = new_dataset(RTSTRUCT_CLASS, series="1.2.5", instance="1.2.5.1", modality="RTSTRUCT")
    plan.save_as(tmp_path / "ct" / "plan.dcm", enforce_file_format=True)
    (tmp_path / "ct" / "report.txt").write_text("no image")
    assert read_volume(tmp_path / "ct").array.shape == (5, 6, 7)


def test_two_series_are_named_and_none_is_taken(tmp_path):
    write_series(tmp_path / "ct", stored_values(), SeriesDescription="arterial")
    write_series(tmp_path / "ct", stored_values(), series="1.2.9", prefix="b", SeriesDescription="venous")
    refused(lambda: read_volume(tmp_path / "ct"), "several CT series", "'arterial'", "'venous'", "1.2.3", "1.2.9")


def test_a_tilted_gantry_is_refused(tmp_path):
    write_series(tmp_path / "ct", stored_values(), lean_mm=SPACING[2] * np.tan(np.radians(12.0)))
    refused(lambda: read_volume(tmp_path / "ct"), "lean by 12.0 degrees", "gantry")


def test_missing_slices_are_counted_and_placed(tmp_path):
    write_series(tmp_path / "ct", stored_values(), heights=np.array([0, 1, 4, 5, 6]) * SPACING[2])
    refused(lambda: read_volume(tmp_path / "ct"), "2 of 7 slices missing, after 004.dcm at -5.0 mm", "25 mm")


def test_uneven_slices_are_refused(tmp_path):
    write_series(tmp_path / "ct", stored_values(), heights=[0, 2.5, 5, 8.5, 11])
    refused(lambda: read_volume(tmp_path / "ct"), "slices 2.5 to 3.5 mm apart", "evenly spaced")


def test_doubled_slices_are_told_apart(tmp_path):
    paths = write_series(tmp_path / "copied", stored_values())
    (tmp_path / "copied" / "again.dcm").write_bytes(paths[2].read_bytes())
    refused(lambda: read_volume(tmp_path / "copied"), "1 slices", "again.dcm", paths[2].name, "there twice")
    write_series(tmp_path / "phases", stored_values(), heights=[0, 0, 2.5, 2.5, 5])
    refused(lambda: read_volume(tmp_path / "phases"), "2 slices", "several phases")


def test_slices_of_another_size_are_named(tmp_path):
    write_series(tmp_path / "ct", stored_values((4, 6, 7)))
    write_series(tmp_path / "ct", stored_values((1, 6, 8)), heights=[10.0], prefix="x")
    refused(lambda: read_volume(tmp_path / "ct"), "x001.dcm with 8 x 6 pixels", "7 x 6 pixels")


def test_a_slice_that_was_cut_short_is_refused(tmp_path):
    paths = write_series(tmp_path / "ct", stored_values())
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    refused(lambda: read_volume(tmp_path / "ct"), paths[1], "whole DICOM file")


def test_what_is_no_ct_is_said(tmp_path):
    write_series(tmp_path / "mr", stored_values(), SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR")
    refused(lambda: read_volume(tmp_path / "mr"), "no CT slice", "MR in mr (5 files")
    (tmp_path / "empty").mkdir()
    refused(lambda: read_volume(tmp_path / "empty"), "no CT slice", "one whole DICOM series")


def test_a_slice_of_several_frames_is_refused(tmp_path):
    paths = write_series(tmp_path / "ct", stored_values())
    dataset = pydicom.dcmread(paths[3])
    dataset.NumberOfFrames, dataset.PixelData = 2, dataset.PixelData * 2
    dataset.save_as(paths[3])
    refused(lambda: read_volume(tmp_path / "ct"), paths[3], "pixels of shape (2, 6, 7)", "(6, 7), one slice")


@pytest.mark.parametrize("name", ["ImagePositionPatient", "PixelSpacing"])
def test_a_slice_without_a_place_is_refused(tmp_path, name):
    paths = write_series(tmp_path / "ct", stored_values())
    dataset = pydicom.dcmread(paths[0])
    delattr(dataset, name)
    dataset.save_as(paths[0])
    refused(lambda: read_volume(tmp_path / "ct"), paths[0], name)


def test_slices_packed_without_loss_are_read_by_pydicom(tmp_path):
    stored = stored_values()
    syntaxes = [pydicom.uid.RLELossless, pydicom.uid.JPEGLSLossless] * 3
    for path, syntax in zip(write_series(tmp_path / "ct", stored), syntaxes, strict=False):
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, stored.astype(int) - 1024)


def test_jpeg_that_pydicom_cannot_unpack_is_read_by_gdcm(tmp_path):
    stored, before = stored_values((3, 32, 24)), locale.setlocale(locale.LC_ALL)
    for path in write_series(tmp_path / "ct", stored):
        read = sitk.ReadImage(str(path))
        image = sitk.Cast(read, sitk.sitkInt16)
        for key in read.GetMetaDataKeys():
            image.SetMetaData(key, read.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.SetCompressor("JPEG")
        writer.UseCompressionOn()
        writer.KeepOriginalImageUIDOn()
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)  # GDCM's codecs change it
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == pydicom.uid.JPEGLosslessSV1
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, stored.astype(int) - 1024)
    assert locale.setlocale(locale.LC_ALL) == before


def test_a_real_series_is_what_simpleitk_reads(real_data):
    folder = real_data("dicom_nsclc_010/ct")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image, volume = reader.Execute(), read_volume(folder)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.geometry.origin_mm, image.GetOrigin())
    np.testing.assert_allclose(volume.geometry.spacing_mm, image.GetSpacing())
