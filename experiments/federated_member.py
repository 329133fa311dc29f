"""Write the local file of a federation's member into its FLARE kit: where its data and its runs are.

python -m experiments.federated_member --kit=leeds --runs_dir=/srv/runs --dataset=nifti --data_root=/srv/hearts
python -m experiments.federated_member --kit=fedsim.example.org --runs_dir=/srv/runs

Given again, the command changes only what it is told. What jobs may ask of a site is in local/limits.toml of its kit,
which the first start writes; later ones change its least noise alone, where they are given --least_noise.
"""

import pathlib

from absl import flags

from experiments import command
from fedsim_tf.config import DATASETS, FederatedConfig

command.define_path("kit", "The folder that nvflare provision made for this member.", required=True)
command.define_path("runs_dir", "Folder of all runs on this machine.", required=True)
flags.DEFINE_enum(
    "dataset", None, list(DATASETS), "A site's kind of data; default: the site's name. None for a server."
)
command.define_path("data_root", "Folder with a site's data; without it the phantom cohort stands in.")
command.define_path("data_division", "CSV (id,site) that divides CHD68 into two sites.")
flags.DEFINE_string("data_label_values", None, "What the values of a site's label maps mean, such as heart:51.")
flags.DEFINE_float("data_field_of_view_mm", None, "Left-right extent, in mm, of files without a true spacing (CHD68).")
flags.DEFINE_float(
    "data_field_of_view_z_mm", None, "Extent towards the head, in mm, of files without a true spacing along it."
)
command.define_path("model_shape_model", "The shape model that all sites have agreed on. Default: the one shipped.")
flags.DEFINE_string("model_vgg_weights", None, "VGG-19 weights: 'imagenet', a file, or 'random'.")
flags.DEFINE_integer(
    "least_latents", None, f"Refuses jobs that want moments of fewer latents; at first {FederatedConfig().latents_of}.",
    lower_bound=1,
)  # fmt: skip
flags.DEFINE_float(
    "least_noise",
    None,
    "Refuses jobs with a smaller --federated_noise_multiplier; at first 0. Is the line "
    "least_noise_multiplier in local/limits.toml.",
    lower_bound=0,
)
flags.DEFINE_float(
    "most_epsilon", None, "Gives no more gradients and moments once all that left from --runs_dir amounts to it; "
    "0 and at first: no limit.", lower_bound=0,
)  # fmt: skip
command.define_cache_dir()
command.define_dry_run("Only look for the kit and the data.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.federated.flare.kit_health import make_kit_private
    from fedsim_tf.federated.flare.kits import check_flare, check_member_kit, has_key, is_site_kit

    check_flare()  # first, as what follows imports what comes with FLARE's extra
    from fedsim_tf.runs.flare_member import LOCAL_FIELDS, UNPROTECTED, change_local
    from fedsim_tf.runs.member_start import open_member

    kit = pathlib.Path(FLAGS.kit)
    check_member_kit(kit)
    given = {name: FLAGS[name].value for name in LOCAL_FIELDS if name in FLAGS and FLAGS[name].value is not None}
    local = change_local(
        kit / "local",
        given,
        runs_dir=_absolute(FLAGS.runs_dir),
        cache_dir=_absolute(str(command.cache_dir())),
        dataset=FLAGS.dataset,
        least_latents=FLAGS.least_latents,
        least_noise=FLAGS.least_noise,
        most_epsilon=FLAGS.most_epsilon,
    )
    start = open_member(kit, local)
    for line in start.warnings:
        print(line)
    if is_site_kit(kit) and not (local.limits.least_noise_multiplier or local.limits.only_encrypted):
        also = "only_encrypted in limits.toml is false and " if has_key(kit) else ""
        print(f"{also}--least_noise is 0, so that jobs with neither encryption nor noise are accepted: {UNPROTECTED}")
    if FLAGS.dry_run:
        print(f"{kit / 'local'}: not written; {start.summary}")
        return
    from fedsim_tf.runs.on_flare import set_up_member

    if said := make_kit_private(kit):
        print(said)
    set_up_member(start)
    print(f"{kit / 'local'}: written; {start.summary}")


def _absolute(path: str) -> str:
    return str(pathlib.Path(path).resolve())


if __name__ == "__main__":
    command.main(run)
