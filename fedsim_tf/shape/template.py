"""A closed, evenly meshed template of one subject's surfaces: edges collapse, then vertices relax on the surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from fedsim_tf.errors import InputError
from fedsim_tf.shape.label_surfaces import LabelSurface, region_shares, vertex_normals
from fedsim_tf.shape.surfaces import check_topology, label_pieces, region_surface, signed_volume_mm3

MIN_VERTICES = 20  # of a region
_ELIGIBLE = 0.4  # share of the edges, the shortest, that may collapse in a round, which keeps the mesh even
_MIN_COSINE = 0.3  # between a triangle's normals before and after a collapse
_RELAXATIONS = 30
_RELAXATION_STEP = 0.5
_FLIP_ROUNDS = 4


class Template(NamedTuple):
    """A mesh to register: points (V, 3) in mm, faces (F, 3) and region_id (V,), sorted by region."""

    points: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray


def make_template(surface: LabelSurface, n_vertices: int) -> Template:
    """Return an even mesh of about `n_vertices` on a subject's surfaces, of the same topology.

    Short edges are collapsed first, where that keeps the surface a closed manifold (the link condition of Dey et al.
    1999) and folds nothing; vertices then slide along the surface to the middle of their neighbours.

    Raises:
      InputError: fewer vertices than `MIN_VERTICES` a region, or no closed mesh of that size was found.
    """
    if n_vertices < MIN_VERTICES * len(surface.regions):
        raise InputError(
            "components",
            found=n_vertices,
            expected=f"at least {MIN_VERTICES} for each of {len(surface.regions)} regions",
        )
    parts, first = [], 0
    for region, count in region_shares(surface, n_vertices).items():
        dense_points, dense_faces = region_surface(surface.points, surface.faces, surface.region_id, region)
        points, faces = collapse_edges(dense_points, dense_faces, max(count, MIN_VERTICES))
        points, faces = _relax(points, faces, dense_points, vertex_normals(dense_points, dense_faces))
        parts.append((points, faces + first, np.full(len(points), region, np.uint8)))
        first += len(points)
    points, faces, region_id = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    check_topology(faces, region_id, n_vertices=len(points))
    return Template(points, faces.astype(np.int32), region_id)


def find_medoid(surfaces: Sequence[LabelSurface]) -> int:
    """Return the index of the subject whose mesh serves as a template best.

    Voxels turn thin walls into lattices and cut regions in two, so only subjects with the fewest handles and further
    pieces come into question. Of them it is the one whose regions' volumes are nearest to everyone's: it has the least
    sum of absolute log-ratios.
    """
    logs = np.log(
        [
            [abs(signed_volume_mm3(*region_surface(s.points, s.faces, s.region_id, region))) for region in s.regions]
            for s in surfaces
        ]
    )
    flaws = np.array([_handles_and_pieces(s.points, s.faces) for s in surfaces])
    distance = np.abs(logs[:, None] - logs[None]).sum(axis=(1, 2))
    return int(np.where(flaws == flaws.min(), distance, np.inf).argmin())


def _handles_and_pieces(points: np.ndarray, faces: np.ndarray) -> int:
    """Return the number of handles and pieces of closed surfaces.

    Euler's characteristic, vertices less half the faces, is two for each piece, less two for each handle.
    """
    return int(2 * (label_pieces(faces, len(points)).max() + 1) - (len(points) - len(faces) // 2) // 2)


def collapse_edges(points: np.ndarray, faces: np.ndarray, n_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges of a closed mesh to their middles until `n_vertices` are left, or no edge can go.

    Returns:
      Points (V, 3) float64 and faces (F, 3) of the smaller mesh.
    """
    points, faces = np.array(points, np.float64), np.array(faces, np.int64)
    eligible, rng = _ELIGIBLE, np.random.default_rng(0)
    while len(points) > n_vertices:
        pairs = _find_collapsible(points, faces, eligible, rng)
        pairs = _drop_folding(points, faces, pairs)[: len(points) - n_vertices]
        if len(pairs) == 0:
            if eligible >= 1.0:
                break
            eligible = min(1.0, eligible + 0.3)
            continue
        eligible = _ELIGIBLE
        points[pairs[:, 0]] = points[pairs].mean(axis=1)
        target = np.arange(len(points))
        target[pairs[:, 1]] = pairs[:, 0]
        faces = target[faces]
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        kept = np.ones(len(points), bool)
        kept[pairs[:, 1]] = False
        faces = (np.cumsum(kept) - 1)[faces[whole]]
        points = points[kept]
    return points, faces


def mesh_edges(faces: np.ndarray) -> np.ndarray:
    """Return the edges (E, 2) of a closed mesh, each once, lower vertex first."""
    both = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return both[both[:, 0] < both[:, 1]]


def _adjacency(edges: np.ndarray, n_vertices: int) -> coo_array:
    """Return the symmetric matrix with ones at neighbours."""
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    return coo_array((np.ones(len(rows)), (rows, columns)), (n_vertices, n_vertices))


def _find_collapsible(points: np.ndarray, faces: np.ndarray, eligible: float, rng: np.random.Generator) -> np.ndarray:
    """Return short edges (n, 2) with exactly two common neighbours, far enough apart to collapse at once."""
    edges = mesh_edges(faces)
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    order = np.argsort(lengths, kind="stable")[: max(1, int(eligible * len(edges)))]
    neighbours = _adjacency(edges, len(points)).tocsr()
    # In random order: in order of length, an edge whose collapse would fold could bar all others.
    short = edges[rng.permutation(order)]
    common = np.asarray((neighbours[short[:, 0]] * neighbours[short[:, 1]]).sum(axis=1)).ravel()
    degree = np.asarray(neighbours.sum(axis=1)).ravel()
    # Beside a vertex of degree three, a collapse would leave two triangles back to back.
    short = short[(common == 2) & (degree[short].sum(axis=1) > 6) & (_least_opposite_degree(short, faces, degree) > 3)]
    return short[_find_independent(short, edges, len(points))]


