"""A FLARE job of a moment's work: sites whose squares are to be small, each with a state of its own."""

import pathlib

import numpy as np
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from fedsim_tf.config import make_config
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.encryption.encrypted_rounds import EncryptedCoordinator
from fedsim_tf.federated.encryption.encrypting_site import EncryptingSite
from fedsim_tf.federated.encryption.shared_state import SharedState
from fedsim_tf.federated.flare.contexts import open_cipher
from fedsim_tf.federated.flare.controller import StageController
from fedsim_tf.federated.flare.executor import SiteExecutor
from fedsim_tf.federated.flare.wire import message_to_model, model_to_message
from fedsim_tf.federated.guard import StagePlan
from fedsim_tf.federated.site import Site
from fedsim_tf.files import read_json
from fedsim_tf.training.run import RunFolder, site_path
from tests.federated.squares import LENGTH, STAGE, ToyWork

SETTINGS = "toy.json"
RATE, ACCUMULATE = 0.1, "sum"
PATIENCE = 20.0  # seconds until a site counts as silent


def toy_config(sites, *, checkpoint_every=4, **federated):
    federated = {"sites": tuple(sites), "timeout": PATIENCE, **federated}
    return make_config("demo", checkpoint_every=checkpoint_every, federated=federated)


def coordinate(coordinator, rounds, length=LENGTH):
    start = {"shape/0": np.full(length, 5.0, np.float32)}
    weights = coordinator.run_rounds(STAGE, start, rate=RATE, steps=rounds, accumulate=ACCUMULATE)
    coordinator.work_alone("afterwards")
    coordinator.pool_latents(with_unlabelled=True)
    return weights


class ToyController(StageController):
    def __init__(
        self,
        sites: list,
        rounds: int,
        run_name: str,
        quorum: int = 0,
        length: int = LENGTH,
        checkpoint_every: int = 4,
        patience: float = PATIENCE,
    ):
        super().__init__()
        self.patience = patience
        self.sites, self.rounds, self.run_name, self.quorum = sites, rounds, run_name, quorum
        self.length, self.checkpoint_every = length, checkpoint_every

    def coordinate(self, local: pathlib.Path) -> None:
        config = toy_config(
            self.sites, checkpoint_every=self.checkpoint_every, quorum=self.quorum, timeout=self.patience
        )
        run = RunFolder(pathlib.Path(read_json(local / SETTINGS)["runs_dir"]) / self.run_name, config)
        exchange = self.open_exchange(self.sites, run.path, timeout=config.federated.timeout, quorum=self.quorum)
        self.rejoin_seconds = 0.0
        pause = {"should_pause": lambda: self.note_kept(exchange)}
        coordinator = self.open_coordinator(run, exchange, local, **pause)
        weights = coordinate(coordinator, self.rounds, self.length)
        np.savez(run.path / "weights.npz", **weights)

    def open_coordinator(self, run, exchange, _local, **pause):
        return Coordinator(run, exchange, self.sites, **pause)


class ToyExecutor(SiteExecutor):
    def __init__(self, sites: list, run_name: str, pause: float = 0.0, length: int = LENGTH, noise: float = 0.0):
        super().__init__()
        self.sites, self.run_name, self.pause, self.length, self.noise = sites, run_name, pause, length, noise

    def open_site(self, name, local):
        noise = {"clip_norm": 1.0, "noise_multiplier": self.noise} if self.noise else {}
        return Site(name, self.open_run(name, local, **noise), ToyWork(name, self.pause, self.length))

    def open_run(self, name, local, **federated):
        root = pathlib.Path(read_json(local / SETTINGS)["runs_dir"]) / self.run_name
        return RunFolder(site_path(root, name), toy_config(self.sites, **federated))


class EncryptedToyController(ToyController):
    """Adds up what it cannot read, with the context of its kit."""

    def open_coordinator(self, run, exchange, local, **pause):
        return EncryptedCoordinator(run, exchange, self.sites, open_cipher(local, of_server=True), **pause)


class EncryptedToyExecutor(ToyExecutor):
    """Takes the server's steps itself, with the key of its kit."""

    def __init__(self, sites: list, run_name: str, rounds: int):
        super().__init__(sites, run_name)
        self.rounds = rounds

    def open_site(self, name, local):
        run = self.open_run(name, local, encrypt=True)
        cipher = open_cipher(local, of_server=False)
        site = Site(name, run, ToyWork(name, self.pause, self.length), cipher=cipher)
        plan = {STAGE: StagePlan(self.rounds, RATE, ACCUMULATE)}
        return EncryptingSite(site, SharedState(run, plan, cipher, n_sites=len(self.sites)), cipher)


class LeakyExecutor(ToyExecutor):
    """One site of it sends its own state along."""

    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        answer = super().execute(task_name, shareable, fl_ctx, abort_signal)
        if task_name == "gradients" and fl_ctx.get_identity_name() == "turin":
            message = model_to_message(FLModelUtils.from_shareable(answer))
            more = {"gradients/shape/1": self._site._stage.own.numpy()}
            answer = FLModelUtils.to_shareable(message_to_model(message._replace(arrays={**message.arrays, **more})))
        return answer


COMPONENTS = (ToyController, ToyExecutor, EncryptedToyController, EncryptedToyExecutor, LeakyExecutor)
