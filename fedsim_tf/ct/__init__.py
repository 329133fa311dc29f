"""CT physics: cone-beam geometry, attenuation, Feldkamp reconstruction and the differentiable simulator."""

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):  # pyronn greets on standard output, where commands print results
    import pyronn  # noqa: F401

from fedsim_tf import float32  # noqa: F401 (before anything computes)
