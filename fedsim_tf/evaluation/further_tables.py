"""Tables that the paper does not have: more measures, scores by region, patients at another hospital."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fedsim_tf import arms
from fedsim_tf.evaluation.comparison import Cell, collect_scores, name_by_kind
from fedsim_tf.evaluation.tables import Table, experiment_and_data, experiment_data_and_arm, format_mean
from fedsim_tf.records.run_metrics import AS_SCANNED, RENDERED, SINGLE_SITE_RUN, RunMetrics, VisitMetrics
from fedsim_tf.regions import REGIONS

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
