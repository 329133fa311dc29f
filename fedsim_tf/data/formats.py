"""Names of files that hold volumes: which format an ending stands for, and a file's name without it."""

from __future__ import annotations

import os
import pathlib
import re
import unicodedata

NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
META_SUFFIXES = (".mha", ".mhd")
VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, *NRRD_SUFFIXES, *META_SUFFIXES)
DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_ENDING = re.compile(r"\.(?:nii(?:\.gz)?|(?:seg\.)?nrrd|nhdr|mh[ad])$", re.IGNORECASE)
_DICOM_MARK, _DICOM_MARK_AT = b"DICM", 128


def has_suffix(path: str | os.PathLike, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file's name ends in one of `suffixes`, in letters of either case."""
    return pathlib.Path(path).name.lower().endswith(suffixes)


def strip_suffix(path: pathlib.Path) -> str:
    """Return a volume's file name without its ending, its letters composed: file systems write umlauts differently."""
    return unicodedata.normalize("NFC", _ENDING.sub("", path.name))


def is_dicom_file(path: pathlib.Path) -> bool:
    """Return whether a file is DICOM by its mark at byte 128, or by its name where the mark was left out."""
    if has_suffix(path, VOLUME_SUFFIXES):
        return False
    try:
        with path.open("rb") as stream:
            start = stream.read(_DICOM_MARK_AT + len(_DICOM_MARK))
    except OSError:
        return False
    return start[_DICOM_MARK_AT:] == _DICOM_MARK or has_suffix(path, DICOM_SUFFIXES)
