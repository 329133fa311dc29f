"""Reads, checks and prepares every volume of a data set, so that runs start at once and bad files are found first.

Every file that cannot be used is named; of the others it is said what they are like.

python -m experiments.prepare --dataset=ct20 --data_root=/data/mmwhs
"""

import pathlib

from absl import flags

from experiments import flags as command

command.define_config()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.errors import Refusals
    from fedsim_tf.runs.inputs import source
    from fedsim_tf.tools.prepare import cohort_summary, prepare_dataset

    config = command.config_from_flags()
    refusals = Refusals(config.dataset)
    cases = prepare_dataset(config, cache_dir=pathlib.Path(FLAGS.cache_dir), refusals=refusals)
    print(f"{source(config, config.dataset)}: {len(cases)} cases, prepared at {config.model.size}^3 voxels")
    print(f"least, median and most:\n{cohort_summary(cases, config)}")
    refusals.check()


if __name__ == "__main__":
    command.main(run)
