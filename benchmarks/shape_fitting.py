"""Measures how well a shape model fits hearts that it has not seen, by gradient descent through L_IoU alone.

python -m benchmarks.shape_fitting [--shapes hearts.npz] [--gradient finite_difference] [--steps 80] [--pictures DIR]

Each heart is left out of its own model, and the descent starts from the mean shape. Without --shapes, the phantom's
adults are fitted.
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
from fedsim_tf.losses import iou_loss
from fedsim_tf.metrics import dice, iou
from fedsim_tf.phantom.hearts import ADULTS, draw_hearts
from fedsim_tf.shape.decoder import GRADIENTS, ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import label_map, occupancy

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


def fit_shape(decoder: ShapeDecoder, mask: np.ndarray, *, steps: int = 150, first_voxels: float = 1.0) -> Fit:
    """Minimise L_IoU over the shape parameters, from the mean shape, by gradient descent (Adam).

    Parameters are counted in steps that move the surface equally far, so that millimetres, radians and standard
    deviations go together. Steps shrink to zero along a cosine.

    Args:
      decoder: the decoder of the model and the mask's grid.
      mask: (z, y, x), 0 or 1, or partial volumes; the heart is near the grid's centre.
      steps: number of steps.
      first_voxels: motion of the surface by the first step of one parameter, in voxels (root mean square).
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
            loss = iou_loss(decoder(scaled * unit), target)
        optimizer.apply_gradients([(tape.gradient(loss, scaled), scaled)])
        return loss

    losses = [float(step()) for _ in range(steps)]
    losses.append(float(iou_loss(decoder(scaled * unit), target)))
    return Fit((scaled * unit)[0].numpy(), np.array(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help="corresponding shapes (.npz)")
    parser.add_argument("--gradient", choices=GRADIENTS, default="finite_difference")
    parser.add_argument("--modes", type=int, default=14)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rows_per_voxel", type=int, default=1)
    parser.add_argument("--pictures", help="folder for the best and the worst fit")
    arguments = parser.parse_args()
    shapes = CorrespondingShapes.load(arguments.shapes) if arguments.shapes else draw_hearts(ADULTS, 19, seed=3)
    grid = Grid.centred((arguments.size,) * 3, (FIELD_OF_VIEW_MM,) * 3)
    fits = []
    print("| heart | IoU of the mean shape, % | IoU, % | Dice, % | largest weight, sd | ms a step |")
    print("|---|---|---|---|---|---|")
    for k, heart in enumerate(shapes.points):
        rest = np.delete(shapes.points, k, axis=0)
        model = StatisticalShapeModel.fit(rest, shapes.faces, shapes.region_id, arguments.modes)
        decoder = ShapeDecoder(model, grid, arguments.gradient, rows_per_voxel=arguments.rows_per_voxel)
        centred = heart - heart.mean(axis=0)
        mask = occupancy(centred, shapes.faces, grid).numpy() > 0.5
        start = time.perf_counter()
        fit = fit_shape(decoder, mask, steps=arguments.steps)
        step_ms = 1e3 * (time.perf_counter() - start) / arguments.steps
        first, last = (decoder(tau[None])[0].numpy() > 0.5 for tau in (np.zeros_like(fit.tau), fit.tau))
        fits.append((iou(last, mask), centred, decoder.points_mm(fit.tau[None])[0].numpy()))
        largest = np.abs(fit.tau[: model.n_modes]).max()
        overlap_of_mean, overlap, dice_score = iou(first, mask), fits[-1][0], dice(last, mask)
        print(f"| {k + 1} | {overlap_of_mean:.1f} | {overlap:.1f} | {dice_score:.1f} | {largest:.1f} | {step_ms:.0f} |")
    overlaps = np.array([fit[0] for fit in fits])
    print(f"mean IoU {overlaps.mean():.2f} %, from {overlaps.min():.2f} to {overlaps.max():.2f} %")
    if arguments.pictures:
        folder = pathlib.Path(arguments.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        for name, k in (("best", int(overlaps.argmax())), ("worst", int(overlaps.argmin()))):
            overlap, centred, points = fits[k]
            labels = label_map(centred, shapes.faces, shapes.region_id, grid).numpy()
            title = f"heart {k + 1}, the {name} fit of a model of the others: IoU {overlap:.1f} %"
            fit_figure(folder / f"{name}_fit.png", labels, grid, points, shapes.faces, shapes.region_id, title=title)


if __name__ == "__main__":
    main()
