"""Run folders whose names TensorFlow would take for patterns."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.runs.finished import open_finished_fold
from fedsim_tf.training.checkpoints import Checkpoints, plain_path
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import UNetTraining, train_segmenter
from tests.training.toy_site import toy_config, toy_site

NAMES = ("a[1] b*?\\c", "run [1]", "what? yes*", "a{b,c}", "back\\slash", "100%", "[", "häfte")


@pytest.mark.usefixtures("small_unet", "eagerly")
def test_a_run_there_is_stopped_resumed_and_segments(tmp_path, monkeypatch):
    site, config = toy_site(edge=16), toy_config(checkpoint_every=1, segmentation={"arms": ["lower_bound"]})
    parts = {"pretrain": site.labelled, "finetune": site.labelled}
    folder = tmp_path / NAMES[0]
    original, steps = UNetTraining.step, []

    def step(self, index, rng):
        steps.append((self.name.rsplit("/")[-1], index))
        if len(steps) == 3:
            raise KeyboardInterrupt
        return original(self, index, rng)

    monkeypatch.setattr(UNetTraining, "step", step)
    with pytest.raises(KeyboardInterrupt):
        train_segmenter(RunFolder(folder, config), UNetTraining(config, site.validation), "lower_bound", **parts)
    trained = train_segmenter(RunFolder(folder, config), UNetTraining(config, site.validation), "lower_bound", **parts)
    assert steps[3] == ("pretrain", 2)
    assert len(list((folder / "tensorboard").rglob("events.*"))) == 3
    assert len(RunFolder(folder, config).records()) == 2
    fold = open_finished_fold(folder)
    opened = fold.load_segmenter(fold.last_stage_of("lower_bound"))
    image = site.test.images[0]
    np.testing.assert_array_equal(opened(image), trained(image))


def test_states_are_written_and_read_there_by_several_threads_at_once(tmp_path):
    def keep(number):
        value = tf.Variable(tf.fill(1000, float(number)))
        Checkpoints(tmp_path / NAMES[number], {"value": value}).save(number)

    def restore(number):
        value = tf.Variable(tf.zeros(1000))
        found = Checkpoints(tmp_path / NAMES[number], {"value": value}).restore()
        return found, set(value.numpy())

    with ThreadPoolExecutor(len(NAMES)) as pool:
        list(pool.map(keep, range(len(NAMES))))
        assert list(pool.map(restore, range(len(NAMES)))) == [(n, {float(n)}) for n in range(len(NAMES))]


def test_plain_paths_stay_as_they_are(tmp_path):
    with plain_path(tmp_path) as path:
        assert path == str(tmp_path)
