"""The stages of section 2.2 with labels by region, at toy size."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.synthesis import sample_volumes, take_slices
from fedsim_tf.training.batch_norm import training_slices
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.pictures import label_grey
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.simulation import pretrain, semi_supervise
from tests.training.region_site import region_config, region_learner
from tests.training.toy_site import toy_learner

pytestmark = pytest.mark.usefixtures("small_gan", "eagerly")


@pytest.fixture(scope="module")
def learner(small_gan):
    """Tests move its latents and its GAN, and none asks where they were before."""
    return region_learner()


@pytest.fixture(scope="module")
def learner_of_hearts(small_gan):
    return toy_learner()


def step(stage, index):
    return stage.shared_gradients(index, stage.seeds.rng(index))


def test_networks_see_seven_masks_where_they_saw_one(learner, learner_of_hearts):
    z = learner.labelled_latents.table[:2]
    occupancy, coarse = learner.model.labels(z), learner.model.coarse_ct(z)
    assert occupancy.shape == (2, 32, 32, 32, 7)
    index = tf.constant([16, 15])
    semantics = learner.model.semantics(coarse, take_slices(occupancy, index), index).numpy()
    assert semantics.shape == (2, 32, 32, 9)
    np.testing.assert_array_equal(semantics[0, ..., 1:8], occupancy[0, 16])
    np.testing.assert_array_equal(semantics[1, ..., 1:8], occupancy[1, 15])
    np.testing.assert_array_equal(semantics[:, 0, 0, 8], [0.5, 15 / 32])
    heart = learner_of_hearts.model
    one = heart.semantics(coarse, tf.zeros((2, 32, 32)), index)
    np.testing.assert_array_equal(semantics[..., 0], one[..., 0])
    for network, channels in ((learner.model.enhancer.first, 9), (learner.discriminator.discriminators[0].first, 10)):
        assert network.kernel.shape[2] == channels


def test_a_site_shares_what_it_shares_without_regions(learner, learner_of_hearts):
    losses, gradients = step(GeneratorPretraining(learner), 0)
    assert set(losses) == {"iou", "material_mse", "material_perceptual"}
    assert learner.shared_names == learner_of_hearts.shared_names
    assert [g.shape for g in gradients] == [v.shape for v in learner_of_hearts.shared_variables]
    assert all(np.any(g.numpy() != 0) for g in gradients[:2])


@pytest.mark.parametrize("whole", [(), (0, 1, 2)], ids=["regions", "whole hearts"])
def test_fitting_lowers_the_loss(whole):
    """Latents alone; the shape network is random, and stays as it is."""
    stage = GeneratorPretraining(
        region_learner(region_config(pretraining={"batch": 3, "latent_rate": 0.1}), whole=whole)
    )
    losses = [float(step(stage, index)[0]["iou"]) for index in range(6)]
    assert losses[-1] < losses[0]


def test_annotated_slices_are_shown_with_their_regions(learner, monkeypatch):
    stage, shown = EnhancementPretraining(learner), []
    update = stage._trainer.update
    monkeypatch.setattr(stage._trainer, "update", lambda *parts: shown.append(parts) or update(*parts))
    losses = stage.step(0, stage.seeds.rng(0))
    assert all(np.isfinite(float(loss)) for loss in losses.values())
    rng = stage.seeds.rng(0)
    volumes, slices = rng.integers(3, size=2), rng.integers(32, size=2)
    ids = learner.data.labelled.regions[volumes, slices]
    np.testing.assert_array_equal(shown[0][0][..., 1:8], ids[..., None] == np.arange(1, 8))
    picture = stage.look().pictures["annotated"]
    assert picture.shape == (3 * 32, 4 * 32)


def test_unannotated_slices_teach_the_shapes_of_regions_apart(learner):
    """Were the enhancement network to see the union alone, moving what divides it would change nothing."""
    z = learner.unlabelled_latents.table[:1]
    index = tf.constant([16])
    with tf.GradientTape() as tape:
        tau = learner.model.shape_generator(z)
        tape.watch(tau)
        labels = take_slices(learner.model.decoder(tau), index)
        semantics = learner.model.semantics(learner.model.coarse_ct(z), labels, index)
        total = tf.reduce_sum(tf.square(learner.model.enhancer(semantics, training=True) * 100.0))
    assert np.abs(tape.gradient(total, tau)).max() > 0
    stage = SemiSupervised(learner)
    supervised, _ = step(stage, 0)
    unsupervised, gradients = step(stage, 1)
    assert all(np.isfinite(float(loss)) for loss in (*supervised.values(), *unsupervised.values()))
    count = len(learner.model.shape_generator.trainable_variables)
    assert any(np.any(g.numpy() != 0) for g in gradients[:count])


def test_samples_have_regions(learner):
    (batch, *_) = training_slices(learner, with_unlabelled=False)
    masks = batch[..., 1:8].numpy()
    assert set(np.unique(masks)) == {0.0, 1.0}
    assert masks.sum(axis=-1).max() == 1.0
    distribution = LatentDistribution(np.zeros(64), 0.1 * np.eye(64))
    (volume,) = sample_volumes(learner.model, distribution, 1, seed=0)
    assert volume.image.shape == volume.label.shape == (32, 32, 32)
    assert volume.label.dtype == np.uint8
    occupancy = learner.model.labels(volume.latent[None])[0].numpy()
    np.testing.assert_array_equal(volume.label > 0, occupancy.sum(axis=-1) > 0.5)
    heart = volume.label > 0
    np.testing.assert_array_equal(volume.label[heart], occupancy[heart].argmax(axis=-1) + 1)
    assert len(np.unique(volume.label)) > 5


def test_the_image_is_made_from_the_regions(learner):
    """Another division of the same heart gives another image."""
    z = learner.labelled_latents.table[:1]
    coarse, index = learner.model.coarse_ct(z), tf.constant([16])
    labels = [tf.fill((1, 32, 32), region) for region in (1, 5)]
    first, second = (
        learner.model.enhanced_slices(coarse, learner.model.encode_label(label), index, training=False)
        for label in labels
    )
    assert np.abs(first - second).max() > 0


def test_labels_are_drawn_as_bright_as_their_number():
    semantics = np.zeros((1, 1, 3, 9), np.float32)
    semantics[0, 0, 1, 7], semantics[0, 0, 2, 1] = 1.0, 1.0
    np.testing.assert_allclose(label_grey(semantics)[0, 0], [-1.0, 1.0, 2 / 7 - 1.0], rtol=1e-6)
    np.testing.assert_array_equal(label_grey(semantics[..., [0, 7, 8]])[0, 0], [-1.0, 1.0, -1.0])


def test_a_resumed_run_repeats_an_undisturbed_one(tmp_path, monkeypatch):
    """It is interrupted within stage 3 and goes on with a learner of its own; one heart has no regions."""
    config = region_config(pretraining={"steps": 1}, gan={"steps": 1}, semi={"steps": 3}, checkpoint_every=2)

    def run(folder):
        learner, place = region_learner(config, whole=(1,)), RunFolder(folder, config)
        return learner, semi_supervise(place, learner, pretrain(place, learner))

    undisturbed, expected = run(tmp_path / "a")
    gradients, calls = SemiSupervised.shared_gradients, []

    def interrupted(stage, index, rng):
        calls.append(index)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return gradients(stage, index, rng)

    monkeypatch.setattr(SemiSupervised, "shared_gradients", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b")
    resumed, found = run(tmp_path / "b")
    assert calls == [0, 1, 2, 2]
    np.testing.assert_array_equal(found.mean, expected.mean)
    for ours, theirs in zip(resumed.model.variables, undisturbed.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
