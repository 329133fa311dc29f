"""Which patients two runs test on the same volumes, and in what else the runs differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from fedsim_tf.errors import InputError, listed
from fedsim_tf.progress import count_text
from fedsim_tf.records.fold_data import IMAGE_MARKS, TOLERANCE
from fedsim_tf.regions import HEART
from fedsim_tf.tools.compared_run import ComparedRun, PatientAt


def explain_unfinished(run: ComparedRun) -> Iterator[str]:
    """Give a line on what of a run is left out or cannot be checked."""
    if run.unfinished:
        yield f"{run.name}: {_name_folds(run.unfinished)} of {run.config.data.folds} not finished and left out"
    if any(place not in run.data for place in run.scores):
        yield f"{run.name} has not noted its volumes: its patients are told by their names alone"


def _name_folds(numbers: Sequence[int]) -> str:
    return f"{'fold' if len(numbers) == 1 else 'folds'} {', '.join(map(str, numbers))}"


def share_patients(first: ComparedRun, second: ComparedRun) -> tuple[frozenset[PatientAt], list[str]]:
    """Return the patients that two runs test on the same volumes, and a line on each thing in which the runs differ.

    Raises:
      InputError: there is no such patient, or volumes have other sizes.
    """
    sizes = [run.config.model.size for run in (first, second)]
    if sizes[0] != sizes[1]:
        expected = f"{sizes[0]}^3 as in {first.path}: masks on other grids have other true ones"
        raise InputError(second.path, found=f"volumes of {sizes[1]}^3 voxels", expected=expected)
    same_labels = first.config.model.labels == second.config.model.labels
    tested, also = first.tested(), second.tested()
    both = [patient for patient in tested if patient in also]
    shared = frozenset(one for one in both if _is_same_volume(tested[one], also[one], same_labels=same_labels))
    if not shared:
        what = "the volumes of its patients" if both else "patients"
        expected = f"at least one that both test: {_describe_tested(also)}, not {_describe_tested(tested)}"
        if both:
            expected = "the same images, window and crops, and labels"
        raise InputError(second.path, found=f"{what} other than those of {first.path}", expected=expected)
    lines = []
    if not same_labels:
        regions = first if first.config.model.labels != HEART else second
        lines.append(f"{regions.name} tells regions apart and is compared by the whole heart, their union")
    others = [patient.scan for patient in both if patient not in shared]
    if others:
        lines.append(
            f"{first.name} and {second.name} have other volumes of the same name, not compared: {listed(others)}"
        )
    lines += _explain_split(first, second, shared)
    return shared, lines


def _explain_split(first: ComparedRun, second: ComparedRun, shared: Iterable[PatientAt]) -> Iterator[str]:
    counts = {site: sum(patient.site == site for patient in shared) for site in first.sites}
    for site in (one for one in first.sites if one in second.sites):
        folds = [place for place in first.scores if place.site == site and place in second.scores]
        differ = [place.number for place in folds if first.patients_of(place) != second.patients_of(place)]
        missing = {place.number for place in (*first.scores, *second.scores) if place.site == site} - {
            place.number for place in folds
        }
        if differ or missing:
            which = _name_folds(sorted({*differ, *missing}))
            yield (
                f"{first.name} and {second.name} do not test the same patients of {site} in {which}: "
                f"{count_text(counts[site], 'patient')} that both test {'is' if counts[site] == 1 else 'are'} compared"
            )
        labels = [run.count_labels(site) for run in (first, second)]
        if all(labels) and labels[0] != labels[1]:
            words = [" or ".join(map(str, sorted(found))) for found in labels]
            yield f"at {site} {first.name} has {words[0]} annotated training volumes, {second.name} {words[1]}"
    apart = sorted(set(first.sites) ^ set(second.sites))
    if apart:
        yield f"only one of {first.name} and {second.name} has the sites {', '.join(apart)}"


def _is_same_volume(marks: Sequence[float] | None, others: Sequence[float] | None, *, same_labels: bool) -> bool:
    """Return whether the marks that two runs have noted of a test volume are those of one volume with one label.

    Labels of other kinds have other marks: images and extents are compared then. What was not noted is not compared.
    """
    if marks is None or others is None:
        return True
    if not same_labels:
        marks, others = (*marks[:IMAGE_MARKS], *marks[-3:]), (*others[:IMAGE_MARKS], *others[-3:])
    return len(marks) == len(others) and all(
        math.isclose(a, b, abs_tol=TOLERANCE) for a, b in zip(marks, others, strict=True)
    )


def _describe_tested(tested: Iterable[PatientAt]) -> str:
    return listed([f"{patient.site}'s {patient.scan}" for patient in tested], shown=2)
