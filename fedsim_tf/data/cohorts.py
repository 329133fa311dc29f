"""The patients of one site."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import pathlib
import re
from collections.abc import Collection, Mapping

import numpy as np

from fedsim_tf.data.case_files import CaseFiles, index_files, list_parts
from fedsim_tf.data.checks import check_heart, check_image
from fedsim_tf.data.division import SITES, read_division
from fedsim_tf.data.label_reading import read_label, read_mask
from fedsim_tf.data.labels import CANONICAL, LabelScheme, merge_masks
from fedsim_tf.data.layouts import LAYOUTS, find_nifti_files, read_name
from fedsim_tf.data.patients import PATIENTS_FILE, read_patients, split_scans
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.splits import Fold, SplitSizes, split_sizes
from fedsim_tf.data.whole_hearts import select_whole_hearts
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_files
from fedsim_tf.volume import Case, Volume

_DIVISION_FILE = "division.csv"


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A named set of scans whose files are read one at a time.

    Attributes:
      name: the data set or site.
      files: the files of every scan, in order of identity.
      label_scheme: the meaning of the label values in the files.
      patients: the patient of each scan; a scan that is missing here is a patient of its own.
    """

    name: str
    files: tuple[CaseFiles, ...]
    label_scheme: LabelScheme = CANONICAL
    patients: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def identities(self) -> tuple[str, ...]:
        """Return every scan."""
        return tuple(files.identity for files in self.files)

    @property
    def annotated(self) -> tuple[str, ...]:
        """Return the scans with labels."""
        return tuple(files.identity for files in self.files if files.label is not None)

    @property
    def n_patients(self) -> int:
        """Return how many patients have annotated scans."""
        return len({self.patients.get(scan, scan) for scan in self.annotated})

    @property
    def sizes(self) -> SplitSizes:
        """Return the number of patients in each part of a fold."""
        return split_sizes(self.name, self.n_patients)

    def fold(self, number: int, *, seed: int) -> Fold:
        """Return the scans of a fold, counted from 0; no patient is in two parts.

        Raises:
          InputError: too few annotated patients, or no such fold.
        """
        annotated = set(self.annotated)
        return split_scans(self.name, self.identities, annotated, self.patients, fold=number, seed=seed)

    def load(self, identity: str) -> Case:
        """Return a scan's CT (float32, HU) and region ids (uint8), read and checked.

        Raises:
          InputError: an unknown scan; a damaged file; an image that is constant or not finite; a label on another
            grid, with values unknown to the data set, or without a heart.
        """
        files = self._get_files(identity)
        image = read_volume(files.image, dtype=np.float32)
        check_image(image, files.image)
        if files.label is None:
            return Case(identity, image)
        return Case(identity, image, self._read_label(files, image))

    def fingerprint(self, identity: str) -> str:
        """Return a text that changes when a file of the scan does: names, sizes and times of change."""
        return repr([_describe_file(path) for path in self._get_files(identity).paths])

    def label_digest(self, identity: str) -> str:
        """Return the SHA-256 of a scan's label files by their bytes, whatever their names; see `files_digest`.

        Raises:
          InputError: an unknown scan, or one without labels.
        """
        files = self._get_files(identity)
        if files.label is None:
            raise InputError(files.image, found="no label", expected="an annotated scan")
        return digest_files(part for path in files.label_paths for part in list_parts(path))

    def _get_files(self, identity: str) -> CaseFiles:
        if identity not in self._by_identity:
            raise InputError(f"cohort {self.name}", found=f"identity {identity!r}", expected="one of its identities")
        return self._by_identity[identity]

    @functools.cached_property
    def _by_identity(self) -> dict[str, CaseFiles]:
        return {files.identity: files for files in self.files}

    def _read_label(self, files: CaseFiles, image: Volume) -> Volume:
        if isinstance(files.label, Mapping):
            masks = {
                region: read_mask(path, image, image_subject=files.image.name) for region, path in files.label.items()
            }
            subject, label = files.image.parent, merge_masks(masks)
        else:
            (subject,) = files.label_paths
            label = read_label(subject, image, files.label_scheme or self.label_scheme, image_subject=files.image.name)
        check_heart(label, subject)
        return image.with_array(label)


def find_cohort(
    name: str,
    root: str | os.PathLike,
    *,
    division: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Cohort:
    """Return the cohort whose files lie below a folder; no image is read, except for TotalSegmentator.

    TotalSegmentator's CTs show all parts of the body: the masks of the myocardium are read and only scans are kept
    that show a whole heart.

    Args:
      name: "ct20", "ct34lc", "ct34mc", "totalsegmentator" or "nifti".
      root: the folder.
      division: for ct34lc and ct34mc, a CSV with columns id,site; by default `division.csv` in the folder if there
        is one, else the one shipped.
      cache_dir: the folder in which is kept which of TotalSegmentator's scans show a whole heart; None keeps nothing.

    Raises:
      InputError: an unknown name; no such folder or no files, with what was looked for and how to get the data; an
        image without the label that the data set has for it; a scan twice, with both files; a bad division or
        patients.csv.
    """
    if name not in LAYOUTS:
        raise InputError("data set", found=repr(name), expected=f"one of {', '.join(LAYOUTS)}")
    layout, root = LAYOUTS[name], pathlib.Path(root)
    found = layout.find(root) if root.is_dir() else []
    everyone = {files.identity for files in found}
    if name in SITES and found:
        own = root / _DIVISION_FILE
        found = _select_site(found, name, own if division is None and own.is_file() else division)
    if not found:
        where = f"no {layout.looked_for} below {root}" + ("" if root.is_dir() else " (no such folder)")
        raise InputError(f"data set {name}", found=where, expected=layout.source)
    if name == "totalsegmentator":
        found = select_whole_hearts(found, root, cache_dir=cache_dir)
    found = sorted(found, key=lambda files: files.identity)
    index_files(((os.path.realpath(files.image), files.image) for files in found), what="the same file")
    known = {files.identity: files.patient for files in found if files.patient}
    return Cohort(name, tuple(found), layout.label_scheme, known | _find_patients(root, everyone))


def _describe_file(path: pathlib.Path) -> tuple[str, int, int]:
    """Return name, size and time of change; a broken link has none, and reading it says so."""
    try:
        found = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns


def _find_patients(root: pathlib.Path, identities: Collection[str]) -> dict[str, str]:
    """Return the patient of each scan that patients.csv names; it may name scans of other data sets below the root."""
    file = root / PATIENTS_FILE
    if not file.exists():
        return {}
    below = ((read_name(path).removesuffix("_image"), path.parent.name) for path in find_nifti_files(root))
    return read_patients(file, {*identities, *itertools.chain.from_iterable(below)})


def _select_site(found: list[CaseFiles], site: str, division: str | os.PathLike | None) -> list[CaseFiles]:
    numbers = [int(re.sub(r"\D", "", files.identity)) for files in found]
    # Files such as ct_1 and ct_01 have one number: which of them a division means, nobody knows.
    index_files((f"patient {number}", files.image) for number, files in zip(numbers, found, strict=True))
    by_number = dict(zip(numbers, found, strict=True))
    return [by_number[number] for number in read_division(division).select_members(numbers, site)]
