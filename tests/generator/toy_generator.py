"""Generators of untrained networks at the smallest size, whose weights answer to the latent."""

import dataclasses

import numpy as np

from fedsim_tf.files import digest_file
from fedsim_tf.generator.export import export_generator
from fedsim_tf.models import built
from fedsim_tf.plus.wider_shapes import measure_changes
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from fedsim_tf.training.learner import SiteLearner
from tests.shape.shapes_for_tests import population_of_regions
from tests.training.toy_site import small_vgg, toy_config, toy_shape_model, toy_site

ARM, SUBJECTS = "ours_full", ("anna", "berta")


def make_learner(*, seed=0, by_region=False, interpolated=True, **site):
    """Return a toy site's learner; new networks would make the same volume of every latent."""
    plus = {"width": 2, "interpolated": interpolated}
    config = toy_config(seed=seed, model={"labels": "regions" if by_region else "heart"}, plus=plus)
    ssm = dataclasses.replace(toy_shape_model(), subjects=SUBJECTS, subject_digests=("1" * 64, "2" * 64))
    if by_region:
        points, faces, region_id = population_of_regions(n=6)
        ssm = StatisticalShapeModel.fit(points * 3, faces, region_id, n_modes=4)
    learner = SiteLearner(config, ssm, dataclasses.replace(toy_site(), **site), small_vgg())
    rng = np.random.default_rng(seed)
    for variable in learner.shared_variables:
        variable.assign_add(0.05 * rng.standard_normal(variable.shape))
    return learner


def write_toy_generator(folder, **options):
    """Write the generator of a new toy site."""
    learner = make_learner(**options)
    distribution = learner.latent_statistics(with_unlabelled=True).distribution()
    with settle_statistics(learner.model.enhancer, training_slices(learner, with_unlabelled=True)):
        export_generator(folder, learner, distribution, arm=ARM, with_unlabelled=True)


def write_toy_plus_generator(folder, **options):
    """Write a generator as Ours-Plus leaves it, whose enhancement network sees whole volumes; return the learner."""
    learner = make_learner(**options)
    distribution = learner.latent_statistics(with_unlabelled=True).distribution()
    fitted = learner.model.shape_generator(learner.labelled_latents.table).numpy()
    export_generator(
        folder,
        learner,
        distribution,
        arm="ours_plus",
        with_unlabelled=True,
        changes_sd=measure_changes(fitted, spread=1.0),
        volume_enhancer=built.volume_enhancer(learner.config, seed=1),
    )
    return learner


def sign(folder):
    """Write checksums that fit the files, as somebody would who makes a generator by other means."""
    names = sorted(file.name for file in folder.iterdir() if file.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{digest_file(folder / name)}  {name}\n" for name in names))
