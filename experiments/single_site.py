"""Learns to simulate one site's CTs from few labels and measures what that is worth for segmentation.

python -m experiments.single_site --dataset=ct34lc
python -m experiments.single_site --dataset=ct20 --method=ours_fix_mat
"""

import pathlib
from typing import Any

from absl import flags

from experiments import flags as command
from fedsim_tf.arms import SINGLE_SITE
from fedsim_tf.errors import InputError

command.define_common()
flags.adopt_module_key_flags(command)
flags.DEFINE_enum("method", None, list(SINGLE_SITE), "One arm alone, instead of --segmentation_arms.")
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.jobs.plan import describe
    from fedsim_tf.jobs.single_site import run_single_site

    config = command.config_from_flags(**_chosen())
    name = "-".join(filter(None, ("single_site", config.dataset, FLAGS.method, config.preset)))
    run_dir = FLAGS.run_dir or f"runs/{name}"
    print(describe(config, sites=(config.dataset,), run_dir=run_dir))
    if not FLAGS.dry_run:
        run_single_site(config, run_dir, cache_dir=pathlib.Path(FLAGS.cache_dir))


def _chosen() -> dict[str, Any]:
    """What --method says of the configuration."""
    if FLAGS.method is None:
        return {}
    if FLAGS["segmentation_arms"].present:
        raise InputError("--method", found="--segmentation_arms beside it", expected="one of the two")
    return {"segmentation": {"arms": (FLAGS.method,)}}


if __name__ == "__main__":
    command.main(run)
