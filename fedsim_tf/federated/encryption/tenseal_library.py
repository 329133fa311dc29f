"""TenSEAL, which is optional, loaded such that it works beside TensorFlow."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from fedsim_tf.errors import InputError

# Both TensorFlow and TenSEAL bring protocol buffers of their own, of different versions. In a process that has loaded
# TensorFlow 2.21 TenSEAL would call TensorFlow's and crash while it writes a context; so it looks at its own first.
_OWN_SYMBOLS_FIRST = getattr(os, "RTLD_DEEPBIND", 0)


@functools.cache
def import_tenseal() -> ModuleType:
    """Return the module `tenseal`.

    Raises:
      InputError: it is not installed; says how to install it.
    """
    if importlib.util.find_spec("tenseal") is None:
        raise InputError("TenSEAL", found="no tenseal", expected="pip install 'fedsim-tf[encryption]'")
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | _OWN_SYMBOLS_FIRST)
    try:
        return importlib.import_module("tenseal")
    finally:
        sys.setdlopenflags(before)
