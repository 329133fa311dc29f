"""Geometric chests with a heart, lungs, liver, spine and perhaps arms, at 4 mm."""

import numpy as np

from fedsim_tf.volume import Case, Geometry, Volume

SPACING_MM = 4.0
EXTENT_MM = (400.0, 280.0, 320.0)  # x, y, z


def make_chest(seed: int, *, shift_mm=(0.0, 0.0, 0.0), arms: bool = False, name: str = "") -> Case:
    """Return one person's chest; the seed is who. The shift moves all of it in the field of view."""
    random = np.random.default_rng(seed)
    build = random.uniform(0.92, 1.08, 3)
    z, y, x = _coordinates(shift_mm, build)
    hu = np.full(z.shape, -1000.0, np.float32)
    hu[(x / 165) ** 2 + (y / 105) ** 2 < 1] = 40
    dome = -60 + random.uniform(-12, 12)
    for side in (-1, 1):
        lung = ((x - side * 78) / 62) ** 2 + (y / 80) ** 2 + ((z - 20) / 125) ** 2 < 1
        hu[lung & (z > dome - ((x - side * 78) / 12) ** 2)] = -820
        if arms:
            hu[(np.abs(x - side * 188) < 14) & (np.abs(y) < 40)] = 30
    hu[(x / 16) ** 2 + ((y - 78) / 16) ** 2 < 1] = 450
    place = np.array([18.0, -18.0, -22.0]) + random.uniform(-8, 8, 3)
    heart = (((x - place[0]) / 62) ** 2 + ((y - place[1]) / 50) ** 2 + ((z - place[2]) / 46) ** 2) < 1
    hu[heart] = 60
    hu[heart & (((x - place[0] - 15) / 25) ** 2 + ((y - place[1]) / 22) ** 2 + ((z - place[2]) / 25) ** 2 < 1)] = 180
    hu += random.normal(0, 15, hu.shape).astype(np.float32)
    geometry = Geometry((SPACING_MM,) * 3, (-200.0, -140.0, 900.0))
    name = name or f"chest_{seed}"
    return Case(name, Volume(hu, geometry), Volume(heart.astype(np.uint8), geometry))


def true_centre_mm(case: Case) -> np.ndarray:
    """Return the centre of mass (x, y, z) of the heart in the patient."""
    index = np.argwhere(case.label.array).mean(axis=0)[::-1]
    return np.array(case.image.geometry.origin_mm) + index * case.image.spacing_mm


def cut(case: Case, **ranges: slice) -> Case:
    """Return a part of a case: slices of x, y, z in voxels."""
    keep = tuple(ranges.get(axis, slice(None)) for axis in "zyx")
    first = [(keep[2 - k].start or 0) * SPACING_MM for k in range(3)]
    origin = tuple((np.array(case.image.geometry.origin_mm) + first).tolist())
    geometry = Geometry((SPACING_MM,) * 3, origin)
    return Case(case.identity, Volume(case.image.array[keep], geometry), Volume(case.label.array[keep], geometry))


def _coordinates(shift_mm, build):
    axes = [(np.arange(int(mm / SPACING_MM)) + 0.5) * SPACING_MM - mm / 2 for mm in EXTENT_MM]
    x, y, z = ((a - s) / b for a, s, b in zip(axes, shift_mm, build, strict=True))
    return np.meshgrid(z, y, x, indexing="ij")
