"""How each data set lays out its files, and where it is to be had.

Files are looked for in all folders below the root, so that mirrors with folders of their own work.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Protocol

from fedsim_tf.data.labels import CANONICAL, CHD68, MMWHS, LabelScheme
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.regions import TOTALSEGMENTATOR_NAMES

_SUFFIX = r"\.(?i:nii(?:\.gz)?)$"


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """The files of one patient: a CT, and a label volume, a mask per region id, or None where not annotated."""

    identity: str
    image: pathlib.Path
    label: pathlib.Path | Mapping[int, pathlib.Path] | None = None

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Every file of the case."""
        labels = self.label.values() if isinstance(self.label, Mapping) else (self.label,)
        return (self.image, *(path for path in labels if path is not None))


class Layout(Protocol):
    """One way of laying out a data set."""

    @property
    def looked_for(self) -> str:
        """The files' names, for messages."""

    @property
    def source(self) -> str:
        """How to get the data, for messages."""

    @property
    def label_scheme(self) -> LabelScheme:
        """What its label values mean."""

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        """Every case below the root, in any order."""


@dataclasses.dataclass(frozen=True)
class PairedLayout:
    """`<identity>_image.nii.gz` and `<identity>_label.nii.gz`, every image annotated."""

    identity: str  # regular expression
    looked_for: str
    source: str
    label_scheme: LabelScheme

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        images = self._found(root, "image")
        labels = self._found(root, "label")
        refusals = Refusals(root)
        for identity, image in images.items():
            if identity not in labels:
                expected = f"{identity}_label.nii.gz below {root}"
                refusals.add(InputError(image, found="no label beside it", expected=expected))
        refusals.check()
        return [CaseFiles(identity, image, labels[identity]) for identity, image in images.items()]

    def _found(self, root: pathlib.Path, kind: str) -> dict[str, pathlib.Path]:
        name = re.compile(f"(?:^|[^a-z])({self.identity})_{kind}{_SUFFIX}")
        matches = ((name.search(path.name), path) for path in nifti_files(root))
        return unique((match.group(1), path) for match, path in matches if match)


@dataclasses.dataclass(frozen=True)
class TotalSegmentatorLayout:
    """`<identity>/ct.nii.gz` and a mask per structure in `<identity>/segmentations`.

    Most of these CTs show no heart or a part of one; `Cohort.load` would refuse them, see `find_cohort`.
    """

    looked_for: str = "s0000/ct.nii.gz with s0000/segmentations/heart_myocardium.nii.gz and its like"
    source: str = "TotalSegmentator's training data, version 1, openly licensed: zenodo.org/record/6802614"
    label_scheme: LabelScheme = CANONICAL

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        images = unique((path.parent.name, path) for path in nifti_files(root) if re.match(f"ct{_SUFFIX}", path.name))
        refusals, found = Refusals(root), []
        for identity, image in images.items():
            with refusals.each():
                found.append(CaseFiles(identity, image, self._masks(image)))
        refusals.check()
        return found

    def _masks(self, image: pathlib.Path) -> dict[int, pathlib.Path]:
        masks = {}
        for structure, region in TOTALSEGMENTATOR_NAMES.items():
            stem = image.parent / "segmentations" / structure
            found = [path for suffix in (".nii.gz", ".nii") if (path := stem.with_name(stem.name + suffix)).is_file()]
            if not found:
                raise InputError(image, found=f"no mask {structure}", expected=f"{stem}.nii.gz")
            masks[region] = found[0]
        return masks


@dataclasses.dataclass(frozen=True)
class FolderLayout:
    """`images/<identity>.nii.gz` and, where annotated, `labels/<identity>.nii.gz`: for data of one's own.

    Either folder may have others within.
    """

    looked_for: str = "images/<name>.nii.gz, and labels/<name>.nii.gz where annotated"
    source: str = "your own CTs in HU as NIfTI, with region ids 0 to 7 or heart and background as labels"
    label_scheme: LabelScheme = CANONICAL

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        files = list(nifti_files(root))
        images, labels = (
            unique((stem(path), path) for path in files if name in path.relative_to(root).parts[:-1])
            for name in ("images", "labels")
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


def nifti_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Every NIfTI file below the root, linked folders included, hidden ones (such as macOS's ._ files) left out."""
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # A link back to a folder that was seen would otherwise be walked for ever.
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in visited else []
        if real in visited:
            continue
        visited.add(real)
        yield from (
            pathlib.Path(folder, name)
            for name in sorted(names)
            if re.search(_SUFFIX, name) and not name.startswith(".")
        )


def unique(pairs: Iterator[tuple[str, pathlib.Path]], *, what: str = "") -> dict[str, pathlib.Path]:
    """Identity to path; raises InputError that names both files if an identity (or `what` it is) comes twice."""
    found: dict[str, pathlib.Path] = {}
    for identity, path in pairs:
        if identity in found:
            raise InputError(
                path, found=f"{what or identity} a second time, after {found[identity]}", expected="each case once"
            )
        found[identity] = path
    return found


def stem(path: pathlib.Path) -> str:
    """The name without .nii or .nii.gz, its letters composed: file systems differ in how they write an umlaut."""
    return unicodedata.normalize("NFC", re.sub(_SUFFIX, "", path.name))
