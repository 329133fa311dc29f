"""Sizes are numbers where they are known while a function is traced, and right where they are not."""

import tensorflow as tf

from fedsim_tf.models.sizes import sizes


def test_known_sizes_are_numbers():
    assert sizes(tf.zeros([2, 0, 3])) == [2, 0, 3]


def test_unknown_sizes_are_those_of_the_call_and_the_others_stay_numbers():
    kinds = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3, None])], autograph=False)
    def measure(tensor):
        found = sizes(tensor)
        kinds.append([isinstance(size, int) for size in found])
        return tf.stack(found)

    assert measure(tf.zeros([2, 3, 4])).numpy().tolist() == [2, 3, 4]
    assert measure(tf.zeros([5, 3, 1])).numpy().tolist() == [5, 3, 1]
    assert kinds == [[False, True, False]]
