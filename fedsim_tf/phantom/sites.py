"""The phantom sites: how many patients each has, whose hearts they have, and what scanner they were scanned with.

This module scans and draws nothing, and does not import TensorFlow: a dry run asks it which sites there are.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_file, digest_json
from fedsim_tf.phantom.hearts import ADULTS, CHILDREN, YOUNG_ADULTS, Population
from fedsim_tf.shape.surfaces import CorrespondingShapes

FINISHED = "complete.json"  # in the folder of a site that was written to the end
VERSION = 6  # raise it with any change of what is drawn or scanned, SITES included: cached cohorts are made again


@dataclasses.dataclass(frozen=True)
class SiteScanner:
    """What all scans of a site have in common. Lengths are in mm and for an adult, CT values in HU.

    Attributes:
      left_hu: mean CT value of the blood in the left heart.
      left_sd: its relative spread over patients.
      right_hu: mean CT value of the blood in the right heart.
      right_sd_hu: its spread over patients.
      muscle_hu: CT value of the myocardium.
      kernel_mm: standard deviation of the blur in the slices.
      kernel_z_mm: standard deviation of the blur across the slices.
      photons: photons that reach a detector pixel without a patient, which is the dose.
      focal_spot_mm: width of the X-ray source.
      tube_kv: tube voltage.
      shift_hu: calibration error.
      width_mm: field of view in the slices; it shrinks with the patient.
      depth_mm: field of view across the slices; it shrinks with the patient.
      flipped: whether slices are stored from left to right and from back to front (RAS axes) instead of LPS.
    """

    left_hu: float
    left_sd: float
    right_hu: float
    right_sd_hu: float
    muscle_hu: float
    kernel_mm: float
    kernel_z_mm: float
    photons: float
    focal_spot_mm: float
    tube_kv: float
    shift_hu: float
    width_mm: float
    depth_mm: float
    flipped: bool = False


@dataclasses.dataclass(frozen=True)
class SiteSpec:
    """A phantom site.

    Attributes:
      n_subjects: number of subjects, that of the data set for which the site stands in.
      population: the hearts that are drawn.
      scanner: the scanner of all its subjects.
      seed: seed of all its subjects.
      deformation_mm: root mean square of the smooth deformation that each subject's heart gets on top.
      tilt_rad: standard deviation of the heart's rotation in the chest about each axis.
      shape: voxels (z, y, x) of a scan.
    """

    n_subjects: int
    population: Population
    scanner: SiteScanner
    seed: int
    deformation_mm: float = 0.0
    tilt_rad: float = 0.18
    shape: tuple[int, int, int] = (96, 128, 128)


_ARTERIAL = SiteScanner(
    left_hu=330.0,
    left_sd=0.35,
    right_hu=150.0,
    right_sd_hu=80.0,
    muscle_hu=105.0,
    kernel_mm=0.75,
    kernel_z_mm=0.9,
    photons=3e4,
    focal_spot_mm=0.9,
    tube_kv=120.0,
    shift_hu=0.0,
    width_mm=265.0,
    depth_mm=205.0,
)
_BIPHASIC = SiteScanner(
    left_hu=280.0,
    left_sd=0.35,
    right_hu=280.0,
    right_sd_hu=100.0,
    muscle_hu=110.0,
    kernel_mm=0.65,
    kernel_z_mm=0.7,
    photons=2.5e4,
    focal_spot_mm=0.7,
    tube_kv=80.0,
    shift_hu=20.0,
    width_mm=285.0,
    depth_mm=205.0,
)
_LATE = SiteScanner(
    left_hu=210.0,
    left_sd=0.3,
    right_hu=190.0,
    right_sd_hu=50.0,
    muscle_hu=98.0,
    kernel_mm=1.0,
    kernel_z_mm=1.4,
    photons=1.5e4,
    focal_spot_mm=1.2,
    tube_kv=120.0,
    shift_hu=-20.0,
    width_mm=325.0,
    depth_mm=210.0,
    flipped=True,
)
SITES = {
    "ct20": SiteSpec(n_subjects=20, population=ADULTS, scanner=_ARTERIAL, seed=20, deformation_mm=2.5),
    "ct34lc": SiteSpec(
        n_subjects=34, population=CHILDREN, scanner=_BIPHASIC, seed=341, deformation_mm=3.0, tilt_rad=0.4
    ),
    "ct34mc": SiteSpec(n_subjects=34, population=YOUNG_ADULTS, scanner=_LATE, seed=342, deformation_mm=4.0),
}


def deal_hearts(shapes: CorrespondingShapes, site: str) -> CorrespondingShapes | None:
    """Return the given hearts that belong to a site, or None where none is left for it.

    The first 20 hearts are those of CT20, the next 34 those of CT34 LC, the next 34 those of CT34 MC. A heart at two
    sites would be learnt from at one and tested at the other.
    """
    points = _dealt_points(shapes, site)
    logging.info("Phantom site %s: %d of its %d hearts are given ones", site, len(points), SITES[site].n_subjects)
    return dataclasses.replace(shapes, points=points, subjects=(), subject_digests=()) if len(points) else None


def n_dealt(shapes_path: str | os.PathLike, site: str) -> int:
    """Return how many hearts of a site come from a file of corresponding shapes, see `deal_hearts`."""
    return len(_dealt_points(CorrespondingShapes.load(shapes_path), site))


def _dealt_points(shapes: CorrespondingShapes, site: str) -> np.ndarray:
    names = list(SITES)
    first = sum(SITES[name].n_subjects for name in names[: names.index(site)])
    return shapes.points[first : first + SITES[site].n_subjects]


def find_spec(name: str) -> SiteSpec:
    """Return the specification of a site.

    Raises:
      InputError: no such site.
    """
    if name not in SITES:
        raise InputError("phantom site", value=name, must=f"be one of {', '.join(SITES)}")
    return SITES[name]


def cache_recipe(name: str, shapes_path: str | os.PathLike | None) -> dict[str, Any]:
    """Return all that decides what a cached phantom site is like: the site, the code's version, the given hearts."""
    hearts = digest_file(shapes_path) if shapes_path else None
    return {"site": name, "version": VERSION, "spec": repr(find_spec(name)), "shapes": hearts}


def cached_folder(name: str, cache_root: str | os.PathLike, shapes_path: str | os.PathLike | None) -> pathlib.Path:
    """Return the folder of the cache that a phantom site is written to."""
    return pathlib.Path(cache_root) / f"{name}-{digest_json(cache_recipe(name, shapes_path))[:12]}"


def is_made(name: str, cache_root: str | os.PathLike, shapes_path: str | os.PathLike | None) -> bool:
    """Return whether the cache has a phantom site already."""
    return (cached_folder(name, cache_root, shapes_path) / FINISHED).exists()
