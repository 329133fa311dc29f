"""The configuration of a run: frozen, validated dataclasses and the presets that fill them.

Every field carries its own help text. `experiments` turns each field into a command-line flag `--<section>_<field>`.
Fields whose value the paper fixes say so. The others are this project's choice (docs/method.md lists them).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from fedsim_tf.arms import ARMS
from fedsim_tf.config_fields import Checked, is_path_value, option
from fedsim_tf.crop_size import parse_crop_size
from fedsim_tf.errors import InputError
from fedsim_tf.label_values import parse_label_values
from fedsim_tf.regions import LABEL_KINDS, REGION_IDS

DATASETS = ("ct20", "ct34lc", "ct34mc", "totalsegmentator", "nifti")
# The paper's smaller and larger number of annotated training volumes. Table 3 reports both.
PAPER_LABELS = {"ct20": (4, 8), "ct34lc": (6, 12), "ct34mc": (6, 12)}
LABEL_SIZES = ("fewer", "more")
N_FOLDS = 5  # parts of the cross-validation (paper: 5)
MOST_SEED = 2**32 // N_FOLDS - 1  # each fold derives a seed of its own, see `Config.of_fold`
VGG_WORDS = ("imagenet", "random")  # values of `vgg_weights` that do not name a file
A_PATH = "a file or folder"  # stands for a path where configurations are compared
LOWEST_TUBE_KV = 40.0
PRECISIONS = ("auto", "float32", "bfloat16")
ROBUST_RULES = ("auto", "none", "bounded", "median", "trimmed")


@dataclasses.dataclass(frozen=True)
class DataConfig(Checked):
    """The patients of a run and how their volumes are prepared."""

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
    label_values: str = option(
        "",
        "What the values of label maps mean, such as lv:1,rv:2,la:3,ra:4,myo:5,aorta:6,pa:7 or heart:51; others are "
        "background. Empty: as the data set has them.",
    )
    field_of_view_mm: float = option(
        0.0, "Left-right extent in mm, where the files carry no true spacing (CHD68); 0: as in the files.", low=0
    )
    field_of_view_z_mm: float = option(
        0.0, "Extent towards the head, where that is not true either; 0: in proportion to the left-right one.", low=0
    )
    crop_mm: str = option(
        "0",
        "Edge in mm of the cube around the heart that is cut out of each CT; auto: as the annotated hearts need it; 0: "
        "the whole field of view, as in the paper. Hearts are found with the annotated CTs, never by their own labels.",
    )
    labels: int = option(0, "Annotated training volumes to use; 0: the paper's smaller number.", low=0)
    folds: int = option(5, "Cross-validation folds to run, of five (paper: 5).", low=1, high=N_FOLDS)
    split_seed: int = option(0, "Seed of the division into folds and of which patients keep their labels.", low=0)
    window_low_hu: float = option(-1000.0, "CT value that becomes -1.")
    window_high_hu: float = option(1000.0, "CT value that becomes +1.")

    def __post_init__(self):
        super().__post_init__()
        if self.label_values:
            parse_label_values(self.label_values, "label_values")
        if parse_crop_size(self.crop_mm) and (self.field_of_view_mm or self.field_of_view_z_mm):
            must = "be 0 where field_of_view_mm or field_of_view_z_mm is given: crops need the true spacing"
            raise InputError("crop_mm", value=self.crop_mm, must=must)
        if self.window_low_hu >= self.window_high_hu:
            raise InputError("window_low_hu", value=self.window_low_hu, must=f"be below {self.window_high_hu}")

    @property
    def crops(self) -> bool:
        """Whether volumes are cropped around their hearts."""
        return parse_crop_size(self.crop_mm) != 0

    @property
    def window_hu(self) -> tuple[float, float]:
        """The CT values in HU that become -1 and 1."""
        return (self.window_low_hu, self.window_high_hu)


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
    """The sizes of volumes and networks, and the simulated scanner."""

    size: int = option(128, "Voxels along each edge of label and CT volumes (paper: 128).", choices=(32, 64, 128))
    coarse_size: int = option(
        16, "Voxels along each edge of material map and simulated CT (paper: 16).", choices=(16, 32, 64)
    )
    shape_model: str = option(
        "", "Shape model or corresponding shapes (.npz); empty: a model of phantom hearts.", path=()
    )
    shape_model_of_held_out: bool = option(
        False, "Take a shape model even if it was made from patients that validate or test, who are then known to it."
    )
    labels: str = option(
        "heart",
        "What labels tell: the heart as a whole (paper), or its seven regions, each with a label of its own.",
        choices=LABEL_KINDS,
    )
    shape_modes: int = option(14, "Modes of the statistical shape model (paper: 14).", low=1)
    rows_per_voxel: int = option(
        1, "Rows that sample a voxel along y and along z in the voxelization, which is exact along x.", low=1, high=8
    )
    latent: int = option(64, "Length of the latent vector z.", low=1)
    gan_width: int = option(64, "Channels of the enhancement generator's last block.", low=4)
    discriminator_width: int = option(64, "Channels of the discriminators' first layer.", low=4)
    unet_width: int = option(32, "Channels of the 3D U-Net's first layer (Cicek et al.: 32).", low=2)
    precision: str = option(
        "auto",
        "Precision of the convolutions in U-Net, GAN and VGG; auto: whichever is measured to be faster here.",
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

    @property
    def by_region(self) -> bool:
        """Whether labels tell the regions of the heart apart."""
        return self.labels == "regions"

    @property
    def label_channels(self) -> int:
        """How many channels a label has: one for the heart, or one for each region."""
        return len(REGION_IDS) if self.by_region else 1

    @property
    def semantic_channels(self) -> int:
        """How many channels the enhancement network sees: coarse CT, label, and the constant k / size."""
        return 2 + self.label_channels

    def __post_init__(self):
        super().__post_init__()
        if 0 < self.simulated_tube_kv < LOWEST_TUBE_KV:
            raise InputError("simulated_tube_kv", value=self.simulated_tube_kv, must="be 0, or 40 to 150")


@dataclasses.dataclass(frozen=True)
class PretrainingConfig(Checked):
    """The training of shape, material and latents on annotated volumes (section 2.2, pre-training)."""

    steps: int = option(3000, "Steps.", low=1)
    batch: int = option(4, "Volumes a step.", low=1)
    rate: float = option(2e-3, "Adam's rate for the shape and material networks.", low=0)
    latent_rate: float = option(1e-2, "Adam's rate for the latents.", low=0)
    perceptual_weight: float = option(0.1, "Weight of the perceptual loss beside the mean squared error.", low=0)
    latent_ball: float = option(
        0.0,
        "Radius of the ball that latents are kept in from here on, in units of sqrt(latent length); 0: none.",
        low=0,
    )


@dataclasses.dataclass(frozen=True)
class GanConfig(Checked):
    """The training of the enhancement network on annotated slices (section 2.2; Park et al. 2019)."""

    steps: int = option(20000, "Steps of discriminator and generator.", low=1)
    batch: int = option(4, "Slices a step.", low=1)
    generator_rate: float = option(1e-4, "Adam's rate for the generator (Park et al.: 1e-4).", low=0)
    discriminator_rate: float = option(4e-4, "Adam's rate for the discriminator (Park et al.: 4e-4).", low=0)
    feature_weight: float = option(10.0, "Weight of the feature matching loss (Park et al.: 10).", low=0)
    vgg_weight: float = option(10.0, "Weight of the VGG loss (Park et al.: 10).", low=0)
    flip: bool = option(True, "Mirror half of the pairs left to right, in this stage alone.")
    intensity: float = option(
        0.05, "Largest random change of a pair's gain, and of its offset on the scale -1 to 1, in this stage.", low=0
    )


@dataclasses.dataclass(frozen=True)
class SemiSupervisedConfig(Checked):
    """The training of everything but the discriminator on all training volumes (section 2.2, semi-supervised)."""

    steps: int = option(4000, "Steps, supervised and unsupervised in turn.", low=1)
    unsupervised_steps: int = option(1, "Unsupervised steps after each supervised one.", low=0)
    batch: int = option(1, "Volumes an unsupervised step, one random slice each.", low=1)
    rate: float = option(1e-4, "Adam's rate for the shape and material networks.", low=0)
    latent_rate: float = option(1e-2, "Adam's rate for the latents.", low=0)
    unsupervised_weight: float = option(
        0.3,
        "Norm of the unsupervised gradient of the shape and of the material network, in units of the supervised one's.",
        low=0,
    )
    gan_rate: float = option(5e-5, "Adam's rate for the enhancement generator.", low=0)

    @property
    def learns_unannotated(self) -> bool:
        """Return whether the stage has an unsupervised step. Its first step is a supervised one."""
        return self.unsupervised_steps > 0 and self.steps > 1


@dataclasses.dataclass(frozen=True)
class SynthesisConfig(Checked):
    """The sampling of labelled synthetic volumes."""

    volumes: int = option(20, "Synthetic volumes (paper: 20).", low=1)


@dataclasses.dataclass(frozen=True)
class PlusConfig(Checked):
    """What Ours-Plus does beyond the paper; each part can be switched off (docs/method.md)."""

    spread: float = option(
        1.0,
        "How much hearts are changed at random, in standard deviations of the shape model's modes and of the annotated "
        "hearts' poses; 0: not at all.",
        low=0,
    )
    copies: int = option(15, "Deformed copies of each annotated volume.", low=0)
    finetune_on_copies: bool = option(True, "Fine-tune on the deformed copies too.")
    enhancement: str = option(
        "volumes",
        "What renders CTs: a network that sees whole volumes, or the paper's GAN, which sees slices.",
        choices=("volumes", "slices"),
    )
    steps: int = option(2000, "Steps of the enhancement network for volumes, one volume each.", low=1)
    rate: float = option(1e-3, "Adam's rate.", low=0)
    width: int = option(16, "Channels of its first layer.", low=2)
    interpolated: bool = option(
        True,
        "Interpolate maps on their way up in it, instead of up-convolving them, which leaves checks.",
        before=False,
    )
    absolute_weight: float = option(10.0, "Weight of the mean absolute difference.", low=0)
    vgg_weight: float = option(2.0, "Weight of the perceptual loss, on a slice of each plane.", low=0)
    volumes: int = option(60, "Synthetic volumes.", low=1)


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(Checked):
    """The 3D U-Net that measures what synthetic data is worth. Every arm has the same budget."""

    arms: tuple[str, ...] = option(
        ("lower_bound", "ours_full", "upper_bound"),
        "Arms to compare: " + ", ".join(ARMS) + ".",
        choices=tuple(ARMS),
    )
    pretraining_steps: int = option(4000, "Steps on synthetic volumes (on real ones for the bounds).", low=1)
    finetuning_steps: int = option(4000, "Steps on real annotated volumes.", low=1)
    batch: int = option(1, "Volumes a step (paper: 1, federated 3).", low=1)
    augment: bool = option(
        False, "Turn, scale, shift and brighten volumes at random. Networks get better; the paper does not do it."
    )
    rate: float = option(1e-3, "Adam's rate.", low=0)
    finetuning_rate: float = option(3e-4, "Adam's rate while fine-tuning.", low=0)
    heart_weight: float = option(1.0, "Weight of heart voxels in the cross-entropy beside the Dice loss.", low=0)
    validation_every: int = option(200, "Steps between looks at the validation part.", low=1)
    patience: int = option(
        0, "Looks at the validation part without improvement after which a stage ends; 0: equal budgets.", low=0
    )


@dataclasses.dataclass(frozen=True)
class FederatedConfig(Checked):
    """The way in which sites learn together."""

    sites: tuple[str, ...] = option(
        ("ct20", "ct34lc", "ct34mc"), "The sites: data sets or, with --engine=nvflare, their names in its project."
    )
    accumulate: str = option("sum", "How site gradients are accumulated at the server.", choices=("sum", "mean"))
    more_labels: bool = option(False, "The paper's larger numbers of labels (8, 12, 12) instead of (4, 6, 6).")
    quorum: int = option(0, "Sites whose answers a round needs; 0: all. The paper has all.", low=0, may_change=True)
    largest_norm: float = option(
        100.0,
        "Refuse a gradient whose norm is this many times the usual one: the median of the other sites' norms or, where "
        "there are fewer than two, of the site's own last norms; 0: refuse none.",
        low=0,
        may_change=True,
    )
    robust: str = option(
        "auto",
        "How the server bears one bad site among three or more: none (paper); bounded: longer gradients are scaled "
        "down to twice the others' median norm; median or trimmed: that mean of each coordinate; auto: bounded at "
        "hospitals, none on one machine.",
        choices=ROBUST_RULES,
        may_change=True,
    )
    largest_moments: float = option(
        10.0,
        "Refuse moments of latents whose mean is so many times the usual spread away from the median of all sites, or "
        "whose variance is so many times larger or smaller; for three sites or more; 0: refuse none.",
        low=0,
        may_change=True,
    )
    latents_of: int = option(
        3, "Least number of volumes whose latents' moments a site sends. Moments of two give both latents away.", low=1
    )
    timeout: float = option(
        120.0,
        "Seconds without a sign of life from a site after which a run goes on without it or ends.",
        low=20,
        may_change=True,
    )
    clip_norm: float = option(
        0.0, "Largest norm of a gradient that leaves a site; longer ones are scaled down; 0: any.", low=0
    )
    clip_latents: float = option(
        1.25,
        "Largest norm of a latent in moments with noise, in units of sqrt(latent length); longer ones are scaled down.",
        low=0.01,
    )
    noise_multiplier: float = option(
        0.0,
        "Normal noise on gradients and moments of latents that leave a site, in units of their bounds, and ten times "
        "that on losses; 0: none (paper).",
        low=0,
    )
    encrypt: bool = option(
        False,
        "Sites encrypt their gradients and moments, so that the server adds up what it cannot read, and take the "
        "optimizer's step on sums themselves. Needs every site in every round, and TenSEAL (pip extra [encryption]).",
    )
    keep_sent: int = option(
        0,
        "Each site keeps the weights and gradients of its last rounds of each stage, so many, in its own folder, "
        "where experiments.federated_audit shows what the server could make of them; 0: none.",
        low=0,
        may_change=True,
    )

    def __post_init__(self):
        super().__post_init__()
        names = self.sites
        check_site_names(names)
        if self.quorum > len(names):
            raise InputError("quorum", value=self.quorum, must=f"be at most {len(names)}, the number of sites")
        if self.encrypt:
            self._check_encryption()
        if self.noise_multiplier and not self.clip_norm:
            raise InputError("clip_norm", value=self.clip_norm, must="be above 0 with noise, which is in units of it")

    def _check_encryption(self) -> None:
        """Refuse what asks the server to read gradients, or to go on without a site: weights at sites would part."""
        if self.quorum not in (0, len(self.sites)):
            must = (
                f"be 0 or {len(self.sites)} where sites encrypt (--nofederated_encrypt): each round needs all of them"
            )
            raise InputError("quorum", value=self.quorum, must=must)
        if self.robust not in ("auto", "none"):
            must = "be auto or none where sites encrypt (--nofederated_encrypt): the server cannot tell gradients apart"
            raise InputError("robust", value=self.robust, must=must)


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
class Config(Checked):
    """The configuration of a whole run. Its sections mirror the stages of the method."""

    dataset: str = option("ct34lc", "The data set; nifti: your own NIfTI, NRRD, MetaImage or DICOM.", choices=DATASETS)
    preset: str = option("paper", "The preset that filled the other fields.")
    seed: int = option(
        0, "Seed of initial values and of every random choice except the division into folds.", low=0, high=MOST_SEED
    )
    checkpoint_every: int = option(
        200, "Steps between checkpoints, where they take less than ten minutes.", low=1, may_change=True
    )
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    pretraining: PretrainingConfig = dataclasses.field(default_factory=PretrainingConfig)
    gan: GanConfig = dataclasses.field(default_factory=GanConfig)
    semi: SemiSupervisedConfig = dataclasses.field(default_factory=SemiSupervisedConfig)
    synthesis: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)
    plus: PlusConfig = dataclasses.field(default_factory=PlusConfig)
    segmentation: SegmentationConfig = dataclasses.field(default_factory=SegmentationConfig)
    federated: FederatedConfig = dataclasses.field(default_factory=FederatedConfig)

    @property
    def is_phantom(self) -> bool:
        """Return whether the embedded cohort stands in for the data set."""
        return not self.data.root

    def of_fold(self, number: int) -> Config:
        """Return the configuration of one fold. It has a seed of its own, so that no two folds share random numbers."""
        return dataclasses.replace(self, seed=self.seed * N_FOLDS + number)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as nested dictionaries, as config.json holds it."""
        return dataclasses.asdict(self)


