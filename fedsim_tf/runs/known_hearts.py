"""Shape models that were made from the patients on which a run is validated or tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedsim_tf.config import Config
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.errors import InputError, listed
from fedsim_tf.shape.ssm import StatisticalShapeModel


def check_held_out(config: Config, model: StatisticalShapeModel, cohort: Cohort, folds: Iterable[int]) -> None:
    """Refuse a shape model that knows hearts of the validation or test part: scores would be too good.

    Args:
      config: says how the cohort is divided, and whether such a model is taken all the same.
      model: the shape model.
      cohort: the patients of a site.
      folds: the folds that are run.

    Raises:
      InputError: names the patients.
    """
    if config.is_phantom or config.model.shape_model_of_held_out:
        return
    parts = [cohort.fold(fold, seed=config.data.split_seed) for fold in folds]
    held_out = sorted({scan for part in parts for scan in (*part.validation, *part.test)})
    known = find_known_hearts(model, cohort, held_out)
    if known:
        raise InputError(
            config.model.shape_model or "the shipped shape model",
            found=f"a shape model made from patients of {cohort.name} that validate or test: {listed(known)}",
            expected="a model of other patients, or model.shape_model_of_held_out",
        )


def find_known_hearts(model: StatisticalShapeModel, cohort: Cohort, scans: Sequence[str]) -> list[str]:
    """Return the scans whose hearts a shape model was made from.

    A model that knows the contents of its subjects' label files is compared by these, and an older one by names.
    """
    if model.subject_digests:
        digests = set(model.subject_digests)
        return [scan for scan in scans if cohort.label_digest(scan) in digests]
    names = {name.removesuffix("_label") for name in model.subjects}
    return [scan for scan in scans if scan in names]
