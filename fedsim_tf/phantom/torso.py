"""The chest around a heart: body wall, bones, lungs, organs below the diaphragm, and the mediastinum."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from fedsim_tf.phantom.canvas import Canvas, texture
from fedsim_tf.phantom.landmarks import Landmarks
from fedsim_tf.phantom.vessels import Tube, draw_lung_tree, hilum_positions
from fedsim_tf.shape.grid import Grid

# CT values in HU.
AIR, LUNG, FAT, SKIN, MUSCLE, LIVER, SPLEEN, STOMACH = -1000.0, -835.0, -102.0, 35.0, 55.0, 92.0, 105.0, 38.0
CORTICAL, MARROW, CARTILAGE, DISC, CANAL, CORD = 560.0, 185.0, 115.0, 85.0, 20.0, 42.0
_LUNG_VESSELS = 260.0
_VERTEBRA_MM = 26.0
_RIB_PITCH_MM = 27.0


@dataclasses.dataclass(frozen=True, eq=False)
class Torso:
    """The build of a chest; lengths in mm.

    Attributes:
      marks: landmarks of the heart inside.
      cage: centre (x, y) and half-axes of the inner surface of the ribs at the level of the heart.
      body: centre (x, y) and half-axes of the skin.
      fat_mm: thickness of the fat under the skin.
      mediastinum: mean thickness in mm and CT value in HU of what lies between heart and lungs: fat, thymus, fluid.
    """

    marks: Landmarks
    cage: tuple[np.ndarray, np.ndarray]
    body: tuple[np.ndarray, np.ndarray]
    fat_mm: float
    mediastinum: tuple[float, float]

    @property
    def size(self) -> float:
        """Return the size of the patient relative to an adult."""
        return self.marks.size


def draw_torso(marks: Landmarks, rng: np.random.Generator) -> Torso:
    """Return a chest of random build that fits a heart."""
    size = marks.size
    fat = size * rng.uniform(6.0, 20.0)
    front, back = marks.front_y - 3.0 * size, marks.spine_y + 30.0 * size
    half_depth = 0.5 * (back - front)
    half_width = half_depth * rng.uniform(1.42, 1.6)
    cage = (np.array([marks.midline_x, 0.5 * (front + back)]), np.array([half_width, half_depth]))
    skin_front, skin_back = front - 17.0 * size - fat, back + 34.0 * size + fat
    body = (
        np.array([marks.midline_x, 0.5 * (skin_front + skin_back)]),
        np.array([half_width + 26.0 * size + fat, 0.5 * (skin_back - skin_front)]),
    )
    mediastinum = (size * rng.uniform(3.0, 18.0), rng.uniform(FAT, MUSCLE))
    return Torso(marks, cage, body, fat, mediastinum)


def paint_torso(
    canvas: Canvas, torso: Torso, *, tubes: list[Tube], heart: np.ndarray, rng: np.random.Generator
) -> None:
    """Paint everything but the heart and the great vessels.

    Args:
      canvas: the canvas, in HU.
      torso: the chest.
      tubes: the great vessels; lung keeps away from them.
      heart: (z, y, x) bool, where the heart will be painted.
      rng: generator of texture and lung vessels.
    """
    variation = texture(canvas.grid.shape, canvas.grid.spacing_mm, scale_mm=9.0, rng=rng)
    _paint_body_wall(canvas, torso, variation)
    cage = _cage_radius(canvas, torso)
    _paint_ribs(canvas, torso, cage)
    inside = cage < 1.0
    canvas.paint(inside, _lung_values(canvas, torso, variation))
    _paint_abdomen(canvas, torso, inside)
    _paint_sternum(canvas, torso)
    near = _distance_to_organs(canvas, torso.marks, tubes=tubes, heart=heart)
    _paint_mediastinum(canvas, torso, inside=inside, distance=near, variation=variation, rng=rng)
    _paint_spine(canvas, torso, variation)
    _paint_lung_vessels(canvas, torso, rng)


def _superellipse(canvas: Canvas, place: tuple[np.ndarray, np.ndarray], power: float) -> np.ndarray:
    """Return (1, y, x) values that are 1 on the outline and grow in proportion along each ray from the centre."""
    centre, half = place
    across = np.abs((canvas.x - centre[0]) / half[0]) ** power + np.abs((canvas.y - centre[1]) / half[1]) ** power
    return (across ** (1.0 / power)).astype(np.float32)


def _paint_body_wall(canvas: Canvas, torso: Torso, variation: np.ndarray) -> None:
    """Paint air, skin, fat and muscle; the outline is the same at all heights."""
    body = _superellipse(canvas, torso.body, 2.6)[0] < 1.0
    step = canvas.grid.spacing_mm[1::-1]
    edge = (slice(8, -8), slice(8, -8))  # the field of view may end inside the body: that border is no skin
    depth = ndimage.distance_transform_edt(np.pad(body, 8, mode="edge"), sampling=step)[edge]
    around = np.arctan2(canvas.x - torso.body[0][0], canvas.y - torso.body[0][1])[0]
    thickness = torso.fat_mm * (1.0 + 0.5 * np.cos(2 * around))
    values = np.select([~body, depth < 2.0 * torso.size, depth < thickness + 2.0], [AIR, SKIN, FAT], MUSCLE)
    canvas.paint(np.ones((1, 1, 1), bool), values[None].astype(np.float32))
    muscle = (values == MUSCLE)[None]
    canvas.paint(muscle & (variation > 1.35), FAT + 20.0)  # fat between the muscles
    canvas.values += np.where(muscle, 5.0 * variation, 0.0)


def _cage_radius(canvas: Canvas, torso: Torso) -> np.ndarray:
    """Return (z, y, x) values that are below 1 inside the ribs; the chest narrows towards the neck."""
    height = (canvas.z - torso.marks.low[2]) / (230.0 * torso.size)
    narrowing = 1.0 - 0.35 * np.clip(height - 0.15, 0.0, 1.0) ** 1.6
    return _superellipse(canvas, torso.cage, 2.25) / narrowing.astype(np.float32)


def _paint_ribs(canvas: Canvas, torso: Torso, cage: np.ndarray) -> None:
    """Paint rings that run down and forwards from the spine, cartilage in front, and muscle between them."""
    size, (centre, half) = torso.size, torso.cage
    shell = np.nonzero(((cage > 0.95) & (cage < 1.2)).any(axis=0))
    radial = (cage[:, shell[0], shell[1]] - 1.055) * (0.8 * half[1])
    x, y = canvas.x[0, 0, shell[1]] - centre[0], canvas.y[0, shell[0], 0] - centre[1]
    angle = np.abs(np.arctan2(x / half[0], y / half[1]))  # 0 at the spine, pi at the sternum
    height = canvas.z[:, :, 0] + 95.0 * size * (1.0 - np.cos(np.minimum(angle, 2.4)))[None] * 0.5
    pitch = _RIB_PITCH_MM * size
    along = np.mod(height - torso.marks.low[2], pitch) - 0.5 * pitch
    profile = np.sqrt((radial / (4.2 * size)) ** 2 + (along / (6.8 * size)) ** 2)
    values = canvas.values[:, shell[0], shell[1]]
    bony, gristle = (angle > 0.2) & (angle < 2.55), (angle >= 2.55) & (angle < 3.0)
    values[(np.abs(radial) < 5.0 * size) & (values < MUSCLE - 40.0)] = MUSCLE - 15.0
    values[(profile < 1.0) & bony] = CORTICAL
    values[(profile < 0.62) & bony] = MARROW
    values[(profile < 1.0) & gristle] = CARTILAGE
    canvas.values[:, shell[0], shell[1]] = values


def _lung_values(canvas: Canvas, torso: Torso, variation: np.ndarray) -> np.ndarray:
    """Return HU of lung, which is denser at the back, where blood pools in a patient who lies."""
    back = (canvas.y - torso.cage[0][1]) / torso.cage[1][1]
    return (LUNG + 38.0 * back + 16.0 * variation).astype(np.float32)


def _paint_abdomen(canvas: Canvas, torso: Torso, inside: np.ndarray) -> None:
    """Paint liver, stomach with gas, spleen and fat under the domes of the diaphragm."""
    size, marks = torso.size, torso.marks
    (middle_x, middle_y), base = torso.cage[0], marks.low[2]
    domes = [
        (middle_x - 68.0 * size, middle_y - 5.0 * size, base + 20.0 * size, 85.0 * size),
        (middle_x + 78.0 * size, middle_y + 8.0 * size, base + 4.0 * size, 75.0 * size),
        (0.5 * (marks.low[0] + marks.high[0]), 0.5 * (marks.low[1] + marks.high[1]), base + 2.0 * size, 170.0 * size),
    ]
    surfaces = [top - ((canvas.x - x) ** 2 + (canvas.y - y) ** 2) / (2.0 * radius) for x, y, top, radius in domes]
    below = inside & (canvas.z < np.maximum.reduce(surfaces))
    before = canvas.values.copy()
    canvas.paint(below, np.where(canvas.x < middle_x + 35.0 * size, LIVER, FAT + 8.0))
    stomach = np.array([middle_x + 72.0 * size, middle_y - 18.0 * size, base - 28.0 * size])
    spleen = stomach + np.array([26.0, 66.0, 0.0]) * size
    canvas.paint_ellipsoid(stomach, np.array([48, 44, 36]) * size, value=STOMACH)
    canvas.paint_ellipsoid(stomach - [0.0, 20.0 * size, 0.0], np.array([30, 20, 24]) * size, value=AIR + 30.0)
    canvas.paint_ellipsoid(spleen, np.array([32, 38, 34]) * size, value=SPLEEN)
    np.copyto(canvas.values, before, where=~below)


def _paint_sternum(canvas: Canvas, torso: Torso) -> None:
    size, marks = torso.size, torso.marks
    x = (canvas.x - marks.midline_x) / (17.0 * size)
    y = (canvas.y - (marks.front_y - 6.0 * size)) / (6.0 * size)
    profile = (np.abs(x) ** 3 + np.abs(y) ** 3) ** (1.0 / 3.0)
    extent = (canvas.z > marks.low[2] + 8.0 * size) & (canvas.z < marks.low[2] + 190.0 * size)
    canvas.paint((profile < 1.0) & extent, CORTICAL * 0.7)
    canvas.paint((profile < 0.78) & extent, MARROW * 0.75)


def _distance_to_organs(canvas: Canvas, marks: Landmarks, *, tubes: list[Tube], heart: np.ndarray) -> np.ndarray:
    """Return the distance (z, y, x) in mm to the heart, the great vessels, the spine and the sternum.

    It is measured on voxels of twice the size.
    """
    size = marks.size
    half = tuple(2.0 * step for step in canvas.grid.spacing_mm)
    near = Canvas(Grid(tuple(-(-n // 2) for n in heart.shape), half, canvas.grid.origin_mm), 0.0)  # type: ignore
    near.paint(heart[::2, ::2, ::2], 1.0)
    for tube in tubes:
        near.paint_tube(tube.path, tube.radii + tube.wall_mm, value=1.0)
    spine = ((near.x - marks.midline_x) / 17.0) ** 2 + ((near.y - marks.spine_y) / 15.0) ** 2 < size**2
    behind_sternum = np.abs(near.y - marks.front_y) < 5.0 * size
    near.paint(spine | (behind_sternum & (np.abs(near.x - marks.midline_x) < 9.0 * size)), 1.0)
    distance = ndimage.distance_transform_edt(near.values < 0.5, sampling=half[::-1]).astype(np.float32)
    return np.repeat(np.repeat(np.repeat(distance, 2, 0), 2, 1), 2, 2)[tuple(slice(0, n) for n in heart.shape)]


def _paint_mediastinum(
    canvas: Canvas,
    torso: Torso,
    *,
    inside: np.ndarray,
    distance: np.ndarray,
    variation: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Paint the patient's own tissue instead of lung close to the organs of the mediastinum."""
    thickness, value = torso.mediastinum
    uneven = texture(inside.shape, canvas.grid.spacing_mm, scale_mm=28.0, rng=rng)
    reach = thickness * np.maximum(1.0 + 0.6 * uneven, 0.4)
    canvas.paint(inside & (distance < reach) & (canvas.values < -500.0), value + 4.0 * variation)


