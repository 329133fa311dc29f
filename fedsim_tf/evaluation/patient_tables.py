"""Tables over the patients of a test part: every patient's scores, their mean and spread, arms against each other."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from fedsim_tf import arms
from fedsim_tf.evaluation.comparison import paired_test
from fedsim_tf.evaluation.paired_tables import AGAINST_LOWER_BOUND, AMONG_TABLE_2, AMONG_TABLE_3, format_p
from fedsim_tf.evaluation.tables import MISSING, Table, format_mean
from fedsim_tf.metrics import Agreement
from fedsim_tf.records.fold_scores import ArmScores, CaseScores

USUAL_PAIRS = tuple(dict.fromkeys((*AGAINST_LOWER_BOUND, *AMONG_TABLE_3, *AMONG_TABLE_2)))
COMPARED = {"dice": "Dice %", "hd95_mm": "HD95 mm", "volume_error": "absolute volume error %"}
Patient = TypeVar("Patient", bound=Hashable)


def list_worst_first(scores: Mapping[str, ArmScores]) -> list[str]:
    """Return the patients on which at least one arm was tested, those with the least mean Dice over the arms first."""
    dice: dict[str, list[float]] = {}
    for arm in scores.values():
        for patient, case in arm.cases.items():
            dice.setdefault(patient, []).append(case.dice)
    return sorted(dice, key=lambda patient: statistics.fmean(dice[patient]))


def score_words(case: CaseScores) -> list[str]:
    """Return Dice in percent, HD95 in mm, and the volume of the mask and its error in ml and percent."""
    error_ml, true_ml = case.error_ml, case.true_ml
    if error_ml is None or not true_ml or case.found_ml is None:
        return [f"{case.dice:.1f}", f"{case.hd95_mm:.1f}", MISSING, MISSING, f"{case.volume_error:.1f}"]
    words = [f"{case.found_ml:.0f}", f"{error_ml:+.1f}", f"{100.0 * error_ml / true_ml:+.1f}"]
    return [f"{case.dice:.1f}", f"{case.hd95_mm:.1f}", *words]


SCORE_HEADINGS = ("Dice %", "HD95 mm", "volume found, ml", "error, ml", "error, %")


def summarize_patients(scores: Mapping[str, ArmScores]) -> Table:
    """Return mean and standard deviation over patients of each arm's scores.

    The volume's error keeps its sign: its mean says whether masks are too large or too small. The last column is its
    size without the sign. The worst patient is the one with the least Dice.
    """
    rows = []
    for arm, found in scores.items():
        cases = list(found.cases.values())
        worst = min(found.cases.items(), key=lambda case: case[1].dice, default=None)
        errors_ml = [case.error_ml for case in cases if case.error_ml is not None]
        rows.append(
            [
                arms.title(arm),
                *(format_mean([getattr(case, measure) for case in cases]) for measure in ("dice", "hd95_mm")),
                format_mean(errors_ml) if len(errors_ml) == len(cases) else MISSING,
                format_mean([case.volume_error for case in cases]),
                str(len(cases)),
                f"{worst[0]}, {worst[1].dice:.1f}" if worst else MISSING,
            ]
        )
    headings = ("arm", "Dice %", "HD95 mm", "volume error, ml", COMPARED["volume_error"], "patients", "worst, Dice %")
    return Table(headings, rows)


def compare_patients(scores: Mapping[str, ArmScores], pairs: Iterable[tuple[str, str]] = USUAL_PAIRS) -> Table:
    """Return each arm less its partners over the same patients, with a paired t-test.

    Arms that are one network, whose every patient has the same scores, are left out.
    """
    rows = []
    for first, second in pairs:
        if first not in scores or second not in scores or scores[first].cases == scores[second].cases:
            continue
        words = difference_words(scores[first].cases, scores[second].cases)
        rows.append([arms.title(first), arms.title(second), *words])
    return Table(("arm", "less", *DIFFERENCE_HEADINGS), rows)


DIFFERENCE_HEADINGS = (
    *(word for title in COMPARED.values() for word in (title, f"p, {title.rpartition(' ')[0]}")),
    "patients",
)


def difference_words(first: Mapping[Patient, Agreement], second: Mapping[Patient, Agreement]) -> list[str]:
    """Return the mean difference of each measure over the patients that both have, each with its p, and their number.

    Args:
      first, second: scores by patient.
    """
    shared = [patient for patient in first if patient in second]
    words = []
    for measure in COMPARED:
        test = paired_test(*(_collect(scores, shared, measure) for scores in (first, second)))
        words += [f"{test.difference:+.2f}" if shared else MISSING, format_p(test.p)]
    return [*words, str(len(shared))]


def _collect(scores: Mapping[Patient, Agreement], patients: Sequence[Patient], measure: str) -> list[float]:
    return [getattr(scores[patient], measure) for patient in patients]


def true_volume_words(scores: Mapping[str, ArmScores], patient: str) -> str:
    """Return the true volume of a patient's heart in ml; a dash where records do not have it."""
    cases = [arm.cases[patient] for arm in scores.values() if patient in arm.cases]
    known = [case.true_ml for case in cases if case.true_ml is not None]
    return f"{statistics.fmean(known):.0f}" if known else MISSING
