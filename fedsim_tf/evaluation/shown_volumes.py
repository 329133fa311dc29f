"""Volumes that a page shows: those of the test part with every arm's mask, and a few synthetic ones, kept as a file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import Volumes

SHOWN_VOLUMES = "shown_volumes.npz"
SYNTHETIC_SHOWN = 2  # of each arm
_NAME, _ARM, _EXTENT, _IMAGE, _LABEL, _FOUND = "name", "arm", "extent_mm", "image", "label", "found"


@dataclasses.dataclass(frozen=True, eq=False)
class ShownVolume:
    """A volume on the network's grid, as a page shows it.

    Attributes:
      name: that of the patient's scan, or a synthetic volume's number.
      image: (z, y, x) uint8; 0 and 255 are the ends of the CT window. Axes lead to the head, the back and the left.
      label: (z, y, x) uint8, true region ids, or 1 in the heart.
      found: each arm's mask, in the same form as the label; empty for a synthetic volume.
      extent_mm: the field of view (x, y, z).
      arm: the arm that made a synthetic volume; empty for a test volume.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    found: Mapping[str, np.ndarray]
    extent_mm: tuple[float, ...]
    arm: str = ""


def show_test_volumes(test: Volumes, extents_mm: np.ndarray, segmenters: Mapping[str, Segmenter]) -> list[ShownVolume]:
    """Return every test volume with the mask that each arm's network finds.

    Args:
      test: the test part.
      extents_mm: (n, 3), each volume's field of view (x, y, z).
      segmenters: networks by arm.
    """
    labels = test.labels if test.regions is None else test.regions
    return [
        ShownVolume(
            name=name,
            image=_to_bytes(image),
            label=label.astype(np.uint8),
            found={arm: segment(image) for arm, segment in segmenters.items()},
            extent_mm=tuple(extent.tolist()),
        )
        for name, image, label, extent in zip(test.identities, test.images, labels, extents_mm, strict=True)
    ]


def show_synthetic_volumes(
    samples: Sequence[SyntheticVolume], *, arm: str, extent_mm: Sequence[float]
) -> list[ShownVolume]:
    """Return the first few synthetic volumes of an arm with their labels."""
    return [
        ShownVolume(
            name=f"synthetic {number}",
            image=_to_bytes(sample.image),
            label=sample.label.astype(np.uint8),
            found={},
            extent_mm=tuple(extent_mm),
            arm=arm,
        )
        for number, sample in enumerate(samples[:SYNTHETIC_SHOWN])
    ]


def write_shown_volumes(path: str | os.PathLike, volumes: Sequence[ShownVolume]) -> None:
    """Write volumes as .npz, atomically."""
    arrays: dict[str, np.ndarray] = {}
    for number, one in enumerate(volumes):
        fields = {
            _NAME: np.array(one.name),
            _ARM: np.array(one.arm),
            _EXTENT: np.array(one.extent_mm),
            _IMAGE: one.image,
            _LABEL: one.label,
            **{f"{_FOUND}/{arm}": mask for arm, mask in one.found.items()},
        }
        arrays |= {f"{number:04d}/{name}": value for name, value in fields.items()}
    write_npz(path, arrays, compressed=True)


def read_shown_volumes(path: str | os.PathLike) -> list[ShownVolume]:
    """Return the volumes that `write_shown_volumes` wrote.

    Raises:
      InputError: the file is damaged.
    """
    by_number: dict[str, dict[str, np.ndarray]] = {}
    for name, value in read_npz(path).items():
        number, _, field = name.partition("/")
        by_number.setdefault(number, {})[field] = value
    return [
        ShownVolume(
            name=str(fields[_NAME]),
            image=fields[_IMAGE],
            label=fields[_LABEL],
            found={name.partition("/")[2]: mask for name, mask in fields.items() if name.startswith(f"{_FOUND}/")},
            extent_mm=tuple(fields[_EXTENT].tolist()),
            arm=str(fields[_ARM]),
        )
        for fields in by_number.values()
    ]


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(255.0 * np.clip(0.5 * image + 0.5, 0.0, 1.0)).astype(np.uint8)
