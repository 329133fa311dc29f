import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.metrics import dice
from fedsim_tf.training import segmentation as segmentation_module
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import UNetTraining, make_segmenter, mean_dice, train_segmenter
from tests.runs.toy_networks import use_small_parts
from tests.training.test_watch import shown
from tests.training.toy_regions import toy_site_by_region
from tests.training.toy_site import toy_config, toy_site

EDGE = 16  # voxels; a network takes volumes of every size


@pytest.fixture
def site():
    return toy_site(edge=EDGE)


@pytest.mark.usefixtures("small_unet")
def test_learns_an_easy_heart_and_keeps_the_best_weights(tmp_path, site):
    config = toy_config(
        model={"unet_width": 4},
        segmentation={"pretraining_steps": 60, "finetuning_steps": 20, "validation_every": 10, "rate": 3e-3},
    )
    run = RunFolder(tmp_path / "run", config)
    network = UNetTraining(config, site.validation)
    segment = train_segmenter(run, network, "arm", pretrain=site.labelled, finetune=site.labelled)
    score = mean_dice(segment, site.test)
    assert score > 85
    assert score == np.mean([dice(segment(i), j) for i, j in zip(site.test.images, site.test.labels, strict=True)])
    again = train_segmenter(run, network, "arm", pretrain=site.labelled, finetune=site.labelled)
    np.testing.assert_array_equal(again(site.test.images[0]), segment(site.test.images[0]))


