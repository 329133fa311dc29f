"""Finished folds of a run, opened to use what they have learnt."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING

from fedsim_tf.arms import choose_trained, federate_arms, last_stage
from fedsim_tf.errors import InputError, listed
from fedsim_tf.localization.finder import HeartFinder, read_finder
from fedsim_tf.records.fold_data import DATA, read_fold_data
from fedsim_tf.training.run import CONFIG, RunFolder, reopen_run

if TYPE_CHECKING:  # they import TensorFlow
    from fedsim_tf.models.unet3d import UNet3D
    from fedsim_tf.training.segmentation import Segmenter


@dataclasses.dataclass(frozen=True, eq=False)
class FinishedFold:
    """A fold of a run, or a site's folder of a federated fold, in which at least one arm is finished.

    Attributes:
      run: the fold's folder.
      arms: the last stage of each arm that is finished.
    """

    run: RunFolder
    arms: dict[str, str]

    def last_stage_of(self, arm: str) -> str:
        """Return the stage after which an arm's network is taken.

        Raises:
          InputError: an arm that is not finished; the message lists those that are.
        """
        if arm not in self.arms:
            raise InputError("arm", value=arm, must=f"be one that {self.run.path} has finished: {', '.join(self.arms)}")
        return self.arms[arm]

    def load_segmenter(self, stage: str) -> Segmenter:
        """Return the best network of a finished stage of segmentation.

        Raises:
          InputError: the stage's checkpoint is damaged or gone.
        """
        from fedsim_tf.training.segmentation import make_segmenter

        return make_segmenter(self.load_network(stage, precision=self.run.config.model.precision))

    def load_network(self, stage: str, *, precision: str) -> UNet3D:
        """Return the best network of a finished stage of segmentation, which computes in a precision.

        Raises:
          InputError: the stage's checkpoint is damaged or gone.
        """
        from fedsim_tf.models import built
        from fedsim_tf.training.stage import restore_stage

        model = dataclasses.replace(self.run.config.model, precision=precision)
        network = built.unet(model, seed=self.run.config.seed)
        restore_stage(self.run, stage, best=network)
        return network

    def read_finder(self) -> HeartFinder | None:
        """Return what finds the hearts that the fold's volumes were cropped around; None where they were not.

        Raises:
          InputError: the fold's file is damaged or gone.
        """
        from fedsim_tf.runs.same_data import FINDER

        return read_finder(self.run.path / FINDER) if self.run.config.data.crops else None

    def fields_of_view_mm(self) -> list[tuple[float, float, float]]:
        """Return the extents (x, y, z) of volumes like those that the fold has learnt from; none where unknown."""
        from fedsim_tf.runs.same_data import read_fields_of_view

        return read_fields_of_view(self.run.path)

    def usual_field_of_view_mm(self) -> tuple[float, float, float]:
        """Return the extent (x, y, z) of an ordinary volume among those that the fold has learnt from.

        Raises:
          InputError: the run does not know them.
        """
        known = self.fields_of_view_mm()
        if not known:
            raise InputError(self.run.path, found="no fields of view", expected="a run that notes those of its volumes")
        return known[0]


def open_finished_fold(fold_dir: str | os.PathLike) -> FinishedFold:
    """Open a fold of an earlier run to use its networks.

    Raises:
      InputError: no run there, or no arm that is finished; the message lists folders that may have been meant.
    """
    path = pathlib.Path(fold_dir)
    if not (path / CONFIG).is_file():
        raise InputError(fold_dir, found=f"no {CONFIG}", expected="a run's fold folder, such as runs/demo/fold_0")
    run = reopen_run(path)
    arms = finished_arms(run)
    if not arms:
        folders = [str(file.parent) for file in sorted(path.rglob(CONFIG)) if file.parent != path]
        expected = f"a fold's folder: {listed(folders) or 'a finished run'}"
        raise InputError(fold_dir, found="no arm that is finished", expected=expected)
    return FinishedFold(run, arms)


def finished_arms(run: RunFolder) -> dict[str, str]:
    """Return the last stage of each of a run's arms that it has finished, by arm.

    Where all training volumes are annotated, that of the upper bound is the lower bound's, see `arms.choose_trained`.

    Raises:
      InputError: a damaged note of the fold's data.
    """
    finished, configured = run.records(), run.config.segmentation.arms
    arms = dict.fromkeys((*configured, *federate_arms(configured)))
    found = {}
    for arm in arms:
        stage = last_stage(arm)
        if stage not in finished and last_stage(choose_trained(arm, arms, all_annotated=True)) in finished:
            stage = last_stage(choose_trained(arm, arms, all_annotated=_has_all_annotated(run.path)))
        if stage in finished:
            found[arm] = stage
    return found


def _has_all_annotated(fold_dir: pathlib.Path) -> bool:
    file = fold_dir / DATA
    return file.exists() and read_fold_data(file).all_annotated
