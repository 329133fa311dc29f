import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.ct import attenuation
from fedsim_tf.ct.effects import ScanEffects, box_taps, photon_noise, spot_blur
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.ct.spectrum import BeamHardening, tube_spectrum
from fedsim_tf.errors import InputError

SHAPE, SPACING_MM = (12, 40, 40), (5.0, 5.0, 5.0)
SEED = tf.constant([3, 4])


def disc(radius_mm, centre_mm=(0.0, 0.0)):
    """(1, z, y, x): 1 within a cylinder along z."""
    y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 5.0 for n in SHAPE[1:]], indexing="ij")
    inside = (x - centre_mm[0]) ** 2 + (y - centre_mm[1]) ** 2 < radius_mm**2
    return np.broadcast_to(inside, SHAPE)[None].astype(np.float32)


def scanner(**effects):
    return ConeBeamScanner(cone_beam_geometry(SHAPE, SPACING_MM), effects=ScanEffects(**effects))


@pytest.mark.parametrize("line_integral", [0.5, 3.0])
def test_photon_noise_has_the_variance_of_counts(line_integral):
    photons = 1e4
    found = photon_noise(tf.fill((400, 400), line_integral), photons, SEED).numpy()
    expected = np.exp(line_integral) / photons
    assert found.mean() == pytest.approx(line_integral + expected / 2, abs=4 * np.sqrt(expected) / 400)
    assert found.var() == pytest.approx(expected, rel=0.03)


def test_photon_noise_lets_the_gradient_through_and_starved_pixels_stay_finite():
    line_integrals = tf.constant([[0.1, 2.0, 30.0]])
    with tf.GradientTape() as tape:
        tape.watch(line_integrals)
        noisy = photon_noise(line_integrals, 1e3, SEED)
    np.testing.assert_array_equal(tape.gradient(noisy, line_integrals), np.ones((1, 3)))
    assert np.isfinite(noisy).all()


def test_noise_follows_seed_and_dose():
    mu = 0.02 * disc(80.0)
    core = disc(40.0)[0] > 0
    ideal = scanner().reconstruct(scanner().project(mu))[0].numpy()[core]
    made = scanner(photons=1e5)
    one, again, other = (made.reconstruct(made.measure(mu, seed)) for seed in (SEED, SEED, SEED + 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    fourfold = scanner(photons=4e5)
    quiet = fourfold.reconstruct(fourfold.measure(mu, SEED))[0].numpy()[core] - ideal
    assert (one[0].numpy()[core] - ideal).std() == pytest.approx(2 * quiet.std(), rel=0.1)


@pytest.mark.parametrize(
    ("width", "expected"), [(0.0, [1.0]), (0.6, [1.0]), (1.0, [1.0]), (2.4, [0.7, 1.0, 0.7]), (5.0, [1.0] * 5)]
)
def test_box_covers_its_width(width, expected):
    np.testing.assert_allclose(box_taps(width), np.array(expected) / np.sum(expected))


def test_focal_spot_averages_intensities(rng):
    line_integrals = rng.uniform(0, 4, (2, 3, 11, 13)).astype(np.float32)
    found = spot_blur(tf.constant(line_integrals), 6.0, (2.0, 1.2))
    expected = -np.log(ndimage.uniform_filter(np.exp(-line_integrals), (0, 0, 3, 5), mode="reflect"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_kernel_blurs_in_the_slices():
    mu = disc(8.0)  # a small rod
    spread = {}
    for kernel_mm in (0.0, 6.0):
        made = scanner(kernel_mm=kernel_mm)
        image = made.reconstruct(made.project(mu))[0, SHAPE[0] // 2].numpy()
        near = image[15:25, 15:25].astype(float)
        offsets = (np.arange(10) - 4.5) * 5.0
        spread[kernel_mm] = np.sum(near.sum(0) * offsets**2) / near.sum()
    assert spread[6.0] - spread[0.0] == pytest.approx(36.0, rel=0.25)


def test_spectrum_is_a_tubes():
    energies, signal = tube_spectrum(120.0)
    assert signal.sum() == pytest.approx(1)
    assert energies.max() < 120.0
    assert 55.0 < energies @ signal < 75.0
    assert energies @ signal > np.dot(*tube_spectrum(80.0)) + 8.0


def test_water_is_corrected_and_bone_hardens():
    beam = BeamHardening(120.0, 70.0)
    water = tf.linspace(0.05, 8.0, 100)
    np.testing.assert_allclose(beam.measure(water, tf.zeros_like(water)), water, rtol=2e-3)
    bone = tf.linspace(0.05, 4.0, 100)
    measured = beam.measure(tf.zeros_like(bone), bone).numpy() / bone.numpy()
    assert np.all(np.diff(measured) < 0)  # the thicker, the less each millimetre counts


def test_bones_cast_a_shadow_between_them():
    """Low values between two dense rods in water: the streak that beam hardening is known for."""
    water, bone = (attenuation.tissue_mu_per_mm(tissue, 70.0) for tissue in ("water", "bone"))
    rods = disc(12.0, (-45.0, 0.0)) + disc(12.0, (45.0, 0.0))
    mu = water * disc(85.0) + (bone - water) * rods
    beam = scanner(tube_kv=100.0)
    added = beam.reconstruct(beam.departure(mu))[0, SHAPE[0] // 2].numpy() * 1000 / water
    middle = slice(18, 22)
    assert added[middle, 14:26].mean() < added[8:12, 14:26].mean() - 10.0  # HU


def test_departure_is_what_the_effects_add():
    mu = 0.02 * disc(60.0)
    made = scanner(photons=1e4, focal_spot_mm=2.0, tube_kv=120.0)
    expected = made.measure(mu, SEED) - made.project(mu)
    np.testing.assert_allclose(made.departure(mu, SEED), expected, atol=1e-4)


def test_simulator_with_effects_saves_and_loads(tmp_path):
    effects = ScanEffects(photons=1e4, focal_spot_mm=1.0, kernel_mm=2.0, tube_kv=120.0)
    layer = CTSimulator(SHAPE, SPACING_MM, n_views=10, effects=effects)
    again = CTSimulator.from_config(layer.get_config())
    mu = tf.constant(0.02 * disc(60.0))
    np.testing.assert_array_equal(layer(mu, seed=SEED), again(mu, seed=SEED))
    with pytest.raises(InputError, match="seed: found none; expected two integers"):
        layer(mu)
    with tf.GradientTape() as tape:
        tape.watch(mu)
        value = tf.reduce_sum(layer(mu, seed=SEED))
    assert np.isfinite(tape.gradient(value, mu)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ScanEffects(photons=-1.0), "photons: found -1.0"),
        (lambda: ScanEffects(focal_spot_mm=np.nan), "focal_spot_mm: found nan"),
        (lambda: scanner(tube_kv=500.0), "tube_kv: found 500.0"),
        (
            lambda: CTSimulator(SHAPE, SPACING_MM, effects={"fog": 1.0}),
            "effects: found fog; expected fields among photons",
        ),
    ],
)
def test_bad_effects_are_refused_by_name(call, message):
    with pytest.raises(InputError, match=message):
        call()
