"""Matching of one atlas with a scout: a search over places and sizes, an affine registration, a last look at the heart.

Each step looks closer than the one before. The search compares whole boxes of chest, 22 cm wide, at 8 mm. The affine
registration at 4 mm adapts the box to another build. What then still differs is where the heart lies between lungs and
diaphragm: the last step shifts a smaller box, in a window of soft tissue alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from fedsim_tf.localization.correlation import MaskedCorrelator, find_peak
from fedsim_tf.localization.scouts import SPACING_MM, Scout

SEARCH_MM = 8.0
SCALES = (0.84, 0.92, 1.0, 1.09, 1.19)  # an atlas's heart is made so much larger
_HALF_BOX_MM, _HALF_HEART_MM = 110.0, 64.0
_CHEST_HU, _SOFT_HU = (-1000.0, 300.0), (-200.0, 250.0)
_REACH_MM = 32.0  # of the last step
_ITERATIONS = 25
_DRIFT_MM = 60.0  # a registration that ends farther from its start has lost the heart


@dataclasses.dataclass(frozen=True, eq=False)
class Match:
    """Where an atlas's heart lies in a scout.

    Attributes:
      place_mm: the heart's centre (x, y, z); see `Scout`.
      correlation: how alike both are around it, at most 1.
      matrix: (3, 3) that turns vectors of the atlas into the scout's.
    """

    place_mm: np.ndarray
    correlation: float
    matrix: np.ndarray


class ScoutSearch:
    """Looks for atlases' hearts in one scout.

    Args:
      scout: where to look.
    """

    def __init__(self, scout: Scout) -> None:
        self._hu = scout.hu.astype(np.float32)
        self._coarse = _halve(np.clip(self._hu, *_CHEST_HU))
        largest = (2 * round(_HALF_BOX_MM * max(SCALES) / SEARCH_MM) + 1,) * 3
        self._correlator = MaskedCorrelator(self._coarse, np.ones_like(self._coarse), largest)
        self._moving = _to_image(np.clip(self._hu, *_CHEST_HU))

    def search(self, atlas: Scout) -> Match:
        """Return the best place of an atlas's box of chest among all places and a few sizes."""
        coarse, found = _coarse_atlas(atlas), []
        for scale in SCALES:
            n = round(_HALF_BOX_MM * scale / SEARCH_MM)
            matrix = np.eye(3) * scale
            template, weights = _cut_template(coarse, SEARCH_MM, atlas.heart_mm, matrix, n, _CHEST_HU)
            place, value = find_peak(self._correlator.correlate(template, weights))
            # The middle of the first block of two voxels lies half a voxel from the first voxel's.
            found.append(Match(place[::-1] * SEARCH_MM + SPACING_MM / 2, value, matrix))
        return max(found, key=lambda match: match.correlation)

    def register(self, atlas: Scout, start: Match) -> Match:
        """Return the start after an affine registration of the atlas's box; the start itself where it fails."""
        centre = np.array(atlas.heart_mm)
        fixed, known = _cut_fixed(atlas)
        transform = sitk.AffineTransform(3)
        transform.SetCenter(centre.tolist())
        transform.SetMatrix(start.matrix.ravel().tolist())
        transform.SetTranslation((start.place_mm - centre).tolist())
        registration = sitk.ImageRegistrationMethod()
        registration.SetMetricAsCorrelation()
        registration.SetMetricFixedMask(known)
        registration.SetMetricSamplingStrategy(registration.REGULAR)
        registration.SetMetricSamplingPercentage(0.1, 1)  # a seed: ITK moves the samples a little at random
        registration.SetMetricUseFixedImageGradientFilter(False)
        registration.SetMetricUseMovingImageGradientFilter(False)
        registration.SetNumberOfWorkUnits(1)  # sums in one order
        registration.SetInterpolator(sitk.sitkLinear)
        registration.SetInitialTransform(transform, inPlace=True)
        registration.SetOptimizerAsRegularStepGradientDescent(4.0, 0.05, _ITERATIONS, relaxationFactor=0.6)
        registration.SetOptimizerScalesFromPhysicalShift()
        registration.SetShrinkFactorsPerLevel([2, 1])
        registration.SetSmoothingSigmasPerLevel([1, 0])
        try:
            registration.Execute(fixed, self._moving)
        except RuntimeError:  # the boxes drifted apart
            return start
        place_mm = np.array(transform.TransformPoint(centre.tolist()))
        if np.linalg.norm(place_mm - start.place_mm) > _DRIFT_MM:
            return start
        return Match(place_mm, -registration.GetMetricValue(), np.reshape(transform.GetMatrix(), (3, 3)))

    def look_closely(self, atlas: Scout, start: Match) -> Match:
        """Return the start shifted to where soft tissue around the atlas's heart agrees best."""
        n, reach = round(_HALF_HEART_MM / SPACING_MM), round(_REACH_MM / SPACING_MM)
        hu = atlas.hu.astype(np.float32)
        template, weights = _cut_template(hu, SPACING_MM, atlas.heart_mm, start.matrix, n, _SOFT_HU)
        middle = np.round(start.place_mm / SPACING_MM).astype(int)[::-1]
        window, known = _cut_window(self._hu, middle, n + reach)
        correlator = MaskedCorrelator(np.clip(window, *_SOFT_HU), known, template.shape)
        inner = (slice(n, n + 2 * reach + 1),) * 3
        shift, value = find_peak(correlator.correlate(template, weights)[inner])
        place_mm = (middle - reach + shift)[::-1] * SPACING_MM
        return Match(place_mm, value, start.matrix)


