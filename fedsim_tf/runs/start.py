"""The start of a run: everything it needs before its first step, opened and checked once.

A run and its dry run open the same `RunStart`, so that they refuse the same things in the same words. Opening one
writes nothing into the run's folder, makes no phantoms and, wherever it can, does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from absl import logging

from fedsim_tf.arms import need_several_sites, simulate_together, simulators
from fedsim_tf.config import Config
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.splits import split_sizes
from fedsim_tf.errors import InputError
from fedsim_tf.models.vgg_weights import check_weights
from fedsim_tf.phantom.sites import SITES
from fedsim_tf.records.fold_data import DATA
from fedsim_tf.records.fold_scores import has_scores
from fedsim_tf.runs.inputs import (
    adopt_kept_precision,
    check_files,
    check_labels,
    count_labels,
    describe_source,
    open_cohort,
    open_fold,
    open_shape_model,
    open_vgg,
    prepare_all,
    settle_choices,
    settle_phantom_version,
)
from fedsim_tf.runs.known_hearts import check_held_out
from fedsim_tf.runs.same_data import compare_with_note
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.run import RunFolder, check_run_folder, fold_numbers, fold_path, is_federated, site_path

if TYPE_CHECKING:  # they import TensorFlow
    from fedsim_tf.models.vgg import VGG19Features
    from fedsim_tf.training.volumes import SiteVolumes


@dataclasses.dataclass(frozen=True, eq=False)
class RunStart:
    """What a run starts from. `open_run` makes it.

    Attributes:
      config: the run's configuration. `settled_config` has the choices that the machine decides.
      run_dir: the run's folder; nothing is written there before `claim`.
      cache_dir: where phantoms and prepared volumes are kept.
      sites: the data sets of the run.
      labels: how many annotated training volumes each site uses.
      folds: the numbers of the folds to run.
      shape_model: the statistical shape model.
      federated: whether the sites learn together.
    """

    config: Config
    run_dir: pathlib.Path
    cache_dir: pathlib.Path
    sites: tuple[str, ...]
    labels: Mapping[str, int]
    folds: Sequence[int]
    shape_model: StatisticalShapeModel
    federated: bool = False

    @functools.cached_property
    def settled_config(self) -> Config:
        """The configuration with what this machine and this code decide, which the run keeps from then on."""
        return settle_choices(self.config, cache_dir=self.cache_dir)

    @functools.cached_property
    def cohorts(self) -> dict[str, Cohort]:
        """The cohort of each site. Phantoms are made on first use."""
        return {site: open_cohort(self.config, site, cache_dir=self.cache_dir) for site in self.sites}

    @functools.cached_property
    def vgg(self) -> VGG19Features:
        """VGG-19 with the configured weights."""
        return open_vgg(self.settled_config)

    @property
    def source(self) -> str:
        """Return where the data comes from, in the words that logs, pictures and records carry."""
        return ", ".join(describe_source(self.config, site) for site in self.sites)

    def annotates_all(self, site: str) -> bool:
        """Return whether a site uses every training volume that files annotate with its annotation, in all folds."""
        if self.config.is_phantom:  # which are counted, not made
            sizes = [split_sizes(site, SITES[site].n_subjects).train]
        else:
            parts = (self.cohorts[site].fold(fold, seed=self.config.data.split_seed) for fold in self.folds)
            sizes = [len(part.train) for part in parts]
        return self.labels[site] >= max(sizes)

    def claim(self, *, after_stage: Callable[[], None] = lambda: None) -> RunFolder:
        """Make the run's folder, or take up the one of an earlier start; `after_stage`: see `RunFolder`.

        Cohorts and VGG weights come first, so that a run that cannot have them leaves no folder behind.
        """
        logging.info("%s, preset %s", self.source, self.config.preset)
        _ = self.cohorts, self.vgg
        return RunFolder(self.run_dir, self.settled_config, after_stage=after_stage)

    def open_fold(self, site: str, fold: int) -> SiteVolumes:
        """Return the volumes of one site in one fold, prepared and stacked."""
        n_labelled = self.labels[site]
        return open_fold(self.config, self.cohorts[site], fold=fold, n_labelled=n_labelled, cache_dir=self.cache_dir)


def open_run(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    sites: Sequence[str],
    cache_dir: str | os.PathLike,
    federated: bool = False,
    only_fold: int | None = None,
    prepare: bool = True,
) -> RunStart:
    """Open everything that a run starts from, and refuse what it could not finish with.

    Args:
      config: what to run.
      run_dir: the run's folder.
      sites: its data sets.
      cache_dir: where phantoms and prepared volumes are kept. Real volumes that are not kept there yet are read and
        prepared now, as the run would do before its first step.
      federated: whether the sites learn together.
      only_fold: the number of the only fold to run; None runs all.
      prepare: whether to read and prepare real volumes now; a schedule leaves that to a job of its own.

    Raises:
      InputError: the first thing that is wrong: arms that cannot be trained, a fold that does not exist, files that are
        missing or damaged, too few annotated volumes, a shape model of too few modes or one that knows the patients it
        would be tested on, or a run folder that holds something else.
    """
    run_dir, cache_dir = pathlib.Path(run_dir), pathlib.Path(cache_dir)
    config = settle_phantom_version(adopt_kept_precision(config, run_dir, cache_dir=cache_dir))
    folds = fold_numbers(config, only_fold)
    labels = {site: count_labels(config, site, federated=federated) for site in sites}
    check_files(config)
    check_arms(config, labels, federated=federated)
    refuse_other_experiment(run_dir, federated=federated)
    check_run_folder(run_dir, config)
    shape_model = open_shape_model(config)
    for site in sites:
        check_labels(config, site, labels[site], cache_dir=cache_dir)
    check_weights(config.model.vgg_weights)
    start = RunStart(config, run_dir, cache_dir, tuple(sites), labels, folds, shape_model, federated)
    if not config.is_phantom:
        for cohort in start.cohorts.values():
            check_held_out(config, shape_model, cohort, folds)
        if prepare:
            for site, cohort in start.cohorts.items():
                prepare_all(cohort, config, n_labelled=labels[site], folds=folds, cache_dir=cache_dir)
            _check_begun_folds(start)
    return start


def _check_begun_folds(start: RunStart) -> None:
    """Refuse data that changed since an earlier start began a fold that is not finished."""
    for number in start.folds:
        fold = fold_path(start.run_dir, number)
        for site in start.sites:
            folder = site_path(fold, site) if start.federated else fold
            if (folder / DATA).exists() and not has_scores(folder):
                compare_with_note(folder, start.config, start.open_fold(site, number))


def check_arms(config: Config, labels: Mapping[str, int], *, federated: bool) -> None:
    """Refuse arms that these sites cannot train, or cannot train with so few annotated volumes or in this CT window.

    Args:
      config: the run's.
      labels: annotated training volumes by site.
      federated: whether the sites learn together.

    Raises:
      InputError: names the arms, the number of volumes or the window.
    """
    arms = config.segmentation.arms
    if federated:
        _check_shared_latents(config, labels)
        return
    several = need_several_sites(arms)
    if several:
        raise InputError("segmentation.arms", value=", ".join(several), must="be arms of a single site")
    if simulators(arms) and min(labels.values()) < 2:
        raise InputError("data.labels", value=min(labels.values()), must="be at least 2 to simulate from")
    _check_window(config)


def _check_shared_latents(config: Config, labels: Mapping[str, int]) -> None:
    """Refuse a federated simulation in which every site would keep the moments of its latents to itself."""
    least, most = config.federated.latents_of, max(labels.values())
    if simulate_together(config.segmentation.arms) and most < least:
        must = f"be at least {least}, as no site sends moments of fewer latents (federated.latents_of)"
        raise InputError("data.labels", value=most, must=must)


def _check_window(config: Config) -> None:
    """Refuse arms of fixed materials in a CT window that hides the bounds between their tissues."""
    from fedsim_tf.ct.attenuation import BODY_BOUNDS_HU

    (low, high), bounds = config.data.window_hu, BODY_BOUNDS_HU.values()
    if "fixed" in simulators(config.segmentation.arms) and not (low < min(bounds) and high > max(bounds)):
        must = f"contain {min(bounds):g} to {max(bounds):g} HU, where arms of fixed materials tell tissues apart"
        raise InputError("data.window_low_hu to data.window_high_hu", value=f"{low:g} to {high:g} HU", must=must)


def refuse_other_experiment(run_dir: pathlib.Path, *, federated: bool) -> None:
    """Refuse to go on with a single-site run as a federated one, or the other way round.

    Their configurations may be the same. A single-site run notes its data in the fold's folder, a federated one in
    those of its sites.

    Raises:
      InputError: the folder's run is of the other kind.
    """
    folds = [fold for fold in run_dir.iterdir() if fold.name.startswith("fold_")] if run_dir.is_dir() else []
    if federated and any((fold / DATA).exists() for fold in folds):
        raise InputError(run_dir, found="a single-site run", expected="a federated one, or another run folder")
    if not federated and any(map(is_federated, folds)):
        raise InputError(run_dir, found="a federated run", expected="a single-site one, or another run folder")


def check_elsewhere(config: Config, *, sites: Sequence[str], only_fold: int | None) -> None:
    """Refuse a run that would fail at sites whose data and files this machine does not know.

    Raises:
      InputError: a fold that does not exist, or arms that the sites cannot train.
    """
    fold_numbers(config, only_fold)
    check_arms(config, {site: count_labels(config, site, federated=True) for site in sites}, federated=True)
