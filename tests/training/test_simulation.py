"""The stages of section 2.2 at toy size."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.latents import LatentTable
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.randomness import step_rng
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.training.toy_site import toy_config, toy_learner

pytestmark = pytest.mark.usefixtures("small_gan")


def weights(learner):
    return {
        "shared": [v.numpy() for v in learner.shared_variables],
        "enhancer": [v.numpy() for v in learner.model.enhancer.variables],
        "discriminator": [v.numpy() for v in learner.discriminator.variables],
        "labelled": [learner.labelled_latents.table.numpy()],
        "unlabelled": [learner.unlabelled_latents.table.numpy()],
    }


def shared_gradients(stage, step):
    """A step as the loop does it: with the generator that belongs to it."""
    return stage.shared_gradients(step, stage.seeds.rng(step))


def changed(before, after):
    return {name for name in before if any(np.any(a != b) for a, b in zip(before[name], after[name], strict=True))}


@pytest.mark.usefixtures("eagerly")
def test_pretraining_moves_only_its_latents_and_hands_out_gradients():
    learner = toy_learner()
    stage = GeneratorPretraining(learner)
    before = weights(learner)
    losses, gradients = shared_gradients(stage, 0)
    assert set(losses) == {"iou", "material_mse", "material_perceptual"}
    assert changed(before, weights(learner)) == {"labelled"}
    assert [g.shape for g in gradients] == [v.shape for v in learner.shared_variables]
    assert all(np.any(g.numpy() != 0) for g in gradients[-2:])
    count = len(learner.model.shape_generator.trainable_variables)
    for name, part in (("shape", gradients[:count]), ("material", gradients[count:])):
        norm = np.linalg.norm(np.concatenate([g.numpy().ravel() for g in part]))
        np.testing.assert_allclose(stage.gradient_norms[name], norm, rtol=1e-4)
    assert stage.gradient_norms["latents"] > 0


@pytest.mark.usefixtures("eagerly")
def test_gan_pretraining_leaves_shape_and_material_alone():
    learner = toy_learner()
    before, stage = weights(learner), EnhancementPretraining(learner)
    losses = stage.step(0, stage.seeds.rng(0))
    assert changed(before, weights(learner)) == {"enhancer", "discriminator"}
    assert set(losses) == {"discriminator", "adversarial", "feature_matching", "vgg"}
    assert set(stage.gradient_norms) == {"enhancer", "discriminator"}


@pytest.mark.usefixtures("eagerly")
def test_semi_supervised_steps_take_turns_and_freeze_the_discriminator():
    learner = toy_learner()
    stage = SemiSupervised(learner)
    before = weights(learner)
    supervised, _ = shared_gradients(stage, 0)
    between = weights(learner)
    unsupervised, gradients = shared_gradients(stage, 1)
    after = weights(learner)
    assert all(name.startswith(("iou", "material", "labelled_")) for name in supervised)
    assert all(name.startswith("unlabelled_") for name in unsupervised)
    assert changed(before, between) == {"enhancer", "labelled"}
    assert changed(between, after) == {"enhancer", "unlabelled"}
    assert all(np.all(np.isfinite(g)) for g in gradients)
    shape = len(learner.model.shape_generator.trainable_variables)
    assert any(np.any(g.numpy() != 0) for g in gradients[:shape])  # through the voxelization
    assert any(np.any(g.numpy() != 0) for g in gradients[shape:])  # through the CT simulator


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("step", [0, 1], ids=["supervised", "unsupervised"])
def test_a_step_simulates_a_coarse_ct_once(monkeypatch, step):
    learner, simulated = toy_learner(), []
    stage, coarse_ct = SemiSupervised(learner), learner.model.coarse_ct
    monkeypatch.setattr(learner.model, "coarse_ct", lambda z: simulated.append(len(z)) or coarse_ct(z))
    shared_gradients(stage, step)
    assert simulated == [2]


@pytest.mark.usefixtures("eagerly")
def test_unsupervised_gradients_have_a_share_of_the_last_supervised_ones_length():
    learner = toy_learner(toy_config(semi={"unsupervised_weight": 0.25}))
    stage = SemiSupervised(learner)
    shape = len(learner.model.shape_generator.trainable_variables)
    for step in (0, 2):
        lengths = []
        for turn in (step, step + 1):
            _, gradients = shared_gradients(stage, turn)
            lengths.append([float(tf.linalg.global_norm(part)) for part in (gradients[:shape], gradients[shape:])])
        np.testing.assert_allclose(lengths[1], 0.25 * np.array(lengths[0]), rtol=1e-4)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("unsupervised", "turns"), [(0, "sssss"), (1, "susus"), (3, "suuus")])
def test_so_many_unsupervised_steps_follow_each_supervised_one(monkeypatch, unsupervised, turns):
    learner = toy_learner(toy_config(semi={"unsupervised_steps": unsupervised}))
    stage, taken = SemiSupervised(learner), []
    for name in ("supervised", "unsupervised"):
        step = lambda *_, name=name: taken.append(name[0]) or ({}, {}, [])  # noqa: E731
        monkeypatch.setattr(stage, f"_traced_{name}", step)
    for step in range(len(turns)):
        shared_gradients(stage, step)
    assert "".join(taken) == turns


@pytest.mark.usefixtures("eagerly")
def test_latents_stay_in_their_ball():
    """Half as long as a usual latent: some 64 standard normal numbers are all outside of it at first."""
    learner = toy_learner(toy_config(pretraining={"latent_ball": 0.5}))
    before = learner.labelled_latents.table.numpy()
    assert np.linalg.norm(before, axis=1).min() > 4.0
    shared_gradients(GeneratorPretraining(learner), 0)
    after = learner.labelled_latents.table.numpy()
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 4.0, rtol=1e-5)
    unseen = ~np.isin(np.arange(3), step_rng(0, "pretraining/toy", 0).choice(3, size=2, replace=False))
    np.testing.assert_allclose(after[unseen], before[unseen] * 4.0 / np.linalg.norm(before[unseen]), rtol=1e-5)


def test_the_ball_leaves_alone_what_is_inside():
    latents = LatentTable(2, 4, seed=0)
    latents.table.assign([[0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 0.0]])
    latents.project(0.0)
    latents.project(2.5)
    np.testing.assert_array_equal(latents.table, [[0, 0, 0, 0], [3, 0, 4, 0]])
    latents.project(1.0)
    np.testing.assert_allclose(latents.table, [[0, 0, 0, 0], [1.2, 0, 1.6, 0]], rtol=1e-6)


def test_every_stage_is_traced_once():
    """Also where there are fewer volumes than a batch takes: three annotated and two others."""
    learner = toy_learner(toy_config(pretraining={"batch": 4}, semi={"batch": 3}))
    gan, semi = EnhancementPretraining(learner), SemiSupervised(learner)
    for step in range(4):
        gan.step(step, gan.seeds.rng(step))
        shared_gradients(semi, step)
    for traced in (gan._traced, semi._traced_supervised, semi._traced_unsupervised):
        assert traced.experimental_get_tracing_count() == 1


def test_sites_start_from_latents_of_their_own_and_from_the_same_weights():
    """Shared networks could not tell apart volumes of two hospitals that have the same latent."""
    first, second = toy_learner(name="a"), toy_learner(name="b")
    for table in ("labelled_latents", "unlabelled_latents"):
        z = [getattr(learner, table).table.numpy() for learner in (first, second)]
        assert np.abs(z[0] - z[1]).min(axis=1).max() > 0
    assert not np.array_equal(first.labelled_latents.table[:2], first.unlabelled_latents.table)
    for mine, other in zip(first.shared_variables, second.shared_variables, strict=True):
        np.testing.assert_array_equal(mine, other)
    again = toy_learner(name="a")
    np.testing.assert_array_equal(again.labelled_latents.table, first.labelled_latents.table)


@pytest.mark.usefixtures("eagerly")
def test_what_a_process_made_before_changes_no_digit():
    shared = []
    for _ in range(2):
        stage = SemiSupervised(toy_learner())
        shared.append([tensor.numpy() for step in range(2) for tensor in shared_gradients(stage, step)[1]])
    for first, second in zip(*shared, strict=True):
        np.testing.assert_array_equal(first, second)


def test_photon_noise_belongs_to_the_latents():
    """Else a resumed run would draw other noise than an undisturbed one."""
    noisy, clean = (toy_learner(toy_config(model={"simulated_photons": n})).model for n in (1e4, 0.0))
    z = tf.random.stateless_normal((2, 64), seed=(0, 0))
    noise = [noisy.coarse_ct(z + shift).numpy() - clean.coarse_ct(z + shift).numpy() for shift in (0.0, 0.0, 1e-3)]
    assert np.std(noise[0]) > 1e-3
    np.testing.assert_array_equal(noise[0], noise[1])
    assert abs(np.corrcoef(noise[0].ravel(), noise[2].ravel())[0, 1]) < 0.1
