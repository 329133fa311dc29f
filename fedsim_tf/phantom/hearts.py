"""Phantom hearts: seven closed surfaces made from a few anatomical measures, in correspondence over subjects.

Coordinates are LPS (x left, y back, z head) in mm around the heart. Default measures are those of an adult at the end
of diastole; `docs/data.md` lists the volumes that they give beside published ones.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from fedsim_tf.phantom.lofts import bezier, loft, loft_faces, tube
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, RV
from fedsim_tf.shape.surfaces import CorrespondingShapes

Values = np.ndarray | float
BASE_MM = np.array([-4.0, 23.0, 23.0])  # centre of the mitral plane
LONG_AXIS = np.array([0.56, -0.51, -0.66])  # from base to apex
TOWARDS_RV = np.array([-0.705, -0.708, -0.05])
# Number of rings and of points on each ring, by region.
_RINGS = {LV: (12, 18), RV: (12, 20), LA: (11, 18), RA: (11, 18), MYOCARDIUM: (21, 18), AORTA: (12, 14)}
_RINGS[PULMONARY_ARTERY] = (8, 14)
# Bumps where veins and appendages leave the atria: direction, height relative to the atrium, sharpness.
_LA_BUMPS = [((x, 0.5, z), 0.22, 22.0) for x in (-0.85, 0.85) for z in (-0.3, 0.4)] + [((0.75, -0.65, 0.35), 0.4, 10.0)]
_RA_BUMPS = [((0.3, 0.3, 1.0), 0.2, 12.0), ((0.25, 0.5, -1.0), 0.2, 12.0), ((0.35, -0.9, 0.5), 0.3, 8.0)]
_RV_TOP_MM = 6.0  # below the mitral plane, along the long axis
_WAVES = 14  # Gaussian bumps that make up the deformation of one heart
_WAVE_WIDTH_MM = 22.0
_MODEL_SEED = 7_000_000  # far from the seeds of all sites


def _measure(mean: float, relative_sd: float) -> float:
    """Return the field of a measure, with the relative spread of its log-normal distribution over adults."""
    return dataclasses.field(default=mean, metadata={"sd": relative_sd})


@dataclasses.dataclass(frozen=True)
class HeartMeasures:
    """The measures of one heart; lengths in mm, angles in rad, `rv_length` relative to the epicardial length."""

    lv_length: float = _measure(82.0, 0.06)
    lv_radius: float = _measure(25.8, 0.08)
    wall: float = _measure(10.6, 0.12)
    rv_width: float = _measure(36.0, 0.10)
    rv_span: float = _measure(1.3, 0.06)
    rv_length: float = _measure(0.86, 0.05)
    conus: float = _measure(10.0, 0.2)
    la_width: float = _measure(30.0, 0.09)
    la_depth: float = _measure(19.5, 0.12)
    la_height: float = _measure(26.0, 0.09)
    ra_width: float = _measure(22.5, 0.10)
    ra_depth: float = _measure(30.0, 0.10)
    ra_height: float = _measure(30.0, 0.09)
    aorta_radius: float = _measure(14.3, 0.09)
    aorta_length: float = _measure(74.0, 0.09)
    pa_radius: float = _measure(12.3, 0.10)
    pa_length: float = _measure(48.0, 0.10)

    @property
    def epicardial_length(self) -> float:
        """Return the length of the left ventricle with its wall at the apex, in mm."""
        return self.lv_length + 0.7 * self.wall

    @property
    def epicardial_radius(self) -> float:
        """Return the radius of the left ventricle with its wall, in mm."""
        return self.lv_radius + self.wall


@dataclasses.dataclass(frozen=True)
class Population:
    """A population from which hearts are drawn.

    Attributes:
      size: mean size relative to an adult heart.
      size_sd: relative spread of the size.
      spread: factor by which measures vary more than over adults.
      shift: factors on mean measures, for what is typically abnormal.
      wave_mm: size of the smooth deformation of each heart, which no shape model of other hearts spans.
    """

    size: float = 1.0
    size_sd: float = 0.07
    spread: float = 1.0
    shift: Mapping[str, float] = dataclasses.field(default_factory=dict)
    wave_mm: float = 1.6


ADULTS = Population()
CHILDREN = Population(size=0.72, size_sd=0.13, spread=1.4, shift={"rv_width": 1.12, "pa_radius": 1.1, "ra_width": 1.08})
YOUNG_ADULTS = Population(
    size=0.88,
    size_sd=0.1,
    spread=1.8,
    shift={"rv_width": 1.25, "wall": 1.15, "pa_radius": 1.25, "ra_width": 1.15, "lv_radius": 0.93},
    wave_mm=2.2,
)


@functools.cache
def topology() -> tuple[np.ndarray, np.ndarray]:
    """Return faces (F, 3) and the region of each vertex (V,), which are the same for every heart."""
    faces, regions, offset = [], [], 0
    for region, (rings, points) in sorted(_RINGS.items()):
        faces.append(loft_faces(rings, points) + offset)
        regions.append(np.full(rings * points + 2, region, np.uint8))
        offset += rings * points + 2
    return np.concatenate(faces).astype(np.int32), np.concatenate(regions)


def heart(measures: HeartMeasures) -> np.ndarray:
    """Return the surface points (V, 3) in mm of the heart with these measures."""
    aortic_root = BASE_MM + 0.45 * measures.lv_radius * TOWARDS_RV - 2.0 * LONG_AXIS
    rv, conus_tip = _right_ventricle(measures)
    left_atrium = BASE_MM - 15.0 * LONG_AXIS - 6.0 * TOWARDS_RV
    right_atrium = BASE_MM + np.array([-38.0, -20.0, -10.0])
    la_axes = (measures.la_width, measures.la_depth, measures.la_height)
    ra_axes = (measures.ra_width, measures.ra_depth, measures.ra_height)
    parts = {
        LV: _left_ventricle(measures),
        RV: rv,
        LA: _atrium(left_atrium, la_axes, bumps=_LA_BUMPS, size=_RINGS[LA]),
        RA: _atrium(right_atrium, ra_axes, bumps=_RA_BUMPS, size=_RINGS[RA]),
        MYOCARDIUM: _myocardium(measures),
        AORTA: _great_artery(
            aortic_root,
            length=measures.aorta_length,
            radius=measures.aorta_radius,
            first=(-0.30, -0.45, 0.85),
            whole=(-0.18, -0.3, 0.94),
            region=AORTA,
        ),
        PULMONARY_ARTERY: _great_artery(
            conus_tip,
            length=measures.pa_length,
            radius=measures.pa_radius,
            first=(0.0, 0.15, 1.0),
            whole=(0.12, 0.65, 0.75),
            region=PULMONARY_ARTERY,
        ),
    }
    return np.concatenate([parts[region] for region in sorted(parts)])


def draw_heart(population: Population, rng: np.random.Generator) -> np.ndarray:
    """Return the surface points (V, 3) in mm of a heart drawn from a population."""
    typical_heart, values = HeartMeasures(), {}
    for field in dataclasses.fields(HeartMeasures):
        typical = getattr(typical_heart, field.name) * population.shift.get(field.name, 1.0)
        values[field.name] = typical * np.exp(population.spread * field.metadata["sd"] * rng.standard_normal())
    points = deform(heart(HeartMeasures(**values)), rng, rms_mm=population.wave_mm)
    return points * population.size * np.exp(population.size_sd * rng.standard_normal())


def deform(points: np.ndarray, rng: np.random.Generator, *, rms_mm: float) -> np.ndarray:
    """Return points (V, 3) moved by a smooth random displacement with the given root mean square."""
    centres = points[rng.integers(len(points), size=_WAVES)] + rng.normal(0.0, 10.0, (_WAVES, 3))
    squared = np.sum((points[:, None] - centres) ** 2, axis=-1)
    moved = np.exp(-squared / (2 * _WAVE_WIDTH_MM**2)) @ rng.standard_normal((_WAVES, 3))
    return points + moved * (rms_mm / np.sqrt(np.mean(np.sum(moved**2, axis=-1))))


def draw_hearts(population: Population, n: int, *, seed: int) -> CorrespondingShapes:
    """Return n hearts of a population, in correspondence."""
    faces, regions = topology()
    hearts = [draw_heart(population, np.random.default_rng([seed, number])) for number in range(n)]
    return CorrespondingShapes(np.stack(hearts).astype(np.float32), faces, regions)


def model_hearts(n: int = 40) -> CorrespondingShapes:
    """Return n hearts for a shape model, half adults and half children; none of them is a subject of any site."""
    parts = [draw_hearts(population, n // 2, seed=_MODEL_SEED + i) for i, population in enumerate((ADULTS, CHILDREN))]
    return CorrespondingShapes(np.concatenate([part.points for part in parts]), parts[0].faces, parts[0].region_id)


def _frame() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an orthonormal frame: the long axis, the side of the right ventricle, and down and back."""
    axis = LONG_AXIS / np.linalg.norm(LONG_AXIS)
    side = TOWARDS_RV - (TOWARDS_RV @ axis) * axis
    side /= np.linalg.norm(side)
    return axis, side, np.cross(axis, side)


