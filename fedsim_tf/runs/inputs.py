"""The inputs of a run, opened one at a time: cohorts, folds, the shape model and the VGG weights."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from absl import logging

from fedsim_tf.config import PAPER_LABELS, Config, list_paths
from fedsim_tf.data.cache import is_prepared, prepare_cohort
from fedsim_tf.data.cohorts import Cohort, find_cohort
from fedsim_tf.data.splits import split_sizes
from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json
from fedsim_tf.models.precision_record import read_precision
from fedsim_tf.phantom.sites import SITES, VERSION, n_dealt
from fedsim_tf.progress import progress_bar
from fedsim_tf.regions import REGIONS
from fedsim_tf.shape.ssm import PHANTOM_MODEL, StatisticalShapeModel, load_shape_model
from fedsim_tf.training.run import CONFIG

if TYPE_CHECKING:  # they import TensorFlow
    from fedsim_tf.models.vgg import VGG19Features
    from fedsim_tf.training.volumes import SiteVolumes


def adopt_kept_precision(config: Config, run_dir: pathlib.Path, *, cache_dir: pathlib.Path) -> Config:
    """Return the configuration with the precision that "auto" stands for, where that is known without measuring.

    It is known where an earlier start of the run settled it, or where the cache has a measurement of this machine.
    """
    file = run_dir / CONFIG
    kept = read_json(file).get("model", {}).get("precision") if file.is_file() else read_precision(cache_dir)
    if config.model.precision != "auto" or kept not in ("float32", "bfloat16"):
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, precision=kept))


def settle_choices(config: Config, *, cache_dir: pathlib.Path | None = None) -> Config:
    """Return the configuration with all that the machine and the code decide, so that a run keeps it elsewhere.

    Args:
      config: the configuration.
      cache_dir: where the answer for this machine is kept; None to keep nothing.

    Raises:
      InputError: a phantom cohort of a version that this code does not make.
    """
    if config.model.precision == "auto":
        from fedsim_tf.models.precision import pin_precision

        config = pin_precision(config, cache_dir=cache_dir)
    return settle_phantom_version(config)


def settle_phantom_version(config: Config) -> Config:
    """Return the configuration with the version of the phantom cohort that this code makes, 0 for real data.

    Raises:
      InputError: the configuration asks for another version.
    """
    version, asked = VERSION if config.is_phantom else 0, config.data.phantom_version
    if config.is_phantom and asked not in (0, version):
        raise InputError("data.phantom_version", value=asked, must=f"be {version}, which this code makes, or 0")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, phantom_version=version))


def describe_source(config: Config, dataset: str) -> str:
    """Return where the data comes from, in the words that every log, picture and record carries."""
    if not config.is_phantom:
        return f"{dataset} in {config.data.root}"
    given = n_dealt(config.data.phantom_shapes, dataset) if config.data.phantom_shapes and dataset in SITES else 0
    return f"phantom cohort ({dataset} with {given} given hearts)" if given else f"phantom cohort ({dataset})"


def check_files(config: Config) -> None:
    """Refuse a configuration that names a file or folder that does not exist.

    Raises:
      InputError: names the field and the path.
    """
    for section, name, path in list_paths(config):
        if not pathlib.Path(path).exists():
            raise InputError(f"{section}.{name}", value=path, must="be a file or folder on this machine")


def count_labels(config: Config, dataset: str, *, federated: bool = False) -> int:
    """Return how many annotated training volumes a run uses: as configured, else the paper's number, else 6 or 12."""
    larger = federated and config.federated.more_labels
    return config.data.labels or PAPER_LABELS.get(dataset, (6, 12))[larger]


def check_labels(config: Config, dataset: str, wanted: int, *, cache_dir: pathlib.Path) -> None:
    """Refuse more folds or annotated training volumes than a data set has.

    Phantoms are counted, not made.

    Raises:
      InputError: no such files, no phantom cohort of this name, or too few annotated patients.
    """
    if config.is_phantom:
        check_phantom_site(dataset)
        count = SITES[dataset].n_subjects
        _check_training(config, wanted, split_sizes(dataset, count).train, of=f"the {count} phantoms of {dataset}")
        return
    cohort = open_cohort(config, dataset, cache_dir=cache_dir)
    annotated, folds = len(cohort.annotated), config.data.folds
    if not annotated:
        found = f"{len(cohort.files)} images of {dataset} and no label"
        raise InputError(config.data.root, found=found, expected="labels of at least 3 patients")
    if cohort.n_patients < folds:
        must = f"be at most {cohort.n_patients}, the number of annotated patients of {dataset}"
        raise InputError("data.folds", value=folds, must=must)
    training = min(len(cohort.fold(fold, seed=config.data.split_seed).train) for fold in range(folds))
    _check_training(config, wanted, training, of=f"the {annotated} annotated cases of {dataset}")


