"""The heart on a canvas: blood pools with their contrast agent, walls, papillary muscles, and the fat around."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.phantom.canvas import Box, Canvas, texture
from fedsim_tf.phantom.landmarks import Landmarks
from fedsim_tf.phantom.torso import FAT
from fedsim_tf.phantom.vessels import Tube
from fedsim_tf.regions import LV, MYOCARDIUM, PAINTING_ORDER, RA, RV
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.voxelize import occupancy

MARGIN_MM = 14.0
_FLUIDS_HU = {"air": -985.0, "oesophagus": 38.0}
_WALL_HU = 48.0


class VoxelHeart:
    """A heart as the fraction of each voxel inside each region, in the box of the canvas that holds it.

    Args:
      points: (V, 3) in mm.
      faces: (F, 3) of closed surfaces.
      region_id: (V,) region of each vertex.
      canvas: its grid is that of the fractions.
    """

    def __init__(self, points: np.ndarray, faces: np.ndarray, *, region_id: np.ndarray, canvas: Canvas):
        self.box: Box = canvas.box(points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM)
        self.spacing_mm = canvas.grid.spacing_mm
        first = np.array([part.start for part in self.box[::-1]])
        origin = tuple((np.array(canvas.grid.origin_mm) + first * self.spacing_mm).tolist())
        depth, height, width = (part.stop - part.start for part in self.box)
        local = Grid((depth, height, width), self.spacing_mm, origin)
        face_region = region_id[faces[:, 0]]
        surface = tf.constant(points, tf.float32)
        self.fraction = {
            region: np.clip(occupancy(surface, faces[face_region == region], local).numpy(), 0.0, 1.0)
            for region in PAINTING_ORDER
        }

    @property
    def mask(self) -> np.ndarray:
        """Return which voxels (z, y, x) of the box are inside the union of the regions."""
        return np.sum(list(self.fraction.values()), axis=0) > 0.5

    def label(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return region ids (z, y, x) uint8 on the whole grid; a voxel belongs to the region that fills most of it."""
        stacked = np.stack([self.fraction[region] for region in PAINTING_ORDER])
        local = np.where(self.mask, np.array(PAINTING_ORDER, np.uint8)[np.argmax(stacked, axis=0)], np.uint8(0))
        for region in PAINTING_ORDER:
            local[self.fraction[region] > 0.5] = region
        label = np.zeros(shape, np.uint8)
        label[self.box] = local
        return label


def paint_tubes(canvas: Canvas, tubes: list[Tube], contrast: Mapping[str, float]) -> None:
    """Paint great vessels and airways: all walls first, so that lumens that meet stay open to each other."""
    for tube in tubes:
        canvas.paint_tube(tube.path, tube.radii + tube.wall_mm, value=_WALL_HU)
    for tube in tubes:
        value = _FLUIDS_HU[tube.content] if tube.content in _FLUIDS_HU else contrast[tube.content]
        canvas.paint_tube(tube.path, tube.radii, value=value)


def paint_heart(
    canvas: Canvas,
    heart: VoxelHeart,
    *,
    marks: Landmarks,
    tubes: list[Tube],
    contrast: Mapping,
    rng: np.random.Generator,
) -> None:
    """Paint the heart and the vessels that join it over the chest.

    Args:
      canvas: the chest, in HU.
      heart: the fractions on the canvas's grid.
      marks: landmarks of this heart.
      tubes: the great vessels and airways.
      contrast: HU by region number and by content of a tube.
      rng: generator of mixing and trabeculae.
    """
    shape = tuple(part.stop - part.start for part in heart.box)
    variation = texture(shape, heart.spacing_mm, scale_mm=8.0, rng=rng)
    muscle = contrast[MYOCARDIUM] + 4.0 * variation
    fat = texture(shape, heart.spacing_mm, scale_mm=22.0, rng=rng)
    _paint_fat_and_walls(canvas, heart, size=marks.size, muscle=muscle, variation=fat)
    paint_tubes(canvas, tubes, contrast)
    mixing = {RA: 0.16, RV: 0.10}
    for region in PAINTING_ORDER:
        flow = contrast[region] * (1.0 + mixing.get(region, 0.02) * variation)
        canvas.paint(heart.fraction[region], muscle if region == MYOCARDIUM else flow, heart.box)
    _paint_trabeculae(canvas, heart, marks=marks, muscle=contrast[MYOCARDIUM], variation=variation)


def _paint_fat_and_walls(
    canvas: Canvas, heart: VoxelHeart, *, size: float, muscle: np.ndarray, variation: np.ndarray
) -> None:
    """Paint the fat under the pericardium, and the walls of the thin-walled chambers."""
    step = heart.spacing_mm[::-1]
    outside = ndimage.distance_transform_edt(~heart.mask, sampling=step).astype(np.float32)
    canvas.paint(outside < size * np.maximum(4.5 + 3.0 * variation, 1.5), FAT + 5.0 * variation, heart.box)
    pools = np.maximum.reduce([part for region, part in heart.fraction.items() if region != MYOCARDIUM]) > 0.5
    walls = ndimage.distance_transform_edt(~pools, sampling=step) < 2.2 * size
    canvas.paint(walls & (outside > 0), muscle - 15.0, heart.box)


def _paint_trabeculae(
    canvas: Canvas, heart: VoxelHeart, *, marks: Landmarks, muscle: float, variation: np.ndarray
) -> None:
    """Paint the muscle inside the ventricles: two papillary muscles, and a rough inner surface."""
    box, step = heart.box, heart.spacing_mm[::-1]
    for region in (LV, RV):
        inside = heart.fraction[region] > 0.5
        depth = ndimage.distance_transform_edt(inside, sampling=step)
        rough = inside & (depth < 3.0 * marks.size) & (variation > 0.7)
        canvas.paint(0.45 * rough, muscle, box)
    ventricle = np.zeros(canvas.grid.shape, np.float32)
    ventricle[box] = heart.fraction[LV]
    side = np.cross(marks.lv_axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    for sign in (-1.0, 1.0):
        middle = marks.lv_centre + marks.size * (15.0 * sign * side + 4.0 * marks.lv_axis)
        path = middle + marks.size * np.array([[-14.0], [18.0]]) * marks.lv_axis
        canvas.paint_tube(path, np.array([3.0, 5.0]) * marks.size, value=muscle, only=ventricle)
