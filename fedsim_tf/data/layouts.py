"""Layouts: how each data set lays out its files, and where the data is available.

Files are looked for in all folders below the root, so that mirrors with other folders work too.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from fedsim_tf.data.labels import CANONICAL, CHD68, MMWHS, LabelScheme
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.regions import TOTALSEGMENTATOR_NAMES

_SUFFIX = r"\.(?i:nii(?:\.gz)?)$"


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """The files of one scan.

    Attributes:
      identity: the scan's name.
      image: the CT.
      label: a label volume, a mask for each region id, or None where the scan is not annotated.
    """

    identity: str
    image: pathlib.Path
    label: pathlib.Path | Mapping[int, pathlib.Path] | None = None

    @property
    def label_paths(self) -> tuple[pathlib.Path, ...]:
        """Return every label file."""
        if self.label is None:
            return ()
        return tuple(self.label.values()) if isinstance(self.label, Mapping) else (self.label,)

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Return every file."""
        return (self.image, *self.label_paths)


class Layout(Protocol):
    """A way of laying out a data set."""

    @property
    def looked_for(self) -> str:
        """Return the names of the files, for messages."""

    @property
    def source(self) -> str:
        """Return how to get the data, for messages."""

    @property
    def label_scheme(self) -> LabelScheme:
        """Return the meaning of the label values."""

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        """Return every scan below a folder, in any order.

        Raises:
          InputError: a scan found twice, or files that lack another one.
        """


@dataclasses.dataclass(frozen=True)
class PairedLayout:
    """Files `<identity>_image.nii.gz` and `<identity>_label.nii.gz`, every image annotated.

    Attributes:
      identity: the regular expression of an identity.
      looked_for, source, label_scheme: see `Layout`.
    """

    identity: str
    looked_for: str
    source: str
    label_scheme: LabelScheme

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        images = self._find_kind(root, "image")
        labels = self._find_kind(root, "label")
        refusals = Refusals(root)
        for identity, image in images.items():
            if identity not in labels:
                expected = f"{identity}_label.nii.gz below {root}"
                refusals.add(InputError(image, found="no label beside it", expected=expected))
        refusals.check()
        return [CaseFiles(identity, image, labels[identity]) for identity, image in images.items()]

    def _find_kind(self, root: pathlib.Path, kind: str) -> dict[str, pathlib.Path]:
        name = re.compile(f"(?:^|[^a-z])({self.identity})_{kind}{_SUFFIX}")
        matches = ((name.search(path.name), path) for path in find_nifti_files(root))
        return index_files((match.group(1), path) for match, path in matches if match)


@dataclasses.dataclass(frozen=True)
class TotalSegmentatorLayout:
    """Files `<identity>/ct.nii.gz`, and a mask of each structure in `<identity>/segmentations`.

    Most of these CTs show a part of the heart or none, and could not be loaded; `whole_hearts` finds the others.
    """

    looked_for: str = "s0000/ct.nii.gz with s0000/segmentations/heart_myocardium.nii.gz and its like"
    source: str = "TotalSegmentator's training data, version 1, openly licensed: zenodo.org/record/6802614"
    label_scheme: LabelScheme = CANONICAL

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        paths = find_nifti_files(root)
        images = index_files((path.parent.name, path) for path in paths if re.match(f"ct{_SUFFIX}", path.name))
        refusals, found = Refusals(root), []
        for identity, image in images.items():
            with refusals.each():
                found.append(CaseFiles(identity, image, self._find_masks(image)))
        refusals.check()
        return found

    def _find_masks(self, image: pathlib.Path) -> dict[int, pathlib.Path]:
        masks = {}
        for structure, region in TOTALSEGMENTATOR_NAMES.items():
            files = [image.parent / "segmentations" / f"{structure}{suffix}" for suffix in (".nii.gz", ".nii")]
            found = [file for file in files if file.is_file()]
            if not found:
                raise InputError(image, found=f"no mask {structure}", expected=files[0])
            masks[region] = found[0]
        return masks


@dataclasses.dataclass(frozen=True)
class FolderLayout:
    """Files `images/<identity>.nii.gz` and, where annotated, `labels/<identity>.nii.gz`: for a user's own data.

    Either folder may have others within.
    """

    looked_for: str = "images/<name>.nii.gz, and labels/<name>.nii.gz where annotated"
    source: str = "your own CTs in HU as NIfTI, with region ids 0 to 7 or heart and background as labels"
    label_scheme: LabelScheme = CANONICAL

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        files = list(find_nifti_files(root))
        images, labels = (
            index_files((read_name(path), path) for path in files if folder in path.relative_to(root).parts[:-1])
            for folder in ("images", "labels")
        )
        refusals = Refusals(root)
        for identity, label in labels.items():
            if identity not in images:
                expected = f"images/{identity}.nii.gz"
                refusals.add(InputError(label, found="a label without an image", expected=expected))
        refusals.check()
        return [CaseFiles(identity, image, labels.get(identity)) for identity, image in images.items()]


_CHD68 = PairedLayout(
    identity=r"ct_\d+",
    looked_for="ct_<number>_image.nii.gz and ct_<number>_label.nii.gz",
    source="CHD68 (Xu et al., MICCAI 2019): kaggle.com/datasets/xiaoweixumedicalai/chd68-segmentation-dataset-miccai19",
    label_scheme=CHD68,
)
LAYOUTS: dict[str, Layout] = {
    "ct20": PairedLayout(
        identity=r"ct_train_\d+",
        looked_for="ct_train_<number>_image.nii.gz and ct_train_<number>_label.nii.gz",
        source="the CT training data of the MM-WHS challenge, after registration: zmiclab.github.io/zxh/0/mmwhs",
        label_scheme=MMWHS,
    ),
    "ct34lc": _CHD68,
    "ct34mc": _CHD68,
    "totalsegmentator": TotalSegmentatorLayout(),
    "nifti": FolderLayout(),
}


def find_nifti_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield every NIfTI file below a folder, linked folders included, hidden files (macOS's ._ files) left out."""
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # A link back to a folder that was seen would otherwise be walked for ever.
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in visited else []
        if real in visited:
            continue
        visited.add(real)
        for name in sorted(names):
            if re.search(_SUFFIX, name) and not name.startswith("."):
                yield pathlib.Path(folder, name)


def index_files(pairs: Iterable[tuple[str, pathlib.Path]], *, what: str = "") -> dict[str, pathlib.Path]:
    """Return the path of each identity.

    Args:
      pairs: identities and paths.
      what: what an identity stands for, for messages; by default it stands for itself.

    Raises:
      InputError: an identity that comes twice, with both files.
    """
    found: dict[str, pathlib.Path] = {}
    for identity, path in pairs:
        if identity in found:
            raise InputError(
                path, found=f"{what or identity} a second time, after {found[identity]}", expected="each case once"
            )
        found[identity] = path
    return found


def read_name(path: pathlib.Path) -> str:
    """Return a file's name without .nii or .nii.gz, its letters composed: file systems differ in writing an umlaut."""
    return unicodedata.normalize("NFC", re.sub(_SUFFIX, "", path.name))
