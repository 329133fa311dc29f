"""Compare finished runs: their arms' scores, and differences over the patients and folds that runs share."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fedsim_tf import arms
from fedsim_tf.config import Config
from fedsim_tf.errors import InputError, listed
from fedsim_tf.evaluation.comparison import paired_test
from fedsim_tf.evaluation.paired_tables import format_p
from fedsim_tf.evaluation.patient_tables import COMPARED, DIFFERENCE_HEADINGS, USUAL_PAIRS, difference_words
from fedsim_tf.evaluation.tables import MISSING, Table, format_mean, format_table
from fedsim_tf.files import write_text
from fedsim_tf.metrics import Agreement, mean_agreement
from fedsim_tf.progress import count_text
from fedsim_tf.records.fold_data import DATA, IMAGE_MARKS, LABELLED, TEST, TOLERANCE, FoldData, read_fold_data
from fedsim_tf.records.fold_scores import SCORES, ArmScores, CaseScores, has_scores, read_fold_scores
from fedsim_tf.regions import HEART
from fedsim_tf.training.run import CONFIG, fold_path, is_federated, list_site_paths, reopen_run

_EACH = (*COMPARED, "found_ml", "true_ml")  # of every patient
_BY_FOLD = ("Dice %, by fold", "p, Dice by fold", "folds")
PAGE, SCORES_CSV, DIFFERENCES_CSV, PATIENTS_CSV = "comparison.md", "scores.csv", "differences.csv", "patients.csv"


class FoldAt(NamedTuple):
    """The number of a fold, and the site whose part of it is meant."""

    site: str
    number: int


class PatientAt(NamedTuple):
    """A patient's scan, and the site that has tested it."""

    site: str
    scan: str


class Entry(NamedTuple):
    """An arm of a run at a site."""

    run: int
    site: str
    arm: str


@dataclasses.dataclass(frozen=True, eq=False)
class ComparedRun:
    """The scores of a run's finished folds.

    Attributes:
      name: the end of its folder's path, as long as it has to be to tell the runs apart.
      path: its folder.
      config: its configuration.
      scores: by fold and site, then by arm.
      data: what each fold and site has noted of its volumes; those that have noted nothing are left out.
      unfinished: the numbers of the folds that are left out.
    """

    name: str
    path: pathlib.Path
    config: Config
    scores: Mapping[FoldAt, Mapping[str, ArmScores]]
    data: Mapping[FoldAt, FoldData]
    unfinished: Sequence[int]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that have scores."""
        return tuple(dict.fromkeys(place.site for place in self.scores))

    def list_arms(self, site: str) -> list[str]:
        """Return the arms that every finished fold of a site has, in the order of tables."""
        found = [set(by_arm) for place, by_arm in self.scores.items() if place.site == site]
        shared = set.intersection(*found) if found else set()
        return [arm for arm in arms.ARMS if arm in shared]

    def patients(self, site: str, arm: str) -> dict[PatientAt, Agreement]:
        """Return an arm's scores by patient; the mean of those of a patient whom several folds test."""
        each: dict[PatientAt, list[Agreement]] = {}
        for place, by_arm in self.scores.items():
            if place.site == site:
                for scan, case in by_arm[arm].cases.items():
                    each.setdefault(PatientAt(site, scan), []).append(case)
        return {patient: mean_agreement(cases) for patient, cases in each.items()}

    def tested(self) -> dict[PatientAt, tuple[float, ...] | None]:
        """Return every patient that is tested, with the marks of the volume; None where these were not noted."""
        found: dict[PatientAt, tuple[float, ...] | None] = {}
        for place, by_arm in self.scores.items():
            marks = self.data[place].parts.get(TEST, {}) if place in self.data else {}
            for scores in by_arm.values():
                found |= {PatientAt(place.site, scan): marks.get(scan) for scan in scores.cases}
        return found

    def patients_of(self, place: FoldAt) -> set[str]:
        """Return the scans that a fold tests at a site; none where it is not finished."""
        return {scan for scores in self.scores.get(place, {}).values() for scan in scores.cases}

    def count_labels(self, site: str) -> set[int]:
        """Return how many annotated training volumes the folds of a site have."""
        return {len(data.parts.get(LABELLED, ())) for place, data in self.data.items() if place.site == site}


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
    runs = [_read_run(folder, name) for folder, name in zip(folders, _name_runs(folders), strict=True)]
    remarks = [line for run in runs for line in _explain_unfinished(run)]
    shared = {}
    for (i, first), (j, second) in itertools.combinations(enumerate(runs), 2):
        found, lines = _share_patients(first, second)
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


def _read_run(folder: pathlib.Path, name: str) -> ComparedRun:
    """Read what the finished folds of a run have left.

    Raises:
      InputError: none is finished, or a file is damaged.
    """
    config = reopen_run(folder).config
    scores: dict[FoldAt, Mapping[str, ArmScores]] = {}
    data: dict[FoldAt, FoldData] = {}
    unfinished = []
    for number in range(config.data.folds):
        found = list(_find_parts(fold_path(folder, number), config, number))
        for place, part in found:
            scores[place] = _read_scores(part, place.site)
            if (part / DATA).exists():
                data[place] = read_fold_data(part / DATA)
        unfinished += [] if found else [number]
    if not scores:
        if has_scores(folder):
            raise InputError(folder, found="a fold", expected=f"the folder of its run, {folder.parent}")
        raise InputError(folder, found="no finished fold", expected="a run with at least one, such as runs/demo")
    return ComparedRun(name, folder, config, scores, data, unfinished)


def _read_scores(part: pathlib.Path, site: str) -> Mapping[str, ArmScores]:
    sites = read_fold_scores(part, site=site).sites
    if site not in sites:
        raise InputError(part / SCORES, found=f"scores of {', '.join(sites)}", expected=f"those of {site}")
    return sites[site]


def _find_parts(fold: pathlib.Path, config: Config, number: int) -> Iterator[tuple[FoldAt, pathlib.Path]]:
    """Give the folder of each site that has finished a fold."""
    if is_federated(fold):
        for part in list_site_paths(fold):
            if has_scores(part):
                yield FoldAt(part.name, number), part
    elif has_scores(fold):
        yield FoldAt(config.dataset, number), fold


def _explain_unfinished(run: ComparedRun) -> Iterator[str]:
    if run.unfinished:
        yield f"{run.name}: {_name_folds(run.unfinished)} of {run.config.data.folds} not finished and left out"
    if any(place not in run.data for place in run.scores):
        yield f"{run.name} has not noted its volumes: its patients are told by their names alone"


def _name_folds(numbers: Sequence[int]) -> str:
    return f"{'fold' if len(numbers) == 1 else 'folds'} {', '.join(map(str, numbers))}"


def _share_patients(first: ComparedRun, second: ComparedRun) -> tuple[frozenset[PatientAt], list[str]]:
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


def _format_number(case: CaseScores, name: str) -> str:
    value = getattr(case, name)
    return "" if value is None else f"{value:.6g}"


def _describe_tested(tested: Iterable[PatientAt]) -> str:
    return listed([f"{patient.site}'s {patient.scan}" for patient in tested], shown=2)
