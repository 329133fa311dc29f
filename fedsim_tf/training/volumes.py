"""Prepared volumes stacked as arrays: what the stages of one site learn from."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.data.cache import prepare_cohort
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.duplicates import keep_distinct
from fedsim_tf.data.preprocess import PreparedCase
from fedsim_tf.errors import InputError, raise_error
from fedsim_tf.localization.finder import HeartFinder, find_crops, make_finder
from fedsim_tf.progress import progress_bar
from fedsim_tf.training.plausibility import (
    warn_of_missing_regions,
    warn_of_odd_volumes,
    warn_of_other_extents,
    warn_of_other_regions,
    warn_of_unknown_spacing,
    warn_of_unreachable_hearts,
)


@dataclasses.dataclass(frozen=True, eq=False)
class _ImageStack:
    identities: tuple[str, ...]
    images: np.ndarray  # (n, z, y, x) float32, -1 to 1

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != len(self.identities):
            expected = f"(n, z, y, x) with one volume for each of {len(self.identities)} identities"
            raise InputError("images", found=f"shape {self.images.shape}", expected=expected)

    def __len__(self) -> int:
        return len(self.identities)


@dataclasses.dataclass(frozen=True, eq=False)
class UnlabelledVolumes(_ImageStack):
    """A stack of n unannotated volumes on the model's grid; its length is n.

    Raises:
      InputError: not one image (z, y, x) for each identity.
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Volumes(_ImageStack):
    """A stack of n annotated volumes on the model's grid; its length is n.

    Raises:
      InputError: not one image and one mask of its shape for each identity.
    """

    labels: np.ndarray  # (n, z, y, x) float32, heart 1, else 0
    regions: np.ndarray | None = None  # (n, z, y, x) uint8 region ids, where labels tell regions apart

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regions is not None and self.regions.shape != self.images.shape:
            raise InputError(
                "regions", found=f"shape {self.regions.shape}", expected=f"that of images, {self.images.shape}"
            )
        if self.labels.shape != self.images.shape:
            raise InputError(
                "labels", found=f"shape {self.labels.shape}", expected=f"that of images, {self.images.shape}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class SiteVolumes:
    """One site's fold: the parts that learning may see, and the parts that choose and score what was learnt.

    Attributes:
      name: the site's name.
      field_of_view_mm: the extent (x, y, z) of the site's volumes, the median over the training part.
      labelled, unlabelled: the annotated and the unannotated volumes of the training part.
      fully_labelled: the whole training part with annotations, for the upper bound and beside samples.
      validation, test: the parts that are held out.
      test_extents_mm: (n, 3), the field of view (x, y, z) of each test volume.
      in_files_mm: `field_of_view_mm` as the files have it, where another one was given.
      secret: a hospital's; who knows a run's seed alone cannot repeat this site's random choices.
      finder: finds the hearts that volumes are cropped around; None where the whole field of view is taken.

    Raises:
      InputError: not one extent for each test volume.
    """

    name: str
    field_of_view_mm: tuple[float, float, float]
    labelled: Volumes
    unlabelled: UnlabelledVolumes
    fully_labelled: Volumes
    validation: Volumes
    test: Volumes
    test_extents_mm: np.ndarray
    in_files_mm: tuple[float, ...] = ()
    secret: str = ""
    finder: HeartFinder | None = None

    def __post_init__(self) -> None:
        if self.test_extents_mm.shape != (len(self.test), 3):
            found = f"shape {self.test_extents_mm.shape}"
            raise InputError("test_extents_mm", found=found, expected=f"({len(self.test)}, 3), one row a test volume")

    @property
    def all_annotated(self) -> bool:
        """Whether every volume that files annotate may be learnt from with its annotation."""
        return set(self.labelled.identities) == set(self.fully_labelled.identities)

    @property
    def training_images(self) -> np.ndarray:
        """The images (n, z, y, x) of all that may be learnt from, annotated or not."""
        return np.concatenate([self.labelled.images, self.unlabelled.images])


def load_site(cohort: Cohort, config: Config, *, fold: int, n_labelled: int, cache_dir: str | None) -> SiteVolumes:
    """Split a cohort, prepare its volumes and stack them.

    Args:
      cohort: the site's data.
      config: the run's.
      fold: its number.
      n_labelled: how many volumes of the training part are used with their annotations.
      cache_dir: where prepared volumes are kept; None: nowhere.

    Raises:
      InputError: too few cases, or a damaged or inconsistent file (see `fedsim_tf.data`).
    """
    parts = cohort.fold(fold, seed=config.data.split_seed)
    chosen = parts.with_labels(n_labelled)
    wanted = [*chosen.labelled, *chosen.unlabelled, *parts.validation, *parts.test]
    finder = open_finder(cohort, chosen.labelled, config, cache_dir=cache_dir)
    prepared = {
        case.identity: case for case in prepare_cases(cohort, wanted, config, cache_dir=cache_dir, finder=finder)
    }
    take = lambda names: [prepared[name] for name in names]  # noqa: E731
    extents_mm = lambda names: np.array([case.field_of_view_mm for case in take(names)])  # noqa: E731
    in_files_mm = np.median(extents_mm(parts.train), axis=0)
    scale = scale_to_given(config, in_files_mm)
    typical_mm, test_mm = in_files_mm * scale, extents_mm(parts.test) * scale
    warn_of_implausible(cohort.name, take(wanted), take(chosen.labelled), config, in_files_mm=in_files_mm)
    stacked = lambda names: stack(take(names), by_region=config.model.by_region)  # noqa: E731
    return SiteVolumes(
        name=cohort.name,
        field_of_view_mm=tuple(typical_mm.tolist()),
        labelled=stacked(chosen.labelled),
        unlabelled=stack_images(take(chosen.unlabelled), config.model.size),
        fully_labelled=stacked(parts.train),
        validation=stacked(parts.validation),
        test=stacked(parts.test),
        test_extents_mm=test_mm,
        in_files_mm=tuple(in_files_mm.tolist()),
        finder=finder,
    )


def open_finder(
    cohort: Cohort, annotated: Sequence[str], config: Config, *, cache_dir: str | os.PathLike | None
) -> HeartFinder | None:
    """Return what finds the hearts of a cohort with some of its annotated scans; None where nothing is cropped.

    Raises:
      InputError: see `make_finder`.
    """
    if not config.data.crops:
        return None
    return make_finder(cohort, annotated, config.data.crop_mm, cache_dir=cache_dir)


def warn_of_implausible(
    site: str,
    cases: Sequence[PreparedCase],
    annotated: Sequence[PreparedCase],
    config: Config,
    *,
    in_files_mm: np.ndarray,
) -> None:
    """Warn of volumes that look like a slip, and of hearts that the method cannot reach.

    Args:
      site: its name.
      cases: its volumes; annotated: those whose hearts are looked at.
      config: the run's.
      in_files_mm: the usual extent (x, y, z) that their files say.
    """
    warn_of_other_extents(site, cases, in_files_mm.tolist())
    if not (config.data.field_of_view_mm or config.data.field_of_view_z_mm):
        warn_of_unknown_spacing(site, cases)
    hearts = {case.identity: case.label > 0 for case in annotated if case.label is not None}
    warn_of_odd_volumes(site, cases)
    warn_of_other_regions(site, cases)
    if config.model.by_region:
        warn_of_missing_regions(site, annotated)
    usual_mm = (in_files_mm * scale_to_given(config, in_files_mm)).tolist()
    warn_of_unreachable_hearts(site, list(hearts), list(hearts.values()), usual_mm)


def scale_to_given(config: Config, typical_mm: np.ndarray) -> np.ndarray:
    """Return the factors (x, y, z) that turn the files' typical extent into the one that the configuration gives."""
    across, along = config.data.field_of_view_mm, config.data.field_of_view_z_mm
    plane = across / typical_mm[0] if across else 1.0
    return np.array([plane, plane, along / typical_mm[2] if along else plane])


def prepare_cases(
    cohort: Cohort,
    identities: Sequence[str],
    config: Config,
    *,
    cache_dir: str | os.PathLike | None,
    finder: HeartFinder | None = None,
    refused: Callable[[InputError], None] | None = None,
) -> list[PreparedCase]:
    """Prepare cases as a run's configuration wants them and show the progress.

    Args:
      cohort: whose cases.
      identities: which ones.
      config: the run's.
      cache_dir: where prepared volumes are kept; None: nowhere.
      finder: finds the hearts that volumes are cropped around; None takes whole fields of view.
      refused: is called for each case that cannot be used; None: the first one is raised.

    Raises:
      InputError: a case cannot be used; see `data.prepare_cohort`.
    """
    crops = None
    if finder is not None:
        with progress_bar(len(identities), f"hearts of {cohort.name}") as bar:
            crops = find_crops(cohort, identities, finder, cache_dir=cache_dir, progress=bar.update, refused=refused)
        identities = list(crops)
    with progress_bar(len(identities), f"volumes of {cohort.name}") as bar:
        cases = prepare_cohort(
            cohort,
            identities,
            config.model.size,
            window_hu=config.data.window_hu,
            crops=crops,
            cache_dir=cache_dir,
            progress=lambda *_: bar.update(),
            refused=refused,
        )
    return keep_distinct(cohort, cases, refused=refused or raise_error)


def stack(cases: Sequence[PreparedCase], *, by_region: bool = False) -> Volumes:
    """Stack annotated cases: heart or not, and where asked for their region ids too.

    Raises:
      InputError: a case has no annotation.
    """
    labels = []
    for case in cases:
        if case.label is None:
            raise InputError(case.identity, found="no label", expected="an annotated case")
        if not case.label.any():  # any mask that is empty too would score 100
            raise InputError(case.identity, found="a label without a heart", expected="an annotated heart")
        labels.append(case.label)
    ids = np.stack(labels)
    return Volumes(
        tuple(case.identity for case in cases),
        np.stack([case.image for case in cases]).astype(np.float32),
        (ids > 0).astype(np.float32),
        ids.astype(np.uint8) if by_region else None,
    )


def join_volumes(parts: Sequence[Volumes]) -> Volumes:
    """Return several stacks of annotated volumes as one; it has regions if all of them have."""
    regions = [part.regions for part in parts if part.regions is not None]
    return Volumes(
        tuple(itertools.chain.from_iterable(part.identities for part in parts)),
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(regions) if len(regions) == len(parts) else None,
    )


def stack_images(cases: Sequence[PreparedCase], size: int) -> UnlabelledVolumes:
    """Stack cases without their annotations on a grid of `size`; there may be no case at all."""
    images = np.zeros((len(cases), size, size, size), np.float32)
    for image, case in zip(images, cases, strict=True):
        image[:] = case.image
    return UnlabelledVolumes(tuple(case.identity for case in cases), images)
