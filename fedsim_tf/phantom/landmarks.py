"""Landmarks of a heart, read off its surfaces, around which a chest is built."""

from __future__ import annotations

import dataclasses

import numpy as np

from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, REGION_IDS, RV

ADULT_DIAGONAL_MM = 192.0  # of the box around the four chambers and the myocardium of an adult


@dataclasses.dataclass(frozen=True, eq=False)
class Landmarks:
    """Positions in and around a heart, as (x, y, z) LPS in mm.

    Attributes:
      size: size of the heart relative to an adult's.
      low, high: corners of the box around chambers and myocardium.
      aorta_end, pulmonary_end: centres of the ends of the labelled arteries.
      aorta_direction, pulmonary_direction: unit vectors along which the arteries go on from there.
      aorta_radius, pulmonary_radius: radii of the arteries.
      caval_top, caval_bottom: where the great veins enter the right atrium.
      atrium_left, atrium_right: where the pulmonary veins enter the left atrium.
      lv_centre: centre of the left ventricle.
      lv_axis: unit vector from the base of the heart to the apex.
      midline_x, spine_y: centre of the vertebral bodies.
      front_y: back of the sternum.
    """

    size: float
    low: np.ndarray
    high: np.ndarray
    aorta_end: np.ndarray
    aorta_direction: np.ndarray
    aorta_radius: float
    pulmonary_end: np.ndarray
    pulmonary_direction: np.ndarray
    pulmonary_radius: float
    caval_top: np.ndarray
    caval_bottom: np.ndarray
    atrium_left: np.ndarray
    atrium_right: np.ndarray
    lv_centre: np.ndarray
    lv_axis: np.ndarray
    midline_x: float
    spine_y: float
    front_y: float


def find_landmarks(points: np.ndarray, region_id: np.ndarray) -> Landmarks:
    """Return the landmarks of a heart with surface points (V, 3) in patient axes, region_id (V,)."""
    part = {region: points[region_id == region] for region in REGION_IDS}
    chambers = np.concatenate([part[region] for region in (LV, RV, LA, RA, MYOCARDIUM)])
    low, high = chambers.min(axis=0), chambers.max(axis=0)
    size = float(np.linalg.norm(high - low)) / ADULT_DIAGONAL_MM
    aorta_end, aorta_direction, aorta_radius = _far_end(part[AORTA], part[LV].mean(axis=0))
    pulmonary_end, pulmonary_direction, pulmonary_radius = _far_end(part[PULMONARY_ARTERY], part[RV].mean(axis=0))
    towards_apex = part[MYOCARDIUM].mean(axis=0) - part[LA].mean(axis=0)
    atrium = part[LA]
    return Landmarks(
        size=size,
        low=low,
        high=high,
        aorta_end=aorta_end,
        aorta_direction=aorta_direction,
        aorta_radius=aorta_radius,
        pulmonary_end=pulmonary_end,
        pulmonary_direction=pulmonary_direction,
        pulmonary_radius=pulmonary_radius,
        caval_top=_extreme(part[RA], (0.2, 0.1, 1.0)),
        caval_bottom=_extreme(part[RA], (0.2, 0.4, -1.0)),
        atrium_left=_extreme(atrium, (1.0, 0.5, 0.0)),
        atrium_right=_extreme(atrium, (-1.0, 0.5, 0.0)),
        lv_centre=part[LV].mean(axis=0),
        lv_axis=towards_apex / np.linalg.norm(towards_apex),
        midline_x=float(points.mean(axis=0)[0]) - 16.0 * size,
        spine_y=float(atrium[:, 1].max()) + 27.0 * size,
        front_y=float(low[1]) - 7.0 * size,
    )


def _far_end(vessel: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the centre of the vessel's end that is farther from `origin`, its direction there, and its radius."""
    distance = np.linalg.norm(vessel - origin, axis=1)
    end = vessel[distance >= np.quantile(distance, 0.85)].mean(axis=0)
    direction = end - vessel.mean(axis=0)
    direction /= np.linalg.norm(direction)
    across = vessel - vessel.mean(axis=0)
    across -= np.outer(across @ direction, direction)
    return end, direction, float(np.sqrt(np.mean(np.sum(across**2, axis=1))))


def _extreme(points: np.ndarray, direction: tuple[float, float, float]) -> np.ndarray:
    """Return the centre of the part of a surface that lies farthest in a direction."""
    along = points @ (np.array(direction) / np.linalg.norm(direction))
    return points[along >= np.quantile(along, 0.95)].mean(axis=0)
