import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.plus.deformed import deform_annotated
from fedsim_tf.plus.volume_enhancement import VolumeEnhancement, take_plane_slices
from fedsim_tf.plus.wider_shapes import WiderShapes, measure_changes
from fedsim_tf.plus.wider_volumes import make_semantics
from fedsim_tf.resize import resize_volume
from fedsim_tf.training.randomness import step_rng
from tests.training.toy_site import toy_config, toy_learner

pytestmark = pytest.mark.usefixtures("small_gan")


def make_stage(**plus):
    learner = toy_learner(toy_config(plus={"steps": 60, "rate": 3e-3, "width": 2, **plus}))
    shapes = WiderShapes(measure_changes(np.zeros((2, 11)), spread=1.0))
    return VolumeEnhancement(learner, deform_annotated(learner, shapes, copies=1))


def test_planes_are_cut_where_asked(rng):
    volume = rng.standard_normal((4, 4, 4)).astype(np.float32)
    found = take_plane_slices(tf.constant(volume), tf.constant([1, 2, 3]))
    np.testing.assert_array_equal(found, np.stack([volume[1], volume[:, 2], volume[:, :, 3]]))


def test_semantics_are_the_coarse_ct_and_the_label(rng):
    model = toy_learner().model
    coarse = tf.constant(rng.standard_normal((2, 16, 16, 16)), tf.float32)
    for label in (tf.ones((2, 32, 32, 32)), tf.ones((2, 32, 32, 32, 7))):
        found = make_semantics(model, coarse, label)
        assert found.shape[-1] == 1 + (label.shape[-1] if label.shape.rank == 5 else 1)
        np.testing.assert_allclose(found[..., 0], resize_volume(coarse, 32), atol=1e-6)
        np.testing.assert_array_equal(found[..., 1:], 1.0)


def test_it_learns_to_show_hearts_where_labels_are():
    """Untrained latents' simulated CTs show nothing of a toy heart: the label alone says where it is."""
    stage = make_stage()
    losses = [stage.step(step, step_rng(0, stage.name, step)) for step in range(60)]
    absolute = [float(one["absolute"]) for one in losses]
    assert np.mean(absolute[-10:]) < 0.4 * np.mean(absolute[:3])
    enhanced = stage.look().pictures["annotated"]
    assert enhanced.shape == (4 * 32, 3 * 32)
    learner = stage._learner
    label = learner.data.labelled.labels[:1]
    seen = stage.network(make_semantics(learner.model, stage._simulated[:1], tf.constant(label)))[0].numpy()
    assert seen[label[0] > 0].mean() - seen[label[0] == 0].mean() > 0.3  # 1.0 in the volumes, 0 at first


def test_steps_are_functions_of_their_numbers(eagerly):
    first, second = make_stage(vgg_weight=0.0), make_stage(vgg_weight=0.0)
    for stage in (first, second):
        for step in range(2):
            losses = stage.step(step, step_rng(0, stage.name, step))
    assert set(losses) == {"absolute"}
    for one, other in zip(first.network.get_weights(), second.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
