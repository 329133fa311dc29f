"""Masks in every format, read back by other libraries."""

import gzip
import struct

import highdicom as hd
import matplotlib.path
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from fedsim_tf.data.label_reading import read_label
from fedsim_tf.data.labels import CANONICAL
from fedsim_tf.data.mask_writing import choose_format, write_mask
from fedsim_tf.data.reading import read_volume
from fedsim_tf.volume import Volume
from tests.data.dicom_for_tests import SPACING, read_real_heart, stored_values, write_series
from tests.data.files_for_tests import ct, raw_nifti, refused
from tests.data.test_named_labels import dice_on_grid_of

SHAPE = (5, 24, 28)
AXES = [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0)]


def some_mask(rng) -> np.ndarray:
    """A blob with a hole, an island in the hole, a part at the border and diagonal neighbours."""
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 4:18, 5:20] = True
    mask[2, 8:14, 8:16] = False
    mask[2, 10:12, 11:13] = True
    mask[3, :3, :4] = True
    mask[2] |= rng.random(SHAPE[1:]) > 0.97
    return mask


@pytest.fixture
def scan(tmp_path):
    write_series(tmp_path / "ct", stored_values(SHAPE))
    return tmp_path / "ct"


@pytest.mark.parametrize("axes", AXES)
def test_a_seg_is_what_highdicom_reads(tmp_path, rng, axes):
    write_series(tmp_path / "ct", stored_values(SHAPE), axes=axes)
    image, mask = read_volume(tmp_path / "ct"), some_mask(rng)
    write_mask(image.with_array(mask), tmp_path / "s.dcm", image=tmp_path / "ct")
    found = hd.seg.segread(tmp_path / "s.dcm")
    assert [found.get_segment_description(n).segment_label for n in found.segment_numbers] == ["Heart"]
    place = found.get_volume(combine_segments=True)
    corners = np.argwhere(mask)[[0, -1]]
    ours = (
        np.asarray(image.geometry.origin_mm)
        + (corners[:, ::-1] * image.spacing_mm) @ np.reshape(image.geometry.direction, (3, 3)).T
    )
    index = np.round(place.map_reference_to_indices(ours)).astype(int)
    assert place.array[tuple(index.T)].all()
    assert place.array.sum() == mask.sum()
    np.testing.assert_allclose(sorted(place.spacing), sorted(SPACING))
    np.testing.assert_array_equal(read_label(tmp_path / "s.dcm", image, CANONICAL, image_subject="ct"), mask)


@pytest.mark.parametrize("axes", AXES)
def test_an_rtstruct_encloses_the_centres_of_its_pixels(tmp_path, rng, axes):
    """Matplotlib says which centres lie within the polygons, in mm; XOR makes holes."""
    write_series(tmp_path / "ct", stored_values(SHAPE), axes=axes)
    image, mask = read_volume(tmp_path / "ct"), some_mask(rng)
    write_mask(image.with_array(mask), tmp_path / "rtstruct.dcm", image=tmp_path / "ct")
    plan = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    assert plan.StructureSetROISequence[0].ROIName == "Heart"
    directions = np.reshape(image.geometry.direction, (3, 3))
    centres = np.stack(np.meshgrid(*map(np.arange, SHAPE[:0:-1]), indexing="xy"), axis=-1).reshape(-1, 2)
    found = np.zeros(SHAPE, bool)
    slices = {pydicom.dcmread(p).SOPInstanceUID: pydicom.dcmread(p) for p in (tmp_path / "ct").iterdir()}
    for contour in plan.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        one = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        off = points - np.array(one.ImagePositionPatient, float)
        np.testing.assert_allclose(off @ directions[:, 2], 0, atol=1e-3)
        pixels = np.column_stack([off @ directions[:, 0] / SPACING[0], off @ directions[:, 1] / SPACING[1]])
        inside = matplotlib.path.Path(np.vstack([pixels, pixels[:1]]), closed=True).contains_points(centres)
        found[int(one.InstanceNumber) - 1] ^= inside.reshape(SHAPE[1:])
    np.testing.assert_array_equal(found, mask)
    label = read_label(tmp_path / "rtstruct.dcm", image, CANONICAL, image_subject="ct")
    np.testing.assert_array_equal(label, mask)


