"""Compare finished runs: their arms' scores, and differences over the patients and folds that runs share."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from fedsim_tf import arms
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.comparison import paired_test
from fedsim_tf.evaluation.paired_tables import format_p
from fedsim_tf.evaluation.patient_tables import COMPARED, DIFFERENCE_HEADINGS, USUAL_PAIRS, difference_words
from fedsim_tf.evaluation.tables import MISSING, Table, format_mean, format_table
from fedsim_tf.files import write_text
from fedsim_tf.records.fold_scores import CaseScores
from fedsim_tf.tools.compared_run import ComparedRun, PatientAt, read_compared_run
from fedsim_tf.tools.shared_patients import explain_unfinished, share_patients
from fedsim_tf.training.run import CONFIG

_EACH = (*COMPARED, "found_ml", "true_ml")  # of every patient
_BY_FOLD = ("Dice %, by fold", "p, Dice by fold", "folds")
PAGE, SCORES_CSV, DIFFERENCES_CSV, PATIENTS_CSV = "comparison.md", "scores.csv", "differences.csv", "patients.csv"


class Entry(NamedTuple):
    """An arm of a run at a site."""

    run: int
    site: str
    arm: str


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that can be compared. `open_comparison` makes it.

    Attributes:
      runs: in the order in which they were given.
      shared: the patients that two runs test on the same volumes, by their places in `runs`.
      remarks: a line on each thing in which runs differ or that is left out.
    """

    runs: Sequence[ComparedRun]
    shared: Mapping[tuple[int, int], frozenset[PatientAt]]
    remarks: Sequence[str]

    def make_tables(self) -> dict[str, Table]:
        """Return the tables by title: scores, and differences with paired t-tests."""
        return {"Scores": self._list_scores(), "Differences": self._list_differences()}

    def list_patients(self) -> Table:
        """Return every patient's scores in every run and arm."""
        rows = [
            [run.name, place.site, str(place.number), scan, arm, *(_format_number(case, name) for name in _EACH)]
            for run in self.runs
            for place, by_arm in run.scores.items()
            for arm, scores in by_arm.items()
            for scan, case in scores.cases.items()
        ]
        return Table(("run", "site", "fold", "patient", "arm", *_EACH), rows)

    def _list_scores(self) -> Table:
        rows = []
        for entry in self._list_entries():
            run = self.runs[entry.run]
            cases = run.patients(entry.site, entry.arm).values()
            means = [format_mean([getattr(case, name) for case in cases]) for name in COMPARED]
            folds = sum(place.site == entry.site for place in run.scores)
            rows.append([run.name, entry.site, arms.title(entry.arm), *means, str(len(cases)), str(folds)])
        return Table(("run", "site", "arm", *COMPARED.values(), "patients", "folds"), rows)

    def _list_differences(self) -> Table:
        rows = []
        for first, second in self._list_pairs():
            words = self._compare(first, second)
            if words:
                rows.append([first.site, *self._name(first), *self._name(second), *words])
        headings = ("site", "run", "arm", "less run", "less arm", *DIFFERENCE_HEADINGS, *_BY_FOLD)
        return Table(headings, rows)

    def _name(self, entry: Entry) -> tuple[str, str]:
        return self.runs[entry.run].name, arms.title(entry.arm)

    def _list_entries(self) -> Iterator[Entry]:
        for number, run in enumerate(self.runs):
            for site in run.sites:
                yield from (Entry(number, site, arm) for arm in run.list_arms(site))

    def _list_pairs(self) -> Iterator[tuple[Entry, Entry]]:
        """Give the usual pairs of arms, each within its run or else with the first run that has the partner.

        Then come the same arms of two runs, the later run less the earlier one.
        """
        entries = list(self._list_entries())
        for entry in entries:
            for other in (second for first, second in USUAL_PAIRS if first == entry.arm):
                partners = [one for one in entries if (one.site, one.arm) == (entry.site, other)]
                own = [one for one in partners if one.run == entry.run]
                yield from ((entry, partner) for partner in (own or partners)[:1])
        for earlier, later in itertools.combinations(entries, 2):
            if earlier.run != later.run and (earlier.site, earlier.arm) == (later.site, later.arm):
                yield later, earlier

    def _compare(self, first: Entry, second: Entry) -> list[str]:
        """Return the words of a row of differences; none where the two share no patient or are one network."""
        values, others = (self.runs[one.run].patients(one.site, one.arm) for one in (first, second))
        if first.run != second.run:
            shared = self.shared[min(first.run, second.run), max(first.run, second.run)]
            values = {patient: one for patient, one in values.items() if patient in shared}
        is_same = first.run == second.run and values == others
        if is_same or not set(values) & set(others):
            return []
        by_fold = list(zip(*self._pair_folds(first, second), strict=True)) or [(), ()]
        test = paired_test(*by_fold)
        difference = f"{test.difference:+.2f}" if test.pairs else MISSING
        return [*difference_words(values, others), difference, format_p(test.p), str(test.pairs)]

    def _pair_folds(self, first: Entry, second: Entry) -> Iterator[tuple[float, float]]:
        """Give the mean Dice of both in each fold in which they test the same patients."""
        run, other = self.runs[first.run], self.runs[second.run]
        shared = self.shared.get((min(first.run, second.run), max(first.run, second.run)))
        for place in (one for one in run.scores if one.site == first.site and one in other.scores):
            tested = run.patients_of(place)
            is_same = shared is None or all(PatientAt(place.site, scan) in shared for scan in tested)
            if is_same and tested == other.patients_of(place):
                yield run.scores[place][first.arm].dice, other.scores[place][second.arm].dice


