"""One subject of a phantom site: heart, chest and scan."""

from __future__ import annotations

import numpy as np

from fedsim_tf.phantom.acquisition import acquire, draw_contrast
from fedsim_tf.phantom.canvas import Canvas
from fedsim_tf.phantom.cardiac import VoxelHeart, paint_heart
from fedsim_tf.phantom.hearts import deform, draw_hearts
from fedsim_tf.phantom.landmarks import find_landmarks
from fedsim_tf.phantom.sites import SiteSpec
from fedsim_tf.phantom.torso import AIR, draw_torso, paint_torso
from fedsim_tf.phantom.vessels import hilum_positions, mediastinal_tubes
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.volume import Case, Geometry, Volume

_OFFSET_MM = 14.0  # standard deviation of the field of view's centre about the place where it is wanted


def make_subject(spec: SiteSpec, number: int, identity: str, shapes: CorrespondingShapes | None = None) -> Case:
    """Return the CT (int16, HU) and the region ids (uint8) of a subject; the same arguments give the same subject.

    Args:
      spec: the site.
      number: the subject's number in the site, from 0.
      identity: the subject's name.
      shapes: hearts to use instead of phantom ones, see `draw_subject_heart`.
    """
    rng = np.random.default_rng([spec.seed, number])
    points, faces, region_id = draw_subject_heart(spec, number, shapes=shapes, rng=rng)
    marks = find_landmarks(points, region_id)
    canvas = Canvas(_draw_field_of_view(spec, points, size=marks.size, rng=rng), AIR)
    heart = VoxelHeart(points, faces, region_id=region_id, canvas=canvas)
    label = heart.label(canvas.grid.shape)
    tubes = mediastinal_tubes(marks, hilum_positions(marks))
    contrast = draw_contrast(spec.scanner, rng)
    paint_torso(canvas, draw_torso(marks, rng), tubes=tubes, heart=label > 0, rng=rng)
    paint_heart(canvas, heart, marks=marks, tubes=tubes, contrast=contrast, rng=rng)
    image = acquire(spec.scanner, canvas.values, spacing_mm=canvas.grid.spacing_mm, rng=rng)
    return _place_on_table(identity, image, label, grid=canvas.grid, flipped=spec.scanner.flipped, rng=rng)


def draw_subject_heart(
    spec: SiteSpec, number: int, *, shapes: CorrespondingShapes | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points (V, 3) in mm around their centre, faces (F, 3) and region_id (V,) of a subject's heart in its pose.

    Subject k gets given shape k, at the size that it has. Subjects beyond the given shapes have phantom hearts, so that
    no heart, nor a blend of it with another, comes twice. Each heart is deformed on top, so that no shape model of
    other hearts, or of the given ones, spans it.
    """
    given = shapes is not None and number < len(shapes.points)
    if shapes is None or not given:
        shapes = draw_hearts(spec.population, 1, seed=spec.seed * 1000 + number)
    points = shapes.points[number if given else 0]
    points = deform(points.astype(np.float64), rng, rms_mm=spec.deformation_mm)
    points = (points - points.mean(axis=0)) @ _rotation(spec.tilt_rad * rng.standard_normal(3)).T
    return points, shapes.faces, shapes.region_id


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) about a vector whose length is the angle in rad (Rodrigues)."""
    angle = np.linalg.norm(angles)
    x, y, z = angles / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _draw_field_of_view(spec: SiteSpec, points: np.ndarray, *, size: float, rng: np.random.Generator) -> Grid:
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


def _place_on_table(
    identity: str, image: np.ndarray, label: np.ndarray, *, grid: Grid, flipped: bool, rng: np.random.Generator
) -> Case:
    """Return the scan with the patient somewhere on the table, its axes stored as the scanner does."""
    origin = np.array(grid.origin_mm) + rng.uniform(-200.0, 200.0, 3)
    direction = np.eye(3)
    if flipped:
        image, label = image[:, ::-1, ::-1], label[:, ::-1, ::-1]
        origin[:2] += np.array(grid.spacing_mm[:2]) * (np.array(grid.shape[:0:-1]) - 1)
        direction = np.diag([-1.0, -1.0, 1.0])
    place = Geometry(grid.spacing_mm, tuple(origin.tolist()), tuple(direction.ravel().tolist()))
    contiguous = np.ascontiguousarray
    return Case(identity, Volume(contiguous(image), place), Volume(contiguous(label), place))
