"""Keep what a fold learns from (data.json), and what a run on pictures learns from (a data.json of its own)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import ClassVar

from fedsim_tf.records.versioned import Record, read_record

DATA = "data.json"
LABELLED, UPPER_BOUND_PART, VALIDATION, TEST, UNLABELLED = "labelled", "upper bound", "validation", "test", "unlabelled"
IMAGE_MARKS = 5  # numbers of an image, which come first; then those of its label and, for tests, the extent
TOLERANCE = 1e-3  # on the scale of images, or mm: machines and versions of libraries round differently
_REMEDY = "begin again in another run folder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldData(Record):
    """The data of a fold of a single-site run, or of a site's part of a federated fold.

    Attributes:
      shape_model: SHA-256 of the shape model's file.
      vgg: SHA-256 of the VGG-19 weights' file, or words for weights that are no file; None in earlier files.
      field_of_view_mm: extent (x, y, z) in mm, the median over the training part.
      in_files_mm: the extent in the files, where others were given; None in earlier files.
      parts: by part and identity, numbers that change where the volume, its mask or its extent does.
    """

    REMEDY: ClassVar[str] = _REMEDY

    shape_model: str
    vgg: str | None = None
    field_of_view_mm: tuple[float, float, float]
    in_files_mm: tuple[float, float, float] | None = None
    parts: Mapping[str, Mapping[str, tuple[float, ...]]]

    @property
    def all_annotated(self) -> bool:
        """Whether every volume that files annotate is learnt from with its annotation; see `arms.choose_trained`."""
        return set(self.parts.get(LABELLED, ())) == set(self.parts.get(UPPER_BOUND_PART, ()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceData(Record):
    """The data of a run on pictures.

    Attributes:
      vgg: as in `FoldData`.
      held_out: how many pictures are held out.
      pictures: each picture's SHA-256, with its mask, by name.
    """

    REMEDY: ClassVar[str] = _REMEDY

    vgg: str | None = None
    held_out: int
    pictures: Mapping[str, str]


def read_fold_data(path: str | os.PathLike) -> FoldData:
    """Return what a fold has noted of its data; see `read_record` for what is refused."""
    return read_record(path, FoldData)


def read_slice_data(path: str | os.PathLike) -> SliceData:
    """Return what a run on pictures has noted of its data; see `read_record` for what is refused."""
    return read_record(path, SliceData)
