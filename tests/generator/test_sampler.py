"""Sampling and rendering with a loaded generator."""

import itertools

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.generator.sampler import load_generator
from fedsim_tf.generator.sampling_plan import SamplingPlan, parse_modes
from fedsim_tf.models.latents import LatentDistribution, draw_latents
from tests.generator.toy_generator import write_toy_generator


@pytest.fixture(scope="module")
def generator(folder):
    return load_generator(folder)


@pytest.fixture(scope="module")
def drawn(generator):
    """Four usual samples, what others are compared with."""
    return list(generator.sample(4, seed=3))


def same(one, other):
    return np.array_equal(one.label.array, other.label.array) and np.array_equal(one.image.array, other.image.array)


def test_a_sample_is_the_same_whatever_the_count_and_wherever_drawing_begins(generator, drawn):
    (third,) = generator.draw(SamplingPlan(count=9, seed=3), [2])
    assert same(third, drawn[2])
    assert third.number == 2
    assert not same(third, drawn[1])
    (first,) = generator.sample(1, seed=4)
    assert not same(first, drawn[0])


def test_latents_are_the_same_to_the_last_bit_whatever_the_count(rng):
    mean, root = rng.normal(size=64), rng.normal(size=(64, 64))
    many = draw_latents(mean, root, 200, seed=5)
    for count in (1, 2, 7, 33):
        np.testing.assert_array_equal(draw_latents(mean, root, count, seed=5), many[:count])


def test_latents_have_the_mean_and_covariance_of_the_normal(rng):
    factor = rng.normal(size=(3, 3))
    distribution = LatentDistribution(np.array([1.0, -2.0, 0.5]), factor @ factor.T)
    np.testing.assert_allclose(distribution.root @ distribution.root.T, distribution.covariance, atol=1e-9)
    for spread in (1.0, 0.5):
        z = draw_latents(distribution.mean, distribution.root, 200_000, seed=1, spread=spread)
        np.testing.assert_allclose(z.mean(axis=0), distribution.mean, atol=0.05)
        np.testing.assert_allclose(np.cov(z.T), spread**2 * distribution.covariance, atol=0.1)


def test_without_spread_every_volume_is_the_mean(generator, drawn):
    first, second = generator.sample(2, seed=3, spread=0.0)
    assert same(first, second)
    assert not same(first, drawn[0])


def test_shape_or_material_is_that_of_another_sample(generator, drawn):
    for volume, own in zip(generator.sample(3, seed=3, fix_shape=3), drawn, strict=False):
        np.testing.assert_array_equal(volume.label.array, drawn[3].label.array)
        np.testing.assert_array_equal(volume.coarse_hu, own.coarse_hu)
    for volume, own in zip(generator.sample(3, seed=3, fix_material=3), drawn, strict=False):
        np.testing.assert_array_equal(volume.label.array, own.label.array)
        np.testing.assert_array_equal(volume.coarse_hu, drawn[3].coarse_hu)
    assert not np.array_equal(drawn[0].label.array, drawn[3].label.array)
    assert not np.array_equal(drawn[0].coarse_hu, drawn[3].coarse_hu)


def test_interpolated_volumes_go_from_one_sample_to_the_other(generator, drawn):
    path = list(generator.sample(5, seed=3, interpolate=(1, 3)))
    assert same(path[0], drawn[1])
    assert same(path[-1], drawn[3])
    gone = [np.abs(volume.coarse_hu - drawn[1].coarse_hu).mean() for volume in path]
    assert all(a < b for a, b in itertools.pairwise(gone))


def test_modes_have_the_weights_that_are_asked_for(generator, drawn):
    """Shapes differ from sample to sample by their pose alone when every mode is fixed."""
    modes = {0: 2.0, 1: -1.0, 2: 0.5, 3: 0.0}
    ssm, model = generator._files.shape_model, generator._model
    weights = []
    decode = model.decoder
    model.decoder = lambda tau: weights.append(np.array(tau)) or decode(tau)
    try:
        volumes = list(generator.sample(2, seed=3, modes=modes))
    finally:
        model.decoder = decode
    for tau in weights:
        np.testing.assert_allclose(tau[0, : ssm.n_modes], list(modes.values()))
    assert not np.array_equal(weights[0][0, ssm.n_modes :], weights[1][0, ssm.n_modes :])
    assert not same(volumes[0], drawn[0])
    (one,) = generator.sample(1, seed=3, modes={0: 3.0})
    (other,) = generator.sample(1, seed=3, modes={0: -3.0})
    assert not np.array_equal(one.label.array, other.label.array)
    np.testing.assert_array_equal(one.coarse_hu, other.coarse_hu)


