"""Against PyTorch's recorded results, where it need not be installed; `python -m tests.oracles.record` writes them."""

import numpy as np
import pytest

from tests.oracles import ours, recorded, seeded


@pytest.fixture(scope="module")
def expected():
    return recorded.read()


def chosen(expected, prefix):
    """The recorded numbers under a prefix, which their names lose."""
    found = {name[len(prefix) :]: value for name, value in expected.items() if name.startswith(prefix)}
    assert found
    return found


def assert_array(name, array, expected, *, error):
    """`error`: the norm of what an array may differ by."""
    product, norm = recorded.projection(name, array)
    assert product == pytest.approx(expected[0], abs=4 * error), name
    assert norm == pytest.approx(expected[1], abs=error), name


def assert_gradients(found, expected):
    largest = max(norm for _, norm in expected.values())
    for name, recorded_one in expected.items():
        assert_array(name, found[name], recorded_one, error=2e-3 * max(recorded_one[1], 1e-2 * largest))


def assert_losses(found, expected, *, relative):
    assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=relative, abs=relative)


def assert_weights(found, expected, rate):
    """After a step, which moves each weight by the rate, and where the gradient is next to nothing, either way."""
    for name, recorded_one in expected.items():
        kind = name.rsplit(".", 1)[1]
        if kind in ("kernel", "gamma", "beta"):
            error = 0.2 * rate * np.sqrt(found[name].size)
        else:
            error = 2 * rate * np.sqrt(found[name].size) + 1e-3 * recorded_one[1]
        assert_array(name, found[name], recorded_one, error=error)


def test_maps(expected):
    semantics, real = seeded.gan_inputs(0)
    pairs = np.concatenate([semantics, real[..., None]], axis=-1)
    maps = ours.discriminator()(pairs)
    arrays = {
        "image": ours.generator()(semantics),
        "logits of the U-Net": ours.unet()(seeded.unet_inputs(0)[0]),
        **{f"map {scale}.{level}": m for scale, levels in enumerate(maps) for level, m in enumerate(levels)},
        **{f"VGG {level}": m for level, m in enumerate(ours.vgg()(real[..., None]))},
    }
    for name, array in arrays.items():
        assert_array(name, array, expected[name], error=1e-3 * expected[name][1])


@pytest.mark.parametrize(("prefix", "channels"), seeded.SEMANTICS.items())
def test_gan_losses_and_gradients(expected, prefix, channels):
    found = ours.gan_gradients(ours.generator(channels), ours.discriminator(channels + 1), channels=channels)
    assert_losses(found, chosen(expected, f"{prefix}gan loss "), relative=1e-4)
    assert_gradients(found, chosen(expected, f"{prefix}gan gradient "))


def test_unet_loss_and_gradients(expected):
    found = ours.unet_gradients(ours.unet())
    assert_losses(found, chosen(expected, "unet loss "), relative=1e-4)
    assert_gradients(found, chosen(expected, "unet gradient "))


@pytest.mark.parametrize(("prefix", "channels"), seeded.SEMANTICS.items())
def test_gan_steps(expected, eagerly, prefix, channels):
    training = ours.GanTraining(channels)
    assert_losses(training.losses(0), chosen(expected, f"{prefix}gan 0 loss "), relative=1e-4)
    for network, layers, rate in (
        (training.enhancer, seeded.generator_layers(), 1e-4),
        (training.discriminator, seeded.discriminator_layers(), 4e-4),
    ):
        found, weights = ours.values(network, layers), chosen(expected, f"{prefix}gan weight ")
        assert_weights(found, {name: weights[name] for name in found}, rate)
    for step in range(1, recorded.STEPS):
        assert_losses(training.losses(step), chosen(expected, f"{prefix}gan {step} loss "), relative=1e-3)


def test_unet_steps(expected, eagerly):
    training = ours.SegmenterTraining()
    assert_losses(training.losses(0), chosen(expected, "unet 0 loss "), relative=1e-4)
    found = ours.values(training.network, seeded.unet_layers())
    assert_weights(found, chosen(expected, "unet weight "), ours.UNET_RATE)
    for step in range(1, recorded.STEPS):
        assert_losses(training.losses(step), chosen(expected, f"unet {step} loss "), relative=1e-3)


def test_record_is_what_torch_computes_now(expected):
    pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    from tests.oracles import record

    for name, found in record.maps().items():
        assert found == pytest.approx(expected[name], rel=1e-4), name
