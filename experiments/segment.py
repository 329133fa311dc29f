"""Segment the heart in a CT with a network that a run has trained. The mask lies where the CT lies.

python -m experiments.segment --fold_dir=runs/demo/fold_0 --image=ct.nii.gz --output=heart.nii.gz
"""

import math

from absl import flags

from experiments import command

command.define_path(
    "fold_dir",
    "A finished fold of a run, such as runs/demo/fold_0; of a federated one, a site's folder: .../fold_0/sites/ct20.",
    required=True,
)
flags.DEFINE_string("arm", "ours_full", "The arm whose network is used: lower_bound, ours_full, ours_sim_fl, ...")
command.define_path("image", "The CT, NIfTI in HU.", required=True)
command.define_path("output", "Where the mask is written (.nii.gz).", required=True)
command.define_path("label", "A true label on the same grid, regions or heart; the Dice is printed.")
command.define_path("picture", "A PNG of slices with outlines.")
command.define_dry_run("Only check the files and the run, and load the network.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.tools.segment import open_segmentation

    start = open_segmentation(
        FLAGS.fold_dir, FLAGS.arm, image=FLAGS.image, output=FLAGS.output, label=FLAGS.label, picture=FLAGS.picture
    )
    if FLAGS.dry_run:
        print(f"{FLAGS.image} can be segmented with the network of {FLAGS.arm} in {FLAGS.fold_dir}")
        return
    found = start.run()
    voxels, voxel_mm3 = int(found.mask.array.sum()), math.prod(found.mask.geometry.spacing_mm)
    print(f"heart: {voxels} voxels, {voxels * voxel_mm3 / 1000:.0f} ml, written to {FLAGS.output}")
    if found.dice is not None:
        print(f"Dice: {found.dice:.2f} %")


if __name__ == "__main__":
    command.main(run)
