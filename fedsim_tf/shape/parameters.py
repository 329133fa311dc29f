"""The parameters of a shape: how many there are, their ranges, and the frame in which lengths are measured.

A shape has K weights of the shape model's modes, then seven parameters of its pose: three rotations, three translations
and a log scale. This module does not import TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

N_POSE = 7  # three rotations (rad), three translations (mm), one log scale
WEIGHT_LIMIT = 3.0  # standard deviations
ROTATION_LIMIT_RAD = 1.2
TRANSLATION_LIMIT_MM = 50.0
LOG_SCALE_LIMIT = 0.7
FRAME_MM = 256.0  # edge of a cubic field of view as shapes see it, whatever its true size


def shape_frame_mm(field_of_view_mm: Sequence[float]) -> tuple[float, float, float]:
    """Return a field of view (x, y, z) as shapes see it: in its own proportions, but of the same size at every site.

    A latent's material fills whatever field of view it is rendered in, and its heart has to grow with it. In true
    millimetres, the heart of a latent that was learnt in a small field of view would be too small for the material
    around it in a large one. Sites that share the networks have fields of view of their own.
    """
    x, y, z = (mm * FRAME_MM / math.prod(field_of_view_mm) ** (1 / 3) for mm in field_of_view_mm)
    return x, y, z
