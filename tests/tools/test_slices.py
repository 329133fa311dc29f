"""GAN pre-training on a handful of PNGs."""

import json
import types

import numpy as np
import pytest
from PIL import Image

from fedsim_tf.errors import InputError
from fedsim_tf.records.fold_data import DATA
from fedsim_tf.tools.slice_files import digest_slices, read_slices
from fedsim_tf.tools.slice_greys import measure_greys
from fedsim_tf.tools.slices import SliceTraining, run_slices, slice_semantics
from fedsim_tf.tools.slices_start import open_slices
from fedsim_tf.training.batch_norm import SLICES
from tests.evaluation.pictures_for_tests import is_drawn, recorded_titles
from tests.runs.toy_networks import use_small_parts
from tests.training.test_watch import shown
from tests.training.toy_site import toy_config

COUNT = 5


def draw(folder, *, count=COUNT, size=64):
    """Grey noise with a bright disc whose place differs, and its mask (255)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        mask = (x - 20 - 5 * number) ** 2 + (y - 30) ** 2 < 150
        image = (np.where(mask, 200, 60) + rng.integers(-20, 20, mask.shape)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"slice_{number}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "labels" / f"slice_{number}.png")
    return types.SimpleNamespace(images=folder / "images", labels=folder / "labels")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices")
    files = draw(root)
    with recorded_titles() as titles:
        path = run_slices(start(root / "run", files, root))
    return types.SimpleNamespace(root=root, files=files, path=path, titles=titles)


def start(run_dir, files, cache_dir, *, held_out=2):
    config = toy_config(gan={"steps": 2})
    return open_slices(
        config, run_dir, images=files.images, labels=files.labels, held_out=held_out, cache_dir=cache_dir
    )


def read(files):
    return read_slices(files.images, files.labels, size=32, held_out=0)


def refused(action, *fragments):
    with pytest.raises(InputError) as caught:
        action()
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert str(fragment) in str(caught.value)


def test_the_comparison_is_drawn_and_says_what_was_held_out(finished):
    assert finished.path == finished.root / "run" / "pictures" / "slices.png"
    assert is_drawn(finished.path)
    assert "last 2" in finished.titles["slices.png"][0]
    assert finished.titles["slices.png"][1:] == ["coarse input", "mask", "rendered", "real, with mask"]
    assert str(finished.root / "images") in finished.titles["losses.png"][0]


def test_norms_rates_and_pictures_are_shown(finished):
    scalars, pictures, _ = shown(finished.root / "run" / "tensorboard" / "gan")
    wanted = {f"gradient_norm/{network}" for network in ("enhancer", "discriminator")} | {"vgg", "rate/enhancer"}
    assert wanted <= set(scalars)
    assert pictures == {"annotated"}


def test_the_stage_is_recorded_and_kept(finished):
    assert (finished.root / "run" / "stages" / "gan.json").exists()
    assert (finished.root / "run" / "checkpoints" / "gan" / "step-2").is_dir()


def test_pictures_are_read_as_minus_one_to_one_and_masks_as_zero_or_one(tmp_path):
    files = draw(tmp_path, count=2)
    slices = read(files)
    assert slices.names == ("slice_0", "slice_1")
    assert slices.images.shape == slices.masks.shape == (2, 32, 32)
    original = np.asarray(Image.open(files.images / "slice_0.png"), float)
    averaged = original.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(slices.images[0], averaged / 127.5 - 1, atol=1.5 / 127.5)
    assert set(np.unique(slices.masks)) == {0, 1}
    assert slices.images[0][slices.masks[0] > 0].mean() > slices.images[0][slices.masks[0] == 0].mean() + 0.5


def test_hidden_files_of_macos_are_no_pictures(tmp_path):
    files = draw(tmp_path, count=1)
    (files.images / "._slice_0.png").write_bytes(b"macOS")
    assert read(files).names == ("slice_0",)


def draw_regions(folder, *, count=COUNT, size=64):
    """The pictures, with masks of two regions: a disc of region 5 with region 1 in its middle."""
    files = draw(folder, count=count, size=size)
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        squared = (x - 20 - 5 * number) ** 2 + (y - 30) ** 2
        regions = np.where(squared < 60, 1, np.where(squared < 150, 5, 0)).astype(np.uint8)
        Image.fromarray(regions).save(files.labels / f"slice_{number}.png")
    return files


def test_masks_of_regions_get_a_channel_each(tmp_path):
    files = draw_regions(tmp_path, count=2)
    slices = read_slices(files.images, files.labels, size=32, held_out=0, by_region=True)
    ids = np.stack([np.asarray(Image.open(files.labels / f"slice_{n}.png"))[1::2, 1::2] for n in range(2)])
    np.testing.assert_array_equal(slices.regions, ids)
    np.testing.assert_array_equal(slices.masks, ids > 0)
    semantics = slice_semantics(slices, 16, by_region=True)
    np.testing.assert_array_equal(semantics[..., 1:8], ids[..., None] == np.arange(1, 8))
    for channel, other in ((0, 0), (8, 2)):
        np.testing.assert_array_equal(semantics[..., channel], slice_semantics(read(files), 16)[..., other])
    others = slices._replace(regions=ids[:, ::-1])
    assert digest_slices(slices, by_region=True) != digest_slices(others, by_region=True)
    assert digest_slices(slices) == digest_slices(others)


@pytest.mark.usefixtures("eagerly")
def test_regions_are_trained_with_and_drawn(tmp_path, monkeypatch):
    use_small_parts(monkeypatch)
    config = toy_config(gan={"steps": 1}, model={"labels": "regions"})
    files, places = draw_regions(tmp_path), {"held_out": 2, "cache_dir": tmp_path}
    begun = open_slices(config, tmp_path / "run", images=files.images, labels=files.labels, **places)
    assert is_drawn(run_slices(begun))
    greys = (tmp_path / "run" / "greys.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in greys[1:]] == [["heart", "2"], ["LV", "2"], ["myocardium", "2"]]


def test_greys_are_measured_by_region_where_masks_tell_them_apart(tmp_path):
    files = draw_regions(tmp_path, count=2)
    slices = read(files)
    part = slices.regions == 5
    rendered = np.where(part, 0.5, -0.5).astype(np.float32)
    heart, lv, myocardium = measure_greys(slices.images, rendered, slices.labels)
    real = (slices.images[part] + 1) * 127.5
    expected = ("myocardium", 2, real.mean(), real.std(), 1.5 * 127.5, 0.0)
    assert myocardium == pytest.approx(expected)
    assert (lv.rendered_mean, heart.pictures) == (pytest.approx(0.5 * 127.5), 2)
    binary = slices._replace(regions=None)
    assert [one.name for one in measure_greys(binary.images, rendered, binary.labels)] == ["heart"]


def test_values_that_are_no_regions_are_refused(tmp_path):
    files = draw(tmp_path, count=1)
    read_regions = lambda: read_slices(files.images, files.labels, size=32, held_out=0, by_region=True)  # noqa: E731
    refused(read_regions, "slice_0.png", "values 255", "region ids 0 to 7", "model.labels=regions")
    mask = np.asarray(Image.open(files.labels / "slice_0.png"))
    Image.fromarray((mask > 0).astype(np.uint8)).save(files.labels / "slice_0.png")
    refused(read_regions, files.labels, "masks of region 1 alone")
    Image.fromarray(mask).convert("RGB").save(files.labels / "slice_0.png")
    refused(read_regions, "slice_0.png", "a picture of mode RGB")


def test_semantics_are_the_picture_made_coarse_its_mask_and_a_constant(tmp_path):
    files = draw(tmp_path, count=1)
    slices = read(files)
    semantics = slice_semantics(slices, 16)
    assert semantics.shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(semantics[..., 1], slices.masks)
    assert np.unique(semantics[..., 2]) == [0.5]
    coarse = semantics[0, ..., 0]
    assert coarse.mean() == pytest.approx(slices.images.mean(), abs=0.02)
    assert np.abs(np.diff(coarse)).mean() < np.abs(np.diff(slices.images[0])).mean()


@pytest.mark.parametrize("held_out", [COUNT, COUNT + 1])
def test_too_few_pictures_are_refused(finished, tmp_path, held_out):
    message = f"held_out is {held_out}; it must be less than the {COUNT} pictures in {finished.files.images}"
    refused(lambda: start(tmp_path / "run", finished.files, tmp_path, held_out=held_out), message)
    assert not (tmp_path / "run").exists()


def test_a_missing_mask_is_named(tmp_path):
    files = draw(tmp_path)
    (files.labels / "slice_3.png").unlink()
    refused(lambda: read(files), files.labels, "no slice_3.png")


def test_a_folder_without_pictures_is_refused(tmp_path):
    refused(lambda: read_slices(tmp_path, tmp_path, size=32, held_out=0), tmp_path, "no PNG files")
    refused(lambda: read_slices(tmp_path / "no", tmp_path, size=32, held_out=0), tmp_path / "no")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_file_that_is_no_picture_is_named(tmp_path, kind):
    files = draw(tmp_path)
    damaged = tmp_path / kind / "slice_1.png"
    damaged.write_bytes(b"not a picture")
    refused(lambda: read(files), damaged, "no picture")


def test_pictures_of_sixteen_bits_are_refused_and_masks_of_another_size(tmp_path):
    files = draw(tmp_path)
    deep = tmp_path / "images" / "slice_1.png"
    usual = deep.read_bytes()
    Image.fromarray(np.full((64, 64), 1000, np.uint16)).save(deep)
    refused(lambda: read(files), deep, "a picture of mode I;16")
    deep.write_bytes(usual)
    mask = tmp_path / "labels" / "slice_2.png"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(mask)
    refused(lambda: read(files), mask, "found (40, 30) pixels")


def test_masks_with_a_palette_are_read_by_their_indices(tmp_path):
    """Index 0 is white and index 1 black: by their colours, the heart would be all but the heart."""
    files = draw(tmp_path)
    expected = read(files).masks
    for path in files.labels.iterdir():
        mask = Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8), mode="P")
        mask.putpalette([255, 255, 255, 0, 0, 0])
        mask.save(path)
        assert Image.open(path).mode == "P"
    np.testing.assert_array_equal(read(files).masks, expected)


@pytest.mark.parametrize("mode", ["1", "LA", "RGB", "RGBA"])
def test_masks_in_any_colour_are_heart_where_they_are_not_black(tmp_path, mode):
    """Blue 1 is darker than any grey value of 8 bits; opacity is no colour."""
    files = draw(tmp_path)
    expected = read(files).masks
    for path in files.labels.iterdir():
        heart = np.asarray(Image.open(path)) > 0
        if mode == "1":
            mask = Image.fromarray(heart)
        else:
            colours = {
                "LA": ((0, 255), (1, 255)),
                "RGB": ((0, 0, 0), (0, 0, 1)),
                "RGBA": ((0, 0, 0, 255), (0, 0, 1, 255)),
            }
            background, colour = colours[mode]
            mask = Image.fromarray(np.where(heart[..., None], colour, background).astype(np.uint8), mode=mode)
        mask.save(path)
    np.testing.assert_array_equal(read(files).masks, expected)


def test_endings_in_capitals_are_found(tmp_path):
    files = draw(tmp_path)
    (files.images / "slice_0.png").rename(files.images / "slice_0.PNG")
    (files.labels / "slice_1.png").rename(files.labels / "slice_1.Png")
    assert read(files).names == tuple(f"slice_{number}" for number in range(COUNT))
    (files.images / "slice_0.png").write_bytes((files.images / "slice_1.png").read_bytes())
    refused(lambda: read(files), "slice_0 a second time")


def test_masks_without_a_heart_are_named(tmp_path, caplog):
    files = draw(tmp_path)
    nothing = Image.fromarray(np.zeros((64, 64), np.uint8))
    nothing.save(files.labels / "slice_2.png")
    assert not read(files).masks[2].any()
    assert f"1 of {COUNT} masks show no heart: slice_2.png" in caplog.text
    for number in range(COUNT):
        nothing.save(files.labels / f"slice_{number}.png")
    refused(lambda: read(files), files.labels, "no heart in any mask")


def test_masks_that_are_heart_everywhere_are_refused(tmp_path):
    files = draw(tmp_path)
    for number in (1, 3):
        Image.fromarray(np.full((64, 64), 7, np.uint8)).save(files.labels / f"slice_{number}.png")
    refused(lambda: read(files), files.labels, "heart everywhere: slice_1.png, slice_3.png", "swapped")


def test_pictures_given_as_masks_are_refused_all_at_once(tmp_path):
    files = draw(tmp_path)
    for number in (1, 3):
        picture = (files.images / f"slice_{number}.png").read_bytes()
        (files.labels / f"slice_{number}.png").write_bytes(picture)
    refused(lambda: read(files), "2 cases that cannot be used", "slice_1.png", "as of a picture or a soft mask")


def test_a_run_goes_on_with_its_own_pictures_alone(finished, tmp_path):
    """Of others, what the network was trained on would be shown as held out."""

    def again(files, held_out=2):
        run_slices(start(finished.root / "run", files, tmp_path, held_out=held_out))

    again(finished.files)
    refused(lambda: again(finished.files, held_out=3), "held_out is 3; it must be 2, as when the run began")
    other = draw(tmp_path, count=COUNT + 1)
    refused(lambda: again(other), "found other pictures: slice_5", "another run folder")
    Image.open(other.images / "slice_0.png").rotate(90).save(other.images / "slice_1.png")
    (other.images / "slice_5.png").unlink()
    (other.labels / "slice_5.png").unlink()
    refused(lambda: again(other), "found other pictures: slice_1;")
    note = finished.root / "run" / DATA
    kept = note.read_text()
    note.write_text(json.dumps(json.loads(kept) | {"vgg": "random"}))  # the first version of random weights
    refused(lambda: again(finished.files), "found other VGG-19 weights now", "another run folder")
    note.write_text(kept)


def test_statistics_see_batches_of_one_size_and_every_picture():
    training = SliceTraining.__new__(SliceTraining)
    training._semantics = np.arange(11)
    batches = list(training.batches())
    assert [len(batch) for batch in batches] == [SLICES, SLICES]
    assert set(np.concatenate(batches)) == set(range(11))
    training._semantics = np.arange(3)
    (batch,) = training.batches()
    assert len(batch) == SLICES
    assert set(batch) == {0, 1, 2}
