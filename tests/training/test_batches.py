import dataclasses
import functools

import numpy as np
import pytest

from fedsim_tf.training.batches import Batches
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.volumes import Volumes

COUNT, EDGE = 5, 8


def volumes():
    """Volumes that are told apart by their brightness, whatever the augmentation does."""
    levels = np.linspace(-0.8, 0.8, COUNT, dtype=np.float32)
    images = np.broadcast_to(levels[:, None, None, None], (COUNT, EDGE, EDGE, EDGE)).copy()
    return Volumes(tuple("abcde"), images, (images > 0).astype(np.float32))


def batches(stage="stage", size=1, seed=0, augment=True):
    return Batches(volumes(), size=size, seeds=StepSeeds(seed, stage), augment=augment)


def test_each_volume_is_seen_once_an_epoch_in_another_order_each_time():
    found = batches()
    epochs = [[found.choose(epoch * COUNT + i)[0] for i in range(COUNT)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_batches_go_on_over_the_end_of_an_epoch():
    found = batches(size=3)
    drawn = [i for step in range(5) for i in found.choose(step)]
    assert [sorted(drawn[start : start + COUNT]) for start in range(0, 15, COUNT)] == [list(range(COUNT))] * 3


def test_a_resumed_run_sees_the_same_batches():
    whole, resumed = batches(size=2), batches(size=2)
    expected = [whole.at(step) for step in range(6)]
    for step in (3, 4, 5, 1):  # from a checkpoint at 3, and once more from one before it
        for found, true in zip(resumed.at(step), expected[step], strict=True):
            assert found.shape == (2, EDGE, EDGE, EDGE, 1)
            np.testing.assert_array_equal(found, true)


def test_images_and_labels_are_those_of_the_chosen_volumes():
    found, data = batches(), volumes()
    for step in range(COUNT):
        images, labels = found.at(step)
        number = found.choose(step)[0]
        assert abs(float(np.mean(images)) - data.images[number].mean()) < 0.2
        assert float(np.mean(labels)) == data.labels[number].mean()


def test_without_augmentation_volumes_are_as_they_are():
    found, data = batches(size=2, augment=False), volumes()
    for step in range(4):
        images, labels = (part.numpy()[..., 0] for part in found.at(step))
        np.testing.assert_array_equal(images, data.images[found.choose(step)])
        np.testing.assert_array_equal(labels, data.labels[found.choose(step)])
    same = batches(size=2, augment=True)
    assert [same.choose(step) for step in range(4)] == [found.choose(step) for step in range(4)]
    assert not np.array_equal(same.at(0)[0], found.at(0)[0])


def test_stages_and_seeds_have_batches_of_their_own():
    first = batches().at(0)[0].numpy()
    assert not np.array_equal(first, batches(stage="other").at(0)[0])
    assert not np.array_equal(first, batches(seed=1).at(0)[0])


@pytest.mark.parametrize("augment", [False, True])
def test_labels_are_region_ids_where_volumes_have_them_and_a_network_wants_them(augment):
    data = volumes()
    ids = np.random.default_rng(0).integers(0, 8, data.images.shape).astype(np.uint8)
    by_region = dataclasses.replace(data, regions=ids)
    make = functools.partial(Batches, size=1, seeds=StepSeeds(0, "stage"), augment=augment)
    found, heart = make(by_region, by_region=True), make(by_region)
    assert found.at(0)[1].dtype == np.uint8
    assert set(np.unique(found.at(0)[1])) <= set(range(8))
    if not augment:
        np.testing.assert_array_equal(found.at(2)[1][0, ..., 0], ids[found.choose(2)[0]])
    np.testing.assert_array_equal(heart.at(1)[1], make(data).at(1)[1])
    np.testing.assert_array_equal(make(data, by_region=True).at(1)[1], make(data).at(1)[1])


def test_nothing_is_tuned_beside_the_training():
    """TensorFlow's tuning thread sleeps up to a minute and cannot be woken: a process would end only then."""
    assert batches()._from(0).options().autotune.enabled is False
