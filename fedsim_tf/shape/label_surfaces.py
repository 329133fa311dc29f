"""Closed surfaces around the regions of a label map, in the patient's frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from fedsim_tf.errors import InputError
from fedsim_tf.regions import GREAT_VESSELS, REGION_IDS
from fedsim_tf.shape.surfaces import check_topology, label_pieces, signed_volume_mm3
from fedsim_tf.volume import Geometry, Volume

MAX_DROPPED = 0.05  # largest share of a region that may lie apart from its largest piece, or be a filled hole
MAX_VOLUME_ERROR = 0.01  # relative to the volume of the region's voxels
_SMOOTHING_VOXELS = 0.7  # standard deviation along the coarsest axis; the same length in mm along the others
_MAX_SMOOTHING_VOXELS = 2.0
_PAD = 4  # voxels around a region's box, so that the smoothed mask fades out inside
_LEVEL_STEPS = 8
_POOL = 8  # candidates for each sampled point


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSurface:
    """The surfaces of one subject's labelled regions.

    Attributes:
      identity: the subject, for messages.
      points: (V, 3) float64 in mm, in the patient's frame (LPS); the vertices of a region lie together.
      normals: (V, 3) outward unit vectors.
      faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
      region_id: (V,) uint8 region of each vertex.
      closed_at_border: great vessels that run out of the grid and were closed flat there.
    """

    identity: str
    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray
    closed_at_border: tuple[int, ...] = ()

    @property
    def regions(self) -> tuple[int, ...]:
        """Return the regions that are there, ascending."""
        return tuple(int(region) for region in np.unique(self.region_id))


class SurfaceSample(NamedTuple):
    """Points of a surface (n, 3) in mm, their outward unit normals (n, 3) and regions (n,), sorted by region."""

    points: np.ndarray
    normals: np.ndarray
    region_id: np.ndarray


class _Mask(NamedTuple):
    """A region cut out of a label map.

    Attributes:
      inside: (z, y, x) bool, padded.
      corner: (3,) index of its first voxel in the label map.
      cut: axis and end (0 or -1) of each side on which the region runs out of the label map.
    """

    inside: np.ndarray
    corner: np.ndarray
    cut: tuple[tuple[int, int], ...]


def label_surface(volume: Volume, *, identity: str, regions: Sequence[int] | None = None) -> LabelSurface:
    """Return closed surfaces around the regions of a label map.

    Each region keeps its largest piece, small holes are filled, and the slightly smoothed mask is cut by marching
    cubes (Lewiner et al. 2003) at the level that keeps the voxels' volume within 1 %.

    Args:
      volume: region ids (z, y, x) and their geometry, which may be anisotropic and oblique.
      identity: the subject, for messages.
      regions: the labels; None for all seven of the heart, (1,) for a binary map.

    Raises:
      InputError: a region is missing, in pieces or cut off by the grid's border (great vessels are closed flat there
        instead), or no closed surface with its volume was found.
    """
    wanted = REGION_IDS if regions is None else tuple(int(region) for region in regions)
    boxes = _boxes(volume.array, identity, wanted)
    parts, closed, first = [], [], 0
    for region in wanted:
        subject = f"{identity}, region {region}"
        mask = _cut_out(volume.array == region, boxes[region], subject, may_be_cut=region in GREAT_VESSELS)
        points, faces = _region_surface(mask, volume.geometry, subject)
        parts.append((points, faces + first, np.full(len(points), region, np.uint8)))
        first += len(points)
        if mask.cut:
            closed.append(region)
    points, faces, region_id = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    check_topology(faces, region_id, n_vertices=len(points))
    return LabelSurface(identity, points, vertex_normals(points, faces), faces, region_id, tuple(closed))


def vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return unit normals (V, 3) of vertices: the area-weighted mean of their faces', or zero where that vanishes."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    corners = faces.T.ravel()
    repeated = np.tile(face_normals, (3, 1))
    summed = np.stack([np.bincount(corners, repeated[:, k], len(points)) for k in range(3)], axis=1)
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), np.finfo(float).tiny)


def vertex_areas(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the area (V,) in mm^2 of each vertex, which is a third of that of its triangles."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6.0
    return np.bincount(faces.T.ravel(), np.tile(areas, 3), len(points))


def region_shares(surface: LabelSurface, n: int) -> dict[int, int]:
    """Return how many of n points each region gets: by area, but at least a third of an even share."""
    areas = vertex_areas(surface.points, surface.faces)
    regions = surface.regions
    by_area = np.array([areas[surface.region_id == region].sum() for region in regions])
    shares = np.maximum(by_area / by_area.sum(), 1 / (3 * len(regions)))
    counts = np.maximum(np.round(n * shares / shares.sum()).astype(int), 1)
    return dict(zip(regions, counts.tolist(), strict=True))


def sample(surface: LabelSurface, n: int, seed: int) -> SurfaceSample:
    """Return about n vertices, evenly spread over each region; the same seed gives the same vertices.

    They are sampled farthest-first from an area-weighted random pool; the regions' shares are those of `region_shares`.

    Raises:
      InputError: n is smaller than the number of regions.
    """
    if n < len(surface.regions):
        raise InputError("points", found=n, expected=f"at least {len(surface.regions)}, one a region")
    areas = vertex_areas(surface.points, surface.faces)
    chosen = []
    for region, count in region_shares(surface, n).items():
        rng = np.random.default_rng([seed, region])
        vertices = np.flatnonzero(surface.region_id == region)
        pool = min(_POOL * count, len(vertices))
        weights = areas[vertices] + areas[vertices].mean() * 1e-6  # no vertex is impossible, as the pool has no repeats
        drawn = rng.choice(vertices, pool, replace=False, p=weights / weights.sum())
        chosen.append(np.sort(drawn[_pick_farthest(surface.points[drawn], min(count, pool))]))
    numbers = np.concatenate(chosen)
    return SurfaceSample(surface.points[numbers], surface.normals[numbers], surface.region_id[numbers])


def _pick_farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of `count` points, each the farthest from those before it (Gonzalez 1985)."""
    x = np.ascontiguousarray(points.T)
    chosen = np.zeros(count, np.int64)
    distance = np.full(x.shape[1], np.inf)
    for step in range(1, count):
        last = chosen[step - 1]
        distance = np.minimum(distance, (x[0] - x[0, last]) ** 2 + (x[1] - x[1, last]) ** 2 + (x[2] - x[2, last]) ** 2)
        chosen[step] = distance.argmax()
    return chosen


