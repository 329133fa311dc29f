import numpy as np
import pytest
import SimpleITK as sitk
from sklearn.metrics import f1_score, jaccard_score

from fedsim_tf.errors import InputError
from fedsim_tf.metrics import Agreement, annotated_regions, compare_masks, compare_regions, dice, iou, region_dice


def test_agree_with_scikit_learn(rng):
    found, truth = rng.random((2, 9, 8, 7)) > 0.6
    assert dice(found, truth) == pytest.approx(100 * f1_score(truth.ravel(), found.ravel()))
    assert iou(found, truth) == pytest.approx(100 * jaccard_score(truth.ravel(), found.ravel()))


def ball(centre, radius, shape=(40, 44, 48), spacing=(1.5, 1.0, 2.0)):
    """A ball in mm (z, y, x) around a centre, on a grid with spacing (z, y, x)."""
    axes = np.meshgrid(*[np.arange(n) * step for n, step in zip(shape, spacing, strict=True)], indexing="ij")
    return sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2


def test_surface_distances_of_concentric_balls_are_the_difference_of_their_radii():
    grid = {"shape": (88, 88, 88), "spacing": (0.5, 0.5, 0.5)}
    small, large = ball((22.0, 22.0, 22.0), 12.0, **grid), ball((22.0, 22.0, 22.0), 16.0, **grid)
    found = compare_masks(small, large, (0.5, 0.5, 0.5))
    assert found.surface_mm == pytest.approx(4.0, abs=0.3)
    assert found.hd95_mm == pytest.approx(4.0, abs=0.3)
    assert found.volume_error == pytest.approx(100 * (1 - (12 / 16) ** 3), abs=1.0)


def test_surface_distances_of_shifted_slabs_are_the_shift_in_mm():
    """Slabs through the whole volume: 3 voxels of 2.5 mm apart, both faces alike."""
    first, second = np.zeros((2, 30, 12, 12))
    first[5:15], second[8:18] = 1, 1
    found = compare_masks(first, second, (1.0, 1.0, 2.5))
    assert found.hd95_mm == pytest.approx(7.5)
    assert found.volume_error == 0.0


def test_surface_distances_agree_with_simpleitk():
    """Its Hausdorff distance is between all voxels of the masks, whose largest distance lies at the surface."""
    first, second = ball((28.0, 20.0, 45.0), 13.0), ball((31.0, 23.0, 49.0), 14.5)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)]
    for image in images:
        image.SetSpacing((2.0, 1.0, 1.5))
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    found = compare_masks(first, second, (2.0, 1.0, 1.5))
    assert 0.5 * hausdorff.GetHausdorffDistance() < found.hd95_mm <= hausdorff.GetHausdorffDistance() + 0.5
    assert 0 < found.surface_mm < found.hd95_mm


def test_a_perfect_mask_is_perfect():
    mask = ball((30.0, 22.0, 48.0), 12.0)
    assert compare_masks(mask, mask, (2.0, 1.0, 1.5)) == Agreement(100.0, 100.0, 0.0, 0.0, 0.0)


def test_missing_hearts_cost_the_volumes_diagonal():
    nothing, something = np.zeros((4, 4, 4)), np.ones((4, 4, 4))
    diagonal = pytest.approx(np.sqrt(8.0**2 + 4.0**2 + 4.0**2))
    assert compare_masks(nothing, nothing, (1, 1, 2)) == Agreement(100.0, 100.0, 0.0, 0.0, 0.0)
    assert compare_masks(nothing, something, (1, 1, 2)) == Agreement(0.0, 0.0, diagonal, diagonal, 100.0)
    assert compare_masks(something, nothing, (1, 1, 2)) == Agreement(0.0, 0.0, diagonal, diagonal, 100.0)


def test_empty_masks():
    nothing, something = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    assert dice(nothing, nothing) == iou(nothing, nothing) == 100.0
    assert dice(something, nothing) == iou(nothing, something) == 0.0


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"found shape \(1, 2, 2\); expected shape \(2, 2, 2\)"):
        dice(np.zeros((1, 2, 2)), np.zeros((2, 2, 2)))


def test_regions_agree_with_scikit_learn(rng):
    found, truth = rng.integers(0, 5, (2, 9, 8, 7)).astype(np.uint8)
    expected = 100 * f1_score(truth.ravel(), found.ravel(), labels=[1, 2, 3, 4], average=None)
    given = {"regions": (1, 2, 3, 4)}
    assert list(region_dice(found, truth, **given).values()) == pytest.approx(list(expected))
    for region, one in compare_regions(found, truth, (2.0, 1.0, 1.5), **given).items():
        assert one == compare_masks(found == region, truth == region, (2.0, 1.0, 1.5))


def test_a_region_that_neither_has_is_left_out_and_one_that_only_one_has_counts_as_missed():
    truth, found = np.zeros((2, 4, 4, 4), np.uint8)
    truth[:2], found[:2] = 1, 1
    truth[3, 0], found[3, 3] = 2, 3
    each = compare_regions(found, truth, (1, 1, 2), regions=(1, 2, 3, 4))
    diagonal = pytest.approx(np.sqrt(8.0**2 + 4.0**2 + 4.0**2))
    missed = Agreement(0.0, 0.0, diagonal, diagonal, 100.0)
    assert each == {1: Agreement(100.0, 100.0, 0.0, 0.0, 0.0), 2: missed, 3: missed}
    assert region_dice(found, truth, regions=(1, 2, 3, 4)) == {1: 100.0, 2: 0.0, 3: 0.0}


def test_regions_that_no_true_label_has_are_not_annotated():
    """A heart as a whole is region 1 in files; it does not make region 1 one that is told apart."""
    assert annotated_regions(np.array([[0, 5, 5], [2, 0, 0], [1, 1, 0]], np.uint8)) == (2, 5)
