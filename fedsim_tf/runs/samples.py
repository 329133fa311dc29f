"""Synthetic volumes of a run: drawn once, then kept as NIfTI for people and as arrays for the next start."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from fedsim_tf.arms import get_volumes_arm
from fedsim_tf.config import Config
from fedsim_tf.data.writing import write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.galleries import sample_gallery
from fedsim_tf.evaluation.heart_gallery import heart_gallery
from fedsim_tf.evaluation.likeness import MeasuredVolumes, compare_volumes, measure_volumes
from fedsim_tf.evaluation.likeness_figures import draw_likeness
from fedsim_tf.files import read_json, read_npz, write_json, write_npz
from fedsim_tf.generator.export import export_generator, generator_folder
from fedsim_tf.generator.folder import is_generator
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.progress import progress_bar
from fedsim_tf.records.likeness_record import Likeness, ShapeModes
from fedsim_tf.records.versioned import parse
from fedsim_tf.synthesis import GenerativeModel, SyntheticVolume, place_volume, sample_volumes
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import SiteVolumes, Volumes

_SHAPE_MODES = "shape_modes.json"


def samples_folder(run: RunFolder, arm: str) -> pathlib.Path:
    """Return the folder of an arm's synthetic volumes; arms that use the same volumes share it."""
    return run.samples / get_volumes_arm(arm)


def draw_samples_of(
    folder: pathlib.Path, learner: SiteLearner, distribution: LatentDistribution, *, with_unlabelled: bool
) -> list[SyntheticVolume]:
    """Draw the synthetic volumes of a site's model, see `draw_samples`, and write the model as a generator.

    Every arm and site draws the same random numbers for the latents.

    Args:
      folder: where the volumes are kept.
      learner: the site's state.
      distribution: the normal that latents are drawn from.
      with_unlabelled: whether the model has learnt from unannotated volumes too.
    """
    count, seed = learner.config.synthesis.volumes, learner.config.seed
    generator = generator_folder(folder)

    @contextlib.contextmanager
    def settle_and_export() -> Iterator[None]:
        slices = training_slices(learner, with_unlabelled=with_unlabelled)
        with settle_statistics(learner.model.enhancer, slices):
            export_generator(generator, learner, distribution, arm=folder.name, with_unlabelled=with_unlabelled)
            yield

    samples = draw_samples(
        folder,
        learner.model,
        learner.config,
        volumes=lambda: sample_volumes(learner.model, distribution, count, seed=seed),
        while_drawing=settle_and_export,
    )
    if not is_generator(generator):  # an earlier start drew the samples
        with settle_and_export():
            pass
    note_shape_modes(folder, learner, samples)
    return samples


def note_shape_modes(folder: pathlib.Path, learner: SiteLearner, samples: Sequence[SyntheticVolume]) -> None:
    """Write mean and spread of the shape model's weights beside the samples, if they are not there yet.

    Args:
      folder: where the samples are kept.
      learner: the site's state; it gives the weights that were learnt for annotated volumes.
      samples: they give the weights that were sampled.
    """
    file, model = folder / _SHAPE_MODES, learner.model
    if not file.exists():
        latents = {
            "learnt": learner.labelled_latents.table,
            "sampled": tf.stack([sample.latent for sample in samples]),
        }
        modes = model.decoder.ssm.n_modes
        weights = {kind: model.shape_generator(z).numpy()[:, :modes] for kind, z in latents.items()}
        write_json(file, {kind: _measure_weights(rows) for kind, rows in weights.items()})


def _measure_weights(weights: np.ndarray) -> dict[str, list[float]]:
    """Return mean and standard deviation over hearts of weights (hearts, modes) as `ModeWeights` has them."""
    sd = weights.std(axis=0, ddof=1) if len(weights) > 1 else np.zeros(weights.shape[1])
    return {"mean": weights.mean(axis=0).tolist(), "sd": sd.tolist()}


def draw_samples(
    folder: pathlib.Path,
    model: GenerativeModel,
    config: Config,
    *,
    volumes: Callable[[], Iterator[SyntheticVolume]],
    while_drawing: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    count: int | None = None,
) -> list[SyntheticVolume]:
    """Draw an arm's synthetic volumes, or read them back if an earlier start of this run has drawn all of them.

    Args:
      folder: where they are kept.
      model: whose grid they lie on.
      config: the run's.
      volumes: draws them, within the context that `while_drawing` gives.
      while_drawing: makes that context.
      count: how many there will be; None: as many as the configuration says.

    Raises:
      InputError: the file of an earlier start is damaged.
    """
    arrays = folder / "samples.npz"
    if not arrays.exists():
        samples = []
        with while_drawing():
            drawn = volumes()  # before the bar: what draws may have to learn first
            with progress_bar(count or config.synthesis.volumes, f"synthesis of {folder.name}") as bar:
                for sample in drawn:
                    samples.append(sample)
                    bar.update()
        for number, sample in enumerate(samples):
            write_sample(folder, number, sample, model, config)
        _save(arrays, samples)
    return _load(arrays)


