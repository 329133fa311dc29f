"""Small closed surfaces with known volumes."""

import numpy as np
import trimesh


def sphere(radius_mm=20.0, centre=(0.0, 0.0, 0.0), subdivisions=3):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius_mm)
    return (mesh.vertices + np.asarray(centre)).astype(np.float32), mesh.faces.astype(np.int32)


def box(lower, upper):
    mesh = trimesh.creation.box(bounds=[lower, upper])
    return mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)


def two_balls():
    """Two regions side by side: (V, 3), (F, 3), (V,)."""
    left, faces = sphere(18.0, centre=(-14, 0, 3), subdivisions=2)
    right, _ = sphere(15.0, centre=(22, 4, -2), subdivisions=2)
    region_id = np.repeat([1, 2], len(left)).astype(np.uint8)
    return np.concatenate([left, right]), np.concatenate([faces, faces + len(left)]), region_id


def population(n=8, seed=0):
    """Two balls whose axes vary smoothly from subject to subject: (n, V, 3), (F, 3), (V,)."""
    points, faces, region_id = two_balls()
    rng = np.random.default_rng(seed)
    stretch = 1 + 0.1 * rng.standard_normal((n, 2, 3))
    shapes = points[None] * stretch[:, region_id - 1] + 2.0 * rng.standard_normal((n, 1, 3))
    return shapes.astype(np.float32), faces, region_id


def seven_balls(subdivisions=2):
    """A ball for each region; most overlap others, and the left ventricle lies within the myocardium."""
    centres = [(-10, 4, 0), (12, 6, 3), (-8, -16, 4), (10, -14, -2), (-10, 3, -2), (-1, -6, 8), (4, -4, -12)]
    radii = [9.0, 13.0, 12.0, 12.5, 15.0, 8.0, 7.0]
    balls = [sphere(radius, centre, subdivisions) for radius, centre in zip(radii, centres, strict=True)]
    n_vertices = len(balls[0][0])
    points = np.concatenate([points for points, _ in balls])
    faces = np.concatenate([faces + k * n_vertices for k, (_, faces) in enumerate(balls)])
    return points, faces, np.repeat(np.arange(1, 8), n_vertices).astype(np.uint8)


def population_of_regions(n=8, seed=0):
    """The seven balls, whose axes and places vary from subject to subject: (n, V, 3), (F, 3), (V,)."""
    points, faces, region_id = seven_balls()
    rng = np.random.default_rng(seed)
    stretch = 1 + 0.1 * rng.standard_normal((n, 7, 3))
    moved = rng.standard_normal((n, 7, 3))
    shapes = points[None] * stretch[:, region_id - 1] + moved[:, region_id - 1]
    return shapes.astype(np.float32), faces, region_id
