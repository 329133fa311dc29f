"""Layouts of a user's own data, found by looking."""

import json
import os
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.regions import TOTALSEGMENTATOR_NAMES
from tests.data.dicom_for_tests import ORIGIN, SPACING, stored_values, write_series
from tests.data.files_for_tests import ct, labels, refused, write
from tests.data.test_named_labels import SHAPE, square, two_masks, write_rtstruct, write_seg


def find(root):
    return find_cohort("nifti", root)


def summary(root):
    """Return the identities, and those that are annotated."""
    cohort = find(root)
    return cohort.identities, cohort.annotated


# Folders and endings


@pytest.mark.parametrize("image", ["nii.gz", "nrrd", "mha", "mhd", "nhdr"])
@pytest.mark.parametrize("label", ["nii", "nrrd", "mhd", "seg.nrrd"])
def test_images_and_labels_may_have_any_formats(tmp_path, image, label):
    write(tmp_path / "images" / f"p1.{image}", ct(1))
    write(tmp_path / "labels" / f"p1.{label}", labels(1, 2, 7))
    case = find(tmp_path).load("p1")
    np.testing.assert_array_equal(case.image.array, ct(1))
    np.testing.assert_array_equal(case.label.array, labels(1, 2, 7))


def test_other_folders_and_endings_are_known(tmp_path):
    write(tmp_path / "a" / "image" / "p1_image.nii.gz", ct())
    write(tmp_path / "a" / "label" / "p1_label.nrrd", labels(1))
    write(tmp_path / "a" / "image" / "p2.nii.gz", ct())
    write(tmp_path / "a" / "label" / "p2_label.nrrd", labels(1))
    write(tmp_path / "a" / "image" / "p3_0000.nii.gz", ct())
    write(tmp_path / "a" / "label" / "p3.nii.gz", labels(1))
    assert summary(tmp_path / "a") == (("p1", "p2", "p3"), ("p1", "p2", "p3"))
    write(tmp_path / "b" / "p1.nii.gz", ct())
    write(tmp_path / "b" / "p1_label.mha", labels(1))
    write(tmp_path / "b" / "p2.nii.gz", ct())
    assert summary(tmp_path / "b") == (("p1", "p2"), ("p1",))
    write(tmp_path / "c" / "p1_image.nii.gz", ct())
    write(tmp_path / "c" / "p1_label.nii.gz", labels(1))
    write(tmp_path / "c" / "atlas.nii.gz", ct())
    assert summary(tmp_path / "c") == (("p1",), ("p1",))


def test_one_label_in_two_formats_is_refused(tmp_path):
    write(tmp_path / "images" / "p1.nii.gz", ct())
    first, second = (write(tmp_path / "labels" / f"p1.{end}", labels(1)) for end in ("nii.gz", "nrrd"))
    refused(lambda: find(tmp_path), "p1 a second time", first, second)


def test_labels_of_another_format_without_an_image_are_refused(tmp_path):
    write(tmp_path / "images" / "p1.nii.gz", ct())
    label = write(tmp_path / "labels" / "p2.nrrd", labels(1))
    refused(lambda: find(tmp_path), label, "a label without an image")


@pytest.mark.parametrize("name", ["p1.npz", "p1_label.mgz", "p1.img"])
def test_labels_in_a_format_that_is_not_read_are_refused(tmp_path, name):
    """Their images would silently count as unannotated."""
    write(tmp_path / "images" / "p1.nii.gz", ct())
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "p1.json").write_text("{}")
    assert summary(tmp_path) == (("p1",), ())
    (tmp_path / "labels" / name).write_bytes(b"voxels")
    refused(lambda: find(tmp_path), tmp_path / "labels" / name, "a format that is not read", ".nrrd")


def test_contours_may_be_the_label_of_an_image_of_voxels(tmp_path):
    path = write(tmp_path / "images" / "p1.nrrd", stored_values(SHAPE).astype(np.int16), spacing=SPACING, origin=ORIGIN)
    (tmp_path / "labels").mkdir()
    write_rtstruct(tmp_path / "labels" / "p1.dcm", {"Heart": [square(2.6, 7.4)]})
    assert path.exists()
    assert find(tmp_path).load("p1").label.array.sum() == 25


def test_what_is_not_used_is_named(tmp_path, caplog):
    write(tmp_path / "images" / "p1.mhd", ct())
    write(tmp_path / "other" / "p7.nrrd", ct())
    write(tmp_path / "p3.nii", ct())
    (tmp_path / "notes.txt").write_text("no volume")
    assert find(tmp_path).identities == ("p1",)
    assert "2 files not used: p3.nii, other/p7.nrrd" in caplog.text


