"""Pairs of scans that are far more alike than is usual in their set, as two scans of one person are.

Whole chests of different people correlate as highly as two scans of one person do. What tells them apart is how well
small neighbourhoods agree after an affine registration: it takes out posture, field of view and slice thickness. A
registration that bends would make different people alike too (docs/results/two_scans.md).

The comparison of a pair takes half a second on one core, so that in a large set only some are compared: all scans are
registered to two of them, and on their grids the nearest neighbours of each scan are found by a product of matrices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import fft, ndimage, special

from fedsim_tf.data.preprocess import PreparedCase, hu_from_unit

_CLIP_HU = (-1000.0, 300.0)  # bone and contrast medium count no more than soft tissue does
_FINE_MM, _COARSE_FACTOR = 8.0, 1.75  # voxels that are compared; those of the registration are coarser
_VOXELS_ACROSS = 40  # of a field of view that is smaller than a chest
_WINDOW_VOXELS = 1.5  # standard deviation of a neighbourhood
_LEAST_VARIANCE = 4e-3  # of a neighbourhood that shows something; 1 is half the window squared
_LEAST_OVERLAP = 0.25  # share of the smaller scan
_FAILED = 0.45  # different people are more alike once they are registered
# Fisher's z of the similarity of different people: median and spread of ten real CTs, each with each, at 8 mm. At 12 mm
# the median is 0.9. They help where a set has too few pairs to tell.
_USUAL_Z, _USUAL_POWER, _SPREAD_Z = 0.69, 0.75, 0.12
_FEWEST_FOR_USUAL, _FEWEST_FOR_SPREAD = 3, 10
_EXPECTED_BY_CHANCE, _FEWEST_DEVIATIONS = 0.5, 2.5  # pairs of a whole set that are named if everybody comes once
_REFERENCES = 2
_ALL_UP_TO, _NEIGHBOURS, _RANDOM_PAIRS = 10, 3, 40  # scans of which every pair is compared; else so many


class AlikePair(NamedTuple):
    """Two scans that may be of one person.

    Attributes:
      one, other: their identities.
      similarity: the mean correlation of small neighbourhoods, at most 1.
      usual: that of a usual pair of the set.
    """

    one: str
    other: str
    similarity: float
    usual: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Scan:
    """A scan on cubic voxels around the origin, for comparison and for registration."""

    fine: sitk.Image
    coarse: sitk.Image


def find_alike(
    cases: Sequence[PreparedCase],
    *,
    known: Collection[frozenset[str]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[AlikePair]:
    """Return the pairs of scans that are far more alike than is usual in the set, the most alike first.

    Up to ten scans are compared each with each, further ones with their three nearest neighbours: about two seconds
    for each scan of a large set on one core. A pair is named if it is more alike than ten real people were (0.76 at
    8 mm), and if by the distribution over the set's pairs less than half a pair of the whole set is expected to lie so
    far out.

    Args:
      cases: prepared scans of one set.
      known: pairs of identities that are known to be of one person, which are neither compared nor named.
      progress: called after each registration with the number done and the number in all.
    """
    if len(cases) < 2:
        return []
    scans = _shrink_all(cases)
    apart = [
        (i, j)
        for i, j in itertools.combinations(range(len(cases)), 2)
        if frozenset((cases[i].identity, cases[j].identity)) not in known
    ]
    few = len(cases) <= _ALL_UP_TO
    first = 0 if few else _REFERENCES * len(cases)
    random = apart if few else _draw_pairs(apart)
    pairs = random
    if not few:
        total = len(cases) * (_REFERENCES + _NEIGHBOURS) + len(random)
        pairs = sorted({*random, *_find_neighbours(scans, apart, _count_steps(progress, 0, total))})
    step = _count_steps(progress, first, first + len(pairs))
    found = {pair: _compare(scans[pair[0]], scans[pair[1]], step) for pair in pairs}
    usual, limit = _find_limit(
        [found[pair] for pair in random], n_pairs=len(apart), voxel_mm=scans[0].fine.GetSpacing()[0]
    )
    named = [
        AlikePair(cases[i].identity, cases[j].identity, value, usual)
        for (i, j), value in found.items()
        if value >= limit
    ]
    return sorted(named, key=lambda pair: -pair.similarity)


def _count_steps(progress: Callable[[int, int], None] | None, done: int, total: int) -> Callable[[], None]:
    numbers = itertools.count(done + 1)

    def step() -> None:
        if progress is not None:
            progress(next(numbers), total)

    return step


def _find_limit(similarities: Sequence[float], *, n_pairs: int, voxel_mm: float = _FINE_MM) -> tuple[float, float]:
    """Return the usual similarity and the least one that is far above it, by median and upper quartile.

    Args:
      similarities: of pairs that were not chosen because they are alike.
      n_pairs: how many pairs the set has.
      voxel_mm: the voxels that were compared; large ones make all scans more alike.
    """
    values = np.array([value for value in similarities if value > _FAILED])
    z = np.arctanh(np.minimum(values, 0.999))
    known = usual = _USUAL_Z * max(1.0, voxel_mm / _FINE_MM) ** _USUAL_POWER
    spread = _SPREAD_Z
    if len(z) >= _FEWEST_FOR_SPREAD:
        usual, upper = np.quantile(z, (0.5, 0.75)).tolist()  # pairs that fit badly widen the lower side alone
        spread = max((upper - usual) / float(special.ndtri(0.75)), _SPREAD_Z / 2)
    elif len(z) >= _FEWEST_FOR_USUAL:
        usual = max(usual, float(np.median(z)))
    deviations = max(_FEWEST_DEVIATIONS, -float(special.ndtri(min(0.5, _EXPECTED_BY_CHANCE / max(1, n_pairs)))))
    least = known + _FEWEST_DEVIATIONS * _SPREAD_Z
    return math.tanh(usual), math.tanh(max(least, usual + deviations * spread))


def _draw_pairs(apart: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return some pairs, always the same, from which it is known what is usual."""
    return [apart[k] for k in np.random.default_rng(0).permutation(len(apart))[:_RANDOM_PAIRS]]


