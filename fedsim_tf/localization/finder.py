"""Crops of a cohort's volumes around their hearts, which are found with the annotated scans as atlases."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from fedsim_tf.crop_size import AUTO, parse_crop_size
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.crops import Crop
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_json, read_json, write_json
from fedsim_tf.localization.agreement import FoundHeart, find_heart
from fedsim_tf.localization.scouts import Scout, make_scout, read_scouts, write_scouts

FORMAT = 1  # another number makes kept scouts and places void
MOST_SEARCHED = 12  # atlases; more take time and tell no more
MARGIN_MM = 15.0  # around the largest heart of an automatic crop, on each side: so far a centre may be off
_STEP_MM = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class HeartFinder:
    """Crops scans around their hearts.

    Attributes:
      atlases: annotated scans.
      edge_mm: the edge of the crops.
    """

    atlases: tuple[Scout, ...]
    edge_mm: float

    def find(self, scout: Scout, *, subject: str | os.PathLike = "") -> FoundHeart:
        """Return where a scan's heart lies; see `find_heart`. The scan itself is no atlas of its own.

        Raises:
          InputError: see `find_heart`.
        """
        others = [atlas for atlas in self.atlases if atlas.content != scout.content]
        return find_heart(scout, others, subject=subject)

    def crop(self, scout: Scout, *, subject: str | os.PathLike = "") -> Crop:
        """Return the crop around a scan's heart.

        Raises:
          InputError: see `find_heart`.
        """
        return Crop.cube(self.find(scout, subject=subject).centre_mm, self.edge_mm)

    def without(self, scans: Sequence[str]) -> HeartFinder:
        """Return a finder that does not know some scans."""
        return dataclasses.replace(self, atlases=tuple(one for one in self.atlases if one.identity not in scans))


def write_finder(finder: HeartFinder, path: str | os.PathLike) -> None:
    """Write a finder as .npz, atomically. It holds CTs of patients at 4 mm."""
    write_scouts(finder.atlases, path, edge_mm=np.array(finder.edge_mm))


def read_finder(path: str | os.PathLike) -> HeartFinder:
    """Return a finder that was written.

    Raises:
      InputError: no such file, or a damaged one.
    """
    scouts, others = read_scouts(path)
    if "edge_mm" not in others:
        raise InputError(path, found="no edge of crops", expected="a file that a run has written")
    return HeartFinder(tuple(scouts), float(others["edge_mm"]))


def make_finder(
    cohort: Cohort, annotated: Sequence[str], crop_mm: str, *, cache_dir: str | os.PathLike | None = None
) -> HeartFinder:
    """Return a finder that knows annotated scans of a cohort.

    Args:
      cohort: whose scans.
      annotated: which ones; of more than twelve those that lie evenly among them.
      crop_mm: the edge of crops in mm, or "auto": 15 mm more on each side than the largest of these hearts.
      cache_dir: where scouts are kept; None keeps nothing.

    Raises:
      InputError: fewer than two patients, or a scan that cannot be used.
    """
    if len({cohort.patient(scan) for scan in annotated}) < 2:
        found = f"{len(annotated)} annotated scans to find hearts with"
        raise InputError(f"data.crop_mm of {cohort.name}", found=found, expected="those of at least 2 patients")
    scouts = [load_scout(cohort, scan, cache_dir=cache_dir) for scan in annotated]
    number = min(len(scouts), MOST_SEARCHED)
    chosen = tuple(scouts[k * len(scouts) // number] for k in range(number))
    return HeartFinder(chosen, choose_edge_mm(scouts, crop_mm))


def choose_edge_mm(annotated: Sequence[Scout], crop_mm: str) -> float:
    """Return the edge of crops: the one given, or for "auto" one that holds every annotated heart, in whole cm."""
    size = parse_crop_size(crop_mm)
    if size != AUTO:
        return float(size)
    largest = max(max(scout.heart_edges_mm) for scout in annotated if scout.heart_edges_mm)
    return _STEP_MM * math.ceil((largest + 2 * MARGIN_MM) / _STEP_MM)


def find_crops(
    cohort: Cohort,
    identities: Sequence[str],
    finder: HeartFinder,
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: Callable[[], None] = lambda: None,
    refused: Callable[[InputError], None] | None = None,
) -> dict[str, Crop]:
    """Return the crop of each scan. Scans of one patient are no atlases of each other.

    Args:
      cohort: whose scans.
      identities: which ones.
      finder: knows scans of the cohort.
      cache_dir: where scouts and places are kept; None keeps nothing.
      progress: is called after each scan.
      refused: is called for each scan that cannot be used or whose heart is not found, and which has no crop; None: the
        first one is raised.

    Raises:
      InputError: see `Cohort.load` and `find_heart`.
    """
    crops = {}
    for identity in identities:
        try:
            crops[identity] = Crop.cube(_find_kept(cohort, identity, finder, cache_dir).centre_mm, finder.edge_mm)
        except InputError as error:
            if refused is None:
                raise
            refused(error)
        progress()
    return crops


def load_scout(cohort: Cohort, identity: str, *, cache_dir: str | os.PathLike | None = None) -> Scout:
    """Return a scan of a cohort as a scout, made now or kept by an earlier start.

    Raises:
      InputError: see `Cohort.load`.
    """
    path = _kept(cache_dir, "scout", [cohort.name, identity, cohort.fingerprint(identity)], ".npz")
    if path is not None and path.exists():
        try:
            return read_scouts(path)[0][0]
        except InputError:
            pass  # damaged: it is made again
    scout = make_scout(cohort.load(identity))
    if path is not None:
        write_scouts([scout], path)
    return scout


def _find_kept(cohort: Cohort, identity: str, finder: HeartFinder, cache_dir: str | os.PathLike | None) -> FoundHeart:
    patient = cohort.patient(identity)
    own = [atlas.identity for atlas in finder.atlases if cohort.patient(atlas.identity) == patient]
    others, scout = finder.without(own), load_scout(cohort, identity, cache_dir=cache_dir)
    known = [[_digest(atlas), atlas.heart_mm] for atlas in others.atlases]
    path = _kept(cache_dir, "heart", [_digest(scout), known], ".json")
    if path is not None and path.exists():
        found = _read_found(path)
        if found is not None:
            return found
    found = others.find(scout)
    if path is not None:
        write_json(path, found._asdict())
    return found


def _digest(scout: Scout) -> str:
    """Return a digest of a scout as it lies in the patient: `content` is one for mirrored copies too."""
    return hashlib.sha256(scout.hu.tobytes() + repr((scout.hu.shape, scout.geometry)).encode()).hexdigest()


def _read_found(path: pathlib.Path) -> FoundHeart | None:
    try:
        stored = read_json(path)
        return FoundHeart(**{**stored, "centre_mm": tuple(stored["centre_mm"])})
    except (InputError, OSError, TypeError, KeyError):
        return None


def _kept(cache_dir: str | os.PathLike | None, kind: str, key: object, suffix: str) -> pathlib.Path | None:
    if cache_dir is None:
        return None
    return pathlib.Path(cache_dir) / f"{kind}_{digest_json([FORMAT, key])[:32]}{suffix}"
