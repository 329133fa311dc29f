import numpy as np
import pytest

from fedsim_tf.localization.scouts import make_scout, read_scouts, write_scouts
from fedsim_tf.volume import Case, Geometry, Volume
from tests.data.files_for_tests import refused
from tests.data.test_crops import middle_mm, ramp
from tests.data.test_preprocess import DIRECTIONS, geometry


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_scout_knows_where_values_and_heart_lie_in_the_patient(name):
    case = ramp(geometry(name, spacing=(1.6, 1.0, 2.5)))
    scout = make_scout(case)
    assert scout.geometry.spacing_mm == (4.0, 4.0, 4.0)
    np.testing.assert_allclose(scout.to_patient(scout.heart_mm), middle_mm(case), atol=0.3)
    np.testing.assert_allclose(scout.from_patient(scout.to_patient((3.0, 50.0, 7.0))), (3.0, 50.0, 7.0), atol=1e-6)
    assert max(abs(edge - 28) for edge in scout.heart_edges_mm) <= 2.5
    x, y, z = (int(mm // 4) for mm in scout.heart_mm)
    point = np.array(scout.to_patient((x * 4.0, y * 4.0, z * 4.0))) - middle_mm(case)
    assert scout.hu[z, y, x] == pytest.approx(point @ [1.5, -2.0, 1.0], abs=2.0)


def test_scouts_come_back_from_their_file(tmp_path):
    case = ramp(geometry("oblique"))
    one, other = make_scout(case), make_scout(Case("bare", case.image))
    write_scouts([one, other], tmp_path / "scouts.npz", edge_mm=np.array(180.0))
    (first, second), others = read_scouts(tmp_path / "scouts.npz")
    assert float(others["edge_mm"]) == 180.0
    np.testing.assert_array_equal(first.hu, one.hu)
    for name in ("identity", "geometry", "heart_mm", "heart_edges_mm", "content"):
        assert getattr(first, name) == getattr(one, name)
    assert second.heart_mm is None


def test_a_damaged_file_is_refused(tmp_path):
    write_scouts([make_scout(ramp(geometry("lps")))], tmp_path / "scouts.npz")
    whole = (tmp_path / "scouts.npz").read_bytes()
    (tmp_path / "scouts.npz").write_bytes(whole[: len(whole) // 2])
    refused(lambda: read_scouts(tmp_path / "scouts.npz"), "scouts.npz")
    np.savez(tmp_path / "other.npz", count=np.array(2))
    refused(lambda: read_scouts(tmp_path / "other.npz"), "other.npz", "damaged")


def test_an_empty_label_is_no_heart():
    case = ramp(geometry("lps"))
    assert make_scout(Case("empty", case.image, Volume(case.label.array * 0, case.label.geometry))).heart_mm is None


def test_flipped_axes_make_the_same_scout():
    case = ramp(geometry("lps"))
    where, (_, _, n) = case.image.geometry, case.image.array.shape
    last_mm = where.origin_mm[0] + where.spacing_mm[0] * (n - 1)
    turned = Geometry(where.spacing_mm, (last_mm, *where.origin_mm[1:]), (-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    flipped = make_scout(Case("flipped", Volume(case.image.array[:, :, ::-1].copy(), turned)))
    np.testing.assert_array_equal(flipped.hu, make_scout(case).hu)
    np.testing.assert_allclose(flipped.geometry.origin_mm, make_scout(case).geometry.origin_mm)
