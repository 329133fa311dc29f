"""Labels that a file knows by names: Slicer's segmentations, RTSTRUCT and DICOM SEG."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.sr.codedict import codes

from fedsim_tf.data.dicom_files import RTSTRUCT_CLASS
from fedsim_tf.data.label_reading import read_label
from fedsim_tf.data.labels import CANONICAL
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.structures import find_regions
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, RV
from fedsim_tf.volume import Geometry, Volume
from tests.data.dicom_for_tests import ORIGIN, SPACING, new_dataset, read_real_heart, stored_values, write_series
from tests.data.files_for_tests import refused

SHAPE = (5, 12, 14)
IMAGE = Volume(np.zeros(SHAPE, np.int16), Geometry(SPACING, ORIGIN))


def read(path, image=IMAGE):
    return read_label(path, image, CANONICAL, image_subject="ct")


# Names


@pytest.mark.parametrize("name", ["Heart", "heart", "HEART", "Herz", "whole_heart", "Cœur".replace("œ", "oe")])
def test_a_whole_heart_has_several_names(name):
    assert find_regions([("Lung_L",), (name,), ("Heart_PRV",)], "file") == {LV: 1}


def test_regions_have_the_names_of_totalsegmentator_tg263_and_mmwhs():
    names = ["heart_ventricle_left", "Ventricle_R", "Atrium_L", "RA", "Left ventricle myocardium", "A_Aorta", "PA"]
    expected = {LV: 0, RV: 1, LA: 2, RA: 3, MYOCARDIUM: 4, AORTA: 5, PULMONARY_ARTERY: 6}
    assert find_regions([(name,) for name in names], "file") == expected
    assert find_regions([(name,) for name in [*names, "Heart"]], "file") == expected


def test_a_whole_heart_is_taken_where_some_chambers_lack():
    assert find_regions([("LV",), ("Heart",), ("Aorta",)], "file") == {LV: 1}


def test_what_has_no_heart_is_refused_with_its_names():
    refused(lambda: find_regions([("Lung_L",), ("GTV-1",)], "f.dcm"), "f.dcm", "no heart among Lung_L, GTV-1")
    refused(lambda: find_regions([("Aorta",)], "f.dcm"), "no heart among Aorta")
    refused(lambda: find_regions([("Heart",), ("heart",)], "f.dcm"), "several structures for one region: Heart, heart")


# RTSTRUCT


def contour_mm(*corners, z=2):
    """Corners in pixels (x, y) of slice z, as the numbers of a contour in mm."""
    return [value for x, y in corners for value in np.array(ORIGIN) + np.array([x, y, z]) * SPACING]


def square(low, high, z=2):
    return contour_mm((low, low), (high, low), (high, high), (low, high), z=z)


def write_rtstruct(path, structures, *, kind="CLOSED_PLANAR"):
    dataset = new_dataset(RTSTRUCT_CLASS, series="1.2.7", instance="1.2.7.1", modality="RTSTRUCT")
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(structures.items(), 1):
        roi, drawn = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            item = pydicom.Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points) // 3
            item.ContourData = [f"{value:.6g}" for value in points]
            drawn.ContourSequence.append(item)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_contours_hold_the_pixels_whose_centres_they_enclose(tmp_path):
    path = write_rtstruct(tmp_path / "r.dcm", {"Lung": [square(0.5, 1.5)], "Heart": [square(2.6, 7.4)]})
    expected = np.zeros(SHAPE, np.uint8)
    expected[2, 3:8, 3:8] = 1
    np.testing.assert_array_equal(read(path), expected)


def test_a_contour_within_another_one_is_a_hole_and_one_within_that_is_not(tmp_path):
    contours = [square(1.5, 10.5), square(3.5, 8.5), square(5.5, 6.5)]
    expected = np.zeros(SHAPE, np.uint8)
    expected[2, 2:11, 2:11] = 1
    expected[2, 4:9, 4:9] = 0
    expected[2, 6, 6] = 1
    np.testing.assert_array_equal(read(write_rtstruct(tmp_path / "r.dcm", {"Heart": contours})), expected)


def test_a_circle_has_its_area(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    image = Volume(np.zeros((3, 200, 200), np.int16), Geometry((1.0, 1.0, 1.0)))
    points = [v for a in angles for v in (100.3 + 80 * np.cos(a), 99.6 + 80 * np.sin(a), 1.0)]
    mask = read(write_rtstruct(tmp_path / "r.dcm", {"Heart": [points]}), image)
    assert mask.sum() == pytest.approx(np.pi * 80**2, rel=2e-3)
    np.testing.assert_allclose(np.argwhere(mask).mean(axis=0), [1.0, 99.6, 100.3], atol=0.05)


def test_turned_grids_are_followed(tmp_path):
    """Rows run to the right and slices to the feet; the contour is given in the patient's mm."""
    turned = Geometry(SPACING, ORIGIN, (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    corners = [(-2.6, 1.6), (-5.4, 1.6), (-5.4, 4.4), (-2.6, 4.4)]
    points = [
        v for x, y in corners for v in (ORIGIN[0] + x * SPACING[0], ORIGIN[1] + y * SPACING[1], ORIGIN[2] - SPACING[2])
    ]
    expected = np.zeros(SHAPE, np.uint8)
    expected[1, 2:5, 3:6] = 1
    path = write_rtstruct(tmp_path / "r.dcm", {"Heart": [points]})
    np.testing.assert_array_equal(read(path, Volume(IMAGE.array, turned)), expected)


def test_contours_that_do_not_fit_the_slices_are_refused(tmp_path):
    wrong = {(1.5,): "0.50 slices away from a slice", (9,): "slice 9 of 5", (0, 2, 4): "one slice in 2"}
    for heights, words in wrong.items():
        path = write_rtstruct(tmp_path / "r.dcm", {"Heart": [square(2, 7, z=z) for z in heights]})
        refused(lambda path=path: read(path), path, "structure Heart", words)
    points = write_rtstruct(tmp_path / "p.dcm", {"Heart": [square(2, 7)]}, kind="POINT")
    refused(lambda: read(points), "no closed contour")


def test_structures_that_are_taken_are_named(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    read(write_rtstruct(tmp_path / "r.dcm", {"Lung_L": [square(0.5, 1.5)], "Heart": [square(2.6, 7.4)]}))
    assert "Heart taken, Lung_L left out" in caplog.text


def test_a_real_rtstruct_gives_the_mask_that_was_made_from_it(real_data):
    image, label = read_real_heart(real_data("dicom_nsclc_010/ct"), real_data("dicom_nsclc_010/rtstruct/000000.dcm"))
    assert dice_on_grid_of(real_data("chest_nsclc/labels/nsclc_010.nii.gz"), image.with_array(label)) > 0.98


def dice_on_grid_of(reference, mask):
    """Dice on a reference's grid; SimpleITK resamples."""
    ours = sitk.GetImageFromArray((mask.array > 0).astype(np.uint8))
    ours.SetSpacing(mask.geometry.spacing_mm)
    ours.SetOrigin(mask.geometry.origin_mm)
    ours.SetDirection(mask.geometry.direction)
    true = sitk.ReadImage(str(reference))
    found = sitk.GetArrayFromImage(sitk.Resample(ours, true, sitk.Transform(), sitk.sitkNearestNeighbor)) > 0
    truth = sitk.GetArrayFromImage(true) > 0
    return 2 * np.sum(found & truth) / (found.sum() + truth.sum())


# DICOM SEG


def write_seg(path, masks, slices, *, kind=hd.seg.SegmentationTypeValues.BINARY, **options):
    """Write with highdicom; `masks` holds a mask (z, y, x) by name, `slices` the files of the CT from foot to head."""
    sources = [pydicom.dcmread(one) for one in slices]
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Organ,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, 1)
    ]
    made = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack(list(masks.values()), axis=-1),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid="1.2.8",
        series_number=2,
        sop_instance_uid="1.2.8.1",
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    made.save_as(path)
    return path


def two_masks():
    heart, lung = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    heart[1:4, 3:8, 4:12] = 1
    heart[2, 5, 5] = 0
    lung[:, 0:2, 0:3] = 1
    return {"Lung-Left": lung, "Heart": heart}


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("omit", [False, True])
def test_segments_lie_where_highdicom_put_them(tmp_path, kind, omit):
    slices = write_series(tmp_path / "ct", stored_values(SHAPE))
    options = {"omit_empty_frames": omit, "kind": hd.seg.SegmentationTypeValues[kind]}
    if kind == "LABELMAP":
        options["transfer_syntax_uid"] = pydicom.uid.ExplicitVRLittleEndian
    path = write_seg(tmp_path / "s.dcm", two_masks(), slices, **options)
    np.testing.assert_array_equal(read(path, read_volume(tmp_path / "ct")), two_masks()["Heart"])


def test_probabilities_are_refused(tmp_path):
    slices = write_series(tmp_path / "ct", stored_values(SHAPE))
    masks = {name: mask * 0.4 for name, mask in two_masks().items()}
    path = write_seg(tmp_path / "s.dcm", masks, slices, kind=hd.seg.SegmentationTypeValues.FRACTIONAL)
    refused(lambda: read(path, read_volume(tmp_path / "ct")), path, "probabilities")


def test_a_segmentation_on_another_grid_is_refused(tmp_path):
    slices = write_series(tmp_path / "ct", stored_values(SHAPE))
    path = write_seg(tmp_path / "s.dcm", two_masks(), slices)
    x, y, z = ORIGIN
    refused(lambda: read(path, Volume(IMAGE.array, Geometry(SPACING, (x + 3.0, y, z)))), path, "the grid of its CT")
    refused(lambda: read(path, Volume(IMAGE.array, Geometry((9.0, 6.0, 25.0), ORIGIN))), path, "another size")
    refused(lambda: read(path, Volume(IMAGE.array[:3], IMAGE.geometry)), path, "reaches beyond its image")


def test_a_tumour_alone_is_no_heart(real_data):
    """The file holds the tumour of a patient whose heart is in RTSTRUCT alone."""
    image, _ = read_real_heart(real_data("dicom_nsclc_010/ct"), real_data("dicom_nsclc_010/rtstruct/000000.dcm"))
    refused(lambda: read(real_data("dicom_nsclc_010/seg/000000.dcm"), image), "no heart among Neoplasm, Primary")


def test_a_real_heart_survives_seg(tmp_path, real_data):
    folder = real_data("dicom_nsclc_010/ct")
    image, label = read_real_heart(folder, real_data("dicom_nsclc_010/rtstruct/000000.dcm"))
    slices = sorted(folder.iterdir(), key=lambda p: pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2])
    path = write_seg(tmp_path / "s.dcm", {"Heart": label}, slices)
    np.testing.assert_array_equal(read(path, image), label)
    truth = real_data("chest_nsclc/labels/nsclc_010.nii.gz")
    assert dice_on_grid_of(truth, image.with_array(read(path, image))) > 0.98


