"""Measures how well a shape model fits hearts that it has not seen, by gradient descent through L_IoU alone.

python -m benchmarks.shape_fitting [--shapes hearts.npz] [--gradient finite_difference] [--steps 80] [--pictures DIR]
                                   [--labels heart regions] [--union_weight 0.5] [--hearts 19]

Each heart is left out of its own model, and the descent starts from the mean shape. Without --shapes, the phantom's
adults are fitted. With several --labels each heart is fitted to each, and the regions of both fits are compared.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.evaluation.shape_figures import fit_figure
from fedsim_tf.losses import UNION_WEIGHT, iou_loss
from fedsim_tf.metrics import iou
from fedsim_tf.phantom.hearts import ADULTS, draw_hearts
from fedsim_tf.regions import AORTA, LABEL_KINDS, PULMONARY_ARTERY, REGION_IDS, REGIONS
from fedsim_tf.shape.decoder import GRADIENTS, ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import label_map, occupancy, to_label_map

FIELD_OF_VIEW_MM = 200.0
BETAS = (0.9, 0.99)


class Fit(NamedTuple):
    """Shape parameters that were found, and the course of L_IoU.

    With partial volumes L_IoU does not fall to zero: voxels on the border overlap with themselves by their squares.

    Attributes:
      tau: (K + 7,) shape parameters.
      losses: (steps + 1,) L_IoU before each step and after the last one.
    """

    tau: np.ndarray
    losses: np.ndarray


def fit_shape(
    decoder: ShapeDecoder,
    mask: np.ndarray,
    *,
    steps: int = 150,
    first_voxels: float = 1.0,
    union_weight: float = UNION_WEIGHT,
) -> Fit:
    """Minimise L_IoU over the shape parameters, from the mean shape, by gradient descent (Adam).

    Parameters are counted in steps that move the surface equally far, so that millimetres, radians and standard
    deviations go together. Steps shrink to zero along a cosine.

    Args:
      decoder: the decoder of the model and the mask's grid.
      mask: (z, y, x), by region (z, y, x, 7), 0 or 1, or partial volumes; the heart is near the grid's centre.
      steps: number of steps.
      first_voxels: motion of the surface by the first step of one parameter, in voxels (root mean square).
      union_weight: weight of the heart as a whole in L_IoU by region.
    """
    target = tf.constant(mask[None], tf.float32)
    unit = tf.constant(decoder.steps / decoder.step_voxels, tf.float32)[None]  # moves the surface by a voxel
    scaled = tf.Variable(tf.zeros((1, decoder.n_parameters)))
    rate = tf.keras.optimizers.schedules.CosineDecay(first_voxels, steps)
    optimizer = tf.keras.optimizers.Adam(rate, beta_1=BETAS[0], beta_2=BETAS[1])
    optimizer.build([scaled])

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = iou_loss(decoder(scaled * unit), target, union_weight=union_weight)
        optimizer.apply_gradients([(tape.gradient(loss, scaled), scaled)])
        return loss

    losses = [float(step()) for _ in range(steps)]
    losses.append(float(iou_loss(decoder(scaled * unit), target, union_weight=union_weight)))
    return Fit((scaled * unit)[0].numpy(), np.array(losses))


CHAMBERS_AND_WALL = tuple(region for region in REGION_IDS if region not in (AORTA, PULMONARY_ARTERY))


class Score(NamedTuple):
    """IoU in percent of the label map of a fit: of the heart and of each region."""

    heart: float
    regions: dict[int, float]

    @property
    def chambers_and_wall(self) -> float:
        """Return the mean over the four chambers and the myocardium."""
        return float(np.mean([self.regions[region] for region in CHAMBERS_AND_WALL]))


def score(found: np.ndarray, truth: np.ndarray) -> Score:
    """Compare two label maps of region ids."""
    return Score(iou(found > 0, truth > 0), {region: iou(found == region, truth == region) for region in REGION_IDS})


class LeftOut:
    """One heart, and the model of the others.

    Args:
      shapes: all hearts.
      number: the heart, from 0.
      modes: modes of the model.
      grid: the voxels.
    """

    def __init__(self, shapes: CorrespondingShapes, number: int, *, modes: int, grid: Grid):
        rest = np.delete(shapes.points, number, axis=0)
        self.grid, self.model = grid, StatisticalShapeModel.fit(rest, shapes.faces, shapes.region_id, modes)
        self.points = shapes.points[number] - shapes.points[number].mean(axis=0)
        self.truth = self.labels(self.points)

    def labels(self, points: np.ndarray) -> np.ndarray:
        """Return the label map (z, y, x) of points (V, 3) in mm."""
        region_id = self.model.region_id
        return to_label_map(occupancy(points, self.model.faces, self.grid, region_id=region_id)).numpy()

    def decoder(self, labels: str, **options) -> ShapeDecoder:
        """Return the model's decoder."""
        return ShapeDecoder(self.model, self.grid, labels=labels, **options)

    def mask(self, labels: str) -> np.ndarray:
        """Return what a decoder of these labels is fitted to."""
        if labels == "heart":
            return self.truth > 0
        return self.truth[..., None] == np.array(REGION_IDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help="corresponding shapes (.npz)")
    parser.add_argument("--gradient", choices=GRADIENTS, default="finite_difference")
    parser.add_argument("--labels", nargs="+", choices=LABEL_KINDS, default=["heart"])
    parser.add_argument("--union_weight", type=float, default=UNION_WEIGHT)
    parser.add_argument("--modes", type=int, default=14)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--hearts", type=int, default=19, help="how many, from the first")
    parser.add_argument("--rows_per_voxel", type=int, default=1)
    parser.add_argument("--pictures", help="folder for the best and the worst fit of each kind of labels")
    arguments = parser.parse_args()
    shapes = CorrespondingShapes.load(arguments.shapes) if arguments.shapes else draw_hearts(ADULTS, 19, seed=3)
    grid = Grid.centred((arguments.size,) * 3, (FIELD_OF_VIEW_MM,) * 3)
    scores: dict[str, list[Score]] = {labels: [] for labels in arguments.labels}
    fitted: dict[str, list[np.ndarray]] = {labels: [] for labels in arguments.labels}
    hearts = []
    print("| heart | fitted to | IoU of the mean, % | IoU, % | chambers and wall, % | largest weight, sd | ms a step |")
    print("|---|---|---|---|---|---|---|")
    for number in range(min(arguments.hearts, len(shapes.points))):
        heart = LeftOut(shapes, number, modes=arguments.modes, grid=grid)
        hearts.append(heart)
        for labels in arguments.labels:
            decoder = heart.decoder(labels, gradient=arguments.gradient, rows_per_voxel=arguments.rows_per_voxel)
            start = time.perf_counter()
            fit = fit_shape(decoder, heart.mask(labels), steps=arguments.steps, union_weight=arguments.union_weight)
            step_ms = 1e3 * (time.perf_counter() - start) / arguments.steps
            mean, points = (decoder.points_mm(tau[None])[0].numpy() for tau in (np.zeros_like(fit.tau), fit.tau))
            first, last = (score(heart.labels(given), heart.truth) for given in (mean, points))
            scores[labels].append(last)
            fitted[labels].append(points)
            largest = np.abs(fit.tau[: heart.model.n_modes]).max()
            print(f"| {number + 1} | {labels} | {first.heart:.1f} | {last.heart:.1f} | ", end="")
            print(f"{last.chambers_and_wall:.1f} | {largest:.1f} | {step_ms:.0f} |", flush=True)
    print_means(scores)
    for labels in arguments.labels if arguments.pictures else ():
        draw_fits(pathlib.Path(arguments.pictures), labels, hearts, scores[labels], fitted[labels])


