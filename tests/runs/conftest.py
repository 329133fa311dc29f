import pytest
import tensorflow as tf

from tests.evaluation.pictures_for_tests import titles  # noqa: F401
from tests.runs.toy_networks import use_small_parts


@pytest.fixture(scope="module", autouse=True)
def _fast():
    """Small networks, and no traces: for a few steps they take longer than the steps."""
    tf.config.run_functions_eagerly(True)
    with pytest.MonkeyPatch.context() as patch:
        use_small_parts(patch)
        yield
    tf.config.run_functions_eagerly(False)