def _around_axis(depth: Values, radius: Values, angle: Values) -> np.ndarray:
    """Return points (..., 3) at depths below the base, radii and angles around the long axis, which are broadcast."""
    axis, side, third = _frame()
    down, out, turn = (np.asarray(value, float)[..., None] for value in (depth, radius, angle))
    return BASE_MM + down * axis + out * (np.cos(turn) * side + np.sin(turn) * third)


def _ventricular_radius(depth: np.ndarray, length: float, radius: float) -> np.ndarray:
    """Return the radius of a cylinder that narrows to the base and closes as half an ellipsoid at the apex."""
    waist = 0.2 * length
    below = np.clip((depth - waist) / (length - waist), 0.0, 1.0)
    above = np.clip(1.0 - depth / waist, 0.0, 1.0)
    return radius * np.sqrt(1.0 - below**2) * (1.0 - 0.12 * above**2)


def _depths(length: float, n: int) -> np.ndarray:
    """Return the depths of n rings from the base to near the apex, denser where the surface turns."""
    return length * np.sin(0.5 * np.pi * np.arange(n) / n)


def _revolve(depth: np.ndarray, radius: np.ndarray, *, first: float, last: float, n_points: int) -> np.ndarray:
    """Return a loft with rings (R,) around the long axis, from a pole at depth `first` to one at depth `last`."""
    turns = 2 * np.pi * np.arange(n_points) / n_points
    rings = _around_axis(depth[:, None], radius[:, None], turns[None])
    return loft(_around_axis(first, 0.0, 0.0), rings, _around_axis(last, 0.0, 0.0))


