"""Generators as Ours-Plus leaves them: hearts are changed, coarse CTs deformed, volumes enhanced as a whole."""

import shutil

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json
from fedsim_tf.generator.folder import read_generator
from fedsim_tf.generator.sampler import load_generator
from fedsim_tf.generator.sampling_plan import SamplingPlan
from fedsim_tf.models.latents import draw_latents
from fedsim_tf.plus.wider_shapes import LEAST_POSE_SD
from fedsim_tf.plus.wider_volumes import draw_change_noise
from fedsim_tf.synthesis import SyntheticVolume
from tests.generator.toy_generator import sign, write_toy_plus_generator

MODES, SEED = 4, 3


@pytest.fixture(scope="module")
def plus_folder(tmp_path_factory):
    """The folder of a toy generator of Ours-Plus. Tests do not change it."""
    path = tmp_path_factory.mktemp("generator") / "ours_plus"
    write_toy_plus_generator(path)
    return path


@pytest.fixture(scope="module")
def generator(plus_folder):
    return load_generator(plus_folder)


@pytest.fixture(scope="module")
def drawn(generator):
    """Four usual samples, what others are compared with."""
    return list(generator.sample(4, seed=SEED))


@pytest.fixture
def copy(plus_folder, tmp_path):
    return shutil.copytree(plus_folder, tmp_path / "copy")


def same(one, other):
    pairs = ((one.label.array, other.label.array), (one.image.array, other.image.array))
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def shapes_of(generator, monkeypatch):
    """Return the shape parameters (n, K + 7) of the hearts that are shown, without making the volumes."""

    def collect(**options):
        seen, empty = [], np.zeros((2, 2, 2), np.float32)

        def note(_model, _render, z, *, tau):
            seen.append(np.array(tau))
            return SyntheticVolume(empty, empty.astype(np.uint8), empty, z)

        with monkeypatch.context() as patch:
            patch.setattr("fedsim_tf.generator.sampler.synthesize_deformed", note)
            list(generator.sample(seed=SEED, **options))
        return np.stack(seen)

    return collect


def overlap(image, label):
    """Return the Dice coefficient of where an image is bright with a label."""
    return 2 * np.sum((image > 0.5) & (label > 0)) / (np.sum(image > 0.5) + np.sum(label > 0))


def test_a_sample_is_the_same_whatever_the_count(generator, drawn):
    (third,) = generator.draw(SamplingPlan(count=9, seed=SEED), [2])
    assert same(third, drawn[2])
    assert not same(third, drawn[1])


def test_hearts_are_those_of_the_latents_changed_by_the_noise(generator, shapes_of):
    """The formula of the arm, on what the folder holds."""
    files = generator._files
    z = draw_latents(files.mean, files.root, 3, seed=SEED)
    noise = np.stack([draw_change_noise(MODES + 7, seed=SEED, number=number) for number in range(3)])
    expected = generator._model.shape_generator(z).numpy() + files.changes_sd * noise
    expected[:, :MODES] = np.clip(expected[:, :MODES], -2.5, 2.5)
    np.testing.assert_allclose(shapes_of(count=3), expected, rtol=1e-5, atol=1e-5)
    z[1], noise[1] = z[[0, 2]].mean(axis=0), noise[[0, 2]].mean(axis=0)
    expected = generator._model.shape_generator(z).numpy() + files.changes_sd * noise
    expected[:, :MODES] = np.clip(expected[:, :MODES], -2.5, 2.5)
    np.testing.assert_allclose(shapes_of(count=3, interpolate=(0, 2)), expected, atol=1e-5)


def test_without_spread_no_heart_is_changed(generator, shapes_of):
    first, second = generator.sample(2, seed=SEED, spread=0.0)
    assert same(first, second)
    z = generator._files.mean.astype(np.float32)[None]
    np.testing.assert_array_equal(first.label.array, generator._model.labels(z)[0].numpy() > 0.5)
    coarse = generator._model.coarse_ct(z)[0].numpy()  # not deformed
    np.testing.assert_allclose(first.coarse_hu, 1000.0 * coarse, atol=1e-2)
    far, near, mean = (shapes_of(count=1, spread=spread)[0, MODES:] for spread in (1.0, 0.1, 0.0))
    assert np.abs(near - mean).max() < 0.2 * np.abs(far - mean).max()


def test_a_shape_of_another_sample_comes_with_its_change(generator, drawn):
    for volume, own in zip(generator.sample(2, seed=SEED, fix_shape=3), drawn, strict=False):
        np.testing.assert_array_equal(volume.label.array, drawn[3].label.array)
        assert not np.array_equal(volume.coarse_hu, drawn[3].coarse_hu)
        assert not np.array_equal(own.label.array, drawn[3].label.array)
    (volume,) = generator.sample(1, seed=SEED, fix_material=3)
    np.testing.assert_array_equal(volume.label.array, drawn[0].label.array)
    both = list(generator.sample(1, seed=SEED, fix_shape=3, fix_material=3))
    assert same(both[0], drawn[3])


def test_interpolation_ends_at_both_samples(generator, drawn):
    path = list(generator.sample(3, seed=SEED, interpolate=(1, 3)))
    assert same(path[0], drawn[1])
    assert same(path[2], drawn[3])
    assert not same(path[1], drawn[1])


def test_modes_are_set_after_the_change_and_coarse_cts_follow(generator, drawn, shapes_of):
    weights = {0: 3.0, 1: -1.0}  # beyond the limit of changes
    shown, usual = shapes_of(count=2, modes=weights), shapes_of(count=2)
    np.testing.assert_allclose(shown[:, :2], [[3.0, -1.0]] * 2)
    np.testing.assert_array_equal(shown[:, 2:], usual[:, 2:])
    (one,) = generator.sample(1, seed=SEED, modes={0: 3.0})
    assert np.abs(one.coarse_hu - drawn[0].coarse_hu).max() > 1.0


