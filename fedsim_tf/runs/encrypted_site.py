"""A site of a fold whose gradients the server must not read."""

from __future__ import annotations

from fedsim_tf.federated.encryption.encrypting_site import EncryptingSite
from fedsim_tf.federated.encryption.shared_state import SharedState
from fedsim_tf.federated.encryption.sum_cipher import SumCipher
from fedsim_tf.federated.site import Site
from fedsim_tf.runs.stage_plan import plan_stages
from fedsim_tf.training.run import RunFolder


def encrypt_answers(site: Site, run: RunFolder, cipher: SumCipher) -> EncryptingSite:
    """Return a site of a fold with its gradients encrypted; `run` is its own folder, `cipher` has the sites' key."""
    state = SharedState(run, plan_stages(run.config), cipher, n_sites=len(run.config.federated.sites))
    return EncryptingSite(site, state, cipher)