# Slicer's segmentations


def write_segments(path, layers, segments, *, geometry=IMAGE.geometry):
    """Write .seg.nrrd by hand; `layers` (z, y, x) or (z, y, x, n), `segments` name, value and layer."""
    several = layers.ndim == 4
    shape = layers.shape[2::-1]
    header = ["NRRD0004", "type: unsigned char", f"dimension: {layers.ndim}", "space: left-posterior-superior"]
    header += [
        f"sizes: {layers.shape[-1]} {' '.join(map(str, shape))}" if several else f"sizes: {' '.join(map(str, shape))}"
    ]
    axes = " ".join(f"({','.join(map(str, row))})" for row in np.diag(geometry.spacing_mm))
    header += [f"space directions: {'none ' if several else ''}{axes}"]
    header += [f"kinds: {'list ' if several else ''}domain domain domain", "encoding: raw"]
    header += [f"space origin: ({','.join(map(str, geometry.origin_mm))})"]
    for k, (name, value, layer) in enumerate(segments):
        header += [f"Segment{k}_Name:={name}", f"Segment{k}_LabelValue:={value}", f"Segment{k}_Layer:={layer}"]
    path.write_bytes("\n".join([*header, "", ""]).encode() + layers.astype(np.uint8).tobytes())
    return path


