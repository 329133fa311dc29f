"""GAN pre-training alone, on annotated 2-D slices without volumes around them.

The slice itself, reduced to the material map's resolution, takes the place of the coarse CT that the simulator makes.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from absl import logging

from fedsim_tf.config import Config
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.tables import format_table
from fedsim_tf.files import hold_during, write_text
from fedsim_tf.models import built
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.precision import pin_precision
from fedsim_tf.records.fold_data import DATA
from fedsim_tf.records.versioned import write_record
from fedsim_tf.resize import linear_matrix
from fedsim_tf.runs.inputs import open_vgg
from fedsim_tf.runs.results import draw_losses
from fedsim_tf.shape.voxelize import separate_regions
from fedsim_tf.tools.slice_files import Slices
from fedsim_tf.tools.slice_greys import measure_greys, tabulate_greys
from fedsim_tf.tools.slices_start import SlicesStart
from fedsim_tf.training.batch_norm import SLICES, settle_statistics
from fedsim_tf.training.enhancement import EnhancementTrainer
from fedsim_tf.training.pictures import SHOWN, label_grey
from fedsim_tf.training.protocols import TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import run_stage
from fedsim_tf.training.watch import Look, montage

STAGE = "gan"
UNKNOWN_POSITION = 0.5  # takes the place of k / size, as a picture does not say where in the volume it lay


def run_slices(start: SlicesStart) -> pathlib.Path:
    """Train on all pictures but the last few, render every one, and return the path of the comparison.

    greys.csv says how bright each region of the held-out pictures is, real and rendered.
    """
    slices, held_out = start.slices, start.held_out
    config = pin_precision(start.config, cache_dir=start.cache_dir)
    run = RunFolder(start.run_dir, config)
    write_record(run.path / DATA, start.record)
    logging.info("%d slices from %s, %d of them held out", len(slices.names), start.images, held_out)
    semantics = slice_semantics(slices, config.model.coarse_size, by_region=config.model.by_region)
    trained = len(semantics) - held_out
    training = SliceTraining(config, semantics[:trained], slices.images[:trained])
    with hold_during(run.path):
        run_stage(run, training, steps=config.gan.steps)
    path = run.pictures / "slices.png"
    with settle_statistics(training.enhancer, training.batches()):
        rendered = render_pictures(training.enhancer, semantics)
    _draw_comparison(path, slices, semantics, rendered, held_out)
    greys = measure_greys(slices.images[trained:], rendered[trained:], slices.labels[trained:])
    write_text(run.path / "greys.csv", format_table(tabulate_greys(greys), "csv"))
    draw_losses(run, data=str(start.images))
    return path


def slice_semantics(slices: Slices, coarse_size: int, *, by_region: bool = False) -> np.ndarray:
    """Return the input of the enhancement network for pictures: (n, y, x, 3), or by region (n, y, x, 9)."""
    size = slices.images.shape[-1]
    down, up = linear_matrix(size, coarse_size), linear_matrix(coarse_size, size)
    blur = up @ down
    coarse = np.einsum("yi,nij,xj->nyx", blur, slices.images, blur)
    regions = slices.regions if by_region else None
    masks = slices.masks[..., None] if regions is None else separate_regions(tf.constant(regions)).numpy()
    position = np.full_like(coarse, UNKNOWN_POSITION)
    return np.concatenate([coarse[..., None], masks, position[..., None]], axis=-1).astype(np.float32)


class SliceTraining:
    """Stage 2 on pictures. `training.enhancement.EnhancementPretraining` is its form for volumes."""

    name = STAGE

    def __init__(self, config: Config, semantics: np.ndarray, images: np.ndarray):
        self.enhancer = built.enhancement_generator(config.model, seed=config.seed)
        self._discriminator = built.discriminator(config.model, seed=config.seed)
        self._config, self._semantics, self._images = config, semantics, images
        self._trainer = EnhancementTrainer(self.enhancer, self._discriminator, open_vgg(config), config.gan)
        self._traced = tf.function(self._trainer.update, autograph=False)
        self.gradient_norms: TensorLosses = {}
        self.seeds = StepSeeds(config.seed, STAGE)

    @property
    def objects(self) -> dict[str, tf.Module]:
        """The objects that a checkpoint holds."""
        return {"enhancer": self.enhancer, "discriminator": self._discriminator, **self._trainer.objects}

    def look(self) -> Look:
        """Return rates, spectral norms and the first pictures: real, coarse, mask, rendered."""
        shown = self._semantics[:SHOWN]
        columns = [
            self._images[:SHOWN],
            shown[..., 0],
            label_grey(shown),
            render_pictures(self.enhancer, shown),
        ]
        return Look(self._trainer.scalars(), {"annotated": montage(columns)})

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the semantics of all pictures in batches of one size, for batch norm's statistics.

        The first pictures fill up the last batch.
        """
        count = len(self._semantics)
        for first in range(0, count, SLICES):
            yield self._semantics[np.arange(first, first + SLICES) % count]

    def step(self, _index: int, rng: np.random.Generator) -> TensorLosses:
        """Take one step of the discriminator and one of the generator on random pictures."""
        chosen = rng.integers(len(self._semantics), size=self._config.gan.batch)
        seed = tf.constant(rng.integers(1 << 31, size=2), tf.int32)
        pairs = tf.constant(self._semantics[chosen]), tf.constant(self._images[chosen])
        losses, self.gradient_norms = self._traced(*pairs, seed)
        return losses


def render_pictures(enhancer: GauGANGenerator, semantics: np.ndarray) -> np.ndarray:
    """Return pictures (n, y, x) in [-1, 1] for semantics (n, y, x, S)."""
    parts = [semantics[first : first + SLICES] for first in range(0, len(semantics), SLICES)]
    return np.concatenate([enhancer(part, training=False)[..., 0].numpy() for part in parts])


def _draw_comparison(
    path: pathlib.Path, slices: Slices, semantics: np.ndarray, rendered: np.ndarray, held_out: int
) -> None:
    """Draw the held-out pictures and four others beside what the network makes of their masks."""
    count = len(slices.names)
    shown = [*range(min(4, count - held_out)), *range(count - held_out, count)]
    rows = [
        [
            (semantics[i, ..., 0], None, None),
            (label_grey(semantics[i]), None, None),
            (rendered[i], None, None),
            (slices.images[i], slices.masks[i], None),
        ]
        for i in shown
    ]
    columns = ("coarse input", "mask", "rendered", "real, with mask")
    panel(path, rows, columns=columns, title=f"Real slices; the last {held_out} were held out")
