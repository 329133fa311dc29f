"""The jobs behind the paper's tables: the runs that fill them, fold by fold, and visits between finished runs."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from fedsim_tf.arms import ABLATION, FEDERATED_ROWS, PARTS, SINGLE_SITE_ROWS
from fedsim_tf.command_fields import command_fields, flag_name
from fedsim_tf.config import LABEL_SIZES, PAPER_LABELS, Config, comparable_settings, from_dict, merge
from fedsim_tf.data.splits import PAPER_SIZES
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.tables import ABLATION_LABELS, ABLATION_SITE
from fedsim_tf.files import digest_json
from fedsim_tf.records.fold_scores import SCORES
from fedsim_tf.regions import HEART
from fedsim_tf.runs.estimate import PHANTOM_SITE_SECONDS, START_SECONDS, estimate_cost, estimate_visit
from fedsim_tf.runs.inputs import settle_choices
from fedsim_tf.runs.start import open_run
from fedsim_tf.runs.step_costs import StepCosts
from fedsim_tf.schedule.plan import Job
from fedsim_tf.training.run import METRICS

FEDERATED_BATCH = 3  # "all other 3D-Unet training also uses a batch size of three", says the paper
_VISIT_SECONDS = 20.0  # before the first patient of a fold is rendered: networks are read and traced


class PaperRuns(NamedTuple):
    """The part of the paper's tables that is wanted.

    Attributes:
      config: what all runs have in common; see `settings.settle_config`.
      flags: the command-line flags that make this configuration from the defaults of the runs' own commands.
      root: the folder of all runs.
      sites: the data sets whose cells are wanted.
      label_sizes: the wanted numbers of labels, of "fewer" and "more".
      label_kinds: what the networks are to tell apart, of `regions.LABEL_KINDS`; each kind has runs of its own.
      parts: the wanted experiments, of `PARTS`.
      arms: the wanted single-site rows, of `arms.SINGLE_SITE_ROWS` and `arms.BEYOND_PAPER`.
      federated_arms: the wanted federated rows.
    """

    config: Config
    flags: tuple[str, ...]
    root: pathlib.Path
    sites: tuple[str, ...]
    label_sizes: tuple[str, ...] = LABEL_SIZES
    label_kinds: tuple[str, ...] = (HEART,)
    parts: tuple[str, ...] = PARTS
    arms: tuple[str, ...] = SINGLE_SITE_ROWS
    federated_arms: tuple[str, ...] = FEDERATED_ROWS


def paper_jobs(wanted: PaperRuns, costs: StepCosts | None = None) -> list[Job]:
    """Return the jobs that fill the wanted tables, in the order in which they are best started.

    A fold waits for the site's prepared volumes, a run's report for its folds, and visitors for both hospitals' runs.
    Stages that arms share are done once: all arms of a site's fold are one run, so that they share pre-training. The
    upper bound does not depend on the number of labels, and belongs to the run with the first one.

    Args:
      wanted: the part of the tables.
      costs: what steps take where the jobs will run, if that is known.

    Raises:
      InputError: a data set that the paper does not have, or a part that needs another part.
    """
    _check(wanted)
    costs = costs or StepCosts()
    jobs = [_preparation(wanted, site) for site in _all_sites(wanted)]
    for run in _list_runs(wanted):
        jobs += _run(wanted, run, costs)
    if "out_of_distribution" in wanted.parts:
        for kind in wanted.label_kinds:
            jobs += _visits(wanted, kind, costs)
    return jobs


def explain_left_out(wanted: PaperRuns) -> list[str]:
    """Return a line for each wanted part of which the wanted sites and numbers of labels leave nothing."""
    lines = []
    cells = {(site, _labels(site, size)) for site in wanted.sites for size in wanted.label_sizes}
    if "ablation" in wanted.parts and (ABLATION_SITE, ABLATION_LABELS) not in cells:
        lines.append(f"ablation is left out: it needs {ABLATION_SITE} with {ABLATION_LABELS} labels")
    if "out_of_distribution" in wanted.parts and len(wanted.sites) < 2:
        lines.append("out_of_distribution is left out: it needs two sites")
    return lines


def check_runs(wanted: PaperRuns, *, cache_dir: pathlib.Path) -> None:
    """Refuse a schedule of which a run would refuse to start. No volume is read.

    Raises:
      InputError: the first thing that is wrong, see `runs.start.open_run`.
    """
    _check(wanted)
    for run in _list_runs(wanted):
        open_run(
            run.config,
            wanted.root / run.name,
            sites=run.sites,
            cache_dir=cache_dir,
            federated=run.federated,
            prepare=False,
        )


def _list_runs(wanted: PaperRuns) -> list[_RunSpec]:
    runs = []
    sizes = list(itertools.product(wanted.label_kinds, wanted.label_sizes))
    if "single_site" in wanted.parts:
        runs += [_single_site(wanted, site, size, kind) for site in wanted.sites for kind, size in sizes]
    if "federated" in wanted.parts:
        runs += [_federated(wanted, size, kind) for kind, size in sizes]
    return runs


class _RunSpec(NamedTuple):
    """A run of several folds."""

    name: str
    module: str
    flags: tuple[str, ...]
    config: Config
    sites: tuple[str, ...]
    federated: bool = False


def _check(wanted: PaperRuns) -> None:
    unknown = [site for site in _all_sites(wanted) if site not in PAPER_LABELS]
    if unknown:
        raise InputError("sites", found=unknown[0], expected=f"of {', '.join(PAPER_LABELS)}, the paper's")
    needing = [part for part in ("ablation", "out_of_distribution") if part in wanted.parts]
    if needing and "single_site" not in wanted.parts:
        raise InputError("parts", found=f"{needing[0]} alone", expected="single_site too, whose networks it uses")


def _all_sites(wanted: PaperRuns) -> tuple[str, ...]:
    federated = wanted.config.federated.sites if "federated" in wanted.parts else ()
    return tuple(dict.fromkeys((*wanted.sites, *federated)))


def _single_site(wanted: PaperRuns, site: str, size: str, kind: str) -> _RunSpec:
    labels = _labels(site, size)
    # The upper bound does not depend on the number of labels.
    arms = tuple(arm for arm in wanted.arms if arm != "upper_bound" or size == wanted.label_sizes[0])
    if "ablation" in wanted.parts and (site, labels) == (ABLATION_SITE, ABLATION_LABELS):
        arms += ABLATION
    config = _with(wanted, kind, {"dataset": site, "data": {"labels": labels}, "segmentation": {"arms": arms}})
    flags = (f"--dataset={site}", f"--data_labels={labels}", f"--segmentation_arms={','.join(arms)}")
    name = f"single_site/{site}-{labels}{_suffix(kind)}"
    return _RunSpec(name, "experiments.single_site", (*flags, *_kind_flags(kind)), config, (site,))


def _labels(site: str, size: str) -> int:
    return PAPER_LABELS[site][LABEL_SIZES.index(size)]


def _federated(wanted: PaperRuns, size: str, kind: str) -> _RunSpec:
    more = size == "more"
    segmentation: dict[str, Any] = {"batch": FEDERATED_BATCH, "arms": wanted.federated_arms}
    config = _with(wanted, kind, {"federated": {"more_labels": more}, "segmentation": segmentation})
    flags = (f"--federated_more_labels={str(more).lower()}", f"--segmentation_arms={','.join(wanted.federated_arms)}")
    name, module = f"federated/{size}{_suffix(kind)}", "experiments.federated"
    return _RunSpec(name, module, (*flags, *_kind_flags(kind)), config, config.federated.sites, federated=True)


def _suffix(kind: str) -> str:
    """Return what the names of jobs end with; the paper's binary labels are not said."""
    return "" if kind == HEART else f"-{kind}"


