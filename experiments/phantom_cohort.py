"""Writes the phantom cohort of a site as NIfTI in that data set's own layout, around hearts of one's choice.

python -m experiments.phantom_cohort --site=ct20 --output=DIR --shapes=hearts.npz
"""

from absl import flags

from experiments import flags as command

flags.DEFINE_enum("site", "ct20", ["ct20", "ct34lc", "ct34mc"], "Whose patients, scanner and file names.")
flags.DEFINE_string("output", None, "Folder for the files.", required=True)
flags.DEFINE_string(
    "shapes",
    None,
    "Corresponding heart shapes (.npz: shapes, faces, region_id); beyond them and by default: phantom hearts.",
)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.phantom.cohort import write_site
    from fedsim_tf.phantom.sites import SITES
    from fedsim_tf.progress import progress_bar
    from fedsim_tf.shape.surfaces import CorrespondingShapes

    shapes = CorrespondingShapes.load(FLAGS.shapes) if FLAGS.shapes else None
    with progress_bar(SITES[FLAGS.site].n_subjects, f"phantom cohort {FLAGS.site}") as bar:
        write_site(FLAGS.site, FLAGS.output, shapes=shapes, progress=lambda *_: bar.update())
    print(f"phantom cohort {FLAGS.site}: {SITES[FLAGS.site].n_subjects} subjects in {FLAGS.output}")


if __name__ == "__main__":
    command.main(run)
