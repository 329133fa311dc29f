"""Panels, loss curves and galleries: written, of plausible size, not blank, and showing what they say."""

import ast
import csv
import dataclasses
import pathlib

import matplotlib
import numpy as np
import pytest

import fedsim_tf
from fedsim_tf.evaluation import galleries
from fedsim_tf.evaluation.figures import _smooth, draw_loss_curves, panel
from fedsim_tf.evaluation.galleries import heart_slice, nearest_image, sample_gallery, segmentation_gallery
from fedsim_tf.evaluation.region_figures import colour_regions
from fedsim_tf.regions import AORTA, LV, MYOCARDIUM, REGIONS
from fedsim_tf.synthesis import SyntheticVolume
from tests.evaluation.pictures_for_tests import blocks, by_threshold, is_drawn, pixels, share_of

GREEN, RED = (0x39, 0xD3, 0x53), (0xFF, 0x52, 0x52)


def square(size=16):
    mask = np.zeros((size, size), np.float32)
    mask[4:12, 4:12] = 1
    return mask


def losses(path, *, stages=("pretraining", "gan"), steps=40):
    tables = {}
    for number, stage in enumerate(stages):
        tables[stage] = path / f"{stage}.csv"
        with open(tables[stage], "w", newline="") as file:
            rows = [(step, f"loss_{number}", 2.0 / (1 + step)) for step in range(steps)]
            csv.writer(file).writerows([("step", "loss", "value"), *rows])
    return tables


def sample(first, last, value=0.0, size=8):
    volume = blocks((first, last), size=size)
    coarse = np.full((4, 4, 4), value, np.float32)
    return SyntheticVolume(volume.images[0], volume.labels[0].astype(np.uint8), coarse, np.zeros(3, np.float32))


def test_panel_grows_with_its_rows_and_columns(tmp_path):
    cell = (np.linspace(-1, 1, 256).reshape(16, 16), None, None)
    panel(tmp_path / "wide.png", [[cell] * 3], columns=("a", "b", "c"), title="phantom cohort")
    panel(tmp_path / "tall.png", [[cell]] * 3, columns=("a",), title="phantom cohort")
    wide, tall = pixels(tmp_path / "wide.png"), pixels(tmp_path / "tall.png")
    assert is_drawn(tmp_path / "wide.png")
    assert is_drawn(tmp_path / "tall.png")
    assert wide.shape[1] > 2 * tall.shape[1]
    assert tall.shape[0] > 1.5 * wide.shape[0]


@pytest.mark.parametrize(("outlines", "green", "red"), [((0, 1), False, True), ((1, 0), True, False), ((1, 1), 0, 1)])
def test_first_outline_is_green_and_second_is_red(tmp_path, outlines, green, red):
    """Where both run along the same line, the second one lies on top."""
    first, second = (square() if wanted else None for wanted in outlines)
    panel(tmp_path / "a.png", [[(square() - 1, first, second)]], columns=("x",), title="t")
    image = pixels(tmp_path / "a.png")
    assert (share_of(image, *GREEN) > 1e-3) == bool(green)
    assert (share_of(image, *RED) > 1e-3) == bool(red)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_masks_without_a_border_are_drawn_without_an_outline(tmp_path, fill):
    panel(tmp_path / "a.png", [[(square() - 1, np.full((16, 16), fill), None)]], columns=("x",), title="t")
    assert share_of(pixels(tmp_path / "a.png"), *GREEN) == 0


def test_greys_have_a_fixed_scale_from_minus_one_to_one(tmp_path):
    for name, value in (("black", -1.0), ("grey", 0.0), ("white", 1.0)):
        panel(tmp_path / f"{name}.png", [[(np.full((8, 8), value), None, None)]], columns=("x",), title="t")
    centre = {name: pixels(tmp_path / f"{name}.png")[-80, 100, 0] for name in ("black", "grey", "white")}
    assert centre["black"] == 0
    assert 120 <= centre["grey"] <= 135
    assert centre["white"] == 255


