"""Prepared volumes stacked as arrays: what the stages of one site learn from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.data.cache import prepare_cohort
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.preprocess import PreparedCase
from fedsim_tf.errors import InputError
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.plausibility import (
    warn_of_other_extents,
    warn_of_unknown_spacing,
    warn_of_unreachable_hearts,
)


class Volumes(NamedTuple):
    """A stack of n annotated volumes on the model's grid."""

    identities: tuple[str, ...]
    images: np.ndarray  # (n, z, y, x) float32, -1 to 1
    labels: np.ndarray  # (n, z, y, x) float32, heart 1, else 0

    def __len__(self) -> int:
        return len(self.identities)


class UnlabelledVolumes(NamedTuple):
    """A stack of n volumes without annotations."""

    identities: tuple[str, ...]
    images: np.ndarray  # (n, z, y, x) float32, -1 to 1

    def __len__(self) -> int:
        return len(self.identities)


class SiteVolumes(NamedTuple):
    """One site's fold: the parts that learning may see, and the parts that it is judged on."""

    name: str
    field_of_view_mm: tuple[float, float, float]  # (x, y, z), median over the training part
    labelled: Volumes
    unlabelled: UnlabelledVolumes
    fully_labelled: Volumes  # the annotated training part: for the upper bound, and beside samples
    validation: Volumes
    test: Volumes
    test_extents_mm: np.ndarray  # (n, 3), the field of view (x, y, z) of each test volume
    in_files_mm: tuple[float, ...] = ()  # `field_of_view_mm` as files have it, where they are not believed
    secret: str = ""  # of a hospital: whoever knows a run's seed cannot repeat this site's random choices

    @property
    def training_images(self) -> np.ndarray:
        """(n, z, y, x) of all that may be learnt from, annotated or not."""
        return np.concatenate([self.labelled.images, self.unlabelled.images])


def load_site(cohort: Cohort, config: Config, *, fold: int, n_labelled: int, cache_dir: str | None) -> SiteVolumes:
    """Splits a cohort, prepares its volumes and stacks them.

    Raises:
      InputError: too few cases, a damaged or inconsistent file (see `fedsim_tf.data`).
    """
    parts = cohort.fold(fold, seed=config.data.split_seed)
    chosen = parts.with_labels(n_labelled)
    wanted = [*chosen.labelled, *chosen.unlabelled, *parts.validation, *parts.test]
    prepared = {case.identity: case for case in prepare_cases(cohort, wanted, config, cache_dir=cache_dir)}
    take = lambda names: [prepared[name] for name in names]  # noqa: E731
    extents_mm = lambda names: np.array([case.field_of_view_mm for case in take(names)])  # noqa: E731
    in_files_mm = np.median(extents_mm(parts.train), axis=0)
    scale = given_scale(config, in_files_mm)
    typical_mm, test_mm = in_files_mm * scale, extents_mm(parts.test) * scale
    warn_of_implausible(cohort.name, take(wanted), take(chosen.labelled), config, in_files_mm=in_files_mm)
    return SiteVolumes(
        name=cohort.name,
        field_of_view_mm=tuple(typical_mm.tolist()),
        labelled=stack(take(chosen.labelled)),
        unlabelled=stack_images(take(chosen.unlabelled), config.model.size),
        fully_labelled=stack(take(parts.train)),
        validation=stack(take(parts.validation)),
        test=stack(take(parts.test)),
        test_extents_mm=test_mm,
        in_files_mm=tuple(in_files_mm.tolist()),
    )


def warn_of_implausible(
    site: str,
    cases: Sequence[PreparedCase],
    annotated: Sequence[PreparedCase],
    config: Config,
    *,
    in_files_mm: np.ndarray,
) -> None:
    """Says in the log what of a site's volumes looks like a slip, and which hearts the method cannot reach.

    Args:
      site: its name.
      cases: its volumes; annotated: those whose hearts are looked at.
      config: of the run.
      in_files_mm: the usual extent (x, y, z) that their files say.
    """
    warn_of_other_extents(site, cases, in_files_mm.tolist())
    if not (config.data.field_of_view_mm or config.data.field_of_view_z_mm):
        warn_of_unknown_spacing(site, cases)
    hearts = {case.identity: case.label > 0 for case in annotated if case.label is not None}
    usual_mm = (in_files_mm * given_scale(config, in_files_mm)).tolist()
    warn_of_unreachable_hearts(site, list(hearts), list(hearts.values()), usual_mm)


def given_scale(config: Config, typical_mm: np.ndarray) -> np.ndarray:
    """What extents (x, y, z) in the files have to be multiplied with to be those that were given."""
    across, along = config.data.field_of_view_mm, config.data.field_of_view_z_mm
    plane = across / typical_mm[0] if across else 1.0
    return np.array([plane, plane, along / typical_mm[2] if along else plane])


def prepare_cases(
    cohort: Cohort,
    identities: Sequence[str],
    config: Config,
    *,
    cache_dir: str | os.PathLike | None,
    refused: Callable[[InputError], None] | None = None,
) -> list[PreparedCase]:
    """These cases as a run's configuration wants them, with progress; see `data.prepare_cohort`."""
    with progress_bar(len(identities), f"volumes of {cohort.name}") as bar:
        return prepare_cohort(
            cohort,
            identities,
            config.model.size,
            window_hu=config.data.window_hu,
            cache_dir=cache_dir,
            progress=lambda *_: bar.update(),
            refused=refused,
        )


def stack(cases: Sequence[PreparedCase]) -> Volumes:
    """Stacks annotated cases; labels become heart or not.

    Raises:
      InputError: a case without annotation.
    """
    labels = []
    for case in cases:
        if case.label is None:
            raise InputError(case.identity, found="no label", expected="an annotated case")
        labels.append(case.label > 0)
    return Volumes(
        tuple(case.identity for case in cases),
        np.stack([case.image for case in cases]).astype(np.float32),
        np.stack(labels).astype(np.float32),
    )


def stack_images(cases: Sequence[PreparedCase], size: int) -> UnlabelledVolumes:
    """Stacks cases without their annotations; there may be none."""
    images = np.zeros((len(cases), size, size, size), np.float32)
    for image, case in zip(images, cases, strict=True):
        image[:] = case.image
    return UnlabelledVolumes(tuple(case.identity for case in cases), images)
