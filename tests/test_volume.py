import dataclasses

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.volume import Geometry, Volume


def test_field_of_view_is_voxels_times_spacing_along_x_y_z():
    volume = Volume(np.zeros((2, 3, 4)), Geometry((0.5, 1.0, 3.0)))
    assert volume.field_of_view_mm == (2.0, 3.0, 6.0)
    assert volume.spacing_mm == (0.5, 1.0, 3.0)


def test_the_middle_lies_half_way_between_opposite_corners():
    turned = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # x of the grid runs along y of the patient
    volume = Volume(np.zeros((2, 3, 5)), Geometry((2.0, 1.0, 3.0), (10.0, 20.0, 30.0), turned))
    assert volume.middle_mm == (10.0 - 1.0, 20.0 + 4.0, 30.0 + 1.5)


@pytest.mark.parametrize("shape", [(4,), (4, 4), (1, 4, 4, 4)])
def test_arrays_that_are_not_three_dimensional_are_refused(shape):
    with pytest.raises(InputError, match="three dimensions"):
        Volume(np.zeros(shape), Geometry((1.0, 1.0, 1.0)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, np.nan, 1.0), (np.inf, 1, 1)])
def test_spacings_that_are_not_positive_lengths_are_refused(spacing):
    with pytest.raises(InputError, match="positive lengths"):
        Volume(np.zeros((2, 2, 2)), Geometry(spacing))


@pytest.mark.parametrize("direction", [(1.0,) * 9, (1.0, 0, 0, 0, 1, 0), (2.0, 0, 0, 0, 1, 0, 0, 0, 1), (np.nan,) * 9])
def test_directions_that_are_not_orthonormal_are_refused(direction):
    with pytest.raises(InputError, match="orthonormal"):
        Volume(np.zeros((2, 2, 2)), Geometry((1.0, 1.0, 1.0), direction=direction))


def test_left_handed_directions_are_allowed():
    Volume(np.zeros((2, 2, 2)), Geometry((1.0, 1.0, 1.0), direction=(-1.0, 0, 0, 0, 1, 0, 0, 0, 1)))


def test_with_array_keeps_the_place_and_refuses_another_shape():
    volume = Volume(np.zeros((2, 3, 4)), Geometry((0.5, 1.0, 3.0), (1.0, 2.0, 3.0)))
    replaced = volume.with_array(np.ones((2, 3, 4)))
    assert replaced.geometry == volume.geometry
    assert replaced.array.sum() == 24
    with pytest.raises(InputError, match=r"shape \(4, 3, 2\)"):
        volume.with_array(np.ones((4, 3, 2)))


def test_volumes_cannot_be_moved():
    volume = Volume(np.zeros((2, 3, 4)), Geometry((0.5, 1.0, 3.0)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        volume.geometry = Geometry((1.0, 1.0, 1.0))
