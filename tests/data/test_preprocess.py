import itertools

import numpy as np
import pytest

from fedsim_tf.data.preprocess import hu_from_unit, prepare, resample_to_original, unit_from_hu
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.writing import write_volume
from fedsim_tf.volume import Case, Geometry, Volume
from tests.data.files_for_tests import block_case, centroid_mm, refused

SPACING = (0.7, 0.9, 1.3)
ORIGIN = (-71.3, -255.6, 540.2)


def turned(*angles: float) -> np.ndarray:
    """A rotation about z, then y, then x."""
    matrix = np.eye(3)
    for axis, angle in zip((2, 1, 0), angles, strict=True):
        i, j = (k for k in range(3) if k != axis)
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


DIRECTIONS = {
    "lps": np.eye(3),
    "ras": np.diag([-1.0, -1.0, 1.0]),
    "mirrored": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0, -1], [1, 0, 0], [0, 1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": turned(0.3, -0.2, 0.4),
    "oblique, flipped and permuted": turned(0.2, 0.3, -0.25) @ np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]]),
}


def geometry(name: str, spacing=SPACING) -> Geometry:
    return Geometry(spacing, ORIGIN, tuple(DIRECTIONS[name].ravel().tolist()))


def points_mm(shape, where: Geometry) -> np.ndarray:
    """Centre of every voxel, (z, y, x, 3)."""
    index = np.moveaxis(np.indices(shape), 0, -1)[..., ::-1]
    axes = np.reshape(where.direction, (3, 3))
    return np.asarray(where.origin_mm) + (index * np.asarray(where.spacing_mm)) @ axes.T


