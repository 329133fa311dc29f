"""Files that are not what their names say, or not there: the message says what they are and what to do."""

import gzip
import io
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.data.contents import stat_file
from fedsim_tf.data.nifti import read_nifti as read_volume
from fedsim_tf.errors import Refusals
from tests.data.files_for_tests import ct, labels, raw_nifti, refused, write

NIFTI = raw_nifti(ct(), np.eye(3, 4))


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("scan.nii", NIFTI)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "found", "todo"),
    [
        ("a.nii", gzip.compress(NIFTI), "a gzip-compressed file", "rename it to a.nii.gz"),
        ("a.nii.gz", NIFTI, "a NIfTI file that is not compressed", "rename it to a.nii"),
        ("a.nii.gz", b"", "an empty file", "copy or download it again"),
        ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "git lfs pull"),
        ("a.nii", b"/annex/objects/SHA256E-s672--0.nii\n", "a pointer of git-annex", "git annex get"),
        ("a.nii", bytes(128) + b"DICM" + bytes(400), "a DICOM file", "dcm2niix"),
        ("a.nii.gz", zipped(), "a ZIP archive", "unpack it"),
        ("a.nii.gz", b"<!DOCTYPE html><title>Log in</title>", "a web page", "download it again"),
        ("a.nii.gz", gzip.compress(NIFTI)[:-30], "a truncated or damaged gzip stream", "copy or download it again"),
    ],
)
def test_what_a_file_is_and_what_to_do(tmp_path, name, content, found, todo):
    (tmp_path / name).write_bytes(content)
    refused(lambda: read_volume(tmp_path / name), tmp_path / name, found, todo)


def test_an_nrrd_file_by_another_name_is_known(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ct()), str(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").rename(tmp_path / "a.nii")
    refused(lambda: read_volume(tmp_path / "a.nii"), "an NRRD file", "3D Slicer")


def test_links_that_lead_nowhere_are_refused_with_where_they_lead(tmp_path):
    annexed, other = tmp_path / "annexed.nii.gz", tmp_path / "other.nii.gz"
    annexed.symlink_to("../.git/annex/objects/x/y")
    other.symlink_to("gone.nii.gz")
    for action in (read_volume, stat_file):
        refused(lambda action=action: action(annexed), annexed, "a link to ../.git/annex/objects/x/y", "datalad get")
        assert "datalad" not in refused(lambda action=action: action(other), other, "a link to gone.nii.gz")
    refused(lambda: stat_file(tmp_path / "none.nii"), "no such file")
    (tmp_path / "folder.nii").mkdir()
    refused(lambda: read_volume(tmp_path / "folder.nii"), "no file but a folder")


def test_broken_links_are_collected_with_the_other_faults(tmp_path):
    from fedsim_tf.data.cache import prepare_cohort

    for number in range(4):
        write(tmp_path / "d" / "images" / f"p{number}.nii.gz", ct(number))
        write(tmp_path / "d" / "labels" / f"p{number}.nii.gz", labels(*range(1, 8)))
    for broken in ("images/p0.nii.gz", "labels/p2.nii.gz"):
        (tmp_path / "d" / broken).unlink()
        (tmp_path / "d" / broken).symlink_to("gone")
    write(tmp_path / "d" / "labels" / "p3.nii.gz", labels(99, 100))
    cohort, errors = find_cohort("nifti", tmp_path / "d"), []
    for cache_dir in (tmp_path / "cache", None):
        errors.clear()
        prepared = prepare_cohort(cohort, cohort.identities, 8, cache_dir=cache_dir, refused=errors.append)
        assert [case.identity for case in prepared] == ["p1"]
        assert [str(error).split(": found")[0].rsplit("/", 2)[1:] for error in errors] == [
            ["images", "p0.nii.gz"],
            ["labels", "p2.nii.gz"],
            ["labels", "p3.nii.gz"],
        ]
    refusals = Refusals("nifti")
    for error in errors:
        refusals.add(error)
    refused(refusals.check, "3 cases that cannot be used")