def _boxes(labels: np.ndarray, identity: str, wanted: tuple[int, ...]) -> dict[int, tuple[slice, ...]]:
    """Return the bounding box of each wanted region."""
    if not wanted or min(wanted) < 1 or len(set(wanted)) != len(wanted):
        raise InputError("regions", found=wanted, expected="different labels from 1 up")
    if not np.issubdtype(labels.dtype, np.integer):
        rounded = np.round(labels)
        if not np.array_equal(rounded, labels):
            raise InputError(identity, found=f"labels of type {labels.dtype}", expected="whole numbers")
        labels = rounded.astype(np.int64)
    objects = ndimage.find_objects(labels.clip(0), max_label=max(wanted))
    missing = [region for region in wanted if objects[region - 1] is None]
    if missing:
        raise InputError(identity, found=f"no voxel of regions {missing}", expected=f"a map of regions {list(wanted)}")
    return {region: objects[region - 1] for region in wanted}


def _cut_out(inside: np.ndarray, box: tuple[slice, ...], subject: str, *, may_be_cut: bool) -> _Mask:
    """Return the region's largest piece, with its small holes filled, padded."""
    shape, inside = inside.shape, inside[box]
    pieces, n_pieces = ndimage.label(inside, np.ones((3, 3, 3)))
    if n_pieces > 1:
        sizes = np.bincount(pieces.ravel())[1:]
        inside = pieces == 1 + sizes.argmax()
        if sizes.sum() - sizes.max() > MAX_DROPPED * sizes.sum():
            share = 1 - sizes.max() / sizes.sum()
            raise InputError(
                subject, found=f"{n_pieces} pieces, {share:.0%} outside the largest", expected=f"<= {MAX_DROPPED:.0%}"
            )
    corner = np.array([part.start for part in box])
    cut = tuple(
        (axis, end)
        for axis in range(3)
        for end, touches in ((0, corner[axis] == 0), (-1, box[axis].stop == shape[axis]))
        if touches and inside.take(end, axis).any()
    )
    if cut and not may_be_cut:
        raise InputError(subject, found="voxels on the grid's border", expected="a region wholly inside the grid")
    padded = np.pad(_fill_small_holes(inside), _PAD)
    for axis, end in cut:  # the region goes on beyond the border for the smoothing; `_close_ends` ends it again
        slabs = np.moveaxis(padded, axis, 0)
        if end == 0:
            slabs[:_PAD] = slabs[_PAD]
        else:
            slabs[-_PAD:] = slabs[-_PAD - 1]
    return _Mask(padded, corner - _PAD, cut)


def _fill_small_holes(inside: np.ndarray) -> np.ndarray:
    """Return the mask with small enclosed holes filled; a big one is a cavity, such as a ventricle in its wall."""
    holes, n_holes = ndimage.label(ndimage.binary_fill_holes(inside) & ~inside)
    if n_holes == 0:
        return inside
    small = np.bincount(holes.ravel()) <= MAX_DROPPED * inside.sum()
    small[0] = False
    return inside | small[holes]


