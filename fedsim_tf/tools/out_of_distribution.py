"""A patient of hospital A at hospital B: A's hearts and bodies as B's scanner shows them (section 3).

B's enhancement network renders the true masks and downsampled CTs of A's test patients; B's segmentation networks, of
each arm and of a federated run where one is given, are scored on what comes out.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.arms import ARMS
from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.report import print_table
from fedsim_tf.evaluation.scores import over_folds, score
from fedsim_tf.files import read_json, write_json
from fedsim_tf.runs.finished import FinishedFold, finished_arms
from fedsim_tf.runs.inputs import count_labels, describe_source, open_cohort, open_fold, open_shape_model, open_vgg
from fedsim_tf.runs.results import commit
from fedsim_tf.runs.same_data import learnt_from
from fedsim_tf.synthesis import downsample, render_volume, slice_renderer
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import CONFIG, METRICS, RunFolder, is_federated, reopen_run, site_path
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
        return describe_source(self.config, self.config.dataset)


def run_out_of_distribution(
    patients: str | os.PathLike,
    hospital: str | os.PathLike,
    output: str | os.PathLike,
    *,
    cache_dir: pathlib.Path,
    federated: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Renders A's test patients as B's and scores B's networks on them, and on the patients as A scanned them.

    Args:
      patients: A's single-site run, or one fold of it; hospital: B's, which has finished "ours_full". Of whole runs,
        the patients of each fold meet the hospital's networks of the fold with the same number.
      output: a folder for metrics.json and a picture of each fold.
      cache_dir: where the phantom cohort and prepared volumes are kept.
      federated: a federated run, or one fold of it, whose networks at this hospital are scored too.

    Returns:
      The contents of metrics.json.

    Raises:
      InputError: no such runs, no fold that all have, volumes of different sizes, a fold without its last simulation
        stage, or a federated run without this hospital or one that has learnt from these patients.
    """
    pairs = _pairs(patients, hospital)
    theirs, ours = pairs[0]
    if theirs.config.model.size != ours.config.model.size:
        raise InputError(patients, found=f"{theirs.config.model.size} voxels", expected=f"{ours.config.model.size}")
    shared = _federated_at(federated, ours.config.dataset, [one.number for _, one in pairs]) if federated else {}
    folder = pathlib.Path(output)
    _check_output(folder, theirs, ours)
    title = f"Patients of {theirs.data} at {ours.data}"
    folds = [_visit(theirs, ours, shared.get(ours.number), folder, title, cache_dir) for theirs, ours in pairs]
    summary = {images: over_folds([fold[images] for fold in folds]) for images in folds[0]}
    facts = {
        "experiment": "out_of_distribution",
        "patients": theirs.config.dataset,
        "hospital": ours.config.dataset,
        "data": f"{theirs.data}, {ours.data}",
        "labelled": count_labels(ours.config, ours.config.dataset),
        "folds": len(folds),
        "preset": ours.config.preset,
        "commit": commit(),
    }
    metrics = {"facts": facts, "summary": summary, "folds": folds}
    write_json(folder / METRICS, metrics)
    print_table(title, summary)
    return metrics


def _check_output(folder: pathlib.Path, theirs: _Fold, ours: _Fold) -> None:
    """Refuses a folder with results of something else."""
    if (folder / CONFIG).exists():
        raise InputError(folder, found="a run", expected="another --output")
    file = folder / METRICS
    facts = read_json(file).get("facts", {}) if file.exists() else {}
    found = (facts.get("patients"), facts.get("hospital"))
    if facts and found != (theirs.config.dataset, ours.config.dataset):
        raise InputError(file, found=f"patients of {found[0]} at {found[1]}", expected="another --output")


def _visit(
    theirs: _Fold, ours: _Fold, shared: RunFolder | None, folder: pathlib.Path, title: str, cache_dir: pathlib.Path
) -> dict[str, Any]:
    """Scores by kind of image and arm: one fold's patients at another hospital."""
    visitors = _volumes(theirs, cache_dir)
    if shared is not None:
        _check_unknown(shared, visitors)
    rendered = _rendered(ours, _volumes(ours, cache_dir), visitors.test)
    segmenters = {
        arm: FinishedFold(run, finished_arms(run)).load_segmenter(stage)
        for run in filter(None, (ours.run, shared))
        for arm, stage in finished_arms(run).items()
        if run is ours.run or ARMS[arm].federated
    }
    folder.mkdir(parents=True, exist_ok=True)  # only now, as what is refused leaves no trace
    picture = folder / f"segmentations_{theirs.number}.png"
    segmentation_gallery(picture, segmenters, rendered, title=f"{title}: truth green, found red")
    images = {"rendered": rendered, "as scanned": visitors.test}
    extents_mm = visitors.test_extents_mm
    return {
        kind: {arm: score(segment, volumes, extents_mm) for arm, segment in segmenters.items()}
        for kind, volumes in images.items()
    }


