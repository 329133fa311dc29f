"""TotalSegmentator's folders, of both versions: a CT and a mask of each structure."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

from fedsim_tf.data.case_files import CaseFiles, index_files
from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import NIFTI_SUFFIXES, has_suffix, strip_suffix
from fedsim_tf.errors import InputError, Refusals, listed
from fedsim_tf.regions import LV, TOTALSEGMENTATOR_NAMES

MASKS = "segmentations"
WHOLE_HEART = "heart"  # version 2 has it instead of the chambers
_CT = re.compile(r"ct", re.IGNORECASE)


def find_masks(image: pathlib.Path, names: dict[str, int]) -> dict[int, pathlib.Path]:
    """Return the mask of each region beside a CT.

    Args:
      image: the CT; the masks lie in the folder `segmentations` beside it.
      names: the files' names without endings, and the regions.

    Raises:
      InputError: a mask that is not there.
    """
    masks = {}
    for structure, region in names.items():
        files = [image.parent / MASKS / f"{structure}{suffix}" for suffix in (".nii.gz", ".nii")]
        found = [file for file in files if file.is_file()]
        if not found:
            raise InputError(image, found=f"no mask {structure}", expected=files[0])
        masks[region] = found[0]
    return masks


def find_totalsegmentator(root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans `<name>/ct.nii.gz` with `segmentations` beside them, of either version.

    Raises:
      InputError: masks that lack others, or scans of both versions, whose hearts are not the same.
    """
    images = find_images(root)
    return pair_with_masks({name: path for name, path in images.items() if (path.parent / MASKS).is_dir()}, root)


def find_images(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return each `<name>/ct.nii.gz` below a folder by name.

    Raises:
      InputError: a name that comes twice.
    """
    files = [path for path in walk_files(root) if has_suffix(path, NIFTI_SUFFIXES)]
    return index_files((path.parent.name, path) for path in files if _CT.fullmatch(strip_suffix(path)))


def pair_with_masks(images: Mapping[str, pathlib.Path], root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans with their masks: those of the seven regions in version 1, that of the heart in version 2.

    Raises:
      InputError: masks that are not there, or scans of both versions, whose hearts are not the same.
    """
    newer = [name for name, path in images.items() if is_version_2(path)]
    if newer and len(newer) < len(images):
        found = f"masks of version 2 in {listed(newer, shown=3)} and of version 1 in the others"
        raise InputError(root, found=found, expected="one version: only the first has aorta and pulmonary artery")
    names = {WHOLE_HEART: LV} if newer else dict(TOTALSEGMENTATOR_NAMES)
    refusals, cases = Refusals(root), []
    for name, path in images.items():
        with refusals.each():
            cases.append(CaseFiles(name, path, find_masks(path, names)))
    refusals.check()
    return cases


def is_version_2(image: pathlib.Path) -> bool:
    """Return whether the masks beside a CT are those of version 2, with a heart and no chambers."""
    has = lambda name: any((image.parent / MASKS / f"{name}{end}").is_file() for end in NIFTI_SUFFIXES)  # noqa: E731
    return has(WHOLE_HEART) and not has("heart_myocardium")
