"""Write the tables of a finished schedule from its runs' metrics.json, and Figure 3 from their pictures."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from fedsim_tf.evaluation import further_tables, paired_tables, tables
from fedsim_tf.evaluation.comparison import collect
from fedsim_tf.evaluation.figures import stacked
from fedsim_tf.evaluation.tables import Table, as_text
from fedsim_tf.files import read_json, write_text
from fedsim_tf.schedule.paper_runs import FEDERATED_BATCH

KINDS = ("md", "csv", "tex")
_SCORES = "Test scores, mean and standard deviation over folds"
_PAIRED = "Mean difference of test Dice over folds"
_FEDERATED = (
    f"Federated arms, whose U-Nets take {FEDERATED_BATCH} volumes a step, are compared with the single site's lower "
    "bound, as in the paper"
)
_NOTES = {  # what a table's numbers are
    "Table 1": "Numbers of volumes",
    "Table 3 less the paper": "Difference of the mean test Dice; in brackets the number of folds",
    "Against the lower bound": f"{_PAIRED}. {_FEDERATED}",
    "Among Table 3": _PAIRED,
    "Among Table 2": _PAIRED,
    "All data sets together": f"{_PAIRED} of all data sets. {_FEDERATED}",
    "Across sites": f"{_SCORES}; beside each site the number of annotated volumes",
    "Novelty": "Means over folds",
    "CT values": "Mean and standard deviation over voxels, means over folds",
    "Shape modes": (
        "Mean and standard deviation over hearts, in standard deviations of the shape model's own; means over folds"
    ),
}
Metrics = Mapping[str, Any]


def write_tables(folder: pathlib.Path, files: Mapping[str, pathlib.Path]) -> dict[str, Table]:
    """Writes every table as Markdown, CSV and LaTeX, and all of them as one page, tables.md.

    Args:
      folder: where they go.
      files: the metrics.json of runs and visits, by job.

    Returns:
      The tables by name; cells that no run has filled are dashes.
    """
    found = [read_json(file) for file in files.values()]
    runs = [one for one in found if one["facts"]["experiment"] != "out_of_distribution"]
    visits = [one for one in found if one["facts"]["experiment"] == "out_of_distribution"]
    made = _tables(runs, visits)
    about = _about(found)
    page = []
    for title, table in made.items():
        note = f"{_NOTES.get(title, _SCORES)}."
        for kind in KINDS:
            write_text(folder / f"{_file_name(title)}.{kind}", as_text(table, kind, f"{title}. {note} {about}"))
        page.append(f"## {title}\n\n{as_text(table, 'md', note)}")
    write_text(folder / "tables.md", "\n".join([f"# The paper's tables\n\n{about}\n", *page]))
    return made


def draw_figure_3(path: pathlib.Path, files: Mapping[str, pathlib.Path]) -> None:
    """Samples beside the nearest real volume (over the whole CT), of every single-site run with samples."""
    pictures = {}
    for name, file in files.items():
        picture = file.parent / "fold_0" / "pictures" / "samples_ours_full.png"
        if name.startswith("single_site/") and picture.exists():
            pictures[name.partition("/")[2]] = picture
    if pictures:
        stacked(path, pictures)


def _tables(runs: Sequence[Metrics], visits: Sequence[Metrics]) -> dict[str, Table]:
    cells = collect(runs)
    return {
        "Table 1": tables.table_1(runs),
        "Table 2": tables.table_2(cells),
        "Table 3": tables.table_3(cells),
        "Table 3 less the paper": tables.table_3_differences(cells),
        "Against the lower bound": paired_tables.differences(cells, paired_tables.LOWER_BOUND),
        "Among Table 3": paired_tables.differences(cells, paired_tables.TABLE_3),
        "Among Table 2": paired_tables.differences(cells, paired_tables.TABLE_2),
        "All data sets together": paired_tables.differences_of_all(
            cells, (*paired_tables.LOWER_BOUND, *paired_tables.TABLE_3)
        ),
        "Further measures": further_tables.measures(runs),
        "Out of distribution": further_tables.visitors(visits),
        "Across sites": further_tables.across_sites(runs, visits),
        "Novelty": further_tables.novelty_table(runs),
        "CT values": further_tables.tissue_values(runs),
        "Shape modes": further_tables.shape_modes(runs),
    }


def _about(found: Sequence[Metrics]) -> str:
    """Cohort, preset, folds and commit of all records; several where they differ."""

    def said(name: str) -> str:
        return ", ".join(sorted({str(one["facts"].get(name, "not recorded")) for one in found})) or "nothing yet"

    sources = sorted({part for one in found for part in str(one["facts"]["data"]).split(", ")})
    return (
        f"Data: {', '.join(sources) or 'none yet'}; preset {said('preset')}; folds: {said('folds')}; "
        f"code {said('commit')}."
    )


def _file_name(title: str) -> str:
    return title.lower().replace(" ", "_")
