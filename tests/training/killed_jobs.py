"""Toy runs in processes of their own that are killed and started again; see test_killed.py.

    python -m tests.training.killed_jobs FOLDER

imports everything once and then forks a process for each start. Each job has an undisturbed run, which is one such
process, and one that is killed by SIGKILL at each of its moments in turn, in one run folder.
"""

import contextlib
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import sklearn.covariance  # noqa: F401  # not needed here, but once for all processes that are forked
import tensorflow as tf

from fedsim_tf.arms import DIRECT
from fedsim_tf.baselines.direct_fl import DirectFederated, initial_weights
from fedsim_tf.models import built
from fedsim_tf.training import checkpoints
from fedsim_tf.training import stage as loop
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import UNetTraining, finetune_segmenter, train_segmenter
from fedsim_tf.training.simulation import pretrain, semi_supervise
from tests.federated.toy_federation import ToyFederation
from tests.runs.toy_networks import SmallUNet, use_small_gan
from tests.training import toy_site

Job = Callable[[pathlib.Path], dict[str, np.ndarray]]  # a run folder to every number that was learnt
THREADS = 2
CONFIG = toy_site.toy_config(
    checkpoint_every=1,
    pretraining={"steps": 2},
    gan={"steps": 2},
    semi={"steps": 2},
    segmentation={"pretraining_steps": 2, "finetuning_steps": 2, "validation_every": 1},
)


def single(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Run all stages of section 2.2."""
    run, learner = RunFolder(folder, CONFIG), toy_site.toy_learner(CONFIG)
    distribution = semi_supervise(run, learner, pretrain(run, learner))
    moments = {"mean": distribution.mean, "covariance": distribution.covariance}
    return {**state_of("learner", learner.objects), **moments}


def federated(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Run rounds of two sites and the server."""
    federation = ToyFederation(folder, CONFIG)
    federation.note_as_learnt("pretraining")
    federation.semi_supervise(federation.start)
    return sum_of(state_of(name, work.learner.objects) for name, work in federation.works.items())


def segmentation(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Run both stages of an arm's U-Net."""
    hearts = toy_site.toy_volumes(2, seed=0)
    network = UNetTraining(CONFIG, hearts)
    train_segmenter(RunFolder(folder, CONFIG), network, "arm", pretrain=hearts, finetune=hearts)
    return state_of("unet", network.objects)


def direct(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Run Direct-FL over two sites, then each site's fine-tuning."""
    federation = ToyFederation(folder, CONFIG)
    rate, steps = CONFIG.segmentation.rate, CONFIG.segmentation.pretraining_steps
    start = initial_weights(CONFIG)
    federation.coordinator.run_rounds(DirectFederated.name, start, rate=rate, steps=steps, accumulate="mean")
    unets = {name: work.unet for name, work in federation.works.items()}
    for name, unet in unets.items():
        finetune_segmenter(federation.run.site(name), unet.training, DIRECT, unet.data.labelled)
    return sum_of(state_of(name, unet.objects) for name, unet in unets.items())


def sum_of(states: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return all states in one dictionary."""
    return {key: value for state in states for key, value in state.items()}


# (folder of a stage's checkpoints, when) of each kill, in the order in which they come. Every stage has to go on from
# its first step. All write checkpoints by the same code, so it is enough that each moment of this comes up in one of
# them: within TensorFlow's files, before their sums, before the rename, and before older ones are removed.
KILLS = {
    single: (
        ("checkpoints/pretraining", "step"),
        ("checkpoints/gan", "within"),
        ("checkpoints/semi_supervised", "rename"),
    ),
    federated: (
        ("sites/b/checkpoints/semi_supervised", "step"),
        ("federated_killed/checkpoints/semi_supervised", "rename"),
    ),
    segmentation: (
        ("checkpoints/segmentation/arm/pretrain", "sums"),
        ("checkpoints/segmentation/arm/finetune", "sweep"),
    ),
    direct: (
        ("checkpoints/segmentation/direct_fl/pretrain", "step"),
        ("sites/a/checkpoints/segmentation/direct_fl/finetune", "within"),
    ),
}


def state_of(name: str, objects: dict[str, tf.Module]) -> dict[str, np.ndarray]:
    """Return every variable of trackable objects, optimizers included, by a path that is the same in every process."""
    found = {}
    for key, value in objects.items():
        variables = [value] if isinstance(value, tf.Variable) else value.variables
        found |= {f"{name}/{key}/{number}": variable.numpy() for number, variable in enumerate(variables)}
    return found


def kill_at(checkpoints_of: str, when: str) -> None:
    """Let this process be killed in a stage's second step, or while the checkpoint after it is written."""
    folder, stage = f"{checkpoints_of}/", checkpoints_of.split("checkpoints/")[1]
    partial = f"{folder}{checkpoints.PARTIAL}2"
    if when == "step":
        kill_before(loop, "check_finite", lambda values, name, index, **_: name == stage and index == 1)
    elif when == "within":
        kill_before(tf.train.Checkpoint, "write", lambda self, path: partial in path and kill_when_it_grows(path))
    elif when == "sums":
        kill_before(checkpoints, "write_json", lambda path, values: partial in str(path))
    elif when == "rename":
        kill_before(pathlib.Path, "rename", lambda self, target: partial in str(self))
    else:  # "sweep": the second time that this process looks for what is there; the first is when it restores
        looks: list[str] = []
        kill_before(checkpoints, "_find", lambda path: folder in f"{path}/" and (looks.append("") or len(looks) == 2))


def kill_before(owner: Any, name: str, due: Callable[..., Any]) -> None:
    """Kill this process instead of the first call of a function for whose arguments `due` is true."""
    original = getattr(owner, name)

    def disturbed(*args: Any, **kwargs: Any) -> Any:
        if due(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, disturbed)


def kill_when_it_grows(path: str) -> None:
    """Kill this process at about the moment at which the first byte of a checkpoint is on the disk."""

    def has_grown() -> bool:
        return any(file.is_file() and file.stat().st_size for file in pathlib.Path(path).parent.rglob("*"))

    def watch() -> None:
        while True:
            with contextlib.suppress(FileNotFoundError):  # TensorFlow renames its files between two looks at them
                if has_grown():
                    os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def start(job: Job, folder: pathlib.Path, moment: tuple[str, str] | None = None) -> int:
    """Run a job in a forked process to its end or until it is killed at a moment; return the signal, 0 at its end."""
    child = os.fork()
    if child:
        return os.WTERMSIG(os.waitpid(child, 0)[1])
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    tf.config.run_functions_eagerly(True)
    built.UNet3D = SmallUNet
    if moment:
        kill_at(*moment)
    np.savez(f"{folder}.npz", **job(folder))
    os._exit(0)


def main(root: pathlib.Path) -> None:
    """Write <job>_whole.npz and <job>_killed.npz for every job, and print each kill that took place."""
    for job, kills in KILLS.items():
        name = job.__name__
        start(job, root / f"{name}_whole")
        for moment in kills:
            if start(job, root / f"{name}_killed", moment) == signal.SIGKILL:
                print(name, *moment, flush=True)
        start(job, root / f"{name}_killed")


if __name__ == "__main__":
    use_small_gan(pytest.MonkeyPatch())
    main(pathlib.Path(sys.argv[1]))
