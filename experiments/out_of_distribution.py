"""Render the patients of one hospital as another's scanner shows them, and score the other's networks on them.

python -m experiments.out_of_distribution --patients=runs/a --hospital=runs/b
"""

import pathlib

from absl import flags

from experiments import command
from fedsim_tf.errors import InputError

command.define_cache_dir()
command.define_path("patients", "Single-site run of the patients' own hospital, or a fold of it.", required=True)
command.define_path("hospital", "The other hospital's single-site run, with ours_full, or a fold of it.", required=True)
command.define_path("federated", "A federated run, whose networks at the hospital are scored too.")
command.define_path("output", "Folder for metrics.json and pictures. Default: below runs/, named after both runs.")
command.define_dry_run("Only check the runs and the folder.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.progress import count_text
    from fedsim_tf.tools.visit import open_visit

    paths = [pathlib.Path(path).resolve() for path in (FLAGS.patients, FLAGS.hospital)]
    if paths[0] == paths[1]:
        raise InputError("hospital", value=FLAGS.hospital, must="be another run than the patients' own")
    names = [f"{path.parent.name}-{path.name}" if path.name.startswith("fold_") else path.name for path in paths]
    output = FLAGS.output or f"runs/out_of_distribution-{names[0]}-at-{names[1]}"
    visit = open_visit(FLAGS.patients, FLAGS.hospital, output, cache_dir=command.cache_dir(), federated=FLAGS.federated)
    if FLAGS.dry_run:
        print(f"{visit.title}: {count_text(len(visit.pairs), 'fold')}, results in {output}")
        return
    from fedsim_tf.tools.out_of_distribution import run_out_of_distribution

    run_out_of_distribution(visit)


if __name__ == "__main__":
    command.main(run)
