from tests.evaluation.pictures_for_tests import legends, titles  # noqa: F401
