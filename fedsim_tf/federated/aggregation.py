"""Sums of the sites' gradients that one bad site cannot make what it wants."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from fedsim_tf.config import ROBUST_RULES
from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import SiteUpdate

AUTO, NONE, BOUNDED, _MEDIAN, TRIMMED = ROBUST_RULES
LEAST_SITES = 3  # between two nobody can tell which one is odd
BOUND = 2.0  # times the median norm of the other sites


def accumulate_gradients(updates: Sequence[SiteUpdate], names: Sequence[str], *, rule: str) -> list[np.ndarray]:
    """Return the sum of the sites' gradients, in the order of `names`, as a rule has it.

    With fewer than three sites every rule is "none".

    Args:
      updates: one of each site, always in the same order.
      names: names of the gradients.
      rule:
        "none", and "auto" where nobody has chosen: the plain sum in float32 (the paper's).
        "bounded": longer gradients are first scaled down to twice the median norm of the other sites' gradients.
        "median": the median of each coordinate, times the number of sites (Yin et al. 2018).
        "trimmed": the mean of each coordinate without its smallest and largest values, as many as one bad site in
          three makes, times the number of sites (Yin et al. 2018).

    Raises:
      InputError: no such rule.
    """
    if rule not in ROBUST_RULES:
        raise InputError("robust", found=repr(rule), expected=f"one of {', '.join(ROBUST_RULES)}")
    if rule in (AUTO, NONE) or len(updates) < LEAST_SITES:
        return [np.sum([update.gradients[name] for update in updates], axis=0) for name in names]
    scales = find_scales(updates) if rule == BOUNDED else [1.0] * len(updates)
    if rule == BOUNDED and set(scales) == {1.0}:
        return accumulate_gradients(updates, names, rule=NONE)  # where nothing is bounded, nothing changes
    totals = []
    for name in names:  # one array at a time: many sites' networks in float64 would fill the memory
        pairs = zip(scales, updates, strict=True)
        totals.append(
            _combine(np.stack([scale * one.gradients[name].astype(np.float64) for scale, one in pairs]), rule=rule)
        )
    return totals


def find_scales(updates: Sequence[SiteUpdate]) -> list[float]:
    """Return by what each site's gradient is multiplied, so that none is far longer than the others'."""
    norms = [update.norm for update in updates]
    limits = [BOUND * statistics.median(norms[:number] + norms[number + 1 :]) for number in range(len(norms))]
    return [limit / norm if norm > limit else 1.0 for norm, limit in zip(norms, limits, strict=True)]


def _combine(values: np.ndarray, *, rule: str) -> np.ndarray:
    """Return one array for those of n sites (n, ...), in float64 and whatever the order of the sites."""
    count = len(values)
    if rule == BOUNDED:
        return values.sum(axis=0)
    ordered = np.sort(values, axis=0)
    most = (count - 1) // 2
    cut = min(most, math.ceil(count / 3)) if rule == TRIMMED else most
    return count * ordered[cut : count - cut].mean(axis=0)
