"""CT physics: cone-beam geometry, attenuation, Feldkamp reconstruction and the differentiable simulator."""

from fedsim_tf.ct import attenuation
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.ct.simulator import CTSimulator

__all__ = ["CTSimulator", "ConeBeamScanner", "attenuation", "cone_beam_geometry"]
