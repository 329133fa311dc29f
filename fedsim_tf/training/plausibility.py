"""Warnings in the log of volumes that the method cannot fit well, or that look like a slip."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from fedsim_tf.data.checks import extent_text, is_unusual_extent
from fedsim_tf.data.preprocess import PreparedCase
from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import listed
from fedsim_tf.regions import REGIONS
from fedsim_tf.shape.parameters import LOG_SCALE_LIMIT, TRANSLATION_LIMIT_MM, shape_frame_mm

LEAST_HEARTS = 4
ODD_VOLUME, ODD_DEVIATIONS = 2.5, 4.0
SIGMA_PER_MAD = 1.4826  # of a normal distribution


def warn_of_other_extents(site: str, cases: Sequence[PreparedCase], usual_mm: Sequence[float]) -> None:
    """Warn of cases whose field of view is far from the site's: their hearts become as much larger or smaller.

    Args:
      site: its name.
      cases: all cases of a fold.
      usual_mm: the extent (x, y, z) that the site's model has.
    """
    others = [case for case in cases if is_unusual_extent(case.field_of_view_mm, usual_mm)]
    if others:
        warn(
            "%s: %d of %d volumes show far more or less than the usual %s mm, in shape or size, so that hearts in them "
            "are squeezed or stretched; crop them alike: %s",
            site,
            len(others),
            len(cases),
            extent_text(usual_mm),
            listed([f"{case.identity} ({extent_text(case.field_of_view_mm)})" for case in others]),
        )


def warn_of_odd_volumes(site: str, cases: Sequence[PreparedCase]) -> None:
    """Warn of hearts whose volume is far from the median of the site's; of fewer than four hearts nothing is said.

    Far is more than two and a half times, and more than four standard deviations of the logarithm, which is taken from
    the median absolute deviation: a single slip does not widen it.
    """
    hearts = [case for case in cases if case.label is not None and case.label.any()]
    if len(hearts) < LEAST_HEARTS:
        return
    ml = np.array([case.heart_ml for case in hearts])
    apart = np.abs(np.log(ml / np.median(ml)))
    limit = max(math.log(ODD_VOLUME), ODD_DEVIATIONS * SIGMA_PER_MAD * float(np.median(apart)))
    odd = [f"{hearts[index].identity} ({ml[index]:.0f} ml)" for index in np.flatnonzero(apart > limit)]
    if odd:
        text = "%s: hearts far from the median of %.0f ml: %s; are their labels and spacings right?"
        warn(text, site, np.median(ml), listed(odd))


def warn_of_other_regions(site: str, cases: Sequence[PreparedCase]) -> None:
    """Warn of labels with other regions than most of the site's: theirs may have another scheme.

    A file with value 1 alone is a heart as a whole where files tell heart from background, and else a left ventricle.
    """
    found = {case.identity: case.regions for case in cases if case.label is not None}
    if len(set(found.values())) < 2:
        return
    usual, count = collections.Counter(found.values()).most_common(1)[0]
    others = [f"{name} ({_name_regions(regions)})" for name, regions in found.items() if regions != usual]
    text = "%s: %d of %d labels have %s; others, whose values may mean something else: %s"
    warn(text, site, count, len(found), _name_regions(usual), listed(others))


def warn_of_missing_regions(site: str, cases: Sequence[PreparedCase]) -> None:
    """Warn of regions that no label of a site has, where labels are to tell all seven apart.

    Such regions take no part in L_IoU, and a site with hearts as a whole alone is compared by their masks.
    """
    found = {region for case in cases for region in case.regions}
    missing = [REGIONS[region].short_name for region in REGIONS if region not in found]
    if found == {1}:
        text = "%s: labels do not tell regions apart; shapes are fitted to whole hearts, whose regions are then theirs"
        warn(text, site)
    elif found and missing:
        warn("%s: no label has %s; nothing will be learnt of the shapes of these regions", site, " ".join(missing))


def _name_regions(regions: Sequence[int]) -> str:
    return "region 1 alone" if tuple(regions) == (1,) else " ".join(REGIONS[region].short_name for region in regions)


def warn_of_unknown_spacing(site: str, cases: Sequence[PreparedCase]) -> None:
    """Warn if every header says 1 x 1 x 1 mm, as converters do that do not know the spacing."""
    if all(np.allclose(case.original.spacing_mm, 1.0) for case in cases):
        text = (
            "%s: every file says that its voxels are 1 x 1 x 1 mm; if that is not true, set data.field_of_view_mm and "
            "data.field_of_view_z_mm"
        )
        warn(text, site)


def warn_of_unreachable_hearts(
    site: str,
    identities: Sequence[str],
    labels: np.ndarray | Sequence[np.ndarray],
    field_of_view_mm: Sequence[float],
) -> None:
    """Warn of annotated hearts whose centre the shape network cannot move the mean heart to.

    Args:
      site: its name.
      identities: whose hearts they are; labels: their masks (n, z, y, x).
      field_of_view_mm: the extent (x, y, z) of the site's volumes.
    """
    edges_mm = np.array(field_of_view_mm)[::-1]
    reach_mm = TRANSLATION_LIMIT_MM * field_of_view_mm[0] / shape_frame_mm(field_of_view_mm)[0]
    far = []
    for identity, label in zip(identities, labels, strict=True):
        middle = (np.array(label.shape) - 1) / 2
        offset_mm = (np.array(ndimage.center_of_mass(label)) - middle) * edges_mm / label.shape
        if np.abs(offset_mm).max() > reach_mm:
            far.append(f"{identity} ({np.abs(offset_mm).max():.0f} mm)")
    if far:
        text = "%s: the shape network moves hearts by up to %.0f mm from the middle of the volume; farther off: %s"
        warn(text, site, reach_mm, listed(far))


def warn_of_unreachable_sizes(site: str, identities: Sequence[str], labels: np.ndarray, mean_voxels: float) -> None:
    """Warn of annotated hearts that the shape network cannot scale the mean heart to.

    Args:
      site: its name.
      identities: whose hearts they are; labels: their masks (n, z, y, x).
      mean_voxels: how many voxels the mean heart takes at this site.
    """
    factors = np.cbrt(labels.reshape(len(labels), -1).sum(axis=1) / mean_voxels)
    odd = [
        f"{name} ({factor:.2f} times)"
        for name, factor in zip(identities, factors, strict=True)
        if not 1 / math.exp(LOG_SCALE_LIMIT) < factor < math.exp(LOG_SCALE_LIMIT)
    ]
    if odd:
        text = "%s: hearts too small or too large, in their field of view, for the mean heart to be scaled to: %s"
        warn(text, site, listed(odd))
