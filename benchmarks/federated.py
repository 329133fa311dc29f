"""Measures what a round costs: its noise, many sites in one process, FLARE with mutual TLS, and a long run.

python -m benchmarks.federated
python -m benchmarks.federated --soak_rounds=500
"""

import multiprocessing
import pathlib
import resource
import statistics
import tempfile
import threading
import time

import numpy as np
import psutil
from absl import app, flags

from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.flare.deployment import Deployment
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Task
from fedsim_tf.files import read_json
from fedsim_tf.training.run import RunFolder
from tests.federated.flare.federation import SERVER, Federation, job_of_tests
from tests.federated.flare.toy_job import (
    COMPONENTS,
    SETTINGS,
    STAGE,
    ToyController,
    ToyExecutor,
    ToyWork,
    coordinate,
    toy_config,
)

SITES = ("leeds", "munich", "turin")
NOISE = 2.0
flags.DEFINE_integer("length", 1_250_000, "Shared float32 values; the default is 5 MB.")
flags.DEFINE_integer("rounds", 60, "Rounds that are timed.")
flags.DEFINE_integer("soak_rounds", 0, "Rounds of a long run whose processes' memory is watched; 0: none.")
FLAGS = flags.FLAGS


def main(_):
    protect()
    in_one_process()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        runs = lambda name: {"runs_dir": str(root / "runs" / name)}  # noqa: E731
        system = Federation(root, SITES, SETTINGS, runs, classes=COMPONENTS, forked=False)
        deployment = Deployment(system.admin)
        system.start_all()
        try:
            run_deployed(system, deployment, root)
            if FLAGS.soak_rounds:
                soak(system, deployment)
        finally:
            deployment.close()
            system.kill_all()


def in_one_process():
    """Print the time of a round, the server's share of it and memory for several numbers of sites."""
    print("| sites | s a round | of these at the server | memory, peak less start (MB) |\n|---|---|---|---|")
    for count in (3, 10, 30):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # each number has a process, for its peak of memory
            seconds, server, memory = pool.apply(_run_rounds, (count, FLAGS.rounds, FLAGS.length))
        print(f"| {count} | {seconds:.3f} | {server:.3f} | {memory:.0f} |", flush=True)


def _run_rounds(count, rounds, length):
    """Return seconds a round, the server's part of them, and the memory in MB; sites do next to nothing."""
    with tempfile.TemporaryDirectory() as folder:
        config = toy_config([f"site-{i}" for i in range(count)], checkpoint_every=10**6)
        names, root = config.federated.sites, pathlib.Path(folder)
        sites = [Site(name, RunFolder(root / name, config), ToyWork(name, 0.0, length)) for name in names]
        exchange = _Timed(InProcess(sites))
        before, start = psutil.Process().memory_info().rss, time.perf_counter()
        coordinate(Coordinator(RunFolder(root / SERVER, config), exchange, names), rounds, length)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return seconds / rounds, (seconds - exchange.seconds) / rounds, (peak - before) / 2**20


def protect():
    """Print the seconds and processor seconds of a site's answer without and with noise, in turn, as medians."""
    with tempfile.TemporaryDirectory() as folder:
        sites = {}
        for noise in (0.0, NOISE):
            config = toy_config(["site"], checkpoint_every=10**6, **_protection(noise))
            site = Site(
                "site", RunFolder(pathlib.Path(folder) / f"{noise}", config), ToyWork("site", 0.0, FLAGS.length)
            )
            sites[noise] = InProcess([site]), []
        weights = {"shape/0": np.zeros(FLAGS.length, np.float32)}
        for exchange, _ in sites.values():
            exchange(Task("begin", STAGE, 0, weights))
        for number in range(FLAGS.rounds):
            for exchange, times in sites.values():
                start = time.perf_counter(), time.process_time()
                exchange(Task("gradients", STAGE, number, weights))
                times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    for noise, (_, times) in sites.items():
        wall, processor = np.median(times, axis=0)
        what = f"{FLAGS.length * 4 / 1e6:.1f} MB, noise {noise:g}"
        print(f"an answer of {what}: {wall:.3f} s, {processor:.3f} s of processors", flush=True)


def _protection(noise):
    return {"clip_norm": 1.0, "noise_multiplier": noise} if noise else {}


class _Timed:
    """An exchange that counts the seconds that the sites take."""

    def __init__(self, exchange):
        self._exchange, self.seconds = exchange, 0.0

    def __call__(self, task):
        start = time.perf_counter()
        try:
            return self._exchange(task)
        finally:
            self.seconds += time.perf_counter() - start


def run_deployed(system, deployment, root):
    """Print the seconds of a round of three sites through FLARE, as the server's stage counts them."""
    for name in ("bare_0", "noisy_0", "bare_1", "noisy_1"):  # in turn, as other work comes and goes
        noise = NOISE if name.startswith("noisy") else 0.0
        end = deployment.run(_make_job(name, FLAGS.rounds, noise))
        record = read_json(root / "runs" / SERVER / name / "stages" / f"{STAGE}.json")
        what = f"{FLAGS.length * 4 / 1e6:.1f} MB, three sites, mutual TLS, noise {noise:g}"
        print(f"{end.status}; {what}: {record['seconds'] / FLAGS.rounds:.2f} s a round", flush=True)


def soak(system, deployment):
    """Print the memory of every process over a long run."""
    samples, done = [], threading.Event()

    def watch():
        while not done.wait(5):
            samples.append(_measure_memory(system))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    end = deployment.run(_make_job("soak", FLAGS.soak_rounds))
    done.set()
    watching.join()
    print(f"{end.status}; {FLAGS.soak_rounds} rounds; memory in MB, medians of five looks")
    print("| process | after a fifth | two | three | four | at the end |\n|---|---|---|---|---|---|")
    full = [sample for sample in samples if len(sample) == max(map(len, samples))]
    ends = [len(full) * fifth // 5 for fifth in range(1, 6)]
    for name in full[0]:
        values = [sample[name] for sample in full]
        medians = [statistics.median(values[end - 5 : end]) for end in ends]
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in medians)} |")


def _measure_memory(system):
    """Return the resident memory in MB of every member's own process and its job's."""
    found = {}
    for name, started in system.processes.items():
        for process in [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]:
            try:
                words = " ".join(process.cmdline())
                what = "job" if "_process" in words else "member"
                found[f"{name}, {what}"] = process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                continue
    return found


def _make_job(run_name, rounds, noise=0.0):
    sites = list(SITES)
    controller = ToyController(sites, rounds, run_name, 0, FLAGS.length, 10**6)
    executor = ToyExecutor(sites, run_name, 0.0, FLAGS.length, noise)
    return job_of_tests(run_name, controller, executor, SITES, quorum=0)


if __name__ == "__main__":
    app.run(main)