def test_an_arm_after_another_learns_what_it_learns_alone(tmp_path, monkeypatch):
    """Arms share a network and what it was traced to; nothing of one reaches the next, and each keeps its own best."""
    use_small_parts(monkeypatch)
    site, config = toy_site(), toy_config()  # of enough voxels that the arms' masks differ somewhere
    shared, alone = (UNetTraining(config, site.validation) for _ in range(2))

    def train(root, network, arm, volumes):
        run = RunFolder(tmp_path / root, config)
        return train_segmenter(run, network, arm, pretrain=volumes, finetune=site.labelled)

    image = site.test.images[0]
    first = train("shared", shared, "first", site.labelled)
    masks_before = first(image)
    second = train("shared", shared, "second", site.fully_labelled)
    wanted = train("alone", alone, "second", site.fully_labelled)
    for name, part in shared.objects.items():
        for one, other in zip(variables(part), variables(alone.objects[name]), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(second(image), wanted(image))
    np.testing.assert_array_equal(first(image), masks_before)
    assert np.any(masks_before != wanted(image))
    assert shared._traced.experimental_get_tracing_count() == 1


def variables(part):
    return [part] if isinstance(part, tf.Variable) else part.variables


def test_segmenter_thresholds_logits_at_zero():
    segment = make_segmenter(lambda image: image)
    image = np.array([[[-1.0, 0.5], [0.0, 2.0]]], np.float32)
    np.testing.assert_array_equal(segment(image), [[[0, 1], [0, 1]]])


@pytest.mark.parametrize(("is_bound", "best"), [(True, 80.0), (False, 70.0)])
def test_a_bound_keeps_the_best_of_both_stages_and_other_arms_of_the_second(
    tmp_path, monkeypatch, site, is_bound, best
):
    use_small_parts(monkeypatch)
    scores = iter([50.0, 80.0, 60.0, 70.0])
    monkeypatch.setattr(segmentation_module, "mean_dice", lambda *_: next(scores))
    run = RunFolder(
        tmp_path, toy_config(segmentation={"pretraining_steps": 4, "finetuning_steps": 4, "validation_every": 2})
    )
    pretrain = site.labelled if is_bound else site.fully_labelled
    network = UNetTraining(run.config, site.validation)
    train_segmenter(run, network, "arm", pretrain=pretrain, finetune=site.labelled)
    assert float(network._best_dice) == best


@pytest.mark.usefixtures("small_unet")
def test_one_trace_serves_both_stages_of_an_arm(site):
    training = UNetTraining(toy_config(segmentation={"batch": 2, "validation_every": 100}), site.validation)
    for stage, volumes in (("pretrain", site.fully_labelled), ("finetune", site.labelled)):
        training.begin(volumes, rate=1e-3, steps=100, stage=stage)
        for step in range(3):
            training.step(step, training.seeds.rng(step))
    assert training._traced.experimental_get_tracing_count() == 1


@pytest.mark.usefixtures("small_unet", "eagerly")
def test_norms_rates_and_validation_slices_are_shown(tmp_path, site):
    run = RunFolder(tmp_path / "run", toy_config())
    network = UNetTraining(run.config, site.validation)
    train_segmenter(run, network, "arm", pretrain=site.labelled, finetune=site.labelled)
    for stage in ("pretrain", "finetune"):
        scalars, pictures, _ = shown(run.tensorboard(f"segmentation/arm/{stage}"))
        assert {"loss", "validation_error", "gradient_norm/unet", "rate/unet"} <= set(scalars)
        assert [step for step, _ in scalars["gradient_norm/unet"]] == [0, 1, 2]
        assert pictures == {"validation"}


def test_a_network_that_gets_no_better_stops_and_keeps_its_best(tmp_path, monkeypatch, site):
    use_small_parts(monkeypatch)
    scores = iter([50.0, 70.0, 60.0, 65.0, 40.0])
    kept, looked = [], []

    class Watched(UNetTraining):
        def _select(self):
            score = super()._select()
            looked.append(self.network.get_weights()[0])
            kept.append(self.best.get_weights()[0])
            return score

    monkeypatch.setattr(segmentation_module, "mean_dice", lambda *_: next(scores, 90.0))
    lengths = {"pretraining_steps": 20, "finetuning_steps": 1, "validation_every": 2, "patience": 3}
    run = RunFolder(tmp_path / "run", toy_config(segmentation=lengths))
    network = Watched(run.config, site.validation)
    train_segmenter(run, network, "arm", pretrain=site.labelled, finetune=site.labelled)
    record = run.finished("segmentation/arm/pretrain")
    assert record["steps"] == 10  # the fifth look is the third after the best
    for look, best in enumerate([0, 1, 1, 1, 1]):
        np.testing.assert_array_equal(kept[look], looked[best])
        assert look == best or np.any(kept[look] != looked[look])
    assert run.finished("segmentation/arm/finetune")["steps"] == 1


@pytest.mark.usefixtures("small_unet")
def test_learns_regions_and_keeps_the_state_with_the_best_mean_over_regions(tmp_path):
    site = toy_site_by_region(edge=EDGE)
    config = toy_config(
        model={"unet_width": 4, "labels": "regions"},
        segmentation={"pretraining_steps": 110, "finetuning_steps": 1, "validation_every": 20, "rate": 5e-3},
    )
    network = UNetTraining(config, site.validation)
    segment = train_segmenter(
        RunFolder(tmp_path / "run", config), network, "arm", pretrain=site.labelled, finetune=site.labelled
    )
    masks = [segment(image) for image in site.test.images]
    assert all(mask.dtype == np.uint8 for mask in masks)
    wanted = (1, 5, 7)
    each = [
        np.mean([dice(mask == region, true == region) for region in wanted])
        for mask, true in zip(masks, site.test.regions, strict=True)
    ]
    assert mean_dice(segment, site.test) == pytest.approx(np.mean(each))
    assert np.mean(each) > 75
    assert np.mean([dice(m > 0, t) for m, t in zip(masks, site.test.labels, strict=True)]) > 80


def test_segmenter_by_region_takes_the_most_probable_region():
    logits = np.random.default_rng(0).normal(size=(1, 2, 3, 4, 8)).astype(np.float32)
    segment = make_segmenter(lambda _: tf.constant(logits))
    found = segment(np.zeros((2, 3, 4), np.float32))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, logits[0].argmax(axis=-1))


@pytest.mark.usefixtures("small_unet", "eagerly")
@pytest.mark.parametrize("has_ids", [False, True])
def test_a_site_with_binary_labels_teaches_and_judges_a_network_by_region_by_the_heart(site, has_ids):
    """Its labels have no regions, or region 1 alone, as they are read from files."""
    if has_ids:
        as_ids = {n: getattr(site, n) for n in ("labelled", "validation", "test")}
        site = dataclasses.replace(
            site, **{n: dataclasses.replace(v, regions=v.labels.astype(np.uint8)) for n, v in as_ids.items()}
        )
    config = toy_config(model={"labels": "regions"}, segmentation={"batch": 1})
    training = UNetTraining(config, site.validation)
    training.begin(site.labelled, rate=1e-3, steps=100, stage="pretrain")
    first = training.step(0, None)["loss"]
    assert np.isfinite(first)
    assert training.network.trainable_variables[-1].shape == (8,)
    hearts = [dice(training._predict(i) > 0, j) for i, j in zip(site.test.images, site.test.labels, strict=True)]
    assert mean_dice(training._predict, site.test) == pytest.approx(np.mean(hearts))
    (picture,) = training.validation_slices().values()
    assert 0 <= picture.min() <= picture.max() <= 1.0
