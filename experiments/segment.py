"""Segments the heart in a CT with a network that a run has trained; the mask lies where the CT lies.

python -m experiments.segment --fold_dir=runs/demo/fold_0 --image=ct.nii.gz --output=heart.nii.gz
"""

import math

from absl import flags

from experiments import flags as command

flags.DEFINE_string(
    "fold_dir",
    None,
    "A finished fold of a run, such as runs/demo/fold_0; of a federated one, a site of it: .../fold_0/sites/ct20.",
    required=True,
)
flags.DEFINE_string("arm", "ours_full", "Whose network: lower_bound, ours_full, ours_sim_fl, ...")
flags.DEFINE_string("image", None, "The CT, NIfTI in HU.", required=True)
flags.DEFINE_string("output", None, "Where the mask is written (.nii.gz).", required=True)
flags.DEFINE_string("label", None, "A true label on the same grid, regions or heart: prints the Dice.")
flags.DEFINE_string("picture", None, "A PNG of slices with outlines.")
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.tools.segment import segment_file

    found = segment_file(
        FLAGS.fold_dir, FLAGS.arm, image=FLAGS.image, output=FLAGS.output, label=FLAGS.label, picture=FLAGS.picture
    )
    voxels, voxel_mm3 = int(found.mask.array.sum()), math.prod(found.mask.geometry.spacing_mm)
    print(f"heart: {voxels} voxels, {voxels * voxel_mm3 / 1000:.0f} ml, written to {FLAGS.output}")
    if found.dice is not None:
        print(f"Dice: {found.dice:.2f} %")


if __name__ == "__main__":
    command.main(run)
