"""What a run starts from: the cohort's files, the shape model and the VGG weights."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from absl import logging

from fedsim_tf.arms import need_several_sites, simulators
from fedsim_tf.config import PAPER_LABELS, Config, paths_of
from fedsim_tf.ct.atlas import BODY_BOUNDS_HU
from fedsim_tf.data.cohorts import Cohort, find_cohort
from fedsim_tf.data.splits import split_sizes
from fedsim_tf.errors import InputError
from fedsim_tf.models import built
from fedsim_tf.models.precision import device, with_resolved_precision
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.phantom.cohort import SITES, VERSION, ensure_site, n_dealt
from fedsim_tf.progress import progress_bar
from fedsim_tf.shape.ssm import PHANTOM_MODEL, StatisticalShapeModel, load_shape_model
from fedsim_tf.training.volumes import SiteVolumes, load_site


def pinned(config: Config) -> Config:
    """The configuration with all that the machine and the code decide: a run that goes on elsewhere or later keeps it.

    Raises:
      InputError: a phantom cohort of a version that this code does not make.
    """
    config = with_resolved_precision(config)
    version, asked = VERSION if config.is_phantom else 0, config.data.phantom_version
    if config.is_phantom and asked not in (0, version):
        raise InputError("phantom_version", found=asked, expected=f"{version}, which this code makes, or 0")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, phantom_version=version))


def source(config: Config, dataset: str) -> str:
    """Where the data comes from, in the words that every log, picture and record carries."""
    if not config.is_phantom:
        return f"{dataset} in {config.data.root}"
    given = n_dealt(config.data.phantom_shapes, dataset) if config.data.phantom_shapes and dataset in SITES else 0
    return f"phantom cohort ({dataset} with {given} given hearts)" if given else f"phantom cohort ({dataset})"


def open_cohort(config: Config, dataset: str, *, cache_dir: pathlib.Path) -> Cohort:
    """The real files, or the phantom cohort in their layout (made on first use).

    Raises:
      InputError: no such files, or no phantom stands in for this data set.
    """
    root = config.data.root
    if config.is_phantom:
        _check_phantom(dataset)
        root = str(_phantom(config, dataset, cache_dir))
    return find_cohort(dataset, root, division=config.data.division or None)


def _check_phantom(dataset: str) -> None:
    if dataset not in SITES:
        expected = f"a folder with the scans of {dataset}, or a phantom cohort: {', '.join(SITES)}"
        raise InputError("data.root", found=f"no folder, and no phantom cohort {dataset!r}", expected=expected)


def _phantom(config: Config, site: str, cache_dir: pathlib.Path) -> pathlib.Path:
    with progress_bar(SITES[site].n_subjects, f"phantom cohort {site}") as bar:
        shapes = config.data.phantom_shapes or None
        return ensure_site(site, cache_dir / "phantom", shapes_path=shapes, progress=lambda *_: bar.update())


def labels_of(config: Config, dataset: str, *, larger: bool = False) -> int:
    """How many annotated training volumes to use: as configured, else the paper's number, else 6."""
    return config.data.labels or PAPER_LABELS.get(dataset, (6, 12))[larger]


def open_annotated(config: Config, dataset: str, *, cache_dir: pathlib.Path, larger: bool = False) -> Cohort:
    """`open_cohort`, with as many annotated training volumes as are wanted; `larger`: see `labels_of`.

    Raises:
      InputError: no such files, or too few, or fewer annotated patients than folds.
    """
    cohort, wanted = open_cohort(config, dataset, cache_dir=cache_dir), labels_of(config, dataset, larger=larger)
    annotated, folds = len(cohort.annotated), config.data.folds
    if cohort.n_patients < folds:
        expected = f"at most {cohort.n_patients}, as many as there are annotated patients of {dataset}"
        raise InputError("--data_folds", found=folds, expected=expected)
    training = min(len(cohort.fold(fold, seed=config.data.split_seed).train) for fold in range(folds))
    _check_labels(config, wanted, training, of=f"{annotated} annotated cases of {dataset}")
    return cohort


