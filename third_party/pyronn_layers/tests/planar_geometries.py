"""Parallel- and fan-beam geometries for tests, and what their rays are by PYRO-NN's definition."""

import numpy as np
import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_fan_2d import GeometryFan2D
from pyronn.ct_reconstruction.geometry.geometry_parallel_2d import GeometryParallel2D
from pyronn.ct_reconstruction.helpers.trajectories.circular_trajectory import circular_trajectory_2d

from pyronn_layers.planar_geometry import read_planar_geometry
from pyronn_layers.planar_operators import _apply
from pyronn_layers.values import TAKE_VOLUMES

TRANSPOSES = {"projection": "projection_adjoint", "backprojection": "backprojection_adjoint"}
BEAMS = ("parallel", "fan")
DISTANCES = (90.0, 60.0)  # of the source to the detector and to the axis
# Rays along the axes and the diagonals, close to both, and between.
ODD_ANGLES = (0, 1e-7, 1, 44.9999, 45, 45.0001, 77.7, 90, 135, 180, 225, 270, 299.3, 315, 359.99999)


def scan(
    beam,
    shape=(14, 17),
    spacing=(1.0, 1.0),
    columns=35,
    pixel=None,
    views=7,
    arc=2 * np.pi,
    angles=None,
    distances=DISTANCES,
    origin=None,
    detector_origin=None,
):
    """pyronn's geometry; lengths along (y, x) in mm, angles of the central rays in degrees."""
    views = len(angles) if angles is not None else views
    pixel = pixel or (1.0 if beam == "parallel" else 1.6)
    given = (list(shape), list(spacing), columns, pixel, views, arc)
    made = GeometryParallel2D(*given) if beam == "parallel" else GeometryFan2D(*given, *distances)
    if origin is not None:
        made.volume_origin = np.array(origin, np.float32)
    if detector_origin is not None:
        made.detector_origin = np.array([detector_origin], np.float32)
    turned = np.deg2rad(angles) if angles is not None else None
    rays = circular_trajectory_2d(made) if turned is None else np.stack([np.cos(turned), np.sin(turned)], -1)
    made.set_trajectory(rays)
    return made


def beam_of(made):
    return "fan" if isinstance(made, GeometryFan2D) else "parallel"


GEOMETRIES = {
    "plain": {},
    "all angles": {"angles": ODD_ANGLES},
    "anisotropic": {"spacing": (0.7, 1.9)},
    "longer than a vector": {"shape": (41, 52), "columns": 90, "spacing": (0.8, 0.6)},
    "off centre": {"origin": (-3.0, -12.0), "detector_origin": -20.0},
    "truncating": {"columns": 9},
    "coarse columns": {"columns": 6, "pixel": 6.0},
    "fine columns": {"shape": (5, 4), "spacing": (3.0, 4.0), "columns": 100, "pixel": 0.5},
    "one row": {"shape": (1, 9)},
    "one pixel": {"shape": (1, 1), "spacing": (9.0, 8.0)},
}


def arguments(made):
    """A geometry as the operators' keywords."""
    names = ["volume_origin", "detector_origin", "volume_spacing", "detector_spacing"]
    given = {name: getattr(made, name) for name in names}
    if beam_of(made) == "parallel":
        return given | {"ray_vectors": made.ray_vectors}
    distances = {
        "source_2_isocenter_distance": made.source_isocenter_distance,
        "source_2_detector_distance": made.source_detector_distance,
    }
    return given | distances | {"central_ray_vectors": made.central_ray_vectors}


def apply(operator, values, made, **attributes):
    """One of the four operators, with an instruction set."""
    shape = made.sinogram_shape if operator in TAKE_VOLUMES else made.volume_shape
    *lengths, rays = arguments(made).values()
    geometry = read_planar_geometry(beam_of(made), *lengths[:4], rays, tuple(lengths[4:]) or (0.0, 0.0))
    return _apply(operator, tf.constant(values, tf.float32), "shape", shape.tolist(), geometry, **attributes)


def rays(made):
    """A point and the unit direction (x, y) of each ray, (views, columns, 2), in mm."""
    central = np.asarray(arguments(made).popitem()[1], np.float64)
    u = made.detector_origin[0] + made.detector_spacing[0] * np.arange(made.detector_shape[0], dtype=np.float64)
    along = np.stack([-central[:, 1], central[:, 0]], -1)[:, None] * u[:, None]
    central = central[:, None]
    if beam_of(made) == "parallel":
        return along, np.broadcast_to(central, along.shape)
    direction = central * made.source_detector_distance + along
    source = np.broadcast_to(-made.source_isocenter_distance * central, along.shape)
    return source, direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def pixel_centres(made):
    """x and y in mm of every pixel."""
    axes = zip(made.volume_origin, made.volume_spacing, made.volume_shape, strict=True)
    y, x = np.meshgrid(*[float(o) + float(s) * np.arange(n) for o, s, n in axes], indexing="ij")
    return x, y
