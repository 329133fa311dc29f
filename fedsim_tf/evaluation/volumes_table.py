"""The table of the volumes themselves: each measure of every arm's synthetic volumes over that of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf import arms
from fedsim_tf.evaluation.comparison import Cell, collect_scores
from fedsim_tf.evaluation.kernel_distance import PLANES
from fedsim_tf.evaluation.tables import MISSING, Table, experiment_and_data
from fedsim_tf.evaluation.tissues import PLACES, TISSUES
from fedsim_tf.records.likeness_record import FeatureDistances, HeartVariety, Likeness, Novelty, Pair
from fedsim_tf.records.run_metrics import RunMetrics
from fedsim_tf.regions import LV, MYOCARDIUM, REGIONS

VOLUMES = "Synthetic volumes"
READ_AS = (
    "Each cell is synthetic / real = ratio. There is no ratio of mean CT values, which have no true zero, nor of "
    "kernel distances, where real stands for one half of the real volumes against the other"
)
_BLOOD, _WALL = REGIONS[LV].short_name, REGIONS[MYOCARDIUM].short_name


class _Row(NamedTuple):
    """A measure: its title, how a fold's likeness gives it (None: it lacks that), form, and whether it is a ratio."""

    title: str
    find: Callable[[Likeness], Pair | None]
    form: str = ".0f"
    has_ratio: bool = True


def volumes_table(metrics: Iterable[RunMetrics]) -> Table:
    """Return a row for each measure and data set and a column for each arm with synthetic volumes; means over folds.

    Measures that no arm of a data set has, such as those of regions where labels have none, are left out.
    """
    found = _collect_likeness(metrics)
    columns = [arm for arm in arms.ARMS if any(arm in by_arm for by_arm in found.values())]
    rows = []
    for data, by_arm in found.items():
        for row in _list_rows([one for folds in by_arm.values() for one in folds]):
            words = [_format(row, by_arm.get(arm, ())) for arm in columns]
            if any(word != MISSING for word in words):
                rows.append([data, row.title, *words])
    return Table(("data", "measure", *map(arms.title, columns)), rows)


def _collect_likeness(metrics: Iterable[RunMetrics]) -> dict[str, dict[str, list[Likeness]]]:
    """Return the likeness in each fold, by data in words and by arm; all folds must have one."""
    found: dict[str, dict[str, list[Likeness]]] = {}
    in_order = sorted(_simulating_arms(metrics), key=lambda one: (one[0].site, one[0].labels, one[0].label_kind))
    for cell, folds in in_order:
        _, data = experiment_and_data(cell)
        found.setdefault(data, {}).setdefault(cell.arm, folds)
    return found


def _simulating_arms(metrics: Iterable[RunMetrics]) -> Iterator[tuple[Cell, list[Likeness]]]:
    for one in metrics:
        for cell in collect_scores([one]):
            folds = [fold[cell.site][cell.arm].likeness for fold in one.folds]
            found = [likeness for likeness in folds if likeness is not None]
            if len(found) == len(folds):
                yield cell, found


def _format(row: _Row, folds: Sequence[Likeness]) -> str:
    """Return a measure's means over folds as "57 / 124 = 0.46"; a dash where some fold lacks it."""
    pairs = [pair for pair in map(row.find, folds) if pair is not None]
    if not pairs or len(pairs) < len(folds):
        return MISSING
    synthetic, real = (float(np.mean([getattr(pair, kind) for pair in pairs])) for kind in ("synthetic", "real"))
    words = f"{synthetic:{row.form}} / {real:{row.form}}"
    return f"{words} = {synthetic / real:.2f}" if row.has_ratio and real else words