def border_corners_mm(shape, where: Geometry) -> np.ndarray:
    """The eight corners of the field of view, voxel borders included, sorted."""
    corners = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in shape[::-1]))))
    points = np.asarray(where.origin_mm) + (corners * where.spacing_mm) @ np.reshape(where.direction, (3, 3)).T
    return np.array(sorted(points.round(6).tolist()))


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("size", [24, 64])
def test_a_block_returns_to_where_it_lay(tmp_path, name, size):
    case = block_case(geometry(name))
    write_volume(case.image, tmp_path / "image.nii.gz")
    write_volume(case.label, tmp_path / "label.nii.gz")
    case = Case("block", read_volume(tmp_path / "image.nii.gz"), read_volume(tmp_path / "label.nii.gz"))
    prepared = prepare(case, size)
    assert prepared.label.shape == prepared.image.shape == (size,) * 3
    np.testing.assert_allclose(
        centroid_mm(Volume(prepared.label, prepared.geometry)),
        centroid_mm(case.label),
        atol=0.5 * max(prepared.geometry.spacing_mm),
    )
    restored = resample_to_original(prepared.label, prepared, nearest=True)
    assert restored.geometry == case.label.geometry
    assert restored.array.shape == case.label.array.shape
    assert restored.array.dtype == np.uint8
    assert set(np.unique(restored.array)) == {0, 3}
    np.testing.assert_allclose(centroid_mm(restored), centroid_mm(case.label), atol=0.5 * min(SPACING))
    overlap = np.count_nonzero(restored.array & case.label.array) / np.count_nonzero(case.label.array)
    assert overlap > (0.97 if size == 64 else 0.85)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_cube_of_the_cts_own_size_is_exact(rng, name):
    hu = rng.uniform(-900, 900, (16, 16, 16)).astype(np.float32)
    label = rng.integers(0, 8, (16, 16, 16)).astype(np.uint8)
    where = geometry(name)
    prepared = prepare(Case("a", Volume(hu, where), Volume(label, where)), 16)
    restored = resample_to_original(prepared.label, prepared, nearest=True)
    np.testing.assert_array_equal(restored.array, label)
    restored = resample_to_original(prepared.image, prepared, nearest=False)
    assert restored.geometry == where
    np.testing.assert_allclose(hu_from_unit(restored.array), hu, atol=1e-3)


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("size", [12, 20, 50])
def test_a_ramp_in_physical_space_stays_the_ramp(name, size):
    shape, where = (30, 34, 38), geometry(name)
    slope = np.array([3.0, -5.0, 4.0])
    ramp = lambda points: (points - points_mm((1, 1, 1), where)[0, 0, 0]) @ slope  # noqa: E731
    hu = ramp(points_mm(shape, where)).astype(np.float32)
    assert np.abs(hu).max() < 1000
    prepared = prepare(Case("ramp", Volume(hu, where)), size)
    expected = ramp(points_mm(prepared.image.shape, prepared.geometry))
    # Beyond the outermost voxel centres, and within the Gaussian's reach of the border, there is no ramp to see.
    inside = (slice(max(2, size // 6), -max(2, size // 6)),) * 3
    np.testing.assert_allclose(hu_from_unit(prepared.image)[inside], expected[inside], atol=0.1)
    restored = hu_from_unit(resample_to_original(prepared.image, prepared, nearest=False).array)
    middle = (slice(10, -10),) * 3
    np.testing.assert_allclose(restored[middle], hu[middle], atol=0.5)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_cube_spans_exactly_the_field_of_view(name):
    shape, where = (10, 20, 30), geometry(name)
    case = Case("a", Volume(np.arange(6000, dtype=np.float32).reshape(shape), where))
    prepared = prepare(case, 16)
    np.testing.assert_allclose(
        border_corners_mm((16, 16, 16), prepared.geometry), border_corners_mm(shape, where), atol=1e-4
    )
    assert sorted(prepared.field_of_view_mm) == pytest.approx(sorted(case.image.field_of_view_mm))
    axes = np.reshape(prepared.geometry.direction, (3, 3))
    assert (np.abs(axes).argmax(axis=0) == [0, 1, 2]).all()
    assert (np.diag(axes) > 0).all()
    assert (prepared.original, prepared.original_shape) == (where, shape)
    assert prepared.label is None


@pytest.mark.parametrize("wavelength", [40.0, 2.5])
def test_detail_is_reduced_as_the_matched_gaussian_does(wavelength):
    x = np.arange(128)
    wave = 500 * np.sin(2 * np.pi * (x + 0.5) / wavelength)
    hu = np.broadcast_to(wave, (128, 8, 128)).astype(np.float32)
    prepared = prepare(Case("wave", Volume(hu, Geometry((1.0, 16.0, 1.0)))), 32)
    # Voxels grow four times along x; the new centres lie midway between two old ones.
    variance = (4.0**2 - 1.0) / (8 * np.log(2.0))
    gain = np.exp(-2 * np.pi**2 * variance / wavelength**2) if wavelength > 4 else 0.0
    expected = 500 * gain * np.cos(np.pi / wavelength) * np.sin(2 * np.pi * (4 * np.arange(32) + 2) / wavelength)
    measured = hu_from_unit(prepared.image)[16, 16]
    np.testing.assert_allclose(measured[4:-4], expected[4:-4], atol=3.0)


@pytest.mark.parametrize("spacing", [1.0, 0.3, 0.37109375, 0.7])
@pytest.mark.parametrize("factor", [2, 4])
def test_nearest_labels_take_the_same_side_everywhere(spacing, factor):
    n = 8 * factor
    parity = np.indices((n, n, n)) % 2
    label = (parity[0] * 4 + parity[1] * 2 + parity[2]).astype(np.uint8)
    where = Geometry((spacing, spacing * 1.1, spacing * 0.7), ORIGIN)
    prepared = prepare(Case("a", Volume(label.astype(np.float32), where), Volume(label, where)), 8)
    assert len(np.unique(prepared.label)) == 1


def test_window_is_clipped_and_padding_does_not_bleed():
    hu = np.full((8, 8, 8), 0.0, np.float32)
    hu[:4] = -3024.0
    hu[:, :, 7] = 30000.0
    prepared = prepare(Case("a", Volume(hu, Geometry((1.0, 1.0, 1.0)))), 8)
    assert prepared.image.dtype == np.float32
    np.testing.assert_array_equal(np.unique(prepared.image), [-1.0, 0.0, 1.0])
    smaller = prepare(Case("a", Volume(hu, Geometry((1.0, 1.0, 1.0)))), 4)
    assert smaller.image.min() >= -1.0
    assert smaller.image.max() <= 1.0
    assert smaller.image[-1, 0, 0] > -0.2, "-3024 would pull water next to the padding far down"


def test_hu_and_unit_scale():
    np.testing.assert_array_equal(unit_from_hu(np.array([-2000, -1000, 0, 500, 1000, 9000])), [-1, -1, 0, 0.5, 1, 1])
    np.testing.assert_allclose(unit_from_hu(np.array([-200.0, 50.0, 300.0]), (-200.0, 300.0)), [-1.0, 0.0, 1.0])
    np.testing.assert_allclose(hu_from_unit(np.array([-1.0, 0.0, 1.0]), (-200.0, 300.0)), [-200.0, 50.0, 300.0])
    refused(lambda: unit_from_hu(np.zeros(3), (100.0, 100.0)), "window_hu", "ascending")


def test_bad_sizes_and_arrays_are_refused():
    case = block_case(geometry("lps"), shape=(24, 32, 52))
    refused(lambda: prepare(case, 0), "size", "at least 1")
    prepared = prepare(case, 8)
    refused(lambda: resample_to_original(np.zeros((8, 8, 9)), prepared, nearest=True), "(8, 8, 9)", "(8, 8, 8)")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(("size", "heart", "vessels"), [(128, 0.98, 0.97), (64, 0.95, 0.89)])
def test_a_real_ct_angiogram_round_trip(real_data, size, heart, vessels):
    image = read_volume(real_data("cta/cta_ct.nii.gz"), dtype=np.float32)
    label = read_volume(real_data("cta/cta_heart1_aorta2_pa3.nii.gz"), dtype=np.uint8)
    prepared = prepare(Case("cta", image, label), size)
    restored = resample_to_original(prepared.label, prepared, nearest=True)
    assert restored.geometry == image.geometry
    assert dice(restored.array == 1, label.array == 1) > heart
    assert min(dice(restored.array == region, label.array == region) for region in (2, 3)) > vessels
    # Volumes in ml, from the cube's own spacing.
    voxel_ml = np.prod(prepared.geometry.spacing_mm) / 1000
    heart_ml = np.count_nonzero(prepared.label == 1) * voxel_ml
    assert heart_ml == pytest.approx(np.count_nonzero(label.array == 1) * 1.5**3 / 1000, rel=0.02)
    # Attenuation is neither lost nor made: the mean CT value stays, in the cube and back on the grid.
    mean_hu = np.clip(image.array, -1000, 1000).mean(dtype=float)
    assert hu_from_unit(prepared.image).mean(dtype=float) == pytest.approx(mean_hu, abs=2.0)
    restored = resample_to_original(prepared.image, prepared, nearest=False)
    assert hu_from_unit(restored.array).mean(dtype=float) == pytest.approx(mean_hu, abs=2.0)
