"""Masks that a file knows by names, as Slicer's segmentations, RTSTRUCT and DICOM SEG do, become region ids."""

from __future__ import annotations

import dataclasses
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from fedsim_tf.data.labels import merge_masks
from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError, listed
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, REGIONS, RV

# Names as files have them, in small letters and with blanks: radiotherapy (TG-263, LCTSC, NSCLC-Radiomics),
# TotalSegmentator, 3D Slicer's terminology, MM-WHS.
HEART_NAMES = frozenset(("heart", "herz", "coeur", "cuore", "corazon", "whole heart", "wholeheart", "heart whole"))
REGION_NAMES: Mapping[int, frozenset[str]] = {
    LV: frozenset(
        ("lv", "left ventricle", "heart ventricle left", "ventricle l", "ventricle left", "left ventricle blood cavity")
    ),
    RV: frozenset(
        (
            *("rv", "right ventricle", "heart ventricle right", "ventricle r", "ventricle right"),
            "right ventricle blood cavity",
        )
    ),
    LA: frozenset(
        (
            *("la", "left atrium", "heart atrium left", "atrium l", "atrium left"),
            "left atrium blood cavity",
        )
    ),
    RA: frozenset(
        (
            *("ra", "right atrium", "heart atrium right", "atrium r", "atrium right"),
            "right atrium blood cavity",
        )
    ),
    MYOCARDIUM: frozenset(
        ("myo", "myocardium", "heart myocardium", "lv myocardium", "left ventricle myocardium", "lv myo", "lvm")
    ),
    AORTA: frozenset(("ao", "aorta", "a aorta")),
    PULMONARY_ARTERY: frozenset(("pa", "pulmonary artery", "a pulmonary")),
}
CHAMBERS = (LV, RV, LA, RA, MYOCARDIUM)


@dataclasses.dataclass(frozen=True)
class Structures:
    """The masks of a file, drawn one at a time.

    Attributes:
      names: what the file calls them; further names of one structure are alternatives.
      draw: returns the mask (z, y, x) of the structure of an index on the image's grid.
    """

    names: tuple[tuple[str, ...], ...]
    draw: Callable[[int], np.ndarray]


def find_regions(names: Sequence[Sequence[str]], subject: str | os.PathLike) -> dict[int, int]:
    """Return the structure that stands for each region: region id to index.

    A whole heart becomes region 1, as a label of heart and background does. Where all five chambers and walls are
    there, they are taken instead of it. Others, such as lungs, are left out.

    Raises:
      InputError: no structure of a heart, or two of one name.
    """
    by_region: dict[int, list[int]] = {}
    for index, alternatives in enumerate(names):
        region = _recognise(alternatives)
        if region is not None:
            by_region.setdefault(region, []).append(index)
    chambers = [region for region in CHAMBERS if region in by_region]
    if len(chambers) < len(CHAMBERS) and 0 in by_region:
        by_region = {LV: by_region[0]}
    elif chambers:
        by_region.pop(0, None)
    else:
        shown = listed([one[0] for one in names]) or "no structures"
        raise InputError(subject, found=f"no heart among {shown}", expected="a structure named Heart, or its regions")
    for indices in by_region.values():
        if len(indices) > 1:
            doubled = listed([names[index][0] for index in indices])
            raise InputError(subject, found=f"several structures for one region: {doubled}", expected="one of them")
    return {region: indices[0] for region, indices in sorted(by_region.items())}


def has_heart(names: Sequence[Sequence[str]]) -> bool:
    """Return whether one of the structures is a heart or a part of one."""
    return any(_recognise(alternatives) in (0, *CHAMBERS) for alternatives in names)


def draw_regions(structures: Structures, subject: str | os.PathLike) -> np.ndarray:
    """Return region ids (z, y, x), uint8, of the structures of a heart, and log which of them were taken.

    Raises:
      InputError: see `find_regions`, or masks that cannot be drawn.
    """
    chosen = find_regions(structures.names, subject)
    rest = [one[0] for index, one in enumerate(structures.names) if index not in chosen.values()]
    taken = ", ".join(structures.names[index][0] for index in chosen.values())
    logging.info("%s: %s taken%s", subject, taken, f", {listed(rest)} left out" if rest else "")
    missing = [REGIONS[region].title for region in CHAMBERS if region not in chosen]
    if missing and set(chosen) != {LV}:
        warn("%s: only some regions of the heart, without %s", subject, ", ".join(missing))
    return merge_masks({region: structures.draw(index) for region, index in chosen.items()})


def _recognise(alternatives: Sequence[str]) -> int | None:
    """Return the region of the first name that is known, 0 for a whole heart, or None."""
    for name in alternatives:
        plain = _simplify(name)
        if plain in HEART_NAMES:
            return 0
        for region, known in REGION_NAMES.items():
            if plain in known:
                return region
    return None


def _simplify(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", " ", letters).strip()
