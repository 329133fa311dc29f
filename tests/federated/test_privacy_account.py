"""What is counted of all that a site sends with noise, and what that is worth."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize, stats

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import answer_to_message
from fedsim_tf.federated.privacy_account import (
    MOMENTS_SHARE,
    ROUND_SHARE,
    Budget,
    compute_cost,
    compute_epsilon,
    list_answers_sent,
    sum_costs,
    sum_shares,
    write_account,
)
from fedsim_tf.federated.task import Answer, Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.federated.wire_record import SENT, SentMessage, WireRecord
from fedsim_tf.files import append_rows, read_json, write_json
from fedsim_tf.models.latents import LatentStatistics

NOISY = dataclasses.replace(FederatedConfig(), clip_norm=0.5, noise_multiplier=4.0)


def a_round(number, value=1.0, loss=0.25):
    """The message of a round with such gradients."""
    task = Task("gradients", "pretraining", number)
    update = SiteUpdate("a", "pretraining", number, 3, {"shape/0": np.full(3, value, np.float32)})
    return answer_to_message(task, Answer(update, {"iou": loss}))


def some_moments(scale=1.0):
    latents = LatentStatistics.of(scale * np.eye(3, 2))
    return answer_to_message(Task("latents"), Answer(SiteUpdate("a", "", 0, 3, latents=latents), {}))


def record(folder, *messages):
    for message in messages:
        WireRecord(folder, SENT).note("a", message)


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


def test_epsilon_is_what_dp_accounting_composes_of_rounds_moments_and_losses(tmp_path):
    """Its accountant adds up the privacy losses of each mechanism as numbers, not as Gaussians."""
    from dp_accounting import GaussianDpEvent
    from dp_accounting.pld import PLDAccountant

    record(tmp_path, *map(a_round, range(20)), some_moments(), some_moments(2.0))
    multiplier = 6.0
    found = write_account(tmp_path, dataclasses.replace(NOISY, noise_multiplier=multiplier))
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(GaussianDpEvent(multiplier / 2), 20 + 2)  # noise in units of the largest distance
    accountant.compose(GaussianDpEvent(10 * multiplier / 2), 20)
    assert found == pytest.approx(accountant.get_epsilon(1e-5), rel=2e-3)
    told = read_json(tmp_path / "privacy.json")
    assert (told["epsilon"], told["rounds"], told["moments"]) == (found, 20, 2)
    assert (told["clip_norm"], told["clip_latents"], told["noise_multiplier"]) == (0.5, 1.25, multiplier)
    with pytest.raises(InputError, match="found 20 rounds of gradients; expected at least 21"):
        write_account(tmp_path, NOISY, stage="pretraining", least=21)


def test_an_answer_that_is_sent_again_costs_nothing_if_no_bit_of_it_has_changed(tmp_path):
    record(tmp_path, a_round(0), a_round(1), a_round(1), some_moments(), a_round(0), some_moments())
    assert sum_shares(list_answers_sent(tmp_path)) == pytest.approx(2 * ROUND_SHARE + MOMENTS_SHARE)
    more = (
        a_round(1, np.nextafter(np.float32(1), np.float32(2))),
        a_round(1, loss=np.nextafter(0.25, 1)),
        some_moments(2.0),
    )
    record(tmp_path, *more)
    assert sum_shares(list_answers_sent(tmp_path)) == pytest.approx(4 * ROUND_SHARE + 2 * MOMENTS_SHARE)


def test_answers_that_were_recorded_before_there_were_digests_count_whenever_they_come(tmp_path):
    rows = [("a", "gradients", "pretraining", number, 14, 100, 0, "") for number in (0, 1, 2, 1, 2)]
    rows += [("a", "gradients", "pretraining", 2, 0, 0, 0, "under way"), ("a", "latents", "", 0, 0, 0, 0, "")]
    append_rows(tmp_path / "sent.csv", SentMessage._fields[:-1], rows)
    record(tmp_path, a_round(2), a_round(2), some_moments())
    assert sum_shares(list_answers_sent(tmp_path)) == pytest.approx(5 + ROUND_SHARE + MOMENTS_SHARE)


@pytest.mark.parametrize(
    "row", [("a", "gradients", "pretraining", 0, 14, 100, 3, ""), ("a", "latents", "", 0, 2, 48, 0, "")]
)
def test_moments_and_losses_that_left_before_they_had_noise_have_no_finite_epsilon(tmp_path, row):
    """However much noise the gradients had; and nothing is left of a budget."""
    folder = tmp_path / "run"
    write_json(folder / "config.json", {"federated": {"noise_multiplier": 4.0}})
    append_rows(folder / "sent.csv", SentMessage._fields[:-1], [row])
    record(folder, a_round(1))
    assert write_account(folder, NOISY) == math.inf
    told = read_json(folder / "privacy.json")
    assert told["epsilon"] is None
    assert told["protects"].startswith("nothing, as moments or losses of this fold left without noise")
    with pytest.raises(InputError, match="epsilon inf with this answer"):
        Budget(tmp_path, 1e9, 4.0).spend(MOMENTS_SHARE)


@pytest.mark.parametrize("multiplier", [1e-200, 1e-160, 1e200])
def test_the_cost_of_any_noise_is_a_number_and_the_least_has_no_finite_epsilon(multiplier):
    found = compute_epsilon(compute_cost(multiplier, 3))
    assert (found == math.inf) == (multiplier < 1e-150)
    assert found == 0.0 or multiplier < 1


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
    write_account(tmp_path, NOISY)
    assert read_json(tmp_path / "privacy.json")["rounds"] == rounds


def test_a_budget_is_for_all_runs_of_a_site_and_is_never_passed(tmp_path):
    for name, multiplier, rounds in (("first/fold_0", 4.0, 20), ("second/fold_1/sites/a", 8.0, 40)):
        folder = tmp_path / name
        write_json(folder / "config.json", {"federated": {"noise_multiplier": multiplier}})
        record(folder, *map(a_round, range(rounds)), some_moments())
    spent = (20 * ROUND_SHARE + 1) / 16 + (40 * ROUND_SHARE + 1) / 64
    assert sum_costs(tmp_path) == pytest.approx(spent)
    budget = Budget(tmp_path, compute_epsilon(spent + 2.5 / 16), 4.0)
    budget.spend(ROUND_SHARE)
    budget.spend(MOMENTS_SHARE)
    for _ in range(2):
        with pytest.raises(InputError, match="expected at most"):
            budget.spend(ROUND_SHARE)
    budget.spend(0.4)  # what was refused has cost nothing
    unlimited = Budget(tmp_path, 0.0, 0.0)
    unlimited.spend(ROUND_SHARE)


def test_runs_without_noise_leave_nothing_of_a_budget(tmp_path):
    (tmp_path / "run").mkdir()
    record(tmp_path / "run", a_round(0))
    with pytest.raises(InputError, match="epsilon inf"):
        Budget(tmp_path, 1000.0, 4.0).spend(ROUND_SHARE)
