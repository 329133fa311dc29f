"""One door for every format in which a volume is written: the file's name says which."""

from __future__ import annotations

import os
import pathlib

from fedsim_tf.data.formats import NIFTI_SUFFIXES, has_suffix
from fedsim_tf.data.nifti import write_nifti
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

WRITABLE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")


def write_volume(volume: Volume, path: str | os.PathLike) -> None:
    """Write a NIfTI, NRRD or MetaImage file, whole or not at all; see `write_nifti` and `write_research_file`.

    Raises:
      InputError: another suffix, or a file that cannot be written, such as to a full disk.
    """
    path = pathlib.Path(path)
    check_writable_name(path)
    if has_suffix(path, NIFTI_SUFFIXES):
        write_nifti(volume, path)
        return
    from fedsim_tf.data.research_files import write_research_file

    write_research_file(volume, path)


def check_writable_name(path: pathlib.Path) -> None:
    """Refuse a name whose ending stands for no format that volumes are written in, with an InputError."""
    if not has_suffix(path, WRITABLE_SUFFIXES):
        expected = f"one in {', '.join(WRITABLE_SUFFIXES)}"
        raise InputError(path, found=f"a name ending in {path.suffix!r}", expected=expected)
