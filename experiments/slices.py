"""Train the enhancement network alone on annotated 2-D slices, and show what it renders beside the real ones.

python -m experiments.slices --images=DIR --labels=DIR --preset=small
"""

from absl import flags

from experiments import command

command.define_run("slices")
command.define_path("images", "Folder of 8-bit PNG slices.", required=True)
command.define_path(
    "labels", "Folder of masks with the same names, heart where not zero; or region ids.", required=True
)
flags.DEFINE_integer("held_out", 4, "Slices, last by name, that are rendered but not trained on.", lower_bound=1)
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.progress import duration, room
    from fedsim_tf.records.step_times import read_step_times
    from fedsim_tf.runs.estimate import estimate_enhancement
    from fedsim_tf.runs.step_costs import StepCosts
    from fedsim_tf.tools.slices_start import open_slices

    config = command.config_from_flags(real_data=True)
    run_dir = command.default_run_dir(("slices",), config.preset)
    start = open_slices(
        config,
        run_dir,
        images=FLAGS.images,
        labels=FLAGS.labels,
        held_out=FLAGS.held_out,
        cache_dir=command.cache_dir(),
    )
    cost = estimate_enhancement(config, StepCosts(read_step_times(command.cache_dir())))
    print(f"{len(start.slices.names)} slices, {FLAGS.held_out} of them held out; run folder: {run_dir}")
    print(f"{config.gan.steps} steps at {config.model.size} x {config.model.size}")
    print(f"disk for checkpoints: {room(cost.disk, run_dir)}")
    print(f"estimated time on two cores: {duration(cost.seconds)}", flush=True)
    if not FLAGS.dry_run:
        from fedsim_tf.tools.slices import run_slices

        print(f"Pictures: {run_slices(start)}")


if __name__ == "__main__":
    command.main(run)
