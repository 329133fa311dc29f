"""Label maps to surfaces, against solids whose volume and normals are known."""

import numpy as np
import pytest
import trimesh

from fedsim_tf.errors import InputError
from fedsim_tf.shape.label_surfaces import LabelSurface, label_surface, sample, vertex_areas, vertex_normals
from fedsim_tf.shape.surfaces import region_surface, signed_volume_mm3
from fedsim_tf.shape.template import find_medoid, make_template
from fedsim_tf.volume import IDENTITY_DIRECTION, Geometry, Volume

AXES = np.array([18.0, 13.0, 9.0])
OBLIQUE = (0.0, -1.0, 0.0, 0.6, 0.0, -0.8, 0.8, 0.0, 0.6)
MIRRORED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def ellipsoid(spacing=(0.8, 1.0, 1.5), direction=IDENTITY_DIRECTION, origin=(7.0, -30.0, 100.0), centre=0.5):
    """A filled ellipsoid of `AXES` along the voxel axes, and its centre in mm."""
    spacing = np.asarray(spacing, float)
    counts = np.ceil(2 * (AXES + 6) / spacing).astype(int)
    middle = centre * (counts - 1) * spacing
    z, y, x = np.meshgrid(*(np.arange(n) for n in counts[::-1]), indexing="ij")
    offset = (np.stack([x, y, z], -1) * spacing - middle) / AXES
    inside = (np.sum(offset**2, axis=-1) <= 1).astype(np.uint8)
    geometry = Geometry(tuple(spacing.tolist()), origin, direction)
    axes = np.asarray(direction).reshape(3, 3)
    return Volume(inside, geometry), axes @ middle + np.asarray(origin), axes


@pytest.mark.parametrize("direction", [IDENTITY_DIRECTION, OBLIQUE, MIRRORED])
def test_an_ellipsoid_has_its_volume_normals_and_place(direction):
    volume, centre, axes = ellipsoid(direction=direction)
    surface = label_surface(volume, identity="ellipsoid", regions=(1,))
    voxels = volume.array.sum() * np.prod(volume.spacing_mm)
    enclosed = signed_volume_mm3(surface.points, surface.faces)
    assert enclosed == pytest.approx(voxels, rel=0.01)
    assert enclosed == pytest.approx(4 / 3 * np.pi * np.prod(AXES), rel=0.02)
    local = (surface.points - centre) @ axes
    np.testing.assert_allclose(np.linalg.norm(local / AXES, axis=1), 1, atol=0.09)
    exact = local / AXES**2
    exact = exact / np.linalg.norm(exact, axis=1, keepdims=True) @ axes.T
    assert np.sum(exact * surface.normals, axis=1).mean() > 0.98
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1)
    assert surface.closed_at_border == ()


