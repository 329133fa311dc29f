import hashlib
import os

import numpy as np
import pytest

from fedsim_tf.data import whole_hearts
from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.data.reading import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.regions import TOTALSEGMENTATOR_NAMES
from tests.data.files_for_tests import SHAPE, chd68, ct, labels, mmwhs, refused, truncate, write

CHD_NUMBERS = [1001, 1002, 1040, 1101]


def division(tmp_path, text="id,site\n1001,ct34lc\n1040,ct34lc\n1002,ct34mc\n"):
    path = tmp_path / "division.csv"
    path.write_text(text)
    return path


def totalsegmentator(root, identity, *, heart=slice(2, 4), suffix=".nii.gz"):
    write(root / identity / f"ct{suffix}", ct())
    for region, structure in enumerate(TOTALSEGMENTATOR_NAMES):
        mask = np.zeros(SHAPE, np.uint8)
        mask[heart, 3, region] = 1
        write(root / identity / "segmentations" / f"{structure}{suffix}", mask)
    mask = np.zeros(SHAPE, np.uint8)
    mask[heart, 2:5, 3] = 1
    write(root / identity / "segmentations" / f"heart_myocardium{suffix}", mask)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_mmwhs(tmp_path, suffix):
    mmwhs(tmp_path / "ct_train", 2, suffix=suffix, values=(500, 600, 420, 550, 205, 820, 850, 421))
    (tmp_path / "ct_train" / f"._ct_train_1001_image{suffix}").write_bytes(b"macOS")
    write(tmp_path / "ct_test" / "ct_test_2001_image.nii.gz", ct())
    cohort = find_cohort("ct20", tmp_path)
    assert cohort.name == "ct20"
    assert cohort.identities == cohort.annotated == ("ct_train_1001", "ct_train_1002")
    case = cohort.load("ct_train_1002")
    np.testing.assert_array_equal(case.image.array, ct(1002))
    assert case.image.array.dtype == np.float32
    assert case.label.array.dtype == np.uint8
    np.testing.assert_array_equal(case.label.array.ravel()[10:18], [1, 2, 3, 4, 5, 6, 7, 3])
    assert case.label.geometry == case.image.geometry


def test_mmwhs_mirror_with_folders_of_its_own_and_region_ids(tmp_path):
    mmwhs(tmp_path / "all", 1, values=range(1, 8))
    for kind in ("image", "label"):
        (tmp_path / f"{kind}s").mkdir()
        (tmp_path / "all" / f"ct_train_1001_{kind}.nii.gz").rename(
            tmp_path / f"{kind}s" / f"ct_train_1001_{kind}.nii.gz"
        )
    label = find_cohort("ct20", tmp_path).load("ct_train_1001").label.array
    np.testing.assert_array_equal(label.ravel()[10:17], range(1, 8))


def test_chd68_is_divided_by_number_and_airways_are_background(tmp_path):
    chd68(tmp_path, CHD_NUMBERS, values=(1, 14, 7))
    mmwhs(tmp_path, 1)
    path = division(tmp_path)
    lc, mc = (find_cohort(name, tmp_path, division=path) for name in ("ct34lc", "ct34mc"))
    assert lc.identities == ("ct_1001", "ct_1040")
    assert mc.identities == ("ct_1002",)
    np.testing.assert_array_equal(lc.load("ct_1040").label.array.ravel()[10:13], [1, 0, 7])


def test_the_shipped_division_halves_all_68_patients(tmp_path):
    numbers = [*range(1001, 1060), *range(1100, 1109)]
    for number in numbers:
        for kind in ("image", "label"):
            (tmp_path / f"ct_{number}_{kind}.nii.gz").touch()
    lc, mc = (find_cohort(name, tmp_path).identities for name in ("ct34lc", "ct34mc"))
    assert lc == tuple(f"ct_{number}" for number in numbers[:34])
    assert mc == tuple(f"ct_{number}" for number in numbers[34:])


