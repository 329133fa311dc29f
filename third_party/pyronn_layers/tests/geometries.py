"""Geometries for tests, and operators with their private attributes."""

import numpy as np
import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
from pyronn.ct_reconstruction.helpers.trajectories.circular_trajectory import circular_trajectory_3d

from pyronn_layers.geometry import read_geometry
from pyronn_layers.operators import _apply
from pyronn_layers.values import TAKE_VOLUMES

TRANSPOSES = {"projection": "projection_adjoint", "backprojection": "backprojection_adjoint"}


def cone(
    shape=(8, 9, 10),
    spacing=(5.0, 4.0, 3.0),
    detector=(14, 17),
    pixel=(6.0, 5.0),
    views=7,
    arc=2 * np.pi,
    distances=(600.0, 400.0),
    origin=None,
):
    """pyronn's geometry; everything along (z, y, x); distances of the source to the detector and to the axis."""
    made = GeometryCone3D(list(shape), list(spacing), list(detector), list(pixel), views, arc, *distances)
    if origin is not None:
        made.volume_origin = np.array(origin, np.float32)
    made.set_trajectory(circular_trajectory_3d(made))
    return made


def tilted(made, degrees=20.0):
    """The same with the volume turned about x, so that no detector column is parallel to z."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    made.set_trajectory(made.projection_matrices.astype(np.float64) @ turn)
    return made


GEOMETRIES = {
    "plain": lambda: cone(),
    "one voxel across": lambda: cone(shape=(1, 5, 3)),
    "half circle, off centre": lambda: cone(arc=np.pi, origin=(-30.0, -10.0, -5.0)),
    "tall detector": lambda: cone(shape=(13, 6, 6), spacing=(2.0, 6.0, 6.0), detector=(31, 8)),
    "longer than a vector": lambda: cone((33, 30, 29), (2.0, 2.0, 2.2), (61, 50), (2.0, 2.5), 11),
    "fine rows": lambda: cone((20, 20, 20), (4.0, 4.0, 4.0), (150, 40), (0.9, 4.0), 5),
    "coarse rows": lambda: cone((64, 20, 20), (1.0, 4.0, 4.0), (12, 40), (12.0, 4.0), 5),
    "upside down": lambda: flipped(cone()),
    "tilted": lambda: tilted(cone((12, 11, 10), (4.0, 4.0, 4.0), (30, 28), (3.0, 3.0), 5)),
    "mainly along z": lambda: tilted(cone((12, 11, 10), (4.0, 4.0, 4.0), (30, 28), (3.0, 3.0), 5), 80.0),
}


def flipped(made):
    """The same with rows counted from the other end."""
    matrices = made.projection_matrices.copy()
    matrices[:, 1] = made.detector_shape[0] * matrices[:, 2] - matrices[:, 1]
    made.set_trajectory(-2.0 * matrices)  # matrices are given up to a factor
    return made


def arguments(made):
    """A geometry as the operators' keywords."""
    names = ("volume_origin", "volume_spacing", "projection_matrices", "projection_multiplier")
    return {name: getattr(made, name) for name in names}


def apply(operator, values, made, **attributes):
    """One of the four operators, with a path and an instruction set."""
    shape = made.sinogram_shape if operator in TAKE_VOLUMES else made.volume_shape
    geometry = read_geometry(**{name.split("_", 1)[1]: value for name, value in arguments(made).items()})
    return _apply(operator, tf.constant(values, tf.float32), "shape", shape.tolist(), geometry, **attributes)
