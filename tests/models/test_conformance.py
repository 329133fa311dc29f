"""What every layer and network has to do: be built, called, saved, restored, rounded, traced once, and refuse."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fedsim_tf.models
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.errors import InputError
from fedsim_tf.models.convolution3d import Doubling3D, SlicedConv3D
from fedsim_tf.models.discriminator import MultiScaleDiscriminator, PatchDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.generators import MaterialGenerator, ShapeGenerator
from fedsim_tf.models.interpolated_convolution import InterpolatedConvolution
from fedsim_tf.models.latents import LatentTable
from fedsim_tf.models.precision import use_precision
from fedsim_tf.models.raised_convolution import RaisedConvolution
from fedsim_tf.models.spade import Spade, SpadeResidualBlock
from fedsim_tf.models.spectral_norm import SpectralConv2D
from fedsim_tf.models.unet3d import DoubleConvolution, UNet3D
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.models.volume_enhancer import VolumeEnhancer
from fedsim_tf.models.volume_norm import VolumeNorm
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from tests.training.toy_site import toy_shape_model

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer or network.

    Attributes:
      make: makes it from a seed.
      sizes: the shapes of its inputs, one tuple of shapes for each size that it is called on.
      illegal: what it has to refuse, with the beginning of the message.
      is_saved: whether it has weights that a checkpoint keeps.
    """

    make: Callable[[int], Any]
    sizes: tuple[tuple[Shape, ...], ...]
    illegal: tuple[tuple[Callable[[], Any], str], ...] = ()
    is_saved: bool = True


def make_double(seed):
    return DoubleConvolution(SlicedConv3D(2, seed=seed, name="a"), SlicedConv3D(3, seed=seed + 1, name="b"))


def make_decoder(seed):
    return ShapeDecoder(toy_shape_model(), Grid.centred((8, 8, 8), (256.0, 256.0, 256.0)))


def make_simulator(seed):
    return CTSimulator((8, 8, 8), (4.0, 4.0, 4.0), n_views=6)


