"""What a site keeps of the rounds that it has sent."""

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.federated.kept_rounds import KeptRound, keep_round, list_kept_rounds, read_kept_round
from fedsim_tf.federated.task import Task
from tests.federated.toy_federation import ToyFederation
from tests.training.toy_site import toy_config

SHAPE = {"shape/0": np.arange(6, dtype=np.float32).reshape(2, 3), "material/0": np.ones(4, np.float32)}


def kept(number, stage="pretraining", names=("anna", "bert")):
    return KeptRound(stage, number, SHAPE, {name: -value for name, value in SHAPE.items()}, names)


def test_the_last_rounds_of_each_stage_are_kept_as_they_were(tmp_path):
    for number in range(9, 12):
        keep_round(tmp_path, kept(number), most=2)
    keep_round(tmp_path, kept(3, "segmentation/direct_fl/pretrain"), most=2)
    found = [read_kept_round(tmp_path, file) for file in list_kept_rounds(tmp_path)]
    stages = [(one.stage, one.round) for one in found]
    assert stages == [("pretraining", 10), ("pretraining", 11), ("segmentation/direct_fl/pretrain", 3)]
    for one in found:
        assert one.batch == ("anna", "bert")
        for name, value in SHAPE.items():
            np.testing.assert_array_equal(one.weights[name], value)
            np.testing.assert_array_equal(one.gradients[name], -value)


def test_rounds_of_a_segmentation_network_are_told_apart():
    assert kept(0).is_of_generator
    assert not KeptRound("x", 0, {}, {"unet/0": np.zeros(1)}, ()).is_of_generator


def test_other_files_are_refused(tmp_path):
    keep_round(tmp_path, kept(1, names=()), most=1)
    (file,) = list_kept_rounds(tmp_path)
    with pytest.raises(InputError, match="found another file; expected a round that a run has kept"):
        read_kept_round(tmp_path, file)  # a batch of nobody is no text


@pytest.mark.usefixtures("small_gan", "eagerly")
@pytest.mark.parametrize("most", [0, 1])
def test_a_site_keeps_what_it_was_sent_and_what_it_answers(tmp_path, most):
    config = toy_config(federated={"sites": ("a",), "keep_sent": most, "clip_norm": 0.1, "noise_multiplier": 1.0})
    federation = ToyFederation(tmp_path, config, seeds={"a": 0})
    site, folder = federation.sites["a"], federation.run.site("a").path
    site.answer(Task("begin", "pretraining", 0, federation.start))
    answers = [site.answer(Task("gradients", "pretraining", number, federation.start)) for number in range(2)]
    found = [read_kept_round(folder, file) for file in list_kept_rounds(folder)]
    assert len(found) == most
    for one in found:
        assert (one.stage, one.round) == ("pretraining", 1)
        for name, value in federation.start.items():
            np.testing.assert_array_equal(one.weights[name], value)
            np.testing.assert_array_equal(one.gradients[name], answers[1].update.gradients[name])
        rng = federation.works["a"].learner.seeds("pretraining").rng(1)
        chosen = rng.choice(3, size=2, replace=False)
        assert one.batch == tuple(f"toy_0_{number}" for number in chosen)
