"""What a step computes, a GPU can compute, but for the shape decoder; TensorFlow's own registry of kernels says so."""

import pytest
import tensorflow as tf

from benchmarks.gpu_kernels import count_bytes, list_graphs, list_host_operations
from fedsim_tf.plus.deformed import deform_annotated
from fedsim_tf.plus.volume_enhancement import VolumeEnhancement
from fedsim_tf.plus.wider_shapes import WiderShapes, measure_changes
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.training.toy_site import toy_config, toy_learner, toy_site

pytestmark = pytest.mark.usefixtures("small_gan")

DECODER = {"FedsimTfOccupancy", "FedsimTfOccupancyProducts"}
INPUT_PIPELINE = {"PyFunc"}


def open_enhancement(learner):
    fitted = learner.model.shape_generator(learner.labelled_latents.table).numpy()
    shapes = WiderShapes(measure_changes(fitted, spread=1.0))
    return VolumeEnhancement(learner, deform_annotated(learner, shapes, copies=0))


def open_segmentation(learner):
    network, site = UNetTraining(learner.config, toy_site().validation), toy_site()
    network.begin(site.labelled, rate=1e-3, steps=3, stage="pretrain")
    return network


STAGES = {
    "pretraining": (GeneratorPretraining, "shared_gradients", DECODER),
    "gan": (EnhancementPretraining, "step", set()),
    "last stage": (SemiSupervised, "shared_gradients", DECODER),
    "Ours-Plus": (open_enhancement, "step", set()),
    "segmentation": (open_segmentation, "step", set()),
}


@pytest.mark.parametrize("name", STAGES)
def test_nothing_but_the_decoder_leaves_the_gpu(monkeypatch, name):
    make, step, expected = STAGES[name]
    before = list_graphs()
    monkeypatch.setattr("fedsim_tf.models.device_forms.list_gpus", lambda: ["one"])
    stage = make(toy_learner(toy_config(model={"precision": "bfloat16"})))
    for number in range(2):  # annotated and not
        getattr(stage, step)(number, stage.seeds.rng(number))
    graphs = [one for one in list_graphs() if not any(one is other for other in before)]
    assert sum(len(one.get_operations()) for one in graphs) > 100
    assert set(list_host_operations(graphs)) - INPUT_PIPELINE == expected


def test_an_operation_that_no_gpu_can_do_is_found():
    """Words stay with the host; a product of 16-bit integers, too, though there is one of floats."""

    def compute(words, whole, floats):
        return tf.strings.length(words), tf.matmul(whole, whole), tf.matmul(floats, floats)

    arguments = tf.TensorSpec([3], tf.string), tf.TensorSpec([5, 5], tf.int32), tf.TensorSpec([5, 5])
    graph = tf.function(compute, autograph=False).get_concrete_function(*arguments).graph
    found = list_host_operations([graph])
    assert set(found) == {"StringLength", "MatMul"}
    (product,) = found["MatMul"]
    assert product.outputs[0].dtype == tf.int32
    assert count_bytes([product]) == 2 * 25 * 4
