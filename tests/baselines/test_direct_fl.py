"""Direct-FL at toy sites, in rounds of the in-process engine."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.baselines.direct_fl import DirectFederated, SharedUNet
from fedsim_tf.federated.engine import run_rounds
from fedsim_tf.federated.site import Site
from fedsim_tf.losses import segmentation_loss
from fedsim_tf.training.run import RunFolder
from tests.training.toy_site import toy_config, toy_site

CONFIG = toy_config(segmentation={"batch": 3, "pretraining_steps": 3})
RATE = 0.01


@pytest.fixture
def sites():
    """Two sites that start from the same weights."""
    return [Site(name, SharedUNet(CONFIG, toy_site(name, seed))) for name, seed in (("a", 0), ("b", 7))]


def run_one_round(path, sites):
    stages = [DirectFederated(site.learner) for site in sites]
    run_rounds(RunFolder(path, CONFIG), sites, stages, rate=RATE, steps=1, accumulate="mean")
    return stages


@pytest.mark.usefixtures("eagerly")
def test_a_round_is_one_adam_step_on_the_mean_of_the_sites_gradients(tmp_path, sites):
    """Against gradients taken here, of the volumes that the stages draw; Adam's first step is rate times sign."""
    before = [variable.numpy() for variable in sites[0].learner.shared_variables]
    gradients = []
    for site in sites:
        stage = DirectFederated(site.learner)
        images, labels = stage._training._batches.at(0)
        assert images.shape == (1, 32, 32, 32, 1)
        with tf.GradientTape() as tape:
            loss = segmentation_loss(site.learner.training.network(images, training=True), labels)
        gradients.append([g.numpy() for g in tape.gradient(loss, site.learner.shared_variables)])
    run_one_round(tmp_path / "run", sites)
    for site in sites:
        for value, start, first, second in zip(site.learner.shared_variables, before, *gradients, strict=True):
            mean = 0.5 * (first + second)
            clear = np.abs(mean) > 1e-3  # where Adam's epsilon does not show
            np.testing.assert_allclose((value.numpy() - start)[clear], -RATE * np.sign(mean)[clear], rtol=1e-2)


@pytest.mark.usefixtures("eagerly")
def test_sites_share_weights_and_keep_their_own_normalisation(tmp_path, sites):
    run_one_round(tmp_path / "run", sites)
    first, second = (site.learner.training.network for site in sites)
    for a, b in zip(first.trainable_variables, second.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    moving = zip(first.non_trainable_variables, second.non_trainable_variables, strict=True)
    assert any(np.any(a.numpy() != b.numpy()) for a, b in moving)


@pytest.mark.usefixtures("eagerly")
def test_an_update_holds_gradients_of_the_unet_alone(sites):
    sent = sites[0].update(DirectFederated(sites[0].learner), 0)
    assert list(sent.gradients) == [f"unet/{i}" for i in range(len(sites[0].learner.shared_variables))]
    assert sent.count == 3
    assert sent.latents is None
