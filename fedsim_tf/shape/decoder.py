"""The differentiable decoder from shape parameters to a voxelized heart."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.regions import LABEL_KINDS, REGIONS
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.parameters import N_POSE
from fedsim_tf.shape.pose import rotation_matrices
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.voxelize import (
    ROWS_PER_VOXEL,
    Surfaces,
    fill_occupancy,
    inner_products,
    label_map,
    surface_gradient,
)

STEP_VOXELS = 0.5  # root mean square motion of the surface in a finite-difference step
GRADIENTS = ("finite_difference", "surface")


class ShapeDecoder:
    """A differentiable map from shape parameters tau (B, K + 7) to the heart's occupancy (B, z, y, x) in [0, 1].

    By region the occupancy is (B, z, y, x, 7): channel r - 1 is that of region r. Regions are painted in the order of
    `fedsim_tf.regions`, so that they do not overlap and add up to the heart.

    tau holds K weights in standard deviations, three rotations in rad, three translations in mm and a log scale.

    Args:
      ssm: the shape model.
      grid: the voxels.
      gradient: "finite_difference" takes central differences of each parameter, as in section 2.2 of the paper; of
        perturbed hearts only the inner products with the upstream gradient are formed. "surface" integrates the
        upstream gradient times the normal velocity over the heart's surface, in one pass for all parameters.
      labels: "heart" as a whole, or "regions".
      rows_per_voxel: rows that sample each voxel along y and along z.
      step_voxels: how far a parameter's finite-difference step moves the surface (root mean square).

    Raises:
      InputError: an unknown gradient or unknown labels, a step that is not positive, regions asked of a shape model
        that lacks some, or later a tau of another shape.
    """

    def __init__(
        self,
        ssm: StatisticalShapeModel,
        grid: Grid,
        gradient: str = "finite_difference",
        *,
        labels: str = "heart",
        rows_per_voxel: int = ROWS_PER_VOXEL,
        step_voxels: float = STEP_VOXELS,
    ):
        for name, given, known in (("gradient", gradient, GRADIENTS), ("labels", labels, LABEL_KINDS)):
            if given not in known:
                raise InputError(name, found=repr(given), expected=" or ".join(map(repr, known)))
        if not step_voxels > 0:
            raise InputError("step_voxels", found=step_voxels, expected="a positive length in voxels")
        self.ssm, self.grid, self.gradient, self.step_voxels = ssm, grid, gradient, step_voxels
        self.labels, self._surfaces = labels, _surfaces_of(ssm, labels)
        self.n_parameters = ssm.n_modes + N_POSE
        self.steps = finite_difference_steps(ssm, grid, step_voxels=step_voxels)
        self._rows_per_voxel = rows_per_voxel
        # Mean and modes by coordinate, and ones: 3 K + 4 rows of V. A posed instance is one product with them.
        local = np.concatenate([ssm.mean[None], ssm.modes * ssm.std[:, None, None]])
        by_coordinate = local.transpose(0, 2, 1).reshape(-1, len(ssm.mean))
        self._local = tf.constant(np.concatenate([by_coordinate, np.ones((1, len(ssm.mean)))]), tf.float32)
        self._decode = tf.custom_gradient(self._decode_with_gradient)

    def __call__(self, tau: tf.Tensor) -> tf.Tensor:
        """Return the occupancy (B, z, y, x), by region (B, z, y, x, 7), for tau (B, K + 7)."""
        return self._decode(self._check(tau))

    def label_map(self, tau: tf.Tensor) -> tf.Tensor:
        """Return region ids (B, z, y, x) uint8 for tau (B, K + 7); they have no gradient."""
        points = self.points_mm(self._check(tau))
        return label_map(points, self.ssm.faces, self.ssm.region_id, self.grid, rows_per_voxel=self._rows_per_voxel)

    def points_mm(self, tau: tf.Tensor) -> tf.Tensor:
        """Return surface points (B, V, 3) in mm for tau (B, K + 7)."""
        return tf.linalg.matrix_transpose(self._planes(tau, np.ones(3, np.float32), np.zeros(3, np.float32)))

    def _check(self, tau: tf.Tensor) -> tf.Tensor:
        tau = tf.convert_to_tensor(tau, tf.float32)
        if tau.shape.rank != 2 or tau.shape[-1] != self.n_parameters:
            raise InputError("tau", found=f"shape {tau.shape}", expected=f"(batch, {self.n_parameters})")
        return tau

    def _planes(self, tau: tf.Tensor, scale: np.ndarray, shift: np.ndarray) -> tf.Tensor:
        """Return surface points (B, 3, V) of posed instances of the model, scaled and shifted (3,) from mm."""
        weights, pose = tau[:, : self.ssm.n_modes], tau[:, self.ssm.n_modes :]
        turned = tf.exp(pose[:, 6])[:, None, None] * rotation_matrices(pose[:, :3])
        amounts = tf.concat([tf.ones_like(weights[:, :1]), weights], axis=1)
        coefficients = (scale[:, None] * turned)[:, :, None, :] * amounts[:, None, :, None]  # (B, 3, K + 1, 3)
        moved = scale * pose[:, 3:6] + shift
        rows = tf.concat(
            [tf.reshape(coefficients, [-1, 3 * (self.ssm.n_modes + 1)]), tf.reshape(moved, [-1, 1])], axis=1
        )
        return tf.reshape(rows @ self._local, [-1, 3, self._local.shape[1]])

    def _voxel_planes(self, tau: tf.Tensor) -> tf.Tensor:
        """Return surface points (B, 3, V) in voxel coordinates."""
        per_mm = 1.0 / np.array(self.grid.spacing_mm)
        shift = -np.array(self.grid.origin_mm) * per_mm
        return self._planes(tau, per_mm.astype(np.float32), shift.astype(np.float32))

    def _decode_with_gradient(self, tau: tf.Tensor):
        planes = self._voxel_planes(tau)
        volume = fill_occupancy(planes, self._surfaces, self.grid, rows_per_voxel=self._rows_per_voxel)
        differentiate = self._central_differences if self.gradient == "finite_difference" else self._surface_integral
        return volume, lambda upstream: differentiate(tau, upstream)

    def _central_differences(self, tau: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """Return d<upstream, occupancy>/d tau (B, K + 7) by central differences."""
        steps = tf.linalg.diag(tf.constant(self.steps))
        moved = tau[:, None, :] + tf.concat([steps, -steps], axis=0)
        planes = self._voxel_planes(tf.reshape(moved, [-1, self.n_parameters]))
        by_volume = tf.reshape(planes, [-1, 2 * self.n_parameters, 3, self._local.shape[1]])
        products = inner_products(upstream, by_volume, self._surfaces, rows_per_voxel=self._rows_per_voxel)
        forward, backward = tf.split(products, 2, axis=1)
        return tf.cast((forward - backward) / (2.0 * self.steps.astype(np.float64)), tf.float32)

    def _surface_integral(self, tau: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """Return d<upstream, occupancy>/d tau (B, K + 7) by the integral over the surface."""
        with tf.GradientTape() as tape:
            tape.watch(tau)
            planes = self._voxel_planes(tau)
        moved = surface_gradient(upstream, planes, self._surfaces, rows_per_voxel=self._rows_per_voxel)
        return tape.gradient(planes, tau, output_gradients=moved)


def _surfaces_of(ssm: StatisticalShapeModel, labels: str) -> Surfaces:
    """Return the surfaces of a shape model, to be voxelized as one heart or by region."""
    if labels == "heart":
        return Surfaces.as_one(ssm.faces)
    if ssm.missing_regions:
        missing = ", ".join(REGIONS[region].title for region in ssm.missing_regions)
        found = f"'regions' with a shape model without {missing}"
        raise InputError("labels", found=found, expected="a shape model of all seven regions, or 'heart'")
    return Surfaces.by_region(ssm.faces, ssm.region_id)


def finite_difference_steps(ssm: StatisticalShapeModel, grid: Grid, *, step_voxels: float = STEP_VOXELS) -> np.ndarray:
    """Return the step (K + 7,) of each parameter that moves the surface by `step_voxels` (root mean square)."""
    rms = lambda moved_mm: np.sqrt(np.mean(np.sum(np.square(moved_mm), axis=-1), axis=-1))  # noqa: E731
    modes = rms(ssm.modes * ssm.std[:, None, None])
    rotations = [rms(np.cross(axis, ssm.mean)) for axis in np.eye(3)]
    moved_per_unit = np.concatenate([modes, rotations, np.ones(3), [rms(ssm.mean)]])
    voxel_mm = float(np.mean(grid.spacing_mm))
    return (step_voxels * voxel_mm / np.maximum(moved_per_unit, 1e-6)).astype(np.float32)
