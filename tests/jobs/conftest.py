import pytest
import tensorflow as tf

from tests.evaluation.pictures_for_tests import titles  # noqa: F401


@pytest.fixture(scope="package", autouse=True)
def _eager():
    """Runs of a few steps are several times faster untraced; tests of training trace the same steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
