"""Seconds and memory of sampling a generator, beside the time that MONAI's loader takes to read a volume back.

python -m benchmarks.sampling [--preset=small] [--arm=ours_full] [--timed=20] [--volumes=1000]

The networks are untrained: what a volume costs depends on their sizes alone. MONAI is left out where it is missing.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
import psutil
import tensorflow as tf

from fedsim_tf import __version__
from fedsim_tf.config import PRECISIONS, PRESETS, make_config
from fedsim_tf.data.writing import write_volume
from fedsim_tf.generator.export import PLUS_FIELDS
from fedsim_tf.generator.folder import NETWORKS, write_generator
from fedsim_tf.generator.sampler import GeneratedVolume, Generator, load_generator
from fedsim_tf.generator.weights import take_weights
from fedsim_tf.models import built
from fedsim_tf.models.precision import resolve_precision
from fedsim_tf.plus.wider_shapes import measure_changes
from fedsim_tf.records.generator_card import GeneratorCard
from fedsim_tf.runs.inputs import open_shape_model
from fedsim_tf.shape.parameters import N_POSE
from fedsim_tf.synthesis import GenerativeModel

THREADS = 2
EXTENT_MM = (240.0, 240.0, 200.0)
SETTLED = 20  # volumes after which memory is looked at: the first ones fill pools
LOOK_EVERY = 5


def make_generator(preset: str, precision: str, folder: pathlib.Path, *, arm: str) -> Generator:
    """Write a generator of a preset's sizes with untrained networks, and load it as a user would."""
    config = make_config(preset, model={"precision": resolve_precision(precision)})
    ssm = open_shape_model(config)
    model = GenerativeModel(config, ssm, EXTENT_MM)
    settings = {"model": {**config.to_dict()["model"], "shape_model": "", "vgg_weights": "random"}}
    enhancer, changes_sd = model.enhancer, None
    if arm == "ours_plus":
        enhancer = built.volume_enhancer(config, seed=0)
        changes_sd = measure_changes(np.zeros((2, ssm.n_modes + N_POSE)), spread=1.0)
        settings["plus"] = {name: getattr(config.plus, name) for name in PLUS_FIELDS}
    networks = (model.shape_generator, model.material_generator, enhancer)
    card = GeneratorCard(
        arm=arm,
        data_set="untrained",
        phantom=True,
        annotated=0,
        unannotated=0,
        field_of_view_mm=EXTENT_MM,
        settings=settings,
        fedsim_tf=__version__,
        tensorflow=tf.__version__,
        terms="none",
    )
    length = config.model.latent
    weights = {name: take_weights(network) for name, network in zip(NETWORKS, networks, strict=True)}
    mean, root = np.zeros(length), np.eye(length)
    write_generator(folder, card, shape_model=ssm, mean=mean, root=root, weights=weights, changes_sd=changes_sd)
    return load_generator(folder)


def time_calls(call: Callable[[], object], count: int) -> tuple[float, float]:
    """Return the median seconds by the clock, and of the processor, that a call takes; the first one traces."""
    call()
    taken = []
    for _ in range(count):
        clock, processor = time.perf_counter(), time.process_time()
        call()
        taken.append((time.perf_counter() - clock, time.process_time() - processor))
    clocks, processors = zip(*taken, strict=True)
    return float(np.median(clocks)), float(np.median(processors))


def report(what: str, seconds: tuple[float, float]) -> None:
    """Print the seconds of something."""
    print(f"{what:40}{seconds[0]:9.3f} s{seconds[1]:9.3f} CPU s", flush=True)


def time_parts(generator: Generator, count: int) -> None:
    """Print the seconds of a volume's shape and label, its coarse CT, and its rendering."""
    model, z = generator._model, np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    coarse, label = model.coarse_ct(z)[0].numpy(), model.hard_label(model.labels(z))[0].numpy()
    report("  shape and label", time_calls(lambda: model.labels(z).numpy(), count))
    report("  coarse CT", time_calls(lambda: model.coarse_ct(z).numpy(), count))
    report("  rendering", time_calls(lambda: generator._render(coarse, label), count))


def time_files(volume: GeneratedVolume, folder: pathlib.Path, count: int) -> None:
    """Print the seconds that a volume and its label take to be written, and MONAI to read them back."""
    files = [folder / "image.nii.gz", folder / "label.nii.gz"]

    def write() -> None:
        for one, file in zip((volume.image, volume.label), files, strict=True):
            write_volume(one, file)

    report("written as .nii.gz", time_calls(write, count))
    try:
        from monai import __version__ as version
        from monai.transforms import LoadImage
    except ImportError:
        print("MONAI is not installed: pip install '.[benchmark]'")
        return
    load = LoadImage(reader="NibabelReader", image_only=True)
    report(f"read back by MONAI {version}", time_calls(lambda: [load(file) for file in files], count))


def watch_memory(generator: Generator, count: int) -> None:
    """Print the resident set over many volumes, and its slope after the first ones where there are more than those."""
    process, looks = psutil.Process(), []
    for volume in generator.sample(count, seed=1):
        if volume.number % LOOK_EVERY == 0:
            looks.append((volume.number, process.memory_info().rss / 2**20))
        if volume.number % SETTLED == 0:
            print(f"resident at volume {volume.number:4}: {looks[-1][1]:8.0f} MiB", flush=True)
    numbers, mib = np.array(looks).T
    later = numbers >= SETTLED
    if later.sum() < 2:
        return
    slope = np.polyfit(numbers[later], mib[later], 1)[0]
    print(f"slope from volume {SETTLED} on: {100 * slope:.2f} MiB for 100 volumes", flush=True)


def main() -> None:
    """Print the times of a volume and its parts, of its files, and the memory over many volumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small", choices=PRESETS)
    parser.add_argument("--arm", default="ours_full", choices=("ours_full", "ours_plus"))
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--timed", type=int, default=20, help="repeats of each time")
    parser.add_argument("--volumes", type=int, default=1000, help="volumes over which memory is watched; 0: none")
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        generator = make_generator(given.preset, given.precision, folder / "generator", arm=given.arm)
        size, kind = generator._config.model.size, generator._config.model.precision
        volumes = generator.sample(given.timed + 1)
        report(f"a volume of {size}^3, {kind}, {THREADS} threads", time_calls(lambda: next(volumes), given.timed))
        time_parts(generator, given.timed)
        time_files(next(generator.sample(1)), folder, given.timed)
        if given.volumes:
            watch_memory(generator, given.volumes)


if __name__ == "__main__":
    main()
