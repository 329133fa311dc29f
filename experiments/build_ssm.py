"""Build a statistical shape model of the heart from label maps, and report on its quality.

python -m experiments.build_ssm --labels=DIR --modes=14 --out=hearts.npz

Use the model with --model_shape_model=hearts.npz in the other commands. Meshes of the modes for 3D Slicer and ParaView,
pictures and figures are written beside it; the same command again resumes.
"""

import pathlib

from absl import flags

from experiments import command

command.define_path("labels", "Folder with one label map (NIfTI, regions 1..7 or heart and background) a subject.")
flags.DEFINE_string(
    "dataset", None, "Read --labels in the layout of this data set: ct20, ct34lc, totalsegmentator, ..."
)
flags.DEFINE_integer(
    "fold", None, "Only the training part of this fold of --dataset, for runs that test the others.", lower_bound=0
)
flags.DEFINE_integer("split_seed", 0, "The runs' --data_split_seed, for --fold.", lower_bound=0)
command.define_path(
    "shapes",
    "Instead of labels: shapes in correspondence (.npz, or a folder of .vtk, .vtu or .ply); or 'phantom'.",
)
flags.DEFINE_integer("modes", 14, "Modes of the model; at most the subjects less one.", lower_bound=1)
command.define_path("out", "The model (.npz).", required=True)
command.define_path("report_dir", "Folder of the report. Default: beside the model, called <name>_report.")
flags.DEFINE_list("regions", [], "Only these labels, such as 1,5. Default: all seven, or 1 where labels are binary.")
flags.DEFINE_integer("points", 4000, "Vertices of the template and points of each heart.", lower_bound=100)
flags.DEFINE_integer(
    "threads", 2, "Subjects that are worked on at a time; the result does not depend on it.", lower_bound=1
)
flags.DEFINE_integer("seed", 0, "Of the points that are drawn.", lower_bound=0)
command.define_dry_run("Only say what would be built, and about how long it takes.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS
OF_LABELS = ("dataset", "fold", "split_seed", "regions", "points", "seed")


def run() -> None:
    from absl import logging

    from fedsim_tf.errors import InputError
    from fedsim_tf.shape.registration import RegistrationOptions
    from fedsim_tf.tools import build_ssm as job

    out = pathlib.Path(FLAGS.out)
    if out.suffix != ".npz":
        raise InputError("out", value=out, must="be a file that ends in .npz")
    if (FLAGS.labels is None) == (FLAGS.shapes is None):
        raise InputError(
            "command line",
            found=f"{'neither' if FLAGS.labels is None else 'both'} of --labels and --shapes",
            expected="one of them",
        )
    of_labels = [name for name in OF_LABELS if FLAGS.shapes is not None and FLAGS[name].present]
    if of_labels:
        raise InputError(of_labels[0], value="given with --shapes", must="be given with --labels")
    regions = command.read_whole_numbers("regions")
    options = RegistrationOptions(
        components=FLAGS.points,
        points=FLAGS.points,
        fine_points=4 * FLAGS.points,
        workers=FLAGS.threads,
        seed=FLAGS.seed,
    )
    report = pathlib.Path(FLAGS.report_dir) if FLAGS.report_dir else out.with_name(f"{out.stem}_report")
    plan = job.BuildPlan(out, FLAGS.modes, report, regions, options)
    if FLAGS.shapes:
        if pathlib.Path(FLAGS.shapes).resolve() == out.resolve():
            raise InputError("out", value=out, must="be another file than that of --shapes")
        shapes = job.open_shapes(FLAGS.shapes)
        job.check_modes(FLAGS.modes, len(shapes.points))
        logging.info("%d shapes in correspondence, %d modes", len(shapes.points), FLAGS.modes)
        if FLAGS.dry_run:
            return
        job.build_from_shapes(shapes, plan)
    else:
        loaders = job.find_subjects(FLAGS.labels, FLAGS.dataset, fold=FLAGS.fold, split_seed=FLAGS.split_seed)
        job.check_modes(FLAGS.modes, len(loaders))
        minutes = job.estimated_seconds(len(loaders), FLAGS.points) / 60
        logging.info("%d subjects, %d modes: about %.0f minutes on two cores", len(loaders), FLAGS.modes, minutes)
        if FLAGS.dry_run:
            return
        job.build_from_labels(loaders, plan)
    print((report / "quality.md").read_text(), end="")
    print(f"\nmodel: {out}; report: {report}")


if __name__ == "__main__":
    command.main(run)
