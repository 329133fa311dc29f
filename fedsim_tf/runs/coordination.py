"""The server's side of a fold: the stages of section 2.3 and of Direct-FL in their order, for every engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedsim_tf.arms import DIRECT, federate_arms, simulate_together
from fedsim_tf.baselines.direct_fl import DirectFederated, initial_weights
from fedsim_tf.errors import InputError
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.task import PooledLatents
from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.runs.federated_site import COMPARISON, GAN, SAMPLES
from fedsim_tf.runs.stage_plan import plan_stages
from fedsim_tf.training.learner import initial_shared_weights
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised

MODEL = "shared_model.npz"
_MEAN, _COVARIANCE, _ENCRYPTED = "latents/mean", "latents/covariance", "encrypted_latents/"


def coordinate(coordinator: Coordinator, run: RunFolder) -> None:
    """Run a fold of the configured arms over all sites.

    Args:
      coordinator: the coordinator that asks the sites.
      run: the server's folder, where the shared model is left as `MODEL`.

    Raises:
      InputError: the shared model of an earlier start is damaged.
    """
    arms = federate_arms(run.config.segmentation.arms)
    if simulate_together(arms):
        _simulate(coordinator, run)
    if DIRECT in arms:
        plan, start = plan_stages(run.config)[DirectFederated.name], initial_weights(run.config)
        coordinator.run_rounds(
            DirectFederated.name, start, rate=plan.rate, steps=plan.steps, accumulate=plan.accumulate
        )
    coordinator.work_alone(COMPARISON)


def _simulate(coordinator: Coordinator, run: RunFolder) -> None:
    """Run all stages; then every site draws samples of the pooled latents with its own enhancement network."""
    config = run.config
    plan = plan_stages(config)
    first, last = plan[GeneratorPretraining.name], plan[SemiSupervised.name]
    start = initial_shared_weights(config)
    pretrained = coordinator.run_rounds(
        GeneratorPretraining.name, start, rate=first.rate, steps=first.steps, accumulate=first.accumulate
    )
    coordinator.work_alone(GAN)
    weights = coordinator.run_rounds(
        SemiSupervised.name,
        pretrained,
        rate=last.rate,
        steps=last.steps,
        accumulate=last.accumulate,
        latents=coordinator.pool_latents(with_unlabelled=False),
    )
    latents = _load_latents(run)
    if latents is None:
        latents = coordinator.pool_latents(with_unlabelled=True)
        _save_model(run, weights, latents)
    coordinator.work_alone(SAMPLES, latents)


def _save_model(run: RunFolder, weights: Mapping[str, np.ndarray], latents: PooledLatents) -> None:
    """Write what the sites have learnt together: theta_S, theta_M and the normal of the latents.

    Where sites encrypt, that is the sum of their encrypted moments alone.
    """
    normal = latents.distribution
    moments = {_ENCRYPTED + name: part for name, part in latents.encrypted.items()}
    if normal is not None:
        moments |= {_MEAN: normal.mean, _COVARIANCE: normal.covariance}
    write_npz(run.path / MODEL, {**weights, **moments})


def _load_latents(run: RunFolder) -> PooledLatents | None:
    """Return what an earlier start has saved of latents, so that a late site draws from the same as the others did."""
    file = run.path / MODEL
    if not file.exists():
        return None
    try:
        arrays = read_npz(file, required=() if run.config.federated.encrypt else (_MEAN, _COVARIANCE))
    except InputError as error:
        raise InputError(f"{error}; move it away, and the same command makes it anew") from None
    if run.config.federated.encrypt:
        parts = {name.removeprefix(_ENCRYPTED): one for name, one in arrays.items() if name.startswith(_ENCRYPTED)}
        if not parts:
            expected = "encrypted moments; move it away, and the same command makes it anew"
            raise InputError(file, found="none", expected=expected)
        return PooledLatents(encrypted=parts)
    return PooledLatents(LatentDistribution(arrays[_MEAN], arrays[_COVARIANCE]))