def comparable_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same when a run is resumed, from a configuration as `Config.to_dict` gives it.

    Fields that may change are left out. A path is replaced by a word that says whether there is one, because files may
    be moved; `runs.same_data` compares what they hold.
    """
    sections = {name: values[name] for name in SECTIONS if name in values}
    return _comparable(values, dataclasses.fields(Config)) | {
        name: _comparable(section, dataclasses.fields(SECTION_KINDS[name])) for name, section in sections.items()
    }


def _comparable(section: dict[str, Any], fields: Sequence[dataclasses.Field]) -> dict[str, Any]:
    found = dict(section)
    for name, limits in ((field.name, field.metadata) for field in fields if field.name in section):
        if limits.get("may_change"):
            del found[name]
        elif is_path_value(found[name], limits):
            found[name] = A_PATH
    return found


def is_path(section: str, name: str, value: Any) -> bool:
    """Return whether the value of a field, such as `root` of `data`, names a file or folder."""
    (field,) = (field for field in dataclasses.fields(SECTION_KINDS[section]) if field.name == name)
    return is_path_value(value, field.metadata)


def list_paths(config: Config) -> list[tuple[str, str, str]]:
    """Return section, name and value of every field that names a file or folder."""
    values = config.to_dict()
    fields = [(section, field.name) for section in SECTIONS for field in dataclasses.fields(SECTION_KINDS[section])]
    found = [(section, name, values[section][name]) for section, name in fields]
    return [one for one in found if is_path(*one)]


SECTION_KINDS: dict[str, Any] = {  # section: its dataclass
    field.name: field.default_factory for field in dataclasses.fields(Config) if field.default is dataclasses.MISSING
}
SECTIONS = tuple(SECTION_KINDS)

_WITH_PLUS = ("lower_bound", "ours_full", "ours_plus", "upper_bound")
_SMALL = {
    "checkpoint_every": 100,
    "data": {"folds": 1},
    "model": {"size": 64, "gan_width": 32, "discriminator_width": 32, "unet_width": 8},
    "pretraining": {"steps": 1000},
    "gan": {"steps": 500, "generator_rate": 4e-4, "discriminator_rate": 8e-4},
    "semi": {"steps": 400},
    "plus": {"steps": 600, "width": 8},
    "segmentation": {
        "arms": _WITH_PLUS,
        "pretraining_steps": 300,
        "finetuning_steps": 250,
        "validation_every": 50,
    },
}
_DEMO = {
    "data": {"folds": 1},
    "model": {
        "size": 32,
        "gan_width": 8,
        "discriminator_width": 16,
        "unet_width": 4,
        "vgg_weights": "random",
    },
    "pretraining": {"steps": 130, "batch": 2, "rate": 2e-3, "latent_rate": 5e-2},
    "gan": {"steps": 500, "batch": 4, "generator_rate": 8e-4, "discriminator_rate": 1.6e-3},
    "semi": {"steps": 100, "batch": 2, "latent_rate": 5e-2, "gan_rate": 2e-5},
    "plus": {"steps": 400, "width": 8},
    "segmentation": {
        "arms": _WITH_PLUS,
        "pretraining_steps": 270,
        "finetuning_steps": 270,
        "rate": 3e-3,
        "finetuning_rate": 1e-3,
        "validation_every": 54,
    },
}
PRESETS: dict[str, dict[str, Any]] = {"paper": {}, "small": _SMALL, "demo": _DEMO}
# By region: at the rates for heart or not, a U-Net misses whole regions in so few steps.
_PRESETS_BY_REGION: dict[str, dict[str, Any]] = {
    "demo": {"segmentation": {"rate": 1.2e-2, "finetuning_rate": 6e-3}},
    "small": {"segmentation": {"rate": 2e-3, "finetuning_rate": 1e-3}},
}


def make_config(preset: str, **overrides: Any) -> Config:
    """Return the configuration of a preset, for hearts or their regions, with some values overridden.

    Args:
      preset: "paper", "small" or "demo".
      **overrides: values of top-level fields, or a dictionary of values for each section.

    Raises:
      InputError: an unknown preset or field, or a value outside its limits. The subject is "section.field".
    """
    if preset not in PRESETS:
        raise InputError("preset", value=preset, must=f"be one of {', '.join(PRESETS)}")
    values = merge({"preset": preset}, PRESETS[preset])
    if overrides.get("model", {}).get("labels") == "regions":
        values = merge(values, _PRESETS_BY_REGION.get(preset, {}))
    return from_dict(merge(values, overrides))


def from_dict(values: dict[str, Any]) -> Config:
    """Return the configuration of nested dictionaries, such as those of `Config.to_dict` read back from JSON.

    Raises:
      InputError: an unknown field or a value outside its limits.
    """
    return _build(Config, values, name="")


def from_kept(values: dict[str, Any]) -> Config:
    """Return the configuration that a file of an earlier version holds: what it lacks is what was done then.

    Raises:
      InputError: an unknown field or a value outside its limits.
    """
    kept = {section: kind for section, kind in SECTION_KINDS.items() if section in values}
    done_before = {
        section: {one.name: one.metadata["before"] for one in dataclasses.fields(kind) if "before" in one.metadata}
        for section, kind in kept.items()
    }
    return from_dict(merge(done_before, values))


def merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the entries of `overrides`, section by section."""
    merged = dict(base)
    for key, value in overrides.items():
        merged[key] = merge(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def _build(kind: type, values: dict[str, Any], *, name: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        expected = f"fields among {', '.join(sorted(fields))}"
        raise InputError(name or "configuration", found=f"unknown field {unknown[0]!r}", expected=expected)
    arguments = {}
    for key, value in values.items():
        factory = fields[key].default_factory
        if factory is not dataclasses.MISSING:
            value = _build(factory, value, name=key)  # type: ignore[arg-type]
        arguments[key] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**arguments)
    except InputError as error:
        raise error.with_subject(
            f"{name}.{error.subject}" if name and error.subject in fields else error.subject
        ) from None
