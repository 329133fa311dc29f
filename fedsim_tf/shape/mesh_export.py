"""A shape model as meshes for 3D Slicer and ParaView."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from fedsim_tf.shape.mesh_files import write_mesh
from fedsim_tf.shape.ssm import StatisticalShapeModel


def export_model(
    model: StatisticalShapeModel,
    folder: str | os.PathLike,
    *,
    suffixes: Sequence[str] = (".vtk", ".stl"),
    deviations: Sequence[float] = (-3, 3),
) -> list[pathlib.Path]:
    """Write the mean, each mode at the given standard deviations, and the mean with the modes as vectors.

    `mean_with_modes.vtk` has point vectors `mode_01`.. in mm for one standard deviation: ParaView's Warp By Vector
    shows any multiple of them. Modes that an earlier export to the folder had, and the model has not, are removed.

    Returns:
      The files: mean.vtk, mode_01_minus3sd.vtk, mode_01_plus3sd.vtk, ... in every format, mean_with_modes.vtk last.
    """
    folder, written = pathlib.Path(folder), []
    for name, points in _shapes(model, deviations).items():
        for suffix in suffixes:
            written.append(folder / f"{name}{suffix}")
            write_mesh(written[-1], points, model.faces, model.region_id)
    vectors = {f"mode_{k + 1:02d}": model.modes[k] * model.std[k] for k in range(model.n_modes)}
    last = folder / "mean_with_modes.vtk"
    write_mesh(last, model.mean, model.faces, model.region_id, vectors=vectors)
    for earlier in set(folder.glob("mode_*sd.*")) - set(written):
        earlier.unlink()
    return [*written, last]


def _shapes(model: StatisticalShapeModel, deviations: Sequence[float]) -> dict[str, np.ndarray]:
    """Return the points (V, 3) of the mean and of each mode at each deviation, by the file's name."""
    shapes = {"mean": model.mean}
    for mode in range(model.n_modes):
        for deviation in deviations:
            side = "minus" if deviation < 0 else "plus"
            weights = deviation * np.eye(model.n_modes)[mode]
            shapes[f"mode_{mode + 1:02d}_{side}{abs(deviation):g}sd"] = model.instance(weights)
    return shapes
