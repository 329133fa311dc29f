"""What is made once for all arms of a site."""

import types

import numpy as np
import pytest

from fedsim_tf.evaluation import likeness
from fedsim_tf.evaluation.kernel_distance import PLANES, SLICES
from fedsim_tf.runs import compare_arms
from fedsim_tf.runs import samples as samples_module
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.run import RunFolder
from tests.evaluation.pictures_for_tests import is_drawn
from tests.runs.toy_networks import use_small_parts
from tests.training.toy_regions import toy_site_by_region
from tests.training.toy_site import toy_config, toy_site


@pytest.fixture
def counted(monkeypatch):
    """The means of the volumes whose features were taken; networks find what is bright, and no picture is drawn."""
    seen = []

    def features(vgg, images):
        seen.extend(float(image.mean()) for image in images)
        return {plane: np.repeat(images.mean(axis=(1, 2, 3)), SLICES)[:, None] for plane in PLANES}

    monkeypatch.setattr(likeness, "average_features", features)
    for module, name in (
        (samples_module, "sample_gallery"),
        (samples_module, "heart_gallery"),
        (samples_module, "draw_likeness"),
        (compare_arms, "segmentation_gallery"),
        (compare_arms, "draw_losses"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(compare_arms, "UNetTraining", lambda *_: None)
    monkeypatch.setattr(compare_arms, "train_segmenter", lambda *_, **__: lambda image: (image > 0.0).astype(np.uint8))
    return seen


def sample(value):
    """Return a volume whose upper half is the heart, and as bright as a block next to it."""
    image = np.full((32, 32, 32), -0.9, np.float32)
    image[16:] = image[8:16, :16] = value
    label = np.zeros(image.shape, np.uint8)
    label[16:] = 1
    return SyntheticVolume(image, label, image[::4, ::4, ::4], np.zeros(3, np.float32))


def test_volumes_of_a_site_are_measured_once_and_those_of_arms_beside_them(tmp_path, counted):
    site = toy_site()
    arms = ("ours_pre", "ours_full", "random_shape", "upper_bound")
    samples = {arm: [sample(0.1 * k), sample(0.1 * k + 0.05)] for k, arm in enumerate(arms[:3], start=1)}
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": arms}))
    found = compare_arms.compare_with_pictures(
        run, site, arms, samples, vgg=types.SimpleNamespace(source="none"), data="toy"
    )
    assert len(counted) == len(site.training_images) + 2 * len(samples)
    hearts = [found[arm].likeness.hearts for arm in samples]
    assert all(one.real == hearts[0].real for one in hearts)
    assert hearts[0].real.volume_ml == pytest.approx(site.fully_labelled.labels.sum(axis=(1, 2, 3)).mean() * 27 / 1000)
    assert hearts[0].synthetic.volume_ml == pytest.approx(16 * 32 * 32 * 27 / 1000)
    lightest = found["random_shape"].likeness.tissues["heart"]
    assert lightest.synthetic_mean_hu == pytest.approx(np.mean([300.0, 350.0]), abs=0.1)
    overlap = 100 * 2 * 16 * 1024 / (16 * 1024 + 20 * 1024)
    for arm in samples:
        pair = found[arm].likeness.upper_bound_dice
        assert (pair.real, pair.synthetic) == (found["upper_bound"].dice, pytest.approx(overlap))
    assert found["upper_bound"].likeness is None


def test_without_the_upper_bound_its_network_scores_no_samples(tmp_path, counted):
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": ("ours_pre",)}))
    samples = {"ours_pre": [sample(0.1), sample(0.2)]}
    found = compare_arms.compare_with_pictures(run, toy_site(), ("ours_pre",), samples, vgg=None, data="toy")
    assert found["ours_pre"].likeness.upper_bound_dice is None


def test_no_features_are_taken_for_arms_without_synthetic_volumes(tmp_path, counted):
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": ("lower_bound",)}))
    found = compare_arms.compare_with_pictures(run, toy_site(), ("lower_bound",), {}, vgg=None, data="toy")
    assert counted == []
    assert found["lower_bound"].likeness is None


def test_arms_by_region_are_trained_scored_and_drawn_by_region(tmp_path, monkeypatch):
    use_small_parts(monkeypatch)
    monkeypatch.setattr(compare_arms, "draw_losses", lambda *_, **__: None)
    config = toy_config(model={"labels": "regions"}, segmentation={"arms": ("lower_bound",)})
    run, site = RunFolder(tmp_path / "run", config), toy_site_by_region()
    found = compare_arms.compare_with_pictures(run, site, ("lower_bound",), {}, vgg=None, data="toy")["lower_bound"]
    assert set(found.regions) == {"LV", "myo", "PA"}
    assert all(set(one.cases) == set(site.test.identities) for one in found.regions.values())
    assert 0 < found.dice <= 100
    assert is_drawn(run.pictures / "segmentations.png")
