"""Table 2: what learnt shapes and the enhancement network are worth, each network trained on synthetic volumes alone.

python -m experiments.ablation
"""

import pathlib

from absl import flags

from experiments import flags as command
from fedsim_tf.arms import ABLATION

command.define_common()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.jobs.plan import describe
    from fedsim_tf.jobs.single_site import run_single_site

    config = command.config_from_flags(dataset="ct20", segmentation={"arms": ABLATION})
    run_dir = FLAGS.run_dir or f"runs/ablation-{config.dataset}-{config.preset}"
    print(describe(config, sites=(config.dataset,), run_dir=run_dir))
    if not FLAGS.dry_run:
        run_single_site(config, run_dir, cache_dir=pathlib.Path(FLAGS.cache_dir))


if __name__ == "__main__":
    command.main(run)
