"""Patients of one hospital at another: their hearts and bodies as the other hospital's scanner shows them (section 3).

The host's enhancement network renders the true masks and downsample CTs of the visitors, which are test patients of
their home hospital. The host's segmentation networks, of each arm and of a federated run where one is given, are scored
on the rendered images.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fedsim_tf.arms import ARMS
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.report import print_table
from fedsim_tf.evaluation.scores import score_segmenter
from fedsim_tf.records.fold_scores import ScoresBySite
from fedsim_tf.records.run_metrics import AS_SCANNED, RENDERED, VisitFacts, VisitMetrics
from fedsim_tf.records.versioned import write_record
from fedsim_tf.runs.finished import FinishedFold, finished_arms
from fedsim_tf.runs.inputs import count_labels, open_cohort, open_fold, open_shape_model, open_vgg
from fedsim_tf.runs.results import current_commit
from fedsim_tf.runs.same_data import read_known_volumes
from fedsim_tf.synthesis import downsample, slice_renderer
from fedsim_tf.tools.visit import STAGE, Visit, VisitedFold
from fedsim_tf.training.annotated_labels import are_whole_hearts, get_region_ids
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import METRICS, RunFolder, site_path
from fedsim_tf.training.stage import restore_stage
from fedsim_tf.training.volumes import SiteVolumes, Volumes


def run_out_of_distribution(visit: Visit) -> VisitMetrics:
    """Render one hospital's test patients as another one's, and score the latter's networks on both kinds of images.

    Args:
      visit: the folds that meet.

    Returns:
      The contents of metrics.json.

    Raises:
      InputError: a fold without its last simulation stage, or a federated run that has learnt from these patients.
    """
    folds = [_visit(visit, home, host) for home, host in visit.pairs]
    home, host = visit.pairs[0]
    facts = VisitFacts(
        patients=home.config.dataset,
        hospital=host.config.dataset,
        data=f"{home.data}, {host.data}",
        labelled=count_labels(host.config, host.config.dataset),
        label_kind=host.config.model.labels,
        folds=len(folds),
        preset=host.config.preset,
        commit=current_commit(),
    )
    metrics = VisitMetrics(facts=facts, folds=tuple(folds))
    write_record(visit.output / METRICS, metrics)
    print_table(visit.title, metrics.summary)
    return metrics


def _visit(visit: Visit, home: VisitedFold, host: VisitedFold) -> ScoresBySite:
    """Return the scores, by kind of image and arm, of one fold's patients at another hospital."""
    shared = visit.shared.get(host.number)
    visitors = _open_volumes(home, visit.cache_dir, labels=host.config.model.labels)
    if shared is not None:
        _check_unknown(shared, visitors)
    rendered = _render_visitors(host, _open_volumes(host, visit.cache_dir), visitors.test)
    segmenters = {
        arm: FinishedFold(run, finished_arms(run)).load_segmenter(stage)
        for run in filter(None, (host.run, shared))
        for arm, stage in finished_arms(run).items()
        if run is host.run or ARMS[arm].federated
    }
    visit.output.mkdir(parents=True, exist_ok=True)  # only now, so that what is refused leaves no trace
    picture = visit.output / f"segmentations_{home.number}.png"
    segmentation_gallery(picture, segmenters, rendered, title=visit.title)
    images = {RENDERED: rendered, AS_SCANNED: visitors.test}
    extents_mm = visitors.test_extents_mm
    return {
        kind: {arm: score_segmenter(segment, volumes, extents_mm) for arm, segment in segmenters.items()}
        for kind, volumes in images.items()
    }


def _check_unknown(shared: RunFolder, visitors: SiteVolumes) -> None:
    """Refuse a federated fold whose networks have learnt, at the patients' home hospital, from these patients."""
    own = site_path(shared.path.parents[1], visitors.name)
    known = sorted(read_known_volumes(own) & set(visitors.test.identities))
    if known:
        raise InputError(own, found=f"{known[0]} among what it learnt from", expected="the patients' own fold")


def _open_volumes(fold: VisitedFold, cache_dir: pathlib.Path, *, labels: str | None = None) -> SiteVolumes:
    """Return a fold's volumes, with labels as another run's networks tell them, or as its own do."""
    config = fold.config
    if labels is not None:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, labels=labels))
    cohort = open_cohort(config, config.dataset, cache_dir=cache_dir)
    n_labelled = count_labels(config, config.dataset)
    return open_fold(config, cohort, fold=fold.number, n_labelled=n_labelled, cache_dir=cache_dir)


def _render_visitors(host: VisitedFold, site: SiteVolumes, patients: Volumes) -> Volumes:
    """Return patients' true masks, with images that the host's enhancement network makes of them and their CTs."""
    learner = SiteLearner(host.config, open_shape_model(host.config), site, open_vgg(host.config))
    restore_stage(host.run, STAGE, **_learnt_objects(learner))
    model, learnt = learner.model, host.config.semi.learns_unannotated
    coarse = downsample(patients.images, model.coarse_size)
    render = slice_renderer(model)
    with settle_statistics(model.enhancer, training_slices(learner, with_unlabelled=learnt)):
        labels = _find_regions(patients) if host.config.model.by_region else patients.labels
        images = [render(one, label) for one, label in zip(coarse, labels, strict=True)]
    return Volumes(patients.identities, np.stack(images), patients.labels, patients.regions)


def _find_regions(patients: Volumes) -> np.ndarray:
    """Return the region ids (n, z, y, x) of patients, which the host's enhancement network is to be shown."""
    regions = get_region_ids(patients)
    whole = [name for name, is_whole in zip(patients.identities, are_whole_hearts(regions), strict=True) if is_whole]
    if whole:
        expected = "labels that tell the heart's regions apart, as the hospital's run does"
        raise InputError(", ".join(whole), found="hearts as a whole", expected=expected)
    return regions


def _learnt_objects(learner: SiteLearner) -> Mapping[str, tf.Module]:
    return {name: learner.objects[name] for name in ("model", "labelled_latents", "unlabelled_latents")}