def _find_neighbours(
    scans: Sequence[_Scan], apart: Sequence[tuple[int, int]], step: Callable[[], None]
) -> set[tuple[int, int]]:
    """Return the pairs of nearest neighbours."""
    similar = _describe_all(scans, step)
    allowed = np.zeros(similar.shape, bool)
    for i, j in apart:
        allowed[i, j] = allowed[j, i] = True
    similar[~allowed] = -2.0
    nearest = np.argsort(-similar, axis=1)[:, :_NEIGHBOURS]
    return {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row if allowed[i, j]}


def _describe_all(scans: Sequence[_Scan], step: Callable[[], None]) -> np.ndarray:
    """Return how alike all scans are (n, n) on the grids of two of them, whichever shows a pair as more alike.

    The first is a scan of usual size, the second the one that is least like the first.
    """
    sizes = np.array([scan.coarse.GetSize() for scan in scans], float)
    first = int(np.abs(np.log(sizes / np.median(sizes, axis=0))).sum(axis=1).argmin())
    similar = _describe_on(scans[first].coarse, scans, step)
    second = int(similar[first].argmin())
    return np.maximum(similar, _describe_on(scans[second].coarse, scans, step))


def _describe_on(reference: sitk.Image, scans: Sequence[_Scan], step: Callable[[], None]) -> np.ndarray:
    """Return how alike all scans are (n, n) after registration to one of them."""
    rows, masks = [], []
    for scan in scans:
        values, inside = _resample_onto(reference, scan.coarse, _register(reference, scan.coarse))
        mean, variance = _local_moments(values, inside)
        standard = np.where(inside, (values - mean) / np.sqrt(variance + _LEAST_VARIANCE), 0.0)
        rows.append(standard.astype(np.float32).ravel())
        masks.append(inside.astype(np.float32).ravel())
        step()
    table, mask = np.stack(rows), np.stack(masks)
    energy = np.maximum(np.square(table) @ mask.T, 1e-6)
    return (table @ table.T) / np.sqrt(energy * energy.T)


def _shrink_all(cases: Sequence[PreparedCase]) -> list[_Scan]:
    extent_mm = np.median([float(np.prod(case.field_of_view_mm)) ** (1 / 3) for case in cases])
    voxels = float(np.median([len(case.image) for case in cases]))
    fine_mm = max(min(_FINE_MM, float(extent_mm) / _VOXELS_ACROSS), 0.9 * float(extent_mm) / voxels)
    return [_Scan(_shrink(case, fine_mm), _shrink(case, _COARSE_FACTOR * fine_mm)) for case in cases]


def _shrink(case: PreparedCase, spacing_mm: float) -> sitk.Image:
    """Return a scan on cubic voxels, its centre at the origin and its axes upright, values from -1 to 0.3."""
    hu = np.clip(hu_from_unit(case.image, case.window_hu), *_CLIP_HU)
    image = sitk.GetImageFromArray((hu / 1000.0).astype(np.float32))
    extent_mm, cube_mm = np.array(case.field_of_view_mm), np.array(case.geometry.spacing_mm)
    image.SetSpacing(cube_mm.tolist())
    image.SetOrigin((0.5 * (cube_mm - extent_mm)).tolist())
    image = sitk.SmoothingRecursiveGaussian(image, [0.4 * spacing_mm] * 3)
    size = np.maximum(4, np.rint(extent_mm / spacing_mm)).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetOrigin((-0.5 * (size - 1) * spacing_mm).tolist())
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)


