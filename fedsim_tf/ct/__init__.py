"""CT physics: cone-beam geometry, attenuation, Feldkamp reconstruction and the differentiable simulator."""

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):  # pyronn greets on standard output, where commands print results
    import pyronn  # noqa: F401

from fedsim_tf import float32  # noqa: F401 (before anything computes)
from fedsim_tf.ct import attenuation
from fedsim_tf.ct.atlas import FixedAtlas, render
from fedsim_tf.ct.effects import ScanEffects
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.ct.simulator import CTSimulator

__all__ = ["CTSimulator", "ConeBeamScanner", "FixedAtlas", "ScanEffects", "attenuation", "cone_beam_geometry", "render"]
