"""The folders that `nvflare provision` makes for the members of a federation. This module does not import nvflare."""

from __future__ import annotations

import pathlib

from fedsim_tf.errors import InputError

ADMIN_FILE = "fed_admin.json"


def check_admin_kit(kit: pathlib.Path) -> None:
    """Refuse a folder that is not an admin's kit.

    Raises:
      InputError: names the file that is missing.
    """
    file = kit / "startup" / ADMIN_FILE
    if not file.is_file():
        must = f"be the folder of an admin's kit, with {file.relative_to(kit)} in it"
        raise InputError("flare_kit", value=kit, must=must)
