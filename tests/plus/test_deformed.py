import numpy as np
import pytest

from fedsim_tf.plus.deformed import deform_annotated
from fedsim_tf.plus.wider_shapes import WiderShapes, measure_changes
from tests.training.region_site import region_config, region_learner
from tests.training.toy_site import toy_learner

pytestmark = pytest.mark.usefixtures("small_gan")
POSES = np.zeros((2, 11))
POSES[1, 4:] = [0.1, 0.1, 0.1, 6.0, 6.0, 6.0, 0.1]


@pytest.fixture(scope="module")
def learner(small_gan):
    return toy_learner()


def deform(learner, *, copies=2, spread=1.0):
    return deform_annotated(learner, WiderShapes(measure_changes(POSES, spread=spread)), copies=copies)


def test_every_volume_stands_before_its_copies(learner):
    made, labelled = deform(learner), learner.data.labelled
    assert made.volumes.identities == tuple(name for name in labelled.identities for _ in range(3))
    np.testing.assert_array_equal(made.volumes.images[::3], labelled.images)
    np.testing.assert_array_equal(made.volumes.labels[::3], labelled.labels)
    assert made.simulated.shape == (9, 16, 16, 16)
    assert not np.allclose(made.volumes.labels[0], made.volumes.labels[1])


def test_labels_follow_images(learner):
    """Toy hearts are 500 HU brighter than what is around them, so that images tell where hearts are."""
    made = deform(learner).volumes
    bright = made.images > -0.3
    for found, label in zip(bright, made.labels > 0, strict=True):
        assert 2 * np.sum(found & label) / (found.sum() + label.sum()) > 0.9


def test_the_same_copies_are_made_again(learner):
    first, second = deform(learner), deform(learner, copies=3)
    np.testing.assert_array_equal(first.volumes.images[1], second.volumes.images[1])
    np.testing.assert_array_equal(first.simulated[1], second.simulated[1])


@pytest.mark.parametrize("how", [{"copies": 0}, {"spread": 0.0}])
def test_without_copies_or_spread_volumes_stay(learner, how):
    assert deform(learner, **how).volumes.identities == learner.data.labelled.identities


def test_whole_hearts_are_shown_with_the_regions_of_their_fits(small_gan):
    made = deform(region_learner(region_config(), whole=(1,)), copies=1)
    np.testing.assert_array_equal(made.semantic_labels > 0, made.volumes.regions > 0)
    assert [len(np.unique(ids)) for ids in made.volumes.regions] == [8, 8, 2, 2, 8, 8]
    assert all(len(np.unique(ids)) > 2 for ids in made.semantic_labels)
