"""Clipping and noise at a site, and what they are worth."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize, stats

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated.privacy import account, epsilon, privatized
from fedsim_tf.federated.wire_record import Row
from fedsim_tf.files import append_rows, read_json

GRADIENTS = {"a": np.full((30, 40), 0.1, np.float32), "b": np.full(1200, -0.1, np.float32)}  # norm sqrt(24)


def norm(gradients):
    return math.sqrt(sum(float(np.sum(value.astype(np.float64) ** 2)) for value in gradients.values()))


def test_large_gradients_are_scaled_down_together_and_small_ones_left():
    clipped = privatized(GRADIENTS, bound=2.0, multiplier=0.0)
    assert norm(clipped) == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_allclose(clipped["a"] / GRADIENTS["a"], 2.0 / math.sqrt(24), rtol=1e-5)
    for bound in (5.0, 0.0):
        for name, value in privatized(GRADIENTS, bound=bound, multiplier=0.0).items():
            np.testing.assert_array_equal(value, GRADIENTS[name])


def test_noise_has_the_width_that_was_asked_for_and_never_repeats():
    first, second = (privatized(GRADIENTS, bound=5.0, multiplier=0.3) for _ in range(2))
    noise = np.concatenate([(first[name] - GRADIENTS[name]).ravel() for name in GRADIENTS])
    assert noise.std() == pytest.approx(1.5, rel=0.1)
    assert abs(noise.mean()) < 0.15
    assert first["a"].dtype == np.float32
    assert np.all(first["a"] != second["a"])


@pytest.mark.parametrize(("multiplier", "rounds"), [(4.0, 100), (20.0, 1000), (1.0, 1)])
def test_epsilon_is_that_of_one_gaussian_with_the_same_width(multiplier, rounds):
    """k Gaussian mechanisms of sensitivity 2 are one, whose delta Balle and Wang (2018) give in closed form."""
    mu = 2 * math.sqrt(rounds) / multiplier

    def excess(value):
        cdf = stats.norm.cdf
        return cdf(mu / 2 - value / mu) - math.exp(value) * cdf(-mu / 2 - value / mu) - 1e-5

    wanted = optimize.brentq(excess, 0.01, 300)
    assert wanted <= epsilon(multiplier, rounds) * 1.001
    assert epsilon(multiplier, rounds) == pytest.approx(wanted, rel=0.02)


def test_without_noise_or_rounds_nothing_is_promised_or_spent():
    assert epsilon(0.0, 1) == math.inf
    assert epsilon(1.0, 0) == 0.0


def test_the_account_counts_what_was_sent_repeated_rounds_too(tmp_path):
    rows = [("a", "gradients", "pretraining", number, 14, 100, 3, "") for number in (0, 1, 2, 1, 2)]
    rows += [("a", "gradients", "pretraining", 2, 0, 0, 0, "under way"), ("a", "latents", "", 0, 2, 48, 0, "")]
    append_rows(tmp_path / "sent.csv", Row._fields, rows)
    settings = dataclasses.replace(FederatedConfig(), clip_norm=0.5, noise_multiplier=4.0)
    spent = account(tmp_path, settings)
    record = read_json(tmp_path / "privacy.json")
    assert (record["rounds"], record["clip_norm"], record["noise_multiplier"]) == (5, 0.5, 4.0)
    assert record["epsilon"] == spent == epsilon(4.0, 5)


def test_a_row_that_was_cut_short_counts_as_gradients_sent(tmp_path):
    append_rows(tmp_path / "sent.csv", Row._fields, [("a", "gradients", "pretraining", 0, 14, 100, 3, "")])
    with open(tmp_path / "sent.csv", "a") as file:
        file.write("a,gradients,pretr")
    append_rows(tmp_path / "sent.csv", Row._fields, [("a", "gradients", "pretraining", 2, 14, 100, 3, "")])
    account(tmp_path, dataclasses.replace(FederatedConfig(), clip_norm=0.5, noise_multiplier=4.0))
    assert read_json(tmp_path / "privacy.json")["rounds"] == 3


def test_noise_without_a_bound_is_refused():
    with pytest.raises(InputError, match="noise_multiplier: found no clip_norm"):
        FederatedConfig(noise_multiplier=1.0)
