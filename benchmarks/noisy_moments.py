"""Measures what noise leaves of the normal of latents that sites pool.

python -m benchmarks.noisy_moments
"""

import math

import numpy as np
from absl import app, flags

from fedsim_tf.config import FederatedConfig
from fedsim_tf.federated.privacy import privatize_moments
from fedsim_tf.federated.server import pool_moments
from fedsim_tf.models.latents import LatentStatistics

MULTIPLIERS = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0, 2.0)
LENGTH = 64
flags.DEFINE_integer("sites", 3, "Sites.")
flags.DEFINE_integer("latents", 20, "Latents of each site.")
flags.DEFINE_integer("draws", 20, "Draws of latents and noise that are averaged.")
FLAGS = flags.FLAGS


def main(_):
    rng = np.random.default_rng(0)
    print("| noise_multiplier | mean | covariance |\n|---|---|---|")
    for multiplier in MULTIPLIERS:
        errors = np.mean([measure_errors(multiplier, rng) for _ in range(FLAGS.draws)], axis=0)
        print(f"| {multiplier:g} | {errors[0]:.3f} | {errors[1]:.3f} |")


def measure_errors(multiplier, rng):
    """Return the relative errors of mean and covariance; each site's latents are of a normal with a mean of its own."""
    bound = FederatedConfig().clip_latents * math.sqrt(LENGTH)
    means = 0.5 * rng.standard_normal((FLAGS.sites, 1, LENGTH))
    sites = means + rng.standard_normal((FLAGS.sites, FLAGS.latents, LENGTH))
    wanted = pool_moments([LatentStatistics.of(z) for z in sites])
    clipped = [LatentStatistics.of(z, largest_norm=bound) for z in sites]
    found = pool_moments([privatize_moments(one, bound=bound, multiplier=multiplier) for one in clipped])
    pairs = ((wanted.mean, found.mean), (wanted.covariance, found.covariance))
    return [np.linalg.norm(other - true) / np.linalg.norm(true) for true, other in pairs]


if __name__ == "__main__":
    app.run(main)
