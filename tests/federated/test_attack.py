"""The server's attack on one round and on many: what it finds without noise, and how much noise stops it."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from fedsim_tf.errors import InputError
from fedsim_tf.federated.attack.ct_recovery import make_perceptual_slope, recover_cts
from fedsim_tf.federated.attack.latent_recovery import CONVERGED, recover_latents
from fedsim_tf.federated.attack.pooled_rounds import list_pools
from fedsim_tf.federated.attack.reconstruction import (
    KnownPatients,
    Reconstruction,
    compare_with_patients,
    correlate,
    load_shared_weights,
    measure_leakage,
    reconstruct_patients,
)
from fedsim_tf.federated.kept_rounds import KeptRound
from fedsim_tf.federated.privacy import privatize
from fedsim_tf.losses import material_losses, slice_features
from fedsim_tf.synthesis import downsample
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.training.toy_site import toy_config, toy_learner

USUAL_NOISE = {"bound": 1.0, "multiplier": 2.0}  # of docs/federated.md


def one_layer(rng, inputs, outputs):
    return rng.uniform(-1, 1, (inputs, outputs)) * np.sqrt(6 / (inputs + outputs)), 0.1 * rng.standard_normal(outputs)


def slope(values):
    """The derivative of swish, values * expit(values)."""
    return special.expit(values) * (1 + values * (1 - special.expit(values)))


def round_by_hand(batch, seed=0, of=None):
    """Latents of a batch, with weights and gradients of the shape network's first two layers by the chain rule.

    `of`: the rows of the batch that the gradients come from, all of them by default.
    """
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((batch, 64)).astype(np.float32)
    (first, first_bias), (second, second_bias), (last, _) = (
        one_layer(rng, *n) for n in ((64, 256), (256, 256), (256, 21))
    )
    before = z @ first + first_bias
    hidden = before * special.expit(before)
    upstream = rng.standard_normal((batch, 21))
    if of is not None:
        z, before, hidden, upstream = z[of], before[of], hidden[of], upstream[of]
    above = upstream @ last.T * slope(hidden @ second + second_bias)
    below = above @ second.T * slope(before)
    weights = {"shape/0": first, "shape/1": first_bias, "shape/2": second, "shape/3": second_bias}
    gradients = {"shape/0": z.T @ below, "shape/1": below.sum(0), "shape/2": hidden.T @ above, "shape/3": above.sum(0)}
    to_float32 = lambda arrays: {name: value.astype(np.float32) for name, value in arrays.items()}  # noqa: E731
    return z, to_float32(weights), to_float32(gradients)


def errors(found, true):
    """The relative error of the nearest recovered latent, for each true one."""
    return [min(np.linalg.norm(one - z) for one in found.latents) / np.linalg.norm(z) for z in true]


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 12])
def test_latents_are_read_off_gradients_that_were_written_down_by_hand(batch):
    z, weights, gradients = round_by_hand(batch)
    found = recover_latents(weights, gradients, batch)
    assert found.latents.shape == z.shape
    assert found.n_exact == batch
    assert max(errors(found, z)) < 1e-5


def test_a_batch_that_is_thought_too_small_hides_latents_and_one_too_large_does_not():
    """One direction too few: no point of the column spaces is a latent."""
    z, weights, gradients = round_by_hand(4)
    assert recover_latents(weights, gradients, 3).n_exact == 0
    found = recover_latents(weights, gradients, 6)
    assert found.n_exact == 4
    assert max(errors(found, z)) < 1e-5


def rounds_by_hand(count, *, patients, batch, noise):
    """Rounds with the same weights, of random batches, with the patients' latents."""
    rng = np.random.default_rng(0)
    z, weights, whole = round_by_hand(patients)
    kept = []
    for number in range(count):
        who = rng.choice(patients, size=batch, replace=False)
        gradients = round_by_hand(patients, of=who)[2]
        norm = float(np.sqrt(sum(np.sum(value**2) for value in gradients.values())))
        sent = privatize(gradients, bound=norm, multiplier=noise)
        kept.append(KeptRound("pretraining", number, weights, sent, tuple(map(str, who))))
    assert whole.keys() == kept[0].gradients.keys()
    return z, kept


