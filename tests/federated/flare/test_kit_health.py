"""Kits whose keys others can read, whose certificates end, or whose ports are taken."""

import datetime
import socket
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.kit_health import check_certificates, list_taken_ports, make_kit_private
from fedsim_tf.files import write_json
from tests.experiments.commands import run_command
from tests.federated.tenseal_for_tests import need_tenseal

NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.timezone.utc)


def write_certificate(file, *, first, last):
    """A certificate that is valid between two times."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leeds")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(first).not_valid_after(last)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def days(count):
    return datetime.timedelta(count)


def test_a_certificate_is_refused_once_it_has_expired_and_warned_of_thirty_days_before(tmp_path):
    file, first = tmp_path / "startup" / "client.crt", NOW - days(400)
    write_certificate(tmp_path / "startup" / "rootCA.pem", first=first, last=NOW + days(3000))
    for left, lines in ((31, 0), (29, 1)):
        write_certificate(file, first=first, last=NOW + days(left))
        assert len(check_certificates(tmp_path, now=NOW)) == lines
    (line,) = check_certificates(tmp_path, now=NOW)
    assert line.startswith(f"{file} expires on 2026-06-30, in 29 days: ask for a kit with a new one")
    with pytest.raises(
        InputError, match=r"client\.crt: found a certificate that expired on 2026-06-30; expected a kit"
    ):
        check_certificates(tmp_path, now=NOW + days(30))
    with pytest.raises(
        InputError, match=r"found a certificate that is valid from 2025-04-27 12:00; .* or a clock that"
    ):
        check_certificates(tmp_path, now=NOW - days(500))
    file.write_text("no certificate")
    with pytest.raises(InputError, match=r"client\.crt: found no certificate; expected the file as provisioned"):
        check_certificates(tmp_path, now=NOW)


def test_a_kit_that_others_can_read_becomes_its_owners_alone(tmp_path):
    kit = tmp_path / "leeds"
    kit.mkdir(mode=0o755)
    assert "could be read by others than its owner" in make_kit_private(kit)
    assert stat.S_IMODE(kit.stat().st_mode) == 0o700
    assert make_kit_private(kit) == ""


def test_a_port_that_is_taken_is_told_of_a_servers_kit(tmp_path):
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("", 0))
        one.listen()
        taken, free = one.getsockname()[1], other.getsockname()[1]
        other.close()
        server = {"service": {"target": f"localhost:{taken}"}, "admin_port": free}
        write_json(tmp_path / "startup" / "fed_server.json", {"servers": [server]})
        assert list_taken_ports(tmp_path) == [taken]
    assert list_taken_ports(tmp_path) == []
    assert list_taken_ports(tmp_path / "elsewhere") == []


def test_a_member_is_told_what_is_unprotected_and_what_expires(tmp_path, monkeypatch):
    """As experiments.federated_member prints it."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "leeds" / "startup" / "fed_client.json", {})
    now = datetime.datetime.now(datetime.timezone.utc)
    file = tmp_path / "leeds" / "startup" / "client.crt"
    write_certificate(file, first=now - days(1), last=now + days(10))
    member = ("federated_member", "--kit=leeds", "--runs_dir=runs", "--dataset=ct20", "--dry_run")
    found = run_command(*member, "--model_vgg_weights=random")
    assert found.status == 0, found.stderr
    warned, unprotected, last = found.stdout.splitlines()
    assert warned.startswith("leeds/startup/client.crt expires on ")
    assert unprotected.startswith(
        "--least_noise is 0, so that jobs with neither encryption nor noise are accepted: without "
    )
    assert "not written; " in last
    assert "batches of 2 or more, coarse CTs of 16" in last
    noisy = run_command(*member, "--model_vgg_weights=random", "--least_noise=1.5")
    assert "without noise the server" not in noisy.stdout
    write_certificate(file, first=now - days(9), last=now - days(1))
    expired = run_command(*member)
    (line,) = expired.stderr.splitlines()
    assert (expired.status, line[:7]) == (2, "error: ")
    assert "found a certificate that expired on" in line


def test_an_admins_kit_is_looked_at_before_the_server_is_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "admin" / "startup" / "fed_admin.json", {"admin": {"username": "admin"}})
    now = datetime.datetime.now(datetime.timezone.utc)
    write_certificate(tmp_path / "admin" / "startup" / "client.crt", first=now - days(9), last=now - days(1))
    found = run_command("federated", "--engine=nvflare", "--flare_kit=admin", "--preset=demo", "--dry_run")
    (line,) = found.stderr.splitlines()
    assert found.status == 2
    assert line.startswith("error: admin/startup/client.crt: found a certificate that expired on")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "Sites encrypt: the server adds up gradients and moments that it cannot read"),
        (("--nofederated_encrypt",), "--federated_noise_multiplier is 0: without noise the server can read"),
        (("--federated_noise_multiplier=0",), "Sites encrypt: the server adds up gradients"),
        (("--federated_clip_norm=1", "--federated_noise_multiplier=2"), None),
        (
            ("--federated_clip_norm=1", "--federated_noise_multiplier=2", "--federated_encrypt"),
            "Sites encrypt: the server adds up gradients and moments that it cannot read",
        ),
    ],
)
def test_hospitals_encrypt_unless_somebody_chooses_otherwise(tmp_path, monkeypatch, flags, said):
    need_tenseal()
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "admin" / "startup" / "fed_admin.json", {"admin": {"username": "admin"}})
    now = datetime.datetime.now(datetime.timezone.utc)
    write_certificate(tmp_path / "admin" / "startup" / "client.crt", first=now - days(9), last=now + days(90))
    found = run_command("federated", "--engine=nvflare", "--flare_kit=admin", "--preset=demo", "--dry_run", *flags)
    assert found.status == 0, found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith(("Sites encrypt", "--federated_noise"))]
    assert [line[: len(said or "")] for line in lines] == ([said] if said else [])


def test_a_quorum_of_hospitals_that_encrypt_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "admin" / "startup" / "fed_admin.json", {"admin": {"username": "admin"}})
    found = run_command(
        "federated", "--engine=nvflare", "--flare_kit=admin", "--preset=demo", "--dry_run", "--federated_quorum=2"
    )
    (line,) = found.stderr.splitlines()
    assert found.status == 2
    assert "quorum is 2; it must be 0 or 3 where sites encrypt" in line
    assert "--nofederated_encrypt" in line
