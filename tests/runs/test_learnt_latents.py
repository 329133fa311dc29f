"""Of which latents a site of a deployed federation gives moments."""

import types

import numpy as np
import pytest

from fedsim_tf.federated.adam_reach import measure_latent_reach
from fedsim_tf.models.latents import LatentStatistics
from fedsim_tf.runs import federated_site
from fedsim_tf.runs.federated_site import FoldAtSite
from fedsim_tf.runs.stage_plan import plan_stages
from fedsim_tf.training.run import RunFolder
from tests.training.toy_site import toy_config

CONFIG = toy_config()  # four rounds of either stage


class Learner:
    """Three annotated volumes and two that are not."""

    def latent_statistics(self, *, with_unlabelled, largest_norm):
        return LatentStatistics.of(np.ones((5 if with_unlabelled else 3, 64)))


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(federated_site, "check_same_data", lambda run, data: None)
    for name in ("GeneratorPretraining", "SemiSupervised"):
        stage = getattr(federated_site, name).name
        monkeypatch.setattr(federated_site, name, types.SimpleNamespace(name=stage))
    made = FoldAtSite(RunFolder(tmp_path, CONFIG), None, None, None, whole_stages=True)
    made.learner = Learner()
    return made


def count(work):
    return [work.measure_latents(with_unlabelled=both).count for both in (False, True)]


def opened(work, stage):
    """The stage's state comes into memory; its network is not made here."""
    with pytest.raises(TypeError, match="not callable"):
        work.begin(stage, None)


def test_latents_count_once_they_had_a_part_in_every_round(work, tmp_path):
    run = RunFolder(tmp_path, CONFIG)
    opened(work, "pretraining")
    assert count(work) == [0, 0]
    run.finish("pretraining", {"steps": 4, "moved": 3})  # it was away for one
    assert count(work) == [0, 0]
    run.finish("pretraining", {"steps": 4, "moved": 4})
    assert count(work) == [3, 3]
    run.finish("semi_supervised", {"steps": 4, "moved": 3})
    opened(work, "semi_supervised")
    assert count(work) == [3, 3]
    run.finish("semi_supervised", {"steps": 4})  # before rounds were counted
    assert count(work) == [3, 5]


def test_latents_count_as_they_are_in_memory(work, tmp_path):
    """The record says that the last stage has ended, and the server has had an earlier one opened since."""
    run = RunFolder(tmp_path, CONFIG)
    for stage in ("pretraining", "semi_supervised"):
        run.finish(stage, {"steps": 4, "moved": 4})
    assert count(work) == [0, 0]  # nothing is opened: the latents are as they were drawn
    opened(work, "pretraining")
    assert count(work) == [3, 3]
    opened(work, "semi_supervised")
    assert count(work) == [3, 5]


def test_the_plan_is_that_of_the_configured_arms():
    assert list(plan_stages(toy_config())) == ["pretraining", "semi_supervised"]
    arms = {"arms": ("direct_fl",), "pretraining_steps": 3, "rate": 0.5}
    assert plan_stages(toy_config(segmentation=arms)) == {"segmentation/direct_fl/pretrain": (3, 0.5, "mean")}


def test_latents_can_be_as_far_as_their_rates_move_them():
    """A step of Adam is 7.27 times the rate at most."""
    config = toy_config(
        pretraining={"steps": 200_000, "latent_rate": 1e-4}, semi={"steps": 100_000, "latent_rate": 2e-4}
    )
    drawn = 9 + 20 * 7.27
    assert measure_latent_reach(config) == pytest.approx((1 + 9 * 2**0.5) * drawn + 145.4, rel=0.02)