def _compare(one: _Scan, other: _Scan, step: Callable[[], None]) -> float:
    """Return the mean correlation of neighbourhoods of two scans after registration, 0 where they hardly overlap."""
    values = _compare_registered(one.fine, other.fine, _register(one.coarse, other.coarse))
    step()
    return values


def _compare_registered(one: sitk.Image, other: sitk.Image, transform: sitk.Transform) -> float:
    first = sitk.GetArrayFromImage(one)
    second, inside = _resample_onto(one, other, transform)
    if inside.sum() < _LEAST_OVERLAP * min(first.size, other.GetNumberOfPixels()):
        return 0.0
    (mean_1, variance_1), (mean_2, variance_2) = (_local_moments(values, inside) for values in (first, second))
    weight = np.maximum(_smooth(inside), 1e-3)
    covariance = _smooth(np.where(inside, first * second, 0.0)) / weight - mean_1 * mean_2
    floor = 1e-4  # of the noise that is left
    correlation = covariance / np.sqrt(np.maximum(variance_1, floor) * np.maximum(variance_2, floor))
    shown = inside & ((variance_1 > _LEAST_VARIANCE) | (variance_2 > _LEAST_VARIANCE))
    return float(correlation[shown].mean()) if shown.any() else 0.0


def _smooth(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values.astype(np.float32), _WINDOW_VOXELS)


def _local_moments(values: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the neighbourhood of each voxel, of those inside alone."""
    weight = np.maximum(_smooth(inside), 1e-3)
    mean = _smooth(np.where(inside, values, 0.0)) / weight
    return mean, np.maximum(_smooth(np.where(inside, values * values, 0.0)) / weight - mean * mean, 0.0)


def _resample_onto(grid: sitk.Image, image: sitk.Image, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Return an image on another grid, and which voxels of that lie inside the image."""
    values = sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, -9.0))
    return values, values >= -1.01


def _register(fixed: sitk.Image, moving: sitk.Image) -> sitk.AffineTransform:
    """Return the affine transform from places of one scan to those of another, found by correlation."""
    transform = sitk.AffineTransform(3)
    transform.SetTranslation(_find_shift_mm(fixed, moving))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.05, 40, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    with contextlib.suppress(RuntimeError):  # the scans came apart: what is found so far is compared
        method.Execute(fixed, moving)
    return transform


def _find_shift_mm(fixed: sitk.Image, moving: sitk.Image) -> list[float]:
    """Return the shift (x, y, z) at which the overlap of two scans correlates best, of all shifts of whole voxels.

    The sums over each overlap are convolutions (Padfield, IEEE Trans. Image Process. 21(5), 2012).
    """
    one, two = sitk.GetArrayFromImage(fixed), sitk.GetArrayFromImage(moving)[::-1, ::-1, ::-1]
    one, two = one - one.mean(), two - two.mean()
    shape = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(one.shape, two.shape, strict=True)]
    f1, f2, q1, q2, m1, m2 = (
        fft.rfftn(values, shape) for values in (one, two, one**2, two**2, np.ones_like(one), np.ones_like(two))
    )
    sums = lambda spectrum: fft.irfftn(spectrum, shape)  # noqa: E731
    count = np.maximum(np.rint(sums(m1 * m2)), 1.0)
    sum_1, sum_2 = sums(f1 * m2), sums(m1 * f2)
    within_1, within_2 = sums(q1 * m2) - sum_1**2 / count, sums(m1 * q2) - sum_2**2 / count
    scale = np.sqrt(np.maximum(within_1, 0.0) * np.maximum(within_2, 0.0))
    valid = (count > 0.4 * min(one.size, two.size)) & (scale > 1e-3 * scale.max())
    correlation = np.where(valid, (sums(f1 * f2) - sum_1 * sum_2 / count) / np.maximum(scale, 1e-9), -1.0)
    best = np.unravel_index(int(correlation.argmax()), correlation.shape)
    shift = np.array(best) - (np.array(two.shape) - 1)
    between_mm = np.array(moving.GetOrigin()) - np.array(fixed.GetOrigin())
    return (between_mm - shift[::-1] * fixed.GetSpacing()[0]).tolist()
