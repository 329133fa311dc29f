import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.ct import attenuation
from fedsim_tf.ct.atlas import FixedAtlas, render
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM, PULMONARY_ARTERY, RA, RV

ATLAS = FixedAtlas()
WATER = attenuation.water_mu_per_mm(70.0)


def test_body_is_classified_by_ct_values():
    found = ATLAS.body(tf.constant([-1000.0, -700.0, -100.0, 40.0, 400.0, 1500.0]))
    tissues = ("air", "lung", "adipose", "muscle", "spongiosa", "bone")
    np.testing.assert_allclose(found, [attenuation.tissue_mu_per_mm(t, 70.0) for t in tissues], rtol=1e-6)


def test_contrast_agent_shows_as_in_angiograms():
    without = FixedAtlas(iodine_mg_per_ml=0.0).blood_mu_per_mm
    assert without == pytest.approx(attenuation.tissue_mu_per_mm("blood", 70.0))
    assert 200 < attenuation.hu_from_mu(ATLAS.blood_mu_per_mm, WATER) < 400  # 25 to 30 HU for each mg/ml


def test_voxels_at_a_hearts_surface_are_mixed_by_occupancy():
    body = ATLAS.body(tf.fill((1, 2, 2, 2), 0.0))
    half = ATLAS.add_heart(body, tf.fill((1, 2, 2, 2), 0.5)).numpy()
    np.testing.assert_allclose(half, 0.5 * (body + ATLAS.heart_mu_per_mm), rtol=1e-6)
    np.testing.assert_array_equal(ATLAS.add_heart(body, tf.zeros((1, 2, 2, 2))), body)


def test_regions_have_blood_by_phase_and_muscle():
    """Coronary CT angiograms: some 300 HU in the left heart, 200 in the right one, 100 in the myocardium."""
    hu = attenuation.hu_from_mu(np.array(ATLAS.region_mu_per_mm), WATER)
    assert (
        hu[LV - 1] == hu[LA - 1] == hu[AORTA - 1] == pytest.approx(attenuation.hu_from_mu(ATLAS.blood_mu_per_mm, WATER))
    )
    assert hu[RV - 1] == hu[RA - 1] == hu[PULMONARY_ARTERY - 1]
    assert 150 < hu[RV - 1] < 0.8 * hu[LV - 1]
    assert 80 < hu[MYOCARDIUM - 1] < 130
    without = FixedAtlas(iodine_mg_per_ml=0.0).region_mu_per_mm
    muscle, blood = (attenuation.tissue_mu_per_mm(tissue, 70.0) for tissue in ("muscle", "blood"))
    np.testing.assert_allclose(without, [muscle if region == MYOCARDIUM else blood for region in range(1, 8)])


def test_voxels_are_mixed_by_the_shares_of_regions():
    body = ATLAS.body(tf.constant([[[[0.0, -1000.0, 0.0, 40.0]]]]))
    shares = np.zeros((1, 1, 1, 4, 7), np.float32)
    shares[0, 0, 0, 1, [LV - 1, MYOCARDIUM - 1]] = 0.25, 0.5
    shares[0, 0, 0, 2, RV - 1] = 1.0
    found = ATLAS.add_heart(body, tf.constant(shares)).numpy().ravel()
    before, region = body.numpy().ravel(), dict(enumerate(ATLAS.region_mu_per_mm, start=1))
    mixed = 0.25 * before[1] + 0.25 * region[LV] + 0.5 * region[MYOCARDIUM]
    np.testing.assert_allclose(found, [before[0], mixed, region[RV], before[3]], rtol=1e-5)


def test_rendering_keeps_the_tissues_values():
    shape, spacing_mm = (24, 32, 32), (6.0, 6.0, 6.0)
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 6.0 for n in shape], indexing="ij")
    hu = np.where((x / 85) ** 2 + (y / 75) ** 2 + (z / 66) ** 2 < 1, 0.0, -1000.0)
    heart = ((x / 40) ** 2 + (y / 40) ** 2 + (z / 40) ** 2 < 1).astype(np.float32)
    mu = ATLAS.add_heart(ATLAS.body(hu[None]), heart[None])
    rendered = render(mu, CTSimulator(shape, spacing_mm), ATLAS.energy_kev)[0].numpy()
    core = (x / 25) ** 2 + (y / 25) ** 2 + (z / 15) ** 2 < 1
    expected = attenuation.hu_from_mu(ATLAS.heart_mu_per_mm, WATER)
    assert rendered[core].mean() == pytest.approx(expected, abs=15.0)
