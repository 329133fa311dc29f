"""Write the phantom cohort of a site as NIfTI in that data set's own layout, around hearts of one's choice.

python -m experiments.phantom_cohort --site=ct20 --output=DIR --shapes=hearts.npz
"""

from absl import flags

from experiments import command
from fedsim_tf.phantom.sites import SITES

flags.DEFINE_enum("site", "ct20", list(SITES), "The site: whose patients, scanner and file names.")
command.define_path("output", "Folder for the files.", required=True)
command.define_path(
    "shapes",
    "Corresponding heart shapes (.npz: shapes, faces, region_id). Without them, and beyond them: phantom hearts.",
)
command.define_dry_run("Only check the shapes and the folder, and say what would be written.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.phantom.claim import open_shapes_for
    from fedsim_tf.progress import progress_bar

    site, count = FLAGS.site, SITES[FLAGS.site].n_subjects
    shapes = open_shapes_for(site, FLAGS.output, FLAGS.shapes)
    if FLAGS.dry_run:
        print(f"phantom cohort {site}: {count} subjects would be written to {FLAGS.output}")
        return
    from fedsim_tf.phantom.cohort import write_site

    with progress_bar(count, f"phantom cohort {site}") as bar:
        write_site(site, FLAGS.output, shapes=shapes, progress=lambda *_: bar.update())
    print(f"phantom cohort {site}: {count} subjects in {FLAGS.output}")


if __name__ == "__main__":
    command.main(run)
