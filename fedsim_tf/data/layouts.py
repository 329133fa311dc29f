"""Layouts: how each data set lays out its files, and where the data is available.

Files are looked for in all folders below the root, so that mirrors with other folders work too.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from typing import Protocol

from fedsim_tf.data.case_files import CaseFiles, check_partners, index_files
from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import NIFTI_SUFFIXES, has_suffix
from fedsim_tf.data.labels import CANONICAL, CHD68, MMWHS, LabelScheme
from fedsim_tf.data.own_data import OwnLayout
from fedsim_tf.data.totalsegmentator_layout import find_images, pair_with_masks

_SUFFIX = r"\.(?i:nii(?:\.gz)?)$"


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
        expected = lambda name: f"{name}_label.nii.gz below {root}"  # noqa: E731
        check_partners(images, labels, of=root, found="no label beside it", expected=expected)
        return [CaseFiles(identity, image, labels[identity]) for identity, image in images.items()]

    def _find_kind(self, root: pathlib.Path, kind: str) -> dict[str, pathlib.Path]:
        name = re.compile(f"(?:^|[^a-z])({self.identity})_{kind}{_SUFFIX}")
        matches = ((name.search(path.name), path) for path in find_nifti_files(root))
        return index_files((match.group(1), path) for match, path in matches if match)


@dataclasses.dataclass(frozen=True)
class TotalSegmentatorLayout:
    """Files `<identity>/ct.nii.gz`, and a mask of each structure in `<identity>/segmentations`.

    Version 1 has masks of the seven regions, version 2 one of the heart. Most of these CTs show a part of the heart or
    none, and could not be loaded; `whole_hearts` finds the others.
    """

    looked_for: str = "s0000/ct.nii.gz with s0000/segmentations/heart_myocardium.nii.gz and its like, or heart.nii.gz"
    source: str = (
        "TotalSegmentator's training data, openly licensed: zenodo.org/record/6802614 (version 1, with chambers) or "
        "zenodo.org/record/10047292 (version 2, the heart as a whole)"
    )
    label_scheme: LabelScheme = CANONICAL

    def find(self, root: pathlib.Path) -> list[CaseFiles]:
        return pair_with_masks(find_images(root), root)


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
    "nifti": OwnLayout(),
}


def find_nifti_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield every NIfTI file below a folder, linked folders included, hidden files (macOS's ._ files) left out."""
    return (path for path in walk_files(root) if has_suffix(path, NIFTI_SUFFIXES))
