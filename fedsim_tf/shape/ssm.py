"""Statistical shape model: Procrustes alignment and principal component analysis of corresponding points."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np

from fedsim_tf.errors import InputError, naming
from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.regions import REGION_IDS
from fedsim_tf.shape.surfaces import CorrespondingShapes, check_surfaces, read_subjects, subjects_as_arrays

FORMAT_VERSION = 1
# 14 modes of the phantom's hearts, made by `python -m experiments.build_ssm --shapes=phantom --out=...`.
PHANTOM_MODEL = pathlib.Path(__file__).parent / "phantom_hearts.npz"
_ARRAYS = ("mean", "modes", "std", "faces", "region_id", "format_version")


@dataclasses.dataclass(frozen=True, eq=False)
class StatisticalShapeModel:
    """A mean shape and its modes of variation.

    Attributes:
      mean: (V, 3) in mm, its centroid at the origin.
      modes: (K, V, 3), orthonormal as vectors of length 3 V.
      std: (K,) standard deviation along each mode, in mm.
      faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
      region_id: (V,) region of each vertex, 1..7.
      subjects: names of the subjects it was made from, which may not be tested with it; empty where unknown.
      subject_digests: SHA-256 of each subject's label files, in the order of `subjects`, see
        `fedsim_tf.files.digest_files`; empty where unknown.
    """

    mean: np.ndarray
    modes: np.ndarray
    std: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray
    subjects: tuple[str, ...] = ()
    subject_digests: tuple[str, ...] = ()

    @property
    def n_modes(self) -> int:
        """Return the number of modes."""
        return len(self.std)

    @property
    def missing_regions(self) -> tuple[int, ...]:
        """Return the regions of the heart that the model has no surface of."""
        return tuple(region for region in REGION_IDS if region not in self.region_id)

    @classmethod
    def fit(
        cls, points: np.ndarray, faces: np.ndarray, region_id: np.ndarray, n_modes: int = 14
    ) -> StatisticalShapeModel:
        """Return the model of points (n, V, 3) in mm in correspondence.

        Raises:
          InputError: surfaces that cannot be used, or more modes than subjects less one.
        """
        shapes = CorrespondingShapes(np.asarray(points), np.asarray(faces), np.asarray(region_id))
        n_subjects = len(shapes.points)
        if not 1 <= n_modes <= n_subjects - 1:
            raise InputError(
                "n_modes",
                found=f"{n_modes} with {n_subjects} subjects",
                expected=f"1 to {n_subjects - 1}: n subjects span at most n - 1 modes",
            )
        aligned = procrustes(shapes.points.astype(np.float64))
        mean = aligned.mean(axis=0)
        deviations = (aligned - mean).reshape(n_subjects, -1)
        _, singular, vectors = np.linalg.svd(deviations, full_matrices=False)
        modes = vectors[:n_modes].reshape(n_modes, *mean.shape)
        std = singular[:n_modes] / np.sqrt(n_subjects - 1)
        return cls(
            mean.astype(np.float32),
            modes.astype(np.float32),
            std.astype(np.float32),
            shapes.faces.astype(np.int32),
            shapes.region_id.astype(np.uint8),
        )

    def instance(self, weights: np.ndarray) -> np.ndarray:
        """Return points (..., V, 3) in mm for weights (..., K) in standard deviations."""
        weights = np.asarray(weights, np.float32)
        if weights.shape[-1:] != (self.n_modes,):
            raise InputError("weights", found=f"shape {weights.shape}", expected=f"(..., {self.n_modes})")
        return self.mean + np.tensordot(weights * self.std, self.modes, axes=1)

    def save(self, path: str | os.PathLike) -> None:
        """Write an .npz without pickle; an interrupted write leaves no file behind."""
        arrays = dataclasses.asdict(self) | subjects_as_arrays(self.subjects, self.subject_digests)
        write_npz(path, {**arrays, "format_version": FORMAT_VERSION}, compressed=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> StatisticalShapeModel:
        """Read what `save` wrote.

        Raises:
          InputError: no such file, a damaged one, one of another version, or arrays that do not fit together.
        """
        arrays = read_npz(path, required=_ARRAYS)
        version = int(arrays.pop("format_version"))
        if version != FORMAT_VERSION:
            raise InputError(path, found=f"format version {version}", expected=f"version {FORMAT_VERSION}")
        mean, modes, std = (arrays[name] for name in ("mean", "modes", "std"))
        if mean.shape[1:] != (3,) or std.ndim != 1 or modes.shape != (len(std), *mean.shape):
            found = f"mean, modes and std of shapes {mean.shape}, {modes.shape} and {std.shape}"
            raise InputError(path, found=found, expected="(V, 3), (K, V, 3) and (K,)")
        if not all(np.all(np.isfinite(values)) for values in (mean, modes, std)):
            raise InputError(path, found="NaN or infinite values", expected="a finite mean, modes and std")
        with naming(path):
            check_surfaces(mean[None], arrays["faces"], arrays["region_id"])
        subjects, digests = read_subjects(arrays)
        return cls(**{name: arrays[name] for name in _ARRAYS[:-1]}, subjects=subjects, subject_digests=digests)


def load_shape_model(path: str | os.PathLike, *, n_modes: int | None = None) -> StatisticalShapeModel:
    """Return the model in a file of a model, or of corresponding shapes, to which it is fitted.

    Args:
      path: the .npz file.
      n_modes: modes of the result; None: all of the model, or all that the shapes span.

    Raises:
      InputError: a file that cannot be used, or one with fewer modes.
    """
    if "shapes" in read_npz(path, required=("faces", "region_id")):
        shapes = CorrespondingShapes.load(path)
        count = len(shapes.points) - 1 if n_modes is None else n_modes
        model = StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, count)
        return dataclasses.replace(model, subjects=shapes.subjects, subject_digests=shapes.subject_digests)
    model = StatisticalShapeModel.load(path)
    if n_modes is None:
        return model
    if model.n_modes < n_modes:
        raise InputError(path, found=f"{model.n_modes} modes", expected=f"at least {n_modes}, or fewer asked for")
    return dataclasses.replace(model, modes=model.modes[:n_modes], std=model.std[:n_modes])


def procrustes(points: np.ndarray, *, iterations: int = 10) -> np.ndarray:
    """Return shapes without their translation, rotation and scale (generalised Procrustes analysis, Gower 1975).

    Args:
      points: (n, V, 3).
      iterations: rotations onto the mean, and means of the result.

    Returns:
      (n, V, 3) around the origin, at the subjects' mean size.
    """
    centred = points - points.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    aligned = centred / sizes
    mean = aligned[0]
    for _ in range(iterations):
        aligned = np.stack([shape @ find_rotation(shape, mean) for shape in aligned])
        mean = aligned.mean(axis=0)
        mean /= np.linalg.norm(mean)
    return aligned * sizes.mean()


def find_rotation(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return the proper rotation R (3, 3) that minimises |moving R - fixed| (Kabsch 1976)."""
    left, _, right = np.linalg.svd(moving.T @ fixed)
    left[:, -1] *= np.sign(np.linalg.det(left @ right))
    return left @ right