# Lists


def nnunet(root, *, label_names, channels=None, suffix="_0000", values=(1, 2)):
    for name in ("a", "b"):
        write(root / "imagesTr" / f"{name}{suffix}.nii.gz", ct())
    write(root / "labelsTr" / "a.nii.gz", labels(*values))
    write(root / "imagesTs" / f"c{suffix}.nii.gz", ct())
    facts = {"channel_names": channels or {"0": "CT"}, "labels": label_names, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(facts))


def test_nnunets_label_names_are_read(tmp_path, caplog):
    nnunet(tmp_path, label_names={"background": 0, "lung": 1, "heart": 2, "both": [1, 2]})
    cohort = find(tmp_path)
    assert (cohort.identities, cohort.annotated) == (("a", "b"), ("a",))
    np.testing.assert_array_equal(cohort.load("a").label.array.ravel()[10:12], [0, 1])
    assert "imagesTs/c_0000.nii.gz" in caplog.text


def test_nnunets_first_version_has_names_by_value(tmp_path):
    names = {"0": "background", "1": "LA", "2": "LV", "3": "RV", "4": "RA", "5": "Myo"}
    nnunet(tmp_path, label_names=names, suffix="", values=(1, 2, 3, 4, 5))
    np.testing.assert_array_equal(find(tmp_path).load("a").label.array.ravel()[10:15], [3, 1, 2, 4, 5])


def test_nnunets_values_without_a_name_are_refused(tmp_path):
    nnunet(tmp_path, label_names={"background": 0, "heart": 1})
    refused(lambda: find(tmp_path).load("a"), "unknown label values 2", "dataset.json")


def test_nnunets_other_channels_are_left_out(tmp_path, caplog):
    nnunet(tmp_path, label_names={"background": 0, "heart": 1}, channels={"0": "PET", "1": "CT"})
    for name in ("a", "b"):
        write(tmp_path / "imagesTr" / f"{name}_0001.nii.gz", ct(5))
    np.testing.assert_array_equal(find(tmp_path).load("b").image.array, ct(5))
    assert "imagesTr/a_0000.nii.gz" in caplog.text
    nnunet(tmp_path, label_names={"background": 0, "heart": 1}, channels={"0": "T1", "1": "T2"})
    refused(lambda: find(tmp_path), "the channels T1, T2")


def test_nnunet_without_a_heart_is_refused(tmp_path):
    nnunet(tmp_path, label_names={"background": 0, "liver": 1})
    refused(lambda: find(tmp_path), "dataset.json", "no heart among liver")


def test_a_monai_datalist_names_its_files(tmp_path, caplog):
    for name in "ab":
        write(tmp_path / name / "ct.nii.gz", ct())
        write(tmp_path / name / "seg.nrrd", labels(1))
    write(tmp_path / "c" / "ct.mha", ct())
    first = {"image": "a/ct.nii.gz", "label": "a/seg.nrrd", "fold": 0}
    training = [first, {"image": ["b/ct.nii.gz"], "label": "b/seg.nrrd"}, {"image": "c/ct.mha"}]
    listing = {"training": training, "testing": [{"image": "d/ct.mha"}]}
    (tmp_path / "list.json").write_text(json.dumps(listing))
    assert summary(tmp_path) == (("a_ct", "b_ct", "c_ct"), ("a_ct", "b_ct"))
    listing["training"][0]["label"] = "a/none.nrrd"
    (tmp_path / "list.json").write_text(json.dumps(listing))
    refused(lambda: find(tmp_path), "list.json, training 1", "no file a/none.nrrd")


