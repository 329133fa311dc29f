"""Layouts of a user's own files that folders or endings of names tell: images/ and labels/, or `_label`."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Sequence

from fedsim_tf.data.case_files import CaseFiles, check_partners, index_files
from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import DICOM_SUFFIXES, VOLUME_SUFFIXES, has_suffix, strip_suffix
from fedsim_tf.errors import InputError, Refusals

IMAGE_FOLDERS, LABEL_FOLDERS = ("images", "image"), ("labels", "label")
_LABEL_ENDING = re.compile(r"(.+)[_-](?:labels?|seg|segmentation|mask)$", re.IGNORECASE)
_IMAGE_ENDING = re.compile(r"(.+?)(?:[_-](?:image|ct)|_0000)$", re.IGNORECASE)
_READ = (*VOLUME_SUFFIXES, *DICOM_SUFFIXES)
_NOTES = (".json", ".txt", ".csv", ".xml", ".md", ".raw", ".zraw")  # beside labels, or their voxels


def find_in_folders(root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans of `images/<name>` and `labels/<name>`, either with others within; none without an image.

    A label may be called `<name>_label`, an image `<name>_image` or, as of nnU-Net, `<name>_0000`. Labels may also be
    RTSTRUCT or SEG.

    Raises:
      InputError: two files of one name, a label without an image, or one in a format that is not read.
    """
    files = _find_volumes(root)
    plans = [path for path in walk_files(root) if has_suffix(path, DICOM_SUFFIXES)]
    images = index_files((strip_suffix(path), path) for path in files if _lies_in(path, root, IMAGE_FOLDERS))
    if not images:
        return []
    named = [(strip_suffix(path), path) for path in files] + [(path.stem, path) for path in plans]
    labels = index_files((name, path) for name, path in named if _lies_in(path, root, LABEL_FOLDERS))
    wanted = {*labels, *(match.group(1) for name in labels if (match := _LABEL_ENDING.match(name)))}
    images = index_files((_shorten(name, _IMAGE_ENDING, wanted), path) for name, path in images.items())
    labels = index_files((_shorten(name, _LABEL_ENDING, images), path) for name, path in labels.items())
    _refuse_unread(root, set(images) - set(labels))
    return _pair(images, labels)


def find_by_endings(root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans of `<name>_label` and `<name>` or `<name>_image`; none without a label.

    Where images have an ending of their own, files without any are no images.

    Raises:
      InputError: two files of one name, or a label without an image.
    """
    files = _find_volumes(root)
    if any(_lies_in(path, root, (*IMAGE_FOLDERS, *LABEL_FOLDERS)) for path in files):
        return []
    labels = [(match.group(1), path) for path in files if (match := _LABEL_ENDING.match(strip_suffix(path)))]
    if not labels:
        return []
    rest = [path for path in files if not _LABEL_ENDING.match(strip_suffix(path))]
    ended = [(match.group(1), path) for path in rest if (match := _IMAGE_ENDING.match(strip_suffix(path)))]
    images = ended or [(strip_suffix(path), path) for path in rest]
    return _pair(index_files(images), index_files(labels))


def _find_volumes(root: pathlib.Path) -> Sequence[pathlib.Path]:
    return [path for path in walk_files(root) if has_suffix(path, VOLUME_SUFFIXES)]


def _refuse_unread(root: pathlib.Path, unannotated: Collection[str]) -> None:
    """Refuse files of label folders that belong to an image but are in no format that is read.

    Their images would count as unannotated otherwise.
    """
    refusals = Refusals(root)
    for path in walk_files(root):
        name = path.name.split(".")[0]
        lone = _lies_in(path, root, LABEL_FOLDERS) and not has_suffix(path, (*_READ, *_NOTES))
        if lone and (name in unannotated or _shorten(name, _LABEL_ENDING, unannotated) in unannotated):
            found = f"a label in a format that is not read ({path.suffix or 'without an ending'})"
            refusals.add(InputError(path, found=found, expected=f"{', '.join(VOLUME_SUFFIXES)} or DICOM"))
    refusals.check()


def _lies_in(path: pathlib.Path, root: pathlib.Path, names: Collection[str]) -> bool:
    return any(part.lower() in names for part in path.relative_to(root).parts[:-1])


def _shorten(name: str, ending: re.Pattern, others: Collection[str]) -> str:
    """Return a name without its ending if that is how the other kind of file is called."""
    match = ending.match(name)
    return match.group(1) if match and name not in others and match.group(1) in others else name


def _pair(images: dict[str, pathlib.Path], labels: dict[str, pathlib.Path]) -> list[CaseFiles]:
    expected = lambda name: f"{IMAGE_FOLDERS[0]}/{name}.nii.gz or another format"  # noqa: E731
    check_partners(labels, images, of="labels", found="a label without an image", expected=expected)
    return [CaseFiles(identity, image, labels.get(identity)) for identity, image in images.items()]