def _halve(array: np.ndarray) -> np.ndarray:
    """Return means of blocks of 2 x 2 x 2 voxels; an odd end goes on as it ends."""
    padded = np.pad(array, [(0, n % 2) for n in array.shape], mode="edge")
    z, y, x = (n // 2 for n in padded.shape)
    return padded.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))


def _coarse_atlas(atlas: Scout) -> np.ndarray:
    return _halve(np.clip(atlas.hu.astype(np.float32), *_CHEST_HU))


def _cut_template(
    hu: np.ndarray,
    spacing_mm: float,
    centre_mm: tuple[float, float, float] | None,
    matrix: np.ndarray,
    n: int,
    window_hu: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of 2n + 1 voxels an edge around a place, seen through a matrix, and where it is known."""
    steps = np.arange(-n, n + 1) * spacing_mm
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    vectors = np.stack([x, y, z], axis=-1) @ np.linalg.inv(matrix).T
    first_mm = (spacing_mm - SPACING_MM) / 2  # centre of the first voxel
    indices = np.moveaxis((vectors + centre_mm - first_mm)[..., ::-1], -1, 0) / spacing_mm
    template = ndimage.map_coordinates(np.clip(hu, *window_hu), indices, order=1, mode="nearest")
    inside = [(i > -0.5) & (i < n - 0.5) for i, n in zip(indices, hu.shape, strict=True)]
    return template, np.logical_and.reduce(inside).astype(np.float32)


def _cut_window(hu: np.ndarray, middle: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of 2n + 1 voxels an edge around an index (z, y, x), and where it lies in the array."""
    indices = [np.arange(m - n, m + n + 1) for m in middle]
    known = [(i >= 0) & (i < size) for i, size in zip(indices, hu.shape, strict=True)]
    clipped = [np.clip(i, 0, size - 1) for i, size in zip(indices, hu.shape, strict=True)]
    return hu[np.ix_(*clipped)], (known[0][:, None, None] & known[1][:, None] & known[2]).astype(np.float32)


def _cut_fixed(atlas: Scout) -> tuple[sitk.Image, sitk.Image]:
    n = round(_HALF_BOX_MM / SPACING_MM)
    hu = atlas.hu.astype(np.float32)
    box, known = _cut_template(hu, SPACING_MM, atlas.heart_mm, np.eye(3), n, _CHEST_HU)
    corner_mm = np.array(atlas.heart_mm) - n * SPACING_MM
    return _to_image(box, corner_mm), _to_image(known.astype(np.uint8), corner_mm)


def _to_image(array: np.ndarray, corner_mm: np.ndarray | None = None) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((SPACING_MM,) * 3)
    if corner_mm is not None:
        image.SetOrigin(corner_mm.tolist())
    return image
