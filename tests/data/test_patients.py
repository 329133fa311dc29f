"""Scans of one patient stay together."""

import collections
import unicodedata

import pytest

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.data.patients import PATIENTS_FILE, read_patients, split_scans
from tests.data.files_for_tests import refused
from tests.data.test_cohorts import totalsegmentator

SCANS = [f"p{number}_{year}" for number in range(12) for year in (2019, 2021, 2024)[: 1 + number % 3]]
PATIENTS = {scan: scan.partition("_")[0] for scan in SCANS}


@pytest.mark.parametrize("seed", [0, 5])
def test_no_patient_is_in_two_parts_and_everyone_is_tested(seed):
    tested = collections.Counter()
    for fold in range(5):
        parts = split_scans("nifti", SCANS, SCANS, PATIENTS, fold=fold, seed=seed)
        owners = [{PATIENTS[scan] for scan in part} for part in parts[:3]]
        assert sum(map(len, owners)) == len(set.union(*owners)) == 12
        assert sorted(parts.train + parts.validation + parts.test) == sorted(SCANS)
        tested.update(parts.test)
    assert set(tested) == set(SCANS)


def test_unannotated_scans_train_unless_their_patient_is_held_out():
    annotated = [scan for scan in SCANS if not scan.endswith("2021")]
    others = ["x1", "x2"]
    parts = split_scans("nifti", [*SCANS, *others], annotated, PATIENTS, fold=1, seed=0)
    held_out = {PATIENTS[scan] for scan in parts.validation + parts.test}
    assert set(parts.train + parts.validation + parts.test) == set(annotated)
    assert set(others) <= set(parts.unannotated)
    wanted = {scan for scan in SCANS if scan.endswith("2021") and PATIENTS[scan] not in held_out}
    assert set(parts.unannotated) - set(others) == wanted


def folder(root, *names):
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
        for name in names:
            (root / kind / name).write_bytes(kind.encode())
    return root


def test_a_cohort_reads_whose_its_scans_are(tmp_path):
    root = folder(tmp_path, *[f"{scan}.nii.gz" for scan in SCANS])
    assert find_cohort("nifti", root).patients == {}
    rows = [f"{scan}, {patient}" for scan, patient in PATIENTS.items()]
    (root / PATIENTS_FILE).write_text("\n".join(["# from the RIS", "scan,patient", *rows, ",", ""]))
    cohort = find_cohort("nifti", root)
    assert cohort.patients == PATIENTS
    assert cohort.sizes == (7, 2, 3)  # patients
    assert cohort.fold(2, seed=0) == split_scans("nifti", SCANS, SCANS, PATIENTS, fold=2, seed=0)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("file,patient\na,1\n", ["file,patient", "scan,patient"]),
        ("", ["no rows"]),
        ("scan,patient\na,1\nb,1\na,2\n", ["line 4", "a second time"]),
        ("scan,patient\nc,1\n", ["line 2", "no scan here"]),
        ("scan,patient\n\na\n", ["line 3", "a scan and its patient"]),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, fragments):
    path = tmp_path / PATIENTS_FILE
    path.write_text(text)
    refused(lambda: read_patients(path, {"a", "b"}), path, *fragments)


def test_one_file_under_two_names_is_refused(tmp_path):
    root = folder(tmp_path, "a.nii.gz", "c.nii.gz")
    (root / "images" / "b.nii.gz").symlink_to(root / "images" / "a.nii.gz")
    refused(lambda: find_cohort("nifti", root), "b.nii.gz", "the same file a second time", "a.nii.gz")


def test_names_may_be_upper_case_and_their_letters_decomposed(tmp_path):
    """One letter, a u with two dots, is written in two ways, as in files copied from a Mac."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "mu\u0308ller.NII.GZ").write_bytes(b"")
    (tmp_path / "labels" / "m\u00fcller.nii.gz").write_bytes(b"")
    assert find_cohort("nifti", tmp_path).annotated == ("m\u00fcller",)


def test_the_file_may_name_scans_of_other_sites_below_the_same_folder(tmp_path):
    for number in range(1001, 1005):
        for kind in ("image", "label"):
            (tmp_path / f"ct_{number}_{kind}.nii.gz").touch()
    sites = ["ct34lc", "ct34lc", "ct34mc", "ct34mc"]
    rows = [f"{number},{site}" for number, site in zip(range(1001, 1005), sites, strict=True)]
    (tmp_path / "division.csv").write_text("\n".join(["id,site", *rows]) + "\n")
    for name in ("anna_a", "anna_b"):
        (tmp_path / "own" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / "images" / f"{name}.nii.gz").touch()
    rows = ["ct_1001,x", "ct_1002,x", "ct_1003,y", "ct_1004,z", "anna_a,anna", "anna_b,anna"]
    (tmp_path / PATIENTS_FILE).write_text("\n".join(["scan,patient", *rows]) + "\n")
    assert find_cohort("ct34lc", tmp_path).n_patients == 1
    assert find_cohort("ct34mc", tmp_path).n_patients == 2
    (tmp_path / PATIENTS_FILE).write_text("scan,patient\nct_1005,x\n")
    refused(lambda: find_cohort("ct34lc", tmp_path), "ct_1005, which is no scan here")


def test_umlauts_are_found_however_they_are_written(tmp_path):
    names = [unicodedata.normalize("NFC", name) for name in ("Jörg_1", "Jörg_2")]
    path = tmp_path / PATIENTS_FILE
    path.write_text("scan,patient\n" + "".join(f"{unicodedata.normalize('NFD', name)},j\n" for name in names))
    assert read_patients(path, set(names)) == dict.fromkeys(names, "j")


def test_two_unicode_forms_of_one_name_are_one(tmp_path):
    """Of a folder, a scan and a patient: macOS decomposes letters, Linux takes what it is given."""
    composed, apart = (unicodedata.normalize(form, "Jörg") for form in ("NFC", "NFD"))
    totalsegmentator(tmp_path, apart)
    (tmp_path / PATIENTS_FILE).write_text(f"scan,patient\n{composed},{apart}\n")
    cohort = find_cohort("totalsegmentator", tmp_path)
    assert cohort.identities == (composed,)
    assert cohort.patients == {composed: composed}
    totalsegmentator(tmp_path, composed)
    refused(lambda: find_cohort("totalsegmentator", tmp_path), f"{composed} a second time")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_files_in_another_encoding_say_what_to_do(tmp_path, encoding):
    path = tmp_path / PATIENTS_FILE
    path.write_bytes("scan,patient\na,Anna\nb,J\u00f6rg\n".encode(encoding))
    line = 3 if encoding == "latin-1" else 1
    refused(lambda: read_patients(path, ["a", "b"]), path, f"no UTF-8 in line {line}", "CSV UTF-8", "iconv")
