"""Direct-FL at toy sites, in rounds of the in-process engine."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.baselines.direct_fl import DirectFederated, SharedUNet, initial_weights
from fedsim_tf.federated.kept_rounds import list_kept_rounds, read_kept_round
from fedsim_tf.federated.task import Task
from fedsim_tf.losses import segmentation_loss
from tests.federated.toy_federation import ToyFederation
from tests.training.toy_regions import toy_site_by_region
from tests.training.toy_site import toy_config, toy_site

pytestmark = pytest.mark.usefixtures("small_gan", "small_unet")

CONFIG = toy_config(segmentation={"batch": 3, "pretraining_steps": 3})
RATE = 0.01
STAGE = DirectFederated.name


@pytest.fixture
def federation(tmp_path):
    """Two sites that start from the same weights."""
    return ToyFederation(tmp_path / "run", CONFIG)


def run_one_round(federation):
    return federation.coordinator.run_rounds(STAGE, initial_weights(CONFIG), rate=RATE, steps=1, accumulate="mean")


def unets(federation):
    return [work.unet for work in federation.works.values()]


@pytest.mark.usefixtures("eagerly")
def test_a_round_is_one_adam_step_on_the_mean_of_the_sites_gradients(federation):
    """Against gradients taken here, of the volumes that the stages draw; Adam's first step is rate times sign."""
    before = [variable.numpy() for variable in unets(federation)[0].shared_variables]
    for mine, server in zip(before, initial_weights(CONFIG).values(), strict=True):
        np.testing.assert_array_equal(mine, server)
    gradients = []
    for unet in unets(federation):
        stage = DirectFederated(unet)
        images, labels = stage._training._batches.at(0)
        assert images.shape == (1, 32, 32, 32, 1)
        with tf.GradientTape() as tape:
            loss = segmentation_loss(unet.training.network(images), labels)
        gradients.append([g.numpy() for g in tape.gradient(loss, unet.shared_variables)])
    run_one_round(federation)
    for unet in unets(federation):
        for value, start, first, second in zip(unet.shared_variables, before, *gradients, strict=True):
            mean = 0.5 * (first + second)
            clear = np.abs(mean) > 1e-3  # where Adam's epsilon does not show
            np.testing.assert_allclose((value.numpy() - start)[clear], -RATE * np.sign(mean)[clear], rtol=1e-2)


@pytest.mark.usefixtures("eagerly")
def test_sites_have_the_same_network(federation):
    run_one_round(federation)
    first, second = (unet.training.network for unet in unets(federation))
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("eagerly")
def test_an_update_holds_gradients_of_the_unet_alone(federation):
    site, weights = federation.sites["a"], initial_weights(CONFIG)
    site.answer(Task("begin", STAGE, 0, weights))
    sent, _ = site.answer(Task("gradients", STAGE, 0, weights))
    assert list(sent.gradients) == list(weights) == [f"unet/{i}" for i in range(len(weights))]
    assert sent.count == 3
    assert sent.latents is None


@pytest.mark.usefixtures("eagerly")
def test_a_site_keeps_rounds_for_an_audit_where_it_is_asked_to(tmp_path):
    config = toy_config(federated={"sites": ("a",), "keep_sent": 1}, segmentation={"pretraining_steps": 3})
    federation, weights = ToyFederation(tmp_path, config, seeds={"a": 0}), initial_weights(config)
    site, folder = federation.sites["a"], federation.run.site("a").path
    site.answer(Task("begin", STAGE, 0, weights))
    sent, _ = site.answer(Task("gradients", STAGE, 0, weights))
    (kept,) = [read_kept_round(folder, file) for file in list_kept_rounds(folder)]
    assert (kept.stage, kept.round, len(kept.batch)) == (STAGE, 0, 1)
    for name, value in weights.items():
        np.testing.assert_array_equal(kept.weights[name], value)
        np.testing.assert_array_equal(kept.gradients[name], sent.gradients[name])


@pytest.mark.usefixtures("eagerly")
def test_sites_with_and_without_regions_learn_one_network_by_region():
    """One site's label maps have regions, the other's are heart or not; both give gradients of all eight outputs."""
    config = toy_config(model={"labels": "regions"}, segmentation={"pretraining_steps": 3})
    server = initial_weights(config)
    for site, kind in ((toy_site_by_region(), tf.uint8), (toy_site("other", seed=1), tf.float32)):
        unet = SharedUNet(config, site)
        assert list(server) == unet.shared_names
        for value, variable in zip(server.values(), unet.shared_variables, strict=True):
            np.testing.assert_array_equal(value, variable)
        stage = DirectFederated(unet)
        images, labels = stage._training._batches.at(0)
        assert labels.dtype == kind
        with tf.GradientTape() as tape:
            loss = segmentation_loss(unet.training.network(images), labels)
        expected = tape.gradient(loss, unet.shared_variables)
        losses, gradients = stage.shared_gradients(0, None)
        assert float(losses["loss"]) == pytest.approx(float(loss), rel=1e-6)
        for one, other in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert gradients[-1].shape == (8,)
        assert np.all(gradients[-1] != 0)
