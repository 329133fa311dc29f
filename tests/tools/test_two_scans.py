"""Two scans of one person are named, different people are not: of phantoms, and of real CTs with warped copies."""

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from fedsim_tf.data.alike import _find_limit, find_alike
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.preprocess import PreparedCase, prepare
from fedsim_tf.data.remarks import collect_remarks
from fedsim_tf.phantom.hearts import draw_hearts
from fedsim_tf.phantom.sites import SITES
from fedsim_tf.phantom.subjects import make_subject
from fedsim_tf.tools.two_scans import warn_of_two_scans
from fedsim_tf.volume import Case, Geometry, Volume

SIZE = 32


@pytest.fixture(scope="module")
def phantoms():
    """Three phantoms and, of the first, a second phase: its ventricles have shrunk and its atria are larger."""
    spec = dataclasses.replace(SITES["ct20"], shape=(48, 64, 64))
    hearts = draw_hearts(spec.population, 1, seed=spec.seed * 1000)
    points = hearts.points.copy()
    for region, factor in ((1, 0.8), (2, 0.8), (3, 1.1), (4, 1.1)):
        part = points[0, hearts.region_id == region]
        points[0, hearts.region_id == region] = part.mean(0) + factor * (part - part.mean(0))
    cases = [make_subject(spec, number, f"phantom{number}") for number in range(3)]
    cases.append(make_subject(spec, 0, "phase", dataclasses.replace(hearts, points=points)))
    return [prepare(case, SIZE) for case in cases]


def names(pairs):
    return {frozenset((pair.one, pair.other)) for pair in pairs}


def test_two_phases_of_a_phantom_are_named_and_different_phantoms_are_not(phantoms):
    assert names(find_alike(phantoms)) == {frozenset(("phantom0", "phase"))}
    assert find_alike(phantoms[:3]) == []
    assert find_alike(phantoms[:1]) == []


def test_phases_are_found_in_a_large_set_where_few_pairs_are_compared(phantoms, monkeypatch):
    monkeypatch.setattr("fedsim_tf.data.alike._ALL_UP_TO", 2)
    monkeypatch.setattr("fedsim_tf.data.alike._NEIGHBOURS", 1)
    monkeypatch.setattr("fedsim_tf.data.alike._RANDOM_PAIRS", 3)
    done = []
    found = find_alike(phantoms, progress=lambda number, total: done.append((number, total)))
    assert names(found) == {frozenset(("phantom0", "phase"))}
    assert done[-1][0] == done[-1][1]
    assert [number for number, _ in done] == list(range(1, done[-1][0] + 1))


def test_the_warning_says_how_to_keep_them_together(phantoms):
    with collect_remarks() as said:
        warn_of_two_scans(Cohort("nifti", ()), [phantoms[0], phantoms[3]])
    (text,) = said
    assert "phantom0 and phase are far more alike" in text
    assert "patients.csv with the heading scan,patient and the lines phantom0,phantom0 and phase,phantom0" in text
    with collect_remarks() as said:
        cohort = Cohort("nifti", (), patients={"phantom0": "anna", "phase": "anna"})
        warn_of_two_scans(cohort, [phantoms[0], phantoms[3]])
    assert said == []


def test_the_limit_rises_with_the_number_of_pairs_and_ignores_failed_registrations(rng):
    """Pairs of different people whose Fisher's z is normal: half a pair is expected above the limit."""
    values = np.tanh(rng.normal(0.9, 0.1, 4000))
    usual, limit = _find_limit(values.tolist(), n_pairs=4000)
    assert usual == pytest.approx(np.tanh(0.9), abs=0.01)
    assert np.arctanh(limit) == pytest.approx(0.9 + 3.66 * 0.1, abs=0.03)  # 3.66: what 1 in 8000 is above
    assert _find_limit([*values[:100], *[0.1] * 30], n_pairs=45) == _find_limit(values[:100].tolist(), n_pairs=45)
    assert _find_limit([0.9], n_pairs=1)[1] == pytest.approx(0.757, abs=0.001)
    assert _find_limit([0.9], n_pairs=1, voxel_mm=12.0)[1] > 0.83  # different people reached 0.825


def warped(case: Case, seed: int, *, spacing_mm, crop=((0, 0, 0), (1, 1, 1)), rms_mm=7.0) -> Case:
    """Another scan as it could be of the same person: other breathing and posture, field of view, slices and noise."""
    rng = np.random.default_rng(seed)
    old_mm = np.array(case.image.spacing_mm)
    extent_mm = np.array(case.image.field_of_view_mm)
    low, high = (extent_mm * part for part in crop)
    shape = np.rint((high - low) / spacing_mm).astype(int)[::-1]
    places = np.meshgrid(*(np.arange(n) * mm for n, mm in zip(shape, spacing_mm[::-1], strict=True)), indexing="ij")
    knots = np.ceil((high - low) / 60.0).astype(int)[::-1] + 2
    bends = [ndimage.zoom(rng.standard_normal(knots), shape / knots, order=3) for _ in range(3)]
    moved = np.stack([place.ravel() for place in places[::-1]]) + low[:, None]
    turn = Rotation.from_euler("xyz", rng.normal(0, 4, 3), degrees=True).as_matrix()
    moved = turn @ (moved - extent_mm[:, None] / 2) + extent_mm[:, None] / 2
    moved += np.stack([rms_mm / np.sqrt(3) * bend.ravel() / bend.std() for bend in bends])
    found = ndimage.map_coordinates(case.image.array, (moved / old_mm[:, None])[::-1], order=1, cval=-1000.0)
    found = found.reshape(shape) + rng.normal(0, 30, shape)
    place = Geometry(tuple(spacing_mm), tuple(rng.normal(0, 200, 3).tolist()))
    return Case(f"{case.identity} again", Volume(found.astype(np.float32), place))


@pytest.fixture(scope="module")
def people(real_data) -> list[Case]:
    """The eight real CTs with a heart, on coarser voxels."""
    files = {f"nsclc_{n:03d}": f"chest_nsclc/images/nsclc_{n:03d}.nii.gz" for n in (2, 3, 5, 6, 7, 8, 10)}
    cases = []
    for name, path in (files | {"cta": "cta/cta_ct.nii.gz"}).items():
        image = sitk.BinShrink(sitk.Cast(sitk.ReadImage(str(real_data(path))), sitk.sitkFloat32), (2, 2, 2))
        place = Geometry(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        cases.append(Case(name, Volume(sitk.GetArrayFromImage(image), place)))
    return cases


@pytest.fixture(scope="module")
def prepared(people) -> list[PreparedCase]:
    return [prepare(case, SIZE) for case in people]


def test_eight_real_people_are_not_named(prepared):
    assert find_alike(prepared) == []
    assert all(find_alike(list(pair)) == [] for pair in itertools.combinations(prepared[:3], 2))


@pytest.mark.parametrize("chosen", ["nsclc_003", "nsclc_007", "cta"])
def test_a_warped_copy_of_a_real_ct_is_named(people, prepared, chosen):
    (original,) = (case for case in people if case.identity == chosen)
    crop = ((0.1, 0.15, 0.1), (0.9, 0.9, 0.95))
    copy = prepare(warped(original, 1, spacing_mm=np.array([4.0, 4.0, 5.0]), crop=crop), SIZE)
    others = [case for case in prepared if case.identity in (chosen, "nsclc_002", "nsclc_006", "nsclc_010")]
    assert names(find_alike([*others, copy])) == {frozenset((chosen, copy.identity))}
