from tests.runs.conftest import _fast, titles  # noqa: F401
