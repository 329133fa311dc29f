"""Say before a run what it will do, on what, about how long it takes and with how much disk."""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from absl import logging

from fedsim_tf.arms import (
    ARMS,
    DIRECT,
    PLAIN_GAN_ARM,
    choose_trained,
    federate_arms,
    get_network_arm,
    list_volumes_arms,
    simulators,
)
from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.files import list_whole_files, read_json
from fedsim_tf.phantom.sites import is_made
from fedsim_tf.progress import duration, format_bytes, room
from fedsim_tf.records.step_times import keep_step_times, read_step_times
from fedsim_tf.runs.inputs import count_labels, phantom_cache
from fedsim_tf.runs.start import RunStart
from fedsim_tf.runs.step_costs import SMALLEST, STAGES, UNETS, StageKind, StepCosts, describe_stage, measure_steps
from fedsim_tf.training.run import CHECKPOINTS_KEPT, fold_path, list_site_paths

# Megabytes of a checkpoint by edge length, from benchmarks/steps.py; they depend on the widths alone.
_MEGABYTES = {
    "pretraining": {32: 24, 64: 128, 128: 396},
    "gan": {32: 57, 64: 371, 128: 1173},
    "semi": {32: 58, 64: 363, 128: 1132},
    "plus": {32: 14, 64: 14, 128: 57},
    "unet": {32: 5, 64: 19, 128: 305},
}
PHANTOM_SITE_SECONDS = 20.0
START_SECONDS = 15.0
_SAMPLES = StageKind("synthetic volumes", "sample")


class Cost(NamedTuple):
    """What a run takes: seconds on two cores and bytes of disk."""

    seconds: float
    disk: float


class _Stages(NamedTuple):
    """The stages of one kind over all folds, sites and arms."""

    name: str
    steps: int
    seconds: float
    disk: float = 0.0
    kind: str = ""

    def less(self, done: int) -> _Stages:
        """Return what is left once some of the steps are done."""
        left = max(0, self.steps - done)
        return self._replace(steps=left, seconds=self.seconds * left / max(1, self.steps))


def describe_run(start: RunStart) -> str:
    """Return the plan of a run in several lines: data, preset, arms, the steps that are left and the estimated time.

    Work that the run's folder or the cache has already is not counted.
    """
    config, costs = start.config, StepCosts(read_step_times(start.cache_dir))
    rows = _list_rest(start, config, costs)
    if config.is_phantom:
        to_make = [site for site in start.sites if not is_made(site, *phantom_cache(config, start.cache_dir))]
        if to_make:
            rows.insert(0, _Stages("phantom sites, first use", len(to_make), len(to_make) * PHANTOM_SITE_SECONDS))
    cost = _cost(rows)
    return _plan(
        config,
        start.sites,
        rows=rows,
        rests_on=costs.describe(config, {row.kind for row in rows if row.kind}),
        federated=start.federated,
        data=start.source,
        folds=_describe_folds(config, start.folds),
        folder=f"{start.run_dir} (the same command again resumes)",
        disk=room(cost.disk, start.run_dir),
        seconds=cost.seconds,
    )


def describe_elsewhere(config: Config, *, sites: Sequence[str], run_name: str, only_fold: int | None) -> str:
    """Return the plan of a federated run at sites with data of their own, of which this machine knows nothing."""
    folds = range(config.data.folds) if only_fold is None else [only_fold]
    rows = _stages(config, sites, federated=True, folds=folds, costs=StepCosts())
    cost = _cost(rows)
    return _plan(
        config,
        sites,
        rows=rows,
        rests_on="a guess, as no step has been timed there",
        federated=True,
        data=f"{', '.join(sites)}: each its own data",
        folds=_describe_folds(config, folds),
        folder=f"{run_name} there (the same command again resumes)",
        disk=f"{format_bytes(cost.disk)}, each site's share at the site",
        seconds=cost.seconds,
    )


