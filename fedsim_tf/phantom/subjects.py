"""One subject of a phantom site: heart, chest and scan."""

from __future__ import annotations

import dataclasses

import numpy as np

from fedsim_tf.phantom.canvas import Canvas
from fedsim_tf.phantom.cardiac import VoxelHeart, paint_heart
from fedsim_tf.phantom.hearts import Population, deform, draw_hearts
from fedsim_tf.phantom.landmarks import find_landmarks
from fedsim_tf.phantom.site_scanner import SiteScanner
from fedsim_tf.phantom.torso import AIR, draw_torso, paint_torso
from fedsim_tf.phantom.vessels import hilum_positions, mediastinal_tubes
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.volume import Case, Geometry, Volume

_OFFSET_MM = 14.0  # of the field of view's centre from the heart's


@dataclasses.dataclass(frozen=True)
class SiteSpec:
    """A phantom site.

    Attributes:
      n_subjects: as many as the data set that it stands in for.
      population: whose hearts; scanner: what they were scanned with.
      seed: of all its subjects.
      deformation_mm: root mean square of each subject's own smooth deformation, of whatever heart it has.
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


def make_subject(spec: SiteSpec, number: int, identity: str, shapes: CorrespondingShapes | None = None) -> Case:
    """The CT (int16 HU) and region ids (uint8) of subject `number` of a site; the same for the same arguments.

    Args:
      spec: the site.
      number: of the subject, from 0.
      identity: its name.
      shapes: hearts to use instead of phantom ones, see `heart_of`.
    """
    rng = np.random.default_rng([spec.seed, number])
    points, faces, region_id = heart_of(spec, number, shapes, rng)
    marks = find_landmarks(points, region_id)
    canvas = Canvas(_field_of_view(spec, points, marks.size, rng), AIR)
    heart = VoxelHeart(points, faces, region_id, canvas)
    label = heart.label(canvas.grid.shape)
    tubes = mediastinal_tubes(marks, hilum_positions(marks))
    contrast = spec.scanner.contrast(rng)
    paint_torso(canvas, draw_torso(marks, rng), tubes, label > 0, rng)
    paint_heart(canvas, heart, marks, tubes, contrast, rng)
    image = spec.scanner.acquire(canvas.values, canvas.grid.spacing_mm, rng)
    return _case(identity, image, label, canvas.grid, spec.scanner.flipped, rng)


def heart_of(
    spec: SiteSpec, number: int, shapes: CorrespondingShapes | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (V, 3) in mm around their centre, faces and regions of a subject's heart, in its pose.

    Given shapes are used one after the other, at the size they have; beyond their number subjects have phantom hearts,
    so that no heart, nor a blend of it with another, comes twice. All carry a deformation of their own, so that no
    shape model of other hearts, or of the given ones, spans them.
    """
    given = shapes is not None and number < len(shapes.points)
    if shapes is None or not given:
        shapes = draw_hearts(spec.population, 1, seed=spec.seed * 1000 + number)
    points = shapes.points[number if given else 0]
    points = deform(points.astype(np.float64), rng, rms_mm=spec.deformation_mm)
    points = (points - points.mean(axis=0)) @ _rotation(spec.tilt_rad * rng.standard_normal(3)).T
    return points, shapes.faces, shapes.region_id


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation by a vector whose length is the angle (Rodrigues)."""
    angle = np.linalg.norm(angles)
    x, y, z = angles / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _field_of_view(spec: SiteSpec, points: np.ndarray, size: float, rng: np.random.Generator) -> Grid:
    scanner = spec.scanner
    width = max(scanner.width_mm * size * np.exp(0.06 * rng.standard_normal()), 1.15 * np.ptp(points[:, :2], 0).max())
    depth = max(scanner.depth_mm * size * np.exp(0.05 * rng.standard_normal()), 1.08 * np.ptp(points[:, 2]))
    spacing = np.array([width / spec.shape[2], width / spec.shape[1], depth / spec.shape[0]])
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    slack = 0.5 * (np.array([width, width, depth]) - np.ptp(points, axis=0))
    # Patients are centred a little to the right of and behind the heart, so that more of the chest is seen.
    wanted = np.array([-8.0, 14.0, 0.0]) * size + _OFFSET_MM * size * rng.standard_normal(3)
    centre = middle + np.clip(wanted, -0.8 * slack, 0.8 * slack)
    origin = centre - 0.5 * spacing * (np.array(spec.shape[::-1]) - 1)
    return Grid(spec.shape, tuple(spacing.tolist()), tuple(origin.tolist()))


def _case(
    identity: str, image: np.ndarray, label: np.ndarray, grid: Grid, flipped: bool, rng: np.random.Generator
) -> Case:
    """Puts the patient somewhere on the table and stores the axes as the scanner does."""
    origin = np.array(grid.origin_mm) + rng.uniform(-200.0, 200.0, 3)
    direction = np.eye(3)
    if flipped:
        image, label = image[:, ::-1, ::-1], label[:, ::-1, ::-1]
        origin[:2] += np.array(grid.spacing_mm[:2]) * (np.array(grid.shape[:0:-1]) - 1)
        direction = np.diag([-1.0, -1.0, 1.0])
    place = Geometry(grid.spacing_mm, tuple(origin.tolist()), tuple(direction.ravel().tolist()))
    contiguous = np.ascontiguousarray
    return Case(identity, Volume(contiguous(image), place), Volume(contiguous(label), place))
