"""GAN pre-training alone, on pictures: annotated 2-D slices without volumes around them.

The coarse CT that the simulator would give is replaced by the picture itself, reduced to the material map's resolution.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from fedsim_tf.config import Config
from fedsim_tf.errors import InputError, listed
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.files import held
from fedsim_tf.models import built
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.initializers import begin_anew
from fedsim_tf.models.precision import with_resolved_precision
from fedsim_tf.records.fold_data import DATA, SliceData, read_slice_data
from fedsim_tf.records.versioned import write_record
from fedsim_tf.resize import linear_matrix
from fedsim_tf.runs.inputs import open_vgg
from fedsim_tf.runs.results import draw_losses
from fedsim_tf.training.batch_norm import SLICES, settled_statistics
from fedsim_tf.training.enhancement import EnhancementTrainer
from fedsim_tf.training.pictures import SHOWN
from fedsim_tf.training.pretraining import TensorLosses
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import run_stage, step_rng
from fedsim_tf.training.watch import Look, montage

STAGE = "gan"
_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA")
UNKNOWN_POSITION = 0.5  # stands for k / size: a picture does not say where in the volume it lay


class Slices(NamedTuple):
    """Pictures (n, y, x) in [-1, 1] and masks (n, y, x), 0 or 1."""

    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray


def read_slices(images: str | os.PathLike, labels: str | os.PathLike, size: int) -> Slices:
    """Reads 8-bit PNGs and the masks of the same names (heart where not zero), reduced to size x size.

    Raises:
      InputError: no pictures, one without its mask or of another size, or more than eight bits a value.
    """
    files = sorted(path for path in pathlib.Path(images).glob("*.png") if not path.name.startswith("._"))
    if not files:
        raise InputError(images, found="no PNG files", expected="slices as *.png")
    missing = [path.name for path in files if not (pathlib.Path(labels) / path.name).is_file()]
    if missing:
        raise InputError(labels, found=f"no {missing[0]}", expected=f"a mask for each picture in {images}")
    pairs = [_pair(path, pathlib.Path(labels) / path.name) for path in files]
    pictures = [picture.resize((size, size), Image.Resampling.BOX) for picture, _ in pairs]
    masks = [mask.resize((size, size), Image.Resampling.NEAREST) for _, mask in pairs]
    return Slices(
        tuple(path.stem for path in files),
        np.stack([np.asarray(picture, np.float32) / 127.5 - 1.0 for picture in pictures]),
        np.stack([np.asarray(mask) > 0 for mask in masks]).astype(np.float32),
    )


def open_slices(config: Config, *, images: str | os.PathLike, labels: str | os.PathLike, held_out: int) -> Slices:
    """`read_slices` of the configured size, with more of them than are held out.

    Raises:
      InputError: what that refuses, or fewer pictures than are held out and one more.
    """
    slices = read_slices(images, labels, config.model.size)
    if len(slices.names) <= held_out:
        raise InputError(images, found=f"{len(slices.names)} pictures", expected=f"more than held out ({held_out})")
    return slices


def run_slices(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    images: str | os.PathLike,
    labels: str | os.PathLike,
    held_out: int,
) -> pathlib.Path:
    """Trains on all pictures but the last few and renders every one; returns the comparison's path.

    Raises:
      InputError: see `open_slices`.
    """
    config = with_resolved_precision(config)
    slices = open_slices(config, images=images, labels=labels, held_out=held_out)
    run = RunFolder(run_dir, config)
    _check_same_pictures(run, slices, held_out)
    logging.info("%d slices from %s, %d of them held out", len(slices.names), images, held_out)
    semantics = slice_semantics(slices, config.model.coarse_size)
    trained = len(semantics) - held_out
    training = SliceTraining(config, semantics[:trained], slices.images[:trained])
    with held(run.path):
        run_stage(run, STAGE, steps=config.gan.steps, step=training.step, objects=training.objects, watched=training)
    path = run.pictures / "slices.png"
    with settled_statistics(training.enhancer, training.batches()):
        _compare(path, slices, semantics, training.enhancer, held_out)
    draw_losses(run, data=str(images))
    return path


def slice_semantics(slices: Slices, coarse_size: int) -> np.ndarray:
    """The enhancer's input (n, y, x, 3) for pictures."""
    size = slices.images.shape[-1]
    down, up = linear_matrix(size, coarse_size), linear_matrix(coarse_size, size)
    blur = up @ down
    coarse = np.einsum("yi,nij,xj->nyx", blur, slices.images, blur)
    return np.stack([coarse, slices.labels, np.full_like(coarse, UNKNOWN_POSITION)], axis=-1).astype(np.float32)


