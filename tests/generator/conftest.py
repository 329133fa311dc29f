import pytest

from tests.generator.toy_generator import write_toy_generator
from tests.runs.conftest import _fast, titles  # noqa: F401


@pytest.fixture(scope="module")
def folder(tmp_path_factory, _fast):  # noqa: F811
    """A toy generator's folder. Tests do not change it."""
    path = tmp_path_factory.mktemp("generator") / "ours_full"
    write_toy_generator(path)
    return path