def _check_training(config: Config, wanted: int, training: int, *, of: str) -> None:
    if wanted > training:
        value = wanted if config.data.labels else f"{wanted} by default"
        raise InputError("data.labels", value=value, must=f"be at most {training}, the training part of {of}")


def open_cohort(config: Config, dataset: str, *, cache_dir: pathlib.Path) -> Cohort:
    """Return the cohort of the real files, or the phantom cohort in their layout, which is made on first use.

    Raises:
      InputError: no such files, or no phantom stands in for this data set.
    """
    root = config.data.root
    if config.is_phantom:
        check_phantom_site(dataset)
        root = str(_make_phantoms(config, dataset, cache_dir))
    values = "" if config.is_phantom else config.data.label_values
    division = config.data.division or None
    cohort = find_cohort(dataset, root, division=division, label_values=values, cache_dir=cache_dir)
    given = config.data.field_of_view_mm or config.data.field_of_view_z_mm
    return dataclasses.replace(cohort, any_extent=True) if given else cohort


def check_phantom_site(dataset: str) -> None:
    """Refuse a data set that no phantom cohort stands in for.

    Raises:
      InputError: asks for the folder with the data.
    """
    if dataset not in SITES:
        must = f"be the folder with the scans of {dataset}; only {', '.join(SITES)} have phantoms"
        raise InputError("data.root", value="not given", must=must)


def _make_phantoms(config: Config, site: str, cache_dir: pathlib.Path) -> pathlib.Path:
    from fedsim_tf.phantom.cohort import ensure_site

    root, shapes = phantom_cache(config, cache_dir)
    with progress_bar(SITES[site].n_subjects, f"phantom cohort {site}") as bar:
        return ensure_site(site, root, shapes_path=shapes, progress=lambda *_: bar.update())


def phantom_cache(config: Config, cache_dir: pathlib.Path) -> tuple[pathlib.Path, str | None]:
    """Return the folder of the cache with phantom sites, and the file of hearts that they are given, if any."""
    return cache_dir / "phantom", config.data.phantom_shapes or None


def prepare_all(
    cohort: Cohort, config: Config, *, n_labelled: int, folds: Iterable[int], cache_dir: pathlib.Path
) -> None:
    """Read, check and prepare every volume of a cohort that the cache does not have yet.

    Args:
      cohort: the volumes.
      config: the run's.
      n_labelled: how many are used with their annotations; crops are found with these.
      folds: the folds that are run; each has crops of its own.
      cache_dir: below which prepared volumes are kept.

    Raises:
      InputError: the first volume that cannot be used.
    """
    if config.data.crops:
        for fold in folds:
            open_fold(config, cohort, fold=fold, n_labelled=n_labelled, cache_dir=cache_dir)
        return
    folder, size, window_hu = prepared_folder(cache_dir), config.model.size, config.data.window_hu
    missing = [one for one in cohort.identities if not is_prepared(cohort, one, size, window_hu, cache_dir=folder)]
    if missing:
        with progress_bar(len(missing), f"volumes of {cohort.name}") as bar:
            advance = lambda *_: bar.update()  # noqa: E731
            prepare_cohort(cohort, missing, size, window_hu=window_hu, cache_dir=folder, progress=advance)


def open_fold(config: Config, cohort: Cohort, *, fold: int, n_labelled: int, cache_dir: pathlib.Path) -> SiteVolumes:
    """Return one fold of a cohort, prepared and stacked."""
    from fedsim_tf.training.volumes import load_site

    return load_site(cohort, config, fold=fold, n_labelled=n_labelled, cache_dir=str(prepared_folder(cache_dir)))


def prepared_folder(cache_dir: pathlib.Path) -> pathlib.Path:
    """Make the folder of prepared volumes if need be and return it. Its owner alone can read patients' CTs there."""
    folder = cache_dir / "prepared"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def open_shape_model(config: Config) -> StatisticalShapeModel:
    """Return the configured shape model, or the shipped one of phantom hearts that are in no cohort.

    Raises:
      InputError: a file that is no shape model, one of too few modes, or one that lacks regions which are told apart.
    """
    if not config.model.shape_model and not config.is_phantom:
        logging.warning("The shape model is one of phantom hearts; model.shape_model takes one of real hearts")
    file = config.model.shape_model or PHANTOM_MODEL
    model = load_shape_model(file, n_modes=config.model.shape_modes)
    if config.model.by_region and model.missing_regions:
        missing = ", ".join(REGIONS[region].title for region in model.missing_regions)
        expected = "a shape model of all seven regions for model.labels=regions"
        raise InputError(file, found=f"no {missing}", expected=expected)
    return model


def open_vgg(config: Config) -> VGG19Features:
    """Return VGG-19 with the configured weights. The log says which they are and what they are computed on.

    Raises:
      InputError: weights that cannot be had.
    """
    from fedsim_tf.models import built
    from fedsim_tf.models.precision import device

    logging.info("Computing on %s", device())
    vgg = built.vgg_features(config.model)
    logging.info("VGG-19 weights: %s", vgg.source)
    return vgg