def test_panel_refuses_rows_of_another_length_than_its_headings(tmp_path):
    with pytest.raises(ValueError):
        panel(tmp_path / "a.png", [[(square(), None, None)]], columns=("a", "b"), title="t")
    assert list(tmp_path.iterdir()) == []


def test_the_library_leaves_pyplot_and_its_backend_alone():
    """Whoever imports the library may draw on a screen; pyplot also keeps every figure that nobody closes."""
    for path in pathlib.Path(fedsim_tf.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not any("pyplot" in f"{getattr(node, 'module', '')}.{name}" for name in names), path
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "matplotlib.use"), path


def test_drawing_chooses_no_backend(tmp_path):
    with matplotlib.rc_context():
        matplotlib.rcParams["backend"] = "svg"
        panel(tmp_path / "a.png", [[(square(), None, None)]], columns=("x",), title="t")
        draw_loss_curves(tmp_path / "b.png", losses(tmp_path, stages=("gan",)), title="t")
        assert matplotlib.rcParams["backend"] == "svg"
    assert pixels(tmp_path / "a.png").size
    assert pixels(tmp_path / "b.png").size


def test_titles_and_headings_are_drawn(tmp_path, titles):
    panel(tmp_path / "a.png", [[(square(), None, None)]], columns=("label",), title="phantom cohort (ct20)")
    assert titles["a.png"] == ["phantom cohort (ct20)", "label"]


def test_loss_curves_have_one_plot_for_each_stage(tmp_path, titles):
    tables = losses(tmp_path, stages=("pretraining", "gan", "semi", "unet"))
    draw_loss_curves(tmp_path / "losses.png", tables, title="Losses, phantom cohort (ct20)")
    assert is_drawn(tmp_path / "losses.png")
    assert titles["losses.png"][1:] == ["pretraining", "gan", "semi", "unet"]
    assert titles["losses.png"][0].startswith("Losses, phantom cohort (ct20)")


def test_loss_curves_leave_out_stages_that_have_not_begun(tmp_path, titles):
    tables = {**losses(tmp_path, stages=("gan",)), "semi": tmp_path / "no such.csv"}
    draw_loss_curves(tmp_path / "losses.png", tables, title="t")
    assert titles["losses.png"][1:] == ["gan"]


def test_loss_curves_of_a_run_without_losses_are_an_empty_picture(tmp_path):
    draw_loss_curves(tmp_path / "losses.png", {}, title="t")
    assert pixels(tmp_path / "losses.png").size


