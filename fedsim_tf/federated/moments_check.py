"""The server's check of the moments of latents, which tells the odd site from the honest ones."""

from __future__ import annotations

import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.federated.aggregation import LEAST_SITES
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.files import read_json, write_json
from fedsim_tf.models.latents import LatentStatistics

REGISTERED = "registered.json"


class MomentsCheck:
    """A check of moments by what sites have registered, what learning can make, and what the other sites have.

    The first number of volumes that a site registers in a run is the one that counts, in later jobs too. Where there
    are three sites or more, each is compared with the median of all, which one bad site among them cannot move far.
    Between two nobody could tell which is odd, and only what no learning makes is refused.

    Args:
      folder: the server's folder of the fold.
      reach: the largest absolute value that a coordinate of a learnt latent can have.
      largest: how many times the usual spread a mean may be away, and a variance be larger or smaller; 0: any.
    """

    def __init__(self, folder: pathlib.Path, *, reach: float, largest: float):
        self._file, self._reach, self._largest = folder / REGISTERED, reach, largest
        self._registered: dict[str, int] = read_json(self._file) if self._file.exists() else {}

    def register(self, updates: Sequence[SiteUpdate]) -> None:
        """Note how many volumes sites say to have when a stage begins."""
        new = {one.site: one.count for one in updates if one.count and one.site not in self._registered}
        if new:
            self._registered |= new
            write_json(self._file, self._registered)

    def find_outliers(self, updates: Sequence[SiteUpdate]) -> dict[str, str]:
        """Return the sites whose moments are refused, with the reason."""
        given = {one.site: one.latents for one in updates if one.latents is not None}
        found: dict[str, str] = {}
        for site, moments in given.items():
            try:
                self._check_alone(site, moments)
            except InputError as error:
                found[site] = str(error)
        sound = {site: moments for site, moments in given.items() if site not in found}
        if self._largest and len(sound) >= LEAST_SITES:
            for site, why in _compare(sound, largest=self._largest).items():
                found[site] = f"moments of {site}: {why} (federated.largest_moments)"
        return found

    def _check_alone(self, site: str, moments: LatentStatistics) -> None:
        subject, registered = f"moments of {site}", self._registered.get(site)
        if registered is not None and moments.count > registered:
            expected = f"at most the {registered} that it registered"
            raise InputError(subject, found=f"{moments.count} latents", expected=expected)
        largest = float(np.sqrt(np.abs(moments.sum_outer).max(initial=0.0) / moments.count))
        largest = max(largest, float(np.abs(moments.sum).max(initial=0.0)) / moments.count)
        if largest > self._reach:
            expected = f"at most {self._reach:.3g}, which the rates of this run can make"
            raise InputError(subject, found=f"latents of size {largest:.3g}", expected=expected)


def _compare(moments: Mapping[str, LatentStatistics], *, largest: float) -> dict[str, str]:
    """Return how the moments of sites differ from the median of all, for those that do by more than `largest` times."""
    variances = {site: _measure_variance(one) for site, one in moments.items()}
    usual = statistics.median(variances.values())
    center = np.median([one.sum / one.count for one in moments.values()], axis=0)
    found = {}
    for site, one in moments.items() if usual else ():
        away = float(np.linalg.norm(one.sum / one.count - center)) / math.sqrt(usual)
        ratio = variances[site] / usual
        if away > largest:
            found[site] = f"found a mean {away:.3g} times the usual spread away; expected at most {largest:g}"
        elif not 1 / largest <= ratio <= largest:
            found[site] = f"found {ratio:.3g} times the usual variance; expected {1 / largest:g} to {largest:g} times"
    return found


def _measure_variance(moments: LatentStatistics) -> float:
    """Return the trace of the covariance of latents."""
    mean = moments.sum / moments.count
    return max(float(np.trace(moments.sum_outer)) / moments.count - float(mean @ mean), 0.0)