def _kind_flags(kind: str) -> tuple[str, ...]:
    return () if kind == HEART else (f"--model_labels={kind}",)


def _flags_of(command: str, wanted: PaperRuns) -> tuple[str, ...]:
    """Return those of the schedule's flags that a command has."""
    known = {"preset", "cache_dir", *map(flag_name, command_fields(command))}
    return tuple(flag for flag in wanted.flags if flag.removeprefix("--").partition("=")[0] in known)


def _preparation(wanted: PaperRuns, site: str) -> Job:
    seconds = START_SECONDS + (PHANTOM_SITE_SECONDS if wanted.config.is_phantom else 0.0)
    command = ("experiments.prepare", *_flags_of("prepare", wanted), f"--dataset={site}")
    settings = _digest(_with(wanted, HEART, {"dataset": site}))  # the volumes are the same for all kinds of labels
    return Job(f"prepare/{site}", command, seconds, settings=settings)


def _run(wanted: PaperRuns, run: _RunSpec, costs: StepCosts) -> Iterator[Job]:
    """Yield the jobs of a run: each fold, and the report over all of them."""
    own = _flags_of(run.module.removeprefix("experiments."), wanted)
    command = (run.module, *own, *run.flags, f"--run_dir={wanted.root / run.name}")
    prepared, settings = tuple(f"prepare/{site}" for site in run.sites), _digest(run.config)
    cost = estimate_cost(run.config, sites=run.sites, federated=run.federated, folds=1, costs=costs)
    folds = tuple(_fold_name(run.name, number) for number in range(run.config.data.folds))
    for number, fold in enumerate(folds):
        makes = wanted.root / fold / SCORES
        yield Job(fold, (*command, f"--only_fold={number}"), cost.seconds, prepared, makes, settings, cost.disk)
    yield Job(run.name, command, START_SECONDS, folds, wanted.root / run.name / METRICS, settings)


def _visits(wanted: PaperRuns, kind: str, costs: StepCosts) -> Iterator[Job]:
    """Give the jobs that show each site's patients to each other site's networks of the first number of labels."""
    runs = {site: _single_site(wanted, site, wanted.label_sizes[0], kind) for site in wanted.sites}
    cache = tuple(flag for flag in wanted.flags if flag.startswith("--cache_dir="))
    for patients, hospital in ((a, b) for a in wanted.sites for b in wanted.sites if a != b):
        name = f"out_of_distribution/{patients}-at-{hospital}{_suffix(kind)}"
        needed = {"patients": runs[patients], "hospital": runs[hospital]}
        if "federated" in wanted.parts and hospital in wanted.config.federated.sites:
            needed["federated"] = _federated(wanted, wanted.label_sizes[0], kind)
        flags = {flag: run.name for flag, run in needed.items()} | {"output": name}
        command = [f"--{flag}={wanted.root / value}" for flag, value in flags.items()]
        fold = _VISIT_SECONDS + estimate_visit(wanted.config, patients=PAPER_SIZES[patients].test, costs=costs)
        seconds = START_SECONDS + fold * wanted.config.data.folds
        after = tuple(run.name for run in needed.values())
        settings = digest_json([_digest(run.config) for run in needed.values()])[:16]
        full = ("experiments.out_of_distribution", *command, *cache)
        yield Job(name, full, seconds, after, wanted.root / name / METRICS, settings)


def _fold_name(run: str, fold: int) -> str:
    return f"{run}/fold_{fold}"


def _digest(config: Config) -> str:
    return digest_json(comparable_settings(settle_choices(config).to_dict()))[:16]


def _with(wanted: PaperRuns, kind: str, values: dict[str, Any]) -> Config:
    return from_dict(merge(merge(wanted.config.to_dict(), {"model": {"labels": kind}}), values))
