"""Preparing a data set: every file is read once, and a bad one is found before any run."""

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.config import from_dict, merge
from fedsim_tf.data import remarks
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.runs.inputs import check_labels, open_cohort, open_fold
from fedsim_tf.tools.prepare import cohort_summary, open_preparation, prepare_dataset, write_page
from tests.runs.toy_cohorts import EXTENT_MM, ball, write, write_own_cohort, write_paper_cohort
from tests.training.toy_site import toy_config


@pytest.fixture
def config(tmp_path):
    write_paper_cohort(tmp_path / "data", "ct20", count=20)
    return toy_config(dataset="ct20", data={"root": str(tmp_path / "data")})


def prepared(config, cache_dir):
    refusals = Refusals(config.dataset)
    cases = prepare_dataset(open_preparation(config, cache_dir=cache_dir), refusals=refusals)
    refusals.check()
    return cases


def test_folds_find_every_volume_prepared(config, tmp_path, monkeypatch):
    assert len(prepared(config, tmp_path)) == 20
    assert (tmp_path / "prepared").stat().st_mode & 0o077 == 0  # patients' CTs
    cohort = open_cohort(config, "ct20", cache_dir=tmp_path)
    monkeypatch.setattr(type(cohort), "load", lambda *_: pytest.fail("read again"))
    site = open_fold(config, cohort, fold=3, n_labelled=4, cache_dir=tmp_path)
    assert len(site.fully_labelled) == 12


def test_what_a_fold_learns_from_has_the_unannotated_volumes_too(tmp_path):
    write_own_cohort(tmp_path / "data", annotated=6, unannotated=2)
    config = toy_config(dataset="nifti", data={"root": str(tmp_path / "data")})
    cohort = open_cohort(config, "nifti", cache_dir=tmp_path)
    site = open_fold(config, cohort, fold=0, n_labelled=2, cache_dir=tmp_path)
    assert set(site.unlabelled.identities) > {"case_6", "case_7"}
    assert len(site.training_images) == len(site.fully_labelled) + 2
    for part in (site.labelled, site.unlabelled, site.fully_labelled):
        assert all(any(np.array_equal(image, one) for one in site.training_images) for image in part.images)


def test_labels_are_limited_by_scans_and_folds_by_patients(tmp_path):
    """Ten patients with three scans each have eighteen to train on in every fold, of six patients."""
    write_own_cohort(tmp_path / "data", annotated=30, unannotated=0)
    rows = [f"case_{number},patient_{number // 3}" for number in range(30)]
    (tmp_path / "data" / "patients.csv").write_text("\n".join(["scan,patient", *rows]) + "\n")

    def opened(**data):
        config = toy_config(data={"root": str(tmp_path / "data"), **data})
        check_labels(config, "nifti", data["labels"], cache_dir=tmp_path)
        return open_cohort(config, "nifti", cache_dir=tmp_path)

    assert opened(labels=18).n_patients == 10
    with pytest.raises(InputError, match=r"data\.labels is 19; it must be at most 18, the training part of the 30"):
        opened(labels=19)
    rows = [f"case_{number},patient_{number // 10}" for number in range(30)]
    (tmp_path / "data" / "patients.csv").write_text("\n".join(["scan,patient", *rows]) + "\n")
    assert opened(labels=10, folds=3).n_patients == 3
    with pytest.raises(InputError, match=r"data\.folds is 5; it must be at most 3, the number of annotated patients"):
        opened(labels=10, folds=5)


def test_a_damaged_file_is_named(config, tmp_path):
    (tmp_path / "data" / "ct_train_1013_image.nii.gz").write_bytes(b"no volume")
    with pytest.raises(InputError, match=r"^\S*ct_train_1013_image\.nii\.gz"):
        prepared(config, tmp_path)


