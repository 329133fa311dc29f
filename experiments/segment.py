"""Segment the heart in CTs with a network that a run has trained. Each mask lies where its CT lies.

python -m experiments.segment --fold_dir=runs/demo/fold_0 --image=ct.nii.gz --output=heart.nii.gz
python -m experiments.segment --fold_dir=runs/demo/fold_0 --image=anna/ct --output=anna/rtstruct.dcm
python -m experiments.segment --fold_dir=runs/demo/fold_0 --image=scans --output=masks
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments import command

if TYPE_CHECKING:
    from fedsim_tf.tools.segment import Segmentation

FORMATS = ["nifti", "nrrd", "metaimage", "seg", "rtstruct"]  # `mask_writing.MASK_ENDINGS`, whose import takes long

command.define_path(
    "fold_dir",
    "A finished fold of a run, such as runs/demo/fold_0; of a federated one, a site's folder: .../fold_0/sites/ct20.",
    required=True,
)
flags.DEFINE_string("arm", "ours_full", "The arm whose network is used: lower_bound, ours_full, ours_sim_fl, ...")
command.define_paths(
    "image",
    "The CT in HU: NIfTI, NRRD, MetaImage, or the folder of a DICOM series. May be given several times, or be a folder "
    "with CTs.",
    required=True,
)
command.define_path(
    "output",
    "Where the mask is written: .nii.gz, .nrrd, .mha or, for a DICOM CT, .dcm. Of several CTs, a folder.",
    required=True,
)
flags.DEFINE_enum("format", None, FORMATS, "The format of masks. Default: as --output ends, else nifti.")
flags.DEFINE_bool("any_values", False, "Segment images too that are no CTs in HU, such as 8-bit pictures.")
flags.DEFINE_bool(
    "fit_field_of_view",
    False,
    "Cut each CT, or pad it with air, around its middle to a field of view such as those that the network has learnt.",
)
command.define_path(
    "label", "A true label on the same grid, regions or heart; the Dice is printed, by region where both have them."
)
command.define_path("picture", "A PNG of slices with outlines, of a single CT.")
command.define_dry_run("Only check the files and the run, and load the network.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.tools.segment_many import is_single

    if is_single(FLAGS.image, FLAGS.output):
        _run_one(FLAGS.image[0])
    else:
        _run_many()


def _run_one(image: str) -> None:
    from fedsim_tf.tools.segment import open_segmentation

    start = open_segmentation(
        FLAGS.fold_dir,
        FLAGS.arm,
        image=image,
        output=FLAGS.output,
        label=FLAGS.label,
        picture=FLAGS.picture,
        mask_format=FLAGS.format,
        any_values=FLAGS.any_values,
        fit_field_of_view=FLAGS.fit_field_of_view,
    )
    if FLAGS.dry_run:
        print(f"{image} can be segmented with the network of {FLAGS.arm} in {FLAGS.fold_dir}")
        return
    from fedsim_tf.regions import REGIONS

    found = start.run()
    _say(found, FLAGS.output)
    if found.dice is not None:
        print(f"Dice: {found.dice:.2f} %")
    for region, dice in found.region_dice.items():
        print(f"Dice of {REGIONS[region].title}: {dice:.2f} %")


def _run_many() -> None:
    from fedsim_tf.errors import InputError, Refusals
    from fedsim_tf.tools.segment_many import open_many

    for name in ("label", "picture"):
        if FLAGS[name].value:
            must = "be given for a single CT, with a file and no folder as --output"
            raise InputError(name, value=FLAGS[name].value, must=must)
    start = open_many(
        FLAGS.fold_dir,
        FLAGS.arm,
        images=FLAGS.image,
        output_dir=FLAGS.output,
        mask_format=FLAGS.format,
        any_values=FLAGS.any_values,
        fit_field_of_view=FLAGS.fit_field_of_view,
    )
    refusals = Refusals(", ".join(FLAGS.image))
    if FLAGS.dry_run:
        count = sum(1 for _ in start.open_each(refusals=refusals))
        print(f"{count} CTs can be segmented with the network of {FLAGS.arm} in {FLAGS.fold_dir}")
    else:
        for output, found in start.run(refusals=refusals):
            _say(found, output)
    refusals.check()


def _say(found: "Segmentation", output: str | pathlib.Path) -> None:
    voxels = int((found.mask.array != 0).sum())
    print(f"heart: {voxels} voxels, {found.mask.nonzero_ml:.0f} ml, written to {output}")


if __name__ == "__main__":
    command.main(run)
