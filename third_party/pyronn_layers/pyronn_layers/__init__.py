"""The operators that PYRO-NN's layers call, for today's TensorFlow and with exact gradients."""

from pyronn_layers.operators import cone_backprojection3d, cone_projection3d, cone_projection3d_adjoint
from pyronn_layers.planar_operators import (
    fan_backprojection2d,
    fan_projection2d,
    fan_projection2d_adjoint,
    parallel_backprojection2d,
    parallel_projection2d,
    parallel_projection2d_adjoint,
)

__version__ = "0.4.0"
__all__ = [
    "cone_backprojection3d",
    "cone_projection3d",
    "cone_projection3d_adjoint",
    "fan_backprojection2d",
    "fan_projection2d",
    "fan_projection2d_adjoint",
    "parallel_backprojection2d",
    "parallel_projection2d",
    "parallel_projection2d_adjoint",
]
