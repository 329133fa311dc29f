"""Uses what a finished run has learnt on a patient's CT."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np

from fedsim_tf import data
from fedsim_tf.arms import at_federated_sites, last_stage
from fedsim_tf.config import Config, from_dict
from fedsim_tf.data.checks import check_image, check_same_grid
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.galleries import heart_slice
from fedsim_tf.files import read_json
from fedsim_tf.metrics import dice
from fedsim_tf.models import built
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import Segmenter, segmenter
from fedsim_tf.training.stage import restore
from fedsim_tf.volume import Case, Volume


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """A heart mask on the CT's own grid, and its Dice in percent where a true label was given."""

    mask: Volume
    dice: float | None


def open_segmenter(fold_dir: str | os.PathLike, arm: str) -> tuple[Config, Segmenter]:
    """The network of one arm of a finished fold, and the run's configuration.

    Raises:
      InputError: no run there, or an arm that it did not finish; the message lists those it did.
    """
    file = pathlib.Path(fold_dir) / "config.json"
    if not file.is_file():
        raise InputError(fold_dir, found="no config.json", expected="a run's fold folder, such as runs/demo/fold_0")
    config = from_dict(read_json(file))
    run = RunFolder(fold_dir, config)
    finished = finished_arms(run)
    if arm not in finished:
        raise InputError("arm", found=repr(arm), expected=f"one that {fold_dir} has finished: {', '.join(finished)}")
    return config, segmenter_after(run, finished[arm])


def segmenter_after(run: RunFolder, stage: str) -> Segmenter:
    """The best network of a finished stage of segmentation."""
    network = built.unet(run.config.model)
    restore(run, stage, best=network)
    return segmenter(network)


def finished_arms(run: RunFolder) -> dict[str, str]:
    """The last stage of each of a run's arms that it has finished."""
    finished, configured = run.records(), run.config.segmentation.arms
    arms = dict.fromkeys((*configured, *at_federated_sites(configured)))
    return {arm: last_stage(arm) for arm in arms if last_stage(arm) in finished}


def segment_file(
    fold_dir: str | os.PathLike,
    arm: str,
    *,
    image: str | os.PathLike,
    output: str | os.PathLike,
    label: str | os.PathLike | None = None,
    picture: str | os.PathLike | None = None,
) -> Segmentation:
    """Segments a CT (NIfTI, HU) and writes the mask where the CT lies.

    Args:
      fold_dir: a finished fold of a run.
      arm: whose network to use.
      image: the CT; output: where the mask goes, on exactly the CT's grid.
      label: a true label (heart where not zero), to be scored against.
      picture: a PNG of three slices with the outlines.

    Raises:
      InputError: unreadable files, no CT, or image and label on different grids.
    """
    config, segment = open_segmenter(fold_dir, arm)
    case = Case(pathlib.Path(image).name, data.read_volume(image, dtype=np.float32))
    check_image(case.image, image)
    truth = data.read_volume(label, dtype=np.int32) if label else None
    if truth is not None and label is not None:
        check_same_grid(truth, case.image, label, image_subject=image)
    prepared = data.prepare(case, config.model.size, window_hu=config.data.window_hu)
    mask = data.restore(segment(prepared.image), prepared, nearest=True)
    data.write_volume(mask, output)
    found = Segmentation(mask, None if truth is None else dice(mask.array, truth.array > 0))
    if picture:
        _draw(pathlib.Path(picture), case, found, truth)
    return found


def _draw(path: pathlib.Path, case: Case, found: Segmentation, truth: Volume | None) -> None:
    """Three slices through the heart: truth green, found red."""
    image = data.unit_from_hu(case.image.array, (-250.0, 550.0))
    true = None if truth is None else (truth.array > 0).astype(np.uint8)
    middle = heart_slice(found.mask.array if true is None else true)
    step = max(1, len(image) // 8)
    chosen = [k for k in (middle - step, middle, middle + step) if 0 <= k < len(image)]
    cells = [(image[k], None if true is None else true[k], found.mask.array[k]) for k in chosen]
    panel(path, [cells], columns=[f"slice {k}" for k in chosen], title=f"{case.identity}: truth green, found red")
