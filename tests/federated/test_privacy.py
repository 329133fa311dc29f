"""Clipping and noise at a site, and what they are worth."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize, stats

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated.privacy import Budget, compute_cost, compute_epsilon, privatize, sum_costs, write_account
from fedsim_tf.federated.wire_record import SentMessage
from fedsim_tf.files import append_rows, read_json, write_json

GRADIENTS = {"a": np.full((30, 40), 0.1, np.float32), "b": np.full(1200, -0.1, np.float32)}  # norm sqrt(24)


def norm(gradients):
    return math.sqrt(sum(float(np.sum(value.astype(np.float64) ** 2)) for value in gradients.values()))


def test_large_gradients_are_scaled_down_together_and_small_ones_left():
    clipped = privatize(GRADIENTS, bound=2.0, multiplier=0.0)
    assert norm(clipped) == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_allclose(clipped["a"] / GRADIENTS["a"], 2.0 / math.sqrt(24), rtol=1e-5)
    for bound in (5.0, 0.0):
        for name, value in privatize(GRADIENTS, bound=bound, multiplier=0.0).items():
            np.testing.assert_array_equal(value, GRADIENTS[name])


def test_noise_has_the_width_that_was_asked_for_and_never_repeats():
    first, second = (privatize(GRADIENTS, bound=5.0, multiplier=0.3) for _ in range(2))
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
    assert compute_epsilon(compute_cost(multiplier, rounds)) == pytest.approx(wanted, rel=1e-4)


def test_without_noise_or_rounds_nothing_is_promised_or_spent():
    assert compute_epsilon(compute_cost(0.0, 1)) == math.inf
    assert compute_epsilon(compute_cost(1.0, 0)) == compute_epsilon(compute_cost(0.0, 0)) == 0.0


def test_epsilon_grows_with_the_rounds_and_stays_cheap_for_many():
    found = [compute_epsilon(compute_cost(0.5, rounds)) for rounds in (1, 10, 4000)]
    assert found == sorted(found)
    assert found[-1] > 3e4


def test_tiny_gradients_are_clipped_too():
    """Their squares are nothing in float32: a job that scales gradients down must not get round the noise."""
    tiny = {name: value * np.float32(1e-24) for name, value in GRADIENTS.items()}
    assert norm(privatize(tiny, bound=1e-35, multiplier=0.0)) <= 1e-35 * (1 + 1e-5)


def test_the_account_counts_what_was_sent_repeated_rounds_too(tmp_path):
    rows = [("a", "gradients", "pretraining", number, 14, 100, 3, "") for number in (0, 1, 2, 1, 2)]
    rows += [("a", "gradients", "pretraining", 2, 0, 0, 0, "under way"), ("a", "latents", "", 0, 2, 48, 0, "")]
    append_rows(tmp_path / "sent.csv", SentMessage._fields, rows)
    settings = dataclasses.replace(FederatedConfig(), clip_norm=0.5, noise_multiplier=4.0)
    spent = write_account(tmp_path, settings)
    record = read_json(tmp_path / "privacy.json")
    assert (record["rounds"], record["clip_norm"], record["noise_multiplier"]) == (5, 0.5, 4.0)
    assert record["epsilon"] == spent == compute_epsilon(compute_cost(4.0, 5))
    with pytest.raises(InputError, match="found 5 rounds of gradients; expected at least 6"):
        write_account(tmp_path, settings, least=6)


@pytest.mark.parametrize(
    ("cut", "rounds"),
    [(b"a,gradients,pretr", 3), (b"a,gradients,\xc3\x00", 3), (b'a,gradients,pretraining,1,0,0,0,"loss, iou', 2)],
)
def test_a_row_that_was_cut_short_counts_as_gradients_sent(tmp_path, cut, rounds):
    """Unless it says that there were none; it takes no row after it along."""
    append_rows(tmp_path / "sent.csv", SentMessage._fields, [("a", "gradients", "pretraining", 0, 14, 100, 3, "")])
    with open(tmp_path / "sent.csv", "ab") as file:
        file.write(cut)
    append_rows(tmp_path / "sent.csv", SentMessage._fields, [("a", "gradients", "pretraining", 2, 14, 100, 3, "")])
    write_account(tmp_path, dataclasses.replace(FederatedConfig(), clip_norm=0.5, noise_multiplier=4.0))
    assert read_json(tmp_path / "privacy.json")["rounds"] == rounds


def test_noise_without_a_bound_is_refused():
    with pytest.raises(InputError, match=r"clip_norm is 0\.0; it must be above 0 with noise"):
        FederatedConfig(noise_multiplier=1.0)


def test_a_budget_is_for_all_runs_of_a_site_and_is_never_passed(tmp_path):
    for name, multiplier, rounds in (("first/fold_0", 4.0, 20), ("second/fold_1/sites/a", 8.0, 40)):
        folder = tmp_path / name
        rows = [("a", "gradients", "pretraining", number, 14, 100, 3, "") for number in range(rounds)]
        write_json(folder / "config.json", {"federated": {"noise_multiplier": multiplier}})
        append_rows(folder / "sent.csv", SentMessage._fields, rows)
    assert sum_costs(tmp_path) == pytest.approx(20 / 16 + 40 / 64)
    most = compute_epsilon(sum_costs(tmp_path) + 2.5 / 16)
    budget = Budget(tmp_path, most, 4.0)
    budget.spend()
    budget.spend()
    for _ in range(2):
        with pytest.raises(InputError, match="expected at most"):
            budget.spend()
    unlimited = Budget(tmp_path, 0.0, 0.0)
    unlimited.spend()


def test_runs_without_noise_leave_nothing_of_a_budget(tmp_path):
    (tmp_path / "run").mkdir()
    append_rows(
        tmp_path / "run" / "sent.csv", SentMessage._fields, [("a", "gradients", "pretraining", 0, 14, 100, 3, "")]
    )
    with pytest.raises(InputError, match="epsilon inf"):
        Budget(tmp_path, 1000.0, 4.0).spend()
