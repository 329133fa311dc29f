"""A CT with all frames in one file; the oracles are highdicom and the slices that such a file was made from."""

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage

from fedsim_tf.data.dicom_files import ENHANCED_CT_CLASSES
from fedsim_tf.data.mask_writing import check_format, write_mask
from fedsim_tf.data.own_data import OwnLayout
from fedsim_tf.data.reading import read_volume
from tests.data.dicom_for_tests import ORIGIN, SPACING, new_dataset, stored_values, write_series
from tests.data.files_for_tests import refused


def item(**elements) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def write_enhanced(path, stored, *, heights, slopes=None, axes=(1, 0, 0, 0, 1, 0), instance="1.2.7.1", **elements):
    """Frames in the order of `heights`; the spacing is shared, the place and scaling are each frame's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    one = new_dataset(ENHANCED_CT_CLASSES[0], series="1.2.7", instance=instance, modality="CT")
    one.NumberOfFrames, one.Rows, one.Columns = stored.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    measures = item(PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness=SPACING[2])
    shared = item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[item(ImageOrientationPatient=list(axes))])
    one.SharedFunctionalGroupsSequence = [shared]
    normal = np.cross(axes[:3], axes[3:])
    frames = []
    for number, height in enumerate(heights):
        place = item(ImagePositionPatient=(np.array(ORIGIN) + normal * height).tolist())
        slope = 1.0 if slopes is None else slopes[number]
        scaling = item(RescaleSlope=slope, RescaleIntercept=-1024.0, RescaleType="HU")
        frames.append(item(PlanePositionSequence=[place], PixelValueTransformationSequence=[scaling]))
    one.PerFrameFunctionalGroupsSequence = frames
    for name, value in elements.items():
        setattr(one, name, value)
    one.PixelData = stored.astype("<u2").tobytes()
    one.save_as(path, enforce_file_format=True)
    return path


HEIGHTS = np.arange(5) * SPACING[2]


def test_frames_are_read_in_the_order_of_their_places_with_their_own_scaling(tmp_path):
    stored, order, slopes = stored_values(), np.array([3, 0, 4, 1, 2]), np.array([1.0, 0.5, 2.0, 0.25, 1.5])
    write_enhanced(tmp_path / "ct" / "a.dcm", stored[order], heights=HEIGHTS[order], slopes=slopes[order])
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_allclose(volume.array, stored * slopes[:, None, None] - 1024)
    np.testing.assert_allclose(volume.geometry.spacing_mm, SPACING)
    np.testing.assert_allclose(volume.geometry.origin_mm, ORIGIN)


@pytest.mark.parametrize("axes", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)])
def test_it_lies_where_highdicom_finds_it(tmp_path, axes):
    path = write_enhanced(tmp_path / "ct" / "a.dcm", stored_values(), heights=HEIGHTS, axes=axes)
    theirs = highdicom.imread(path).get_volume(apply_modality_transform=True)
    ours = read_volume(tmp_path / "ct")
    directions = np.reshape(ours.geometry.direction, (3, 3))
    for index in np.ndindex(2, 2, 2):
        z, y, x = index * (np.array(ours.array.shape) - 1)
        place = np.array(ours.geometry.origin_mm) + directions @ (np.array([x, y, z]) * ours.geometry.spacing_mm)
        at = np.rint(theirs.map_reference_to_indices(place[None]))[0].astype(int)
        np.testing.assert_allclose(theirs.map_indices_to_reference(at[None])[0], place, atol=1e-4)
        assert theirs.array[tuple(at)] == ours.array[z, y, x]


def test_slices_that_highdicom_converted_are_the_same_ct(tmp_path):
    paths = write_series(tmp_path / "slices", stored_values(), PositionReferenceIndicator="", SeriesNumber=1)
    slices = [pydicom.dcmread(path) for path in paths]
    for one in slices:
        one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.KVP, one.ContentDate, one.ContentTime = "120", "20240101", "000000"
    (tmp_path / "frames").mkdir()
    uid = "1.2.826.0.1.3680043.8.498.7"
    LegacyConvertedEnhancedCTImage(slices, uid, 1, uid + ".1", 1).save_as(tmp_path / "frames" / "a.dcm")
    ours, wanted = read_volume(tmp_path / "frames"), read_volume(tmp_path / "slices")
    np.testing.assert_array_equal(ours.array, wanted.array)
    np.testing.assert_allclose(ours.geometry.origin_mm, wanted.geometry.origin_mm)
    np.testing.assert_allclose(ours.geometry.spacing_mm, wanted.geometry.spacing_mm)


def test_what_is_wrong_with_frames_is_named(tmp_path):
    write_enhanced(tmp_path / "gap" / "a.dcm", stored_values(), heights=np.array([0, 1, 4, 5, 6]) * SPACING[2])
    refused(lambda: read_volume(tmp_path / "gap"), "2 of 7 slices missing", "a.dcm, frame 2")
    write_enhanced(tmp_path / "phases" / "a.dcm", stored_values(), heights=[0, 0, 25, 50, 75])
    refused(lambda: read_volume(tmp_path / "phases"), "several phases", "frame 1 and a.dcm, frame 2")
    for name, instance in (("a", "1.2.7.1"), ("b", "1.2.7.2")):
        write_enhanced(tmp_path / "two" / f"{name}.dcm", stored_values(), heights=HEIGHTS, instance=instance)
    refused(lambda: read_volume(tmp_path / "two"), "several multi-frame (enhanced) CTs")
    path = write_enhanced(tmp_path / "placeless" / "a.dcm", stored_values(), heights=HEIGHTS)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    dataset.save_as(path)
    refused(lambda: read_volume(path.parent), "frame 3", "without ImagePositionPatient")
    dataset.PerFrameFunctionalGroupsSequence.pop()
    dataset.save_as(path)
    refused(lambda: read_volume(path.parent), "places of 4 frames")


def test_patients_have_it_and_masks_that_refer_to_slices_are_refused(tmp_path):
    for name in ("anna", "berta"):
        write_enhanced(tmp_path / name / "a.dcm", stored_values(), heights=HEIGHTS)
    cases = OwnLayout().find(tmp_path)
    assert [(case.identity, case.image) for case in cases] == [(name, tmp_path / name) for name in ("anna", "berta")]
    volume = read_volume(tmp_path / "anna")
    mask = volume.with_array((volume.array > 0).astype(np.uint8))
    refused(lambda: write_mask(mask, tmp_path / "m.dcm", image=tmp_path / "anna"), "multi-frame")
    refused(lambda: check_format("rtstruct", tmp_path / "anna"), "multi-frame")
