"""The last rounds of a site as the server sees them, kept in the site's own folder for an audit."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.files import list_whole_files, read_npz, write_npz

FOLDER = "sent_rounds"
_WEIGHTS, _GRADIENTS, _BATCH = "weights/", "gradients/", "batch"


@dataclasses.dataclass(frozen=True, eq=False)
class KeptRound:
    """One round of a site: what travelled, and whose data was behind it.

    Attributes:
      stage, round: the stage and its round.
      weights: the shared weights that the server sent, by name.
      gradients: the gradients that the site sent back, clipped and noisy where they were, by name.
      batch: identities of the volumes that they come from, which did not travel.
    """

    stage: str
    round: int
    weights: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    batch: tuple[str, ...]

    @property
    def is_of_generator(self) -> bool:
        """Whether the shape network was shared in this round, and not a segmentation network."""
        return any(name.startswith("shape/") for name in self.gradients)


def keep_round(folder: pathlib.Path, kept: KeptRound, *, most: int) -> None:
    """Write a round below a site's folder, and delete the stage's oldest ones beyond `most`."""
    place = folder / FOLDER / kept.stage
    arrays = {_WEIGHTS + name: value for name, value in kept.weights.items()}
    arrays |= {_GRADIENTS + name: value for name, value in kept.gradients.items()}
    write_npz(place / f"round-{kept.round:06d}.npz", {**arrays, _BATCH: kept.batch})
    for old in list_whole_files(place, "round-*.npz")[:-most]:
        old.unlink()


def list_kept_rounds(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of all rounds that are kept below a site's folder, by stage and round."""
    return list_whole_files(folder / FOLDER, "round-*.npz")


def read_kept_round(folder: pathlib.Path, file: pathlib.Path) -> KeptRound:
    """Read one of the files that `list_kept_rounds` gives for a site's folder.

    Raises:
      InputError: the file is damaged or of something else.
    """
    arrays = read_npz(file, texts=(_BATCH,))
    number = re.fullmatch(r"round-(\d+)", file.stem)
    if number is None or arrays[_BATCH].dtype.kind != "U":
        raise InputError(file, found="another file", expected=f"a round that a run has kept in {FOLDER}")
    stage = file.parent.relative_to(folder / FOLDER).as_posix()
    weights, gradients = (
        {name.removeprefix(kind): value for name, value in arrays.items() if name.startswith(kind)}
        for kind in (_WEIGHTS, _GRADIENTS)
    )
    return KeptRound(stage, int(number[1]), weights, gradients, tuple(arrays[_BATCH].tolist()))