CASES = {
    "SpectralConv2D": Case(
        lambda seed: SpectralConv2D(3, 3, seed=seed),
        (((1, 6, 6, 2),), ((2, 8, 5, 2),)),
        (
            (lambda: SpectralConv2D(0, 3, seed=0), "filters: found 0"),
            (lambda: SpectralConv2D(3, 0, seed=0), "size: found 0"),
            (lambda: SpectralConv2D(3, 3, seed=0.5), "seed: found 0.5"),
        ),
    ),
    "Spade": Case(
        lambda seed: Spade(seed=seed),
        (((2, 4, 4, 3), (2, 8, 8, 3)), ((1, 8, 8, 3), (1, 8, 8, 3))),
        ((lambda: Spade(seed=None), "seed: found None"),),
    ),
    "SpadeResidualBlock": Case(
        lambda seed: SpadeResidualBlock(4, seed=seed),
        (((2, 4, 4, 3), (2, 8, 8, 3)), ((1, 8, 8, 3), (1, 8, 8, 3))),
        ((lambda: SpadeResidualBlock(-1, seed=0), "filters: found -1"),),
    ),
    "GauGANGenerator": Case(
        lambda seed: GauGANGenerator(32, 2, seed=seed),
        (((1, 32, 32, 3),), ((2, 32, 32, 3),)),
        (
            (lambda: GauGANGenerator(48, 2, seed=0), "size: found 48"),
            (lambda: GauGANGenerator(32, 0, seed=0), "width: found 0"),
            (lambda: GauGANGenerator(32, 2, seed="one"), "seed: found 'one'"),
        ),
    ),
    "PatchDiscriminator": Case(
        lambda seed: PatchDiscriminator(2, seed=seed),
        (((1, 32, 32, 4),), ((2, 24, 40, 4),)),
        ((lambda: PatchDiscriminator(0, seed=0), "width: found 0"),),
    ),
    "MultiScaleDiscriminator": Case(
        lambda seed: MultiScaleDiscriminator(2, seed=seed),
        (((1, 32, 32, 4),), ((2, 40, 40, 4),)),
        (
            (lambda: MultiScaleDiscriminator(2.5, seed=0), "width: found 2.5"),
            (lambda: MultiScaleDiscriminator(2, 0, seed=0), "scales: found 0"),
        ),
    ),
    "SlicedConv3D": Case(
        lambda seed: SlicedConv3D(3, seed=seed),
        (((1, 4, 4, 4, 2),), ((2, 3, 5, 6, 2),)),
        ((lambda: SlicedConv3D(0, seed=0), "filters: found 0"),),
    ),
    "Doubling3D": Case(
        lambda seed: Doubling3D(3, seed=seed),
        (((1, 2, 2, 2, 4),), ((2, 1, 3, 2, 4),)),
        ((lambda: Doubling3D(0, seed=0), "filters: found 0"),),
    ),
    "RaisedConvolution": Case(
        lambda seed: RaisedConvolution(2, 4, seed=seed),
        (((1, 4, 4, 4, 2), (1, 2, 2, 2, 3)), ((1, 16, 16, 16, 2), (1, 8, 8, 8, 3))),
        (
            (lambda: RaisedConvolution(0, 4, seed=0), "filters: found 0"),
            (lambda: RaisedConvolution(2, 0, seed=0), "up_filters: found 0"),
        ),
    ),
    "InterpolatedConvolution": Case(
        lambda seed: InterpolatedConvolution(2, seed=seed),
        (((1, 4, 4, 4, 2), (1, 2, 2, 2, 3)), ((2, 16, 8, 8, 2), (2, 8, 4, 4, 3))),
        ((lambda: InterpolatedConvolution(0, seed=0), "filters: found 0"),),
    ),
    "DoubleConvolution": Case(make_double, (((1, 4, 4, 4, 1),), ((2, 2, 4, 6, 1),))),
    "UNet3D": Case(
        lambda seed: UNet3D(2, seed=seed),
        (((1, 8, 8, 8, 1),), ((2, 16, 8, 8, 1),)),
        ((lambda: UNet3D(0, seed=0), "width: found 0"),),
    ),
    "ShapeGenerator": Case(
        lambda seed: ShapeGenerator(2, latent_dim=3, width=4, seed=seed),
        (((1, 3),), ((4, 3),)),
        (
            (lambda: ShapeGenerator(0, seed=0), "n_modes: found 0"),
            (lambda: ShapeGenerator(2, latent_dim=0, seed=0), "latent_dim: found 0"),
            (lambda: ShapeGenerator(2, width=0, seed=0), "width: found 0"),
        ),
    ),
    "MaterialGenerator": Case(
        lambda seed: MaterialGenerator(8, latent_dim=3, width=2, seed=seed),
        (((1, 3),), ((4, 3),)),
        (
            *(
                (
                    lambda size=size: MaterialGenerator(size, seed=0),
                    f"size: found {size}; expected 4 times",
                )
                for size in (2, 6, 12, 48, 100)
            ),
            (lambda: MaterialGenerator(16, latent_dim=0, seed=0), "latent_dim: found 0"),
            (lambda: MaterialGenerator(16, width=0, seed=0), "width: found 0"),
            (lambda: MaterialGenerator(16, mu_initial_per_mm=0.0, seed=0), "mu_initial_per_mm: found 0.0"),
        ),
    ),
    "VolumeEnhancer": Case(
        lambda seed: VolumeEnhancer(2, seed=seed),
        (((1, 8, 8, 8, 2),), ((2, 16, 8, 8, 2),)),
        (
            (lambda: VolumeEnhancer(0, seed=0), "width: found 0"),
            (lambda: VolumeEnhancer(2, seed=0.5), "seed: found 0.5"),
        ),
    ),
    "VolumeNorm": Case(
        lambda seed: VolumeNorm(gamma_initializer=tf.keras.initializers.RandomUniform(seed=seed)),
        (((1, 4, 4, 4, 2),), ((2, 3, 4, 5, 2),)),
    ),
    "CTSimulator": Case(
        make_simulator,
        (((1, 8, 8, 8),), ((2, 8, 8, 8),)),
        (
            (lambda: CTSimulator((8, 8, 0), (4.0, 4.0, 4.0)), "shape: found"),
            (lambda: CTSimulator((8, 8, 8), (4.0, 4.0)), "spacing_mm: found"),
            (lambda: CTSimulator((8, 8, 8), (4.0, 4.0, 4.0), n_views=0), "n_views: found 0"),
            (lambda: CTSimulator((8, 8, 8), (4.0, 4.0, 4.0), energy_kev=0.0), "energy_kev: found 0.0"),
            (lambda: CTSimulator((8, 8, 8), (4.0, 4.0, 4.0), effects={"photons": -1.0}), "photons: found -1.0"),
            (lambda: CTSimulator((8, 8, 8), (4.0, 4.0, 4.0), effects={"fog": 1.0}), "effects: found fog"),
        ),
        is_saved=False,
    ),
    "ShapeDecoder": Case(
        make_decoder,
        (((1, 11),), ((2, 11),)),
        (
            (lambda: ShapeDecoder(toy_shape_model(), make_decoder(0).grid, "none"), "gradient: found 'none'"),
            (lambda: ShapeDecoder(toy_shape_model(), make_decoder(0).grid, labels="none"), "labels: found 'none'"),
            (lambda: ShapeDecoder(toy_shape_model(), make_decoder(0).grid, step_voxels=0.0), "step_voxels: found 0.0"),
        ),
        is_saved=False,
    ),
}
ILLEGAL = [(name, *refused) for name, case in CASES.items() for refused in case.illegal]
ILLEGAL += [
    ("LatentTable", lambda: LatentTable(2, 0, seed=0), "dim: found 0"),
    ("LatentTable", lambda: LatentTable(-1, 3, seed=0), "count: found -1"),
    ("VGG19Features", lambda: VGG19Features("random", dtype="float16"), "dtype: found 'float16'"),
]


