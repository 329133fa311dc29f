import dataclasses

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.federated.engine import InProcessEngine
from fedsim_tf.federated.server import Server, pooled_distribution
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.models import LatentStatistics
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.simulation import pretrain, semi_supervise
from tests.training.toy_site import toy_config, toy_learner

WEIGHTS = {"shape/0": np.ones((2, 3), np.float32), "material/0": np.zeros(4, np.float32)}


def update(site="a", round_number=0, value=1.0, **changes):
    gradients = {name: np.full_like(array, value) for name, array in WEIGHTS.items()}
    return SiteUpdate(site, round_number, 3, {**gradients, **changes})


def test_server_takes_one_adam_step_on_the_sum():
    """Adam's first step moves by its rate against the sign of the summed gradient, whatever its size."""
    server = Server(WEIGHTS, rate=0.1, steps=1000, accumulate="sum")
    server.step([update(value=3.0), update("b", value=-1.0)], round_number=0)
    np.testing.assert_allclose(server.weights["shape/0"], 0.9, atol=1e-5)
    server = Server(WEIGHTS, rate=0.1, steps=1000, accumulate="sum")
    server.step([update(value=1.0), update("b", value=-1.0)], round_number=0)
    np.testing.assert_array_equal(server.weights["shape/0"], WEIGHTS["shape/0"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: update(round_number=4), "update of a: found round 4; expected round 0"),
        (lambda: update(extra=np.zeros(1, np.float32)), "differ in .'extra'."),
        (lambda: update(**{"shape/0": np.zeros((3, 2), np.float32)}), r"found shape \(3, 2\); expected shape \(2, 3\)"),
        (lambda: update(value=np.nan), "found NaN or infinity; expected finite values"),
    ],
)
def test_bad_updates_are_refused_with_the_sites_name(bad, message):
    server = Server(WEIGHTS, rate=0.1, steps=10, accumulate="mean")
    with pytest.raises(InputError, match=message):
        server.step([bad()], round_number=0)


def test_an_update_can_hold_nothing_but_gradients_and_moments():
    assert {field.name for field in dataclasses.fields(SiteUpdate)} == {
        "site",
        "round",
        "count",
        "gradients",
        "latents",
    }
    latents = np.zeros((4, 64), np.float32)
    with pytest.raises(InputError, match="latents of a"):
        SiteUpdate("a", 0, 4, {}, latents)
    with pytest.raises(InputError, match="gradient picture of a"):
        SiteUpdate("a", 0, 4, {"picture": [[1.0]]})
    with pytest.raises(dataclasses.FrozenInstanceError):
        update().images = latents


@pytest.mark.usefixtures("eagerly")
def test_a_sites_update_has_the_shared_networks_shapes_only():
    site = Site("a", toy_learner())
    sent = site.update(GeneratorPretraining(site.learner), 0)
    assert {name: g.shape for name, g in sent.gradients.items()} == {n: w.shape for n, w in site.weights.items()}
    assert sent.latents is None
    assert sent.count == 3


def test_pooled_moments_are_those_of_all_latents_together(rng):
    parts = [rng.standard_normal((n, 6)) for n in (4, 6, 12)]
    pooled = pooled_distribution([LatentStatistics.of(part) for part in parts])
    together = LatentStatistics.of(np.concatenate(parts)).distribution()
    np.testing.assert_allclose(pooled.mean, together.mean, atol=1e-12)
    np.testing.assert_allclose(pooled.covariance, together.covariance, atol=1e-12)


@pytest.mark.usefixtures("eagerly")
def test_one_site_in_a_federation_learns_what_a_single_site_does(tmp_path):
    config = toy_config()
    alone = toy_learner(config)
    run = RunFolder(tmp_path / "alone", config)
    semi_supervise(run, alone, pretrain(run, alone))
    site = Site("toy", toy_learner(config))
    engine = InProcessEngine(RunFolder(tmp_path / "federated", config), [site])
    engine.pretrain()
    engine.semi_supervise()
    for a, b in zip(alone.shared_variables, site.learner.shared_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_sites_share_weights_and_keep_the_rest(tmp_path):
    config = toy_config()
    sites = [Site(name, toy_learner(config, name=name, seed=seed)) for name, seed in (("a", 0), ("b", 7))]
    engine = InProcessEngine(RunFolder(tmp_path / "run", config), sites)
    engine.pretrain()
    engine.semi_supervise()
    for a, b in zip(*(site.learner.shared_variables for site in sites), strict=True):
        np.testing.assert_array_equal(a, b)
    first, second = (site.learner for site in sites)
    assert np.any(first.model.enhancer.get_weights()[0] != second.model.enhancer.get_weights()[0])
    assert np.any(first.labelled_latents.table != second.labelled_latents.table)
