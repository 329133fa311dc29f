"""Uses what a finished run has learnt on a patient's CT."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from fedsim_tf.arms import at_federated_sites, last_stage
from fedsim_tf.config import Config
from fedsim_tf.data.checks import check_heart, check_image, check_same_grid, extent_text, is_unusual_extent
from fedsim_tf.data.labels import ANY_SITE, heart_mask
from fedsim_tf.data.layouts import LAYOUTS
from fedsim_tf.data.nifti import check_suffix, read_volume, write_volume
from fedsim_tf.data.preprocess import PreparedCase, prepare, resample_to_original, unit_from_hu
from fedsim_tf.errors import InputError, listed
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.galleries import heart_slice
from fedsim_tf.metrics import dice
from fedsim_tf.models import built
from fedsim_tf.runs.same_data import fields_of_view_of
from fedsim_tf.training.run import RunFolder, reopened
from fedsim_tf.training.segmentation import Segmenter, segmenter
from fedsim_tf.training.stage import restore_stage
from fedsim_tf.volume import Case, Volume

_MOST_VALUES = 64  # of a label, organs and all: more are a CT


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
    run = reopened(pathlib.Path(fold_dir))
    finished = finished_arms(run)
    if not finished:
        folders = [str(file.parent) for file in sorted(run.path.rglob("config.json")) if file.parent != run.path]
        raise InputError(
            fold_dir,
            found="no arm that is finished",
            expected=f"a fold's folder: {listed(folders) or 'a finished run'}",
        )
    if arm not in finished:
        raise InputError("arm", found=repr(arm), expected=f"one that {fold_dir} has finished: {', '.join(finished)}")
    return run.config, segmenter_after(run, finished[arm])


def segmenter_after(run: RunFolder, stage: str) -> Segmenter:
    """The best network of a finished stage of segmentation."""
    network = built.unet(run.config.model)
    restore_stage(run, stage, best=network)
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
      label: a true label to be scored against: regions, or heart and background, as in a data set.
      picture: a PNG of three slices with the outlines.

    Raises:
      InputError: unreadable files, no CT, image and label on different grids, or an output that is one of the inputs.
    """
    _check_outputs([output, picture], inputs=[image, label])
    config, segment = open_segmenter(fold_dir, arm)
    case = Case(pathlib.Path(image).name, read_volume(image, dtype=np.float32))
    check_image(case.image, image)
    truth = _true_heart(label, case.image, config, image_subject=image) if label else None
    prepared = prepare(case, config.model.size, window_hu=config.data.window_hu)
    _check_extent(prepared, fields_of_view_of(pathlib.Path(fold_dir)), image)
    mask = resample_to_original(segment(prepared.image), prepared, nearest=True)
    write_volume(mask, output)
    found = Segmentation(mask, None if truth is None else dice(mask.array, truth))
    if picture:
        _draw(pathlib.Path(picture), case, found, truth)
    return found


def _check_outputs(outputs: Sequence[str | os.PathLike | None], *, inputs: Sequence[str | os.PathLike | None]) -> None:
    """Refuses to write where the CT or the expert's label lies, or one result over the other."""
    taken = {pathlib.Path(path).resolve() for path in inputs if path}
    for path in (path for path in outputs if path):
        if pathlib.Path(path).resolve() in taken:
            raise InputError(path, found="a file to write that is given as another one too", expected="a new file")
        taken.add(pathlib.Path(path).resolve())
    if outputs[0]:
        check_suffix(pathlib.Path(outputs[0]))


def _true_heart(
    label: str | os.PathLike, image: Volume, config: Config, *, image_subject: str | os.PathLike
) -> np.ndarray:
    """Heart or not, on the image's grid.

    The label may be of any site. Values that none has are background where the network's data set takes them for it.
    """
    volume = read_volume(label)
    check_same_grid(volume, image, label, image_subject=image_subject)
    try:
        regions = ANY_SITE.apply(volume.array, label)
    except InputError:
        own = LAYOUTS[config.dataset].label_scheme
        if not own.others_are_background or len(np.unique(volume.array)) > _MOST_VALUES:
            raise
        regions = own.apply(volume.array, label)
    check_heart(regions, label)
    return heart_mask(regions)


def _check_extent(prepared: PreparedCase, learnt_mm: Sequence[Sequence[float]], subject: str | os.PathLike) -> None:
    """Warns of a field of view unlike those that the network has seen, as it sees all of it in one cube."""
    found_mm = prepared.field_of_view_mm
    if learnt_mm and all(is_unusual_extent(found_mm, one) for one in learnt_mm):
        text = "%s shows %s mm, the network has learnt from %s mm: crop or pad it to that, or its mask will be wrong"
        logging.warning(text, subject, extent_text(found_mm), extent_text(learnt_mm[0]))


def _draw(path: pathlib.Path, case: Case, found: Segmentation, truth: np.ndarray | None) -> None:
    """Three slices through the heart: truth green, found red."""
    image = unit_from_hu(case.image.array, (-250.0, 550.0))
    true = None if truth is None else truth.astype(np.uint8)
    middle = heart_slice(found.mask.array if true is None else true)
    step = max(1, len(image) // 8)
    chosen = [k for k in (middle - step, middle, middle + step) if 0 <= k < len(image)]
    cells = [(image[k], None if true is None else true[k], found.mask.array[k]) for k in chosen]
    panel(path, [cells], columns=[f"slice {k}" for k in chosen], title=f"{case.identity}: truth green, found red")
