from tests.evaluation.pictures_for_tests import titles  # noqa: F401
