"""Whole training steps against PyTorch's: losses, updated weights, moving statistics, power iterations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

from tests.oracles import ours, peers, seeded  # noqa: E402

torch.set_num_threads(1)  # waiting threads would take what cores there are from TensorFlow

STEPS = 3


def assert_weights_agree(links, before, network, layers, optimizer, *, rate, steps):
    """Every parameter has moved as PyTorch's has.

    Adam divides each gradient by its own size, so where the gradient is rounding error (a bias before a normalisation)
    or nearly cancels, the change is as large as elsewhere and its sign is chance: there, only its size can be compared.
    What that does to the other parameters grows with each step; some of them then differ.
    """
    after = ours.values(network, layers)
    sizes = {link.name: peers.gradient_size(link, optimizer) for link in links if link.is_trained}
    largest = max(size.max() for size in sizes.values())
    clear_parts, differences = [], []
    for link in links:
        expected, name = link.as_variable(link.tensor), link.name
        if not link.is_trained:
            np.testing.assert_allclose(after[name], expected, rtol=1e-3 * steps, atol=1e-3 * steps, err_msg=name)
            continue
        assert np.any(after[name] != before[name]), name
        difference = np.abs(after[name] - expected) / rate
        assert difference.max() < 2 * 3.2 * steps, name  # a step is at most rate / sqrt(1 - 0.9)
        clear = sizes[name] > max(0.03 * sizes[name].max(), 1e-4 * largest)
        if steps == 1:
            assert difference[clear].max(initial=0) < 0.05, name
        clear_parts.append(clear.ravel())
        differences.append(difference[clear])
    assert np.concatenate(clear_parts).mean() > 0.5
    assert np.quantile(np.concatenate(differences), 0.99) < 0.02 * steps


def assert_losses_agree(found, expected):
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        assert float(found[name]) == pytest.approx(loss, rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize("channels", seeded.SEMANTICS.values())
def test_gan(eagerly, channels):
    found = ours.GanTraining(channels)
    expected = peers.GanTraining(found.enhancer, found.discriminator, channels=channels)
    optimizers = expected.step.generator_optimizer, expected.step.discriminator_optimizer
    sides = [
        (expected.generator_links, found.enhancer, seeded.generator_layers(), optimizers[0], 1e-4),
        (expected.discriminator_links, found.discriminator, seeded.discriminator_layers(), optimizers[1], 4e-4),
    ]
    before = [ours.values(network, layers) for _, network, layers, _, _ in sides]
    for step in range(STEPS):
        assert_losses_agree(found.losses(step), expected.losses(step))
        for old, (links, network, layers, optimizer, rate) in zip(before, sides, strict=True):
            assert_weights_agree(links, old, network, layers, optimizer, rate=rate, steps=step + 1)


def test_unet():
    found = ours.SegmenterTraining()
    expected = peers.SegmenterTraining(found.network)
    before = ours.values(found.network, seeded.unet_layers())
    for step in range(STEPS):
        assert_losses_agree(found.losses(step), expected.losses(step))
        assert_weights_agree(
            expected.links,
            before,
            found.network,
            seeded.unet_layers(),
            expected.step.optimizer,
            rate=ours.UNET_RATE,
            steps=step + 1,
        )
