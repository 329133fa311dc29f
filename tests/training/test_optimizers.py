"""Adam's fused update against Keras's own, and the schedule."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.training.optimizers import ConstantThenLinear, adam


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.9)])
@pytest.mark.parametrize("traced", [False, True])
def test_dense_and_sparse_steps_are_those_of_keras(rng, betas, traced):
    start, table = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    steps = [rng.normal(size=start.shape).astype(np.float32) * 10.0**power for power in range(-4, 4)]
    rows = tf.constant([0, 2])

    def moved(make):
        variables = [tf.Variable(start), tf.Variable(table)]
        optimizer = make(variables)

        def step(gradient):
            sparse = tf.IndexedSlices(gradient[:2, :3], rows, (4, 3))
            optimizer.apply_gradients(zip([gradient, sparse], variables, strict=True))

        call = tf.function(step) if traced else step
        for gradient in steps:
            call(tf.constant(gradient))
        return [variable.numpy() for variable in variables]

    schedule = ConstantThenLinear(1e-2, 6)
    keras = tf.keras.optimizers.Adam(schedule, beta_1=betas[0], beta_2=betas[1], jit_compile=False)
    ours, theirs = moved(lambda variables: adam(1e-2, variables, steps=6, betas=betas)), moved(lambda _: keras)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    assert np.abs(ours[0] - start).max() > 1e-3


def test_a_constant_rate_for_half_of_the_steps_then_linear_to_zero():
    rates = [float(ConstantThenLinear(0.4, 8)(tf.constant(step))) for step in (0, 4, 6, 7, 8, 9)]
    np.testing.assert_allclose(rates, [0.4, 0.4, 0.2, 0.1, 0.0, 0.0], rtol=1e-6)
