"""Draw labelled synthetic CTs from the generator of a finished run. The same command again resumes.

python -m experiments.sample --generator=runs/demo/fold_0/generators/ours_full --count=100 --output=samples
python -m experiments.sample --generator=GENERATOR --count=100 --output=Dataset501_Synthetic --format=nnunet
python -m experiments.sample --generator=GENERATOR --count=9 --output=path --interpolate=0,5
"""

from absl import flags

from experiments import command

FORMATS = ["nifti", "nnunet", "monai", "nrrd"]  # `tools.sample_formats.FORMATS`, whose import takes long

command.define_path("generator", "A generator's folder, such as runs/demo/fold_0/generators/ours_full.", required=True)
flags.DEFINE_integer("count", 100, "Volumes in all.", lower_bound=1)
command.define_path("output", "Folder for the volumes; more are drawn into it by a larger --count.", required=True)
flags.DEFINE_integer("seed", 0, "What volumes are drawn from; volume i is the same whatever the count.", lower_bound=0)
flags.DEFINE_enum(
    "format",
    "nifti",
    FORMATS,
    "nifti: pairs of images and labels; nnunet: a raw data set of nnU-Net v2; monai: with a datalist; nrrd: with "
    "segmentations for 3D Slicer.",
)
flags.DEFINE_string(
    "label_values", "", "The values of labels, such as heart:1 or lv:1,rv:2. Default: 1 for the heart, or region ids."
)
flags.DEFINE_float("spread", 1.0, "A factor on how far volumes are from the mean; 1: as the patients.", lower_bound=0)
flags.DEFINE_integer("fix_shape", None, "All volumes have the shape of this sample.", lower_bound=0)
flags.DEFINE_integer("fix_material", None, "All volumes have the material of this sample.", lower_bound=0)
flags.DEFINE_list("interpolate", None, "Volumes lie between these two samples, such as 0,5.")
flags.DEFINE_string(
    "modes", "", "Weights of the shape model's modes in standard deviations that all shapes have, such as 0:2.0,3:-1."
)
command.define_path("rendering", "Another generator: its enhancement network and field of view show the volumes.")
command.define_path("picture", "A PNG of six of the volumes in three planes, the first and the last among them.")
command.define_path(
    "run", "The run or fold that wrote the generator; says how far each volume is from the nearest training volume."
)
command.define_cache_dir()
command.define_dry_run("Only check the generator and the folder, and say what would be drawn.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.arms import title
    from fedsim_tf.generator.sampling_plan import SamplingPlan, parse_modes
    from fedsim_tf.tools.sample import open_sampling

    ends = None if FLAGS.interpolate is None else command.read_whole_numbers("interpolate")
    plan = SamplingPlan(
        count=FLAGS.count,
        seed=FLAGS.seed,
        spread=FLAGS.spread,
        fix_shape=FLAGS.fix_shape,
        fix_material=FLAGS.fix_material,
        interpolate=ends,  # type: ignore[arg-type]
        modes=parse_modes(FLAGS.modes),
    )
    start = open_sampling(
        FLAGS.generator,
        FLAGS.output,
        plan,
        file_format=FLAGS.format,
        label_values=FLAGS.label_values,
        rendering=FLAGS.rendering,
        run=FLAGS.run,
        cache_dir=command.cache_dir(),
        picture=FLAGS.picture,
    )
    card, missing = start.files.card, len(start.missing)
    print(f"Generator: {title(card.arm)}, {card.data_set}{' (phantoms)' if card.phantom else ''}; {card.terms}")
    print(f"{FLAGS.count} volumes in {FLAGS.output}, {missing} of them to be drawn", flush=True)
    if FLAGS.dry_run:
        return
    novelty = start.run()
    if novelty is not None:
        print("Distance to the nearest training volume, root mean square in HU, mean and least:")
        print(f"these volumes {novelty.sample_to_real_hu:.0f} and {novelty.closest_sample_hu:.0f}")
        print(f"training volumes themselves {novelty.real_to_real_hu:.0f} and {novelty.closest_real_hu:.0f}")


if __name__ == "__main__":
    command.main(run)
