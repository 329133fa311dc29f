"""pyronn's geometry and operators. Only this module imports pyronn, and the other modules of ct take it from here."""

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):  # pyronn prints a greeting, and commands print their results there
    from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
    from pyronn.ct_reconstruction.helpers.trajectories.circular_trajectory import circular_trajectory_3d
    from pyronn.ct_reconstruction.layers.backprojection_3d import cone_backprojection3d
    from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

__all__ = ["GeometryCone3D", "circular_trajectory_3d", "cone_backprojection3d", "cone_projection3d"]
