"""What is looked at in a FLARE kit before it is used: who can read it, its certificates, and a server's ports."""

from __future__ import annotations

import contextlib
import datetime
import errno
import pathlib
import socket

from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.kits import SERVER_FILE, TWICE_FILE, describe_second_use
from fedsim_tf.files import read_json

WARN_DAYS = 30
_OTHERS = 0o077


def make_kit_private(kit: pathlib.Path) -> str:
    """Let only their owner enter a kit, in which there is a private key; return what was done in words, "" for nothing.

    Raises:
      InputError: others can, and this user is not the owner.
    """
    mode = kit.stat().st_mode
    if not mode & _OTHERS:
        return ""
    try:
        kit.chmod(mode & ~_OTHERS & 0o7777)
    except OSError:
        expected = f"its owner's alone, as a private key is in it: chmod go= {kit}"
        raise InputError(kit, found="a kit that others than its owner can read", expected=expected) from None
    return f"{kit} could be read by others than its owner, and its private key with it; now it cannot"


def check_certificates(kit: pathlib.Path, *, now: datetime.datetime | None = None) -> list[str]:
    """Refuse a kit with a certificate that is not valid, and return a line for each that soon will not be.

    Args:
      kit: the kit of the server, of a site or of an admin.
      now: the present time.

    Raises:
      InputError: names the file and the date.
    """
    from cryptography import x509  # NVIDIA FLARE brings it

    now = now or datetime.datetime.now(datetime.timezone.utc)
    soon = []
    for file in sorted([*(kit / "startup").glob("*.crt"), *(kit / "startup").glob("*.pem")]):
        try:
            found = x509.load_pem_x509_certificate(file.read_bytes())
        except ValueError:
            raise InputError(file, found="no certificate", expected="the file as provisioned") from None
        first, last = (_in_utc(found, name) for name in ("not_valid_before", "not_valid_after"))
        wanted = "a kit with a new one, from whoever provisions this project"
        if now > last:
            raise InputError(file, found=f"a certificate that expired on {last:%Y-%m-%d}", expected=wanted)
        if now < first:
            expected = f"{wanted}, or a clock that is right: it says {now:%Y-%m-%d %H:%M} UTC"
            raise InputError(file, found=f"a certificate that is valid from {first:%Y-%m-%d %H:%M}", expected=expected)
        if last - now < datetime.timedelta(WARN_DAYS):
            soon.append(f"{file} expires on {last:%Y-%m-%d}, in {(last - now).days} days: ask for {wanted}")
    return soon


def _in_utc(certificate: object, name: str) -> datetime.datetime:
    with contextlib.suppress(AttributeError):
        return getattr(certificate, f"{name}_utc")
    return getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)  # cryptography before 42


def find_second_use(kit: pathlib.Path) -> str:
    """Return a line that says that two processes use a kit, if its own process has heard so last; else ""."""
    file = kit / "local" / TWICE_FILE
    try:
        since = read_json(file).get("since")
    except FileNotFoundError:  # the kit's process may have deleted it just now
        return ""
    return f"since {since}, as its process was told: {describe_second_use(kit.resolve().name)}"


def list_taken_ports(kit: pathlib.Path) -> list[int]:
    """Return the ports of a server's kit that some process of this machine listens on; none for other kits."""
    file = kit / "startup" / SERVER_FILE
    if not file.exists():
        return []
    try:
        (server, *_) = read_json(file)["servers"]
        ports = {int(str(server["service"]["target"]).rpartition(":")[2]), int(server["admin_port"])}
    except (KeyError, TypeError, ValueError):
        return []
    return [port for port in sorted(ports) if _is_taken(port)]


def _is_taken(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port of a moment ago is free
        try:
            one.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