def test_two_files_with_one_patient_number_are_refused(tmp_path):
    """Nobody could tell which of them a division means."""
    chd68(tmp_path, [1001, 1002])
    write(tmp_path / "ct_01001_image.nii.gz", ct())
    write(tmp_path / "ct_01001_label.nii.gz", labels(1))
    path = division(tmp_path, "id,site\n1001,ct34lc\n1002,ct34mc\n")
    refused(
        lambda: find_cohort("ct34lc", tmp_path, division=path),
        "patient 1001 a second time",
        tmp_path / "ct_01001_image.nii.gz",
        tmp_path / "ct_1001_image.nii.gz",
    )


def test_the_shipped_division_refuses_a_part_of_the_patients(tmp_path):
    chd68(tmp_path, CHD_NUMBERS)
    refused(lambda: find_cohort("ct34lc", tmp_path), "found 4 patients", "all 68 patients", "id,site")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_totalsegmentator_merges_masks_and_keeps_whole_hearts(tmp_path, suffix):
    totalsegmentator(tmp_path / "data", "s0001", suffix=suffix)
    totalsegmentator(tmp_path / "data", "s0002", heart=slice(0, 2), suffix=suffix)  # cut off at the foot end
    totalsegmentator(tmp_path / "data", "s0003", heart=slice(0, 0), suffix=suffix)
    cohort = find_cohort("totalsegmentator", tmp_path)
    assert cohort.identities == ("s0001",)
    label = cohort.load("s0001").label.array
    np.testing.assert_array_equal(label[2, 3, :7], [1, 2, 3, 5, 0, 6, 7])
    assert np.count_nonzero(label == 5) == 6


def test_totalsegmentator_without_any_whole_heart_is_refused(tmp_path):
    totalsegmentator(tmp_path, "s0001", heart=slice(0, 2))
    totalsegmentator(tmp_path, "s0002", heart=slice(0, 0))
    refused(lambda: find_cohort("totalsegmentator", tmp_path), tmp_path, "no whole heart in 2 CTs")


def test_version_2_of_totalsegmentator_has_whole_hearts_as_one_region(tmp_path):
    """Masks as version 2 names them; the second heart is cut off. The highres chambers of version 2 are version 1's."""
    for identity, heart in (("s0001", slice(2, 4)), ("s0002", slice(0, 2))):
        totalsegmentator(tmp_path / "2", identity, heart=heart)
        masks = tmp_path / "2" / identity / "segmentations"
        (masks / "heart_myocardium.nii.gz").rename(masks / "heart.nii.gz")
        for path in masks.glob("heart_*"):
            path.unlink()
    (tmp_path / "2" / "meta.csv").write_text("image_id;age\ns0001;60\n")
    cohort = find_cohort("totalsegmentator", tmp_path / "2")
    assert cohort.identities == ("s0001",)
    label = cohort.load("s0001").label.array
    assert np.argwhere(label == 1).tolist() == [[z, y, 3] for z in (2, 3) for y in (2, 3, 4)]
    assert set(label.flat) == {0, 1}
    totalsegmentator(tmp_path / "chambers", "s0001")
    heart = tmp_path / "chambers" / "s0001" / "segmentations"
    (heart / "heart.nii.gz").write_bytes((heart / "heart_myocardium.nii.gz").read_bytes())
    assert set(find_cohort("totalsegmentator", tmp_path / "chambers").load("s0001").label.array.flat) > {0, 1, 5, 7}


def test_totalsegmentator_names_a_mask_that_is_not_there(tmp_path):
    totalsegmentator(tmp_path, "s0001")
    (tmp_path / "s0001" / "segmentations" / "aorta.nii.gz").unlink()
    refused(lambda: find_cohort("totalsegmentator", tmp_path), "no mask aorta", "segmentations/aorta.nii.gz")


def test_nifti_folders_with_a_case_that_is_not_annotated(tmp_path):
    write(tmp_path / "a" / "images" / "p1.nii.gz", ct(1))
    write(tmp_path / "a" / "labels" / "p1.nii", labels(255, 255))
    write(tmp_path / "b" / "images" / "p2.nii", ct(2))
    write(tmp_path / "p3.nii", ct(3))
    cohort = find_cohort("nifti", tmp_path)
    assert cohort.identities == ("p1", "p2")
    assert cohort.annotated == ("p1",)
    assert cohort.load("p1").label.array.sum() == 2
    assert cohort.load("p2").label is None


