"""The start of building a shape model: label maps or shapes, opened and checked without TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from fedsim_tf.data.cohorts import Cohort, find_cohort
from fedsim_tf.data.label_files import find_label_files, read_label_map
from fedsim_tf.data.labels import make_scheme
from fedsim_tf.errors import InputError
from fedsim_tf.phantom.hearts import model_hearts
from fedsim_tf.progress import progress_bar
from fedsim_tf.regions import REGION_IDS
from fedsim_tf.shape.label_surfaces import LabelSurface, label_surface
from fedsim_tf.shape.mesh_folders import read_corresponding
from fedsim_tf.shape.registration import RegistrationOptions
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.vtk_files import need_vtk
from fedsim_tf.volume import Volume

_SECONDS_PER_SUBJECT = 12.0  # measured for the registration at 4,000 points on two cores
_THREADS = 2


class LabelSource(NamedTuple):
    """The label map of one subject.

    Attributes:
      load: returns the label map.
      files: the files that it is read from.
    """

    load: Callable[[], Volume]
    files: tuple[pathlib.Path, ...]


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """A model to build, and where it goes.

    Attributes:
      out: the model's .npz file.
      modes: number of modes of the model.
      report: folder for the report, the corresponding shapes, meshes, and the state from which a stopped run resumes.
      regions: the labels; empty for all seven, or for the heart as a whole where the first subject has nothing else.
      options: settings of the registration.
      specificity_samples: number of random shapes that measure specificity.

    Raises:
      InputError: another ending than .npz, or no vtk, with which the report's meshes are written.
    """

    out: pathlib.Path
    modes: int
    report: pathlib.Path
    regions: tuple[int, ...] = ()
    options: RegistrationOptions = dataclasses.field(default_factory=RegistrationOptions)
    specificity_samples: int = 500

    def __post_init__(self):
        if self.out.suffix != ".npz":
            raise InputError("out", value=self.out, must="be a file that ends in .npz")
        need_vtk()  # now, and not after an hour of registration


@dataclasses.dataclass(frozen=True, eq=False)
class LabelsStart:
    """Label maps to build a model from. `open_labels` makes it.

    Attributes:
      plan: the model to build.
      sources: the label maps by subject.
      surfaces: the surfaces of each label map's regions.
    """

    plan: BuildPlan
    sources: Mapping[str, LabelSource]
    surfaces: Sequence[LabelSurface]


@dataclasses.dataclass(frozen=True, eq=False)
class ShapesStart:
    """Shapes in correspondence to build a model from. `open_shapes` makes it.

    Attributes:
      plan: the model to build.
      shapes: the shapes.
    """

    plan: BuildPlan
    shapes: CorrespondingShapes


def open_labels(
    plan: BuildPlan,
    labels: str | os.PathLike,
    dataset: str | None = None,
    *,
    fold: int | None = None,
    split_seed: int = 0,
    label_values: str = "",
) -> LabelsStart:
    """Read label maps and make their surfaces, and refuse those that no model can be built from.

    Args:
      plan: the model to build.
      labels, dataset, fold, split_seed, label_values: see `find_subjects`.

    Raises:
      InputError: no such folder or files, a fold without a data set, too many modes, or a label map that cannot be
        used.
    """
    sources = find_subjects(labels, dataset, fold=fold, split_seed=split_seed, label_values=label_values)
    check_modes(plan.modes, len(sources))
    return LabelsStart(plan, sources, _read_surfaces(sources, plan.regions))


def open_shapes(plan: BuildPlan, path: str | os.PathLike) -> ShapesStart:
    """Read shapes in correspondence, and refuse those that no model can be built from.

    Args:
      plan: the model to build.
      path: an .npz file, a folder of meshes, or "phantom" for the phantom's hearts.

    Raises:
      InputError: no such file or folder, shapes that are not in correspondence, too many modes, or a model that would
        be written over its shapes.
    """
    if pathlib.Path(path).resolve() == plan.out.resolve():
        raise InputError("out", value=plan.out, must="be another file than that of the shapes")
    shapes = read_shapes(path)
    check_modes(plan.modes, len(shapes.points))
    return ShapesStart(plan, shapes)


def estimate_registration(n_subjects: int, points: int) -> float:
    """Return about how long the registration takes; its work is points times components, which are as many."""
    return n_subjects * _SECONDS_PER_SUBJECT * (points / 4000) ** (2 if points > 4000 else 1)


def find_subjects(
    labels: str | os.PathLike,
    dataset: str | None = None,
    *,
    fold: int | None = None,
    split_seed: int = 0,
    label_values: str = "",
) -> dict[str, LabelSource]:
    """Return the source of each subject's label map by the subject's name.

    Args:
      labels: a folder of label maps, or of a data set.
      dataset: the data set whose layout the folder has; None for label maps alone.
      fold: the fold of the data set whose training part is used alone; None for all subjects.
      split_seed: `data.split_seed` of the runs that the fold is for.
      label_values: what the values mean, such as "heart:51" (see `parse_label_values`); empty: what they mean in the
        data set, or where label maps lie alone, 0 to 7, those of MM-WHS, or heart and background.

    Raises:
      InputError: label values that name no scheme, no such folder or files, a single subject, or a fold without a
        data set.
    """
    if label_values:
        make_scheme(label_values)  # refused here, before any file is read
    if dataset:
        cohort = find_cohort(dataset, labels, label_values=label_values)
        names = cohort.annotated
        if fold is not None:
            names = cohort.fold(fold, seed=split_seed).train
        files = {case.identity: case.label for case in cohort.files}
        sources = {name: _cohort_source(cohort, name, files[name]) for name in names}
    elif fold is not None:
        raise InputError("fold", found=fold, expected="a dataset too, as data sets alone have folds")
    else:
        sources = {name: _file_source(path, label_values) for name, path in find_label_files(labels).items()}
    if len(sources) < 2:
        raise InputError(labels, found=f"{len(sources)} subject", expected="label maps of at least two")
    return sources


def _cohort_source(
    cohort: Cohort, identity: str, label: pathlib.Path | Mapping[int, pathlib.Path] | None
) -> LabelSource:
    files = tuple(label.values()) if isinstance(label, Mapping) else (label,)
    return LabelSource(lambda: cohort.load(identity).label, files)  # type: ignore[return-value, arg-type]


def _file_source(path: pathlib.Path, label_values: str) -> LabelSource:
    return LabelSource(lambda: read_label_map(path, label_values=label_values), (path,))


def check_modes(modes: int, n_subjects: int) -> None:
    """Refuse more modes than n subjects allow, which is n - 1.

    Raises:
      InputError: no mode, or too many.
    """
    if not 1 <= modes <= n_subjects - 1:
        raise InputError(
            "modes",
            found=f"{modes} with {n_subjects} subjects",
            expected=f"1 to {n_subjects - 1}: n subjects span at most n - 1 modes",
        )


def read_shapes(path: str | os.PathLike) -> CorrespondingShapes:
    """Return shapes in correspondence from an .npz file or a folder of meshes, or the phantom's for "phantom".

    Raises:
      InputError: no such file or folder, or shapes that are not in correspondence.
    """
    if str(path) == "phantom":
        return model_hearts()
    return read_corresponding(path) if pathlib.Path(path).is_dir() else CorrespondingShapes.load(path)


def _read_surfaces(sources: Mapping[str, LabelSource], regions: Sequence[int]) -> list[LabelSurface]:
    names = list(sources)
    wanted = tuple(regions) or _find_regions(sources[names[0]].load())
    with ThreadPoolExecutor(_THREADS) as pool, progress_bar(len(names), "surfaces") as bar:

        def read(name: str) -> LabelSurface:
            volume = sources[name].load()
            if not regions:
                _check_no_others(volume, wanted, name, first=names[0])
            surface = label_surface(volume, identity=name, regions=wanted)
            bar.update()
            return surface

        return list(pool.map(read, names))


def _check_no_others(volume: Volume, regions: Sequence[int], name: str, *, first: str) -> None:
    others = sorted(set(np.unique(volume.array).tolist()) - {0, *regions})
    if others:
        expected = "the same regions in all, or `regions` that all have"
        raise InputError(name, found=f"regions {others}, which {first} has not", expected=expected)


def _find_regions(volume: Volume) -> tuple[int, ...]:
    """Return all seven regions, or 1 alone where the label map only tells heart from background."""
    return (1,) if np.array_equal(np.unique(volume.array), [0, 1]) else REGION_IDS
