"""The group-wise registration as a whole, on ellipsoids and bent bodies."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fedsim_tf.errors import InputError
from fedsim_tf.shape.distances import distances_to_surface, mean_surface_distance
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.label_surfaces import LabelSurface, label_surface, vertex_normals
from fedsim_tf.shape.registration import RegistrationOptions, register_groupwise
from fedsim_tf.shape.registration.refinement import Triangulation
from fedsim_tf.shape.surfaces import region_surface
from fedsim_tf.shape.voxelize import label_map
from fedsim_tf.volume import Geometry, Volume
from tests.shape.shapes_for_tests import sphere

OPTIONS = RegistrationOptions(
    components=240,
    points=300,
    fine_points=1500,
    sigma_mm=4.0,
    least_sigma_mm=1.5,
    rank=60,
    rigid_iterations=4,
    coherent_iterations=6,
    sweeps=2,
    fine_iterations=2,
    projections=3,
)


def body(x):
    """Three ellipsoids in a row, at points (..., 3) in mm: regions 1, 2 and 3, or 0."""
    labels = np.zeros(x.shape[:-1], np.uint8)
    for region, (centre, axes) in enumerate(
        (((-20, 0, 0), (12, 9, 8)), ((4, 5, 0), (9, 12, 9)), ((8, -14, 6), (8, 6, 9)))
    ):
        labels[np.sum(((x - centre) / axes) ** 2, axis=-1) <= 1] = region + 1
    return labels


def bend(x, amount):
    """A smooth map without folds."""
    return x + amount * np.stack([0 * x[..., 0], 3 * np.sin(x[..., 0] / 15), 2 * np.cos(x[..., 1] / 15)], axis=-1)


def unbend(x, amount):
    """The inverse of `bend`, by fixed-point iteration."""
    found = x
    for _ in range(30):
        found = x - (bend(found, amount) - found)
    return found


def pose(k):
    """A rotation and a translation of subject k."""
    rng = np.random.default_rng(k)
    return Rotation.from_rotvec(rng.uniform(-0.2, 0.2, 3)).as_matrix(), rng.uniform(-15, 15, 3)


def subject(k, amount):
    rotation, shift = pose(k)
    n, spacing = 72, 1.0
    axis = (np.arange(n) - (n - 1) / 2) * spacing
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    labels = body(unbend(np.stack([x, y, z], axis=-1) @ rotation, amount))
    origin = tuple((axis[0] + shift).tolist())
    return label_surface(Volume(labels, Geometry((spacing,) * 3, origin)), identity=f"subject {k}", regions=(1, 2, 3))


AMOUNTS = (-1.0, -0.3, 0.4, 1.0)


@pytest.fixture(scope="module")
def subjects():
    return [subject(k, amount) for k, amount in enumerate(AMOUNTS)]


@pytest.fixture(scope="module")
def registered(subjects):
    return register_groupwise(subjects, OPTIONS)


def test_registered_meshes_lie_on_the_surfaces(subjects, registered):
    shapes, _ = registered
    for points, surface in zip(shapes.points, subjects, strict=True):
        for region in (1, 2, 3):
            ours = region_surface(points, shapes.faces, shapes.region_id, region)
            theirs = region_surface(surface.points, surface.faces, surface.region_id, region)
            assert mean_surface_distance(*ours, *theirs) < 0.5
            assert distances_to_surface(ours[0], *theirs).max() < 1.5
        assert not Triangulation(shapes.faces, len(points)).find_folds(points).any()


def test_a_known_deformation_is_recovered(registered):
    """Carried back by the true pose and bend, corresponding points coincide."""
    back = []
    for k, (points, amount) in enumerate(zip(registered.shapes.points, AMOUNTS, strict=True)):
        rotation, shift = pose(k)
        back.append(unbend((points - shift) @ rotation, amount))
    spread = np.linalg.norm(np.stack(back) - np.mean(back, axis=0), axis=-1)
    assert spread.mean() < 1.0
    assert np.percentile(spread, 95) < 2.5


def test_the_record_names_every_iteration(registered):
    stages = [entry.stage for entry in registered.record]
    assert stages == ["similarity"] * 4 + ["coherent"] * 6 + ["fine"] * 2 + ["projection"] * 3
    sigmas = [entry.sigma_mm for entry in registered.record]
    assert sigmas[0] > sigmas[9] >= OPTIONS.least_sigma_mm


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("last", [2, 7, 11, 13])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, subjects, registered, last):
    def stop(done, total, text):
        assert total == 15
        assert "sigma" in text
        if done == last:
            raise Killed

    checkpoint = tmp_path / "state.npz"
    with pytest.raises(Killed):
        register_groupwise(subjects, OPTIONS, progress=stop, checkpoint=checkpoint)
    one_worker = dataclasses.replace(OPTIONS, workers=1)
    again = register_groupwise(subjects, one_worker, checkpoint=checkpoint)
    assert np.array_equal(again.shapes.points, registered.shapes.points)
    assert again.record == registered.record


def test_a_checkpoint_of_something_else_is_refused(tmp_path, subjects):
    short = dataclasses.replace(OPTIONS, rigid_iterations=1, coherent_iterations=1, fine_iterations=0, projections=0)
    checkpoint = tmp_path / "state.npz"
    register_groupwise(subjects[:2], short, checkpoint=checkpoint)
    with pytest.raises(InputError, match=r"state\.npz.*other surfaces, options"):
        register_groupwise(subjects[:2], dataclasses.replace(short, seed=1), checkpoint=checkpoint)
    with pytest.raises(InputError, match=r"state\.npz.*other surfaces, options"):
        register_groupwise(subjects[1:3], short, checkpoint=checkpoint)
    checkpoint.write_bytes(b"PK half a file")
    with pytest.raises(InputError, match="damaged"):
        register_groupwise(subjects[:2], short, checkpoint=checkpoint)


def test_one_region_is_enough():
    """Binary maps: no regions' centres to start from."""
    surfaces = []
    for k, radius in enumerate((10.0, 12.0)):
        points, faces = sphere(radius, centre=(30.0 * k, 5, 0))
        points = points.astype(float) * [1, 1.4, 0.8]
        ids = np.ones(len(points), np.uint8)
        surfaces.append(LabelSurface(f"ball {k}", points, vertex_normals(points, faces), faces, ids))
    shapes = register_groupwise(surfaces, dataclasses.replace(OPTIONS, components=150)).shapes
    for points, surface in zip(shapes.points, surfaces, strict=True):
        assert mean_surface_distance(points, shapes.faces, surface.points, surface.faces) < 0.5