def test_nifti_folders_may_have_others_within(tmp_path):
    for name in ("images/ward a/p1.nii.gz", "images/2019/x/p2.nii.gz"):
        write(tmp_path / name, ct(1))
    write(tmp_path / "labels" / "ward b" / "p1.nii.gz", labels(1))
    cohort = find_cohort("nifti", tmp_path)
    assert cohort.identities == ("p1", "p2")
    assert cohort.annotated == ("p1",)


def test_a_label_without_an_image_is_refused(tmp_path):
    write(tmp_path / "images" / "p1.nii.gz", ct())
    path = write(tmp_path / "labels" / "p2.nii.gz", labels(1))
    refused(lambda: find_cohort("nifti", tmp_path), path, "a label without an image", "images/p2.nii.gz")


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    mmwhs(tmp_path / "disk", 1)
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "root" / "ct20")
    os.symlink(tmp_path / "disk", tmp_path / "disk" / "back")
    assert find_cohort("ct20", tmp_path / "root").identities == ("ct_train_1001",)


def test_a_patient_twice_names_both_files(tmp_path):
    mmwhs(tmp_path / "a", 1)
    mmwhs(tmp_path / "b", 1)
    first, second = (tmp_path / folder / "ct_train_1001_image.nii.gz" for folder in "ab")
    refused(lambda: find_cohort("ct20", tmp_path), first, second, "a second time")
    first, second = (write(tmp_path / "n" / "images" / f"p1{suffix}", ct()) for suffix in (".nii", ".nii.gz"))
    refused(lambda: find_cohort("nifti", tmp_path / "n"), f"after {first};", f"{second}: found p1")


@pytest.mark.parametrize(
    ("name", "looked_for", "source"),
    [
        ("ct20", "ct_train_<number>_image.nii.gz", "MM-WHS"),
        ("ct34lc", "ct_<number>_image.nii.gz", "CHD68"),
        ("ct34mc", "ct_<number>_image.nii.gz", "kaggle.com"),
        ("totalsegmentator", "s0000/ct.nii.gz", "zenodo.org"),
        ("nifti", "images/<name>.nii.gz", "NIfTI"),
    ],
)
def test_a_missing_data_set_says_what_where_and_how(tmp_path, name, looked_for, source):
    refused(lambda: find_cohort(name, tmp_path), f"data set {name}", looked_for, f"below {tmp_path}", source)
    refused(lambda: find_cohort(name, tmp_path / "none"), "no such folder", source)


def test_unknown_names_and_identities_are_refused(tmp_path):
    refused(lambda: find_cohort("ct21", tmp_path), "'ct21'", "ct20, ct34lc")
    mmwhs(tmp_path, 1)
    refused(lambda: find_cohort("ct20", tmp_path).load("ct_train_9"), "'ct_train_9'")


def test_an_image_without_its_label_is_refused(tmp_path):
    mmwhs(tmp_path, 2)
    (tmp_path / "ct_train_1002_label.nii.gz").unlink()
    image = tmp_path / "ct_train_1002_image.nii.gz"
    refused(lambda: find_cohort("ct20", tmp_path), image, "ct_train_1002_label.nii.gz")


def test_bad_images_are_refused_when_loaded(tmp_path):
    mmwhs(tmp_path, 1)
    load = lambda: find_cohort("ct20", tmp_path).load("ct_train_1001")  # noqa: E731
    image = tmp_path / "ct_train_1001_image.nii.gz"
    array = ct().astype(np.float32)
    array[0, 0, :3] = [np.nan, np.inf, -np.inf]
    write(image, array)
    refused(load, image, "3 voxels that are NaN or infinite", "finite values")
    write(image, np.full(SHAPE, -1000, np.int16))
    refused(load, image, "the same value -1000 everywhere")
    truncate(write(image, ct()))
    refused(load, image, "truncated")