class SliceTraining:
    """Stage 2 on pictures; see `training.enhancement.EnhancementPretraining` for volumes."""

    def __init__(self, config: Config, semantics: np.ndarray, images: np.ndarray):
        begin_anew(config.seed)
        self.enhancer, self._discriminator = (
            built.enhancement_generator(config.model),
            built.discriminator(config.model),
        )
        self._config, self._semantics, self._images = config, semantics, images
        self._trainer = EnhancementTrainer(self.enhancer, self._discriminator, open_vgg(config), config.gan)
        self._traced = tf.function(self._trainer.update, autograph=False)
        self.gradient_norms: TensorLosses = {}

    @property
    def objects(self) -> dict[str, tf.Module]:
        """What a checkpoint holds."""
        return {"enhancer": self.enhancer, "discriminator": self._discriminator, **self._trainer.objects}

    def look(self) -> Look:
        """Rates, spectral norms and the first pictures: real, coarse, mask, rendered."""
        shown = self._semantics[:SHOWN]
        columns = [self._images[:SHOWN], shown[..., 0], 2.0 * shown[..., 1] - 1.0, rendered(self.enhancer, shown)]
        return Look(self._trainer.scalars(), {"annotated": montage(columns)})

    def batches(self) -> Iterator[np.ndarray]:
        """Semantics of all pictures, eight at a time, for batch norm's statistics; the first ones fill the last."""
        count = len(self._semantics)
        for first in range(0, count, SLICES):
            yield self._semantics[np.arange(first, first + SLICES) % count]

    def step(self, step: int) -> TensorLosses:
        """One step of the discriminator, then one of the generator, on random pictures."""
        rng = step_rng(self._config.seed, STAGE, step)
        chosen = rng.integers(len(self._semantics), size=self._config.gan.batch)
        seed = tf.constant(rng.integers(1 << 31, size=2), tf.int32)
        pairs = tf.constant(self._semantics[chosen]), tf.constant(self._images[chosen])
        losses, self.gradient_norms = self._traced(*pairs, seed)
        return losses


def rendered(enhancer: GauGANGenerator, semantics: np.ndarray) -> np.ndarray:
    """Semantics (n, y, x, 3) to pictures (n, y, x) in [-1, 1]."""
    parts = [semantics[first : first + SLICES] for first in range(0, len(semantics), SLICES)]
    return np.concatenate([enhancer(part, training=False)[..., 0].numpy() for part in parts])


def _check_same_pictures(run: RunFolder, slices: Slices, held_out: int) -> None:
    """Notes which pictures a run learns from at its first start; at others compares with that.

    Raises:
      InputError: others, or another number held out.
    """
    pairs = zip(slices.names, slices.images, slices.labels, strict=True)
    pictures = {name: hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest() for name, image, mask in pairs}
    file, expected = run.path / DATA, "what the run began with, or another --run_dir"
    kept = read_slice_data(file) if file.exists() else SliceData(held_out=held_out, pictures=pictures)
    if kept.held_out != held_out:
        raise InputError(file, found=f"--held_out={held_out}, where {kept.held_out} were", expected=expected)
    before = kept.pictures
    others = sorted(name for name in {*before, *pictures} if before.get(name) != pictures.get(name))
    if others:
        raise InputError(file, found=f"other pictures: {listed(others)}", expected=expected)
    write_record(file, kept)


def _compare(
    path: pathlib.Path, slices: Slices, semantics: np.ndarray, enhancer: GauGANGenerator, held_out: int
) -> None:
    """Four trained-on and all held-out pictures beside what the network makes of their masks."""
    count = len(slices.names)
    shown = [*range(min(4, count - held_out)), *range(count - held_out, count)]
    rows = [
        [
            (semantics[i, ..., 0], None, None),
            (slices.labels[i] * 2 - 1, None, None),
            (fake, None, None),
            (slices.images[i], slices.labels[i], None),
        ]
        for i, fake in zip(shown, rendered(enhancer, semantics[shown]), strict=True)
    ]
    columns = ("coarse input", "mask", "rendered", "real, with mask")
    panel(path, rows, columns=columns, title=f"Real slices; the last {held_out} were held out")


def _pair(picture: pathlib.Path, mask: pathlib.Path) -> tuple[Image.Image, Image.Image]:
    pair = _grey(picture), _grey(mask)
    if pair[0].size != pair[1].size:
        raise InputError(mask, found=f"{pair[1].size} pixels", expected=f"{pair[0].size}, as its picture has")
    return pair


def _grey(path: pathlib.Path) -> Image.Image:
    try:
        image = Image.open(path)
        if image.mode not in _EIGHT_BIT:  # others would be cut off at 255
            raise InputError(path, found=f"a picture of mode {image.mode}", expected="an 8-bit PNG")
        return image.convert("L")
    except OSError as error:
        raise InputError(path, found=f"no picture ({error})", expected="an 8-bit PNG") from error
