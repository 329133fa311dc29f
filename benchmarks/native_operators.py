"""The four cone-beam operators, called by name on a scanner's geometry."""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.ct.scanner import ConeBeamScanner
from pyronn_layers.geometry import read_geometry
from pyronn_layers.operators import _apply
from pyronn_layers.values import TAKE_VOLUMES

OPERATORS = ("projection", "projection_adjoint", "backprojection", "backprojection_adjoint")


def apply(scanner: ConeBeamScanner, operator: str, values: tf.Tensor, **how: str) -> tf.Tensor:
    g = scanner.geometry
    shape = scanner.range_shape if operator in TAKE_VOLUMES else scanner.domain_shape
    given = read_geometry(g.volume_origin, g.volume_spacing, g.projection_matrices, g.projection_multiplier)
    return _apply(operator, values, "shape", shape, given, **how)
