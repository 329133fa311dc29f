"""Export a run's segmentation network, as TensorFlow SavedModel or ONNX, with a card; used without fedsim_tf.

python -m experiments.export --fold_dir=runs/demo/fold_0 --output=network
python -m experiments.export --fold_dir=runs/demo/fold_0 --arm=ours_plus --format=onnx --output=network
"""

from absl import flags

from experiments import command

FORMATS = ["saved_model", "onnx"]  # `network_card.NETWORK_FILES`, whose import takes long

command.define_path(
    "fold_dir",
    "A finished fold of a run, such as runs/demo/fold_0; of a federated one, a site's folder: .../fold_0/sites/ct20.",
    required=True,
)
flags.DEFINE_string("arm", "ours_full", "The arm whose network is exported: lower_bound, ours_full, ours_sim_fl, ...")
flags.DEFINE_enum(
    "format", "saved_model", FORMATS, "saved_model: for TensorFlow; onnx: for ONNX Runtime and others, needs tf2onnx."
)
command.define_path(
    "output", "A new folder for the network, its card (network.json, card.md) and checksums.", required=True
)
command.define_dry_run("Only check the run and the folder, and load the network.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.tools.export import open_export

    start = open_export(FLAGS.fold_dir, FLAGS.arm, output=FLAGS.output, file_format=FLAGS.format)
    if FLAGS.dry_run:
        print(f"The network of {FLAGS.arm} in {FLAGS.fold_dir} can be exported to {FLAGS.output}")
        return
    start.run()
    print(
        f"{FLAGS.output}: the network of {FLAGS.arm}; card.md says what it takes, what it gives and what it is not for"
    )


if __name__ == "__main__":
    command.main(run)
