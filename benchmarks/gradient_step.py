"""The error of the decoder's gradients over the finite-difference step; docs/method.md shows the picture.

python -m benchmarks.gradient_step [--poses 6] [--plot docs/pictures/gradient_step.png]

The reference is an integral over the triangles of the right ventricle: a smooth upstream gradient times the normal
velocity of the surface. It is found by quadrature in float64, from the upstream gradient's formula instead of voxels.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import PHANTOM_MODEL, StatisticalShapeModel
from fedsim_tf.shape.surfaces import region_surface

STEPS_VOXELS = (0.01, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
ROWS = (1, 2, 4)
GRID = Grid.centred((64, 64, 64), (192.0, 192.0, 192.0))
WAVELENGTH_MM = 40.0
PARTS = 8  # parts of each triangle's edge in the quadrature


def right_ventricle() -> StatisticalShapeModel:
    """Return a shape model of the right ventricle alone."""
    heart = StatisticalShapeModel.load(PHANTOM_MODEL)
    mean, faces = region_surface(heart.mean, heart.faces, heart.region_id, 2)
    modes, _ = region_surface(heart.modes, heart.faces, heart.region_id, 2)
    return StatisticalShapeModel(mean, modes, heart.std, faces, np.full(len(mean), 2, np.uint8))


class Upstream:
    """A smooth upstream gradient: the sum of a few plane waves."""

    def __init__(self, rng: np.random.Generator):
        directions = rng.standard_normal((4, 3))
        self._waves = 2 * np.pi / WAVELENGTH_MM * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self._phases = rng.uniform(0, 2 * np.pi, 4)

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        return np.cos(points_mm @ self._waves.T + self._phases).sum(axis=-1)

    def voxels(self) -> np.ndarray:
        """Return its values at the voxels of the grid (z, y, x)."""
        index = np.stack(np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij"), axis=-1)[..., ::-1]
        return self(index * np.array(GRID.spacing_mm) + np.array(GRID.origin_mm)).astype(np.float32)


def place_points(model: StatisticalShapeModel, tau: np.ndarray) -> np.ndarray:
    """Return the vertices (V, 3) in mm of the shape with parameters tau, in float64."""
    k = model.n_modes
    local = model.mean.astype(np.float64) + np.tensordot(tau[:k] * model.std, model.modes.astype(np.float64), axes=1)
    return np.exp(tau[k + 6]) * Rotation.from_euler("xyz", tau[k : k + 3]).apply(local) + tau[k + 3 : k + 6]


def reference(model: StatisticalShapeModel, tau: np.ndarray, upstream: Upstream) -> np.ndarray:
    """Return d<upstream, occupancy>/d tau, in voxels, by quadrature over the triangles."""
    h = 1e-5
    velocity = [
        (place_points(model, tau + h * e) - place_points(model, tau - h * e)) / (2 * h) for e in np.eye(len(tau))
    ]
    corners = place_points(model, tau)[model.faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    thirds = [
        (np.array([i + s, j + s, PARTS - i - j - 2 * s]) / PARTS)
        for s, last in ((1 / 3, PARTS), (2 / 3, PARTS - 1))
        for i in range(last)
        for j in range(last - i)
    ]  # the centroids of the triangle's PARTS^2 parts, pointing up and down
    gradient = np.zeros(len(tau))
    for weights in thirds:
        values = upstream(np.tensordot(weights, corners, axes=([0], [1])))
        for parameter, moved in enumerate(velocity):
            speed = np.tensordot(weights, moved[model.faces], axes=([0], [1]))
            gradient[parameter] += np.sum(values * np.sum(speed * area, axis=1)) / len(thirds)
    return gradient / np.prod(GRID.spacing_mm)


def relative_error(decoder: ShapeDecoder, scale: np.ndarray, cases: list[tuple]) -> float:
    """Return the median over cases of the gradient's relative error, its parameters weighted by `scale`."""
    errors = []
    for tau, voxels, expected in cases:
        variable = tf.constant(tau[None], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = tf.reduce_sum(decoder(variable)[0] * voxels)
        found = tape.gradient(value, variable)[0].numpy()
        errors.append(np.linalg.norm((found - expected) * scale) / np.linalg.norm(expected * scale))
    return float(np.median(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=6)
    parser.add_argument("--plot")
    arguments = parser.parse_args()
    model, rng = right_ventricle(), np.random.default_rng(0)
    scale = ShapeDecoder(model, GRID).steps
    cases = []
    for _ in range(arguments.poses):
        weights = rng.normal(0, 0.7, model.n_modes)
        rotation_rad, translation_mm = rng.normal(0, 0.3, 3), rng.normal(0, 5, 3)
        tau = np.concatenate([weights, rotation_rad, translation_mm, [0.1]])
        upstream = Upstream(rng)
        cases.append((tau, upstream.voxels(), reference(model, tau, upstream)))
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    for rows, colour in zip(ROWS, ("#4c78a8", "#e07b39", "#54a24b"), strict=True):
        differences = [
            relative_error(ShapeDecoder(model, GRID, rows_per_voxel=rows, step_voxels=step), scale, cases)
            for step in STEPS_VOXELS
        ]
        integral = relative_error(ShapeDecoder(model, GRID, "surface", rows_per_voxel=rows), scale, cases)
        print(f"{rows}^2 rows: surface {integral:.4f}; ", end="")
        print(", ".join(f"{step:g}: {error:.4f}" for step, error in zip(STEPS_VOXELS, differences, strict=True)))
        axis.loglog(STEPS_VOXELS, differences, "o-", color=colour, label=f"finite differences, {rows}² rows a voxel")
        axis.axhline(integral, color=colour, linestyle=":", label=f"surface integral, {rows}² rows a voxel")
    axis.set_xlabel("step: how far it moves the surface, in voxels (rms)")
    axis.set_ylabel("relative error of the gradient")
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    if arguments.plot:
        figure.savefig(arguments.plot, dpi=130)


if __name__ == "__main__":
    main()
