"""The start of a member of a federation: its kit and its data, looked at before its local file is written."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from fedsim_tf.config import make_config
from fedsim_tf.data.splits import split_sizes
from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.kit_health import check_certificates, find_second_use, list_taken_ports
from fedsim_tf.federated.flare.kits import check_member_kit, is_site_kit
from fedsim_tf.models.vgg_weights import check_weights
from fedsim_tf.phantom.sites import SITES
from fedsim_tf.runs.flare_member import Local
from fedsim_tf.runs.inputs import check_files, check_phantom_site, describe_source, open_cohort, open_shape_model


@dataclasses.dataclass(frozen=True)
class MemberStart:
    """A member's kit and what its local file will say. `open_member` makes it.

    Attributes:
      kit: the folder that `nvflare provision` has made for the server or a site.
      local: what only this machine knows.
      summary: a few words on the data that was found and the privacy that is granted.
      warnings: lines on what will soon be a problem, or may be one.
    """

    kit: pathlib.Path
    local: Local
    summary: str
    warnings: Sequence[str] = ()


def open_member(kit: pathlib.Path, local: Local) -> MemberStart:
    """Look for all that a member needs to take part. Nothing is written.

    Raises:
      InputError: there is no such kit, a certificate has expired, the data or another file is missing or damaged, there
        are too few annotated patients for the three parts of a fold, or `runs_dir` is a file.
    """
    check_member_kit(kit)
    warnings = check_certificates(kit)
    for port in list_taken_ports(kit):
        warnings.append(f"port {port} of this machine is taken: by this server if it runs, or start.sh will fail")
    if told := find_second_use(kit):
        warnings.append(told)
    runs = pathlib.Path(local.runs_dir)
    if runs.exists() and not runs.is_dir():
        raise InputError("runs_dir", value=runs, must="be a folder, which may be made later, and is a file")
    summary = _look_at_data(kit.resolve().name, local) if is_site_kit(kit) else "no data, as a server has none"
    return MemberStart(kit, local, summary, warnings)


def _look_at_data(site: str, local: Local) -> str:
    # How many modes a job takes of the shape model is not known before it comes; one is enough to read the file.
    config = local.apply(make_config("demo", model={"precision": "float32", "shape_modes": 1}).to_dict())
    check_files(config)
    check_weights(config.model.vgg_weights)
    open_shape_model(config)
    dataset = local.dataset or site
    if config.is_phantom:
        check_phantom_site(dataset)
        n_annotated = n_files = SITES[dataset].n_subjects
    else:
        cohort = open_cohort(config, dataset, cache_dir=pathlib.Path(local.cache_dir))
        split_sizes(cohort.name, cohort.n_patients)
        n_annotated, n_files = len(cohort.annotated), len(cohort.files)
    found = f"{describe_source(config, dataset)}: {n_annotated} of {n_files} annotated"
    return f"{found}; this site gives {local.granted_privacy}; its limits are {local.limits.describe()}"