def test_noise_that_hides_latents_in_a_round_averages_out_over_many():
    """Alone, no round at this noise gives any latent to within 100 %; the standard error of 400 is a twentieth."""
    z, kept = rounds_by_hand(400, patients=5, batch=2, noise=1e-2)
    alone = recover_latents(kept[-1].weights, kept[-1].gradients, 2)
    (*_, pool) = list_pools(kept, most_volumes=64)
    together = recover_latents(pool.mean.weights, pool.mean.gradients, len(pool.mean.batch))
    assert (pool.first, pool.mean.round, sorted(pool.mean.batch)) == (0, 399, list("01234"))
    assert max(errors(together, z)) < 0.1 < 3 * min(errors(alone, z))


def test_the_last_rounds_of_each_stage_are_pooled_unless_they_are_of_too_many_patients():
    _, kept = rounds_by_hand(20, patients=5, batch=2, noise=1e-2)
    other = [dataclasses.replace(one, stage="semi_supervised") for one in kept[:3]]
    pools = list_pools([*kept, *other], most_volumes=64)
    assert [(one.mean.stage, one.first, one.mean.round) for one in pools] == [
        *(("pretraining", first, 19) for first in (16, 4, 0)),
        ("semi_supervised", 0, 2),
    ]
    np.testing.assert_allclose(
        pools[0].mean.gradients["shape/1"], np.mean([one.gradients["shape/1"] for one in kept[16:]], axis=0), atol=1e-6
    )
    assert list_pools(kept[:1], most_volumes=64) == list_pools(kept, most_volumes=3) == []


@pytest.mark.parametrize("batch", [0, 65])
def test_impossible_batches_are_refused(batch):
    _, weights, gradients = round_by_hand(2)
    with pytest.raises(InputError, match=f"batch is {batch}; it must be 1 to 64"):
        recover_latents(weights, gradients, batch)


@pytest.fixture(scope="module")
def learner(small_gan):
    return toy_learner(toy_config(pretraining={"batch": 3}))


def answer(learner, stage, index):
    """The weights of a round, the gradients of a site's answer to it, and the batch's latents that never leave."""
    semi = isinstance(stage, SemiSupervised) and index % 2
    table, identities = (
        (learner.unlabelled_latents.table, learner.data.unlabelled.identities)
        if semi
        else (learner.labelled_latents.table, learner.data.labelled.identities)
    )
    before = dict(zip(identities, table.numpy().copy(), strict=True))
    weights = {
        name: variable.numpy() for name, variable in zip(learner.shared_names, learner.shared_variables, strict=True)
    }
    _, gradients = stage.shared_gradients(index, stage.seeds.rng(index))
    sent = {name: value.numpy() for name, value in zip(learner.shared_names, gradients, strict=True)}
    return weights, sent, np.array([before[identity] for identity in stage.list_batch(index)])


@pytest.mark.usefixtures("eagerly")
def test_a_round_of_pretraining_gives_the_latents_away_and_usual_noise_hides_them(learner):
    weights, gradients, z = answer(learner, GeneratorPretraining(learner), 0)
    assert len(z) == 3
    assert max(errors(recover_latents(weights, gradients, 3), z)) < 1e-4
    noisy = recover_latents(weights, privatize(gradients, **USUAL_NOISE), 3)
    assert noisy.n_exact == 0
    assert min(errors(noisy, z)) > 0.5
    clipped = recover_latents(weights, privatize(gradients, bound=1e-3, multiplier=0.0), 3)
    assert max(errors(clipped, z)) < 1e-4  # a clipped gradient is as telling as a long one


