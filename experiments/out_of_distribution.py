"""Patients of one hospital at another: its enhancement network renders them, its segmentation networks are scored.

python -m experiments.out_of_distribution --patients=runs/a/fold_0 --hospital=runs/b/fold_0
"""

import pathlib

from absl import flags

from experiments import flags as command

command.define_cache_dir()
flags.adopt_module_key_flags(command)
flags.DEFINE_string("patients", None, "A finished fold of the patients' own hospital's single-site run.", required=True)
flags.DEFINE_string("hospital", None, "A finished fold of the other hospital's, with ours_full.", required=True)
flags.DEFINE_string("output", "runs/out_of_distribution", "Folder for metrics.json and a picture.")
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.jobs.out_of_distribution import run_out_of_distribution

    run_out_of_distribution(FLAGS.patients, FLAGS.hospital, FLAGS.output, cache_dir=pathlib.Path(FLAGS.cache_dir))


if __name__ == "__main__":
    command.main(run)