def stack_samples(samples: Sequence[SyntheticVolume], *, by_region: bool = False) -> Volumes:
    """Stack synthetic volumes for training, where asked for with their region ids."""
    labels = np.stack([sample.label for sample in samples])
    return Volumes(
        tuple(f"synthetic_{number:03d}" for number in range(len(samples))),
        np.stack([sample.image for sample in samples]),
        (labels > 0).astype(np.float32),
        labels if by_region else None,
    )


def measure_site(site: SiteVolumes, vgg: VGG19Features, config: Config) -> MeasuredVolumes:
    """Return the measures of the real volumes that samples are compared with: those of the site's training part.

    Features and distances to the nearest volume are of all of them; what needs the heart's label is of those that files
    annotate, whether or not the method may use their labels.
    """
    return measure_volumes(
        site.fully_labelled,
        site.training_images,
        vgg=vgg,
        window_hu=config.data.window_hu,
        field_of_view_mm=site.field_of_view_mm,
    )


def show_samples(
    run: RunFolder,
    name: str,
    folder: pathlib.Path,
    samples: Sequence[SyntheticVolume],
    site: SiteVolumes,
    *,
    vgg: VGG19Features,
    real: MeasuredVolumes,
    title: str,
) -> Likeness:
    """Draw samples beside their nearest real volumes and measure how much they are like the site's.

    Args:
      run: the run whose folder takes the pictures.
      name: the arm or site, for the pictures' names.
      folder: where the samples are kept.
      samples: the synthetic volumes.
      site: its training part is compared with.
      vgg: features for distances between slices.
      real: what `measure_site` gives.
      title: stands above the pictures and says which cohort this is.
    """
    sample_gallery(run.pictures / f"samples_{name}.png", samples, site.training_images, title=title)
    volumes, window_hu = stack_samples(samples, by_region=run.config.model.by_region), run.config.data.window_hu
    heart_gallery(run.pictures / f"hearts_{name}.png", site.labelled, volumes, window_hu=window_hu, title=title)
    synthetic = measure_volumes(
        volumes, volumes.images, vgg=vgg, window_hu=window_hu, field_of_view_mm=site.field_of_view_mm
    )
    draw_likeness(
        run.pictures / f"likeness_{name}.png",
        real,
        synthetic,
        window_hu=window_hu,
        title=f"{title}: slices and CT values, real and synthetic",
    )
    likeness = compare_volumes(real, synthetic, window_hu=window_hu)
    return dataclasses.replace(likeness, shape_modes=_read_shape_modes(folder))


def _read_shape_modes(folder: pathlib.Path) -> ShapeModes | None:
    """Return what `note_shape_modes` has kept beside samples, if anything."""
    file = folder / _SHAPE_MODES
    if not file.exists():
        return None
    return parse(read_json(file), ShapeModes, subject=file, expected="the file as it was written; move it away")


def write_sample(
    folder: pathlib.Path, number: int, sample: SyntheticVolume, model: GenerativeModel, config: Config
) -> None:
    """Write image (HU) and label as NIfTI, centred on the coordinates' origin. By region, labels are region ids."""
    image = place_volume(sample.image, model.field_of_view_mm, window_hu=config.data.window_hu)
    write_volume(image, folder / f"synthetic_{number:03d}_image.nii.gz")
    label = place_volume(sample.label, model.field_of_view_mm)
    write_volume(label, folder / f"synthetic_{number:03d}_label.nii.gz")


def _save(path: pathlib.Path, samples: list[SyntheticVolume]) -> None:
    stacked = {name: np.stack([getattr(sample, name) for sample in samples]) for name in SyntheticVolume._fields}
    write_npz(path, stacked, compressed=True)


def _load(path: pathlib.Path) -> list[SyntheticVolume]:
    try:
        arrays = read_npz(path, required=SyntheticVolume._fields)
    except InputError as error:
        what_to_do = "a whole file; delete it, and the same command draws the samples again"
        raise InputError(path, found="damaged samples", expected=what_to_do) from error
    stacked = [arrays[name] for name in SyntheticVolume._fields]
    return [SyntheticVolume(*parts) for parts in zip(*stacked, strict=True)]