def some_regions(rng) -> np.ndarray:
    """Five of the seven regions, which touch each other."""
    return np.where(some_mask(rng), rng.choice([1, 2, 3, 5, 7], SHAPE), 0).astype(np.uint8)


NAMES = {1: "Left ventricle", 2: "Right ventricle", 3: "Left atrium", 5: "Myocardium", 7: "Pulmonary artery"}
# SNOMED CT.
SNOMED = {1: "87878005", 2: "53085002", 3: "82471001", 5: "49848007", 7: "81040000"}


def test_a_seg_of_regions_has_a_segment_for_each_region_that_is_there(scan, tmp_path, rng):
    image, ids = read_volume(scan), some_regions(rng)
    write_mask(image.with_array(ids), tmp_path / "s.dcm", image=scan, by_region=True)
    found = hd.seg.segread(tmp_path / "s.dcm")
    assert list(found.segment_numbers) == [1, 2, 3, 4, 5]
    for number, (region, name) in enumerate(NAMES.items(), start=1):
        description = found.get_segment_description(number)
        assert description.segment_label == name
        assert description.segmented_property_type.value == SNOMED[region]
        place = found.get_volume(segment_numbers=[number], combine_segments=False)
        assert place.array.sum() == (ids == region).sum()
    np.testing.assert_array_equal(read_label(tmp_path / "s.dcm", image, CANONICAL, image_subject="ct"), ids)


def test_an_rtstruct_of_regions_has_a_structure_for_each_region_that_is_there(scan, tmp_path, rng):
    image, ids = read_volume(scan), some_regions(rng)
    write_mask(image.with_array(ids), tmp_path / "rtstruct.dcm", image=scan, by_region=True)
    plan = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    assert {roi.ROINumber: roi.ROIName for roi in plan.StructureSetROISequence} == dict(enumerate(NAMES.values(), 1))
    assert [roi.ReferencedROINumber for roi in plan.ROIContourSequence] == [1, 2, 3, 4, 5]
    assert [roi.ReferencedROINumber for roi in plan.RTROIObservationsSequence] == [1, 2, 3, 4, 5]
    assert list(plan.ROIContourSequence[0].ROIDisplayColor) == [0xC8, 0x55, 0x3D]
    np.testing.assert_array_equal(read_label(tmp_path / "rtstruct.dcm", image, CANONICAL, image_subject="ct"), ids)


@pytest.mark.parametrize("name", ["s.dcm", "rtstruct.dcm"])
def test_a_heart_of_one_region_alone_keeps_its_name(scan, tmp_path, rng, name):
    image = read_volume(scan)
    ids = (some_mask(rng) * 2).astype(np.uint8)
    write_mask(image.with_array(ids), tmp_path / name, image=scan, by_region=True)
    np.testing.assert_array_equal(read_label(tmp_path / name, image, CANONICAL, image_subject="ct"), ids)


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.nrrd", "m.mha"])
def test_files_of_voxels_lie_on_the_series_for_simpleitk(scan, tmp_path, rng, name):
    image, mask = read_volume(scan), some_mask(rng)
    write_mask(image.with_array(mask), tmp_path / name, image=scan)
    found = sitk.ReadImage(str(tmp_path / name))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), mask)
    np.testing.assert_allclose(found.GetOrigin(), image.geometry.origin_mm, rtol=1e-5)
    np.testing.assert_allclose(found.GetSpacing(), image.spacing_mm, rtol=1e-5)


def place_in(content: bytes) -> bytes:
    return content[76:92] + content[252:328]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (1, 4), (0, 0)])