def test_bad_labels_are_refused_when_loaded(tmp_path):
    mmwhs(tmp_path, 1)
    load = lambda: find_cohort("ct20", tmp_path).load("ct_train_1001")  # noqa: E731
    label = tmp_path / "ct_train_1001_label.nii.gz"
    write(label, labels(500)[:-1])
    refused(load, label, "a label of 8 x 7 x 5 voxels", "8 x 7 x 6 voxels, as in ct_train_1001_image.nii.gz")
    write(label, labels())
    refused(load, label, "no voxel of any region", "an annotated heart")
    write(label, labels(500, 77, 3000))
    refused(load, label, "unknown label values 77, 3000")
    write(label, labels(500, dtype=np.float32) + np.float32(0.5))
    refused(load, label, "whole numbers")


@pytest.mark.parametrize(
    ("geometry", "apart"),
    [({"origin": (0.0, 0.0, 4.0)}, "4 mm"), ({"spacing": (20.0, 20.0, 22.0)}, "10 mm")],
)
def test_labels_on_another_grid_are_refused(tmp_path, geometry, apart):
    mmwhs(tmp_path, 1)
    label = write(tmp_path / "ct_train_1001_label.nii.gz", labels(500), **geometry)
    refused(lambda: find_cohort("ct20", tmp_path).load("ct_train_1001"), label, apart, "ct_train_1001_image.nii.gz")


def test_rounding_in_a_label_header_is_allowed(tmp_path):
    mmwhs(tmp_path, 1)
    write(tmp_path / "ct_train_1001_label.nii.gz", labels(500), origin=(0.01, 0.0, 0.0))
    case = find_cohort("ct20", tmp_path).load("ct_train_1001")
    assert case.label.geometry == case.image.geometry


def test_the_fingerprint_follows_the_files(tmp_path):
    mmwhs(tmp_path, 2)
    cohort = find_cohort("ct20", tmp_path)
    before = [cohort.fingerprint(identity) for identity in cohort.identities]
    os.utime(tmp_path / "ct_train_1001_label.nii.gz", ns=(1, 1))
    after = [cohort.fingerprint(identity) for identity in cohort.identities]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_all_that_is_missing_is_named_at_once(tmp_path, caplog):
    caplog.set_level("ERROR")
    for number in (1001, 1002, 1003):
        (tmp_path / f"ct_train_{number}_image.nii.gz").touch()
    refused(lambda: find_cohort("ct20", tmp_path), "found 3 cases that cannot be used", "ct_train_1001_image.nii.gz")
    assert all(f"ct_train_{number}_image.nii.gz: found no label beside it" in caplog.text for number in (1001, 1002))


def test_all_damaged_masks_of_totalsegmentator_are_named_at_once(tmp_path, caplog):
    caplog.set_level("ERROR")
    for name in ("s0001", "s0002", "s0003"):
        totalsegmentator(tmp_path, name)
    for name in ("s0002", "s0003"):
        (tmp_path / name / "segmentations" / "heart_myocardium.nii.gz").write_bytes(b"no volume")
    refused(lambda: find_cohort("totalsegmentator", tmp_path), "found 2 cases that cannot be used", "s0002")
    assert "s0003" in caplog.text


def test_masks_of_totalsegmentator_are_read_once(tmp_path, monkeypatch):
    for name, heart in (("s0001", slice(2, 4)), ("s0002", slice(0, 2))):
        totalsegmentator(tmp_path / "data", name, heart=heart)
    read, cache = [], tmp_path / "cache"
    monkeypatch.setattr(whole_hearts, "read_volume", lambda path: read.append(path) or read_volume(path))

    def found(cache_dir=cache):
        read.clear()
        return find_cohort("totalsegmentator", tmp_path / "data", cache_dir=cache_dir).identities, len(read)

    assert found() == (("s0001",), 2)
    assert found() == (("s0001",), 0)
    totalsegmentator(tmp_path / "data", "s0002")  # changed, and whole now
    assert found() == (("s0001", "s0002"), 1)
    assert found() == (("s0001", "s0002"), 0)
    (kept,) = cache.iterdir()
    assert "s0001" not in kept.read_text()
    for damage in ("", "[]", '{"format": 0, "whole": {}}', '{"format": 1, "whole": 3}', "\0"):
        kept.write_text(damage)
        assert found() == (("s0001", "s0002"), 2)
        assert found() == (("s0001", "s0002"), 0)
    assert found(None) == (("s0001", "s0002"), 2)