def _list_rows(likenesses: Sequence[Likeness]) -> list[_Row]:
    """Return the rows for all that some of these have, in the order in which they are shown."""
    tissues = {name for one in likenesses for name in one.tissues}
    regions = [region.short_name for region in REGIONS.values() if region.short_name in tissues]
    modes = max((len(one.shape_modes.learnt.sd) for one in likenesses if one.shape_modes), default=0)
    shown = (*TISSUES, *regions)
    return [
        *(
            _Row(f"{order} difference along {axis}, {place}, HU", _difference(place, order, number))
            for place in PLACES
            for order in ("first", "second")
            for number, axis in enumerate("xyz")
        ),
        *(_Row(f"mean, {tissue}, HU", _tissue_mean(tissue), has_ratio=False) for tissue in shown),
        *(_Row(f"spread within a volume, {tissue}, HU", _tissue_spread(tissue)) for tissue in shown),
        _Row(f"contrast {_BLOOD} to {_WALL}, HU", _contrast),
        _Row("mean heart volume, ml", _hearts(lambda one: one.volume_ml)),
        _Row("spread of heart volume, % of the mean", _hearts(lambda one: 100.0 * one.volume_sd), ".1f"),
        _Row("spread of the heart's place, mm", _hearts(lambda one: one.place_sd_mm), ".1f"),
        _Row("spread of the heart's long axis, degrees", _hearts(lambda one: one.axis_sd_degrees), ".1f"),
        _Row("Dice between two hearts, %", _hearts(lambda one: one.pair_dice), ".1f"),
        *(_Row(f"spread of shape mode {mode + 1}, SD", _mode(mode), ".2f") for mode in range(modes)),
        *(_Row(f"kernel distance, {plane} slices", _plane(plane), ".3g", False) for plane in PLANES),
        _Row(
            "mean distance to the nearest training volume, HU",
            _novelty(lambda one: (one.real_to_real_hu, one.sample_to_real_hu)),
        ),
        _Row(
            "smallest distance to a training volume, HU",
            _novelty(lambda one: (one.closest_real_hu, one.closest_sample_hu)),
        ),
        _Row("Dice of the upper bound's network, %", lambda one: one.upper_bound_dice, ".1f"),
    ]


def _difference(place: str, order: str, axis: int) -> Callable[[Likeness], Pair | None]:
    def find(one: Likeness) -> Pair | None:
        if one.differences is None or place not in one.differences:
            return None
        both = one.differences[place]
        return Pair(*(getattr(kind, order)[axis] for kind in (both.real, both.synthetic)))

    return find


def _tissue_mean(tissue: str) -> Callable[[Likeness], Pair | None]:
    def find(one: Likeness) -> Pair | None:
        found = one.tissues.get(tissue)
        return None if found is None else Pair(found.real_mean_hu, found.synthetic_mean_hu)

    return find


def _tissue_spread(tissue: str) -> Callable[[Likeness], Pair | None]:
    def find(one: Likeness) -> Pair | None:
        found = one.tissues.get(tissue)
        if found is None or found.real_within_sd_hu is None or found.synthetic_within_sd_hu is None:
            return None
        return Pair(found.real_within_sd_hu, found.synthetic_within_sd_hu)

    return find


def _contrast(one: Likeness) -> Pair | None:
    blood, wall = (one.tissues.get(region) for region in (_BLOOD, _WALL))
    if blood is None or wall is None:
        return None
    return Pair(blood.real_mean_hu - wall.real_mean_hu, blood.synthetic_mean_hu - wall.synthetic_mean_hu)


def _hearts(value: Callable[[HeartVariety], float]) -> Callable[[Likeness], Pair | None]:
    return lambda one: None if one.hearts is None else Pair(value(one.hearts.real), value(one.hearts.synthetic))


def _mode(mode: int) -> Callable[[Likeness], Pair | None]:
    def find(one: Likeness) -> Pair | None:
        if one.shape_modes is None or mode >= len(one.shape_modes.learnt.sd):
            return None
        return Pair(one.shape_modes.learnt.sd[mode], one.shape_modes.sampled.sd[mode])

    return find


def _plane(plane: str) -> Callable[[Likeness], Pair | None]:
    def find(one: Likeness) -> Pair | None:
        found: FeatureDistances | None = (one.planes or {}).get(plane)
        return None if found is None else Pair(found.real_to_real, found.real_to_synthetic)

    return find


def _novelty(measure: Callable[[Novelty], tuple[float, float]]) -> Callable[[Likeness], Pair | None]:
    """Return what finds a measure of novelty, given as that of real and that of synthetic volumes."""
    return lambda one: None if one.novelty is None else Pair(*measure(one.novelty))
