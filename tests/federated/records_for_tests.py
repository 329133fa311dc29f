"""Tables of what was sent, as tests read them."""

from fedsim_tf.federated.wire_record import ArrayRow
from fedsim_tf.files import read_rows


def read_arrays(folder, name):
    """Return the rows of `<name>_arrays.csv`, see `WireRecord`."""
    return [ArrayRow(*row) for row in read_rows(folder / f"{name}_arrays.csv")]