def test_smoothing_is_a_centred_mean_over_a_twentieth():
    values = np.random.default_rng(0).normal(size=200)
    found = _smooth(values)
    expected = [values[max(0, i - 5) : i + 6].mean() for i in range(200)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(_smooth(np.array([3.0])), [3.0])


def test_heart_slice_is_the_one_with_most_heart_or_the_middle():
    label = np.zeros((9, 4, 4))
    assert heart_slice(label) == 4
    label[2, 0, 0] = 1
    label[7, :2] = 1
    assert heart_slice(label) == 7


def test_nearest_neighbour_is_found_over_the_whole_volume():
    images = blocks((0, 2), (3, 6), (5, 8)).images
    noisy = images[1] + 0.1 * np.random.default_rng(0).normal(size=images[1].shape)
    np.testing.assert_array_equal(nearest_image(noisy, images), images[1])


def test_sample_gallery_has_a_row_for_each_sample_up_to_its_limit(tmp_path, titles, monkeypatch):
    monkeypatch.setattr(galleries, "ROWS", 2)
    for count in (1, 2, 3):
        training = blocks((1, 3), (4, 7)).images
        sample_gallery(tmp_path / f"{count}.png", [sample(2, 5)] * count, training, title="Samples, phantom cohort")
        assert is_drawn(tmp_path / f"{count}.png")
    heights = [pixels(tmp_path / f"{count}.png").shape[0] for count in (1, 2, 3)]
    assert heights[0] < heights[1] == heights[2]
    assert titles["1.png"][0] == "Samples, phantom cohort"
    assert len(titles["1.png"]) == 1 + 9


def test_segmentation_gallery_shows_every_arm_with_truth_and_finding(tmp_path, titles):
    segmenters = {
        "lower_bound": lambda image: np.roll(by_threshold(image), 1, axis=1),
        "ours_full": lambda image: np.zeros(image.shape, np.uint8),
    }
    segmentation_gallery(tmp_path / "a.png", segmenters, blocks((1, 3), (4, 7)), title="Segmentations, phantom cohort")
    title = "Segmentations, phantom cohort: truth green, found red"
    assert titles["a.png"] == [title, "test volume", "Lower bound (real labels only)", "Ours-Full"]
    image = pixels(tmp_path / "a.png")
    assert share_of(image, *GREEN) > 1e-3
    assert share_of(image, *RED) > 1e-3
    nothing = {"ours_full": segmenters["ours_full"]}
    segmentation_gallery(tmp_path / "b.png", nothing, blocks((1, 3)), title="t")
    assert share_of(pixels(tmp_path / "b.png"), *RED) == 0


def rgb(region):
    return [int(REGIONS[region].colour[start : start + 2], 16) for start in (1, 3, 5)]


def test_regions_are_mixed_with_the_greys_below_and_the_background_stays_grey():
    image = np.array([[-1.0, 0.0, 1.0, 5.0]])
    found = colour_regions(image, np.array([[0, LV, AORTA, 0]], np.uint8))
    expected = [
        [0.0, 0.0, 0.0],
        0.4 * 0.5 + 0.6 * np.array(rgb(LV)) / 255,
        0.4 * 1.0 + 0.6 * np.array(rgb(AORTA)) / 255,
        [1.0, 1.0, 1.0],
    ]
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    np.testing.assert_array_equal(colour_regions(image, None)[0, 1], [0.5] * 3)


def thirds(*boxes):
    """Blocks of a ventricle beside myocardium, the former darker."""
    volumes = blocks(*boxes)
    ids = (volumes.labels * LV).astype(np.uint8)
    ids[..., 4:] *= MYOCARDIUM
    return dataclasses.replace(volumes, regions=ids)


def test_segmentation_gallery_by_region_has_colours_and_a_legend(tmp_path, titles, legends):
    volumes = thirds((1, 3), (4, 7))
    truth = dict(zip((image.tobytes() for image in volumes.images), volumes.regions, strict=True))
    segmenters = {"ours_full": lambda image: np.where(truth[image.tobytes()] == LV, AORTA, 0).astype(np.uint8)}
    segmentation_gallery(tmp_path / "a.png", segmenters, volumes, title="phantom cohort")
    assert titles["a.png"] == ["phantom cohort: regions in colours", "test volume", "truth", "Ours-Full"]
    assert legends["a.png"] == ["LV", "myo", "ao"]
    image = pixels(tmp_path / "a.png")
    for region in (LV, MYOCARDIUM, AORTA):  # half-bright blocks
        mixed = 0.4 * 0.75 * 255 + 0.6 * np.array(rgb(region))
        assert share_of(image, *mixed) > 5e-3
    assert share_of(image, *GREEN) == share_of(image, *RED) == 0


def test_sample_gallery_by_region_has_colours_and_a_legend(tmp_path, titles, legends):
    one = sample(2, 5)._replace(label=thirds((2, 5)).regions[0])
    sample_gallery(tmp_path / "a.png", [one], blocks((1, 3)).images, title="Samples")
    synthetic, real = ["synthetic CT", "with label", "coronal", "sagittal"], ["nearest real", "coronal", "sagittal"]
    assert titles["a.png"] == ["Samples", "simulated CT", "label", *synthetic, *real]
    assert legends["a.png"] == ["LV", "myo"]
    for region in (LV, MYOCARDIUM):  # on black
        assert share_of(pixels(tmp_path / "a.png"), *(0.6 * np.array(rgb(region)))) > 5e-3


def test_heart_slice_counts_voxels_and_not_ids():
    label = np.zeros((3, 4, 4), np.uint8)
    label[0, :2], label[2, 0, :2] = 1, 7
    assert heart_slice(label) == 0
