"""Does the enhancement network use its labels: contrast of chambers to wall in what it makes, before the last stage.

python -m benchmarks.label_use RUN [RUN ...] --cache_dir=... [--volumes=12]

Each RUN is a run of `experiments.single_site` with `--model_labels=regions` whose fold 0 has finished the stage "gan".
The network is given the annotated patients' own labels with the simulated CTs of their latents, and samples of the
normal that was fitted to these. Real ones are the annotated patients; where the first contrast is low, the network has
not learnt to use labels, whatever latents are drawn.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.fold_of_run import open_learner
from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.regions import LV, MYOCARDIUM
from fedsim_tf.synthesis import sample_volumes, slice_renderer
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.pretraining import simulate_fitted
from fedsim_tf.training.simulation import pretrain


class HeartValues(NamedTuple):
    """Means over volumes, in HU.

    Attributes:
      contrast: of left-ventricular blood to myocardium.
      spread: standard deviation within a heart.
    """

    contrast: float
    spread: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    parser.add_argument("--cache_dir", type=pathlib.Path, required=True)
    parser.add_argument("--volumes", type=int, default=12, help="samples")
    arguments = parser.parse_args()
    print("| run | contrast, patients' labels | contrast, samples | spread within a heart, samples | difference, HU |")
    print("|---|---|---|---|---|")
    for path in arguments.runs:
        values = measure(path, cache_dir=arguments.cache_dir, count=arguments.volumes)
        print(f"| {path.name} | " + " | ".join(values) + " |", flush=True)


def measure(path: pathlib.Path, *, cache_dir: pathlib.Path, count: int) -> list[str]:
    """Return a run's row: contrasts and spread, synthetic over real, and the mean absolute difference to patients."""
    run, learner = open_learner(path, cache_dir=cache_dir)
    config, site = run.config, learner.data
    if site.labelled.regions is None:
        raise SystemExit(f"{path} tells no regions apart: give a run with --model_labels=regions")
    distribution = pretrain(run, learner)
    window_hu, labels = config.data.window_hu, site.labelled.regions.astype(np.uint8)
    with settle_statistics(learner.model.enhancer, training_slices(learner, with_unlabelled=False)):
        render = slice_renderer(learner.model)
        made = [render(coarse, label) for coarse, label in zip(simulate_fitted(learner), labels, strict=True)]
        drawn = list(sample_volumes(learner.model, distribution, count, seed=config.seed))
    patients, again, samples = (
        [hu_from_unit(image, window_hu) for image in images]
        for images in (site.labelled.images, made, [one.image for one in drawn])
    )
    real, own = measure_hearts(patients, labels), measure_hearts(again, labels)
    other = measure_hearts(samples, [one.label for one in drawn])
    difference = np.mean([np.abs(one - true).mean() for one, true in zip(again, patients, strict=True)])
    ratios = (own.contrast / real.contrast, other.contrast / real.contrast, other.spread / real.spread)
    return [*(f"{ratio:.2f}" for ratio in ratios), f"{difference:.0f}"]


def measure_hearts(images_hu: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> HeartValues:
    """Return the contrast and spread of hearts; volumes without one of the two tissues are left out of the contrast."""
    contrasts, spreads = [], []
    for image, label in zip(images_hu, labels, strict=True):
        blood, wall = image[label == LV], image[label == MYOCARDIUM]
        if blood.size and wall.size:
            contrasts.append(blood.mean() - wall.mean())
        if (label > 0).any():
            spreads.append(image[label > 0].std())
    return HeartValues(float(np.mean(contrasts)), float(np.mean(spreads)))


if __name__ == "__main__":
    main()
