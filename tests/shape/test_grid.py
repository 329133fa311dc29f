import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.shape.grid import Grid


def test_centred_grid_fills_its_field_of_view():
    grid = Grid.centred((10, 20, 40), (80.0, 60.0, 50.0))
    assert grid.spacing_mm == (2.0, 3.0, 5.0)
    np.testing.assert_allclose(grid.voxel_coordinates(np.array([-40.0, -30.0, -25.0])), -0.5)
    np.testing.assert_allclose(grid.voxel_coordinates(np.zeros(3)), [19.5, 9.5, 4.5])


@pytest.mark.parametrize(
    ("shape", "spacing", "origin", "name"),
    [
        ((0, 1, 1), (1, 1, 1), (0, 0, 0), "shape"),
        ((1, 1, 1), (1, -1, 1), (0, 0, 0), "spacing_mm"),
        ((1, 1, 1), (1, 1, 1), (0, np.nan, 0), "origin_mm"),
    ],
)
def test_impossible_grids_are_refused(shape, spacing, origin, name):
    with pytest.raises(InputError, match=name):
        Grid(shape, spacing, origin)