def _paint_spine(canvas: Canvas, torso: Torso, variation: np.ndarray) -> None:
    """Paint vertebral bodies and discs, the canal, and arches with their processes."""
    size, marks = torso.size, torso.marks
    box = canvas.box(
        np.array([marks.midline_x - 45 * size, marks.spine_y - 20 * size, -1e4]),
        np.array([marks.midline_x + 45 * size, marks.spine_y + 62 * size, 1e4]),
    )
    x, y = (canvas.x[..., box[2]] - marks.midline_x) / size, (canvas.y[:, box[1]] - marks.spine_y) / size
    phase = np.mod((canvas.z[box[0]] - marks.low[2]) / size, _VERTEBRA_MM)
    waist = 1.0 - 0.10 * np.sin(np.pi * np.clip((phase - 5.0) / 21.0, 0.0, 1.0))
    column = np.sqrt((x / 17.5) ** 2 + (y / 14.5) ** 2) / waist
    disc = phase < 5.0
    plate = (phase < 6.6) | (phase > _VERTEBRA_MM - 1.6)
    canal = np.sqrt((x / 10.5) ** 2 + ((y - 22.0) / 8.5) ** 2)
    level = (phase > 9.0) & (phase < 22.0)
    arch = (canal > 1.0) & (canal < 1.55) & level
    spinous = (np.abs(x) < 3.2) & (y > 30.0) & (y < 56.0) & (np.abs(phase - 13.0 + 0.35 * (y - 43.0)) < 9.0)
    transverse = (np.abs(x) > 9.0) & (np.abs(x) < 33.0) & (np.abs(y - 22.0 - 0.2 * np.abs(x)) < 4.2) & level
    paint = lambda mask, value: canvas.paint(mask, value, box)  # noqa: E731
    paint((column < 1.0) | arch | spinous | transverse, CORTICAL)
    marrow = np.broadcast_to(MARROW + 40.0 * variation[box], column.shape)
    paint(column < 0.88, marrow)
    paint((column < 0.88) & plate, 0.75 * CORTICAL)
    paint((column < 1.02) & disc, DISC)
    inner = (np.abs(x) < 1.6) & (y > 34.0) & (y < 54.0) & spinous
    paint(inner | (transverse & (np.abs(y - 22.0 - 0.2 * np.abs(x)) < 2.4)), MARROW)
    paint(canal < 1.0, CANAL)
    paint(canal < 0.55, CORD)


def _paint_lung_vessels(canvas: Canvas, torso: Torso, rng: np.random.Generator) -> None:
    """Paint branching vessels inside the lungs."""
    lung = canvas.values < -600.0
    for hilum, side in zip(hilum_positions(torso.marks), (-1.0, 1.0), strict=True):
        for _ in range(2):  # arteries and veins
            for path, radii in draw_lung_tree(hilum, np.array([side, 0.0, 0.0]), size=torso.size, rng=rng):
                canvas.paint_tube(path, np.maximum(radii, 0.5), value=_LUNG_VESSELS, only=lung)
