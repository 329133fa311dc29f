"""What it costs a round that the server cannot read its gradients: seconds of each step, and bytes.

python -m benchmarks.encrypted_sums [--sites=3] [--preset=paper]

Normal random numbers stand in for gradients.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from fedsim_tf.config import PRESETS, make_config
from fedsim_tf.federated.encryption.sum_cipher import SumCipher, make_contexts
from fedsim_tf.training.learner import initial_shared_weights

Result = TypeVar("Result")


def timed(what: str, work: Callable[[], Result]) -> Result:
    """Do some work, print how long it took and return its result."""
    start = time.perf_counter()
    result = work()
    print(f"| {what} | {time.perf_counter() - start:.2f} s |", flush=True)
    return result


def main(preset: str, sites: int) -> None:
    """Print a table for the shared networks of a preset."""
    rng, at_site, at_server = np.random.default_rng(0), *map(SumCipher, make_contexts())
    shapes = {name: value.shape for name, value in initial_shared_weights(make_config(preset)).items()}
    gradients = [{name: 1e-3 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}] * sites
    count = sum(value.size for value in gradients[0].values())
    print(f"{preset}: {count} numbers, {4e-6 * count:.1f} MB as float32, {sites} sites\n\n| step | |\n|---|---|")
    first = timed("encrypted at a site", lambda: at_site.encrypt(gradients[0]))
    encrypted = [first, *(at_site.encrypt(one) for one in gradients[1:])]
    timed("checked at the server, each site's", lambda: at_server.check(first, count=count, of="a site"))
    total = timed("added at the server", lambda: at_server.add(encrypted))
    found = timed("decrypted at a site", lambda: at_site.decrypt(total, shapes))
    print(f"| an answer's bytes | {sum(part.nbytes for part in first.values()) / 1e6:.1f} MB |")
    error = max(np.abs(found[name] - sites * gradients[0][name]).max() for name in shapes)
    print(f"| largest error of the sum | {error:.1e} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper", choices=PRESETS)
    parser.add_argument("--sites", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.preset, arguments.sites)
