"""A user's own data: how it is laid out is found by looking."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from fedsim_tf.data.case_files import CaseFiles
from fedsim_tf.data.dicom_layout import find_dicom_patients
from fedsim_tf.data.folder_layouts import find_by_endings, find_in_folders
from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import DICOM_SUFFIXES, VOLUME_SUFFIXES, has_suffix, is_dicom_file
from fedsim_tf.data.labels import CANONICAL, LabelScheme
from fedsim_tf.data.list_layouts import find_in_csv, find_in_datalist, find_nnunet
from fedsim_tf.data.remarks import warn
from fedsim_tf.data.totalsegmentator_layout import MASKS, find_totalsegmentator
from fedsim_tf.errors import InputError, listed
from fedsim_tf.progress import count_text

# Lists come first: they say what is meant where folders merely suggest it.
_LISTS: Mapping[str, Callable[[pathlib.Path], list[CaseFiles]]] = {
    "a MONAI datalist": find_in_datalist,
    "a CSV of pairs": find_in_csv,
}
_FOLDERS: Mapping[str, Callable[[pathlib.Path], list[CaseFiles]]] = {
    "nnU-Net's raw data": find_nnunet,
    "images/ and labels/": find_in_folders,
    "files ending in _label": find_by_endings,
    "TotalSegmentator": find_totalsegmentator,
    "DICOM patients": find_dicom_patients,
}


@dataclasses.dataclass(frozen=True)
class OwnLayout:
    """Whatever of the usual layouts a folder has; see `find`."""

    looked_for: str = (
        "images/<name>.nii.gz with labels/<name>.nii.gz where annotated (or .nrrd, .mha), <name>_label, nnU-Net's "
        "imagesTr, a MONAI datalist, a CSV with image,label, TotalSegmentator's or DICOM patients' folders"
    )
    source: str = "your own CTs in HU as NIfTI, NRRD, MetaImage or DICOM, with region ids 0 to 7 or a heart as labels"
    label_scheme: LabelScheme = CANONICAL

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        """Return the scans below a folder; volumes that are none of theirs are warned of.

        Raises:
          InputError: files of two layouts that say different things, or what the layout itself refuses.
        """
        found = {name: cases for name, look in (_LISTS | _FOLDERS).items() if (cases := look(root))}  # type: ignore[operator]
        if not found:
            return []
        chosen, *others = found
        for other in others:
            one, two = _pairs(found[chosen]), _pairs(found[other])
            # A list may choose among the files that folders hold.
            if not (one <= two if chosen in _LISTS else one == two):
                text = f"{chosen} with {_count(found[chosen])} and {other} with {_count(found[other])}"
                raise InputError(root, found=text, expected="one layout: move the other's files away")
        _warn_of_rest(root, found[chosen])
        return found[chosen]


def _pairs(cases: Sequence[CaseFiles]) -> set[tuple]:
    return {(one.image.resolve(), *(path.resolve() for path in one.label_paths)) for one in cases}


def _count(cases: Sequence[CaseFiles]) -> str:
    return f"{len(cases)} cases, {sum(one.label is not None for one in cases)} of them annotated"


def _warn_of_rest(root: pathlib.Path, cases: Sequence[CaseFiles]) -> None:
    """Warn of volumes below the root that belong to no case."""
    used = {path for one in cases for path in one.paths}
    is_dicom = any(one.image.is_dir() for one in cases)
    rest = []
    for path in walk_files(root):
        known = has_suffix(path, (*VOLUME_SUFFIXES, *DICOM_SUFFIXES)) or (is_dicom and is_dicom_file(path))
        if known and path not in used and MASKS not in path.parts:
            rest.append(str(path.relative_to(root)))
    if rest:
        warn("%s: %s not used: %s", root, count_text(len(rest), "file"), listed(rest, shown=5))
