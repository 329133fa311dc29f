import shutil

import numpy as np
import pytest

from fedsim_tf.generator.folder import read_generator
from fedsim_tf.generator.sampler import load_generator
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.runs.plus_arm import PlusSite
from fedsim_tf.training.run import RunFolder
from tests.training.toy_site import toy_config, toy_learner

pytestmark = pytest.mark.usefixtures("small_gan")
NORMAL = LatentDistribution(np.zeros(64), np.eye(64))


def make_site(tmp_path, **plus):
    config = toy_config(plus={"steps": 2, "width": 2, "copies": 6, "volumes": 2, "vgg_weight": 0.0, **plus})
    return open_site(config), RunFolder(tmp_path / "run", config)


def open_site(config):
    """Return a site whose latents make different volumes, as untrained networks' do not."""
    learner, rng = toy_learner(config), np.random.default_rng(0)
    for variable in learner.shared_variables:
        variable.assign_add(0.05 * rng.standard_normal(variable.shape))
    return PlusSite(learner, NORMAL, "ours_plus")


@pytest.mark.parametrize("enhancement", ["volumes", "slices"])
def test_volumes_are_drawn_once_and_kept(tmp_path, enhancement):
    site, run = make_site(tmp_path, enhancement=enhancement)
    first = site.draw(run)
    assert len(first) == 2
    assert first[0].image.shape == first[0].label.shape == (32, 32, 32)
    assert np.abs(first[0].image).max() <= 1.0
    assert set(np.unique(first[0].label)) == {0, 1}
    assert (run.finished("plus/enhancement") is not None) == (enhancement == "volumes")
    generator = load_generator(run.path / "generators" / "ours_plus")  # neither run nor data are needed
    for one, volume in zip(first, generator.sample(2, seed=run.config.seed), strict=True):
        np.testing.assert_array_equal(volume.label.array, one.label)
        np.testing.assert_allclose(volume.image.array, 1000.0 * one.image, atol=0.6)  # whole HU
        np.testing.assert_allclose(volume.coarse_hu, 1000.0 * one.coarse, atol=1e-2)
    shutil.rmtree(run.path / "generators")  # as in runs of before there were generators of this arm
    again = open_site(run.config).draw(run)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert read_generator(run.path / "generators" / "ours_plus").digest == generator._files.digest


def test_a_volume_is_the_same_whatever_the_count(tmp_path):
    two, three = (make_site(tmp_path / str(count), volumes=count) for count in (2, 3))
    first, second = two[0].draw(two[1]), three[0].draw(three[1])
    np.testing.assert_array_equal(first[1].image, second[1].image)
    np.testing.assert_array_equal(first[1].label, second[1].label)


def test_a_quarter_of_what_it_is_fine_tuned_on_is_as_it_was(tmp_path):
    site, _ = make_site(tmp_path)
    copies, labelled = site.beside["ours_plus"](), site._learner.data.labelled
    original = [any(np.array_equal(image, one) for one in labelled.images) for image in copies.images]
    # `compare` fine-tunes on the annotated volumes beside these.
    assert (sum(original) + len(labelled)) / (len(copies) + len(labelled)) == 0.25
