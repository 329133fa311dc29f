"""The last steps onto one subject's surface: fine coherent displacements, then steps along the normal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from fedsim_tf.shape.label_surfaces import vertex_normals
from fedsim_tf.shape.registration.deformation import displacement
from fedsim_tf.shape.registration.mixture import Mixture
from fedsim_tf.shape.template import edges_of

_NEIGHBOURS = 8  # components that a point may belong to
_PROJECTION_SHARE = 0.8
_LEAST_COSINE = 0.3  # between the normals of a vertex and of the surface that it may step to
_LONGEST_STEP_MM = 3.0
_UNFOLDING_ROUNDS = 50
_ROUNDS_PER_RING = 10


class Region(NamedTuple):
    """A region's points (N, 3) and normals (N, 3) in the template's frame, and its slice of the components."""

    points: np.ndarray
    normals: np.ndarray
    components: slice


def fine_displacement(regions: list[Region], mixture: Mixture, factor: np.ndarray, stiffness: float) -> np.ndarray:
    """A small coherent displacement (M, 3) of the components towards the points; each sees its nearest few only."""
    weight, position = np.zeros(len(mixture.points)), np.zeros((len(mixture.points), 3))
    for region in regions:
        part = mixture.part(region.components)
        weight[region.components], position[region.components] = _nearby_expectation(region, part)
    force = position - weight[:, None] * mixture.points
    return displacement(factor, weight, force, stiffness * mixture.sigma**2)


def _nearby_expectation(region: Region, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Sums P u (M,) and P u x (M, 3), with P of the nearest components only."""
    count = min(_NEIGHBOURS, len(mixture.points))
    distance, near = cKDTree(mixture.points).query(region.points, k=count)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    nu, scaled = mixture.nu[near], (distance / mixture.sigma) ** 2
    cosine = np.einsum("nj,nkj->nk", region.normals, mixture.normals[near])
    joint = -(nu + 3) / 2 * np.log1p(scaled / nu) + mixture.kappa * cosine
    joint = np.exp(joint - joint.max(axis=1, keepdims=True))
    weight = joint / joint.sum(axis=1, keepdims=True) * (nu + 3) / (nu + scaled)
    sums = coo_array((weight.ravel(), (near.ravel(), np.repeat(np.arange(len(near)), count)))).tocsr()
    sums.resize((len(mixture.points), len(near)))
    return np.asarray(sums.sum(axis=1)).ravel(), sums @ region.points


class Triangulation:
    """The template's faces and what follows from them: neighbour means for smoothing."""

    def __init__(self, faces: np.ndarray, n_vertices: int):
        self.faces = faces
        rows, columns = np.concatenate([edges_of(faces), edges_of(faces)[:, ::-1]]).T
        links = csr_array(coo_array((np.ones(len(rows)), (rows, columns)), (n_vertices, n_vertices)))
        degree = np.asarray(links.sum(axis=1)).ravel()
        self._mean = links * csr_array(1 / np.maximum(degree, 1)[:, None])

    def smoothed(self, values: np.ndarray) -> np.ndarray:
        """Each vertex's values (M, k), averaged with its neighbours' mean."""
        return 0.5 * (values + self._mean @ values)

    def folded(self, points: np.ndarray) -> np.ndarray:
        """Vertices (M,) bool of the triangles that face against their corners' mean normal."""
        a, b, c = (points[self.faces[:, k]] for k in range(3))
        around = vertex_normals(points, self.faces)[self.faces].sum(axis=1)
        found = np.zeros(len(points), bool)
        found[self.faces[np.einsum("ij,ij->i", np.cross(b - a, c - a), around) <= 0]] = True
        return found

    def unfolded(self, points: np.ndarray) -> np.ndarray:
        """Points whose folded triangles, if any, were smoothed out, in circles that grow while the folds persist."""
        for attempt in range(_UNFOLDING_ROUNDS):
            moving = self.folded(points)
            if not moving.any():
                break
            for _ in range(attempt // _ROUNDS_PER_RING):
                moving = moving | (self._mean @ moving > 0)
            points = points.copy()
            points[moving] = self.smoothed(points)[moving]
        return points


def projected(points: np.ndarray, mesh: Triangulation, regions: list[Region]) -> np.ndarray:
    """Components (M, 3) moved along the surface's normals towards the subject's surface.

    The target is the tangent plane of the nearest point that faces the same way, and the steps are smoothed over the
    mesh, so that vertices do not slide and triangles stay in shape.
    """
    normals = vertex_normals(points, mesh.faces)
    step = np.zeros_like(points)
    for region in regions:
        mine = points[region.components]
        near = cKDTree(region.points).query(mine)[1]
        facing = region.normals[near]
        offset = np.einsum("ij,ij->i", region.points[near] - mine, facing)
        trusted = np.einsum("ij,ij->i", facing, normals[region.components]) > _LEAST_COSINE
        offset = np.clip(offset, -_LONGEST_STEP_MM, _LONGEST_STEP_MM) * trusted
        step[region.components] = offset[:, None] * facing
    return mesh.unfolded(points + _PROJECTION_SHARE * mesh.smoothed(step))
