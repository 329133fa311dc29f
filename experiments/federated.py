"""Learn one shape and material model over several sites, and measure at each what that is worth for segmentation.

python -m experiments.federated
python -m experiments.federated --method=direct_fl
python -m experiments.federated --engine=nvflare
python -m experiments.federated --engine=nvflare --flare_kit=admin@example.org
"""

import pathlib

from absl import flags

from experiments import command
from fedsim_tf.arms import ARMS, DIRECT, federate_arms
from fedsim_tf.config import merge
from fedsim_tf.errors import InputError
from fedsim_tf.federated.engines import IN_PROCESS, NVFLARE

command.define_run("federated")
command.define_method()
command.define_only_fold()
flags.DEFINE_enum("engine", IN_PROCESS, [IN_PROCESS, NVFLARE], "What carries tasks and answers.")
command.define_path(
    "flare_kit",
    "An admin's kit, to run on its FLARE system (docs/federated.md). Without it nvflare means FLARE's simulator.",
)
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS
# Section 3: every 3D U-Net of the federated comparison uses three volumes a step.
PAPER = {"segmentation": {"batch": 3, "arms": ("lower_bound", "direct_fl", "ours_sim_fl", "upper_bound")}}
# At hospitals the server adds up what it cannot read, unless noise is asked for instead or nothing at all.
AT_HOSPITALS = {"federated": {"encrypt": True}}


def run() -> None:
    several = federate_arms(ARMS)
    if FLAGS.method and FLAGS.method not in several:
        raise InputError("method", value=FLAGS.method, must=f"be an arm of several sites: {', '.join(several)}")
    if FLAGS.flare_kit and FLAGS.engine != NVFLARE:
        raise InputError("flare_kit", value=FLAGS.flare_kit, must="be given with --engine=nvflare")
    # Hospitals have data of their own, wherever it lies.
    usual = merge(PAPER, command.read_method())
    if FLAGS.flare_kit and not FLAGS.federated_noise_multiplier:
        usual = merge(usual, AT_HOSPITALS)
    config = command.config_from_flags(real_data=bool(FLAGS.flare_kit), **usual)
    if config.federated.encrypt:
        from fedsim_tf.federated.encryption.tenseal_library import import_tenseal

        import_tenseal()
    if FLAGS.engine == NVFLARE:
        from fedsim_tf.federated.flare.kits import check_flare

        check_flare()
        _tell_protection(config)
    name, sites = ("federated", *config.federated.sites, FLAGS.method), config.federated.sites
    if FLAGS.flare_kit:
        _deploy(config, sites, command.default_run_dir(name, config.preset))
    else:
        command.plan_and_run(_run, config, name=name, sites=sites, federated=True)


def _tell_protection(config) -> None:
    """Say whether the server can read what hospitals send."""
    from fedsim_tf.runs.flare_member import UNPROTECTED

    if config.federated.encrypt:
        otherwise = "; --nofederated_encrypt for not" if FLAGS.flare_kit else ""
        print(f"Sites encrypt: the server adds up gradients and moments that it cannot read{otherwise}")
        if DIRECT in config.segmentation.arms and config.model.size > 64:
            print(f"Direct-FL sends about 1 GB a round and site of {config.model.size} voxels; --method leaves it out")
    elif not config.federated.noise_multiplier:
        print(f"--federated_noise_multiplier is 0: {UNPROTECTED}")


def _run(start) -> None:
    from fedsim_tf.runs.federated import run_federated

    run_federated(start, engine=FLAGS.engine)


def _deploy(config, sites, run_dir) -> None:
    """Run at hospitals, whose data and runs stay with them."""
    from fedsim_tf.federated.flare.kit_health import check_certificates, make_kit_private
    from fedsim_tf.federated.flare.kits import check_admin_kit
    from fedsim_tf.runs.estimate import describe_elsewhere
    from fedsim_tf.runs.start import check_elsewhere

    kit, name = pathlib.Path(FLAGS.flare_kit), pathlib.Path(run_dir).name
    check_elsewhere(config, sites=sites, only_fold=FLAGS.only_fold)
    check_admin_kit(kit)
    for line in check_certificates(kit):
        print(line)
    print(describe_elsewhere(config, sites=sites, run_name=run_dir, only_fold=FLAGS.only_fold))
    if not FLAGS.dry_run:
        from fedsim_tf.runs.on_flare import deploy

        if said := make_kit_private(kit):
            print(said)
        deploy(config, name, kit, only_fold=FLAGS.only_fold)


if __name__ == "__main__":
    command.main(run)
