"""Learns one shape and material model over several sites and measures at each what that is worth for segmentation.

python -m experiments.federated
"""

import pathlib

from absl import flags

from experiments import flags as command

command.define_common()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS
PAPER_BATCH = {"segmentation": {"batch": 3}}  # section 3: every 3D U-Net of the federated comparison uses three


def run() -> None:
    from fedsim_tf.jobs.federated import run_federated
    from fedsim_tf.jobs.plan import describe

    config = command.config_from_flags(**PAPER_BATCH)
    run_dir = FLAGS.run_dir or f"runs/federated-{'-'.join(config.federated.sites)}-{config.preset}"
    print(describe(config, sites=config.federated.sites, run_dir=run_dir, federated=True))
    if not FLAGS.dry_run:
        run_federated(config, run_dir, cache_dir=pathlib.Path(FLAGS.cache_dir))


if __name__ == "__main__":
    command.main(run)
