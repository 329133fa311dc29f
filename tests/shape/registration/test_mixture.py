"""The mixture's densities and roots against SciPy's."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from fedsim_tf.shape.registration import mixture
from fedsim_tf.shape.registration.mixture import Mixture


def some_mixture(rng, components=7):
    return Mixture(
        points=rng.normal(size=(components, 3)) * 5,
        normals=mixture.normalize(rng.normal(size=(components, 3))),
        log_share=np.log(rng.dirichlet(np.ones(components))),
        nu=rng.uniform(2, 8, components),
        sigma=2.5,
        kappa=4.0,
    )


def exact_responsibilities(points, normals, components):
    """P and u from SciPy's densities."""
    log = np.empty((len(points), len(components.points)))
    for m, (centre, axis) in enumerate(zip(components.points, components.normals, strict=True)):
        t = stats.multivariate_t(centre, components.sigma**2 * np.eye(3), df=components.nu[m])
        log[:, m] = t.logpdf(points) + stats.vonmises_fisher(axis, components.kappa).logpdf(normals)
    log += components.log_share
    squared = np.sum((points[:, None] - components.points) ** 2, axis=-1) / components.sigma**2
    return np.exp(log - logsumexp(log, axis=1, keepdims=True)), (components.nu + 3) / (components.nu + squared)


def test_student_t_is_scipys(rng):
    x, nu, sigma = rng.normal(size=(20, 3)) * 4, 3.7, 2.2
    ours = mixture.student_t_log(np.sum(x**2, axis=1), np.array(nu), sigma)
    np.testing.assert_allclose(ours, stats.multivariate_t(np.zeros(3), sigma**2 * np.eye(3), df=nu).logpdf(x))


def test_the_expectation_is_the_definitions(rng):
    components = some_mixture(rng)
    points, normals = rng.normal(size=(50, 3)) * 5, mixture.normalize(rng.normal(size=(50, 3)))
    found = mixture.expectation(points, normals, components)
    p, u = exact_responsibilities(points, normals, components)
    np.testing.assert_allclose(found.responsibility, p.sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.weight, (p * u).sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.position, (p * u).T @ points, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.normal, p.T @ normals, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.log_weight, (p * (np.log(u) - u)).sum(axis=0), rtol=1e-4)
    squared = np.sum((points[:, None] - components.points) ** 2, axis=-1)
    assert found.squared_distances(components.points) == pytest.approx(np.sum(p * u * squared), rel=1e-4)


def test_nu_is_scipys_maximum_likelihood(rng):
    """One component, alone: EM over nu and sigma climbs to the fit of a trivariate t with a given centre."""
    x = stats.multivariate_t(np.zeros(3), 4 * np.eye(3), df=4.0, seed=3).rvs(20_000)
    nu, sigma = np.array([1.5]), 1.0
    normals = np.tile([0.0, 0.0, 1.0], (len(x), 1))
    for _ in range(300):
        one = Mixture(np.zeros((1, 3)), normals[:1], np.zeros(1), nu, sigma, 1.0)
        found = mixture.expectation(x, normals, one)
        sigma = np.sqrt(found.squared_distances(np.zeros((1, 3))) / (3 * len(x)))
        nu = mixture.update_nu(nu, found)

    def likelihood(nu, sigma):
        return mixture.student_t_log(np.sum(x**2, axis=1), np.array(nu), sigma).sum()

    best = likelihood(nu[0], sigma)
    assert best >= max(likelihood(nu[0] * f, sigma * g) for f in (0.97, 1, 1.03) for g in (0.99, 1, 1.01)) - 0.5
    assert nu[0] == pytest.approx(4.0, rel=0.1)
    assert sigma == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("kappa", [1.0, 8.0, 40.0])
def test_kappa_is_scipys_fit(kappa):
    axis = np.array([0.0, 0.6, 0.8])
    x = stats.vonmises_fisher(axis, kappa, seed=1).rvs(5000)
    _, fitted = stats.vonmises_fisher.fit(x)
    assert mixture.update_kappa(float(np.linalg.norm(x.mean(axis=0)))) == pytest.approx(fitted, rel=1e-3)


def test_kappa_and_nu_stay_in_range(rng):
    assert mixture.update_kappa(1.0) == pytest.approx(mixture.KAPPA_RANGE[1])
    assert mixture.update_kappa(0.0) == pytest.approx(mixture.KAPPA_RANGE[0])
    found = mixture.expectation(np.zeros((9, 3)), np.tile([0, 0, 1.0], (9, 1)), some_mixture(rng))
    nu = mixture.update_nu(np.full(7, 3.0), found)
    assert np.all((nu >= mixture.NU_RANGE[0]) & (nu <= mixture.NU_RANGE[1] * (1 + 1e-9)))
