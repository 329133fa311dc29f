"""Patients of one hospital at another: their hearts and bodies as the other hospital's scanner shows them (section 3).

The host's enhancement network renders the true masks and downsampled CTs of the visitors, which are test patients of
their home hospital. The host's segmentation networks, of each arm and of a federated run where one is given, are scored
on the rendered images.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.arms import ARMS
from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.report import print_table
from fedsim_tf.evaluation.scores import score_segmenter
from fedsim_tf.records.fold_scores import ScoresBySite
from fedsim_tf.records.run_metrics import AS_SCANNED, RENDERED, RunMetrics, VisitFacts, VisitMetrics, read_metrics
from fedsim_tf.records.versioned import write_record
from fedsim_tf.runs.inputs import labels_of, open_cohort, open_fold, open_shape_model, open_vgg, source
from fedsim_tf.runs.results import current_commit
from fedsim_tf.runs.same_data import read_known_volumes
from fedsim_tf.synthesis import downsampled, render_volume, slice_renderer
from fedsim_tf.tools.segment import finished_arms, segmenter_after
from fedsim_tf.training.batch_norm import settled_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import CONFIG, METRICS, RunFolder, is_federated, reopened, site_path
from fedsim_tf.training.stage import restore_stage
from fedsim_tf.training.volumes import SiteVolumes, Volumes

STAGE = "semi_supervised"  # after which the enhancement network is taken


class _Fold(NamedTuple):
    """A finished fold of a run."""

    run: RunFolder
    number: int

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def data(self) -> str:
        return source(self.config, self.config.dataset)


def run_out_of_distribution(
    patients: str | os.PathLike,
    hospital: str | os.PathLike,
    output: str | os.PathLike,
    *,
    cache_dir: pathlib.Path,
    federated: str | os.PathLike | None = None,
) -> VisitMetrics:
    """Render one hospital's test patients as another one's, and score the latter's networks on both kinds of images.

    Args:
      patients: the single-site run of the patients' home hospital, or one fold of it.
      hospital: the host's run or fold, which has finished "ours_full". Where both are whole runs, the patients of each
        fold meet the host's networks of the fold with the same number.
      output: a folder for metrics.json and a picture of each fold.
      cache_dir: where the phantom cohort and prepared volumes are kept.
      federated: a federated run, or one fold of it, whose networks at the host are scored too.

    Returns:
      The contents of metrics.json.

    Raises:
      InputError: no such runs, no fold that all have, volumes of different sizes, a fold without its last simulation
        stage, a federated run without the host or one that has learnt from these patients, or an output folder with
        results of something else.
    """
    pairs = _pair_folds(patients, hospital)
    home, host = pairs[0]
    if home.config.model.size != host.config.model.size:
        raise InputError(patients, found=f"{home.config.model.size} voxels", expected=f"{host.config.model.size}")
    numbers = [host.number for _, host in pairs]
    shared = _open_federated_site(federated, host.config.dataset, numbers) if federated else {}
    folder = pathlib.Path(output)
    _check_output(folder, home, host)
    title = f"Patients of {home.data} at {host.data}"
    folds = [_visit(home, host, shared.get(host.number), folder, title, cache_dir) for home, host in pairs]
    facts = VisitFacts(
        patients=home.config.dataset,
        hospital=host.config.dataset,
        data=f"{home.data}, {host.data}",
        labelled=labels_of(host.config, host.config.dataset),
        folds=len(folds),
        preset=host.config.preset,
        commit=current_commit(),
    )
    metrics = VisitMetrics(facts=facts, folds=tuple(folds))
    write_record(folder / METRICS, metrics)
    print_table(title, metrics.summary)
    return metrics


def _check_output(folder: pathlib.Path, home: _Fold, host: _Fold) -> None:
    """Refuse a folder with results of something else."""
    expected = "another output folder"
    if (folder / CONFIG).exists():
        raise InputError(folder, found="a run", expected=expected)
    file = folder / METRICS
    if not file.exists():
        return
    earlier = read_metrics(file)
    if isinstance(earlier, RunMetrics):
        raise InputError(file, found="the results of a run", expected=expected)
    found = (earlier.facts.patients, earlier.facts.hospital)
    if found != (home.config.dataset, host.config.dataset):
        raise InputError(file, found=f"patients of {found[0]} at {found[1]}", expected=expected)


def _visit(
    home: _Fold, host: _Fold, shared: RunFolder | None, folder: pathlib.Path, title: str, cache_dir: pathlib.Path
) -> ScoresBySite:
    """Return the scores, by kind of image and arm, of one fold's patients at another hospital."""
    visitors = _open_volumes(home, cache_dir)
    if shared is not None:
        _check_unknown(shared, visitors)
    rendered = _render_visitors(host, _open_volumes(host, cache_dir), visitors.test)
    segmenters = {
        arm: segmenter_after(run, stage)
        for run in filter(None, (host.run, shared))
        for arm, stage in finished_arms(run).items()
        if run is host.run or ARMS[arm].federated
    }
    folder.mkdir(parents=True, exist_ok=True)  # only now, so that what is refused leaves no trace
    picture = folder / f"segmentations_{home.number}.png"
    segmentation_gallery(picture, segmenters, rendered, title=f"{title}: truth green, found red")
    images = {RENDERED: rendered, AS_SCANNED: visitors.test}
    extents_mm = visitors.test_extents_mm
    return {
        kind: {arm: score_segmenter(segment, volumes, extents_mm) for arm, segment in segmenters.items()}
        for kind, volumes in images.items()
    }