def test_slicers_segments_are_known_by_name_whatever_their_values(tmp_path):
    masks = two_masks()
    layers = masks["Heart"] * 2 + masks["Lung-Left"] * 7
    path = write_segments(tmp_path / "a.seg.nrrd", layers, [("Lung", 7, 0), ("Heart", 2, 0)])
    np.testing.assert_array_equal(read(path), masks["Heart"])


def test_slicers_layers_may_overlap(tmp_path):
    masks = two_masks()
    names = ["LV", "RV", "LA", "RA", "Myo"]
    first, second = np.zeros(SHAPE, int), masks["Heart"].astype(int)
    first[2, 3:8, 4] = [1, 2, 3, 4, 5]
    path = write_segments(
        tmp_path / "a.seg.nrrd",
        np.stack([second, first], axis=-1),
        [("Heart", 1, 0), *((name, value, 1) for value, name in enumerate(names, 1))],
    )
    np.testing.assert_array_equal(read(path), first)


def test_a_segmentation_that_slicer_cropped_is_put_in_its_place(tmp_path):
    heart = two_masks()["Heart"]
    place = Geometry(SPACING, tuple(np.array(ORIGIN) + np.array([4, 3, 1]) * SPACING))
    path = write_segments(tmp_path / "a.seg.nrrd", heart[1:4, 3:8, 4:12], [("Heart", 1, 0)], geometry=place)
    np.testing.assert_array_equal(read(path), heart)
    between = Geometry(SPACING, tuple(np.array(ORIGIN) + np.array([4.5, 3, 1]) * SPACING))
    path = write_segments(tmp_path / "b.seg.nrrd", heart[1:4, 3:8, 4:12], [("Heart", 1, 0)], geometry=between)
    refused(lambda: read(path), path, "the grid of its image")


def test_a_segment_without_a_name_of_its_own_is_taken_by_value(tmp_path):
    heart = two_masks()["Heart"]
    np.testing.assert_array_equal(read(write_segments(tmp_path / "a.seg.nrrd", heart, [("Segment_1", 1, 0)])), heart)
    path = write_segments(tmp_path / "b.seg.nrrd", heart, [("tumour", 1, 0)])
    refused(lambda: read(path), path, "no heart among the segments tumour")
    path = write_segments(tmp_path / "c.seg.nrrd", heart, [("Heart", 1, 3)])
    refused(lambda: read(path), path, "1 layers", "layer 3")
