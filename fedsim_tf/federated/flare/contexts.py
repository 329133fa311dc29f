"""Contexts of encryption in the kits of a federation's members, as FLARE's HEBuilder provisions them."""

from __future__ import annotations

import pathlib

from nvflare.fuel.sec.security_content_service import LoadResult, SecurityContentManager
from nvflare.lighter.constants import ProvFileName

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.sum_cipher import SumCipher, make_contexts
from fedsim_tf.files import make_files_private, make_folder, write_atomically

SITE_FILE, SERVER_FILE = ProvFileName.CLIENT_CONTEXT_TENSEAL, ProvFileName.SERVER_CONTEXT_TENSEAL


def open_cipher(local: pathlib.Path, *, of_server: bool) -> SumCipher:
    """Return what a member encrypts or adds with.

    Args:
      local: the folder `local` of its kit; the context lies beside it in `startup`, signed. In FLARE's simulator, whose
        members have no kits, it lies in `local` itself, see `write_contexts`.
      of_server: whether the member is the server.

    Raises:
      InputError: a kit that was provisioned without HEBuilder, or a context that was changed since.
    """
    name = SERVER_FILE if of_server else SITE_FILE
    if (local / name).exists():
        return SumCipher((local / name).read_bytes())
    startup = local.parent / "startup"
    context, result = SecurityContentManager(str(startup)).load_content(name)
    if result == LoadResult.NO_SUCH_CONTENT:
        expected = "a kit that was provisioned with HEBuilder (docs/federated.md), or a run with --nofederated_encrypt"
        raise InputError(startup / name, found="nothing", expected=expected)
    if result != LoadResult.OK:
        raise InputError(startup / name, found="a file without its signature", expected="the file as provisioned")
    return SumCipher(context)


def write_contexts(local: pathlib.Path) -> None:
    """Make contexts for FLARE's simulator, in whose folder `local` all members read; those that are there stay."""
    if (local / SITE_FILE).exists() and (local / SERVER_FILE).exists():
        return
    make_folder(local)
    for name, context in zip((SITE_FILE, SERVER_FILE), make_contexts(), strict=True):
        with make_files_private(), write_atomically(local / name) as temporary:
            temporary.write_bytes(context)
