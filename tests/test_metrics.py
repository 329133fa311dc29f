import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from fedsim_tf.errors import InputError
from fedsim_tf.metrics import dice, iou


def test_agree_with_scikit_learn(rng):
    found, truth = rng.random((2, 9, 8, 7)) > 0.6
    assert dice(found, truth) == pytest.approx(100 * f1_score(truth.ravel(), found.ravel()))
    assert iou(found, truth) == pytest.approx(100 * jaccard_score(truth.ravel(), found.ravel()))


def test_empty_masks():
    nothing, something = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    assert dice(nothing, nothing) == iou(nothing, nothing) == 100.0
    assert dice(something, nothing) == iou(nothing, something) == 0.0


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"found shape \(1, 2, 2\); expected shape \(2, 2, 2\)"):
        dice(np.zeros((1, 2, 2)), np.zeros((2, 2, 2)))