def print_means(scores: dict[str, list[Score]]) -> None:
    """Print the mean IoU of each region, with the smallest and the largest of the heart."""
    titles = [REGIONS[region].title for region in REGION_IDS]
    print(f"\n| fitted to | heart, % | range | chambers and wall, % | {' | '.join(titles)} |")
    print("|---|---|---|---|" + "---|" * len(titles))
    for labels, own in scores.items():
        heart = np.array([each.heart for each in own])
        wall = np.mean([each.chambers_and_wall for each in own])
        regions = [f"{np.mean([each.regions[region] for each in own]):.1f}" for region in REGION_IDS]
        print(f"| {labels} | {heart.mean():.2f} | {heart.min():.1f} to {heart.max():.1f} | {wall:.2f} | ", end="")
        print(f"{' | '.join(regions)} |")


def draw_fits(
    folder: pathlib.Path, labels: str, hearts: list[LeftOut], scores: list[Score], fitted: list[np.ndarray]
) -> None:
    """Draw the best and the worst fit of one kind of labels."""
    folder.mkdir(parents=True, exist_ok=True)
    overlaps = np.array([each.heart for each in scores])
    for name, k in (("best", int(overlaps.argmax())), ("worst", int(overlaps.argmin()))):
        model, grid = hearts[k].model, hearts[k].grid
        truth = label_map(hearts[k].points, model.faces, model.region_id, grid).numpy()
        title = f"heart {k + 1}, the {name} fit to {labels}, by a model of the others: IoU {overlaps[k]:.1f} %"
        path = folder / f"{name}_fit_{labels}.png"
        fit_figure(path, truth, grid, fitted[k], model.faces, model.region_id, title=title)


if __name__ == "__main__":
    main()
