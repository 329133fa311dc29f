"""The patients of one site."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import pathlib
import re
import unicodedata
from collections.abc import Collection, Mapping

import numpy as np

from fedsim_tf.data.annotated_hearts import check_odd_heart
from fedsim_tf.data.case_files import CaseFiles, index_files, list_parts
from fedsim_tf.data.checks import check_heart, check_image
from fedsim_tf.data.contents import stat_file
from fedsim_tf.data.division import SITES, read_division
from fedsim_tf.data.folders import remember_walks
from fedsim_tf.data.formats import strip_suffix
from fedsim_tf.data.label_reading import read_label, read_mask
from fedsim_tf.data.labels import CANONICAL, LabelScheme, make_scheme, merge_masks
from fedsim_tf.data.layouts import LAYOUTS, find_nifti_files
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
      any_extent: whether the spacings in the files are known to be wrong; then fields of view and volumes in ml may be
        impossible ones.
    """

    name: str
    files: tuple[CaseFiles, ...]
    label_scheme: LabelScheme = CANONICAL
    patients: Mapping[str, str] = dataclasses.field(default_factory=dict)
    any_extent: bool = False

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
        return len({self.patient(scan) for scan in self.annotated})

    def patient(self, identity: str) -> str:
        """Return the patient of a scan."""
        return self.patients.get(identity, identity)

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
        check_image(image, files.image, any_extent=self.any_extent)
        if files.label is None:
            return Case(identity, image)
        return Case(identity, image, self._read_label(files, image))

    def fingerprint(self, identity: str) -> str:
        """Return a text that changes when a file of the scan does or what its values mean: names, sizes, times.

        Raises:
          InputError: an unknown scan, or a file that is not there.
        """
        scan = self._get_files(identity)
        files = [(str(path), (s := stat_file(path)).st_size, s.st_mtime_ns) for path in scan.paths]
        return repr((files, scan.label_scheme or self.label_scheme, self.any_extent))

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
        volume = image.with_array(label)
        check_odd_heart(volume, subject, any_extent=self.any_extent)
        return volume


def find_cohort(
    name: str,
    root: str | os.PathLike,
    *,
    division: str | os.PathLike | None = None,
    label_values: str = "",
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
      label_values: what the values of label maps mean, such as "heart:51" (see `parse_label_values`); empty: what they
        mean in this data set.
      cache_dir: the folder in which is kept which of TotalSegmentator's scans show a whole heart; None keeps nothing.

    Raises:
      InputError: an unknown name; no such folder or no files, with what was looked for and how to get the data; an
        image without the label that the data set has for it; a scan twice, with both files; a bad division or
        patients.csv.
    """
    if name not in LAYOUTS:
        raise InputError("data set", found=repr(name), expected=f"one of {', '.join(LAYOUTS)}")
    layout, root = LAYOUTS[name], pathlib.Path(root)
    if label_values and name == "totalsegmentator":
        must = "be empty: TotalSegmentator has a mask for each structure"
        raise InputError("data.label_values", value=label_values, must=must)
    scheme = make_scheme(label_values) if label_values else layout.label_scheme
    with remember_walks():
        found = [_compose_name(files) for files in layout.find(root)] if root.is_dir() else []
    index_files((files.identity, files.image) for files in found)
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
    if label_values:  # what the user says goes before what the data set's own files say
        found = [dataclasses.replace(files, label_scheme=None) for files in found]
    known = {files.identity: files.patient for files in found if files.patient}
    return Cohort(name, tuple(found), scheme, known | _find_patients(root, everyone))


def _find_patients(root: pathlib.Path, identities: Collection[str]) -> dict[str, str]:
    """Return the patient of each scan that patients.csv names; it may name scans of other data sets below the root."""
    file = root / PATIENTS_FILE
    if not file.exists():
        return {}
    below = ((strip_suffix(path).removesuffix("_image"), path.parent.name) for path in find_nifti_files(root))
    names = {*identities, *itertools.chain.from_iterable(below)}
    return read_patients(file, {unicodedata.normalize("NFC", name) for name in names})


def _compose_name(files: CaseFiles) -> CaseFiles:
    """Return the files of a scan with the letters of its name composed: file systems differ in writing an umlaut."""
    return dataclasses.replace(files, identity=unicodedata.normalize("NFC", files.identity))


def _select_site(found: list[CaseFiles], site: str, division: str | os.PathLike | None) -> list[CaseFiles]:
    numbers = [int(re.sub(r"\D", "", files.identity)) for files in found]
    # Files such as ct_1 and ct_01 have one number: which of them a division means, nobody knows.
    index_files((f"patient {number}", files.image) for number, files in zip(numbers, found, strict=True))
    by_number = dict(zip(numbers, found, strict=True))
    return [by_number[number] for number in read_division(division).select_members(numbers, site)]
