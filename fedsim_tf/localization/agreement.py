"""The place of a heart on which several atlases agree."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.localization.matching import Match, ScoutSearch
from fedsim_tf.localization.scouts import SPACING_MM, Scout

LEAST_ATLASES, MOST_ATLASES = 2, 5  # registered; more are searched with
MOST_OTHERS = 1  # atlases that may disagree: on whole chests at most one did
APART_MM = 30.0  # from the median: an atlas farther away does not agree
LEAST_CORRELATION = 0.42  # of soft tissue around a heart, the median of the atlases that agree


class FoundHeart(NamedTuple):
    """The place of a heart in a scan.

    Attributes:
      centre_mm: its centre (x, y, z) in the patient.
      spread_mm: the median distance of the agreeing atlases' answers from it.
      correlation: how alike the scan and these atlases are around it, their median.
      agreeing, asked: how many atlases agree, of how many.
    """

    centre_mm: tuple[float, float, float]
    spread_mm: float
    correlation: float
    agreeing: int
    asked: int


def find_heart(scout: Scout, atlases: Sequence[Scout], *, subject: str | os.PathLike = "") -> FoundHeart:
    """Return where the heart lies in a scan, by comparison with annotated ones; its own label is not looked at.

    The median of several answers is taken, as each atlas errs where its own build differs from the scan's.

    Args:
      scout: the scan.
      atlases: annotated scans of other patients, with hearts.
      subject: the scan's name in messages; by default its identity.

    Raises:
      InputError: fewer than two atlases, answers that disagree, or a place that is unlike the atlases' or outside
        the CT.
    """
    subject = subject or scout.identity
    if len(atlases) < LEAST_ATLASES:
        found = f"{len(atlases)} annotated scans of other patients to find its heart with"
        raise InputError(subject, found=found, expected=f"at least {LEAST_ATLASES}")
    search = ScoutSearch(scout)
    starts = sorted(((search.search(atlas), atlas) for atlas in atlases), key=lambda pair: -pair[0].correlation)
    matches = [search.look_closely(atlas, search.register(atlas, start)) for start, atlas in starts[:MOST_ATLASES]]
    matches = _look_at_other_places(search, matches, [atlas for _, atlas in starts])
    agreeing = _select_agreeing(matches)
    if len(agreeing) < max(LEAST_ATLASES, len(matches) - MOST_OTHERS):
        raise _no_heart(subject, f"{len(matches)} atlases find the heart in places far from each other")
    places, correlation = _places(agreeing), float(np.median([match.correlation for match in agreeing]))
    if correlation < LEAST_CORRELATION:
        raise _no_heart(subject, f"a correlation of {correlation:.2f} with hearts of the atlases")
    middle = np.median(places, axis=0)
    if np.any(middle < 0) or np.any(middle > (np.array(scout.hu.shape[::-1]) - 1) * SPACING_MM):
        raise _no_heart(subject, "a heart whose centre lies outside the CT")
    return FoundHeart(
        centre_mm=scout.to_patient(middle.tolist()),
        spread_mm=float(np.median(np.linalg.norm(places - middle, axis=1))),
        correlation=correlation,
        agreeing=len(agreeing),
        asked=len(matches),
    )


def _look_at_other_places(search: ScoutSearch, matches: Sequence[Match], atlases: Sequence[Scout]) -> list[Match]:
    """Return the matches, each moved to a place that another atlas found far away if it fits there better.

    An atlas alone may mistake another part of the body for the heart; where the others have found it, it knows better.
    """
    found = []
    for match, atlas in zip(matches, atlases, strict=False):  # the most alike atlases come first
        elsewhere = [other for other in matches if np.linalg.norm(other.place_mm - match.place_mm) > APART_MM]
        starts = [dataclasses.replace(match, place_mm=other.place_mm) for other in elsewhere]
        seen = [match, *(search.look_closely(atlas, start) for start in starts)]
        found.append(max(seen, key=lambda one: one.correlation))
    return found


def _select_agreeing(matches: Sequence[Match]) -> list[Match]:
    """Return the matches that lie near the median of all."""
    places = _places(matches)
    apart_mm = np.linalg.norm(places - np.median(places, axis=0), axis=1)
    return [match for match, mm in zip(matches, apart_mm, strict=True) if mm <= APART_MM]


def _places(matches: Sequence[Match]) -> np.ndarray:
    return np.array([match.place_mm for match in matches])


def _no_heart(subject: str | os.PathLike, found: str) -> InputError:
    expected = "a CT in which a whole heart is seen, of a body and posture like the annotated ones"
    return InputError(subject, found=found, expected=expected)
