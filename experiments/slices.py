"""Trains the enhancement network alone on annotated 2-D slices and shows what it renders beside the real ones.

python -m experiments.slices --images=DIR --labels=DIR --preset=small
"""

from absl import flags

from experiments import flags as command

command.define_common()
flags.adopt_module_key_flags(command)
flags.DEFINE_string("images", None, "Folder of 8-bit PNG slices.", required=True)
flags.DEFINE_string("labels", None, "Folder of masks with the same names, heart where not zero.", required=True)
flags.DEFINE_integer("held_out", 4, "Slices, last by name, that are rendered but not trained on.", lower_bound=1)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.jobs.slices import run_slices

    config = command.config_from_flags(usual_preset="paper")
    run_dir = FLAGS.run_dir or f"runs/slices-{config.preset}"
    print(f"{config.gan.steps} steps at {config.model.size} x {config.model.size}; run folder: {run_dir}")
    if not FLAGS.dry_run:
        path = run_slices(config, run_dir, images=FLAGS.images, labels=FLAGS.labels, held_out=FLAGS.held_out)
        print(f"Pictures: {path}")


if __name__ == "__main__":
    command.main(run)
