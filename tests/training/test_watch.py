"""What is shown in TensorBoard, read back with TensorBoard's own reader."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedsim_tf.models.spectral_norm import SpectralConv2D
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.simulation import pretrain, semi_supervise
from fedsim_tf.training.volumes import UnlabelledVolumes
from fedsim_tf.training.watch import Board, montage, norms, spectral_norms
from tests.training.toy_site import toy_config, toy_learner

pytestmark = pytest.mark.usefixtures("small_gan")


def shown(folder):
    """(tag to [(step, value)], tags of pictures, tags of histograms)."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in events.Tags()["tensors"]}
    scalars = {
        tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
        for tag, kind in tags.items()
        if kind == "scalars"
    }
    pictures, histograms = ({tag for tag, found in tags.items() if found == kind} for kind in ("images", "histograms"))
    return scalars, pictures, histograms


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tf.config.run_functions_eagerly(True)
    try:
        run = RunFolder(tmp_path_factory.mktemp("watched"), toy_config())
        learner = toy_learner()
        semi_supervise(run, learner, pretrain(run, learner))
        return run
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("stage", "steps", "networks", "rates"),
    [
        ("pretraining", 4, {"shape", "material", "latents"}, {"latents": 5e-2, "shared": 2e-3 / 2}),
        ("gan", 3, {"enhancer", "discriminator"}, {"enhancer": 8e-4 * 2 / 3, "discriminator": 1.6e-3 * 2 / 3}),
        (
            "semi_supervised",
            4,
            {"shape", "material", "latents", "enhancer"},
            {"latents": 5e-2, "enhancer": 2e-5 / 2, "shared": 1e-4 / 2},
        ),
    ],
)
def test_every_stage_shows_losses_and_norms_of_each_step_and_rates_at_checkpoints(run, stage, steps, networks, rates):
    scalars, pictures, histograms = shown(run.tensorboard(stage))
    losses = {name for _, name, _ in read(run.losses(stage))}
    assert set(scalars) >= losses
    assert not any("norm" in name or "rate" in name for name in losses)
    for step, name, value in read(run.losses(stage)):
        assert dict(scalars[name])[step] == pytest.approx(value, rel=1e-6)
    assert {tag.removeprefix("gradient_norm/") for tag in scalars if tag.startswith("gradient_norm/")} == networks
    assert {tag.removeprefix("rate/") for tag in scalars if tag.startswith("rate/")} == set(rates)
    for name, rate in rates.items():
        assert scalars[f"rate/{name}"][-1] == (steps, pytest.approx(rate))
    spectral = {tag for tag in scalars if tag.startswith("spectral_norm/")}
    assert spectral == (set() if stage == "pretraining" else {"spectral_norm/enhancer", "spectral_norm/discriminator"})
    assert "annotated" in pictures
    assert bool(histograms) == (stage != "gan")


def read(file):
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    return [(int(step), name, float(value)) for step, name, value in rows]


def test_spectral_norm_is_the_largest_singular_value_after_some_steps():
    layers = [SpectralConv2D(6, 3, seed=0), SpectralConv2D(5, 3, seed=1)]
    network = tf.keras.Sequential(layers)
    images = tf.random.stateless_normal((1, 8, 8, 4), (1, 2))
    for _ in range(200):
        network(images, training=True)
    largest = max(np.linalg.svd(layer.kernel.numpy().reshape(-1, layer.filters))[1][0] for layer in layers)
    assert spectral_norms(it=network)["spectral_norm/it"] == pytest.approx(largest, rel=1e-4)
    assert spectral_norms(plain=tf.keras.Sequential([])) == {}


def test_norms_are_euclidean_over_all_of_a_networks_gradients():
    assert float(norms(a=[tf.constant([3.0]), tf.constant([[0.0, 4.0]])])["a"]) == 5.0


def test_montage_has_a_row_for_each_volume():
    columns = [np.full((2, 3, 5), value, np.float32) for value in (-1.0, 0.0, 7.0)]
    columns[0][1] = 1.0
    picture = montage(columns)
    assert picture.shape == (6, 15)
    np.testing.assert_array_equal(picture[0, ::5], [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(picture[3, ::5], [1.0, 0.5, 1.0])


@pytest.mark.usefixtures("eagerly")
def test_a_site_without_unannotated_volumes_can_be_looked_at(tmp_path):
    """Nothing to draw is no reason to stop."""
    learner = toy_learner()
    nothing = UnlabelledVolumes((), np.zeros((0, 32, 32, 32), "f4"))
    learner.data = dataclasses.replace(learner.data, unlabelled=nothing)
    learner.unlabelled_latents.table = tf.Variable(tf.zeros((0, 64)))
    Board(tmp_path).write(1, SemiSupervised(learner).look())