def test_all_damaged_files_are_named_at_once(config, tmp_path, caplog):
    caplog.set_level("ERROR")
    for number in (1003, 1013):
        (tmp_path / "data" / f"ct_train_{number}_image.nii.gz").write_bytes(b"no volume")
    refusals = Refusals("ct20")
    assert (
        len(prepare_dataset(open_preparation(config, cache_dir=tmp_path), refusals=refusals)) == 18
    )  # of which it can be said more
    with pytest.raises(InputError, match=r"ct20: found 2 cases that cannot be used; .*ct_train_1003_image"):
        refusals.check()
    for number in (1003, 1013):
        assert f"ct_train_{number}_image.nii.gz" in caplog.text
    assert len(list((tmp_path / "prepared").glob("*.npz"))) == 18


def test_the_summary_says_sizes_and_hearts(config, tmp_path):
    """Cubes of 32 voxels that span EXTENT_MM, with a ball in each."""
    cases = prepared(config, tmp_path)
    lines = {
        line[:24].strip(): [float(word) for word in line[24:].split()]
        for line in cohort_summary(cases, config).splitlines()
    }
    for axis in "xyz":
        assert lines[f"field of view {axis}, mm"] == [EXTENT_MM] * 3
    voxel_ml = (EXTENT_MM / 32) ** 3 / 1000
    hearts = [np.count_nonzero(case.label) * voxel_ml for case in cases]
    np.testing.assert_allclose(lines["heart, ml"], np.percentile(hearts, (0, 50, 100)), atol=0.51)


def test_a_slip_in_the_headers_is_warned_of_and_mended_by_the_extents_given(config, tmp_path, caplog):
    """Headers that say 1 mm everywhere, one volume of another shape: the log names both; given extents are believed."""
    for path in (tmp_path / "data").rglob("*.nii.gz"):
        volume = sitk.Expand(sitk.ReadImage(str(path)), (2, 2, 2), sitk.sitkNearestNeighbor)
        volume.SetSpacing((1.0, 1.0, 1.0))
        if "1003" in path.name:
            air = -1000 if "image" in path.name else 0
            volume = sitk.ConstantPad(volume, (0, 0, 0), (0, 0, 128), air)
        sitk.WriteImage(volume, str(path))
    caplog.set_level("WARNING")
    prepared(config, tmp_path)
    assert "every file says that its voxels are 1 x 1 x 1 mm" in caplog.text
    assert "1 of 20 volumes show far more or less" in caplog.text
    assert "1003 (" in caplog.text
    given = merge(config.to_dict(), {"data": {"field_of_view_mm": 96.0}})
    lines = cohort_summary(prepared(from_dict(given), tmp_path), from_dict(given)).splitlines()
    assert lines[0].split()[-3:] == ["96", "96", "96"]


def test_impossible_extents_are_refused_unless_others_are_given(config, tmp_path):
    """Headers that say 1 mm for 32 voxels across: 32 mm are no chest."""
    for path in (tmp_path / "data").rglob("*.nii.gz"):
        volume = sitk.ReadImage(str(path))
        volume.SetSpacing((1.0, 1.0, 1.0))
        sitk.WriteImage(volume, str(path))
    given = from_dict(merge(config.to_dict(), {"data": {"field_of_view_mm": 96.0}}))
    for _ in range(2):  # what is kept of one is not taken for the other
        assert len(prepared(given, tmp_path)) == 20
        with pytest.raises(InputError, match=r"20 cases that cannot be used.* a field of view of 32 x 32 x 32 mm"):
            prepared(config, tmp_path)


def test_one_ct_under_two_names_is_refused(tmp_path, caplog):
    """Other compression, another type and another header do not hide it; one patient's scans stay together."""
    root = tmp_path / "data"
    write_own_cohort(root, annotated=5, unannotated=1)
    copied = sitk.Cast(sitk.ReadImage(str(root / "images" / "case_1.nii.gz")), sitk.sitkFloat32)
    copied.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(copied, str(root / "images" / "again.nii"))
    config = toy_config(dataset="nifti", data={"root": str(root)})
    for _ in range(2):  # read from the files, then from the cache
        refusals = Refusals("nifti")
        cases = prepare_dataset(open_preparation(config, cache_dir=tmp_path), refusals=refusals)
        assert len(cases) == 6
        with pytest.raises(InputError, match=r"images/case_1\.nii\.gz: found the voxels of \S+again\.nii; expected"):
            refusals.check()
    cohort = open_cohort(config, "nifti", cache_dir=tmp_path)
    with pytest.raises(InputError, match="found the voxels of"):
        open_fold(config, cohort, fold=0, n_labelled=2, cache_dir=tmp_path)
    (root / "patients.csv").write_text("scan,patient\nagain,anna\ncase_1,anna\n")
    assert len(prepared(config, tmp_path)) == 7
    assert "case_1.nii.gz has the voxels of " in caplog.text


