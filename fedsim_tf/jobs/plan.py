"""What a run will do, on what and about how long, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from fedsim_tf.arms import ARMS, DIRECT, at_federated_sites, drawn, simulators
from fedsim_tf.config import Config
from fedsim_tf.jobs.inputs import labels_of, source
from fedsim_tf.models.precision import resolved
from fedsim_tf.progress import duration

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
    """
    arms = _arms(config, federated)
    larger = federated and config.federated.more_labels
    labels = [f"{site} {labels_of(config, site, larger=larger)}" for site in sites]
    folds = config.data.folds if only_fold is None else 1
    rows = _stages(config, sites, arms, folds)
    seconds = estimated_seconds(config, sites=sites, federated=federated, folds=folds)
    which = f"{config.data.folds} of 5 folds" + ("" if only_fold is None else f", now fold {only_fold} alone")
    data = f"{', '.join(sites)}: each its own data" if elsewhere else "; ".join(source(config, site) for site in sites)
    lines = [
        f"{data} -- preset {config.preset}",
        f"run folder: {run_dir} (the same command again resumes)",
        f"labelled training volumes: {', '.join(labels)}; {which}; {config.model.size}^3 voxels",
        f"arms: {', '.join(arms)}; VGG-19 weights: {config.model.vgg_weights}",
        *(f"  {name:<24}{steps:>8} steps  ~{duration(steps * each)}" for name, steps, each in rows),
        f"estimated time on two cores: {duration(seconds)}",
    ]
    return "\n".join(lines)


def estimated_seconds(config: Config, *, sites: Sequence[str], federated: bool, folds: int) -> float:
    """About how long a run takes on two cores."""
    rows = _stages(config, sites, _arms(config, federated), folds)
    return START_SECONDS + sum(steps * each for _, steps, each in rows)


def _arms(config: Config, federated: bool) -> tuple[str, ...]:
    return at_federated_sites(config.segmentation.arms) if federated else config.segmentation.arms


def _stages(config: Config, sites: Sequence[str], arms: Sequence[str], folds: int) -> list[tuple[str, int, float]]:
    """(name, steps, seconds a step) over all folds, sites and arms."""
    times = folds * len(sites)
    costs = _SECONDS[resolved(config.model.precision)]
    cost = {name: by_size[config.model.size] for name, by_size in costs.items()}
    segmentation = config.segmentation
    first, second = segmentation.pretraining_steps, segmentation.finetuning_steps
    unet = sum(first * (arm != DIRECT) + ARMS[arm].finetuned * second for arm in arms)
    sources, series = simulators(arms), len(drawn(arms))
    rows = [("phantom sites, first use", len(sites), PHANTOM_SITE_SECONDS)] if config.is_phantom else []
    if sources - {"fixed"}:
        rows += [
            ("generator pre-training", config.pretraining.steps * times, cost["pretraining"]),
            ("GAN pre-training", config.gan.steps * times, cost["gan"]),
        ]
    if sources & {"semi_supervised", "federated"}:
        rows.append(("semi-supervised", config.semi.steps * times, cost["semi"]))
    if "fixed" in sources:
        rows += [
            ("fixed materials, shape", config.pretraining.steps * times, cost["pretraining"]),
            ("fixed materials, GAN", config.gan.steps * times, cost["gan"]),
        ]
    if series:
        rows.append(("synthetic volumes", series * config.synthesis.volumes * times, cost["sample"]))
    if DIRECT in arms:  # a site's step is of one volume
        rows.append(("Direct-FL, steps of sites", first * times, cost["unet"]))
    rows.append(("3D U-Nets, all arms", unet * times, cost["unet"] * segmentation.batch))
    return rows
