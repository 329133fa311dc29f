"""The differentiable decoder: 21 shape parameters to a voxelized heart."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.pose import N_POSE, transform
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.voxelize import COLUMNS_PER_VOXEL, inner_product, label_map, occupancy, running_sums

STEP_VOXELS = 0.5  # each parameter's finite-difference step moves the surface by about half a voxel (rms)


class ShapeDecoder:
    """`decoder(tau)`: shape parameters (B, K + 7) to occupancy (B, z, y, x) in [0, 1].

    tau holds K weights in standard deviations, three rotations in rad, three translations in mm and a log scale. The
    gradient comes from central finite differences on these few parameters, as in section 2.2 of the paper. The
    perturbed hearts are not voxelized: only their inner products with the upstream gradient are formed.

    Args:
      ssm: the shape model.
      grid: where the heart is rasterised.
      gradient: "finite_difference".
      columns_per_voxel: supersampling across z, per axis.

    Raises:
      InputError: an unknown gradient; a tau whose last dimension is not K + 7.
    """

    def __init__(
        self,
        ssm: StatisticalShapeModel,
        grid: Grid,
        gradient: str = "finite_difference",
        *,
        columns_per_voxel: int = COLUMNS_PER_VOXEL,
    ):
        if gradient != "finite_difference":
            raise InputError("gradient", found=repr(gradient), expected="'finite_difference'")
        self.ssm, self.grid = ssm, grid
        self.n_parameters = ssm.n_modes + N_POSE
        self.steps = finite_difference_steps(ssm, grid)
        self._columns_per_voxel = columns_per_voxel
        self._mean = tf.constant(ssm.mean, tf.float32)
        self._basis = tf.constant(ssm.modes * ssm.std[:, None, None], tf.float32)
        self._decode = tf.custom_gradient(self._decode_with_gradient)

    def __call__(self, tau: tf.Tensor) -> tf.Tensor:
        return self._decode(self._checked(tau))

    def label_map(self, tau: tf.Tensor) -> tf.Tensor:
        """Region ids (B, z, y, x) uint8; no gradient."""
        points = self.points_mm(self._checked(tau))
        return label_map(
            points, self.ssm.faces, self.ssm.region_id, self.grid, columns_per_voxel=self._columns_per_voxel
        )

    def points_mm(self, tau: tf.Tensor) -> tf.Tensor:
        """Surface points (..., V, 3) in mm for tau (..., K + 7)."""
        weights, pose = tau[..., : self.ssm.n_modes], tau[..., self.ssm.n_modes :]
        return transform(self._mean + tf.tensordot(weights, self._basis, axes=1), pose)

    def _checked(self, tau: tf.Tensor) -> tf.Tensor:
        tau = tf.convert_to_tensor(tau, tf.float32)
        if tau.shape.rank != 2 or tau.shape[-1] != self.n_parameters:
            raise InputError("tau", found=f"shape {tau.shape}", expected=f"(batch, {self.n_parameters})")
        return tau

    def _decode_with_gradient(self, tau: tf.Tensor):
        summed = occupancy(self.points_mm(tau), self.ssm.faces, self.grid, columns_per_voxel=self._columns_per_voxel)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # The union of regions is the clipped sum: where they overlap (sum above 1) nothing that moves shows.
            visible = tf.where(summed <= 1.0 + 1e-4, upstream, 0.0)
            return self._central_differences(tau, running_sums(visible))

        return tf.clip_by_value(summed, 0.0, 1.0), gradient

    def _central_differences(self, tau: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        """d<upstream, occupancy>/d tau (B, K + 7), one parameter at a time to bound memory."""
        both = tf.concat([sums, sums], axis=0)

        def one_parameter(step: tf.Tensor) -> tf.Tensor:
            meshes = self.points_mm(tf.concat([tau + step, tau - step], axis=0))
            products = inner_product(both, meshes, self.ssm.faces, self.grid, columns_per_voxel=self._columns_per_voxel)
            forward, backward = tf.split(products, 2)
            return (forward - backward) / (2.0 * tf.reduce_sum(step))

        steps = tf.linalg.diag(tf.constant(self.steps, tf.float32))
        return tf.transpose(tf.map_fn(one_parameter, steps, parallel_iterations=1))


def finite_difference_steps(ssm: StatisticalShapeModel, grid: Grid) -> np.ndarray:
    """The step (K + 7,) of each parameter that moves the surface by `STEP_VOXELS` (root mean square)."""
    rms = lambda moved_mm: np.sqrt(np.mean(np.sum(np.square(moved_mm), axis=-1), axis=-1))  # noqa: E731
    modes = rms(ssm.modes * ssm.std[:, None, None])
    rotations = [rms(np.cross(axis, ssm.mean)) for axis in np.eye(3)]
    moved_per_unit = np.concatenate([modes, rotations, np.ones(3), [rms(ssm.mean)]])
    voxel_mm = float(np.mean(grid.spacing_mm))
    return (STEP_VOXELS * voxel_mm / np.maximum(moved_per_unit, 1e-6)).astype(np.float32)