def test_a_heart_that_vanishes_on_the_grid_is_refused(tmp_path):
    """Every other voxel of a CT of twice the resolution, on the side that is not taken: 110 ml in all."""
    write_own_cohort(tmp_path / "data", annotated=4, unannotated=0)
    fine, label = np.random.default_rng(0).normal(-300, 400, (64, 64, 64)), np.zeros((64, 64, 64), np.uint8)
    label[1::2, 1::2, 1::2] = 1
    write(tmp_path / "data" / "images" / "case_0.nii.gz", fine.astype(np.int16))
    write(tmp_path / "data" / "labels" / "case_0.nii.gz", label)
    config = toy_config(dataset="nifti", data={"root": str(tmp_path / "data")})
    with pytest.raises(InputError, match=r"case_0: found a heart so small that none of 32\^3 voxels shows it"):
        prepared(config, tmp_path)


def test_warnings_are_said_again_of_what_is_prepared(tmp_path, caplog, monkeypatch):
    write_own_cohort(tmp_path / "data", annotated=4, unannotated=0)
    _, mask = ball(1)
    mask[0, 0, 0] = 1
    write(tmp_path / "data" / "labels" / "case_1.nii.gz", mask)
    config = toy_config(dataset="nifti", data={"root": str(tmp_path / "data")})
    said = "case_1.nii.gz: 1 stray islands with 1 voxels in all lie up to"
    prepared(config, tmp_path)
    assert caplog.text.count(said) == 1
    prepared(config, tmp_path)
    assert caplog.text.count(said) == 1
    monkeypatch.setattr(remarks, "_SAID", set())  # another process
    prepared(config, tmp_path)
    assert caplog.text.count(said) == 2


def test_a_page_shows_every_volume_and_is_the_owners_alone(config, tmp_path):
    (tmp_path / "data" / "ct_train_1013_image.nii.gz").write_bytes(b"no volume")
    start, refusals = open_preparation(config, cache_dir=tmp_path), Refusals(config.dataset)
    cases = prepare_dataset(start, refusals=refusals)
    page = write_page(start, cases, tmp_path / "page", title="ct20", left_out=refusals.lines, remarks=[])
    text = page.read_text(encoding="utf-8")
    assert "19 scans can be used" in text
    assert "ct_train_1013_image.nii.gz: found" in text
    assert "".join(sorted(path.name for path in (tmp_path / "page" / "pictures").iterdir())) == "".join(
        f"{number:03d}.png" for number in range(19)
    )
    assert page.parent.stat().st_mode & 0o077 == 0


def test_one_ct_with_other_axes_is_found(tmp_path):
    """The same patient stored as RAS and as PIR, which SimpleITK turns; and flipped below a header of before."""
    root = tmp_path / "data"
    write_own_cohort(root, annotated=5, unannotated=1)
    image = sitk.ReadImage(str(root / "images" / "case_1.nii.gz"))
    for axes in ("RAS", "PIR"):
        sitk.WriteImage(sitk.DICOMOrient(image, axes), str(root / "images" / f"{axes}.nii.gz"))
    write(root / "images" / "flipped.nii.gz", sitk.GetArrayFromImage(image)[:, ::-1])
    refusals = Refusals("nifti")
    config = toy_config(dataset="nifti", data={"root": str(root)})
    cases = prepare_dataset(open_preparation(config, cache_dir=tmp_path), refusals=refusals)
    assert len(cases) == 6
    assert len(refusals.lines) == 3
    assert all("found the voxels of" in line for line in refusals.lines)
