"""Lets every stage learn one phantom volume by heart, at the `small` preset; prints figures and draws a picture.

python -m benchmarks.overfitting --out=overfitting.png [--vgg_weights=FILE]
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import time

import numpy as np

from fedsim_tf.config import make_config
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.galleries import heart_slice
from fedsim_tf.metrics import iou
from fedsim_tf.resize import resize_volume
from fedsim_tf.runs.inputs import open_cohort, open_fold, open_shape_model, open_vgg
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.segmentation import UNetTraining
from tests.training import overfitting

DATASET = "ct34lc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the picture (PNG)")
    parser.add_argument("--vgg_weights", default="random", help="as model.vgg_weights")
    parser.add_argument("--cache_dir", type=pathlib.Path, default=pathlib.Path.home() / ".cache/fedsim_tf")
    parser.add_argument("--generator_steps", type=int, default=1500)
    parser.add_argument("--slice_steps", type=int, default=600)
    parser.add_argument("--semi_steps", type=int, default=200)
    parser.add_argument("--unet_steps", type=int, default=120)
    arguments = parser.parse_args()
    config = make_config(
        "small",
        dataset=DATASET,
        model={"vgg_weights": arguments.vgg_weights},
        gan={"steps": arguments.slice_steps, "flip": False, "intensity": 0.0},
        semi={"steps": arguments.semi_steps},
    )
    cohort = open_cohort(config, DATASET, cache_dir=arguments.cache_dir)
    site = open_fold(config, cohort, fold=0, n_labelled=2, cache_dir=arguments.cache_dir)
    site = overfitting.with_one_volume(site)
    learner = SiteLearner(config, open_shape_model(config), site, open_vgg(config))
    image, truth = site.labelled.images[0], site.labelled.labels[0]
    k = heart_slice(truth)
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {text}", flush=True)

    generator = overfitting.fit_generator(learner, steps=arguments.generator_steps)
    say(f"stage 1: IoU of the shape {generator.iou:.2f} %, error of the coarse CT {generator.error:.2%} of its range")
    best = overfitting.best_coarse_error(learner)
    say(f"         error of a map of free voxels after a simulated scan {best:.2%}")
    rendering = overfitting.fit_slice(learner, k, steps=arguments.slice_steps)
    share = rendering.distance / rendering.distance_of_grey
    say(f"stage 2: VGG distance {rendering.distance:.3g}, {share:.1%} of that of the slice's mean grey")
    before, after, kept = overfitting.fit_unannotated(learner, steps=arguments.semi_steps, noise=3.0)
    say(f"stage 3: the GAN's losses on the unannotated volume's slices {before:.3g} before, {after:.3g} after;")
    say(f"         annotated volume after it: IoU {kept.iou:.2f} %, coarse CT {kept.error:.2%}")
    found = overfitting.fit_segmentation(
        UNetTraining(config, site.validation), site.labelled, rate=config.segmentation.rate, steps=arguments.unet_steps
    )
    say(f"U-Net: IoU {iou(found, truth):.2f} %")
    true_coarse, coarse = (
        resize_volume(part[None], len(truth))[0].numpy()[k] for part in (generator.true_coarse, generator.coarse)
    )
    rows = [
        [(image[k], truth[k], None), (image[k], truth[k], generator.label[k]), (image[k], None, generator.label[k])],
        [(true_coarse, None, None), (coarse, None, None), (np.abs(coarse - true_coarse) * 10 - 1, None, None)],
        [
            (image[k], None, None),
            (rendering.rendered, None, None),
            (np.abs(rendering.rendered - image[k]) * 10 - 1, None, None),
        ],
        [(image[k], truth[k], None), (image[k], truth[k], found[k]), (image[k], None, found[k])],
    ]
    panel(
        arguments.out,
        rows,
        columns=("true", "learnt", "learnt alone; error x 10"),
        title=f"One volume of the phantom cohort ({DATASET}) learnt by heart:\nshape, material, slice, U-Net",
    )


if __name__ == "__main__":
    main()
