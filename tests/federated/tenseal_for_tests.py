"""TenSEAL, where it is installed."""

import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.tenseal_library import import_tenseal


def need_tenseal() -> None:
    """Skip the module that calls this where there is no TenSEAL.

    `pytest.importorskip` would load it as Python does, and that copy crashes beside TensorFlow 2.21.
    """
    try:
        import_tenseal()
    except InputError as error:
        pytest.skip(str(error), allow_module_level=True)