def _check_labels(config: Config, wanted: int, training: int, *, of: str) -> None:
    if wanted > training:
        found = f"{wanted} (the default)" if not config.data.labels else wanted
        raise InputError("--data_labels", found=found, expected=f"at most {training}, the training part of {of}")


def check_start(config: Config, sites: Sequence[str], *, cache_dir: pathlib.Path, federated: bool = False) -> None:
    """Refuses what a run would refuse before its first step, and leaves no trace: phantoms are not made.

    Args:
      config: the run's.
      sites: its data sets.
      cache_dir: where phantoms and prepared volumes would be kept.
      federated: whether sites learn together.

    Raises:
      InputError: the first of it.
    """
    pinned(config)
    check_files(config)
    if not federated:
        check_single_site(config)
    larger = federated and config.federated.more_labels
    for site in sites:
        wanted = labels_of(config, site, larger=larger)
        if not federated and needs_simulation(config):
            check_latents(wanted)
        if config.is_phantom:
            _check_phantom(site)
            subjects = SITES[site].n_subjects
            _check_labels(config, wanted, split_sizes(site, subjects).train, of=f"{subjects} phantoms of {site}")
        else:
            open_annotated(config, site, cache_dir=cache_dir, larger=larger)


def check_files(config: Config) -> None:
    """Looks for every file and folder that a configuration names.

    Raises:
      InputError: one that is not there; what is in it shows when it is used.
    """
    for section, name, path in paths_of(config):
        if not pathlib.Path(path).exists():
            raise InputError(f"--{section}_{name}", found=f"no {path}", expected="a file or folder on this machine")


def needs_simulation(config: Config) -> bool:
    """Whether any arm trains on synthetic volumes."""
    return bool(simulators(config.segmentation.arms))


def check_single_site(config: Config) -> None:
    """Refuses arms that one site cannot train, or not in this CT window.

    Raises:
      InputError: names them, or the window.
    """
    several = need_several_sites(config.segmentation.arms)
    if several:
        raise InputError("--segmentation_arms", found=", ".join(several), expected="arms of a single site")
    (low, high), bounds = config.data.window_hu, BODY_BOUNDS_HU.values()
    if "fixed" in simulators(config.segmentation.arms) and not (low < min(bounds) and high > max(bounds)):
        expected = f"one beyond {min(bounds):g} to {max(bounds):g} HU, in which arms of fixed materials tell tissues"
        raise InputError("--data_window_low_hu, --data_window_high_hu", found=f"{low:g} to {high:g}", expected=expected)


def check_latents(n_labelled: int) -> None:
    """Refuses, before hours of training, what no distribution of latents can be fitted to.

    Raises:
      InputError: fewer than two annotated volumes.
    """
    if n_labelled < 2:
        raise InputError("--data_labels", found=n_labelled, expected="at least 2 to simulate from")


def open_fold(config: Config, cohort: Cohort, *, fold: int, n_labelled: int, cache_dir: pathlib.Path) -> SiteVolumes:
    """One fold of a cohort, prepared and stacked."""
    return load_site(cohort, config, fold=fold, n_labelled=n_labelled, cache_dir=str(prepared_folder(cache_dir)))


def prepared_folder(cache_dir: pathlib.Path) -> pathlib.Path:
    """Where prepared volumes are kept; the folder is made for its owner alone, as they are patients' CTs."""
    folder = cache_dir / "prepared"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def open_shape_model(config: Config) -> StatisticalShapeModel:
    """The shape model given, or the one that is shipped, of phantom hearts that are in no cohort."""
    if not config.model.shape_model and not config.is_phantom:
        logging.warning("Shapes are of a model of phantom hearts; --model_shape_model takes one of real hearts")
    return load_shape_model(config.model.shape_model or PHANTOM_MODEL, n_modes=config.model.shape_modes)


def open_vgg(config: Config) -> VGG19Features:
    """VGG-19 with the configured weights; says in the log which, and what they are computed on."""
    logging.info("Computing on %s", device())
    vgg = built.vgg_features(config.model)
    logging.info("VGG-19 weights: %s", vgg.source)
    return vgg
