"""The last steps onto one subject's surface: fine coherent displacements, then steps along the normal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from fedsim_tf.shape.label_surfaces import vertex_normals
from fedsim_tf.shape.registration.deformation import displacement
from fedsim_tf.shape.registration.mixture import Mixture
from fedsim_tf.shape.template import mesh_edges

_NEIGHBOURS = 8  # nearest components to which a point may belong
_PROJECTION_SHARE = 0.8  # of the way to the surface in one step
_LEAST_COSINE = 0.3  # between the normals of a vertex and of the surface that it may step to
_LONGEST_STEP_MM = 3.0
_UNFOLDING_ROUNDS = 50
_ROUNDS_PER_RING = 10


class RegionPoints(NamedTuple):
    """The points of a subject's region.

    Attributes:
      points: (N, 3) in the template's frame.
      normals: (N, 3) in the template's frame.
      components: the region's slice of the components.
    """

    points: np.ndarray
    normals: np.ndarray
    components: slice


def fine_displacement(
    regions: list[RegionPoints], mixture: Mixture, *, factor: np.ndarray, stiffness: float
) -> np.ndarray:
    """Return a small coherent displacement (M, 3) of the components; each point sees its nearest components only.

    Args:
      regions: the subject's points by region.
      mixture: the components.
      factor: (M, K) of the kernel, see `kernel_factor`.
      stiffness: lambda.
    """
    weight, position = np.zeros(len(mixture.points)), np.zeros((len(mixture.points), 3))
    for region in regions:
        part = mixture.part(region.components)
        weight[region.components], position[region.components] = _nearby_expectation(region, part)
    force = position - weight[:, None] * mixture.points
    return displacement(factor, weight, force, stiffness=stiffness * mixture.sigma**2)


def _nearby_expectation(region: RegionPoints, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums P u (M,) and P u x (M, 3), where P counts the nearest components only."""
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
    """The faces of a mesh with the means over neighbours, to smooth values on its vertices and to undo folds.

    Args:
      faces: (F, 3) of a closed mesh.
      n_vertices: number M of its vertices.
    """

    def __init__(self, faces: np.ndarray, n_vertices: int):
        self.faces = faces
        rows, columns = np.concatenate([mesh_edges(faces), mesh_edges(faces)[:, ::-1]]).T
        links = csr_array(coo_array((np.ones(len(rows)), (rows, columns)), (n_vertices, n_vertices)))
        degree = np.asarray(links.sum(axis=1)).ravel()
        self._mean = links * csr_array(1 / np.maximum(degree, 1)[:, None])

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """Return values (M, k), each averaged with the mean of the vertex's neighbours."""
        return 0.5 * (values + self._mean @ values)

    def find_folds(self, points: np.ndarray) -> np.ndarray:
        """Return which vertices (M,) belong to a triangle that faces against its corners' mean normal."""
        a, b, c = (points[self.faces[:, k]] for k in range(3))
        around = vertex_normals(points, self.faces)[self.faces].sum(axis=1)
        found = np.zeros(len(points), bool)
        found[self.faces[np.einsum("ij,ij->i", np.cross(b - a, c - a), around) <= 0]] = True
        return found

    def unfold(self, points: np.ndarray) -> np.ndarray:
        """Return points (M, 3) with folded triangles smoothed out, over rings that grow while the folds persist."""
        for attempt in range(_UNFOLDING_ROUNDS):
            moving = self.find_folds(points)
            if not moving.any():
                break
            for _ in range(attempt // _ROUNDS_PER_RING):
                moving = moving | (self._mean @ moving > 0)
            points = points.copy()
            points[moving] = self.smooth(points)[moving]
        return points


def project(points: np.ndarray, mesh: Triangulation, regions: list[RegionPoints]) -> np.ndarray:
    """Return components (M, 3) moved along the surface's normals towards the subject's surface.

    The target is the tangent plane of the nearest point, if it faces the same way. The steps are smoothed over the
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
    return mesh.unfold(points + _PROJECTION_SHARE * mesh.smooth(step))