@pytest.mark.parametrize("big", [False, True])
def test_a_nifti_mask_has_the_place_of_its_ct_byte_for_byte(tmp_path, suffix, codes, big):
    angle = 0.2
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    header = bytearray(raw_nifti(ct(), np.column_stack([turn * [0.5, 0.7, 2.0], [1.0, 2.0, 3.0]])))
    struct.pack_into("<2h", header, 252, *codes)
    struct.pack_into("<6f", header, 256, 0, 0, np.sin(angle / 2), 1.0, 2.0, 3.0)
    place = place_in(header)
    if big:
        fields = [(0, 1, 4), (40, 8, 2), (70, 2, 2), (76, 8, 4), (108, 3, 4), (252, 2, 2), (256, 18, 4)]
        for offset, n, size in fields:
            for start in range(offset, offset + n * size, size):
                header[start : start + size] = header[start : start + size][::-1]
    image = tmp_path / f"ct{suffix}"
    image.write_bytes(gzip.compress(header) if suffix == ".nii.gz" else header)
    volume = read_volume(image)
    write_mask(volume.with_array(volume.array > 0), tmp_path / f"m{suffix}", image=image)
    content = (tmp_path / f"m{suffix}").read_bytes()
    content = gzip.decompress(content) if suffix == ".nii.gz" else content
    assert place_in(content) == place
    again = read_volume(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(again.array, volume.array > 0)
    assert again.geometry == volume.geometry


def test_dicom_is_for_dicom(tmp_path):
    image = tmp_path / "ct.nii.gz"
    image.write_bytes(gzip.compress(raw_nifti(ct(), np.eye(3, 4))))
    mask = read_volume(image)
    refused(lambda: write_mask(mask, tmp_path / "s.dcm", image=image), image, "no DICOM series")
    refused(lambda: write_mask(mask, tmp_path / "s.png", image=image), "'.png'", ".nrrd", ".dcm")


def test_an_empty_mask_is_no_dicom_object(scan, tmp_path):
    image = read_volume(scan)
    empty = image.with_array(np.zeros(SHAPE, bool))
    for name in ("s.dcm", "rtstruct.dcm"):
        refused(lambda name=name: write_mask(empty, tmp_path / name, image=scan), "no heart in this CT")
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("a.nii", None, "nifti"),
        ("a.mha", None, "metaimage"),
        ("a.dcm", None, "seg"),
        ("RTSTRUCT_1.dcm", None, "rtstruct"),
        ("a.dcm", "rtstruct", "rtstruct"),
        ("rtstruct.dcm", "seg", "seg"),
    ],
)
def test_names_say_formats(name, asked, expected):
    assert choose_format(name, asked) == expected


def test_names_and_formats_that_differ_are_refused():
    refused(lambda: choose_format("a.nii.gz", "seg"), "a name of nifti", "one ending in .dcm for seg")


def test_a_real_heart_goes_back_as_seg_and_rtstruct(tmp_path, real_data):
    folder = real_data("dicom_nsclc_010/ct")
    image, label = read_real_heart(folder, real_data("dicom_nsclc_010/rtstruct/000000.dcm"))
    truth = real_data("chest_nsclc/labels/nsclc_010.nii.gz")
    for name in ("s.dcm", "rtstruct.dcm"):
        write_mask(Volume(label, image.geometry), tmp_path / name, image=folder)
        again = read_label(tmp_path / name, image, CANONICAL, image_subject="ct")
        np.testing.assert_array_equal(again, label)
        assert dice_on_grid_of(truth, image.with_array(again)) > 0.97
    place = hd.seg.segread(tmp_path / "s.dcm").get_volume(combine_segments=True)
    assert place.array.sum() == label.sum()
    middle = np.array(image.geometry.origin_mm) + np.argwhere(label).mean(axis=0)[::-1] * image.spacing_mm
    index = np.argwhere(place.array).mean(axis=0)[np.newaxis]
    np.testing.assert_allclose(place.map_indices_to_reference(index)[0], middle, atol=0.01)
