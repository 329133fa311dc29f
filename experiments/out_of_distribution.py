"""Patients of one hospital at another: its enhancement network renders them, its segmentation networks are scored.

python -m experiments.out_of_distribution --patients=runs/a --hospital=runs/b
"""

import pathlib

from absl import flags

from experiments import flags as command

command.define_cache_dir()
flags.adopt_module_key_flags(command)
flags.DEFINE_string("patients", None, "Single-site run of the patients' own hospital, or a fold of it.", required=True)
flags.DEFINE_string("hospital", None, "The other hospital's, with ours_full.", required=True)
flags.DEFINE_string("federated", None, "A federated run, whose networks at the hospital are scored too.")
flags.DEFINE_string("output", "runs/out_of_distribution", "Folder for metrics.json and pictures.")
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.jobs.out_of_distribution import run_out_of_distribution

    run_out_of_distribution(
        FLAGS.patients,
        FLAGS.hospital,
        FLAGS.output,
        cache_dir=pathlib.Path(FLAGS.cache_dir),
        federated=FLAGS.federated,
    )


if __name__ == "__main__":
    command.main(run)
