"""The components of a federated fold on NVIDIA FLARE: the controller at the server and the executor at each site."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.errors import InputError
from fedsim_tf.federated.adam_reach import measure_latent_reach
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.encryption.encrypted_rounds import EncryptedCoordinator
from fedsim_tf.federated.encryption.encrypting_site import EncryptingSite
from fedsim_tf.federated.flare.contexts import open_cipher
from fedsim_tf.federated.flare.controller import StageController
from fedsim_tf.federated.flare.executor import SiteExecutor
from fedsim_tf.federated.guard import Guard
from fedsim_tf.federated.outbox import Shapes
from fedsim_tf.federated.privacy_account import Budget
from fedsim_tf.federated.site import Site, Work
from fedsim_tf.files import hold, make_folder
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.records.fold_scores import has_scores, read_fold_scores
from fedsim_tf.records.run_metrics import FEDERATED_RUN
from fedsim_tf.runs.coordination import coordinate
from fedsim_tf.runs.encrypted_site import encrypt_answers
from fedsim_tf.runs.federated_site import COMPARISON, FoldAtSite
from fedsim_tf.runs.flare_member import Local
from fedsim_tf.runs.folds import stages_of
from fedsim_tf.runs.inputs import (
    check_labels,
    count_labels,
    describe_source,
    open_cohort,
    open_fold,
    open_shape_model,
    open_vgg,
)
from fedsim_tf.runs.known_hearts import check_held_out
from fedsim_tf.runs.results import draw_losses, finish, gather_facts
from fedsim_tf.runs.same_data import shape_model_digest
from fedsim_tf.runs.stage_plan import plan_stages
from fedsim_tf.training.protocols import SharedStage
from fedsim_tf.training.run import RunFolder, fold_path, site_path


class FoldController(StageController):
    """The server's part of a fold.

    Args:
      config: the configuration without any machine's own fields, see `strip_local_fields`.
      run_name: name of the run's folder on every machine.
      fold: number of the fold.
    """

    def __init__(self, config: dict, run_name: str, fold: int):
        super().__init__()
        self.config, self.run_name, self.fold = config, run_name, fold

    def coordinate(self, local: pathlib.Path) -> None:
        here = Local.read(local)
        config = here.apply(self.config)
        cipher = open_cipher(local, of_server=True) if config.federated.encrypt else None  # before a folder is made
        run = RunFolder(fold_path(here.run_path(self.run_name), self.fold), config.of_fold(self.fold))
        hold(run.path)
        self.refused = run.path
        federated = config.federated
        sites = federated.sites
        exchange = self.open_exchange(sites, run.path, timeout=federated.timeout, quorum=federated.quorum)
        pause = {"should_pause": lambda: self.note_kept(exchange)}
        if cipher is not None:
            coordinator: Coordinator = EncryptedCoordinator(run, exchange, sites, cipher, **pause)
        else:
            coordinator = Coordinator(run, exchange, sites, **pause)
        coordinate(coordinator, run)
        self.lacking = coordinator.lacking
        draw_losses(run, data=", ".join(sites))


class FoldExecutor(SiteExecutor):
    """A site's part of a fold.

    Args:
      config, run_name, fold: see `FoldController`.
      shape_model: digest of the shape model that all sites use, see `shape_model_digest`.
      reports: whether the site makes a report of its own, once it has scores of all folds.
    """

    def __init__(self, config: dict, run_name: str, fold: int, shape_model: str, reports: bool = False):
        super().__init__()
        self.config, self.run_name, self.fold = config, run_name, fold
        self.shape_model, self.reports = shape_model, reports

    def open_site(self, name: str, local: pathlib.Path) -> Site | EncryptingSite:
        here = Local.read(local)
        config = here.grant(self.config)
        if shape_model_digest(config) != self.shape_model:
            found = f"{config.model.shape_model or 'the one shipped'}, another file than the others'"
            raise InputError("model.shape_model", found=found, expected="the shape model that all sites use")
        cache_dir, dataset = pathlib.Path(here.cache_dir), here.dataset or name
        labels = count_labels(config, dataset, federated=True)
        here.limits.check(config, fold=self.fold, labels=labels)
        cipher = open_cipher(local, of_server=False) if config.federated.encrypt else None  # before a folder is made
        root = here.run_path(self.run_name)
        folder = site_path(fold_path(root, self.fold), name)
        here.limits.check_rounds(config, runs=pathlib.Path(here.runs_dir), fold=folder)
        check_labels(config, dataset, labels, cache_dir=cache_dir)
        cohort = open_cohort(config, dataset, cache_dir=cache_dir)
        shape_model = open_shape_model(config)
        check_held_out(config, shape_model, cohort, [self.fold])
        data = open_fold(config, cohort, fold=self.fold, n_labelled=labels, cache_dir=cache_dir)
        here.limits.check_unannotated(config, len(data.unlabelled))
        data = dataclasses.replace(data, name=name, secret=here.secret)  # hospitals may have data sets of one name
        make_folder(root)
        root.chmod(0o700)  # it will hold pictures of patients
        whole = RunFolder(root, config) if self.reports else None  # before there are files of a fold in it
        run = RunFolder(folder, config.of_fold(self.fold))
        hold(run.path)
        budget = Budget(pathlib.Path(here.runs_dir), here.most_epsilon, config.federated.noise_multiplier)
        vgg = open_vgg(config)
        work: Work = FoldAtSite(run, data, shape_model, vgg, whole_stages=True)
        if whole is not None:
            about = {"data": describe_source(config, name), "labelled": {name: labels}, "vgg": vgg.source}
            work = ReportingFold(work, whole, name, cohort, about)
        reach = measure_latent_reach(run.config)
        plan, latent = plan_stages(run.config), run.config.model.latent
        guard = Guard(name, run, plan, latent=latent, latent_reach=reach, last_work=COMPARISON)
        if cipher is None:
            return Site(name, run, work, budget, guard)
        return encrypt_answers(Site(name, run, work, budget, guard, cipher), run, cipher)


class ReportingFold:
    """The work of a site on a fold, which ends with metrics.json and a report once all folds have scores.

    Args:
      work: the work on the fold.
      run: the run's folder at this site, in which they are left.
      name: the site's name.
      cohort: the site's data.
      about: facts on the run for its metrics.json, see `runs.results.gather_facts`.
    """

    def __init__(self, work: Work, run: RunFolder, name: str, cohort: Cohort, about: dict[str, Any]):
        self._work, self._run, self._name, self._cohort, self._about = work, run, name, cohort, about

    @property
    def shared_shapes(self) -> Shapes:
        return self._work.shared_shapes

    def begin(self, stage: str, distribution: LatentDistribution | None) -> SharedStage:
        return self._work.begin(stage, distribution)

    def count_volumes(self) -> int:
        return self._work.count_volumes()

    def measure_latents(self, *, with_unlabelled: bool, largest_norm: float = 0.0) -> LatentStatistics:
        return self._work.measure_latents(with_unlabelled=with_unlabelled, largest_norm=largest_norm)

    def work_alone(self, name: str, distribution: LatentDistribution | None) -> None:
        self._work.work_alone(name, distribution)
        if name == COMPARISON:
            self._report()

    def _report(self) -> None:
        run = self._run
        folders = [site_path(fold_path(run.path, fold), self._name) for fold in range(run.config.data.folds)]
        if all(map(has_scores, folders)):
            scores = [read_fold_scores(folder, site=self._name).sites for folder in folders]
            folds = {fold: RunFolder(folder, run.config.of_fold(fold)) for fold, folder in enumerate(folders)}
            facts = gather_facts(run, {self._name: self._cohort}, experiment=FEDERATED_RUN, **self._about)
            finish(run, scores, title=f"Federated: {facts.data}", facts=facts, stages=stages_of(folds))


COMPONENTS = (FoldController, FoldExecutor)
