"""What a step of each kind of stage takes: as this machine has shown, or as a table of another one has it."""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fedsim_tf.arms import DIRECT
from fedsim_tf.config import Config, make_config
from fedsim_tf.files import digest_json, list_whole_files, read_json
from fedsim_tf.records.step_times import StepTime

# Seconds a step by precision and edge length, with the widths and batches of the preset of that size:
# benchmarks/steps.py on two AVX-512 cores. They count until a machine has timed steps of its own.
_SECONDS = {
    "float32": {
        "pretraining": {32: 0.1, 64: 0.13, 128: 0.25},
        "gan": {32: 0.18, 64: 0.9, 128: 6.0},
        "semi": {32: 0.5, 64: 0.8, 128: 5.0},
        "plus": {32: 0.2, 64: 0.8, 128: 14.0},
        "sample": {32: 0.4, 64: 3.0, 128: 30.0},
        "unet": {32: 0.06, 64: 1.0, 128: 45.0},
    },
    "bfloat16": {
        "pretraining": {32: 0.1, 64: 0.11, 128: 0.17},
        "gan": {32: 0.18, 64: 0.55, 128: 3.5},
        "semi": {32: 0.5, 64: 0.6, 128: 3.0},
        "plus": {32: 0.2, 64: 0.45, 128: 6.0},
        "sample": {32: 0.4, 64: 1.6, 128: 20.0},
        "unet": {32: 0.06, 64: 0.8, 128: 28.0},
    },
}
_FEWEST = 20  # steps from which a time is taken: among fewer, checkpoints and first looks weigh too much


class StageKind(NamedTuple):
    """What a stage is called in a plan, and of which kind its steps are."""

    title: str
    kind: str


UNETS = StageKind("3D U-Nets, all arms", "unet")
STAGES = {  # by their names in a run's folder; beside these there are U-Nets
    "pretraining": StageKind("generator pre-training", "pretraining"),
    "gan": StageKind("GAN pre-training", "gan"),
    "semi_supervised": StageKind("semi-supervised", "semi"),
    "fixed_material/pretraining": StageKind("fixed materials, shape", "pretraining"),
    "fixed_material/gan": StageKind("fixed materials, GAN", "gan"),
    "fixed_material/plain_gan": StageKind("GAN not augmented", "gan"),
    "plus/enhancement": StageKind("Ours-Plus, enhancement", "plus"),
    f"segmentation/{DIRECT}/pretrain": StageKind("Direct-FL, steps of sites", UNETS.kind),
}
# The sections of the configuration of which a step's time depends on these fields; it depends on the model anyway.
_SECTIONS = {
    "pretraining": ("pretraining",),
    "gan": ("gan",),
    "semi": ("pretraining", "semi"),
    "plus": ("plus",),
    "unet": ("segmentation",),
}
_FIELDS = ("batch", "unsupervised_steps", "width", "augment", "validation_every")
SMALLEST = min(_SECONDS["float32"]["unet"])  # voxels along an edge
_FILES = ("shape_model", "shape_model_of_held_out", "vgg_weights")


def describe_stage(name: str) -> StageKind | None:
    """Return what a stage is, by its name in a run's folder; None of one that a plan does not know."""
    return STAGES.get(name, UNETS if name.startswith("segmentation/") else None)


class StepCosts:
    """The time of steps on this machine.

    Args:
      measured: what steps took here, by their word; see `records.step_times`.
    """

    def __init__(self, measured: Mapping[str, StepTime] | None = None):
        self._measured = dict(measured or {})
        relative = [time.relative for time in self._measured.values() if time.relative is not None]
        self._speed = statistics.median(relative) if relative else 1.0

    def of(self, config: Config, kind: str, *, volumes: int = 1) -> StepTime:
        """Return the time of a step.

        Args:
          config: the run's.
          kind: "pretraining", "gan", "semi", "plus", "unet", or "sample" for a synthetic volume.
          volumes: how many a U-Net's step has.
        """
        if kind in _SECTIONS and (found := self._measured.get(_word(config, kind, volumes))) is not None:
            return found
        return StepTime(self._speed * _look_up(config, kind, volumes), 0.0)

    def describe(self, config: Config, kinds: Collection[str]) -> str:
        """Return in a few words what times of these kinds rest on."""
        if not self._measured:
            return "a guess, as no step has been timed on this machine"
        timed = [self._is_timed(config, kind) for kind in kinds if kind in _SECTIONS]
        return "from steps timed on this machine" if all(timed) else "partly guessed from other steps here"

    def _is_timed(self, config: Config, kind: str) -> bool:
        batches = {1, config.segmentation.batch} if kind == "unet" else {1}
        return any(_word(config, kind, volumes) in self._measured for volumes in batches)


def measure_steps(config: Config, folders: Iterable[pathlib.Path], *, shared: bool) -> dict[str, StepTime]:
    """Return what steps took in finished stages, by their word.

    Args:
      config: the run's.
      folders: of folds, or of sites in them.
      shared: whether sites learn together, so that the time of a shared stage is that of all of them.
    """
    found: dict[str, tuple[str, int, list[StepTime]]] = {}
    for folder in folders:
        for file in list_whole_files(folder / "stages", "*.json"):
            name, record = file.relative_to(folder / "stages").with_suffix("").as_posix(), read_json(file)
            kind = what.kind if (what := describe_stage(name)) else None
            is_shared = kind in ("pretraining", "semi") or name == f"segmentation/{DIRECT}/pretrain"
            is_timed = "step_seconds" in record and record.get("steps", 0) >= _FEWEST
            if kind is None or not is_timed or (shared and is_shared):
                continue
            volumes = config.segmentation.batch if kind == "unet" else 1
            times = found.setdefault(_word(config, kind, volumes), (kind, volumes, []))[2]
            times.append(StepTime(record["step_seconds"], record["start_seconds"]))
    return {word: _summarize(config, *each) for word, each in found.items()}


def _summarize(config: Config, kind: str, volumes: int, times: list[StepTime]) -> StepTime:
    seconds, start = statistics.fmean(one.seconds for one in times), statistics.fmean(one.start for one in times)
    return StepTime(seconds, start, seconds / _look_up(config, kind, volumes) if _is_usual(config) else None)


def _is_usual(config: Config) -> bool:
    """Return whether networks are those of the preset, which the table is of."""
    usual = make_config(config.preset)
    return _describe_model(usual, but=("precision", "labels")) == _describe_model(config, but=("precision", "labels"))


def _look_up(config: Config, kind: str, volumes: int) -> float:
    """Return the table's seconds. A precision that is not settled yet is taken for the slower one."""
    precision = "float32" if config.model.precision == "auto" else config.model.precision
    return volumes * _SECONDS[precision][kind][config.model.size]


def _word(config: Config, kind: str, volumes: int) -> str:
    """Return the word for a kind of step with all the settings that its time depends on."""
    sections = {name: config.to_dict()[name] for name in _SECTIONS[kind]}
    sections = {name: {field: one[field] for field in _FIELDS if field in one} for name, one in sections.items()}
    told = {"model": _describe_model(config), "sections": sections, "volumes": volumes}
    return f"{kind}-{digest_json(told)[:16]}"


def _describe_model(config: Config, *, but: Collection[str] = ()) -> dict[str, Any]:
    values = config.to_dict()["model"]
    return {name: value for name, value in values.items() if name not in (*_FILES, *but)}
