"""How many threads TensorFlow gives to one operation.

A step of small volumes is a thousand operations of a fraction of a millisecond each. To hand such an operation from
thread to thread takes about as long as to do it, so there each operation keeps to one thread, and threads do different
operations (benchmarks/README.md has both in numbers).
"""

import os

VARIABLE = "TF_NUM_INTRAOP_THREADS"  # TensorFlow reads it when it makes its first tensor
SMALL = 32  # voxels an edge


def settle_threads(size: int) -> None:
    """Let each operation use one thread where volumes are small, unless the environment says how many.

    It says so in the environment of this process, which the processes that it starts inherit. It comes before
    TensorFlow's first tensor: later it has no effect.

    Args:
      size: voxels along each edge of a volume.
    """
    if size <= SMALL:
        os.environ.setdefault(VARIABLE, "1")
