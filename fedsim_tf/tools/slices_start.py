"""The start of a training on 2-D slices, opened and checked once. This module does not import TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import pathlib

from fedsim_tf.config import Config
from fedsim_tf.errors import InputError, listed
from fedsim_tf.models.vgg_weights import are_noted_weights, identify_weights
from fedsim_tf.records.fold_data import DATA, SliceData, read_slice_data
from fedsim_tf.runs.inputs import adopt_kept_precision, check_files
from fedsim_tf.tools.slice_files import Slices, digest_slices, read_slices
from fedsim_tf.training.run import check_run_folder

_ANOTHER = "what the run began with, or another run folder"


@dataclasses.dataclass(frozen=True, eq=False)
class SlicesStart:
    """What a training on slices starts from. `open_slices` makes it.

    Attributes:
      config: what to train.
      run_dir: the run's folder; nothing is written there yet.
      cache_dir: where the answer is kept that this machine gives to precision "auto".
      images: the folder of pictures.
      slices: the pictures and their masks.
      held_out: how many of the pictures, the last by name, are rendered but not learnt from.
    """

    config: Config
    run_dir: pathlib.Path
    cache_dir: pathlib.Path
    images: str
    slices: Slices
    held_out: int

    @property
    def record(self) -> SliceData:
        """Return what the run keeps of its data, so that a later start can tell whether that is the same."""
        vgg = identify_weights(self.config.model.vgg_weights)
        pictures = digest_slices(self.slices, by_region=self.config.model.by_region)
        return SliceData(vgg=vgg, held_out=self.held_out, pictures=pictures)


def open_slices(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    images: str | os.PathLike,
    labels: str | os.PathLike,
    held_out: int,
    cache_dir: pathlib.Path,
) -> SlicesStart:
    """Open everything that a training on slices starts from, and refuse what it could not finish with.

    Args:
      config: what to train.
      run_dir: the run's folder.
      images: the folder of pictures.
      labels: the folder of masks of the same names.
      held_out: how many of the pictures are not learnt from.
      cache_dir: where the answer is kept that this machine gives to precision "auto".

    Raises:
      InputError: files that are missing or cannot be used, or a run folder that holds something else or that began with
        other pictures.
    """
    run_dir = pathlib.Path(run_dir)
    config = adopt_kept_precision(config, run_dir, cache_dir=cache_dir)
    check_files(config)
    check_run_folder(run_dir, config)
    slices = read_slices(images, labels, size=config.model.size, held_out=held_out, by_region=config.model.by_region)
    start = SlicesStart(config, run_dir, cache_dir, str(images), slices, held_out)
    _check_same_data(run_dir / DATA, config, start.record)
    return start


def _check_same_data(file: pathlib.Path, config: Config, found: SliceData) -> None:
    if not file.exists():
        return
    kept = read_slice_data(file)
    if not are_noted_weights(config.model.vgg_weights, kept.vgg):
        raise InputError(file, found="other VGG-19 weights now", expected=_ANOTHER)
    if kept.held_out != found.held_out:
        must = f"be {kept.held_out}, as when the run began; another run folder may have another number"
        raise InputError("held_out", value=found.held_out, must=must)
    before, now = kept.pictures, found.pictures
    others = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if others:
        raise InputError(file, found=f"other pictures: {listed(others)}", expected=_ANOTHER)
