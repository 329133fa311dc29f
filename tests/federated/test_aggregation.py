"""What a bad site can make of the sums of gradients and of the pooled moments, and who is blamed."""

import itertools

import numpy as np
import pytest
from scipy import stats

from fedsim_tf.errors import InputError
from fedsim_tf.federated.aggregation import accumulate_gradients
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.moments_check import MomentsCheck
from fedsim_tf.federated.refusals import note_refused, summarize_refused
from fedsim_tf.federated.task import Answer, Answers, Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.files import read_json
from fedsim_tf.models.latents import LatentStatistics
from fedsim_tf.training.run import RunFolder
from tests.training.toy_site import toy_config

NAMES = ("shape/0", "material/0", "material/1")


def updates(rng, count, scale=1.0):
    shapes = dict(zip(NAMES, ((3, 2), (5,), (1,)), strict=True))
    return [
        SiteUpdate(f"s{i}", "pretraining", 0, 3,
                   {name: (scale * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()})
        for i in range(count)
    ]  # fmt: skip


def stacked(given, name):
    return np.stack([one.gradients[name].astype(np.float64) for one in given])


@pytest.mark.parametrize("rule", ["auto", "none", "bounded"])
def test_the_plain_sum_is_what_it_was_to_the_bit(rng, rule):
    """Also where gradients are bounded and none is long."""
    given = updates(rng, 4)
    for name, total in zip(NAMES, accumulate_gradients(given, NAMES, rule=rule), strict=True):
        assert total.dtype == np.float32
        np.testing.assert_array_equal(total, np.sum([one.gradients[name] for one in given], axis=0))


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_means_of_coordinates_are_those_of_other_libraries(rng, count):
    given = updates(rng, count)
    cut = {3: 1, 4: 1, 5: 2, 7: 3}[count]  # at most one bad site in three, rounded up, and one is left
    for rule, mean in (
        ("median", lambda values: np.median(values, axis=0)),
        ("trimmed", lambda values: stats.trim_mean(values, (cut + 1e-9) / count, axis=0)),
    ):
        for name, total in zip(NAMES, accumulate_gradients(given, NAMES, rule=rule), strict=True):
            assert total.shape == given[0].gradients[name].shape
            np.testing.assert_allclose(total, count * mean(stacked(given, name)), rtol=1e-12)


@pytest.mark.parametrize("rule", ["median", "trimmed"])
def test_the_order_of_sites_does_not_matter(rng, rule):
    given = updates(rng, 4)
    wanted = accumulate_gradients(given, NAMES, rule=rule)
    for other in itertools.permutations(given):
        for mine, found in zip(wanted, accumulate_gradients(other, NAMES, rule=rule), strict=True):
            np.testing.assert_array_equal(mine, found)


@pytest.mark.parametrize("rule", ["median", "trimmed"])
def test_one_bad_site_in_three_leaves_each_coordinate_between_those_of_the_others(rng, rule):
    honest, (bad,) = updates(rng, 2), updates(rng, 1, scale=1e30)
    for name, total in zip(NAMES, accumulate_gradients([honest[0], bad, honest[1]], NAMES, rule=rule), strict=True):
        values = stacked(honest, name)
        assert np.all(total / 3 <= values.max(axis=0))
        assert np.all(total / 3 >= values.min(axis=0))


def test_a_long_gradient_is_scaled_to_twice_the_others_median_norm(rng):
    honest, (bad,) = updates(rng, 3), updates(rng, 1, scale=90.0)
    plain = [stacked(honest, name).sum(axis=0) for name in NAMES]
    found = accumulate_gradients([*honest, bad], NAMES, rule="bounded")
    rest = np.concatenate([(total - one).ravel() for total, one in zip(found, plain, strict=True)])
    norms = [np.linalg.norm(np.concatenate([one.gradients[name].ravel() for name in NAMES])) for one in honest]
    assert np.linalg.norm(rest) == pytest.approx(2 * np.median(norms), rel=1e-6)
    direction = np.concatenate([bad.gradients[name].ravel() for name in NAMES])
    assert rest @ direction / np.linalg.norm(rest) / np.linalg.norm(direction) == pytest.approx(1, abs=1e-6)


def test_between_two_sites_every_rule_is_the_plain_sum(rng):
    given = updates(rng, 2)
    given[1].gradients["shape/0"][:] = 1e20
    wanted = accumulate_gradients(given, NAMES, rule="none")
    for rule in ("bounded", "median", "trimmed"):
        for mine, found in zip(wanted, accumulate_gradients(given, NAMES, rule=rule), strict=True):
            np.testing.assert_array_equal(mine, found)
    with pytest.raises(InputError, match="robust: found 'mean'; expected one of auto, none, bounded"):
        accumulate_gradients(given, NAMES, rule="mean")


def test_the_server_steps_as_the_configuration_says(tmp_path):
    """Two sites want smaller weights, and one, which shouts, larger ones."""

    def exchange(task):
        values = {"a": 1.0, "b": 1.0, "c": -50.0} if task.kind == "gradients" else {}
        sent = {one: {"w": np.full(2, value, np.float32)} for one, value in values.items()}
        return Answers([Answer(SiteUpdate(one, task.stage, task.round, 0, sent.get(one, {})), {}) for one in "abc"], {})

    for rule, sign in (("none", 1), ("bounded", 0), ("median", -1)):
        run = RunFolder(tmp_path / rule, toy_config(federated={"robust": rule}))
        start = {"w": np.zeros(2, np.float32)}
        found = Coordinator(run, exchange, ["a", "b", "c"]).run_rounds(
            "pretraining", start, rate=0.1, steps=2, accumulate="sum"
        )
        assert np.all(np.sign(found["w"]) == sign), rule


def moments(site, z, count=None):
    found = LatentStatistics.of(z)
    found = LatentStatistics(len(z) if count is None else count, found.sum, found.sum_outer)
    return SiteUpdate(site, "", 0, found.count, latents=found)


def registered(folder, largest=10.0, **counts):
    check = MomentsCheck(folder, reach=100.0, largest=largest)
    check.register([SiteUpdate(site, "pretraining", 0, count) for site, count in counts.items()])
    return check


def test_honest_moments_pass(tmp_path, rng):
    """Of hospitals that differ, some with very few latents."""
    check = registered(tmp_path, a=6, b=40, c=4)
    sizes, gains, shifts = (6, 40, 4), (1.0, 2.0, 0.7), (0.0, 1.0, -1.0)
    given = [
        moments(site, shift + gain * rng.standard_normal((size, 64)))
        for site, size, gain, shift in zip("abc", sizes, gains, shifts, strict=True)
    ]
    assert check.find_outliers(given) == {}
    assert check.find_outliers(given[:2]) == check.find_outliers([]) == {}


def test_a_count_beyond_the_registered_one_is_refused_in_later_jobs_too(tmp_path, rng):
    registered(tmp_path, a=6, b=6)
    check = registered(tmp_path, a=100_000, b=6)  # it would like to have more
    assert read_json(tmp_path / "registered.json") == {"a": 6, "b": 6}
    z = rng.standard_normal((6, 8))
    found = check.find_outliers([moments("a", z, count=100_000), moments("b", z)])
    assert found == {"a": "moments of a: found 100000 latents; expected at most the 6 that it registered"}


@pytest.mark.parametrize("bad", range(3))
def test_the_odd_one_of_three_is_refused_and_not_the_honest_ones(tmp_path, rng, bad):
    odd = {
        "times the usual spread away": lambda z: z + 30.0,
        "times the usual variance": lambda z: 6.0 * z,
        "times the usual variance; expected 0.1 to 10 times": lambda z: 0.01 * z,
        "expected at most 100, which the rates of this run can make": lambda z: 500.0 * z,
    }
    for message, spoil in odd.items():
        given = [rng.standard_normal((5, 8)) for _ in range(3)]
        given[bad] = spoil(given[bad])
        found = registered(tmp_path, a=5, b=5, c=5).find_outliers(
            [moments(site, z) for site, z in zip("abc", given, strict=True)]
        )
        assert list(found) == ["abc"[bad]]
        assert message in found["abc"[bad]]
    assert registered(tmp_path, largest=0.0).find_outliers([moments("c", np.full((5, 8), 3.0))] * 3) == {}


def test_between_two_sites_only_what_no_learning_makes_is_refused(tmp_path, rng):
    check = registered(tmp_path, a=5, b=5)
    z = rng.standard_normal((5, 8))
    assert check.find_outliers([moments("a", z), moments("b", 8 * z + 9)]) == {}
    found = check.find_outliers([moments("a", z), moments("b", z + 200)])
    assert list(found) == ["b"]
    assert "latents of size 20" in found["b"]


def test_absurd_moments_are_refused_where_they_arrive():
    """Their squares overflow, and what overflows says nothing of a variance."""
    for size in (1e300, np.inf):
        with pytest.raises(InputError, match=r"latents of a: found (moments of size 1e.300; expected below 1e.18|NaN)"):
            SiteUpdate("a", "", 0, 4, latents=LatentStatistics(4, np.full(3, size), np.full((3, 3), size)))


def test_a_runs_end_says_who_was_left_out_how_often_and_why(tmp_path):
    assert summarize_refused(tmp_path) == []
    note_refused(tmp_path, Task("gradients", "pretraining", 3), {"b": "loss iou is nan", "c": "c is not connected"})
    note_refused(tmp_path, Task("latents"), {"b": "moments of b: found infinity"})
    assert summarize_refused(tmp_path) == [
        "without b 2 times, the last time at latents, round 0: moments of b: found infinity",
        "without c once at pretraining, round 3: c is not connected",
    ]