def two_regions():
    volume, _, _ = ellipsoid()
    labels = volume.array.copy()
    labels[:, :, labels.shape[2] // 2 :] *= 2
    return volume.with_array(labels)


def test_regions_lie_together_and_touch():
    surface = label_surface(two_regions(), identity="two", regions=(1, 2))
    assert surface.regions == (1, 2)
    assert np.all(np.diff(surface.region_id.astype(int)) >= 0)
    for region in (1, 2):
        points, faces = region_surface(surface.points, surface.faces, surface.region_id, region)
        voxels = (two_regions().array == region).sum() * np.prod(two_regions().spacing_mm)
        assert signed_volume_mm3(points, faces) == pytest.approx(voxels, rel=0.01)


def test_specks_are_dropped_and_holes_filled():
    volume, _, _ = ellipsoid()
    labels = volume.array.copy()
    centre = tuple(n // 2 for n in labels.shape)
    labels[centre] = 0
    labels[2, 2, 2] = 1
    surface = label_surface(volume.with_array(labels), identity="speck", regions=(1,))
    whole = label_surface(volume, identity="whole", regions=(1,))
    assert len(surface.faces) == len(whole.faces)
    np.testing.assert_allclose(np.sort(surface.points, axis=0), np.sort(whole.points, axis=0), atol=1e-4)


def test_a_wall_keeps_its_cavity():
    volume, _, _ = ellipsoid(spacing=(1.0, 1.0, 1.0))
    labels = volume.array.copy()
    middle = tuple(slice(n // 2 - 4, n // 2 + 4) for n in labels.shape)
    labels[middle] = 2
    surface = label_surface(volume.with_array(labels), identity="wall", regions=(1,))
    assert signed_volume_mm3(surface.points, surface.faces) == pytest.approx((labels == 1).sum(), rel=0.01)


def test_a_region_in_two_halves_is_refused():
    volume, _, _ = ellipsoid()
    labels = volume.array.copy()
    labels[:, :, labels.shape[2] // 2 - 1 : labels.shape[2] // 2 + 1] = 0
    with pytest.raises(InputError, match=r"case 7, region 1.*2 pieces"):
        label_surface(volume.with_array(labels), identity="case 7", regions=(1,))


def test_a_missing_region_is_named():
    with pytest.raises(InputError, match=r"case 3: found no voxel of regions \[3, 4, 5, 6, 7\]"):
        label_surface(two_regions(), identity="case 3")


@pytest.mark.parametrize("regions", [(), (0,), (1, 1)])
def test_nonsense_regions_are_refused(regions):
    with pytest.raises(InputError, match="regions"):
        label_surface(two_regions(), identity="case", regions=regions)


def test_labels_that_are_no_whole_numbers_are_refused():
    volume, _, _ = ellipsoid()
    with pytest.raises(InputError, match="whole numbers"):
        label_surface(volume.with_array(volume.array * 0.5), identity="case", regions=(1,))


def test_a_chamber_cut_off_by_the_grid_is_refused():
    volume, _, _ = ellipsoid(centre=0.2)
    with pytest.raises(InputError, match=r"case 2, region 1.*border"):
        label_surface(volume, identity="case 2", regions=(1,))


def test_a_vessel_cut_off_by_the_grid_is_closed_flat_on_it():
    volume, _, _ = ellipsoid(origin=(0.0, 0.0, 0.0), centre=0.2)
    surface = label_surface(volume.with_array(volume.array * 6), identity="aorta", regions=(6,))
    assert surface.closed_at_border == (6,)
    voxels = volume.array.sum() * np.prod(volume.spacing_mm)
    assert signed_volume_mm3(surface.points, surface.faces) == pytest.approx(voxels, rel=0.01)
    borders = -np.asarray(volume.spacing_mm) / 2
    assert np.all(surface.points >= borders - 1e-6)
    assert np.isclose(surface.points, borders, atol=1e-6).any(axis=0).all()


def test_a_sample_is_even_and_repeatable():
    surface = label_surface(two_regions(), identity="two", regions=(1, 2))
    first, again, other = (sample(surface, 300, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    assert len(first.points) == pytest.approx(300, abs=2)
    mine = first.points[first.region_id == 1]
    gaps = np.sort(np.linalg.norm(mine[:, None] - mine[None], axis=-1), axis=1)[:, 1]
    even = np.sqrt(vertex_areas(surface.points, surface.faces)[surface.region_id == 1].sum() / len(mine))
    assert gaps.min() > 0.5 * even
    assert gaps.max() < 2 * even
    with pytest.raises(InputError, match="points"):
        sample(surface, 1, 0)


def test_a_template_is_closed_even_and_on_the_surface():
    volume, centre, _ = ellipsoid()
    surface = label_surface(volume, identity="ellipsoid", regions=(1,))
    template = make_template(surface, 300)
    assert len(template.points) == 300
    assert len(template.faces) == 2 * 300 - 4  # still a sphere
    volumes = [signed_volume_mm3(mesh.points, mesh.faces) for mesh in (surface, template)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.03)
    np.testing.assert_allclose(np.linalg.norm((template.points - centre) / AXES, axis=1), 1, atol=0.1)
    edges = np.linalg.norm(template.points[template.faces[:, 0]] - template.points[template.faces[:, 1]], axis=1)
    assert np.percentile(edges, 99) < 3 * np.percentile(edges, 1)
    normals = vertex_normals(template.points, template.faces)
    assert np.sum(normals * (template.points - centre), axis=1).min() > 0


def test_too_small_a_template_is_refused():
    surface = label_surface(two_regions(), identity="two", regions=(1, 2))
    with pytest.raises(InputError, match="components"):
        make_template(surface, 30)


def test_the_medoid_is_the_middle_one():
    array = ellipsoid(spacing=(1.0, 1.0, 1.0))[0].array
    volumes = [Volume(array, Geometry((spacing,) * 3)) for spacing in (0.8, 1.0, 1.3)]
    surfaces = [label_surface(volume, identity="one", regions=(1,)) for volume in volumes]
    assert find_medoid(surfaces) == 1


def test_the_medoid_is_in_one_piece_and_without_handles():
    """A cavity, a second piece or a handle would be everyone's."""
    ball, small = trimesh.creation.icosphere(radius=20), trimesh.creation.icosphere(radius=9)
    cavity, aside = small.copy(), small.copy()
    cavity.invert()
    aside.apply_translation((50, 0, 0))
    meshes = [
        trimesh.util.concatenate([ball, cavity]),
        trimesh.util.concatenate([ball, aside]),
        trimesh.creation.torus(20, 9),
        trimesh.creation.icosphere(radius=40),
        ball,
    ]
    surfaces = [
        LabelSurface(
            "one", np.array(m.vertices), np.array(m.vertex_normals), np.array(m.faces), np.ones(len(m.vertices))
        )
        for m in meshes
    ]
    assert find_medoid(surfaces) == 4
    assert find_medoid(surfaces[:4]) == 3


def test_small_regions_have_a_surface_or_are_named():
    """A few voxels left over by a segmentation program, blurred, may be below any level."""

    def speck(radius):
        z, y, x = np.meshgrid(*(np.arange(24) - 12,) * 3, indexing="ij")
        inside = (z**2 + y**2 + x**2 <= radius**2).astype(np.uint8)
        surface = label_surface(Volume(inside, Geometry((0.7, 0.7, 2.5))), identity="anna", regions=(1,))
        return signed_volume_mm3(surface.points, surface.faces) / (inside.sum() * 0.7 * 0.7 * 2.5)

    for radius in (2.0, 2.5):
        assert speck(radius) == pytest.approx(1, rel=0.01)
    with pytest.raises(InputError, match=r"anna, region 1: found -100.0% of the volume of 1 voxels"):
        speck(0.5)
