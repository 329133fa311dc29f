"""NVIDIA FLARE and the kits that it makes for the members of a federation, looked for without importing nvflare."""

from __future__ import annotations

import importlib.util
import pathlib

from fedsim_tf.errors import InputError

TWICE_FILE = "kit_used_twice.json"  # in a kit's folder `local`, as long as two processes use it
ADMIN_FILE, SITE_FILE, SERVER_FILE = "fed_admin.json", "fed_client.json", "fed_server.json"
KEY_FILE = "client_context.tenseal"  # what FLARE's HEBuilder puts into the kit of a site


def check_admin_kit(kit: pathlib.Path) -> None:
    """Refuse a folder that is not an admin's kit.

    Raises:
      InputError: names the file that is missing.
    """
    file = kit / "startup" / ADMIN_FILE
    if not file.is_file():
        must = f"be the folder of an admin's kit, with {file.relative_to(kit)} in it"
        raise InputError("flare_kit", value=kit, must=must)


def check_flare() -> None:
    """Refuse what needs NVIDIA FLARE where it is not installed.

    Raises:
      InputError: says how to install it.
    """
    if importlib.util.find_spec("nvflare") is None:
        raise InputError("NVIDIA FLARE", found="no nvflare", expected="pip install 'fedsim-tf[federated]'")


def check_member_kit(kit: pathlib.Path) -> None:
    """Refuse a folder that is the kit of neither a site nor the server.

    Raises:
      InputError: names what is missing.
    """
    if not any((kit / "startup" / name).is_file() for name in (SITE_FILE, SERVER_FILE)):
        must = f"be the folder of a server's or a site's kit, with startup/{SITE_FILE} or startup/{SERVER_FILE} in it"
        raise InputError("kit", value=kit, must=must)


def describe_second_use(site: str) -> str:
    """Return what is wrong where two processes use a site's kit, and what to do, in one line."""
    return (
        f"two processes use the kit of {site} at once, so that neither can work: it was started twice, or copied; end "
        "the one that should not run ('A kit that is used twice' in docs/federated.md)"
    )


def is_site_kit(kit: pathlib.Path) -> bool:
    """Return whether a kit is that of a site, which has data."""
    return (kit / "startup" / SITE_FILE).is_file()


def has_key(kit: pathlib.Path) -> bool:
    """Return whether a kit has a site's key of encryption."""
    return (kit / "startup" / KEY_FILE).is_file()