def _left_ventricle(m: HeartMeasures) -> np.ndarray:
    """Return the blood pool. It reaches half a millimetre into the wall, so that no gap opens between the two."""
    n_rings, n_points = _RINGS[LV]
    length, radius = m.lv_length + 0.5, m.lv_radius + 0.5
    depth = np.concatenate([[0.0], _depths(length, n_rings - 1)])
    width = _ventricular_radius(depth, length, radius) * np.r_[0.5, np.ones(n_rings - 1)]
    return _revolve(depth, width, first=0.0, last=length, n_points=n_points)


def _myocardium(m: HeartMeasures) -> np.ndarray:
    """Return a cup: up the outside from the apex, over the rim at the base, and down the inside."""
    n_rings, n_points = _RINGS[MYOCARDIUM]
    outer = _depths(m.epicardial_length, n_rings // 2 + 1)[::-1]
    inner = _depths(m.lv_length, n_rings - len(outer))
    depth = np.concatenate([outer, inner])
    radius = np.concatenate(
        [
            _ventricular_radius(outer, m.epicardial_length, m.epicardial_radius),
            _ventricular_radius(inner, m.lv_length, m.lv_radius),
        ]
    )
    # The loft runs from the outer apex upwards, against the long axis: rings turn the other way round.
    points = _revolve(depth, radius, first=m.epicardial_length, last=m.lv_length, n_points=n_points)
    rings = points[1:-1].reshape(n_rings, n_points, 3)[:, ::-1]
    return loft(points[0], rings, points[-1])


def _right_ventricle(m: HeartMeasures) -> tuple[np.ndarray, np.ndarray]:
    """Return a crescent around the septum with its outflow tract, and the upper end of the tract."""
    n_rings, n_points = _RINGS[RV]
    down = np.linspace(0.0, 0.97, n_rings - 1)
    depth = _RV_TOP_MM + (m.rv_length * m.epicardial_length - _RV_TOP_MM) * down
    septum = _ventricular_radius(np.maximum(depth, 0.0), m.epicardial_length, m.epicardial_radius) - 0.8
    width = m.rv_width * (1.0 - down**2.2) ** 0.7
    n_outer = n_points // 2 + 1
    around = np.concatenate([np.linspace(-1, 1, n_outer), np.linspace(1, -1, n_points - n_outer + 2)[1:-1]])
    bulge = np.where(np.arange(n_points) < n_outer, np.cos(0.5 * np.pi * around) ** 0.7, 0.0)
    angle = m.rv_span * (1.0 - 0.3 * down[:, None]) * around[None]
    radius = septum[:, None] + np.maximum(width[:, None] * bulge[None], 0.0)
    rings = _around_axis(np.broadcast_to(depth[:, None], angle.shape), radius, angle)
    axis, _, third = _frame()
    upwards = -0.9 * axis - 0.45 * third
    lift = np.exp(-(((angle + 0.7 * m.rv_span) / 0.5) ** 2)) * np.clip(1.0 - down / 0.4, 0.0, 1.0)[:, None] ** 2
    rings = rings + m.conus * lift[..., None] * upwards
    centre = rings[0].mean(axis=0)
    cap = centre + 0.5 * (rings[0] - centre)
    tip = _around_axis(_RV_TOP_MM, septum[0] + 0.35 * m.rv_width, -0.7 * m.rv_span) + (m.conus - 8.0) * upwards
    apex = rings[-1].mean(axis=0) + 2.0 * axis
    return loft(centre, np.concatenate([cap[None], rings]), apex), tip


def _atrium(centre: np.ndarray, axes: tuple, *, bumps: list, size: tuple[int, int]) -> np.ndarray:
    """Return an ellipsoid with bumps where veins enter and the appendage hangs."""
    n_rings, n_points = size
    polar = np.pi * (1.0 - np.arange(1, n_rings + 1) / (n_rings + 1))[:, None]
    turns = (2 * np.pi * np.arange(n_points) / n_points)[None]
    ring = np.stack([np.sin(polar) * np.cos(turns), np.sin(polar) * np.sin(turns), np.cos(polar) + 0 * turns], axis=-1)
    unit = loft(np.array([0.0, 0.0, -1.0]), ring, np.array([0.0, 0.0, 1.0]))
    reach = np.ones(len(unit))
    for direction, height, sharpness in bumps:
        towards = np.array(direction) / np.linalg.norm(direction)
        reach += height * np.exp(sharpness * (unit @ towards - 1.0))
    return centre + np.array(axes) * unit * reach[:, None]


def _great_artery(
    root: np.ndarray, *, length: float, radius: float, first: tuple, whole: tuple, region: int
) -> np.ndarray:
    """Return a tube with a wider root; it leaves in direction `first` and ends in direction `whole` from the root."""
    n_rings, n_points = _RINGS[region]
    leaves, ends = (np.array(direction) / np.linalg.norm(direction) for direction in (first, whole))
    path = bezier(np.stack([root, root + 0.5 * length * leaves, root + length * ends]), n_rings)
    along = np.linspace(0.0, 1.0, n_rings)
    return tube(path, radius * (1.0 + 0.15 * np.exp(-(((along - 0.2) / 0.12) ** 2))), n_points)
