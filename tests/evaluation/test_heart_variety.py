"""How much hearts vary: balls and ellipsoids of known size, place and orientation."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fedsim_tf.evaluation.heart_variety import long_axis, measure_hearts, spread_of_axes

SPACING_MM = (1.5, 2.0, 2.5)
SHAPE = (48, 60, 80)
CENTRE_MM = np.array(SPACING_MM) * SHAPE[::-1] / 2


def ellipsoid(radii_mm, centre_mm=CENTRE_MM, rotation=None):
    places = [np.arange(edge) * mm for edge, mm in zip(SHAPE, SPACING_MM[::-1], strict=True)]
    z, y, x = np.meshgrid(*places, indexing="ij")
    points = np.stack([x, y, z], axis=-1) - centre_mm
    local = points @ (np.eye(3) if rotation is None else rotation.as_matrix())
    return np.sum(np.square(local / np.asarray(radii_mm)), axis=-1) < 1


def test_balls_have_their_volumes_and_places():
    radii, shifts = (20.0, 24.0, 30.0), ((0, 0, 0), (6, 0, 0), (0, -6, 9))
    found = measure_hearts(
        [ellipsoid([radius] * 3, CENTRE_MM + shift) for radius, shift in zip(radii, shifts, strict=True)], SPACING_MM
    )
    volumes_ml = 4 / 3 * np.pi * np.array(radii) ** 3 / 1000
    assert found.volume_ml == pytest.approx(volumes_ml.mean(), rel=0.01)
    assert found.volume_sd == pytest.approx(volumes_ml.std(ddof=1) / volumes_ml.mean(), rel=0.01)
    assert found.place_sd_mm == pytest.approx(np.sqrt(np.var(shifts, axis=0, ddof=1).sum()), rel=0.01)


def test_two_balls_overlap_as_a_lens():
    """V = pi (2r - d)^2 (d^2 + 4 d r) / (12 d) for two balls of radius r whose centres lie d apart."""
    r, d = 28.0, 16.0
    lens = np.pi * (2 * r - d) ** 2 * (d**2 + 4 * d * r) / (12 * d)
    found = measure_hearts([ellipsoid([r] * 3), ellipsoid([r] * 3, np.add(CENTRE_MM, (d, 0, 0)))], SPACING_MM)
    assert found.pair_dice == pytest.approx(100 * lens / (4 / 3 * np.pi * r**3), abs=0.5)
    assert found.volume_sd == pytest.approx(0.0, abs=0.01)


def test_dice_is_the_mean_over_pairs():
    one, other = ellipsoid([20.0] * 3), ellipsoid([10.0] * 3, np.add(CENTRE_MM, (40, 0, 0)))
    assert measure_hearts([one, one, other], SPACING_MM).pair_dice == pytest.approx(100 / 3)


def test_turned_ellipsoids_have_their_angles():
    """Two axes lie 15 degrees to either side of their mean, on which the third one lies."""
    turns = [Rotation.from_euler("z", angle, degrees=True) for angle in (-15, 0, 15)]
    found = measure_hearts([ellipsoid((45, 25, 22), rotation=turn) for turn in turns], SPACING_MM)
    assert found.axis_sd_degrees == pytest.approx(np.sqrt(2 * 15**2 / 2), abs=0.5)


def test_the_long_axis_is_in_millimetres_not_in_voxels():
    """This ellipsoid has more voxels along x, and is longer along z."""
    mask = ellipsoid((38, 20, 45))
    assert np.ptp(np.argwhere(mask), axis=0)[2] > np.ptp(np.argwhere(mask), axis=0)[0]
    points_mm = np.argwhere(mask)[:, ::-1] * np.array(SPACING_MM)
    assert np.abs(long_axis(points_mm)) == pytest.approx([0, 0, 1], abs=1e-3)


def test_axes_have_no_sign():
    axes = Rotation.from_rotvec([[0, angle, 0] for angle in (10, -10, 0)], degrees=True).apply([0, 0, 1.0])
    flipped = axes * np.array([[1], [-1], [-1]])
    assert spread_of_axes(axes) == pytest.approx(10.0)
    assert spread_of_axes(flipped) == pytest.approx(10.0)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hearts_do_not_vary(count):
    empty = np.zeros(SHAPE, bool)
    assert measure_hearts([empty] + [ellipsoid([20] * 3)] * count, SPACING_MM) is None


def test_empty_labels_are_left_out():
    hearts = [ellipsoid([20] * 3), ellipsoid([24] * 3)]
    assert measure_hearts([*hearts, np.zeros(SHAPE, bool)], SPACING_MM) == measure_hearts(hearts, SPACING_MM)