def _least_opposite_degree(short: np.ndarray, faces: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Return the smaller degree of the two vertices that face each edge (n, 2)."""
    n = len(degree)
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    keys = directed[:, 0] * n + directed[:, 1]
    order = np.argsort(keys)
    there = opposite[order[np.searchsorted(keys[order], short[:, 0] * n + short[:, 1])]]
    back = opposite[order[np.searchsorted(keys[order], short[:, 1] * n + short[:, 0])]]
    return np.minimum(degree[there], degree[back])


def _find_independent(short: np.ndarray, edges: np.ndarray, n_vertices: int) -> np.ndarray:
    """Return which edges (n, 2) come before all others that touch the neighbourhoods of their vertices."""
    rank = np.arange(len(short))
    first = np.full(n_vertices, len(short))
    np.minimum.at(first, short[:, 0], rank)
    np.minimum.at(first, short[:, 1], rank)
    around = first.copy()
    np.minimum.at(around, edges[:, 0], first[edges[:, 1]])
    np.minimum.at(around, edges[:, 1], first[edges[:, 0]])
    return (around[short[:, 0]] == rank) & (around[short[:, 1]] == rank)


def _drop_folding(points: np.ndarray, faces: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the pairs (n, 2) whose collapse turns no triangle over."""
    if len(pairs) == 0:
        return pairs
    owner = np.full(len(points), -1)
    owner[pairs] = np.arange(len(pairs))[:, None]
    moved = points.copy()
    moved[pairs] = points[pairs].mean(axis=1, keepdims=True)
    touched = faces[(owner[faces] >= 0).any(axis=1)]
    before, after = _face_normals(points, touched), _face_normals(moved, touched)
    owners = owner[touched]
    gone = (owners >= 0).sum(axis=1) == 2  # the two triangles of the edge itself
    sizes = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    bad = ~gone & (np.einsum("ij,ij->i", before, after) < _MIN_COSINE * sizes)
    folds = np.zeros(len(pairs), bool)
    folds[owners[bad].max(axis=1)] = True
    return pairs[~folds]


def _face_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return normals (F, 3) of the faces, each twice its area long."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def _relax(
    points: np.ndarray, faces: np.ndarray, dense_points: np.ndarray, dense_normals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move vertices within the dense surface towards the middle of their neighbours, and flip edges in between."""
    tree = cKDTree(dense_points)
    for step in range(_RELAXATIONS):
        if step % (_RELAXATIONS // _FLIP_ROUNDS) == 0:
            faces = flip_edges(points, faces)
        neighbours = _adjacency(mesh_edges(faces), len(points)).tocsr()
        degree = np.asarray(neighbours.sum(axis=1)).reshape(-1, 1)
        move = _RELAXATION_STEP * (neighbours @ points / degree - points)
        normals = vertex_normals(points, faces)
        points = points + move - np.einsum("ij,ij->i", move, normals)[:, None] * normals
        near = tree.query(points)[1]
        off = np.einsum("ij,ij->i", points - dense_points[near], dense_normals[near])
        points = points - off[:, None] * dense_normals[near]
    return points, faces


def flip_edges(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return faces with edges flipped where that brings the vertices' degrees nearer to six and folds nothing."""
    faces = faces.copy()
    for _ in range(10):
        flips = _find_flips(points, faces)
        if len(flips) == 0:
            break
        first, second, a, b, c, d = flips.T
        faces[first] = np.stack([c, d, b], axis=1)
        faces[second] = np.stack([d, c, a], axis=1)
    return faces


def _find_flips(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return rows (face a b c, face b a d, a, b, c, d) of edges a b that should become c d, no two near each other."""
    n = len(points)
    start, end, opposite = (np.concatenate([faces[:, (k + shift) % 3] for k in range(3)]) for shift in range(3))
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.argsort(start * n + end)
    twin = order[np.searchsorted((start * n + end)[order], end * n + start)]
    once = np.flatnonzero(start < end)
    a, b, c, d = start[once], end[once], opposite[once], opposite[twin[once]]
    degree = np.bincount(start, minlength=n)
    gain = sum((degree[v] - 6.0) ** 2 - (degree[v] + sign - 6.0) ** 2 for v, sign in ((a, -1), (b, -1), (c, 1), (d, 1)))
    linked = np.isin(np.minimum(c, d) * n + np.maximum(c, d), (start * n + end)[once])
    old = np.stack([_face_normals(points, np.stack(corners, 1)) for corners in ((a, b, c), (b, a, d))])
    new = np.stack([_face_normals(points, np.stack(corners, 1)) for corners in ((c, d, b), (d, c, a))])
    unit_old, unit_new = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in (old, new))
    cosine = np.einsum("ije,kje->ikj", unit_old, unit_new).min(axis=(0, 1))
    good = (gain > 0) & ~linked & (c != d) & (degree[a] > 4) & (degree[b] > 4) & (cosine > 0.7)
    rows = np.stack([owner[once], owner[twin[once]], a, b, c, d], axis=1)[good]
    rows = rows[np.argsort(-gain[good], kind="stable")]
    first = np.full(n, len(rows))
    for column in range(2, 6):
        np.minimum.at(first, rows[:, column], np.arange(len(rows)))
    return rows[(first[rows[:, 2:]] == np.arange(len(rows))[:, None]).all(axis=1)]