def test_a_damaged_mask_is_named_at_every_start(tmp_path):
    totalsegmentator(tmp_path / "data", "s0001")
    mask = tmp_path / "data" / "s0001" / "segmentations" / "heart_myocardium.nii.gz"
    mask.write_bytes(b"no volume")
    for _ in range(2):
        refused(lambda: find_cohort("totalsegmentator", tmp_path / "data", cache_dir=tmp_path / "cache"), mask)


def test_the_digest_of_a_label_is_that_of_its_bytes(tmp_path):
    """One file has the sum that sha256sum prints; several have the sum of their sorted sums."""
    mmwhs(tmp_path / "a", 1)
    cohort, label = find_cohort("ct20", tmp_path / "a"), tmp_path / "a" / "ct_train_1001_label.nii.gz"
    assert cohort.label_digest("ct_train_1001") == hashlib.sha256(label.read_bytes()).hexdigest()
    totalsegmentator(tmp_path / "t", "s0001")
    cohort = find_cohort("totalsegmentator", tmp_path / "t")
    masks = (tmp_path / "t" / "s0001" / "segmentations").iterdir()
    sums = sorted(hashlib.sha256(mask.read_bytes()).hexdigest() for mask in masks)
    expected = hashlib.sha256("".join(sums).encode()).hexdigest()
    assert cohort.label_digest("s0001") == expected
    (tmp_path / "t" / "s0001").rename(tmp_path / "t" / "s0777")
    assert find_cohort("totalsegmentator", tmp_path / "t").label_digest("s0777") == expected


def test_a_scan_without_a_label_has_no_digest(tmp_path):
    image = write(tmp_path / "images" / "p1.nii.gz", ct())
    cohort = find_cohort("nifti", tmp_path)
    refused(lambda: cohort.label_digest("p1"), image, "an annotated scan")
    refused(lambda: cohort.label_digest("p2"), "'p2'")


def test_a_user_says_what_label_values_mean(tmp_path):
    write(tmp_path / "images" / "p1.nii.gz", ct())
    write(tmp_path / "labels" / "p1.nii.gz", labels(51, 1, 99))
    cohort = find_cohort("nifti", tmp_path, label_values="heart:51")
    np.testing.assert_array_equal(cohort.load("p1").label.array.ravel()[10:13], [1, 0, 0])
    other = find_cohort("nifti", tmp_path, label_values="heart:51,aorta:99")
    np.testing.assert_array_equal(other.load("p1").label.array.ravel()[10:13], [1, 0, 6])
    prints = {found.fingerprint("p1") for found in (cohort, other, find_cohort("nifti", tmp_path))}
    assert len(prints) == 3  # what is kept of one scheme is not taken for another
    refused(lambda: find_cohort("nifti", tmp_path).load("p1"), "unknown label values 51, 99")
    totalsegmentator(tmp_path, "s0001")
    with pytest.raises(InputError, match=r"data\.label_values is heart:1; it must be empty: TotalSegmentator has"):
        find_cohort("totalsegmentator", tmp_path, label_values="heart:1")


@pytest.mark.parametrize("name", ["aorta", "heart_myocardium"])
def test_soft_masks_of_structures_are_refused(tmp_path, name):
    totalsegmentator(tmp_path, "s0001")
    soft = np.linspace(0, 1, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    path = write(tmp_path / "s0001" / "segmentations" / f"{name}.nii.gz", soft)
    refused(lambda: find_cohort("totalsegmentator", tmp_path).load("s0001"), path, "a soft mask")
