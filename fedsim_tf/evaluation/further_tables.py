"""Tables that the paper does not have: more measures, likeness of synthetic volumes, patients at another hospital."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from fedsim_tf import arms
from fedsim_tf.evaluation.comparison import Cell, collect_scores, name_by_kind
from fedsim_tf.evaluation.tables import (
    MISSING,
    Table,
    experiment_and_data,
    experiment_data_and_arm,
    format_mean,
)
from fedsim_tf.evaluation.tissues import TISSUES
from fedsim_tf.records.fold_scores import FeatureDistances, Likeness, Novelty, TissueComparison
from fedsim_tf.records.run_metrics import AS_SCANNED, RENDERED, SINGLE_SITE_RUN, RunMetrics, VisitMetrics
from fedsim_tf.regions import REGIONS

Values = Callable[[Likeness], Sequence[float] | None]  # what to show of a fold's likeness; None where it lacks that
_MEASURES = {
    "dice": "Dice %",
    "iou": "IoU %",
    "hd95_mm": "HD95 mm",
    "surface_mm": "mean surface distance mm",
    "volume_error": "volume error %",
}


def measures(metrics: Sequence[RunMetrics]) -> Table:
    """Return every measure of `metrics.Agreement`, mean and standard deviation over folds."""
    found = {name: collect_scores(metrics, measure=name) for name in _MEASURES}
    rows = [
        [*experiment_data_and_arm(cell), *(format_mean(found[name][cell]) for name in found)] for cell in found["dice"]
    ]
    return Table(("", "data", "arm", *_MEASURES.values()), rows)


def regions_table(metrics: Sequence[RunMetrics], measure: str = "dice") -> Table:
    """Return a measure of each region of the heart, mean and standard deviation over folds, and the regions' mean.

    Arms of runs whose labels are heart or not have no rows.

    Args:
      metrics: the runs' results.
      measure: a key of `metrics.MEASURES`.
    """
    names = [region.short_name for region in REGIONS.values()]
    found = {name: collect_scores(metrics, measure=measure, region=name) for name in names}
    rows = []
    for cell in collect_scores(metrics):
        values = [cells.get(cell, ()) for cells in found.values()]
        if any(len(one) for one in values):
            mean = format_mean([float(np.mean([np.mean(one) for one in values if len(one)]))])
            rows.append([*experiment_data_and_arm(cell), *map(format_mean, values), mean])
    return Table(("", "data", "arm", *(f"{name}, {_MEASURES[measure]}" for name in names), "mean"), rows)


def novelty_table(metrics: Iterable[RunMetrics]) -> Table:
    """Return how far synthetic volumes lie from real ones, see `evaluation.novelty`; means over folds."""
    columns = {
        "sample to nearest real, HU": _novelty(lambda one: one.sample_to_real_hu),
        "real to nearest real, HU": _novelty(lambda one: one.real_to_real_hu),
        "closest sample, HU": _novelty(lambda one: one.closest_sample_hu),
        "closest real, HU": _novelty(lambda one: one.closest_real_hu),
        "VGG features, real to synthetic": _features(lambda one: one.real_to_synthetic),
        "real to real": _features(lambda one: one.real_to_real),
    }
    return _likeness_table(metrics, columns, ".3g")


def tissue_values(metrics: Sequence[RunMetrics]) -> Table:
    """Return mean and standard deviation in HU of each tissue in real and synthetic volumes; means over folds.

    Regions of the heart follow where some run tells them apart.
    """
    columns: dict[str, Values] = {}
    measured = {name for _, folds in _simulating_arms(metrics) for one in folds for name in one.tissues}
    regions = [region.short_name for region in REGIONS.values() if region.short_name in measured]
    for tissue in (*TISSUES, *regions):
        columns[f"{tissue}, real, HU"] = _tissue(tissue, lambda one: (one.real_mean_hu, one.real_sd_hu))
        columns[f"{tissue}, synthetic, HU"] = _tissue(tissue, lambda one: (one.synthetic_mean_hu, one.synthetic_sd_hu))
    return _likeness_table(metrics, columns, ".0f")


def shape_modes(metrics: Iterable[RunMetrics], *, first: int = 5) -> Table:
    """Return weights of the shape model's first modes, of the training volumes as learnt and of the samples.

    Each is mean and standard deviation over hearts, in standard deviations of the shape model's own; means over folds.
    """
    rows = []
    for cell, folds in _simulating_arms(metrics):
        for kind in ("learnt", "sampled"):
            words = [_format_means(folds, _mode_weights(kind, mode), ".2f") for mode in range(first)]
            if words[0] != MISSING:
                rows.append([*experiment_data_and_arm(cell), kind, *words])
    return Table(("", "data", "arm", "hearts", *(f"mode {mode + 1}" for mode in range(first))), rows)


def visitors(visits: Iterable[VisitMetrics]) -> Table:
    """Return the Dice of a hospital's networks on another one's patients, on rendered and on scanned images, by arm."""
    rows = []
    for one in visits:
        facts = one.facts
        for arm in filter(one.folds[0][RENDERED].__contains__, arms.ARMS):
            at = name_by_kind(f"{facts.hospital} {facts.labelled}", facts.label_kind)
            names = [facts.patients, at, arms.title(arm)]
            dice = [[fold[images][arm].dice for fold in one.folds] for images in (RENDERED, AS_SCANNED)]
            rows.append([*names, *map(format_mean, dice), str(len(one.folds))])
    return Table(("patients of", "at", "arm", "Dice %, rendered", "Dice %, as scanned", "folds"), rows)


def across_sites(runs: Iterable[RunMetrics], visits: Iterable[VisitMetrics], arm: str = "lower_bound") -> Table:
    """Return the Dice of networks trained at one site (rows) on the scans of another (columns)."""
    own = collect_scores([one for one in runs if one.facts.experiment == SINGLE_SITE_RUN])
    found: dict[Cell, dict[str, Sequence[float]]] = {}  # by site, number and kind of labels, then by patients
    for one in visits:
        site = one.facts.hospital
        cell = Cell(SINGLE_SITE_RUN, arm, site, one.facts.labelled, one.facts.label_kind)
        row = found.setdefault(cell, {site: own.get(cell, ())})
        row[one.facts.patients] = [fold[AS_SCANNED][arm].dice for fold in one.folds]
    sites = sorted({patients for row in found.values() for patients in row})
    rows = [
        [experiment_and_data(cell)[1], *(format_mean(row.get(other, ())) for other in sites)]
        for cell, row in sorted(found.items())
    ]
    return Table((f"{arms.title(arm)}, trained at", *(f"tested at {site}" for site in sites)), rows)


def _likeness_table(metrics: Iterable[RunMetrics], columns: Mapping[str, Values], form: str) -> Table:
    """Return a row for each arm with synthetic volumes, a column for each heading."""
    rows = [
        [*experiment_data_and_arm(cell), *(_format_means(folds, values, form) for values in columns.values())]
        for cell, folds in _simulating_arms(metrics)
    ]
    return Table(("", "data", "arm", *columns), rows)


def _simulating_arms(metrics: Iterable[RunMetrics]) -> Iterator[tuple[Cell, list[Likeness]]]:
    """Give the cell of every arm with synthetic volumes, and the likeness of each of its folds."""
    for one in metrics:
        for cell in collect_scores([one]):
            folds = [fold[cell.site][cell.arm].likeness for fold in one.folds]
            found = [likeness for likeness in folds if likeness is not None]
            if len(found) == len(folds):
                yield cell, found


def _novelty(value: Callable[[Novelty], float]) -> Values:
    return lambda one: None if one.novelty is None else [value(one.novelty)]


def _features(value: Callable[[FeatureDistances], float]) -> Values:
    return lambda one: None if one.features is None else [value(one.features)]


def _tissue(tissue: str, values: Callable[[TissueComparison], Sequence[float]]) -> Values:
    return lambda one: values(one.tissues[tissue]) if tissue in one.tissues else None


def _mode_weights(kind: str, mode: int) -> Values:
    def values(one: Likeness) -> Sequence[float] | None:
        if one.shape_modes is None:
            return None
        weights = one.shape_modes.learnt if kind == "learnt" else one.shape_modes.sampled
        return (weights.mean[mode], weights.sd[mode]) if mode < len(weights.mean) else None

    return values


def _format_means(folds: Sequence[Likeness], values: Values, form: str) -> str:
    """Return the means of a fold's values over folds, separated by commas; a dash where some fold lacks them."""
    found = [one for one in map(values, folds) if one]
    if len(found) < len(folds):
        return MISSING
    return ", ".join(format(float(np.mean(column)), form) for column in zip(*found, strict=True))
