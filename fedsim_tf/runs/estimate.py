"""What a run will do, on what, about how long and with how much disk, said before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedsim_tf.arms import (
    ARMS,
    DIRECT,
    FEDERATED_SIMULATION,
    federate_arms,
    get_volumes_arm,
    list_volumes_arms,
    simulators,
)
from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.models.precision import resolved
from fedsim_tf.progress import duration, readable, room
from fedsim_tf.runs.inputs import labels_of, source
from fedsim_tf.training.checkpoints import KEPT

# Seconds a step by precision and edge length, with the widths and batches of the preset of that size:
# benchmarks/steps.py on two AVX-512 cores. They say "minutes" or "days" before a run starts; progress bars say more.
_SECONDS = {
    "float32": {
        "pretraining": {32: 0.1, 64: 0.13, 128: 0.25},
        "gan": {32: 0.18, 64: 0.9, 128: 6.0},
        "semi": {32: 0.5, 64: 0.8, 128: 5.0},
        "sample": {32: 0.4, 64: 3.0, 128: 30.0},
        "unet": {32: 0.08, 64: 1.0, 128: 45.0},
    },
    "bfloat16": {
        "pretraining": {32: 0.1, 64: 0.11, 128: 0.17},
        "gan": {32: 0.18, 64: 0.55, 128: 3.5},
        "semi": {32: 0.5, 64: 0.6, 128: 3.0},
        "sample": {32: 0.4, 64: 1.6, 128: 20.0},
        "unet": {32: 0.07, 64: 0.8, 128: 28.0},
    },
}
# Megabytes of a checkpoint by edge length, from the same benchmark; they depend on the widths alone.
_MEGABYTES = {
    "pretraining": {32: 24, 64: 128, 128: 396},
    "gan": {32: 57, 64: 371, 128: 1173},
    "semi": {32: 58, 64: 363, 128: 1132},
    "unet": {32: 5, 64: 19, 128: 305},
}
PHANTOM_SITE_SECONDS = 20.0
START_SECONDS = 15.0


def describe(
    config: Config,
    *,
    sites: Sequence[str],
    run_dir: str,
    federated: bool = False,
    only_fold: int | None = None,
    elsewhere: bool = False,
) -> str:
    """Several lines: data, preset, what is compared, steps of each stage and the estimated time.

    `elsewhere`: the sites have data of their own, of which this machine knows nothing.

    Raises:
      InputError: what cannot work, however long it runs.
    """
    arms = _arms(config, federated)
    larger = federated and config.federated.more_labels
    counts = {site: labels_of(config, site, larger=larger) for site in sites}
    _check_latents(config, arms, counts)
    labels = [f"{site} {count}" for site, count in counts.items()]
    folds = config.data.folds if only_fold is None else 1
    rows = _stages(config, sites, arms, folds)
    if config.is_phantom and not elsewhere:
        rows.insert(0, _Stages("phantom sites, first use", len(sites), len(sites) * PHANTOM_SITE_SECONDS))
    cost = _cost(rows)
    which = f"{config.data.folds} of 5 folds" + ("" if only_fold is None else f", now fold {only_fold} alone")
    data = f"{', '.join(sites)}: each its own data" if elsewhere else "; ".join(source(config, site) for site in sites)
    disk = f"{readable(cost.disk)}, each site's share at the site" if elsewhere else room(cost.disk, run_dir)
    folder = f"{run_dir} there" if elsewhere else run_dir
    lines = [
        f"{data} -- preset {config.preset}",
        f"run folder: {folder} (the same command again resumes)",
        f"labelled training volumes: {', '.join(labels)}; {which}; {config.model.size}^3 voxels",
        f"arms: {', '.join(arms)}; VGG-19 weights: {config.model.vgg_weights}",
        *(f"  {row.name:<24}{row.steps:>8} steps  ~{duration(row.seconds)}" for row in rows),
        f"disk for checkpoints: {disk}",
        f"estimated time on two cores: {duration(cost.seconds)}",
    ]
    return "\n".join(lines)


def _check_latents(config: Config, arms: Sequence[str], labels: Mapping[str, int]) -> None:
    """Refuses what would be refused days later: a federated simulation whose sites all keep their latents' moments."""
    least = config.federated.latents_of
    if FEDERATED_SIMULATION in arms and max(labels.values()) < least:
        found = f"{max(labels.values())}, of which no site gives its latents' moments"
        raise InputError("--data_labels", found=found, expected=f"at least {least}: see --federated_latents_of")


