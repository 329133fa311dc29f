"""What a run does: frozen, validated dataclasses and the presets that fill them.

Every field carries its own help text; `experiments` turns each one into a command-line flag `--<section>_<field>`.
Fields whose value the paper fixes say so; the others are this project's choice (docs/method.md lists them).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedsim_tf.arms import ARMS
from fedsim_tf.errors import InputError

DATASETS = ("ct20", "ct34lc", "ct34mc", "totalsegmentator", "nifti")
# Fewer and more labels, of which the paper's Table 3 reports both; None where the paper says nothing.
PAPER_LABELS = {"ct20": (4, 8), "ct34lc": (6, 12), "ct34mc": (6, 12)}
LABEL_SIZES = ("fewer", "more")
N_FOLDS = 5  # of the cross-validation (paper: 5)
MOST_SEED = 2**32 // N_FOLDS - 1  # each fold has one of its own, see `Config.of_fold`
VGG_WORDS = ("imagenet", "random")  # weights that are no file
LOWEST_TUBE_KV = 40.0
PRECISIONS = ("auto", "float32", "bfloat16")


def option(default: Any, text: str, **limits: Any) -> Any:
    """A field with a default, a help text, limits and whether a run that is resumed may have another value.

    `limits`: `low` and `high` of numbers, `choices`, `may_change`, and `path` of what names a file or folder, with the
    words that do not.
    """
    return dataclasses.field(default=default, metadata={"help": text, **limits})


class _Checked:
    """Checks numbers against the limits of their fields."""

    def __post_init__(self):
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            self._check(field.name, getattr(self, field.name), **field.metadata)

    def _check(self, name: str, value: Any, *, low=None, high=None, choices=None, **_: Any) -> None:
        if choices is not None:
            chosen = value if isinstance(value, tuple) else (value,)
            if not chosen or any(item not in choices for item in chosen):
                raise InputError(name, found=repr(value), expected=f"of {', '.join(map(str, choices))}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(name, found=value, expected="a finite number")
        if low is not None and value < low:
            raise InputError(name, found=value, expected=f"at least {low}")
        if high is not None and value > high:
            raise InputError(name, found=value, expected=f"at most {high}")


@dataclasses.dataclass(frozen=True)
class DataConfig(_Checked):
    """Which patients, and how their volumes are prepared."""

    root: str = option(
        "", "Folder with the real data set; empty: the embedded phantom cohort stands in for it.", path=()
    )
    division: str = option(
        "",
        "CSV (id,site) that divides CHD68 into two sites; empty: the data folder's division.csv or the one shipped.",
        path=(),
    )
    phantom_shapes: str = option(
        "",
        "Corresponding heart shapes (.npz) for the phantom cohort: the first 20 for ct20, the next 34 for ct34lc, the "
        "next for ct34mc; beyond them, and where empty, its own hearts.",
        path=(),
    )
    phantom_version: int = option(0, "Version of the phantom cohort; 0: the one that this code makes.", low=0)
    field_of_view_mm: float = option(
        0.0, "Left-right extent in mm, where the files carry no true spacing (CHD68); 0: as in the files.", low=0
    )
    field_of_view_z_mm: float = option(
        0.0, "Extent towards the head, where that is not true either; 0: in proportion to the left-right one.", low=0
    )
    labels: int = option(0, "Annotated training volumes to use; 0: the paper's smaller number.", low=0)
    folds: int = option(5, "Cross-validation folds to run, of five (paper: 5).", low=1, high=N_FOLDS)
    split_seed: int = option(0, "Seed of the division into folds and of which patients keep their labels.", low=0)
    window_low_hu: float = option(-1000.0, "CT value that becomes -1.")
    window_high_hu: float = option(1000.0, "CT value that becomes +1.")

    def __post_init__(self):
        super().__post_init__()
        if self.window_low_hu >= self.window_high_hu:
            raise InputError("window_low_hu", found=self.window_low_hu, expected=f"below {self.window_high_hu}")

    @property
    def window_hu(self) -> tuple[float, float]:
        return (self.window_low_hu, self.window_high_hu)


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Checked):
    """Sizes of volumes and networks, and the simulated scanner."""

    size: int = option(128, "Voxels along each edge of label and CT volumes (paper: 128).", choices=(32, 64, 128))
    coarse_size: int = option(
        16, "Voxels along each edge of material map and simulated CT (paper: 16).", choices=(16, 32, 64)
    )
    shape_model: str = option(
        "", "Shape model or corresponding shapes (.npz); empty: a model of phantom hearts.", path=()
    )
    shape_modes: int = option(14, "Modes of the statistical shape model (paper: 14).", low=1)
    rows_per_voxel: int = option(
        1, "Rows that sample a voxel along y and z in the voxelization; along x it is exact.", low=1, high=8
    )
    latent: int = option(64, "Length of the latent vector z.", low=1)
    gan_width: int = option(64, "Channels of the enhancement generator's last block.", low=4)
    discriminator_width: int = option(64, "Channels of the discriminators' first layer.", low=4)
    unet_width: int = option(32, "Channels of the 3D U-Net's first layer (Cicek et al.: 32).", low=2)
    precision: str = option(
        "auto",
        "Of the convolutions in U-Net, GAN and VGG: auto is bfloat16 where the hardware has it, else float32.",
        choices=PRECISIONS,
    )
    vgg_weights: str = option(
        "imagenet", "VGG-19 weights: 'imagenet' (downloaded by Keras), a file, or 'random'.", path=VGG_WORDS
    )
    simulated_energy_kev: float = option(70.0, "Effective X-ray energy of the simulator in keV.", low=20, high=200)
    simulated_photons: float = option(0.0, "Photons per detector pixel of the simulator; 0: no noise (paper).", low=0)
    simulated_focal_spot_mm: float = option(0.0, "Width of the simulator's X-ray source (paper: 0).", low=0)
    simulated_kernel_mm: float = option(0.0, "Blur of the simulator's reconstruction kernel (paper: 0).", low=0)
    simulated_tube_kv: float = option(0.0, "Tube voltage, 40 to 150 kV; 0: one energy (paper).", low=0, high=150)

    def __post_init__(self):
        super().__post_init__()
        if 0 < self.simulated_tube_kv < LOWEST_TUBE_KV:
            raise InputError("simulated_tube_kv", found=self.simulated_tube_kv, expected="0, or 40 to 150")


@dataclasses.dataclass(frozen=True)
class PretrainingConfig(_Checked):
    """Shape, material and latents on annotated volumes (section 2.2, pre-training)."""

    steps: int = option(3000, "Steps.", low=1)
    batch: int = option(4, "Volumes a step.", low=1)
    rate: float = option(2e-3, "Adam's rate for the shape and material networks.", low=0)
    latent_rate: float = option(1e-2, "Adam's rate for the latents.", low=0)
    perceptual_weight: float = option(0.1, "Weight of the perceptual loss beside the mean squared error.", low=0)
    latent_ball: float = option(
        0.0,
        "Radius of the ball that latents are kept in, here and later, in units of sqrt(their length); 0: none.",
        low=0,
    )


@dataclasses.dataclass(frozen=True)
class GanConfig(_Checked):
    """The enhancement network on annotated slices (section 2.2, GAN pre-training; Park et al. 2019)."""

    steps: int = option(20000, "Steps of discriminator and generator.", low=1)
    batch: int = option(4, "Slices a step.", low=1)
    generator_rate: float = option(1e-4, "Adam's rate for the generator (Park et al.: 1e-4).", low=0)
    discriminator_rate: float = option(4e-4, "Adam's rate for the discriminator (Park et al.: 4e-4).", low=0)
    feature_weight: float = option(10.0, "Weight of the feature matching loss (Park et al.: 10).", low=0)
    vgg_weight: float = option(10.0, "Weight of the VGG loss (Park et al.: 10).", low=0)
    flip: bool = option(True, "Whether half of the pairs are mirrored left to right, in this stage alone.")
    intensity: float = option(
        0.05, "Largest change of a pair's gain, and of its offset on the scale -1 to 1, in this stage.", low=0
    )


@dataclasses.dataclass(frozen=True)
class SemiSupervisedConfig(_Checked):
    """Everything but the discriminator on all training volumes (section 2.2, semi-supervised learning)."""

    steps: int = option(4000, "Steps, supervised and unsupervised in turn.", low=1)
    unsupervised_steps: int = option(1, "Unsupervised steps after each supervised one.", low=0)
    batch: int = option(1, "Volumes an unsupervised step, one random slice each.", low=1)
    rate: float = option(1e-4, "Adam's rate for the shape and material networks.", low=0)
    latent_rate: float = option(1e-2, "Adam's rate for the latents.", low=0)
    unsupervised_weight: float = option(
        0.3,
        "Length of the shape and of the material network's unsupervised gradients, beside 1 of supervised ones.",
        low=0,
    )
    gan_rate: float = option(5e-5, "Adam's rate for the enhancement generator.", low=0)

    @property
    def learns_unannotated(self) -> bool:
        """Whether there is an unsupervised step: the first one is supervised."""
        return self.unsupervised_steps > 0 and self.steps > 1


@dataclasses.dataclass(frozen=True)
class SynthesisConfig(_Checked):
    """Sampling of labelled synthetic volumes."""

    volumes: int = option(20, "Synthetic volumes (paper: 20).", low=1)


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(_Checked):
    """The 3D U-Net that judges the synthetic data; the same budget for every arm."""

    arms: tuple[str, ...] = option(
        ("lower_bound", "ours_full", "upper_bound"),
        "What is compared, of: " + ", ".join(ARMS) + ".",
        choices=tuple(ARMS),
    )
    pretraining_steps: int = option(4000, "Steps on synthetic volumes (on real ones for the bounds).", low=1)
    finetuning_steps: int = option(4000, "Steps on real annotated volumes.", low=1)
    batch: int = option(1, "Volumes a step (paper: 1, federated 3).", low=1)
    augment: bool = option(
        False, "Turn, scale, shift and brighten volumes at random: better networks, but the paper speaks of none."
    )
    rate: float = option(1e-3, "Adam's rate.", low=0)
    finetuning_rate: float = option(3e-4, "Adam's rate while fine-tuning.", low=0)
    heart_weight: float = option(1.0, "Weight of the heart's voxels in the cross-entropy beside the Dice loss.", low=0)
    validation_every: int = option(200, "Steps between looks at the validation part.", low=1)
    patience: int = option(
        0, "Looks at the validation part without a better one after which a stage ends; 0: equal budgets.", low=0
    )


@dataclasses.dataclass(frozen=True)
class FederatedConfig(_Checked):
    """How sites learn together."""

    sites: tuple[str, ...] = option(
        ("ct20", "ct34lc", "ct34mc"), "The sites: data sets or, with --engine=nvflare, their names in its project."
    )
    accumulate: str = option("sum", "How site gradients are accumulated at the server.", choices=("sum", "mean"))
    more_labels: bool = option(False, "The paper's larger numbers of labels (8, 12, 12) instead of (4, 6, 6).")
    quorum: int = option(0, "Sites whose answers a round needs; 0: all. The paper has all.", low=0, may_change=True)
    largest_norm: float = option(
        100.0,
        "A gradient is refused whose norm is so many times what is usual: the median of the other sites' or, where "
        "there are not two, of the site's own last; 0: none is.",
        low=0,
        may_change=True,
    )
    latents_of: int = option(
        3, "The least number of volumes whose latents' moments a site hands out; those of two give both away.", low=1
    )
    timeout: float = option(
        120.0,
        "Seconds without a sign of life from a site after which a run goes on without it, or ends.",
        low=20,
        may_change=True,
    )
    clip_norm: float = option(
        0.0, "Largest norm of a gradient that leaves a site; others are scaled down; 0: any.", low=0
    )
    noise_multiplier: float = option(
        0.0, "Normal noise on gradients that leave a site, in units of the largest norm; 0: none (paper).", low=0
    )

    def __post_init__(self):
        super().__post_init__()
        names = self.sites
        check_site_names(names)
        if self.quorum > len(names):
            raise InputError("quorum", found=self.quorum, expected=f"at most {len(names)}, the number of sites")
        if self.noise_multiplier and not self.clip_norm:
            raise InputError("noise_multiplier", found="no clip_norm", expected="one: noise is in units of it")


# Each site has a folder of its name. FLARE's simulator has folders of its own beside them, and some file systems
# have device names.
_RESERVED_SITES = re.compile(r"server|local|startup|pool_stats|con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)
_LONGEST_SITE = 64  # characters of a name in a certificate (RFC 5280, ub-common-name)


def check_site_names(names: Sequence[str]) -> None:
    """Refuses site names that cannot be the names of different folders on every machine.

    Raises:
      InputError: no name, a name that is not allowed, or two names that differ in upper and lower case at most.
    """
    subject, allowed = "federated.sites", f"1 to {_LONGEST_SITE} of the characters A-Z, a-z, 0-9, _ and -"
    if not names:
        raise InputError(subject, found="no name", expected="the names of one or more sites")
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
            raise InputError(subject, found=repr(name), expected=f"{allowed} in a name, and no - at its beginning")
        if len(name) > _LONGEST_SITE:
            raise InputError(subject, found=f"{name[:20]!r}... of {len(name)} characters", expected=allowed)
        if _RESERVED_SITES.fullmatch(name):
            raise InputError(subject, found=f"{name!r}, which is reserved", expected="another name for this site")
    for number, name in enumerate(names):
        for other in names[:number]:
            if name.lower() == other.lower():
                found = f"{name!r} twice" if name == other else f"both {other!r} and {name!r}"
                raise InputError(subject, found=found, expected="names that differ in more than upper and lower case")


@dataclasses.dataclass(frozen=True)
class Config(_Checked):
    """A whole run. Sections mirror the stages of the method."""

    dataset: str = option("ct34lc", "The data set of a single-site run.", choices=DATASETS)
    preset: str = option("paper", "The preset that filled the other fields.")
    seed: int = option(
        0, "Seed of initial values and of every random choice but the division into folds.", low=0, high=MOST_SEED
    )
    checkpoint_every: int = option(200, "Steps between checkpoints.", low=1)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    pretraining: PretrainingConfig = dataclasses.field(default_factory=PretrainingConfig)
    gan: GanConfig = dataclasses.field(default_factory=GanConfig)
    semi: SemiSupervisedConfig = dataclasses.field(default_factory=SemiSupervisedConfig)
    synthesis: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)
    segmentation: SegmentationConfig = dataclasses.field(default_factory=SegmentationConfig)
    federated: FederatedConfig = dataclasses.field(default_factory=FederatedConfig)

    @property
    def is_phantom(self) -> bool:
        """Whether the embedded cohort stands in for the data set."""
        return not self.data.root

    def of_fold(self, number: int) -> Config:
        """What one fold learns with: a seed of its own, so that no two folds draw the same random numbers."""
        return dataclasses.replace(self, seed=self.seed * N_FOLDS + number)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as written to config.json."""
        return dataclasses.asdict(self)