def test_the_very_first_round_gives_coarse_cts_away_of_which_networks_and_latents_know_nothing_yet(learner):
    """Latents are random draws, and the simulated CTs are those of an even block."""
    weights, gradients, z = answer(learner, GeneratorPretraining(learner), 0)
    load_shared_weights(learner.model, weights)
    slope = make_perceptual_slope(learner.vgg, weight=learner.config.pretraining.perceptual_weight)
    roughly = {"perceptual": slope, "iterations": 15}
    true = downsample(learner.data.labelled.images, learner.model.coarse_size)
    nearest = lambda cts: [max(range(len(true)), key=lambda k: correlate(ct, true[k])) for ct in cts]  # noqa: E731
    found = recover_cts(learner.model, gradients, recover_latents(weights, gradients, 3).latents, **roughly)
    assert sorted(nearest(found)) == [0, 1, 2]  # one each of the batch's, which are all annotated ones
    assert min(correlate(ct, true[k]) for ct, k in zip(found, nearest(found), strict=True)) > 0.9  # 0.98 after 50
    simulated = reconstruct_patients(learner.model, z).coarse
    assert max(correlate(ct, one) for ct in simulated for one in true) < 0.3
    # Not even with the true latents.
    noisy = recover_cts(learner.model, privatize(gradients, **USUAL_NOISE), z, **roughly)
    assert max(correlate(ct, one) for ct in noisy for one in true) < 0.3


def test_the_slope_of_the_perceptual_loss_is_that_of_the_stage(learner, rng):
    """By differences in the direction of the slope itself."""
    weight = learner.config.pretraining.perceptual_weight
    simulated, true = rng.uniform(-1, 1, (2, 1, 16, 16, 16)).astype(np.float32)
    found = make_perceptual_slope(learner.vgg, weight=weight)(simulated, true)
    direction = found / np.linalg.norm(found)

    def loss(step):
        moved = tf.constant(simulated + step * direction)
        return weight * material_losses(learner.vgg, moved, true, slice_features(learner.vgg, tf.constant(true)))[1]

    assert float(loss(1e-2) - loss(-1e-2)) / 2e-2 == pytest.approx(np.linalg.norm(found), rel=0.02)


@pytest.mark.usefixtures("eagerly")
def test_a_round_of_the_last_stage_gives_unannotated_latents_away(learner):
    """Round 3 has two patients. In round 1 one of them was compared on a slice without the heart."""
    stage = SemiSupervised(learner)
    answer(learner, stage, 0)  # the unsupervised gradients are scaled to the length of supervised ones
    assert set(stage.list_batch(1)) <= set(learner.data.unlabelled.identities)
    for index, exact in ((1, 1), (3, 2)):
        weights, gradients, z = answer(learner, stage, index)
        found = recover_latents(weights, gradients, 2)
        assert found.n_exact == exact
        assert sorted(errors(found, z))[exact - 1] < 1e-4


@pytest.mark.usefixtures("eagerly")
def test_a_reconstruction_is_what_the_site_itself_generates(learner):
    """The attacker builds a model of its own from the weights that it has sent."""
    z = learner.labelled_latents.table.numpy()
    weights = {name: 1.01 * v.numpy() for name, v in zip(learner.shared_names, learner.shared_variables, strict=True)}
    other = toy_learner(toy_config(seed=5)).model
    load_shared_weights(other, weights)
    load_shared_weights(learner.model, weights)
    found = reconstruct_patients(other, z)
    np.testing.assert_allclose(found.coarse, np.clip(learner.model.coarse_ct(z), -1, 1), atol=1e-4)
    np.testing.assert_array_equal(found.labels, learner.model.hard_label(learner.model.labels(z)))
    with pytest.raises(InputError, match="shared weights: found others: shape/1; expected those of this configuration"):
        load_shared_weights(other, {**weights, "shape/1": np.zeros(3, np.float32)})


