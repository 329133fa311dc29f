"""What a run will do, on what and about how long, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from fedsim_tf.config import Config
from fedsim_tf.jobs.inputs import labels_of, source

# Seconds a step by edge length, with the widths and batches of the preset of that size: benchmarks/steps.py on two
# AVX2 cores at 140 GFLOP/s. They say "minutes" or "days" before a run starts; progress bars say more once it runs.
_SECONDS = {
    "pretraining": {32: 0.35, 64: 1.2, 128: 4.0},
    "gan": {32: 0.33, 64: 2.0, 128: 16.0},
    "semi": {32: 0.8, 64: 2.5, 128: 12.0},
    "unet": {32: 0.18, 64: 2.0, 128: 60.0},
    "sample": {32: 0.35, 64: 3.0, 128: 40.0},
}
PHANTOM_SITE_SECONDS = 35.0
TRACING_SECONDS = 20.0  # of each stage at each site, before its first step


def describe(config: Config, *, sites: Sequence[str], run_dir: str) -> str:
    """Several lines: data, preset, what is compared, steps of each stage and the estimated time."""
    rows = _stages(config, sites)
    seconds = sum(steps * each for _, steps, each in rows)
    lines = [
        "; ".join(source(config, site) for site in sites) + f" -- preset {config.preset}",
        f"run folder: {run_dir} (the same command again resumes)",
        f"labelled training volumes: {', '.join(f'{site} {labels_of(config, site)}' for site in sites)}; "
        f"{config.data.folds} of 5 folds; {config.model.size}^3 voxels",
        f"arms: {', '.join(config.segmentation.arms)}; VGG-19 weights: {config.model.vgg_weights}",
        *(f"  {name:<24}{steps:>8} steps  ~{_duration(steps * each)}" for name, steps, each in rows),
        f"estimated time on two cores: {_duration(seconds)}",
    ]
    return "\n".join(lines)


def _stages(config: Config, sites: Sequence[str]) -> list[tuple[str, int, float]]:
    """(name, steps, seconds a step) over all folds, sites and arms."""
    times = config.data.folds * len(sites)
    cost = {name: by_size[config.model.size] for name, by_size in _SECONDS.items()}
    segmentation = config.segmentation
    unet = len(segmentation.arms) * (segmentation.pretraining_steps + segmentation.finetuning_steps)
    rows = [
        ("generator pre-training", config.pretraining.steps * times, cost["pretraining"]),
        ("GAN pre-training", config.gan.steps * times, cost["gan"]),
        ("semi-supervised", config.semi.steps * times, cost["semi"]),
        ("synthetic volumes", config.synthesis.volumes * times, cost["sample"]),
        ("3D U-Nets, all arms", unet * times, cost["unet"] * segmentation.batch),
    ]
    if config.is_phantom:
        rows.insert(0, ("phantom sites, first use", len(sites), PHANTOM_SITE_SECONDS))
    return rows


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"
