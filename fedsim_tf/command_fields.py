"""The fields of the configuration that each command reads, and the names of their command-line flags."""

from __future__ import annotations

import dataclasses

from fedsim_tf.config import SECTION_KINDS, SECTIONS, Config

_LEARNING = ("model", "pretraining", "gan", "semi", "synthesis", "segmentation")
# The fields that each command reads: whole sections, single fields, and after "-" those that it sets itself.
_READ_BY = {
    "single_site": ("dataset", "seed", "checkpoint_every", "data", *_LEARNING, "plus"),
    "ablation": ("dataset", "seed", "checkpoint_every", "data", *_LEARNING, "plus"),
    "federated": ("seed", "checkpoint_every", "data", *_LEARNING, "federated"),
    "paper_tables": (
        *("seed", "checkpoint_every", "data", *_LEARNING, "plus", "federated"),
        *("-data.labels", "-model.labels", "-segmentation.arms", "-segmentation.batch", "-federated.more_labels"),
    ),
    "prepare": (
        *("dataset", "data.root", "data.division", "data.phantom_shapes", "data.phantom_version"),
        *(
            "data.label_values",
            "data.field_of_view_mm",
            "data.field_of_view_z_mm",
            "data.crop_mm",
            "data.window_low_hu",
            "data.window_high_hu",
        ),
        "model.size",
    ),
    "slices": (
        *("seed", "checkpoint_every", "model.size", "model.coarse_size", "model.labels", "model.gan_width"),
        *("model.discriminator_width", "model.precision", "model.vgg_weights", "gan"),
    ),
}


def list_fields() -> list[tuple[str, dataclasses.Field]]:
    """Return every field of the configuration but the preset, with its path such as "gan.steps"."""
    found = []
    for field in dataclasses.fields(Config):
        if field.name in SECTIONS:
            found += [(f"{field.name}.{inner.name}", inner) for inner in dataclasses.fields(SECTION_KINDS[field.name])]
        elif field.name != "preset":
            found.append((field.name, field))
    return found


def command_fields(command: str) -> tuple[str, ...]:
    """Return the paths of the fields that a command, such as "single_site", reads."""
    read = _READ_BY[command]
    paths = [path for path, _ in list_fields() if path in read or path.partition(".")[0] in read]
    return tuple(path for path in paths if f"-{path}" not in read)


def flag_name(path: str) -> str:
    """Return the name of a field's command-line flag: "gan_steps" for "gan.steps"."""
    return path.replace(".", "_")