def note_stage(start: RunStart) -> None:
    """Keep what steps took in a run's finished stages, for plans of later runs, and log what the rest will take."""
    with contextlib.suppress(InputError):  # a damaged record of a stage: the run itself writes it again
        rest = _measure_rest(start)
        if rest:
            logging.info("about %s of the run left", duration(rest))


def _measure_rest(start: RunStart) -> float:
    """Return the seconds that are left of a run, with steps as it has timed them; these are kept in the cache."""
    folds = [fold_path(start.run_dir, number) for number in start.folds]
    folders = [site for fold in folds for site in list_site_paths(fold)] if start.federated else folds
    measured = measure_steps(start.settled_config, folders, shared=start.federated)
    keep_step_times(start.cache_dir, measured)
    costs = StepCosts({**read_step_times(start.cache_dir), **measured})
    return sum(row.seconds for row in _list_rest(start, start.settled_config, costs))


def _list_rest(start: RunStart, config: Config, costs: StepCosts) -> list[_Stages]:
    """Return what is left of a run's stages."""
    done = count_done(start.run_dir, start.folds, federated=start.federated)
    stages = _stages(
        config,
        start.sites,
        federated=start.federated,
        folds=start.folds,
        costs=costs,
        all_annotated=[site for site in start.sites if start.annotates_all(site)],
    )
    return [row for row in (row.less(done[row.name]) for row in stages) if row.steps]


def _describe_folds(config: Config, folds: Sequence[int]) -> str:
    alone = f", now fold {folds[0]} alone" if len(folds) < config.data.folds else ""
    return f"{config.data.folds} of 5 folds{alone}"


def _plan(
    config: Config,
    sites: Sequence[str],
    *,
    rows: Sequence[_Stages],
    federated: bool,
    data: str,
    folds: str,
    folder: str,
    disk: str,
    seconds: float,
    rests_on: str,
) -> str:
    labels = [f"{site} {count_labels(config, site, federated=federated)}" for site in sites]
    lines = [
        f"{data} -- preset {config.preset}",
        f"run folder: {folder}",
        f"labelled training volumes: {', '.join(labels)}; {folds}; {config.model.size}^3 voxels",
        f"arms: {', '.join(_arms(config, federated))}; VGG-19 weights: {config.model.vgg_weights}",
        *(
            f"  {row.name:<24}{row.steps:>8} {'step ' if row.steps == 1 else 'steps'}  ~{duration(row.seconds)}"
            for row in rows
        ),
        f"disk for checkpoints: {disk}",
        f"estimated time on two cores: {duration(seconds)} ({rests_on})",
    ]
    return "\n".join(lines)


def count_done(run_dir: pathlib.Path, folds: Iterable[int], *, federated: bool) -> Counter[str]:
    """Return how many steps a run's folder has finished already, by row of the plan."""
    done: Counter[str] = Counter()
    for fold in (fold_path(run_dir, number) for number in folds):
        for folder in list_site_paths(fold) if federated else [fold]:
            for file in list_whole_files(folder / "stages", "*.json"):
                name = file.relative_to(folder / "stages").with_suffix("").as_posix()
                if (what := describe_stage(name)) is not None:
                    done[what.title] += read_json(file).get("steps", 0)
            for file in list_whole_files(folder / "samples", "samples.npz"):
                if _is_rendered(file.parent.name):
                    done[_SAMPLES.title] += len(list_whole_files(file.parent, "*_image.nii.gz"))
    return done


def _is_rendered(arm: str) -> bool:
    """Return whether a network renders an arm's volumes, which takes time."""
    return arm not in ARMS or ARMS[arm].simulator != "random"


def estimate_cost(config: Config, *, sites: Sequence[str], federated: bool, folds: int, costs: StepCosts) -> Cost:
    """Return about what a run on volumes that are prepared takes, where steps have these costs."""
    return _cost(_stages(config, sites, federated=federated, folds=range(folds), costs=costs))


def estimate_enhancement(config: Config, costs: StepCosts) -> Cost:
    """Return about what it takes to train the enhancement network alone."""
    return _cost([_several(config, STAGES["gan"], [config.gan.steps], costs)])


