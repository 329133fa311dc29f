"""Patients of one hospital at another: its enhancement network renders them, its segmentation networks are scored.

python -m experiments.out_of_distribution --patients=runs/a --hospital=runs/b
"""

import pathlib

from absl import flags

from experiments import flags as command
from fedsim_tf.errors import InputError

command.define_cache_dir()
flags.adopt_module_key_flags(command)
flags.DEFINE_string("patients", None, "Single-site run of the patients' own hospital, or a fold of it.", required=True)
flags.DEFINE_string("hospital", None, "The other hospital's, with ours_full.", required=True)
flags.DEFINE_string("federated", None, "A federated run, whose networks at the hospital are scored too.")
flags.DEFINE_string(
    "output", None, "Folder for metrics.json and pictures; default: below runs/, named after both runs."
)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.tools.out_of_distribution import run_out_of_distribution

    paths = [pathlib.Path(path).resolve() for path in (FLAGS.patients, FLAGS.hospital)]
    if paths[0] == paths[1]:
        raise InputError("--hospital", found="the patients' own run", expected="another hospital's")
    names = [f"{path.parent.name}-{path.name}" if path.name.startswith("fold_") else path.name for path in paths]
    run_out_of_distribution(
        FLAGS.patients,
        FLAGS.hospital,
        FLAGS.output or f"runs/out_of_distribution-{names[0]}-at-{names[1]}",
        cache_dir=pathlib.Path(FLAGS.cache_dir),
        federated=FLAGS.federated,
    )


if __name__ == "__main__":
    command.main(run)
