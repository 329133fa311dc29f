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
flags.DEFINE_string(
    "data_label_values", "", "What the values of label maps mean, such as heart:51 or lv:1,rv:2. Default: as usual."
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
OF_LABELS = ("dataset", "data_label_values", "fold", "split_seed", "regions", "points", "seed")


def run() -> None:
    from fedsim_tf.errors import InputError
    from fedsim_tf.progress import count_text, duration
    from fedsim_tf.tools.ssm_start import estimate_registration, open_labels, open_shapes

    if (FLAGS.labels is None) == (FLAGS.shapes is None):
        found = "neither" if FLAGS.labels is None else "both"
        raise InputError("--labels and --shapes", found=found, expected="one of the two")
    of_labels = [name for name in OF_LABELS if FLAGS.shapes is not None and FLAGS[name].present]
    if of_labels:
        raise InputError(of_labels[0], value="given with --shapes", must="be given with --labels")
    plan = _plan()
    if FLAGS.shapes:
        shapes = open_shapes(plan, FLAGS.shapes)
        print(f"{len(shapes.shapes.points)} shapes in correspondence, {count_text(FLAGS.modes, 'mode')}")
        _build(shapes)
    else:
        labels = open_labels(
            plan,
            FLAGS.labels,
            FLAGS.dataset,
            fold=FLAGS.fold,
            split_seed=FLAGS.split_seed,
            label_values=FLAGS.data_label_values,
        )
        subjects = len(labels.sources)
        seconds = duration(estimate_registration(subjects, FLAGS.points))
        print(f"{subjects} subjects, {count_text(FLAGS.modes, 'mode')}: about {seconds} on two cores", flush=True)
        _build(labels)


def _plan():
    from fedsim_tf.shape.registration import RegistrationOptions
    from fedsim_tf.tools.ssm_start import BuildPlan

    out = pathlib.Path(FLAGS.out)
    options = RegistrationOptions(
        components=FLAGS.points,
        points=FLAGS.points,
        fine_points=4 * FLAGS.points,
        workers=FLAGS.threads,
        seed=FLAGS.seed,
    )
    report = pathlib.Path(FLAGS.report_dir) if FLAGS.report_dir else out.with_name(f"{out.stem}_report")
    return BuildPlan(out, FLAGS.modes, report, command.read_whole_numbers("regions"), options)


def _build(start) -> None:
    if FLAGS.dry_run:
        return
    from fedsim_tf.tools.build_ssm import build_model

    build_model(start)
    print((start.plan.report / "quality.md").read_text(), end="")
    print(f"\nmodel: {start.plan.out}; report: {start.plan.report}")


if __name__ == "__main__":
    command.main(run)