def estimate_visit(config: Config, *, patients: int, costs: StepCosts) -> float:
    """Return about how many seconds it takes to render and segment that many patients at another hospital."""
    return patients * costs.of(config, "sample").seconds


def count_useful_cores(config: Config) -> int:
    """Return how many cores a run makes full use of. At the smallest size a second one does not help."""
    return 1 if config.model.size <= SMALLEST else 2


def _cost(rows: Sequence[_Stages]) -> Cost:
    return Cost(START_SECONDS + sum(row.seconds for row in rows), sum(row.disk for row in rows))


def _arms(config: Config, federated: bool) -> tuple[str, ...]:
    return federate_arms(config.segmentation.arms) if federated else config.segmentation.arms


def _stages(
    config: Config,
    sites: Sequence[str],
    *,
    federated: bool,
    folds: Sequence[int],
    costs: StepCosts,
    all_annotated: Collection[str] = (),
) -> list[_Stages]:
    """Return all stages in their order.

    Args:
      config: the run's.
      sites: the run's sites.
      federated: whether these learn together.
      folds: the numbers of the folds.
      costs: what steps take.
      all_annotated: sites where both bounds are one network, see `arms.choose_trained`.
    """
    arms, times = _arms(config, federated), len(folds) * len(sites)
    segmentation = config.segmentation
    sources, drawn = simulators(arms), [arm for arm in list_volumes_arms(arms) if _is_rendered(arm)]
    stage = lambda name, steps: _several(config, STAGES[name], [steps] * times, costs)  # noqa: E731
    rows = []
    if sources - {"fixed", "random"}:
        rows.append(stage("pretraining", config.pretraining.steps))
        rows.append(stage("gan", config.gan.steps))
    if sources - {"fixed", "random", "pretrained"}:
        rows.append(stage("semi_supervised", config.semi.steps))
    if "fixed" in sources:
        rows.append(stage("fixed_material/pretraining", config.pretraining.steps))
        plain = [PLAIN_GAN_ARM] if PLAIN_GAN_ARM in drawn else []
        if any(ARMS[arm].simulator == "fixed" for arm in set(drawn) - set(plain)):
            rows.append(stage("fixed_material/gan", config.gan.steps))
        if plain:
            rows.append(stage("fixed_material/plain_gan", config.gan.steps))
    plus = sources & {"plus", "federated_plus"}
    if plus and config.plus.enhancement == "volumes":
        rows.append(stage("plus/enhancement", config.plus.steps))
    if drawn:
        more = config.plus.volumes - config.synthesis.volumes if plus else 0
        count = len(drawn) * config.synthesis.volumes + more
        rows.append(_several(config, _SAMPLES, [count] * times, costs))
    if DIRECT in arms:  # a site's step is of one volume
        rows.append(stage(f"segmentation/{DIRECT}/pretrain", segmentation.pretraining_steps))
    unets: list[int] = []
    for site in sites:
        trained = {choose_trained(arm, arms, all_annotated=site in all_annotated) for arm in arms}
        first = [segmentation.pretraining_steps for _ in {get_network_arm(arm) for arm in trained} - {DIRECT}]
        second = [segmentation.finetuning_steps for arm in trained if ARMS[arm].finetuned]
        unets += (first + second) * len(folds)
    rows.append(_several(config, UNETS, unets, costs, segmentation.batch))
    return rows


def _several(config: Config, what: StageKind, steps: Sequence[int], costs: StepCosts, volumes: int = 1) -> _Stages:
    """Return stages of one kind, given the steps of each and the volumes a step."""
    name, kind = what
    each = costs.of(config, kind, volumes=volumes)
    kept = sum(min(CHECKPOINTS_KEPT, math.ceil(count / config.checkpoint_every)) for count in steps)
    disk = 1e6 * kept * _MEGABYTES[kind][config.model.size] if kind in _MEGABYTES else 0.0
    return _Stages(name, sum(steps), len(steps) * each.start + each.seconds * sum(steps), disk, kind)
