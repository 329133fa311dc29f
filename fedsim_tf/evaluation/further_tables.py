"""Beyond the paper's tables: further measures, quality of synthetic data, patients at another hospital."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fedsim_tf import arms
from fedsim_tf.evaluation.comparison import Cell, collect
from fedsim_tf.evaluation.tables import MISSING, Table, ours, row_name
from fedsim_tf.evaluation.tissues import TISSUES

Metrics = Mapping[str, Any]  # contents of a run's metrics.json
_MEASURES = {
    "dice": "Dice %",
    "iou": "IoU %",
    "hd95_mm": "HD95 mm",
    "surface_mm": "mean surface distance mm",
    "volume_error": "volume error %",
}


def measures(metrics: Sequence[Metrics]) -> Table:
    """Every measure of `metrics.Agreement`, mean and standard deviation over folds."""
    found = {name: collect(metrics, score=name) for name in _MEASURES}
    rows = [[*row_name(cell), *(ours(found[name][cell]) for name in found)] for cell in found["dice"]]
    return Table(("", "data", "arm", *_MEASURES.values()), rows)


def novelty_table(metrics: Iterable[Metrics]) -> Table:
    """How far synthetic volumes lie from real ones; means over folds, see `evaluation.novelty`."""
    paths = {
        "sample to nearest real, HU": ("novelty", "sample_to_real_hu"),
        "real to nearest real, HU": ("novelty", "real_to_real_hu"),
        "closest sample, HU": ("novelty", "closest_sample_hu"),
        "closest real, HU": ("novelty", "closest_real_hu"),
        "VGG features, real to synthetic": ("features", "real_to_synthetic"),
        "real to real": ("features", "real_to_real"),
    }
    rows = []
    for cell, folds in _likeness(metrics):
        values = [_mean(folds, path) for path in paths.values()]
        rows.append([*row_name(cell), *(_number(value, ".3g") for value in values)])
    return Table(("", "data", "arm", *paths), rows)


def tissue_values(metrics: Iterable[Metrics]) -> Table:
    """CT values by tissue, mean and standard deviation in HU, of real and synthetic volumes; means over folds."""
    headings = [f"{tissue}, {kind}, HU" for tissue in TISSUES for kind in ("real", "synthetic")]
    rows = []
    for cell, folds in _likeness(metrics):
        pairs = [
            [_mean(folds, ("tissues", tissue, f"{kind}_{what}_hu")) for what in ("mean", "sd")]
            for tissue in TISSUES
            for kind in ("real", "synthetic")
        ]
        rows.append([*row_name(cell), *(_pair(pair, ".0f") for pair in pairs)])
    return Table(("", "data", "arm", *headings), rows)


def shape_modes(metrics: Iterable[Metrics], *, first: int = 5) -> Table:
    """Weights of the shape model's first modes, of the training volumes as learnt and of the samples.

    In standard deviations of the shape model's own hearts: mean and standard deviation; means over folds.
    """
    rows = []
    for cell, folds in _likeness(metrics):
        for kind in ("learnt", "sampled"):
            pairs = [[_mean(folds, ("shape_modes", kind, what, k)) for what in ("mean", "sd")] for k in range(first)]
            if pairs[0][0] is not None:
                rows.append([*row_name(cell), kind, *(_pair(pair, ".2f") for pair in pairs)])
    return Table(("", "data", "arm", "hearts", *(f"mode {k + 1}" for k in range(first))), rows)


def visitors(visits: Iterable[Metrics]) -> Table:
    """Patients of one hospital at another, by arm: Dice of the hospital's networks on rendered and scanned images."""
    rows = []
    for one in visits:
        facts, folds = one["facts"], one["folds"]
        for arm in filter(folds[0]["rendered"].__contains__, arms.ARMS):
            name = [facts["patients"], f"{facts['hospital']} {facts['labelled']}", arms.title(arm)]
            dice = [[fold[kind][arm]["dice"] for fold in folds] for kind in ("rendered", "as scanned")]
            rows.append([*name, *map(ours, dice), str(len(folds))])
    return Table(("patients of", "at", "arm", "Dice %, rendered", "Dice %, as scanned", "folds"), rows)


def across_sites(runs: Sequence[Metrics], visits: Iterable[Metrics], arm: str = "lower_bound") -> Table:
    """How much a network trained at one site loses on another's scans: Dice, rows trained, columns tested."""
    own = collect([one for one in runs if one["facts"]["experiment"] == "single_site"])
    found: dict[tuple[str, int], dict[str, Sequence[float]]] = {}  # by site and its number of labels, then by patients
    for one in visits:
        facts = one["facts"]
        site, labels = facts["hospital"], facts["labelled"]
        row = found.setdefault((site, labels), {site: own.get(Cell("single_site", arm, site, labels), ())})
        row[facts["patients"]] = [fold["as scanned"][arm]["dice"] for fold in one["folds"]]
    sites = sorted({patients for row in found.values() for patients in row})
    rows = [
        [f"{site} {labels}", *(ours(row.get(other, ())) for other in sites)]
        for (site, labels), row in sorted(found.items())
    ]
    return Table((f"{arms.title(arm)}, trained at", *(f"tested at {site}" for site in sites)), rows)


def _likeness(metrics: Iterable[Metrics]) -> Iterator[tuple[Cell, list[Metrics]]]:
    """Every arm with synthetic data and what each of its folds says of them."""
    for one in metrics:
        for cell in collect([one]):
            folds = [fold[cell.site][cell.arm].get("likeness") for fold in one["folds"]]
            if all(folds):
                yield cell, folds


def _mean(folds: Sequence[Metrics], path: Sequence[Any]) -> float | None:
    """Mean over folds of what lies at a path; None where some fold does not have it."""
    values = []
    for fold in folds:
        value: Any = fold
        try:
            for step in path:
                value = value[step]
        except (KeyError, IndexError):
            return None
        values.append(value)
    return float(np.mean(values))


def _number(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)


def _pair(pair: Sequence[float | None], form: str) -> str:
    return ", ".join(_number(value, form) for value in pair) if None not in pair else MISSING
