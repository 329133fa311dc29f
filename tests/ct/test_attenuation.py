import numpy as np
import pytest

from fedsim_tf.ct import attenuation
from fedsim_tf.errors import InputError

# Mass attenuation in cm^2/g at 60, 80 and 100 keV: Hubbell and Seltzer, NIST Standard Reference Database 126.
PUBLISHED = {
    "air": (0.1875, 0.1662, 0.1541),
    "blood": (0.2057, 0.1827, 0.1695),
    "muscle": (0.2048, 0.1823, 0.1693),
    "lung": (0.2053, 0.1826, 0.1695),
    "bone": (0.3148, 0.2229, 0.1855),
    "water": (0.2059, 0.1837, 0.1707),
}


@pytest.mark.parametrize("tissue", PUBLISHED)
def test_agrees_with_published_tables(tissue):
    found = [attenuation.mass_attenuation_cm2_per_g(tissue, energy) for energy in (60, 80, 100)]
    np.testing.assert_allclose(found, PUBLISHED[tissue], rtol=5e-3)


def test_ct_values_of_known_tissues():
    water = attenuation.water_mu_per_mm(70)
    values = {t: attenuation.hu_from_mu(attenuation.tissue_mu_per_mm(t, 70), water) for t in attenuation.TISSUES}
    assert values["water"] == pytest.approx(0, abs=1e-9)
    assert values["air"] == pytest.approx(-999, abs=1)
    assert -700 < values["lung"] < -550
    assert -130 < values["adipose"] < -60
    assert 20 < values["muscle"] < 70
    assert values["bone"] > 1000


def test_hu_round_trip(rng):
    hu = rng.uniform(-1000, 3000, 50)
    np.testing.assert_allclose(attenuation.hu_from_mu(attenuation.mu_from_hu(hu, 0.02), 0.02), hu, atol=1e-9)


def test_unknown_tissue_and_energy():
    with pytest.raises(InputError, match="tissue: found 'cheese'"):
        attenuation.mass_attenuation_cm2_per_g("cheese", 70)
    with pytest.raises(InputError, match="energy_kev: found 0"):
        attenuation.mass_attenuation_cm2_per_g("bone", 0)