def open_comparison(paths: Sequence[str | os.PathLike], output: str | os.PathLike | None = None) -> Comparison:
    """Read the scores of finished folds and refuse runs that cannot be compared. Nothing is written.

    Args:
      paths: the runs' folders.
      output: the folder that tables are to be written to, if any.

    Raises:
      InputError: no run or no finished fold, a run given twice, volumes of other sizes, runs that share no patient, or
        a file in place of the output folder.
    """
    folders = [pathlib.Path(path) for path in paths]
    _check_folders(folders)
    if output is not None and pathlib.Path(output).exists() and not pathlib.Path(output).is_dir():
        raise InputError("output", value=output, must="be a folder, not a file")
    runs = [read_compared_run(folder, name) for folder, name in zip(folders, _name_runs(folders), strict=True)]
    remarks = [line for run in runs for line in explain_unfinished(run)]
    shared = {}
    for (i, first), (j, second) in itertools.combinations(enumerate(runs), 2):
        found, lines = share_patients(first, second)
        shared[i, j] = found
        remarks += lines
    return Comparison(runs, shared, remarks)


def format_comparison(comparison: Comparison) -> str:
    """Return remarks and tables as Markdown."""
    names = ", ".join(f"`{run.name}`" for run in comparison.runs)
    lines = [f"# Comparison of {names}", ""]
    lines += [f"- {line}." for line in comparison.remarks] + ([""] if comparison.remarks else [])
    for title, table in comparison.make_tables().items():
        lines += [f"## {title}", "", f"{_NOTES[title]}", "", format_table(table, "md")]
    return "\n".join(lines)


_NOTES = {
    "Scores": "Mean ± standard deviation over patients, each counted once.",
    "Differences": (
        "Mean of the first less the second over the patients that both test, with p of a paired two-sided t-test; then "
        "the same of the Dice of whole folds in which both test the same patients. p is not corrected for the number "
        "of rows."
    ),
}


def write_comparison(comparison: Comparison, output: str | os.PathLike) -> None:
    """Write the tables as a Markdown page and as CSV, and every patient's scores as CSV."""
    folder, tables = pathlib.Path(output), comparison.make_tables()
    write_text(folder / PAGE, format_comparison(comparison))
    write_text(folder / SCORES_CSV, format_table(tables["Scores"], "csv"))
    write_text(folder / DIFFERENCES_CSV, format_table(tables["Differences"], "csv"))
    write_text(folder / PATIENTS_CSV, format_table(comparison.list_patients(), "csv"))


def _check_folders(folders: Sequence[pathlib.Path]) -> None:
    seen: set[pathlib.Path] = set()
    for folder in folders:
        if not (folder / CONFIG).is_file():
            raise InputError(folder, found=f"no {CONFIG}", expected="a run's folder, such as runs/demo")
        if folder.resolve() in seen:
            raise InputError("run", value=folder, must="be given once")
        seen.add(folder.resolve())


def _name_runs(folders: Sequence[pathlib.Path]) -> list[str]:
    """Return the shortest ends of paths that tell the folders apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _format_number(case: CaseScores, name: str) -> str:
    value = getattr(case, name)
    return "" if value is None else f"{value:.6g}"
