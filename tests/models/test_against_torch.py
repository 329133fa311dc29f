"""Networks, losses and gradients against PyTorch's."""

import numpy as np
import pytest
import tensorflow as tf

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

from tests.oracles import ours, peers, seeded, torch_losses  # noqa: E402
from tests.oracles.torch_gan import VGG19, Discriminator, Generator  # noqa: E402
from tests.oracles.torch_unet import UNet3D  # noqa: E402
from tests.oracles.torch_weights import load, load_vgg, to_numpy, to_torch  # noqa: E402

torch.set_num_threads(1)  # waiting threads would take what cores there are from TensorFlow


def assert_close(found, expected, *, relative=1e-4, name=""):
    """Differences are small beside the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, name
    assert np.abs(found - expected).max() <= relative * max(np.abs(expected).max(), 1e-6), name


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.fixture(scope="module")
def vgg():
    peer = VGG19()
    load_vgg(ours.vgg(), peer)
    return peer


@pytest.fixture
def generators():
    found, peer = ours.generator(), Generator(seeded.GAN_SIZE, seeded.GAN_WIDTH)
    return found, peer, load(found, peer, seeded.generator_layers())


@pytest.fixture
def discriminators():
    found, peer = ours.discriminator(), Discriminator(seeded.GAN_WIDTH)
    return found, peer, load(found, peer, seeded.discriminator_layers())


@pytest.fixture
def unets():
    found, peer = ours.unet(), peers.unet()
    return found, peer, load(found, peer, seeded.unet_layers())


def test_published_networks_have_as_many_parameters():
    with torch.device("meta"):
        assert parameters(Generator()) == 92_058_433
        assert parameters(Discriminator()) == 5_529_730
        assert parameters(UNet3D()) == 19_073_665


@pytest.mark.parametrize("pair", ["generators", "discriminators", "unets"])
def test_every_parameter_has_its_counterpart(pair, request):
    found, peer, links = request.getfixturevalue(pair)
    assert {id(link.variable) for link in links if link.is_trained} == {id(v) for v in found.trainable_variables}
    assert {id(link.tensor) for link in links if link.is_trained} == {id(p) for p in peer.parameters()}
    assert {id(link.variable) for link in links if not link.is_trained} == {
        id(v) for v in found.non_trainable_variables
    }


@pytest.mark.parametrize(("size", "training"), [(32, True), (64, False)])
def test_generator(size, training):
    images = np.random.default_rng(5).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    found, peer = ours.GauGANGenerator(size, 4, seed=0), Generator(size, 4).train(training)
    found(images)
    seeded.fill(found, seeded.generator_layers(), seed=6)
    links = load(found, peer, seeded.generator_layers())
    image = found(images, training=training)
    assert np.std(image) > 0.1
    assert_close(image, to_numpy(peer(to_torch(images))), relative=1e-3)
    for link in links:  # moving statistics and the vectors of the power iterations
        assert_close(link.variable, link.as_variable(link.tensor), name=link.name)


@pytest.mark.parametrize("training", [True, False])
def test_discriminator(discriminators, rng, training):
    found, peer, links = discriminators
    images = rng.uniform(-1, 1, (3, seeded.GAN_SIZE, seeded.GAN_SIZE, 4)).astype(np.float32)
    expected = peer.train(training)(to_torch(images))
    for scale, peers_scale in zip(found(images, training=training), expected, strict=True):
        for maps, peers_maps in zip(scale, peers_scale, strict=True):
            assert_close(maps, to_numpy(peers_maps))
    for link in links:
        assert_close(link.variable, link.as_variable(link.tensor), name=link.name)


def test_discriminators_maps_at_128_pixels():
    maps = Discriminator(2)(torch.zeros(1, 4, 128, 128))
    assert [[level.shape[2] for level in scale] for scale in maps] == [[65, 33, 17, 18, 19], [33, 17, 9, 10, 11]]


def test_vgg_features_and_their_gradient(vgg, rng):
    images = rng.uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)
    variable, tensor = tf.Variable(images), to_torch(images).requires_grad_()
    with tf.GradientTape() as tape:
        features = ours.vgg()(variable)
        total = tf.add_n([tf.reduce_mean(tf.square(maps)) for maps in features])
    expected = vgg(tensor)
    for maps, peers_maps in zip(features, expected, strict=True):
        assert_close(maps, to_numpy(peers_maps))
    torch.stack([maps.square().mean() for maps in expected]).sum().backward()
    assert_close(tape.gradient(total, variable), to_numpy(tensor.grad))


@pytest.mark.parametrize("training", [True, False])
def test_unet(unets, training):
    found, peer, links = unets
    logits = found(seeded.unet_inputs(0)[0], training=training)
    assert np.std(logits) > 0.1
    assert_close(logits, to_numpy(peer.train(training)(peers.unet_inputs(0)[0])))
    for link in links:
        assert_close(link.variable, link.as_variable(link.tensor), name=link.name)


def test_losses(rng):
    from fedsim_tf import losses

    sizes = ((9, 4), (5, 8), (3, 16), (4, 2), (6, 1))
    real, fake = (
        [[rng.normal(size=(2, n, n, c)).astype(np.float32) for n, c in sizes] for _ in range(2)] for _ in range(2)
    )
    peers = [[[to_torch(maps) for maps in scale] for scale in side] for side in (real, fake)]
    assert float(losses.hinge_discriminator_loss(real, fake)) == pytest.approx(
        float(torch_losses.hinge_discriminator_loss(*peers)), rel=1e-5
    )
    matching = float(torch_losses.feature_matching_loss(*peers))
    for learnt in (False, True):
        found = losses.feature_matching_loss(real, fake, condition_is_learnt=learnt)
        assert float(found) == pytest.approx(matching, rel=1e-5)
    assert float(losses.hinge_generator_loss(fake)) == pytest.approx(
        float(torch_losses.hinge_generator_loss(peers[1])), rel=1e-5
    )
    assert float(losses.perceptual_loss(fake[0], real[0])) == pytest.approx(
        float(torch_losses.perceptual_loss(peers[1][0], peers[0][0])), rel=1e-5
    )
    logits, labels = rng.normal(size=(2, 4, 4, 4, 1)).astype(np.float32), rng.integers(0, 2, (2, 4, 4, 4, 1))
    labels = labels.astype(np.float32)
    assert float(losses.segmentation_loss(logits, labels)) == pytest.approx(
        float(torch_losses.segmentation_loss(to_torch(logits), to_torch(labels))), rel=1e-5
    )


def assert_gradients_agree(links, found):
    largest = max(np.abs(found[link.name]).max() for link in links if link.is_trained)
    for link in links:
        if not link.is_trained:
            continue
        expected, name = link.as_variable(link.tensor.grad), link.name
        # A bias before a normalisation has no effect: its gradient is rounding alone.
        scale = max(np.abs(expected).max(), 1e-2 * largest)
        assert np.abs(found[name] - expected).max() <= 2e-3 * scale, name


def test_gan_losses_and_gradients(generators, discriminators, vgg):
    (enhancer, generator, generator_links), (found_one, discriminator, links) = generators, discriminators
    found = ours.gan_gradients(enhancer, found_one)
    losses = peers.gan_gradients(generator, discriminator, vgg)
    for name, loss in losses.items():
        assert found[name] == pytest.approx(loss, rel=1e-4), name
    assert_gradients_agree(generator_links, found)
    assert_gradients_agree(links, found)


def test_unet_loss_and_gradients(unets):
    network, peer, links = unets
    found, expected = ours.unet_gradients(network), peers.unet_gradients(peer)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert_gradients_agree(links, found)