def _federated_at(run_dir: str | os.PathLike, site: str, numbers: Sequence[int]) -> dict[int, RunFolder]:
    """The folders of a site in the folds of a federated run, by number."""
    found = {}
    for fold in _folds(run_dir):
        path = site_path(fold.run.path, site)
        if not (path / "config.json").is_file():
            raise InputError(run_dir, found=f"no {site} in fold {fold.number}", expected="a federated run of this site")
        found[fold.number] = reopen_run(path)
    lacking = sorted(set(numbers) - set(found))
    if lacking:
        raise InputError(run_dir, found=f"folds {sorted(found)}", expected=f"fold {lacking[0]} too")
    return found


def _check_unknown(shared: RunFolder, visitors: SiteVolumes) -> None:
    """Refuses a federated fold whose networks have learnt, at their own hospital, from these patients."""
    own = site_path(shared.path.parents[1], visitors.name)
    known = sorted(learnt_from(own) & set(visitors.test.identities))
    if known:
        raise InputError(own, found=f"{known[0]} among what it learnt from", expected="the patients' own fold")


def _pairs(patients: str | os.PathLike, hospital: str | os.PathLike) -> list[tuple[_Fold, _Fold]]:
    """Folds of both runs with the same number; two that are named as they are may differ in it."""
    theirs, ours = ({fold.number: fold for fold in _folds(run_dir)} for run_dir in (patients, hospital))
    for run_dir, folds in ((patients, theirs), (hospital, ours)):
        if any(is_federated(fold.run.path) for fold in folds.values()):
            raise InputError(run_dir, found="a federated run", expected="a single-site run; see --federated")
    if all(map(_is_fold, (patients, hospital))):
        return [(*theirs.values(), *ours.values())]  # type: ignore[list-item]
    both = sorted(theirs.keys() & ours.keys())
    if not both:
        raise InputError(hospital, found=f"folds {sorted(ours)}", expected=f"one of folds {sorted(theirs)}")
    return [(theirs[number], ours[number]) for number in both]


def _folds(run_dir: str | os.PathLike) -> list[_Fold]:
    """A run's folds in order, or the one fold whose folder this is."""
    path = pathlib.Path(run_dir).resolve()
    folders = [path] if _is_fold(path) else sorted(path.glob("fold_*"))
    found = [(folder, re.fullmatch(r"fold_(\d)", folder.name)) for folder in folders]
    folds = [(folder, int(number[1])) for folder, number in found if number and (folder / "config.json").is_file()]
    if not folds:
        raise InputError(run_dir, found="no run", expected="a run's folder, or that of a fold such as runs/demo/fold_0")
    return [_Fold(reopen_run(folder), number) for folder, number in folds]


def _is_fold(run_dir: str | os.PathLike) -> bool:
    """Whether a path names a fold, not a run."""
    return pathlib.Path(run_dir).resolve().name.startswith("fold_")


def _volumes(fold: _Fold, cache_dir: pathlib.Path) -> SiteVolumes:
    cohort = open_cohort(fold.config, fold.config.dataset, cache_dir=cache_dir)
    labels = count_labels(fold.config, fold.config.dataset)
    return open_fold(fold.config, cohort, fold=fold.number, n_labelled=labels, cache_dir=cache_dir)


def _rendered(hospital: _Fold, site: SiteVolumes, patients: Volumes) -> Volumes:
    """Patients' true masks and downsampled CTs through a hospital's enhancement network."""
    learner = SiteLearner(hospital.config, open_shape_model(hospital.config), site, open_vgg(hospital.config))
    restore_stage(hospital.run, STAGE, **_learnt(learner))
    model, learnt = learner.model, hospital.config.semi.learns_unannotated
    coarse = downsample(patients.images, model.coarse_size)
    render = slice_renderer(model)
    with settle_statistics(model.enhancer, training_slices(learner, with_unlabelled=learnt)):
        pairs = zip(coarse, patients.labels, strict=True)
        images = [render_volume(render, tf.constant(one[None]), label) for one, label in pairs]
    return Volumes(patients.identities, np.stack(images), patients.labels)


def _learnt(learner: SiteLearner) -> Mapping[str, tf.Module]:
    return {name: learner.objects[name] for name in ("model", "labelled_latents", "unlabelled_latents")}
