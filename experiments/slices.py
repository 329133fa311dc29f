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
    from fedsim_tf.progress import duration, room
    from fedsim_tf.runs.estimate import enhancement_cost
    from fedsim_tf.runs.inputs import check_files
    from fedsim_tf.tools.slices import open_slices, run_slices

    config = command.config_from_flags(usual_preset="paper")
    run_dir = FLAGS.run_dir or f"runs/slices-{config.preset}"
    pictures = {"images": FLAGS.images, "labels": FLAGS.labels, "held_out": FLAGS.held_out}
    if FLAGS.dry_run:  # a run itself looks at all of this, and says how many there are
        check_files(config)
        print(f"{len(open_slices(config, **pictures).names)} slices, {FLAGS.held_out} of them held out")
    cost = enhancement_cost(config)
    print(f"{config.gan.steps} steps at {config.model.size} x {config.model.size}; run folder: {run_dir}")
    print(f"disk for checkpoints: {room(cost.disk, run_dir)}")
    print(f"estimated time on two cores: {duration(cost.seconds)}")
    if not FLAGS.dry_run:
        print(f"Pictures: {run_slices(config, run_dir, **pictures)}")


if __name__ == "__main__":
    command.main(run)