def make_inputs(shapes):
    """Values around a tenth, which are right for attenuation and shape parameters as well."""
    rng = np.random.default_rng(sum(map(sum, shapes)))
    arrays = [tf.constant(0.1 + 0.02 * rng.standard_normal(shape), tf.float32) for shape in shapes]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def outputs_of(module, inputs):
    return [maps.numpy() for maps in tf.nest.flatten(module(inputs))]


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_it_is_called_on_all_sizes_with_the_same_weights(case):
    module, counts = case.make(0), []
    for shapes in case.sizes:
        for maps in outputs_of(module, make_inputs(shapes)):
            assert np.isfinite(maps).all()
            assert np.ptp(maps) > 0
            assert maps.shape[0] == shapes[0][0]
        counts.append(len(getattr(module, "variables", ())))
    assert counts[0] == counts[-1] > (0 if case.is_saved else -1)


def test_it_is_traced_once_for_a_shape_and_gives_the_same_values(case):
    module, inputs = case.make(0), make_inputs(case.sizes[0])
    expected = outputs_of(module, inputs)
    traced = tf.function(module, autograph=False)
    traced(tf.nest.map_structure(tf.zeros_like, inputs))
    for found, maps in zip(outputs_of(traced, inputs), expected, strict=True):
        np.testing.assert_allclose(found, maps, atol=1e-5 * np.abs(maps).max())
    assert traced.experimental_get_tracing_count() == 1


def test_it_computes_under_a_mixed_policy_with_float32_variables(case):
    with use_precision("bfloat16"):
        module, inputs = case.make(0), make_inputs(case.sizes[0])
        found = tf.nest.flatten(module(inputs))
    assert {variable.dtype for variable in getattr(module, "variables", ())} <= {tf.float32}
    for maps in found:
        assert np.isfinite(tf.cast(maps, tf.float32)).all()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_saved])
def test_its_weights_are_saved_and_restored(name, tmp_path):
    case = CASES[name]
    (first, second), inputs = (case.make(seed) for seed in (1, 2)), make_inputs(case.sizes[0])
    expected, other = outputs_of(first, inputs), outputs_of(second, inputs)
    assert not all(np.array_equal(*pair) for pair in zip(expected, other, strict=True))
    tf.train.Checkpoint(module=first).write(str(tmp_path / "weights"))
    tf.train.Checkpoint(module=second).read(str(tmp_path / "weights")).assert_consumed()
    for found, maps in zip(outputs_of(second, inputs), expected, strict=True):
        np.testing.assert_array_equal(found, maps)


@pytest.mark.parametrize(("name", "make", "message"), ILLEGAL, ids=[f"{name}-{text}" for name, _, text in ILLEGAL])
def test_illegal_arguments_are_refused_by_name(name, make, message):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(message)


def test_every_layer_and_network_is_in_the_table():
    """Layers that a later module of models brings have to be added here."""
    kinds = {
        kind.__name__
        for module in pkgutil.iter_modules(fedsim_tf.models.__path__)
        for kind in vars(importlib.import_module(f"fedsim_tf.models.{module.name}")).values()
        if isinstance(kind, type) and issubclass(kind, tf.keras.layers.Layer) and "fedsim_tf" in kind.__module__
    }
    assert kinds - {"Network"} <= set(CASES)