def _region_surface(mask: _Mask, geometry: Geometry, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points (V, 3) in mm and faces (F, 3) around a mask, with its volume."""
    inner = tuple(slice(_PAD, -_PAD) for _ in range(3))
    field = _smooth(mask.inside, np.asarray(geometry.spacing_mm, float))
    wanted = int(mask.inside[inner].sum())
    search, error, closed = _LevelSearch(), np.inf, False
    for _ in range(_LEVEL_STEPS):
        level = search.level
        if field.max() <= level:  # nothing of so few voxels is left in the blurred mask: the surface is empty
            error, closed = -1.0, True
            search.update(error)
            continue
        points, faces = _march(_close_ends(field, mask.cut, level), level)
        points, faces = _drop_specks(points, faces, smallest=MAX_DROPPED * wanted)
        error = (signed_volume_mm3(points, faces) - wanted) / wanted
        closed = is_closed(faces, len(points))
        if abs(error) <= MAX_VOLUME_ERROR / 4 and closed:
            return _to_patient(points, faces, mask.corner, geometry)
        search.update(error)
    found = f"{error:+.1%} of the volume of {wanted} voxels" if closed else "an open or non-manifold surface"
    raise InputError(subject, found=found, expected=f"a closed surface within {MAX_VOLUME_ERROR:.0%}")


class _LevelSearch:
    """A search for the level whose surface has the voxels' volume, by secant steps inside a bracket."""

    def __init__(self):
        self.level = 0.5003  # not a half, as a voxel that is equal to the level makes empty triangles
        self._tried: list[tuple[float, float]] = []
        self._lower, self._upper = 0.05, 0.95

    def update(self, error: float) -> None:
        """Move on from the relative volume error at `level`; the error falls as the level rises."""
        if error > 0:
            self._lower = self.level
        else:
            self._upper = self.level
        self._tried.append((self.level, error))
        step = 0.05 if error > 0 else -0.05
        if len(self._tried) > 1:
            (before, error_before), (now, _) = self._tried[-2:]
            slope = (error - error_before) / (now - before)
            step = -error / slope if slope < 0 else step
        level = self.level + step
        self.level = level if self._lower < level < self._upper else 0.5 * (self._lower + self._upper)


def _smooth(inside: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return the mask (z, y, x) float32, blurred by the same length in mm along all axes as far as voxels allow."""
    sigma = np.clip(_SMOOTHING_VOXELS * spacing_mm.max() / spacing_mm, None, _MAX_SMOOTHING_VOXELS)
    return ndimage.gaussian_filter(inside.astype(np.float32), sigma[::-1], mode="nearest", truncate=3.0)


def _close_ends(field: np.ndarray, cut: tuple[tuple[int, int], ...], level: float) -> np.ndarray:
    """Return the field with ends on the grid's outermost voxel faces where the region is cut, mirrored at the level."""
    field = field.copy()
    for axis, end in cut:
        slabs = np.moveaxis(field, axis, 0)
        last, pad = (_PAD, slice(0, _PAD)) if end == 0 else (-_PAD - 1, slice(-_PAD, None))
        slabs[pad] = 0.0
        slabs[last - 1 if end == 0 else last + 1] = level - np.abs(slabs[last] - level)
    return field


def _march(field: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (V, 3) in voxels (x, y, z) and outward faces (F, 3) of a level set (Lewiner et al. 2003)."""
    vertices, faces, _, _ = marching_cubes(field, level)
    points, faces = vertices[:, ::-1].astype(np.float64), faces.astype(np.int32)
    return points, faces if signed_volume_mm3(points, faces) > 0 else faces[:, ::-1]


def _drop_specks(points: np.ndarray, faces: np.ndarray, *, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface without the pieces that enclose less than `smallest` voxels."""
    piece = label_pieces(faces, len(points))
    n_pieces = piece.max() + 1
    if n_pieces == 1:
        return points, faces
    a, b, c = (points[faces[:, k]] for k in range(3))
    volumes = np.bincount(piece[faces[:, 0]], np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0, n_pieces)
    big = np.abs(volumes) >= smallest
    kept = big[piece]
    number = np.cumsum(kept) - 1
    return points[kept], number[faces[kept[faces[:, 0]]]].astype(np.int32)


def is_closed(faces: np.ndarray, n_vertices: int) -> bool:
    """Return whether the faces make closed, manifold, consistently oriented surfaces that use every vertex."""
    try:
        check_topology(faces, np.zeros(n_vertices, np.uint8), n_vertices=n_vertices)
    except InputError:
        return False
    return len(np.unique(faces)) == n_vertices


def _to_patient(
    points: np.ndarray, faces: np.ndarray, corner: np.ndarray, geometry: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """Return points in mm in the patient's frame of voxels of the cut-out; a mirroring direction turns the faces."""
    axes = np.asarray(geometry.direction, float).reshape(3, 3)
    voxels = (points + corner[::-1]) * np.asarray(geometry.spacing_mm, float)
    placed = voxels @ axes.T + np.asarray(geometry.origin_mm, float)
    return placed, faces if np.linalg.det(axes) > 0 else np.ascontiguousarray(faces[:, ::-1])