def test_one_subject_or_other_regions_are_refused(subjects):
    with pytest.raises(InputError, match="at least two"):
        register_groupwise(subjects[:1], OPTIONS)
    kept = subjects[1].region_id < 3
    points, number = subjects[1].points[kept], np.cumsum(kept) - 1
    faces = number[subjects[1].faces[kept[subjects[1].faces[:, 0]]]]
    fewer = LabelSurface("fewer", points, vertex_normals(points, faces), faces, subjects[1].region_id[kept])
    with pytest.raises(InputError, match="fewer: found regions"):
        register_groupwise([subjects[0], fewer], OPTIONS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("components", 0),
        ("points", 2.5),
        ("seed", -1),
        ("beta_mm", 0.0),
        ("stiffness", float("nan")),
        ("workers", True),
    ],
)
def test_bad_options_are_named(name, value):
    with pytest.raises(InputError, match=name):
        RegistrationOptions(**{name: value})


def test_real_hearts_meet_their_surfaces(real_data):
    """Three hearts as coarse label maps, each in another pose."""
    with np.load(real_data("hearts_kcl19/kcl19_7region_shapes.npz")) as given:
        shapes, faces, region_id = given["shapes"][:3], given["faces"], given["region_id"]
    surfaces = []
    for k, points in enumerate(shapes):
        rotation, shift = pose(k)
        posed = (points @ rotation.T + shift).astype(np.float32)
        lower, extent = posed.min(axis=0) - 6, np.ptp(posed, axis=0) + 12
        grid = Grid(tuple((extent[::-1] / 1.2).astype(int).tolist()), (1.2,) * 3, tuple(map(float, lower)))
        labels = np.asarray(label_map(posed, faces, region_id, grid))
        surfaces.append(label_surface(Volume(labels, Geometry((1.2,) * 3, grid.origin_mm)), identity=f"heart {k}"))
    options = RegistrationOptions(components=1500, points=1500, fine_points=6000, rank=150, coherent_iterations=8)
    found = register_groupwise(surfaces, options).shapes
    for points, surface in zip(found.points, surfaces, strict=True):
        assert not Triangulation(found.faces, len(points)).find_folds(points).any()
        for region in range(1, 8):
            ours = region_surface(points, found.faces, found.region_id, region)
            theirs = region_surface(surface.points, surface.faces, surface.region_id, region)
            assert mean_surface_distance(*ours, *theirs) < 0.8
