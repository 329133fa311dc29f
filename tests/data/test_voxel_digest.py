"""One CT has one digest, however it is stored; another one has another."""

import itertools

import numpy as np
import pytest

from fedsim_tf.data.voxel_digest import digest_voxels


@pytest.fixture
def array(rng):
    return rng.integers(-1024, 3000, (5, 6, 7)).astype(np.int16)


def test_all_48_ways_to_store_it_have_one_digest(array):
    ways = [
        np.transpose(array, order)[tuple(slice(None, None, step) for step in steps)]
        for order in itertools.permutations(range(3))
        for steps in itertools.product((1, -1), repeat=3)
    ]
    assert len({way.tobytes() + bytes(way.shape) for way in ways}) == 48
    assert len({digest_voxels(way) for way in ways}) == 1
    assert digest_voxels(array.astype(np.float64)) == digest_voxels(array)


def test_another_voxel_or_place_gives_another_digest(array):
    other, moved, swapped = array.copy(), np.roll(array, 1, axis=0), array.copy()
    other[2, 3, 4] += 1
    swapped[0, 0, 0], swapped[4, 5, 6] = array[4, 5, 6], array[0, 0, 0]
    digests = {digest_voxels(one) for one in (array, other, moved, swapped, array.reshape(5, 7, 6))}
    assert len(digests) == 5
