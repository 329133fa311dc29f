"""Initial values and names are functions of a network's seed and kind, and nothing global is seeded or drawn from."""

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.models.discriminator import MultiScaleDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.generators import MaterialGenerator, ShapeGenerator
from fedsim_tf.models.initializers import derive_seed
from fedsim_tf.models.unet3d import UNet3D

NETWORKS = {
    "shape": (lambda seed: ShapeGenerator(2, latent_dim=3, width=8, seed=seed), (1, 3)),
    "material": (lambda seed: MaterialGenerator(8, latent_dim=3, width=4, seed=seed), (1, 3)),
    "generator": (lambda seed: GauGANGenerator(32, 2, seed=seed), (1, 32, 32, 3)),
    "discriminator": (lambda seed: MultiScaleDiscriminator(4, seed=seed), (1, 32, 32, 4)),
    "unet": (lambda seed: UNet3D(2, seed=seed), (1, 8, 8, 8, 1)),
}


def make(name, seed=0):
    """A network with its variables."""
    build, shape = NETWORKS[name]
    network = build(seed)
    network(tf.zeros(shape))
    return network


def digest(network):
    """Of all initial values."""
    return hashlib.sha256(b"".join(value.tobytes() for value in network.get_weights())).hexdigest()


def names(network):
    layers = [layer.name for layer in network.submodules if isinstance(layer, tf.keras.layers.Layer)]
    return [network.name, *layers, *(variable.name for variable in network.variables)]


def random_values(network):
    """Variables that start from random numbers, by name; others are constant at first."""
    return [v.numpy() for v in network.variables if np.ptp(v.numpy()) > 0]


@pytest.fixture(scope="module")
def networks():
    return {name: make(name) for name in NETWORKS}


def test_values_and_names_depend_on_the_seed_alone(networks):
    for name in reversed(NETWORKS):  # another order, in a process that has made others
        again, other = make(name), make(name, seed=1)
        assert digest(again) == digest(networks[name]) != digest(other)
        assert names(again) == names(networks[name]) == names(other)


def test_another_process_makes_the_same_values_in_another_order(networks):
    order = list(reversed(NETWORKS))
    code = (
        "import tensorflow as tf; tf.keras.layers.Dense(3)(tf.zeros((1, 2))); "
        "from tests.models import test_initial_values as t; "
        f"print(*(t.digest(t.make(name)) for name in {order}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.split() == [digest(networks[name]) for name in order]


def test_no_two_variables_share_their_numbers(networks):
    """Whatever their scale: correlations of the first values are those of independent draws."""
    values = [np.ravel(value)[:16] for network in networks.values() for value in random_values(network)]
    values = np.array([value for value in values if len(value) == 16])
    correlations = np.abs(np.corrcoef(values)) - np.eye(len(values))
    assert len(values) > 60
    assert correlations.max() < 0.97


def test_every_kernel_and_vector_of_a_power_iteration_is_random(networks):
    for network in networks.values():
        random_names = {v.name for v in network.variables if np.ptp(v.numpy()) > 0}
        assert random_names >= {v.name for v in network.variables if v.name.rsplit("/", 1)[1] in ("kernel:0", "u:0")}


def test_building_and_a_step_leave_all_global_generators_alone():
    def draws():
        """What the global generators of TensorFlow and Keras give from here on."""
        return [*tf.random.uniform((3,)).numpy(), *tf.keras.initializers.GlorotUniform()((3, 3)).numpy().ravel()]

    tf.keras.utils.set_random_seed(5)
    tf.random.uniform(())
    expected = draws()
    tf.keras.utils.set_random_seed(5)
    tf.random.uniform(())
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    for name in NETWORKS:
        network, inputs = make(name), tf.ones(NETWORKS[name][1])
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.square(maps)) for maps in tf.nest.flatten(network(inputs))])
        gradients = tape.gradient(loss, network.trainable_variables)
        tf.keras.optimizers.Adam(0.1).apply_gradients(
            (g, v) for g, v in zip(gradients, network.trainable_variables, strict=True) if g is not None
        )
    assert random.getstate() == before[0]
    for now, then in zip(np.random.get_state(), before[1], strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(now, then)
    assert draws() == expected


def test_seeds_of_parts_follow_seed_and_path():
    assert derive_seed(3, "a", "b") == derive_seed(3, "a", "b")
    found = {derive_seed(seed, *path) for seed in range(50) for path in (("a",), ("b",), ("a", "b"), ("a", "c"))}
    assert len(found) == 200
    assert all(0 <= seed < 2**31 for seed in found)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [None, 0.5, True, "0"])
def test_a_seed_is_a_whole_number(name, seed):
    with pytest.raises(InputError, match="seed: found"):
        NETWORKS[name][0](seed)