def test_a_csv_names_pairs_and_patients(tmp_path):
    for name in ("x1", "x2", "x3"):
        write(tmp_path / "scans" / f"{name}.nrrd", ct())
    write(tmp_path / "masks" / "x1.nii.gz", labels(1))
    rows = ["image,label,patient", "scans/x1.nrrd,masks/x1.nii.gz,anna", "scans/x2.nrrd,,anna", "scans/x3.nrrd,,"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    (tmp_path / "other.csv").write_bytes("Größe,Name\n1,2\n".encode("latin-1"))
    cohort = find(tmp_path)
    assert (cohort.identities, cohort.annotated) == (("x1", "x2", "x3"), ("x1",))
    assert dict(cohort.patients) == {"x1": "anna", "x2": "anna"}
    (tmp_path / "pairs.csv").write_text("image,label\nscans/x1.nrrd,masks/x9.nii.gz\n")
    refused(lambda: find(tmp_path), "pairs.csv, line 2", "no file masks/x9.nii.gz")


def test_a_list_may_choose_but_not_contradict(tmp_path, caplog):
    for name in ("p1", "p2"):
        write(tmp_path / "images" / f"{name}.nii.gz", ct())
        write(tmp_path / "labels" / f"{name}.nii.gz", labels(1))
    (tmp_path / "pairs.csv").write_text("image,label\nimages/p1.nii.gz,labels/p1.nii.gz\n")
    assert summary(tmp_path) == (("p1",), ("p1",))
    assert "2 files not used" in caplog.text
    (tmp_path / "pairs.csv").write_text("image,label\nimages/p1.nii.gz,labels/p2.nii.gz\n")
    refused(lambda: find(tmp_path), "a CSV of pairs with 1 cases", "images/ and labels/ with 2 cases", "one layout")


def test_two_layouts_in_one_folder_are_refused(tmp_path):
    nnunet(tmp_path, label_names={"background": 0, "heart": 1})
    write(tmp_path / "images" / "p1.nii.gz", ct())
    refused(lambda: find(tmp_path), "nnU-Net's raw data with 2 cases, 1 of them annotated", "images/ and labels/")


# TotalSegmentator


def totalsegmentator(root, name, structures):
    write(root / name / "ct.nii.gz", ct())
    for number, structure in enumerate(structures):
        mask = np.zeros((6, 7, 8), np.uint8)
        mask[2, 3, number] = 1
        write(root / name / "segmentations" / f"{structure}.nii.gz", mask)


def test_totalsegmentator_of_either_version_is_found(tmp_path, caplog):
    totalsegmentator(tmp_path / "1", "s0001", [*TOTALSEGMENTATOR_NAMES, "liver"])
    np.testing.assert_array_equal(find(tmp_path / "1").load("s0001").label.array[2, 3], [1, 2, 3, 4, 5, 6, 7, 0])
    totalsegmentator(tmp_path / "2", "s0001", ["aorta", "heart", "pulmonary_vein"])
    np.testing.assert_array_equal(find(tmp_path / "2").load("s0001").label.array[2, 3], [0, 1, 0, 0, 0, 0, 0, 0])
    assert "not used" not in caplog.text
    totalsegmentator(tmp_path / "2", "s0002", TOTALSEGMENTATOR_NAMES)
    refused(lambda: find(tmp_path / "2"), "masks of version 2 in s0001")
    refused(lambda: find_cohort("totalsegmentator", tmp_path / "2"), "masks of version 2 in s0001")


def test_soft_masks_of_totalsegmentator_are_refused(tmp_path):
    totalsegmentator(tmp_path, "s0001", ["heart"])
    soft = np.zeros((6, 7, 8), np.float32)
    soft[2, 3, :3] = [0.2, 0.9, 1.0]
    path = write(tmp_path / "s0001" / "segmentations" / "heart.nii.gz", soft)
    refused(lambda: find(tmp_path).load("s0001"), path, "a soft mask with values such as")
    soft[2, 3, :3] = [0.0004, 0.9996, 1.0]
    write(path, soft)
    np.testing.assert_array_equal(find(tmp_path).load("s0001").label.array[2, 3, :4], [0, 1, 1, 0])


# DICOM


def patient(root, name, *, label="rtstruct", series="1.2.3"):
    slices = write_series(root / name / "ct", stored_values(SHAPE), patient=f"id_{name}", series=series)
    if label == "rtstruct":
        (root / name / "plans").mkdir()
        write_rtstruct(root / name / "plans" / "rs", {"Lung": [square(0.5, 1.5)], "Heart": [square(2.6, 7.4)]})
    if label == "seg":
        write_seg(root / name / "seg.dcm", two_masks(), slices)


def test_dicom_patients_have_folders_of_their_own(tmp_path):
    patient(tmp_path, "anna")
    patient(tmp_path, "berta", label="seg")
    patient(tmp_path, "carla", label=None)
    cohort = find(tmp_path)
    assert (cohort.identities, cohort.annotated) == (("anna", "berta", "carla"), ("anna", "berta"))
    assert cohort.patients["anna"] == "id_anna"
    assert cohort.load("anna").label.array.sum() == 25
    np.testing.assert_array_equal(cohort.load("berta").label.array, two_masks()["Heart"])
    np.testing.assert_allclose(cohort.load("carla").image.geometry.origin_mm, ORIGIN)
    assert cohort.load("carla").image.geometry.spacing_mm == pytest.approx(SPACING)


def test_the_fingerprint_of_a_dicom_series_follows_its_slices(tmp_path):
    patient(tmp_path, "anna")
    before = find(tmp_path).fingerprint("anna")
    write_series(tmp_path / "anna" / "ct", stored_values(SHAPE, seed=9))
    assert find(tmp_path).fingerprint("anna") != before


def test_one_patient_alone_is_a_data_set_too(tmp_path):
    patient(tmp_path, "anna")
    assert summary(tmp_path / "anna") == (("anna",), ("anna",))
    for path in (tmp_path / "anna" / "ct").iterdir():
        path.rename(tmp_path / "anna" / path.name)
    assert summary(tmp_path / "anna") == (("anna",), ("anna",))


def test_labels_without_a_heart_and_of_other_cts_are_named(tmp_path, caplog):
    patient(tmp_path, "anna", label=None)
    write_rtstruct(tmp_path / "anna" / "lungs.dcm", {"Lung": [square(0.5, 1.5)]})
    assert summary(tmp_path) == (("anna",), ())
    assert "lungs.dcm: no heart among Lung" in caplog.text
    other = write_rtstruct(tmp_path / "anna" / "other.dcm", {"Heart": [square(2.6, 7.4)]})
    dataset = pydicom.dcmread(other)
    dataset.FrameOfReferenceUID = "1.2.99"
    dataset.save_as(other)
    assert summary(tmp_path) == (("anna",), ())
    assert "other.dcm: made for another CT" in caplog.text


def test_two_series_or_two_hearts_of_a_patient_are_refused(tmp_path):
    patient(tmp_path, "anna")
    shutil.copy(tmp_path / "anna" / "plans" / "rs", tmp_path / "anna" / "again.dcm")
    refused(lambda: find(tmp_path), "several labels with a heart: again.dcm, plans/rs")
    (tmp_path / "anna" / "again.dcm").unlink()
    write_series(tmp_path / "anna" / "late", stored_values(SHAPE), series="1.2.4")
    refused(lambda: find(tmp_path), "several CT series", "1.2.3", "1.2.4")


def test_a_real_patient_is_found(real_data):
    cohort = find(real_data("dicom_nsclc_010"))
    assert cohort.identities == cohort.annotated == ("dicom_nsclc_010",)
    assert dict(cohort.patients) == {"dicom_nsclc_010": "nsclc_010"}
    assert cohort.files[0].label.parent.name == "rtstruct"


def test_simpleitk_agrees_on_a_label_beside_its_header(tmp_path):
    """The digest follows the voxels, which lie in a file of their own."""
    write(tmp_path / "images" / "p1.mhd", ct())
    path = write(tmp_path / "labels" / "p1.mhd", labels(1))
    before = find(tmp_path).label_digest("p1"), find(tmp_path).fingerprint("p1")
    image = sitk.GetImageFromArray(labels(2))
    sitk.WriteImage(image, str(path))
    after = find(tmp_path).label_digest("p1"), find(tmp_path).fingerprint("p1")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_damaged_header_or_link_spoils_its_own_case_alone(tmp_path):
    for name in ("p1", "p2", "p3"):
        write(tmp_path / "images" / f"{name}.mhd", ct())
    (tmp_path / "images" / "p1.raw").unlink()
    (tmp_path / "images" / "p2.mhd").write_text("no header")
    (tmp_path / "images" / "p4.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    cohort = find(tmp_path)
    assert cohort.identities == ("p1", "p2", "p3", "p4")
    assert len({cohort.fingerprint(name) for name in ("p1", "p2", "p3")}) == 3
    refused(lambda: cohort.fingerprint("p4"), "a link to")
    for name, words in {"p1": "no p1.raw beside it", "p2": "no MetaImage header", "p4": "a link to"}.items():
        refused(lambda name=name: cohort.load(name), words)
    np.testing.assert_array_equal(cohort.load("p3").image.array, ct())


def test_a_folder_is_walked_once_for_all_layouts(tmp_path, monkeypatch):
    write(tmp_path / "images" / "p1.nii.gz", ct())
    walked, walk = [], os.walk
    monkeypatch.setattr(os, "walk", lambda root, **options: walked.append(root) or walk(root, **options))
    find_cohort("nifti", tmp_path)
    assert len([root for root in walked if root == tmp_path]) <= 2  # the layouts', and that for patients.csv
    write(tmp_path / "images" / "p2.nii.gz", ct(1))  # nothing is remembered from call to call
    assert find_cohort("nifti", tmp_path).identities == ("p1", "p2")
