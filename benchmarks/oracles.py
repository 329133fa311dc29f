"""Which part of a simulation is to blame: U-Nets that learn from volumes in which some parts are true.

python -m benchmarks.oracles RUN --cache_dir=... [--volumes=20]

RUN is a finished run of `experiments.single_site` on the phantom cohort with Ours-Full and the upper bound.
For its fold 0, and with the same budget for each, U-Nets learn from

- Ours-Full's own volumes: everything is learnt;
- true shapes: the training part's true labels, each with the simulated CT of its own learnt latent, enhanced;
- true shapes and coarse CTs: the true labels with the volumes' own coarse CTs, enhanced;
- fresh phantoms, as many as samples, with their true labels: nothing is learnt,

each by itself and then fine-tuned on the annotated volumes. The upper bound's network says how well images follow their
labels.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf

from benchmarks.fold_of_run import open_learner
from fedsim_tf.data.preprocess import prepare
from fedsim_tf.evaluation.scores import score_on_own_labels, score_segmenter
from fedsim_tf.phantom.sites import find_spec
from fedsim_tf.phantom.subjects import make_subject
from fedsim_tf.runs.finished import open_finished_fold
from fedsim_tf.runs.samples import stack_samples
from fedsim_tf.synthesis import downsample, sample_volumes, slice_renderer
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import UNetTraining, train_segmenter
from fedsim_tf.training.simulation import pretrain, semi_supervise
from fedsim_tf.training.volumes import SiteVolumes, Volumes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--cache_dir", type=pathlib.Path, required=True)
    parser.add_argument("--volumes", type=int, default=20, help="samples and fresh phantoms")
    arguments = parser.parse_args()
    work = arguments.run / "oracles"
    run, learner = open_learner(arguments.run, cache_dir=arguments.cache_dir)
    config, site = run.config, learner.data
    volumes = make_oracles(run, learner, count=arguments.volumes)
    follow = open_finished_fold(run.path).load_segmenter("segmentation/upper_bound/finetune")
    network = UNetTraining(config, site.validation)
    print("| learns from | upper bound's network on them | Dice alone | fine-tuned |\n|---|---|---|---|", flush=True)
    for name, one in volumes.items():
        own_run = RunFolder(work / name.replace(" ", "_"), config)
        scores = [
            score_segmenter(
                train_segmenter(own_run, network, name, pretrain=one, finetune=second), site.test, site.test_extents_mm
            ).dice
            for second in (None, site.labelled)
        ]
        print(
            f"| {name} ({len(one)}) | {score_on_own_labels(follow, one):.1f} | {scores[0]:.1f} | {scores[1]:.1f} |",
            flush=True,
        )
    real = score_segmenter(follow, site.test, site.test_extents_mm).dice
    print(f"\nThe upper bound: {real:.1f} on the test part.")


def make_oracles(run: RunFolder, learner: SiteLearner, *, count: int) -> dict[str, Volumes]:
    """Return the volumes of each row, by its name; the learner gets the weights of the finished run."""
    site, model = learner.data, learner.model
    distribution = semi_supervise(run, learner, pretrain(run, learner))
    truth = {
        name: (image, label)
        for name, image, label in zip(
            site.fully_labelled.identities, site.fully_labelled.images, site.fully_labelled.labels, strict=True
        )
    }
    latents = {
        **dict(zip(site.labelled.identities, learner.labelled_latents.table.numpy(), strict=True)),
        **dict(zip(site.unlabelled.identities, learner.unlabelled_latents.table.numpy(), strict=True)),
    }
    known = [name for name in truth if name in latents]
    labels = np.stack([truth[name][1] for name in known])
    simulated = model.coarse_ct(tf.constant(np.stack([latents[name] for name in known]))).numpy()
    own = downsample(np.stack([truth[name][0] for name in known]), model.coarse_size)
    with settle_statistics(model.enhancer, training_slices(learner, with_unlabelled=True)):
        render = slice_renderer(model)
        drawn = list(sample_volumes(model, distribution, count, seed=learner.config.seed))
        from_latents, from_own = (
            np.stack([render(coarse, label.astype(np.uint8)) for coarse, label in zip(coarse_cts, labels, strict=True)])
            for coarse_cts in (simulated, own)
        )
    return {
        "Ours-Full": stack_samples(drawn),
        "true shapes": as_volumes(from_latents, labels),
        "true shapes and coarse CTs": as_volumes(from_own, labels),
        "fresh phantoms": make_phantoms(learner.config, site, count=count),
    }


def make_phantoms(config, site: SiteVolumes, *, count: int) -> Volumes:
    """Return phantoms of the site whom no data set has, with their true labels."""
    spec, images, labels = find_spec(config.dataset), [], []
    for number in range(spec.n_subjects, spec.n_subjects + count):
        case = prepare(
            make_subject(spec, number, f"fresh_{number}"), config.model.size, window_hu=config.data.window_hu
        )
        images.append(case.image)
        labels.append(case.label > 0)
    return as_volumes(images, labels)


def as_volumes(images, labels) -> Volumes:
    names = tuple(f"volume_{number:03d}" for number, _ in enumerate(images))
    return Volumes(names, np.stack(images), np.stack(labels).astype(np.float32))


if __name__ == "__main__":
    main()