def test_coarse_cts_are_deformed_to_the_heart_of_the_label(generator, monkeypatch):
    """A coarse CT that shows nothing but its latent's heart has to show the label's heart afterwards."""
    model = generator._model
    show_heart = lambda z: model.labels(z)[:, ::2, ::2, ::2]  # noqa: E731
    monkeypatch.setattr(model, "coarse_ct", show_heart)
    before = show_heart(draw_latents(generator._files.mean, generator._files.root, 2, seed=SEED)).numpy()
    for least, options in ((0.8, {}), (0.5, {"fix_shape": 3, "modes": {1: 1.0}})):
        for volume, own in zip(generator.sample(2, seed=SEED, **options), before, strict=True):
            wanted, found = volume.label.array[::2, ::2, ::2], volume.coarse_hu / 1000.0
            assert overlap(found, wanted) > max(least, overlap(own, wanted) + 0.1)


def test_a_label_and_its_coarse_ct_give_the_sample_again(generator, drawn):
    found = generator.render(drawn[0].label, drawn[0].coarse_hu)
    np.testing.assert_allclose(found.array, drawn[0].image.array, atol=1)  # rounded to whole HU
    assert np.abs(generator.render(0 * drawn[0].label.array, drawn[0].coarse_hu).array - found.array).max() > 1


def test_either_kind_of_generator_shows_the_hearts_of_the_other(folder, plus_folder, generator, drawn):
    usual = load_generator(folder)
    for shown, own, look in (
        (load_generator(plus_folder, rendering=folder), drawn, usual),
        (load_generator(folder, rendering=plus_folder), list(usual.sample(1, seed=SEED)), generator),
    ):
        (volume,) = shown.sample(1, seed=SEED)
        np.testing.assert_array_equal(volume.label.array, own[0].label.array)
        np.testing.assert_allclose(volume.coarse_hu, own[0].coarse_hu, atol=1e-2)
        np.testing.assert_allclose(volume.image.array, look.render(volume.label, volume.coarse_hu).array, atol=1)
        assert np.abs(volume.image.array - own[0].image.array).max() > 1


def test_the_card_says_that_hearts_are_changed(folder, plus_folder):
    page, usual = ((one / "card.md").read_text() for one in (plus_folder, folder))
    assert "Ours-Plus, toy" in page
    assert "changed at random" in page
    assert "measured over the annotated hearts" in page
    assert "slice by slice" in usual
    assert "slice by slice" not in page
    assert read_json(plus_folder / "generator.json")["settings"]["plus"] == {
        "enhancement": "volumes",
        "interpolated": True,
        "width": 2,
    }
    assert "plus" not in read_json(folder / "generator.json")["settings"]
    assert not (folder / "changes.npz").exists()


def test_the_deviations_are_all_that_is_kept_of_the_annotated_hearts(plus_folder):
    with np.load(plus_folder / "changes.npz") as arrays:
        assert arrays.files == ["sd"]
        assert arrays["sd"].shape == (MODES + 7,)
        np.testing.assert_array_equal(arrays["sd"][:MODES], 1.0)
        assert (arrays["sd"][MODES:] >= LEAST_POSE_SD).all()


def refused(path, words, read=read_generator):
    with pytest.raises(InputError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_deviations_are_named(copy):
    content = bytearray((copy / "changes.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "changes.npz").write_bytes(content)
    refused(copy, r"changes\.npz: found another file than SHA256SUMS says")
    (copy / "changes.npz").unlink()
    refused(copy, r"changes\.npz: found no such file")
    sign(copy)
    refused(copy, r"SHA256SUMS: found checksums of other files; expected those of .*changes\.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"sd": np.ones(5)}, r"found arrays \{'sd': \(5,\)\}; expected sd \(11,\)"),
        ({"deviations": np.ones(11)}, r"found arrays .* expected sd \(11,\)"),
        ({"sd": -np.ones(11)}, "found negative standard deviations"),
        ({"sd": np.full(11, np.nan)}, "found sd that is not all finite numbers"),
    ],
)
def test_deviations_that_are_none_are_refused(copy, arrays, words):
    np.savez(copy / "changes.npz", **arrays)
    sign(copy)
    refused(copy, rf"changes\.npz: {words}")


def test_generators_of_version_2_have_up_convolutions(tmp_path):
    write_toy_plus_generator(tmp_path / "new", interpolated=False)
    card = read_json(tmp_path / "new" / "generator.json")
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    del card["settings"]["plus"]["interpolated"]
    write_json(tmp_path / "old" / "generator.json", card | {"version": 2})
    sign(tmp_path / "old")
    new, old = (next(load_generator(tmp_path / name).sample(1)) for name in ("new", "old"))
    np.testing.assert_array_equal(old.image.array, new.image.array)


def test_cards_that_do_not_fit_the_files_are_refused(copy):
    card = read_json(copy / "generator.json")

    def rewrite(**changed):
        write_json(copy / "generator.json", card | changed)
        sign(copy)

    settings = card["settings"]
    rewrite(settings={**settings, "plus": {**settings["plus"], "width": 3}})
    refused(copy, r"enhancement\.npz: found 000/.* of shape", read=load_generator)
    rewrite(settings={**settings, "plus": {**settings["plus"], "enhancement": "planes"}})
    refused(copy, r"generator\.json: plus\.enhancement is planes")
    rewrite(settings={name: values for name, values in settings.items() if name != "plus"})
    refused(copy, "SHA256SUMS: found checksums of other files")
    (copy / "further.npz").write_bytes(b"")  # what a later version may have
    rewrite(version=4)
    refused(copy, r"generator\.json: found version 4; expected at most 3")
