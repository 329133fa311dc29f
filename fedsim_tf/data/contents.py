"""What a file is that was taken for a NIfTI file, by its first bytes, and what to do about it."""

from __future__ import annotations

import os
import pathlib

from fedsim_tf.errors import InputError

_GZIP = b"\x1f\x8b"
EXPECTED = "a whole three-dimensional NIfTI file (.nii or .nii.gz)"
FIRST_BYTES = 512


def stat_file(path: pathlib.Path) -> os.stat_result:
    """Return size and times of a file.

    Raises:
      InputError: there is no such file, or a link leads nowhere, as those of git-annex do before `git annex get`.
    """
    try:
        return path.stat()
    except OSError as error:
        if path.is_symlink():
            where = os.readlink(path)
            get = ": fetch it with datalad get or git annex get" if ".git/annex" in where else ""
            expected = f"the file that it stands for{get}"
            raise InputError(path, found=f"a link to {where}, where there is nothing", expected=expected) from None
        raise InputError(path, found=f"no such file ({error.strerror})", expected=EXPECTED) from None


def describe_other_format(first: bytes, path: pathlib.Path) -> tuple[str, str] | None:
    """Return what a file is, if its first bytes tell that it is no NIfTI file as its name says, and what to do.

    Args:
      first: the first 512 bytes or all.
      path: the file, whose name says whether it is compressed.
    """
    compressed = path.suffix.lower() == ".gz"
    if not first:
        return "an empty file", f"{EXPECTED}: copy or download it again"
    if first.startswith(_GZIP) and not compressed:
        return "a gzip-compressed file", f"a name that ends in .nii.gz: rename it to {path.stem}.nii.gz"
    if compressed and _is_nifti(first):
        return "a NIfTI file that is not compressed", f"a name that ends in .nii: rename it to {path.stem}"
    if first.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS instead of the file", f"{EXPECTED}: fetch it with git lfs pull"
    if b"/annex/objects/" in first:
        return "a pointer of git-annex instead of the file", f"{EXPECTED}: fetch it with git annex get"
    if first[128:132] == b"DICM":
        return "a DICOM file", f"{EXPECTED}: convert the series, for example with dcm2niix"
    if first.startswith(b"NRRD0"):
        return "an NRRD file", f"{EXPECTED}: convert it, for example with 3D Slicer"
    if first.startswith(b"PK"):
        return "a ZIP archive", f"{EXPECTED}: unpack it"
    if first.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        return "a web page", f"{EXPECTED}: download it again, as a login or an error was saved in its place"
    return None


def _is_nifti(first: bytes) -> bool:
    return first[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")
