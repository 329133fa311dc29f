"""The stages of section 2.2 at toy size."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.training.toy_site import toy_config, toy_learner


def weights(learner):
    return {
        "shared": [v.numpy() for v in learner.shared_variables],
        "enhancer": [v.numpy() for v in learner.model.enhancer.variables],
        "discriminator": [v.numpy() for v in learner.discriminator.variables],
        "labelled": [learner.labelled_latents.table.numpy()],
        "unlabelled": [learner.unlabelled_latents.table.numpy()],
    }


def changed(before, after):
    return {name for name in before if any(np.any(a != b) for a, b in zip(before[name], after[name], strict=True))}


@pytest.mark.usefixtures("eagerly")
def test_pretraining_moves_only_its_latents_and_hands_out_gradients():
    learner = toy_learner()
    stage = GeneratorPretraining(learner)
    before = weights(learner)
    losses, gradients = stage.shared_gradients(0)
    assert set(losses) == {"iou", "material_mse", "material_perceptual"}
    assert changed(before, weights(learner)) == {"labelled"}
    assert [g.shape for g in gradients] == [v.shape for v in learner.shared_variables]
    assert all(np.any(g.numpy() != 0) for g in gradients[-2:])


@pytest.mark.usefixtures("eagerly")
def test_gan_pretraining_leaves_shape_and_material_alone():
    learner = toy_learner()
    before = weights(learner)
    EnhancementPretraining(learner).step(0)
    assert changed(before, weights(learner)) == {"enhancer", "discriminator"}


@pytest.mark.usefixtures("eagerly")
def test_semi_supervised_steps_take_turns_and_freeze_the_discriminator():
    learner = toy_learner()
    stage = SemiSupervised(learner)
    before = weights(learner)
    supervised, _ = stage.shared_gradients(0)
    between = weights(learner)
    unsupervised, gradients = stage.shared_gradients(1)
    after = weights(learner)
    assert all(name.startswith(("iou", "material", "labelled_")) for name in supervised)
    assert all(name.startswith("unlabelled_") for name in unsupervised)
    assert changed(before, between) == {"enhancer", "labelled"}
    assert changed(between, after) == {"enhancer", "unlabelled"}
    assert all(np.all(np.isfinite(g)) for g in gradients)
    shape = len(learner.model.shape_generator.trainable_variables)
    assert any(np.any(g.numpy() != 0) for g in gradients[:shape])  # through the voxelization
    assert any(np.any(g.numpy() != 0) for g in gradients[shape:])  # through the CT simulator


def test_one_volume_is_overfitted_at_the_demo_grid():
    """Latent, both networks, finite differences and L_IoU together: IoU above 0.9."""
    config = toy_config(pretraining={"steps": 150, "batch": 1, "rate": 2e-3})
    learner = toy_learner(config)
    stage = GeneratorPretraining(learner)
    optimizer = adam(config.pretraining.rate, learner.shared_variables, steps=150)

    @tf.function
    def apply(gradients):
        optimizer.apply_gradients(zip(gradients, learner.shared_variables, strict=True))

    def losses():
        return {key: float(value) for key, value in stage.losses(tf.constant([0])).items()}

    start = losses()
    for _ in range(150):
        _, gradients = stage._traced(tf.constant([0]))
        apply(gradients)
    end = losses()
    assert end["iou"] < 0.1 < start["iou"]
    assert end["material_mse"] < 0.3 * start["material_mse"]
