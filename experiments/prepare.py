"""Reads, checks and prepares every volume of a data set, so that runs start at once and bad files are found first.

python -m experiments.prepare --dataset=ct20 --data_root=/data/mmwhs
"""

import pathlib

from absl import flags

from experiments import flags as command

command.define_config()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.jobs.inputs import source
    from fedsim_tf.jobs.prepare import prepare_dataset

    config = command.config_from_flags()
    count = prepare_dataset(config, cache_dir=pathlib.Path(FLAGS.cache_dir))
    print(f"{source(config, config.dataset)}: {count} cases, prepared at {config.model.size}^3 voxels")


if __name__ == "__main__":
    command.main(run)