def _open_federated_site(run_dir: str | os.PathLike, site: str, numbers: Sequence[int]) -> dict[int, RunFolder]:
    """Return a site's folder in each fold of a federated run, by the fold's number."""
    found = {}
    for fold in _open_folds(run_dir):
        path = site_path(fold.run.path, site)
        if not (path / CONFIG).is_file():
            raise InputError(run_dir, found=f"no {site} in fold {fold.number}", expected="a federated run of this site")
        found[fold.number] = reopened(path)
    lacking = sorted(set(numbers) - set(found))
    if lacking:
        raise InputError(run_dir, found=f"folds {sorted(found)}", expected=f"fold {lacking[0]} too")
    return found


def _check_unknown(shared: RunFolder, visitors: SiteVolumes) -> None:
    """Refuse a federated fold whose networks have learnt, at the patients' home hospital, from these patients."""
    own = site_path(shared.path.parents[1], visitors.name)
    known = sorted(read_known_volumes(own) & set(visitors.test.identities))
    if known:
        raise InputError(own, found=f"{known[0]} among what it learnt from", expected="the patients' own fold")


def _pair_folds(patients: str | os.PathLike, hospital: str | os.PathLike) -> list[tuple[_Fold, _Fold]]:
    """Return the folds of both runs that have the same number; two given folds are a pair whatever their numbers."""
    home, host = ({fold.number: fold for fold in _open_folds(run_dir)} for run_dir in (patients, hospital))
    for run_dir, folds in ((patients, home), (hospital, host)):
        if any(is_federated(fold.run.path) for fold in folds.values()):
            expected = "a single-site run; a federated one is the argument federated"
            raise InputError(run_dir, found="a federated run", expected=expected)
    if all(map(_is_fold, (patients, hospital))):
        return [(*home.values(), *host.values())]  # type: ignore[list-item]
    both = sorted(home.keys() & host.keys())
    if not both:
        raise InputError(hospital, found=f"folds {sorted(host)}", expected=f"one of folds {sorted(home)}")
    return [(home[number], host[number]) for number in both]


def _open_folds(run_dir: str | os.PathLike) -> list[_Fold]:
    """Return a run's folds in order, or the one fold whose folder this is."""
    path = pathlib.Path(run_dir).resolve()
    folders = [path] if _is_fold(path) else sorted(path.glob("fold_*"))
    found = [(folder, re.fullmatch(r"fold_(\d)", folder.name)) for folder in folders]
    folds = [(folder, int(number[1])) for folder, number in found if number and (folder / CONFIG).is_file()]
    if not folds:
        raise InputError(run_dir, found="no run", expected="a run's folder, or that of a fold such as runs/demo/fold_0")
    return [_Fold(reopened(folder), number) for folder, number in folds]


def _is_fold(run_dir: str | os.PathLike) -> bool:
    """Return whether a path names a fold and not a run."""
    return pathlib.Path(run_dir).resolve().name.startswith("fold_")


def _open_volumes(fold: _Fold, cache_dir: pathlib.Path) -> SiteVolumes:
    cohort = open_cohort(fold.config, fold.config.dataset, cache_dir=cache_dir)
    labels = labels_of(fold.config, fold.config.dataset)
    return open_fold(fold.config, cohort, fold=fold.number, n_labelled=labels, cache_dir=cache_dir)


def _render_visitors(host: _Fold, site: SiteVolumes, patients: Volumes) -> Volumes:
    """Return patients' true masks, with images that the host's enhancement network makes of them and their CTs."""
    learner = SiteLearner(host.config, open_shape_model(host.config), site, open_vgg(host.config))
    restore_stage(host.run, STAGE, **_learnt_objects(learner))
    model, learnt = learner.model, host.config.semi.learns_unannotated
    coarse = downsampled(patients.images, model.coarse_size)
    render = slice_renderer(model)
    with settled_statistics(model.enhancer, training_slices(learner, with_unlabelled=learnt)):
        pairs = zip(coarse, patients.labels, strict=True)
        images = [render_volume(render, tf.constant(one[None]), label) for one, label in pairs]
    return Volumes(patients.identities, np.stack(images), patients.labels)


def _learnt_objects(learner: SiteLearner) -> Mapping[str, tf.Module]:
    return {name: learner.objects[name] for name in ("model", "labelled_latents", "unlabelled_latents")}
