"""Every step hands out the gradient of its own loss: of each network and of the latents, by central differences.

A smooth ball stands in for the voxelized heart, whose differences are half a voxel wide and have tests of their own
(`tests/shape/test_decoder.py`); a loss as bent as these can be another one half a voxel on. In a step, gradients are
caught where they are applied, and what forward passes leave behind (batch norm's means, spectral norm's vectors) is put
back, so that nothing moves between two evaluations. Directions are random, as long as the weights are.
"""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.training.enhancement import EnhancementTrainer
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.oracles import seeded
from tests.training.toy_site import toy_config, toy_learner

BATCH, SLICES = tf.constant([0, 1]), tf.constant([16, 13])
GAN_LOSSES = ("adversarial", "feature_matching", "vgg")
ENHANCER_STEP = 3e-5
TOLERANCE = 5.0  # percent; what is left is rounding and the kinks of rectifiers and absolute differences
pytestmark = pytest.mark.usefixtures("eagerly")


class SmoothBall:
    """A ball with a soft edge in place of the heart: pose and modes move it, and its gradient is TensorFlow's own."""

    VOXELS, MM = 32, 4.0

    def __call__(self, tau):
        grid = tf.stack(tf.meshgrid(*[tf.range(float(self.VOXELS))] * 3, indexing="ij"), axis=-1)
        centre = 0.5 * self.VOXELS + tau[:, -4:-1] / self.MM + tau[:, 4:7]
        radius = 8.0 * tf.exp(tau[:, -1] + 0.1 * tf.reduce_sum(tau[:, :4], axis=1))
        distance = tf.norm(grid - centre[:, None, None, None], axis=-1)
        return tf.sigmoid((radius[:, None, None, None] - distance) / 1.5)


class Weights(NamedTuple):
    """Variables that one optimizer moves, and what a step says their gradients are."""

    variables: list
    gradients: list


@pytest.fixture(scope="module")
def learner():
    """A toy site whose networks have weights of a size at which every part of them matters."""
    one = toy_learner(toy_config(gan={"flip": False, "intensity": 0.0}))
    one.model.decoder = SmoothBall()
    seeded.fill(one.model.enhancer, seeded.generator_layers(), seed=1)
    seeded.fill(one.discriminator, seeded.discriminator_layers(), seed=2)
    rng = np.random.default_rng(0)
    for network, size in ((one.model.shape_generator, 0.02), (one.model.material_generator, 0.05)):
        network.last.kernel.assign(size * rng.standard_normal(network.last.kernel.shape))
    for layer in (*one.model.enhancer.submodules, *one.discriminator.submodules):
        if hasattr(layer, "u"):
            settle(layer)
    return one


def settle(layer):
    """Bring u to the largest singular vector, where sigma no longer depends on it: there the gradient is exact."""
    matrix = layer.kernel.numpy().reshape(-1, layer.filters)
    layer.u.assign(np.linalg.svd(matrix)[2][:1])


def catch(optimizer):
    """Let an optimizer keep the gradients that it is given instead of applying them."""
    kept = Weights([], [])

    def keep(pairs):
        gradients, kept.variables[:] = zip(*pairs, strict=True)
        kept.gradients[:] = map(tf.convert_to_tensor, gradients)

    optimizer.apply_gradients = keep
    return kept


def split_shared(learner, gradients):
    """Return the weights of theta_S and of theta_M."""
    variables, count = learner.shared_variables, len(learner.model.shape_generator.trainable_variables)
    return Weights(variables[:count], gradients[:count]), Weights(variables[count:], gradients[count:])


def put_back(networks, evaluate):
    """Return `evaluate` without what it does to moving means and to spectral norm's vectors."""
    memories = [variable for network in networks for variable in network.non_trainable_variables]

    def measured():
        before = [variable.numpy() for variable in memories]
        value = evaluate()
        for variable, kept in zip(memories, before, strict=True):
            variable.assign(kept)
        return value

    return measured


