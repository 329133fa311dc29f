"""The tables of a schedule, made of its runs' metrics.json, and Figure 3, made of their pictures."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence

from fedsim_tf.evaluation import further_tables, paired_tables, tables
from fedsim_tf.evaluation.comparison import collect_scores
from fedsim_tf.evaluation.figures import stack_pictures
from fedsim_tf.evaluation.pages import render_page
from fedsim_tf.evaluation.tables import Table, format_table
from fedsim_tf.evaluation.volumes_table import READ_AS, VOLUMES, volumes_table
from fedsim_tf.files import list_whole_files, write_text
from fedsim_tf.records.run_metrics import RunMetrics, VisitMetrics, read_metrics
from fedsim_tf.runs.report_pages import REPORT
from fedsim_tf.schedule.paper_runs import FEDERATED_BATCH

_BY_REGION = {"Dice": "dice", "HD95": "hd95_mm", "Surface distance": "surface_mm"}  # tables, and their measures
KINDS = ("md", "csv", "tex")
FIGURE_3 = "tables/figure_3.png"
_SCORES = "Test scores, mean and standard deviation over folds"
_PAIRED = "Mean difference of test Dice over folds"
_KINDS = "whole heart's test Dice, networks by region less networks of the heart with the same folds and seed"
_FEDERATED = (
    f"Federated arms, whose U-Nets take {FEDERATED_BATCH} volumes a step, are compared with the single site's lower "
    "bound, as in the paper"
)
_NOTES = {  # what a table's numbers are; those of others are _SCORES
    "Table 1": "Numbers of volumes",
    "Table 3 less the paper": "Difference of the mean test Dice; in brackets the number of folds",
    "Against the lower bound": f"{_PAIRED}. {_FEDERATED}",
    "Among Table 3": _PAIRED,
    "Among Table 2": _PAIRED,
    "All data sets together": f"{_PAIRED} of all data sets. {_FEDERATED}",
    "Regions less the heart": f"Mean difference of the {_KINDS}",
    "Regions less the heart together": f"Mean difference of the {_KINDS}, over folds of all data sets",
    "Across sites": f"{_SCORES}; beside each site the number of annotated volumes",
    VOLUMES: f"{READ_AS}; means over folds",
}


def write_tables(folder: pathlib.Path, files: Mapping[str, pathlib.Path]) -> dict[str, Table]:
    """Write every table as Markdown, CSV and LaTeX, and all of them as one page, tables.md.

    Args:
      folder: where the tables go.
      files: the metrics.json of runs and visits, by job.

    Returns:
      The tables by name; cells that no run has filled are dashes.

    Raises:
      InputError: a metrics.json that cannot be read, or two runs that disagree about a cell.
    """
    found = [read_metrics(file) for file in files.values()]
    runs = [one for one in found if isinstance(one, RunMetrics)]
    visits = [one for one in found if isinstance(one, VisitMetrics)]
    made = _make_tables(runs, visits)
    about = _about(found)
    page = []
    for title, table in made.items():
        note = f"{_NOTES.get(title, _SCORES)}."
        if title == VOLUMES:
            note += f" VGG-19 weights of the kernel distances: {_list_values(one.facts.vgg for one in runs)}."
        for kind in KINDS:
            write_text(folder / f"{_file_name(title)}.{kind}", format_table(table, kind, f"{title}. {note} {about}"))
        page.append(f"## {title}\n\n{format_table(table, 'md', note)}")
    write_text(folder / "tables.md", "\n".join([f"# The paper's tables\n\n{about}\n", *page]))
    return made


def write_schedule_page(
    root: pathlib.Path, files: Mapping[str, pathlib.Path], made: Mapping[str, Table]
) -> pathlib.Path:
    """Write one page with all tables that leads to the pages of all runs, by links relative to it.

    Args:
      root: the schedule's folder.
      files: the metrics.json of runs and visits, by job.
      made: the tables by name, see `write_tables`.

    Returns:
      The page.
    """
    found = [read_metrics(file) for file in files.values()]
    figure, relative = root / FIGURE_3, lambda path: path.relative_to(root).as_posix()
    runs = []
    for name, file in files.items():
        page = file.parent / REPORT
        parts = [one for one in list_whole_files(file.parent, REPORT) if one != page]
        runs.append(
            {
                "name": name,
                "page": relative(page) if page.exists() else "",
                "metrics": relative(file),
                "parts": [(relative(one), one.parent.relative_to(file.parent).as_posix()) for one in parts],
            }
        )
    render_page(
        root / REPORT,
        "schedule.html.j2",
        title="The paper's tables",
        about=_about(found),
        is_phantom=any("phantom cohort" in one.facts.data for one in found),
        runs=runs,
        figure=relative(figure) if figure.exists() else "",
        tables=[(title, f"{_NOTES.get(title, _SCORES)}.", table) for title, table in made.items()],
    )
    return root / REPORT


def draw_figure_3(path: pathlib.Path, files: Mapping[str, pathlib.Path]) -> None:
    """Draw the samples of every single-site run beside the nearest real volumes, as Figure 3 does.

    Args:
      path: the PNG to write; none is written without any samples.
      files: the metrics.json of runs, by job.
    """
    pictures = {}
    for name, file in files.items():
        picture = file.parent / "fold_0" / "pictures" / "samples_ours_full.png"
        if name.startswith("single_site/") and picture.exists():
            pictures[name.partition("/")[2]] = picture
    if pictures:
        stack_pictures(path, pictures)


def _make_tables(runs: Sequence[RunMetrics], visits: Sequence[VisitMetrics]) -> dict[str, Table]:
    cells = collect_scores(runs)
    of_regions = {
        "Regions less the heart": paired_tables.compare_kinds_at_each_site(runs),
        "Regions less the heart together": paired_tables.compare_kinds_over_all_sites(runs),
        **{f"{title} by region": further_tables.regions_table(runs, measure) for title, measure in _BY_REGION.items()},
    }
    return {
        "Table 1": tables.table_1(runs),
        "Table 2": tables.table_2(cells),
        "Table 3": tables.table_3(cells),
        "Table 3 less the paper": tables.table_3_differences(cells),
        "Against the lower bound": paired_tables.compare_at_each_site(cells, paired_tables.AGAINST_LOWER_BOUND),
        "Among Table 3": paired_tables.compare_at_each_site(cells, paired_tables.AMONG_TABLE_3),
        "Among Table 2": paired_tables.compare_at_each_site(cells, paired_tables.AMONG_TABLE_2),
        "All data sets together": paired_tables.compare_over_all_sites(
            cells, (*paired_tables.AGAINST_LOWER_BOUND, *paired_tables.AMONG_TABLE_3)
        ),
        "Further measures": further_tables.measures(runs),
        "Out of distribution": further_tables.visitors(visits),
        "Across sites": further_tables.across_sites(runs, visits),
        VOLUMES: volumes_table(runs),
        **{title: table for title, table in of_regions.items() if table.rows},
    }


def _about(found: Sequence[RunMetrics | VisitMetrics]) -> str:
    """Return cohorts, preset, folds and commit of all results; several where they differ."""
    facts = [one.facts for one in found]
    sources = sorted({part for one in facts for part in one.data.split(", ")})
    return (
        f"Data: {', '.join(sources) or 'none yet'}; preset {_list_values(one.preset for one in facts)}; "
        f"folds: {_list_values(one.folds for one in facts)}; code {_list_values(one.commit for one in facts)}."
    )


def _list_values(values: Iterable[object]) -> str:
    return ", ".join(sorted({"not recorded" if one is None else str(one) for one in values})) or "nothing yet"


def _file_name(title: str) -> str:
    return title.lower().replace(" ", "_")
