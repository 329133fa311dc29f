"""What is made once for all arms of a site."""

import types

import numpy as np
import pytest

from fedsim_tf.evaluation import novelty
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
    """The means of the volumes whose features were taken; pictures and training are left out."""
    seen = []

    def features(vgg, volume):
        seen.append(float(volume.mean()))
        return np.stack([volume.mean(axis=(1, 2)), volume.std(axis=(1, 2))], axis=1)

    monkeypatch.setattr(novelty, "_features_of_volume", features)
    for module, name in ((samples_module, "sample_gallery"), (compare_arms, "segmentation_gallery")):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(compare_arms, "draw_losses", lambda *_, **__: None)
    monkeypatch.setattr(samples_module, "show_likeness", lambda *_, **__: {})
    monkeypatch.setattr(compare_arms, "UNetTraining", lambda *_: None)
    monkeypatch.setattr(compare_arms, "train_segmenter", lambda *_, **__: lambda image: np.ones(image.shape, np.uint8))
    return seen


def sample(value):
    image = np.full((32, 32, 32), value, np.float32)
    image[::2] += 0.1
    return SyntheticVolume(image, np.ones(image.shape, np.uint8), image[::4, ::4, ::4], np.zeros(3, np.float32))


def test_features_of_real_volumes_are_taken_once_a_site(tmp_path, counted):
    site = toy_site()
    arms = ("ours_pre", "ours_full", "random_shape")
    samples = {arm: [sample(0.1 * k), sample(0.1 * k + 0.05)] for k, arm in enumerate(arms)}
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": arms}))
    found = compare_arms.compare_with_pictures(
        run, site, arms, samples, vgg=types.SimpleNamespace(source="none"), data="toy"
    )
    assert len(counted) == len(site.training_images) + 2 * len(arms)
    for arm in arms:
        real, made = (
            novelty.average_features(None, images)
            for images in (site.training_images, np.stack([one.image for one in samples[arm]]))
        )
        assert found[arm].likeness.features == novelty.compare_features(real, made)


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