class Cost(NamedTuple):
    """What a run takes: seconds on two cores, bytes of disk."""

    seconds: float
    disk: float


def estimated_cost(config: Config, *, sites: Sequence[str], federated: bool, folds: int) -> Cost:
    """About what a run on volumes that are prepared takes."""
    return _cost(_stages(config, sites, _arms(config, federated), folds))


def enhancement_cost(config: Config) -> Cost:
    """About what it takes to train the enhancement network alone."""
    return _cost([_several(config, "GAN", "gan", [config.gan.steps])])


def visit_seconds(config: Config, *, patients: int) -> float:
    """About how long it takes to render and segment that many patients at another hospital."""
    return patients * _SECONDS[resolved(config.model.precision)]["sample"][config.model.size]


def cores_used(config: Config) -> int:
    """How many cores a run makes full use of: at the smallest size a step is no faster with two than with one."""
    return 1 if config.model.size <= min(_SECONDS["float32"]["unet"]) else 2


def _cost(rows: Sequence[_Stages]) -> Cost:
    return Cost(START_SECONDS + sum(row.seconds for row in rows), sum(row.disk for row in rows))


class _Stages(NamedTuple):
    """A stage over all folds, sites and arms."""

    name: str
    steps: int
    seconds: float
    disk: float = 0.0


def _arms(config: Config, federated: bool) -> tuple[str, ...]:
    return federate_arms(config.segmentation.arms) if federated else config.segmentation.arms


def _stages(config: Config, sites: Sequence[str], arms: Sequence[str], folds: int) -> list[_Stages]:
    """All stages in their order."""
    times = folds * len(sites)
    segmentation = config.segmentation
    sources, series = simulators(arms), len(list_volumes_arms(arms))
    stage = lambda name, kind, steps: _several(config, name, kind, [steps] * times)  # noqa: E731
    rows = []
    if sources - {"fixed"}:
        rows.append(stage("generator pre-training", "pretraining", config.pretraining.steps))
        rows.append(stage("GAN pre-training", "gan", config.gan.steps))
    if sources & {"semi_supervised", "federated"}:
        rows.append(stage("semi-supervised", "semi", config.semi.steps))
    if "fixed" in sources:
        rows.append(stage("fixed materials, shape", "pretraining", config.pretraining.steps))
        rows.append(stage("fixed materials, GAN", "gan", config.gan.steps))
    if series:
        rows.append(stage("synthetic volumes", "sample", series * config.synthesis.volumes))
    if DIRECT in arms:  # a site's step is of one volume
        rows.append(stage("Direct-FL, steps of sites", "unet", segmentation.pretraining_steps))
    first = [segmentation.pretraining_steps for _ in {get_volumes_arm(arm) for arm in arms} - {DIRECT}]
    second = [segmentation.finetuning_steps for arm in arms if ARMS[arm].finetuned]
    rows.append(_several(config, "3D U-Nets, all arms", "unet", (first + second) * times, segmentation.batch))
    return rows


def _several(config: Config, name: str, kind: str, steps: Sequence[int], volumes: int = 1) -> _Stages:
    """Stages of one kind, each of so many steps."""
    each = _SECONDS[resolved(config.model.precision)][kind][config.model.size]
    kept = sum(min(KEPT, math.ceil(count / config.checkpoint_every)) for count in steps)
    disk = 1e6 * kept * _MEGABYTES[kind][config.model.size] if kind in _MEGABYTES else 0.0
    return _Stages(name, sum(steps), volumes * each * sum(steps), disk)
