"""Quality of a point-correspondence model: compactness, generalisation and specificity.

Davies 2002, "Learning shape: optimal models for analysing natural variability"; Styner et al. 2003, "Evaluation of 3D
correspondence methods for model building".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.shape.distances import mean_surface_distance
from fedsim_tf.shape.ssm import StatisticalShapeModel, find_rotation
from fedsim_tf.shape.surfaces import CorrespondingShapes, region_surface

SurfaceArrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # points (V, 3) in mm, faces (F, 3), region_id (V,)


@dataclasses.dataclass(frozen=True, eq=False)
class Generalisation:
    """How well a model describes shapes that it has not seen, for each left-out subject.

    Attributes:
      surface_mm: (n,) mean distance between the surfaces, both ways, over regions weighted by their vertices.
      vertex_mm: (n,) mean distance between corresponding vertices.
      region_mm: (n, regions) mean distance between the surfaces of each region, in the order of region ids.
      n_modes: number of modes of the models.
    """

    surface_mm: np.ndarray
    vertex_mm: np.ndarray
    region_mm: np.ndarray
    n_modes: int


@dataclasses.dataclass(frozen=True)
class Specificity:
    """How close random shapes of a model are to real ones: mean and standard deviation over the samples."""

    mean_mm: float
    std_mm: float
    n_samples: int


def compactness(shapes: CorrespondingShapes) -> np.ndarray:
    """Return the cumulative share (n - 1,) of the variance of n shapes by number of modes; it rises to 1.

    All shares are 1 where nothing varies.
    """
    model = StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, len(shapes.points) - 1)
    cumulative = np.cumsum(np.square(model.std.astype(np.float64)))
    return cumulative / cumulative[-1] if cumulative[-1] > 0 else np.ones(len(cumulative))


def reconstruct(model: StatisticalShapeModel, points: np.ndarray) -> np.ndarray:
    """Return corresponding points as the model describes them: aligned to its mean, projected on its modes, moved back.

    Args:
      model: the shape model.
      points: (V, 3) in mm, anywhere.

    Returns:
      (V, 3) float64 in mm, where the points were.
    """
    mean, modes = model.mean.astype(np.float64), model.modes.astype(np.float64)
    centre = points.mean(axis=0, dtype=np.float64)
    rotation, scale = _similarity(points - centre, mean)
    deviation = scale * (points - centre) @ rotation - mean
    projected = mean + np.tensordot(np.tensordot(modes, deviation, axes=2), modes, axes=1)
    return projected @ rotation.T / scale + centre


def generalisation(
    shapes: CorrespondingShapes,
    n_modes: int,
    surfaces: Sequence[SurfaceArrays] | None = None,
    *,
    progress: Callable[[], object] | None = None,
) -> Generalisation:
    """Return how well each subject, left out in turn, is described by the model of the others.

    Args:
      shapes: n subjects in point correspondence.
      n_modes: 1 to n - 2.
      surfaces: each subject's true surface, where the corresponding points only approximate it: points in the same
        coordinates, faces and region_id, with any number of vertices. The shapes' own surfaces by default.
      progress: called after each subject.

    Raises:
      InputError: too many modes, another number of surfaces than of subjects, surfaces with other regions.
    """
    n_subjects = len(shapes.points)
    if not 1 <= n_modes <= n_subjects - 2:
        raise InputError(
            "n_modes", found=f"{n_modes} with {n_subjects} subjects", expected=f"1 to {n_subjects - 2}: one is left out"
        )
    truths = _true_surfaces(shapes, surfaces)
    regions, weights = np.unique(shapes.region_id, return_counts=True)
    by_region, by_vertex = np.empty((n_subjects, len(regions))), np.empty(n_subjects)
    for subject, (left_out, truth) in enumerate(zip(shapes.points, truths, strict=True)):
        rest = np.delete(shapes.points, subject, axis=0)
        found = reconstruct(StatisticalShapeModel.fit(rest, shapes.faces, shapes.region_id, n_modes), left_out)
        by_vertex[subject] = np.linalg.norm(found - left_out, axis=1).mean()
        own = (found, shapes.faces, shapes.region_id)
        by_region[subject] = [
            mean_surface_distance(*region_surface(*own, region), *region_surface(*truth, region)) for region in regions
        ]
        if progress is not None:
            progress()
    return Generalisation(np.average(by_region, axis=1, weights=weights), by_vertex, by_region, n_modes)


def specificity(
    model: StatisticalShapeModel,
    shapes: CorrespondingShapes,
    n_samples: int = 1000,
    *,
    seed: int = 0,
    progress: Callable[[], object] | None = None,
) -> Specificity:
    """Return the distance of random shapes, with standard normal weights, to the nearest of the training subjects.

    The distance is the mean over corresponding vertices, once similarity is removed: each subject is turned onto the
    model's mean and given the sample's size.

    Args:
      model: the shape model.
      shapes: the training subjects.
      n_samples: number of random shapes.
      seed: seed of the weights.
      progress: called after each random shape.

    Raises:
      InputError: a model of other points than the shapes, fewer than one sample.
    """
    if model.mean.shape != shapes.points.shape[1:]:
        raise InputError("shapes", found=f"{shapes.points.shape[1]} vertices", expected=f"{len(model.mean)}")
    if n_samples < 1:
        raise InputError("n_samples", found=n_samples, expected="at least 1")
    training = shapes.points - shapes.points.mean(axis=1, keepdims=True, dtype=np.float64)
    turned = np.stack([points @ _similarity(points, model.mean)[0] for points in training])
    turned = (turned / np.linalg.norm(turned, axis=(1, 2), keepdims=True)).astype(np.float32)
    rng = np.random.default_rng(seed)
    nearest = np.empty(n_samples)
    for sample in range(n_samples):
        instance = model.instance(rng.standard_normal(model.n_modes))
        distances = np.linalg.norm(turned * np.linalg.norm(instance) - instance, axis=2).mean(axis=1)
        nearest[sample] = distances.min()
        if progress is not None:
            progress()
    return Specificity(float(nearest.mean()), float(nearest.std()), n_samples)


def _similarity(centred: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, float]:
    """Return rotation R and scale s for which s centred R lies on `fixed` and has its size."""
    return find_rotation(centred, fixed), float(np.linalg.norm(fixed) / np.linalg.norm(centred))


def _true_surfaces(shapes: CorrespondingShapes, surfaces: Sequence[SurfaceArrays] | None) -> Sequence[SurfaceArrays]:
    if surfaces is None:
        return [(points, shapes.faces, shapes.region_id) for points in shapes.points]
    if len(surfaces) != len(shapes.points):
        raise InputError("surfaces", found=len(surfaces), expected=f"{len(shapes.points)}, one for each subject")
    regions = np.unique(shapes.region_id).tolist()
    for number, (_, _, region_id) in enumerate(surfaces):
        if not set(regions) <= set(np.unique(region_id).tolist()):
            raise InputError(
                f"surface {number}", found=f"regions {np.unique(region_id).tolist()}", expected=str(regions)
            )
    return surfaces