def test_a_site_knows_its_training_part(learner):
    known, data = KnownPatients.at_site(learner.data, learner.model), learner.data
    assert known.identities == data.labelled.identities + data.unlabelled.identities
    edge = data.labelled.images.shape[1] // learner.model.coarse_size
    blocks = data.labelled.images[0].reshape(*(learner.model.coarse_size, edge) * 3).mean((1, 3, 5))
    assert correlate(known.coarse[0], blocks) > 0.99
    assert set(known.hearts) == set(known.identities)
    assert 0 < known.mean_heart.mean() < 0.5


def known_patients(rng):
    hearts = rng.random((4, 6, 6, 6)) > 0.5
    coarse = rng.standard_normal((4, 7, 7, 7)).astype(np.float32)
    return KnownPatients("abcd", coarse, dict(zip("abc", hearts, strict=False)), hearts[0]), hearts


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_reconstructions_find_their_patients_in_whatever_order_they_come(order, rng):
    known, hearts = known_patients(rng)
    batch = [3, 1, 2]
    coarse = known.coarse[batch] + 0.3 * rng.standard_normal((3, 7, 7, 7))
    findings = compare_with_patients(
        Reconstruction(hearts[batch][list(order)].astype(np.uint8), coarse[list(order)]), "dbc", known
    )
    assert [finding.identity for finding in findings] == ["d", "b", "c"]
    assert [finding.number for finding in findings] == batch
    assert [order[finding.found] for finding in findings] == [0, 1, 2]
    assert [finding.rank for finding in findings] == [1, 1, 1]
    for finding, one in zip(findings, coarse, strict=True):
        true = known.coarse[finding.number]
        assert finding.correlation == pytest.approx(np.corrcoef(one.ravel(), true.ravel())[0, 1])
        others = np.mean([known.coarse[k] for k in range(4) if k != finding.number], axis=0)
        assert finding.correlation_of_mean == pytest.approx(np.corrcoef(others.ravel(), true.ravel())[0, 1], abs=1e-6)
    assert [finding.dice for finding in findings] == [None, 100.0, 100.0]
    assert findings[1].dice_of_mean == pytest.approx(
        200 * np.sum(hearts[0] & hearts[1]) / (hearts[0].sum() + hearts[1].sum())
    )


def test_a_reconstruction_that_resembles_others_more_has_a_later_rank(rng):
    known, hearts = known_patients(rng)
    mixed = 0.9 * known.coarse[0] + 0.5 * known.coarse[1] + 0.1 * known.coarse[2]
    (finding,) = compare_with_patients(Reconstruction(hearts[:1].astype(np.uint8), mixed[None]), "c", known)
    assert finding.rank == 3
    alone = dataclasses.replace(known, identities="c", coarse=known.coarse[2:3])
    (finding,) = compare_with_patients(Reconstruction(hearts[:1].astype(np.uint8), mixed[None]), "c", alone)
    assert (finding.rank, finding.correlation_of_mean) == (1, 0.0)


def test_leakage_is_the_gain_in_structural_similarity_over_the_prior():
    """Of even volumes a and b it is (2 a b + c) / (a^2 + b^2 + c), with c = (0.01 * 2)^2 (Wang et al. 2004)."""

    def even(grey):
        return np.full((16, 16, 16), grey, np.float32)

    def similarity(a, b):
        return (2 * a * b + 4e-4) / (a**2 + b**2 + 4e-4)

    prior = similarity(0.5, 0.2)
    assert measure_leakage(even(0.5), even(0.5), prior=even(0.2)) == pytest.approx((1 - prior) / prior, rel=1e-4)
    assert measure_leakage(even(0.2), even(0.5), prior=even(0.2)) == 0
    worse = (similarity(0.5, 0.1) - prior) / prior
    assert measure_leakage(even(0.1), even(0.5), prior=even(0.2)) == pytest.approx(worse, rel=1e-4)
    assert worse < 0


def test_exact_gradients_are_far_below_the_limit_that_tells_exact_latents():
    _, weights, gradients = round_by_hand(4)
    assert recover_latents(weights, gradients, 4).residuals.max() < 1e-2 * CONVERGED
