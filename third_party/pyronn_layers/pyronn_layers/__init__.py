"""The cone-beam operators that PYRO-NN 0.1.0 calls, for today's TensorFlow and with exact gradients."""

from pyronn_layers.operators import cone_backprojection3d, cone_projection3d, cone_projection3d_adjoint

__version__ = "0.3.0"
__all__ = ["cone_backprojection3d", "cone_projection3d", "cone_projection3d_adjoint"]


def __getattr__(name: str):
    if name.endswith(("projection2d", "projection3d")):
        raise NotImplementedError(f"pyronn_layers has no {name}; it has {', '.join(__all__)}")
    raise AttributeError(f"module 'pyronn_layers' has no attribute {name!r}")
