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

from fedsim_tf.data.checks import check_heart, check_image, check_same_grid
from fedsim_tf.data.division import read_division
from fedsim_tf.data.labels import CANONICAL, LabelScheme, merge_masks
from fedsim_tf.data.layouts import LAYOUTS, CaseFiles, nifti_files, stem, unique
from fedsim_tf.data.nifti import read_volume
from fedsim_tf.data.patients import PATIENTS_FILE, fold_of_scans, read_patients
from fedsim_tf.data.splits import Fold, SplitSizes, split_sizes
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.regions import MYOCARDIUM
from fedsim_tf.volume import Case, Volume


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A named set of patients whose files are read one at a time.

    Attributes:
      name: of the data set or site.
      files: of every patient, in order of identity.
      label_scheme: what the label values in the files mean.
      patients: whose each scan is, by identity, where one has several.
    """

    name: str
    files: tuple[CaseFiles, ...]
    label_scheme: LabelScheme = CANONICAL
    patients: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def identities(self) -> tuple[str, ...]:
        """Every scan."""
        return tuple(files.identity for files in self.files)

    @property
    def annotated(self) -> tuple[str, ...]:
        """The scans with labels."""
        return tuple(files.identity for files in self.files if files.label is not None)

    @property
    def n_patients(self) -> int:
        """How many patients have annotated scans."""
        return len({self.patients.get(scan, scan) for scan in self.annotated})

    @property
    def sizes(self) -> SplitSizes:
        """Patients in each part of a fold."""
        return split_sizes(self.name, self.n_patients)

    def fold(self, number: int, *, seed: int) -> Fold:
        """The scans of one fold; no patient is in two parts.

        Raises:
          InputError: too few annotated patients, or no such fold.
        """
        annotated = set(self.annotated)
        return fold_of_scans(self.name, self.identities, annotated, self.patients, fold=number, seed=seed)

    def load(self, identity: str) -> Case:
        """Reads and checks one patient's CT (float32, HU) and region ids (uint8).

        Raises:
          InputError: an unknown patient; a damaged file; an image that is constant or not finite; a label on another
            grid, with values unknown to the data set, or without a heart.
        """
        files = self._files(identity)
        image = read_volume(files.image, dtype=np.float32)
        check_image(image, files.image)
        if files.label is None:
            return Case(identity, image)
        return Case(identity, image, self._read_label(files, image))

    def fingerprint(self, identity: str) -> str:
        """Changes when a file of the patient does: names, sizes and times of change."""
        return repr([(str(path), (s := path.stat()).st_size, s.st_mtime_ns) for path in self._files(identity).paths])

    def _files(self, identity: str) -> CaseFiles:
        if identity not in self._by_identity:
            raise InputError(f"cohort {self.name}", found=f"identity {identity!r}", expected="one of its identities")
        return self._by_identity[identity]

    @functools.cached_property
    def _by_identity(self) -> dict[str, CaseFiles]:
        return {files.identity: files for files in self.files}

    def _read_label(self, files: CaseFiles, image: Volume) -> Volume:
        if isinstance(files.label, Mapping):
            masks = {region: self._read_on_grid(path, files, image) for region, path in files.label.items()}
            subject, label = files.image.parent, merge_masks(masks)
        else:
            subject = pathlib.Path(files.label)  # type: ignore[arg-type]
            label = self.label_scheme.apply(self._read_on_grid(subject, files, image), subject)
        check_heart(label, subject)
        return image.with_array(label)

    def _read_on_grid(self, path: pathlib.Path, files: CaseFiles, image: Volume) -> np.ndarray:
        label = read_volume(path)
        check_same_grid(label, image, path, image_subject=files.image.name)
        return label.array


def find_cohort(name: str, root: str | os.PathLike, *, division: str | os.PathLike | None = None) -> Cohort:
    """Finds a data set's files below a folder; no image is read, except for TotalSegmentator.

    TotalSegmentator's CTs show all parts of the body: the masks of the myocardium are read (a minute or two for all
    1204) and only patients are kept whose myocardium lies inside the image without touching its border.

    Args:
      name: "ct20", "ct34lc", "ct34mc", "totalsegmentator" or "nifti".
      root: the folder.
      division: for ct34lc and ct34mc, a CSV with columns id,site; by default `division.csv` in the folder if there
        is one, else the one shipped.

    Raises:
      InputError: an unknown name; no such folder or no files, with what was looked for and how to get the data; an
        image without the label that the data set has for it; a scan twice, naming both files; a bad division or
        patients.csv.
    """
    if name not in LAYOUTS:
        raise InputError("data set", found=repr(name), expected=f"one of {', '.join(LAYOUTS)}")
    layout, root = LAYOUTS[name], pathlib.Path(root)
    found = layout.find(root) if root.is_dir() else []
    everyone = {files.identity for files in found}
    if name in ("ct34lc", "ct34mc") and found:
        own = root / "division.csv"
        found = _of_site(found, name, own if division is None and own.is_file() else division)
    if not found:
        where = f"no {layout.looked_for} below {root}" + ("" if root.is_dir() else " (no such folder)")
        raise InputError(f"data set {name}", found=where, expected=layout.source)
    if name == "totalsegmentator":
        found = _with_whole_heart(found, root)
    found = sorted(found, key=lambda files: files.identity)
    unique(((os.path.realpath(files.image), files.image) for files in found), what="the same file")
    patients = _patients(root, everyone)
    return Cohort(name, tuple(found), layout.label_scheme, patients)


def _patients(root: pathlib.Path, identities: Collection[str]) -> dict[str, str]:
    """Patient by scan; the file may name scans of other data sets below the same folder too."""
    file = root / PATIENTS_FILE
    if not file.exists():
        return {}
    below = ((stem(path).removesuffix("_image"), path.parent.name) for path in nifti_files(root))
    return read_patients(file, {*identities, *itertools.chain.from_iterable(below)})


def _of_site(found: list[CaseFiles], site: str, division: str | os.PathLike | None) -> list[CaseFiles]:
    by_number = {int(re.sub(r"\D", "", files.identity)): files for files in found}
    return [by_number[number] for number in read_division(division).members(list(by_number), site)]


def _with_whole_heart(found: list[CaseFiles], root: pathlib.Path) -> list[CaseFiles]:
    refusals, whole = Refusals(root), []
    for files in found:
        with refusals.each():
            if _shows_whole_heart(files):
                whole.append(files)
    refusals.check()
    if not whole:
        raise InputError(root, found=f"no whole heart in {len(found)} CTs", expected="CTs of the chest")
    return whole


def _shows_whole_heart(files: CaseFiles) -> bool:
    """Whether the myocardium (region 5) is there and does not run out of the image."""
    mask = read_volume(files.label[MYOCARDIUM]).array > 0  # type: ignore[index]
    inside = mask[1:-1, 1:-1, 1:-1].sum()
    return bool(inside > 0 and inside == mask.sum())
