"""Contexts of encryption as they lie in kits."""

import base64
import datetime
import json
import stat

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.sum_cipher import make_contexts
from fedsim_tf.federated.flare.contexts import SERVER_FILE, SITE_FILE, open_cipher, write_contexts
from tests.federated.tenseal_for_tests import need_tenseal

need_tenseal()
GRADIENTS = {"shape/0": np.ones(3, np.float32)}


def sign(startup, name):
    """Write a root certificate and the file's signature by it, as FLARE's SignatureBuilder does."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedsim")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=365))
    certificate = built.sign(key, hashes.SHA256())
    (startup / "rootCA.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    how = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
    signature = key.sign((startup / name).read_bytes(), how, hashes.SHA256())
    (startup / "signature.json").write_text(json.dumps({name: base64.b64encode(signature).decode()}))


def test_a_members_context_is_the_signed_one_of_its_kit(tmp_path):
    local, startup = tmp_path / "local", tmp_path / "startup"
    local.mkdir()
    startup.mkdir()
    with pytest.raises(InputError, match=r"client_context\.tenseal: found nothing; expected a kit that was"):
        open_cipher(local, of_server=False)
    (startup / SITE_FILE).write_bytes(make_contexts()[0])
    with pytest.raises(InputError, match="found a file without its signature"):
        open_cipher(local, of_server=False)
    sign(startup, SITE_FILE)
    assert open_cipher(local, of_server=False).has_key
    (startup / SITE_FILE).write_bytes(make_contexts()[0])  # another key
    with pytest.raises(InputError, match="found a file without its signature"):
        open_cipher(local, of_server=False)


def test_the_simulators_members_share_a_key_that_the_server_does_not_have(tmp_path):
    write_contexts(tmp_path)
    at_site, at_server = (open_cipher(tmp_path, of_server=of_server) for of_server in (False, True))
    assert (at_site.has_key, at_server.has_key) == (True, False)
    total = at_server.add([at_site.encrypt(GRADIENTS)] * 2)
    np.testing.assert_allclose(at_site.decrypt(total, {"shape/0": (3,)})["shape/0"], 2.0, rtol=1e-6)
    assert stat.S_IMODE((tmp_path / SITE_FILE).stat().st_mode) == 0o600
    before = (tmp_path / SERVER_FILE).read_bytes()
    write_contexts(tmp_path)  # as a run does that goes on
    assert (tmp_path / SERVER_FILE).read_bytes() == before