def fixed(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration as `Config.to_dict` gives it, without what may change while a run is resumed.

    Files may be moved: of paths only that there is one is left. What they hold is compared where it is used, see
    `runs.same_data`.
    """
    return values | {
        name: _fixed(values[name], dataclasses.fields(_KINDS[name])) for name in SECTIONS if name in values
    }


def _fixed(section: dict[str, Any], fields: Sequence[dataclasses.Field]) -> dict[str, Any]:
    found = dict(section)
    for name, limits in ((field.name, field.metadata) for field in fields if field.name in section):
        if limits.get("may_change"):
            del found[name]
        elif _names_a_file(found[name], limits):
            found[name] = "a file or folder"
    return found


def is_path(section: str, name: str, value: Any) -> bool:
    """Whether a value of a field, such as "root" of "data", names a file or folder."""
    (field,) = (field for field in dataclasses.fields(_KINDS[section]) if field.name == name)
    return _names_a_file(value, field.metadata)


def paths_of(config: Config) -> list[tuple[str, str, str]]:
    """Section, field and value of every field that names a file or folder."""
    values = config.to_dict()
    fields = [(section, field.name) for section in SECTIONS for field in dataclasses.fields(_KINDS[section])]
    found = [(section, name, values[section][name]) for section, name in fields]
    return [one for one in found if is_path(*one)]


def _names_a_file(value: Any, limits: Mapping[str, Any]) -> bool:
    return "path" in limits and bool(value) and value not in limits["path"]


_KINDS: dict[str, Any] = {  # of dataclasses
    field.name: field.default_factory for field in dataclasses.fields(Config) if field.default is dataclasses.MISSING
}
SECTIONS = tuple(_KINDS)

_SMALL = {
    "checkpoint_every": 100,
    "data": {"folds": 1},
    "model": {"size": 64, "gan_width": 32, "discriminator_width": 32, "unet_width": 8},
    "pretraining": {"steps": 1000},
    "gan": {"steps": 1200},
    "semi": {"steps": 400},
    "segmentation": {"pretraining_steps": 300, "finetuning_steps": 250, "validation_every": 50},
}
_DEMO = {
    "checkpoint_every": 50,
    "data": {"folds": 1},
    "model": {
        "size": 32,
        "gan_width": 8,
        "discriminator_width": 16,
        "unet_width": 4,
        "vgg_weights": "random",
    },
    "pretraining": {"steps": 130, "batch": 2, "rate": 2e-3, "latent_rate": 5e-2},
    "gan": {"steps": 250, "batch": 4, "generator_rate": 4e-4, "discriminator_rate": 8e-4},
    "semi": {"steps": 100, "batch": 2, "latent_rate": 5e-2, "gan_rate": 2e-5},
    "segmentation": {
        "pretraining_steps": 270,
        "finetuning_steps": 270,
        "rate": 3e-3,
        "finetuning_rate": 1e-3,
        "validation_every": 54,
    },
}
PRESETS: dict[str, dict[str, Any]] = {"paper": {}, "small": _SMALL, "demo": _DEMO}


def make_config(preset: str, **overrides: Any) -> Config:
    """The configuration of a preset, with overrides.

    Args:
      preset: "paper", "small" or "demo".
      **overrides: top-level values, or dictionaries of values for a section.

    Raises:
      InputError: an unknown preset or name, or a value outside its limits.
    """
    if preset not in PRESETS:
        raise InputError("preset", found=repr(preset), expected=f"one of {', '.join(PRESETS)}")
    values = merge(merge({"preset": preset}, PRESETS[preset]), overrides)
    return from_dict(values)


def from_dict(values: dict[str, Any]) -> Config:
    """A configuration from nested dictionaries, such as those of `Config.to_dict` read back from JSON."""
    return _build(Config, values, name="")


def merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `overrides`, section by section."""
    merged = dict(base)
    for key, value in overrides.items():
        merged[key] = merge(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def _build(kind: type, values: dict[str, Any], *, name: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise InputError(f"{name or 'configuration'}", found=f"unknown field {unknown[0]!r}", expected=sorted(fields))
    arguments = {}
    for key, value in values.items():
        factory = fields[key].default_factory
        if factory is not dataclasses.MISSING:
            value = _build(factory, value, name=key)  # type: ignore[arg-type]
        arguments[key] = tuple(value) if isinstance(value, list) else value
    return kind(**arguments)
