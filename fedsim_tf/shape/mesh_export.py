"""A shape model as meshes for 3D Slicer and ParaView."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from fedsim_tf.shape.mesh_files import write_mesh
from fedsim_tf.shape.ssm import StatisticalShapeModel

FORMATS = (".vtk", ".stl")
DEVIATIONS = {"minus3sd": -3, "plus3sd": 3}  # in standard deviations, by the ending of the file's name


def export_model(model: StatisticalShapeModel, folder: str | os.PathLike) -> list[pathlib.Path]:
    """Write the mean, each mode at -3 and +3 standard deviations, and the mean with the modes as vectors.

    `mean_with_modes.vtk` has point vectors `mode_01`.. in mm for one standard deviation: ParaView's Warp By Vector
    shows any multiple of them. Modes that an earlier export to the folder had, and the model has not, are removed.

    Returns:
      The files: mean, mode_01_minus3sd, mode_01_plus3sd, ... as .vtk and .stl, and mean_with_modes.vtk last.
    """
    folder, written = pathlib.Path(folder), []
    for name, points in _shapes(model).items():
        for suffix in FORMATS:
            written.append(folder / f"{name}{suffix}")
            write_mesh(written[-1], points, model.faces, model.region_id)
    vectors = {f"mode_{k + 1:02d}": model.modes[k] * model.std[k] for k in range(model.n_modes)}
    last = folder / "mean_with_modes.vtk"
    write_mesh(last, model.mean, model.faces, model.region_id, vectors=vectors)
    for earlier in set(folder.glob("mode_*sd.*")) - set(written):
        earlier.unlink()
    return [*written, last]


def _shapes(model: StatisticalShapeModel) -> dict[str, np.ndarray]:
    """Return the points (V, 3) of the mean and of each mode at each deviation, by the file's name."""
    shapes = {"mean": model.mean}
    for mode, one in enumerate(np.eye(model.n_modes), 1):
        for ending, deviation in DEVIATIONS.items():
            shapes[f"mode_{mode:02d}_{ending}"] = model.instance(deviation * one)
    return shapes