def check(weights, loss, *, seed, step=1e-3):
    """Compare gradients with the differences of a loss, in percent, along a random direction of all weights.

    Args:
      weights: variables and their gradients.
      loss: measures the loss; it takes nothing.
      seed: what the direction is drawn from. Along those that were chosen the loss changes well beyond rounding.
      step: how far to go, in units of the weights' own size. Some weights bend the loss much sooner than others.
    """
    rng = np.random.default_rng(seed)
    before = [variable.numpy() for variable in weights.variables]
    direction = [np.sqrt(np.mean(np.square(v)) + 1e-12) * rng.standard_normal(v.shape) for v in before]
    expected = sum(float(np.vdot(part, g)) for part, g in zip(direction, weights.gradients, strict=True))
    values = []
    for sign in (1.0, -1.0):
        for variable, part in zip(weights.variables, direction, strict=True):
            variable.assign_add(sign * step * part)
        values.append(float(loss()))
        for variable, value in zip(weights.variables, before, strict=True):
            variable.assign(value)
    found = (values[0] - values[1]) / (2.0 * step)
    assert 100.0 * found / expected == pytest.approx(100.0, abs=TOLERANCE)


def test_generator_pretraining(learner):
    stage = GeneratorPretraining(learner)
    latents = catch(stage.optimizer)
    shape, material = split_shared(learner, stage._gradients(BATCH)[2])
    loss = lambda: sum(map(float, stage.losses(BATCH).values()))  # noqa: E731
    check(shape, loss, seed=0)
    check(material, loss, seed=1)
    check(latents, loss, seed=2, step=1e-2)


def test_gan_pretraining(learner):
    """The discriminator's loss takes the slices as given. Its step is left out here, so that both see the same one."""
    trainer = EnhancementTrainer(learner.model.enhancer, learner.discriminator, learner.vgg, learner.config.gan)
    generator, discriminator = catch(trainer._generator_optimizer), catch(trainer._discriminator_optimizer)
    networks = learner.model.enhancer, learner.discriminator
    semantics = tf.random.stateless_uniform((2, 32, 32, 3), (0, 0), -1.0, 1.0)
    real = tf.constant(learner.data.labelled.images[:2, 16])

    def update(names):
        losses, _ = trainer.update(semantics, real, tf.zeros(2, tf.int32))
        return tf.add_n([losses[name] for name in names])

    of_both = [put_back(networks, lambda names=names: update(names)) for names in (GAN_LOSSES, ("discriminator",))]
    of_both[0]()
    generator, discriminator = (Weights(list(one.variables), list(one.gradients)) for one in (generator, discriminator))
    check(generator, of_both[0], seed=0, step=ENHANCER_STEP)
    check(discriminator, of_both[1], seed=7, step=3e-4)


class Step:
    """A step of the last stage: the gradients that it applies and hands out, and its losses afterwards.

    Args:
      learner: the site.
      monkeypatch: pytest's.
      kind: "supervised" or "unsupervised".
    """

    def __init__(self, learner, monkeypatch, kind):
        stage = SemiSupervised(learner)
        monkeypatch.setattr(learner, "scale_shared", lambda shared, **_: shared)
        latents = {name: catch(getattr(stage, f"{name}_optimizer")) for name in ("labelled", "unlabelled")}
        self.enhancer = catch(stage.generator_optimizer)
        self._networks = (learner.model.enhancer,)
        self._take = lambda: getattr(stage, f"_{kind}_gradients")(BATCH, SLICES)
        _, _, shared = put_back(self._networks, self._take)()
        self.shape, self.material = split_shared(learner, shared)
        self.latents = latents["labelled" if kind == "supervised" else "unlabelled"]
        no_gradients = dict.fromkeys(("shape", "material"), tf.constant(1.0)), []
        monkeypatch.setattr(stage, "_apply_own", lambda *_: no_gradients)

    def loss(self, leave_out="nothing"):
        """Return a function that measures the sum of the losses whose names do not begin with a word."""

        def measured():
            return tf.add_n([value for name, value in self._take()[0].items() if not name.startswith(leave_out)])

        return put_back(self._networks, measured)


def test_supervised_step(learner, monkeypatch):
    """The GAN's losses take the material as given: they move the enhancement network alone."""
    step = Step(learner, monkeypatch, "supervised")
    generated = step.loss(leave_out="labelled_")
    check(step.shape, generated, seed=0)
    check(step.material, generated, seed=1)
    check(step.latents, generated, seed=2, step=1e-2)
    check(step.enhancer, step.loss(), seed=3, step=ENHANCER_STEP)


def test_unsupervised_step(learner, monkeypatch):
    """Label and coarse CT are being learnt, and stand in the discriminator's maps of the real slice too."""
    step = Step(learner, monkeypatch, "unsupervised")
    loss = step.loss()
    check(step.shape, loss, seed=3)
    check(step.material, loss, seed=1)
    check(step.latents, loss, seed=0)
    check(step.enhancer, loss, seed=4, step=ENHANCER_STEP)