def test_a_label_and_its_coarse_ct_give_the_sample_again(generator, drawn):
    volume = drawn[0]
    found = generator.render(volume.label, volume.coarse_hu)
    np.testing.assert_allclose(found.array, volume.image.array, atol=1)  # rounded to whole HU
    assert found.geometry == volume.image.geometry
    other = generator.render(np.zeros_like(volume.label.array), volume.coarse_hu)
    assert np.abs(other.array - found.array).max() > 1


def test_a_whole_ct_is_reduced_to_a_coarse_one(generator, drawn):
    fine = np.repeat(np.repeat(np.repeat(drawn[0].coarse_hu, 2, 0), 2, 1), 2, 2)
    assert generator.render(drawn[0].label, fine).array.shape == drawn[0].label.array.shape
    flat = np.full_like(fine, 40.0)
    np.testing.assert_allclose(
        generator.render(drawn[0].label, flat).array,
        generator.render(drawn[0].label, flat[:16, :16, :16]).array,
        atol=1,
    )


def test_cubes_of_other_sizes_are_refused(generator, drawn):
    volume = drawn[0]
    with pytest.raises(InputError, match=r"labels: found shape \(31, 32, 32\); expected \(32, 32, 32\)"):
        generator.render(volume.label.array[1:], volume.coarse_hu)
    with pytest.raises(InputError, match=r"coarse_hu: found shape \(15, 16, 16\); expected a cube of 16 or of 32"):
        generator.render(volume.label, volume.coarse_hu[1:])


def test_another_generator_shows_the_shapes_and_materials_of_this_one(folder, drawn, tmp_path):
    extent = (192.0, 192.0, 192.0)
    write_toy_generator(tmp_path / "other", seed=9, field_of_view_mm=extent)
    other = load_generator(tmp_path / "other")
    for volume, own in zip(load_generator(folder, rendering=tmp_path / "other").sample(2, seed=3), drawn, strict=False):
        np.testing.assert_array_equal(volume.label.array, own.label.array)
        assert volume.image.field_of_view_mm == pytest.approx(extent)
        assert not np.array_equal(volume.image.array, own.image.array)
        expected = other.render(volume.label, volume.coarse_hu)
        np.testing.assert_allclose(volume.image.array, expected.array, atol=1)


def test_generators_of_other_labels_do_not_show_each_others_volumes(folder, tmp_path):
    write_toy_generator(tmp_path / "regions", by_region=True)
    with pytest.raises(InputError, match=r"rendering is .*regions; it must have labels heart as .* has, not regions"):
        load_generator(folder, rendering=tmp_path / "regions")
    generator = load_generator(tmp_path / "regions")
    (volume,) = generator.sample(1, seed=3)
    assert set(np.unique(volume.label.array)) <= set(range(8))
    assert len(np.unique(volume.label.array)) > 3
    np.testing.assert_allclose(generator.render(volume.label, volume.coarse_hu).array, volume.image.array, atol=1)
    with pytest.raises(InputError, match="labels: found other values; expected region ids 0 to 7"):
        generator.render(volume.label.array + 1, volume.coarse_hu)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, "count is 0; it must be at least 1"),
        ({"count": 2.0}, "count is 2.0; it must be a whole number"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"spread": float("nan")}, "spread is nan"),
        ({"spread": -1.0}, "spread is -1.0"),
        ({"fix_shape": -1}, "fix_shape is -1; it must be at least 0"),
        ({"interpolate": (2, 2)}, "interpolate is 2,2; it must be the numbers of two samples"),
        ({"interpolate": (0, 1, 2)}, "interpolate is 0,1,2"),
        ({"count": 1, "interpolate": (0, 1)}, "count is 1; it must be at least 2 to interpolate"),
        ({"modes": {4: 1.0}}, "modes is 4:1; it must name modes from 0 to 3"),
        ({"modes": {0: 3.5}}, "modes is 0:3.5; it must have weights within 3 standard deviations"),
        ({"modes": {0: float("nan")}}, "modes is 0:nan"),
    ],
)
def test_values_outside_their_limits_are_refused_at_once(generator, values, words):
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        generator.sample(**{"count": 3, **values})


def test_modes_are_written_as_numbers_and_weights():
    assert parse_modes("0:2.0,3:-1") == {0: 2.0, 3: -1.0}
    assert parse_modes("") == {}
    for text in ("0", "0:x", "a:1", "0:1,0:2"):
        with pytest.raises(InputError, match="modes is "):
            parse_modes(text)
