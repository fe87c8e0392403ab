"""The fleet's authority: what helioctl ca and enrol make, as openssl and cryptography see it."""
import datetime
import hashlib
import os
import re
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from lib import wire
from lib.cut import Cutter
from lib.fleet import PROGRAMS

pb = wire.pb


def ctl(*args, check=True):
    done = subprocess.run([str(PROGRAMS["helioctl"]), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check:
        assert done.returncode == 0, f"{args}: {done.returncode} {done.stderr}"
    return done


@pytest.fixture
def ca(folder):
    ctl("ca", "init", folder / "ca", "--fleet", "demo")
    return folder / "ca"


def cert_of(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def extension(cert, kind):
    return cert.extensions.get_extension_for_class(kind)


def openssl_verify(ca, cert, purpose, check=True):
    done = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", str(ca / "ca.crt"), "-purpose", purpose, str(cert)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check:
        assert done.returncode == 0, done.stdout
    return done.returncode == 0


def dsse_holds(envelope, purpose, public):
    """The signature of an envelope by another implementation."""
    e = pb.Envelope()
    e.ParseFromString(envelope)
    kind = f"application/vnd.heliograph.{purpose}.v1+protobuf".encode()
    assert e.payload_type.encode() == kind
    covered = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(e.payload), e.payload)
    assert len(e.signatures) == 1 and e.signatures[0].key_id == hashlib.sha256(public).digest()
    Ed25519PublicKey.from_public_bytes(public).verify(e.signatures[0].signature, covered)
    return e.payload


def test_ca_authority_is_a_strict_p256_ca(ca):
    cert = cert_of(ca / "ca.crt")
    assert cert.subject == cert.issuer and cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "demo CA"
    assert cert.version == x509.Version.v3 and cert.public_key().curve.name == "secp256r1"
    basic, usage = extension(cert, x509.BasicConstraints), extension(cert, x509.KeyUsage)
    assert basic.critical and basic.value.ca and basic.value.path_length == 0
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and not usage.value.digital_signature
    assert extension(cert, x509.SubjectKeyIdentifier)
    assert cert.not_valid_before == datetime.datetime(1970, 1, 1)
    assert cert.not_valid_after == datetime.datetime(2099, 12, 31, 23, 59, 59)


def test_ca_root_names_its_keys_and_is_signed_by_its_own(ca):
    public = {n: wire.raw_public(wire.read_key(ca / f"keys/{n}.key")) for n in ("root", "online", "software", "image", "enrol")}
    assert (ca / "root.pub").read_text() == public["root"].hex() + "\n"
    root = pb.Root()
    root.ParseFromString(dsse_holds((ca / "root.bin").read_bytes(), "root", public["root"]))
    assert (root.schema, root.version, root.fleet) == (1, 1, "demo")
    assert list(root.root_keys) == [public["root"]] and root.root_threshold == 1
    assert list(root.online_keys) == [public["online"]]
    assert list(root.software_keys) == [public["software"]] and root.software_threshold == 1
    assert list(root.image_keys) == [public["image"]] and list(root.enrol_keys) == [public["enrol"]]
    assert root.expires_unix_ms > 0 and len(set(public.values())) == 5


ROLES = {"client": pb.ROLE_CLIENT, "publisher": pb.ROLE_PUBLISHER, "operator": pb.ROLE_OPERATOR, "server": pb.ROLE_SERVER}


@pytest.mark.parametrize("role", ["client", "publisher", "operator", "server", "broker", "watcher"])
def test_ca_enrolled_certificates_say_what_they_are_for(ca, role):
    names = ["--dns", "control.example", "--dns", "localhost", "--ip", "10.0.0.7", "--ip", "::1"] if role == "broker" else []
    ctl("enrol", role, "x-1.A_b", "--ca", ca, "--name", "a label", *names)
    out = ca / "out/x-1.A_b"
    cert, authority = cert_of(out / "tls.crt"), cert_of(ca / "ca.crt")
    assert [a.value for a in cert.subject] == ["x-1.A_b"]
    purpose, other = ("sslserver", "sslclient") if role == "broker" else ("sslclient", "sslserver")
    openssl_verify(ca, out / "tls.crt", purpose)
    assert not openssl_verify(ca, out / "tls.crt", other, check=False), "B28: good for one side only"
    assert list(extension(cert, x509.ExtendedKeyUsage).value) == [Usage.SERVER_AUTH if role == "broker" else Usage.CLIENT_AUTH]
    usage, basic = extension(cert, x509.KeyUsage), extension(cert, x509.BasicConstraints)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    assert basic.critical and not basic.value.ca
    assert extension(cert, x509.AuthorityKeyIdentifier).value.key_identifier == \
        extension(authority, x509.SubjectKeyIdentifier).value.digest
    assert cert.not_valid_before == datetime.datetime(1970, 1, 1), "a device without a clock must connect"
    assert cert.serial_number.bit_length() in range(64, 160)
    if role == "broker":
        san = extension(cert, x509.SubjectAlternativeName).value
        assert san.get_values_for_type(x509.DNSName) == ["control.example", "localhost"]
        assert [str(i) for i in san.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "::1"]
    else:
        with pytest.raises(x509.ExtensionNotFound):
            extension(cert, x509.SubjectAlternativeName)
    key = serialization.load_pem_private_key((out / "tls.key").read_bytes(), None)
    assert key.public_key().public_numbers() == cert.public_key().public_numbers()
    identity = role in ROLES
    files = {"ca.crt", "tls.crt", "tls.key"} | ({"identity.key", "root.bin", "root.pub", "x-1.A_b.enrol"} if identity else set()) | ({"box.key"} if role == "client" else set())
    assert {p.name for p in out.iterdir()} == files | ({"online.key"} if role == "server" else set())
    assert (ca / "enrolments/x-1.A_b.enrol").exists() == identity
    if identity:
        enrol = wire.raw_public(wire.read_key(ca / "keys/enrol.key"))
        e = pb.Enrolment()
        e.ParseFromString(dsse_holds((ca / "enrolments/x-1.A_b.enrol").read_bytes(), "enrolment", enrol))
        assert (e.schema, e.id, e.role, e.name) == (1, "x-1.A_b", ROLES[role], "a label")
        assert e.public_key == wire.raw_public(wire.read_key(out / "identity.key"))


def test_ca_keys_are_for_their_owner_alone(ca):
    for role in ("client", "server"):
        ctl("enrol", role, role, "--ca", ca)
    old = os.umask(0)
    try:
        ctl("enrol", "client", "loose", "--ca", ca)
    finally:
        os.umask(old)
    keys = [p for p in ca.rglob("*.key")]
    assert len(keys) >= 12
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (ca / "keys", ca / "out", ca / "out/client", ca / "out/loose"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert not list(ca.rglob("*.tmp"))


def everything(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_ca_nothing_is_overwritten(ca):
    ctl("enrol", "client", "f1", "--ca", ca)
    before = everything(ca)
    done = ctl("ca", "init", ca, "--fleet", "again", check=False)
    assert done.returncode == 4 and "is there already" in done.stderr
    for again in (("client", "f1"), ("publisher", "f1"), ("broker", "f1", "--dns", "x")):
        done = ctl("enrol", *again, "--ca", ca, check=False)
        assert done.returncode == 4 and "given before" in done.stderr, done.stderr
    # An id stays given when its files were handed out and removed here.
    for path in (ca / "out/f1").iterdir():
        path.unlink()
    (ca / "out/f1").rmdir()
    assert ctl("enrol", "client", "f1", "--ca", ca, check=False).returncode == 4
    (ca / "enrolments/f1.enrol").unlink()
    assert ctl("enrol", "client", "f1", "--ca", ca, check=False).returncode == 4
    after = everything(ca)
    assert all(before[p] == after[p] for p in after)


@pytest.mark.parametrize("bad", ["", "a/b", "+", "#", "a b", "\u00e4", "../up", ".hidden", "x" * 65, "$share", "a\nb", "%u"])
def test_ca_hostile_ids_are_refused(ca, bad):
    before = everything(ca)
    done = ctl("enrol", "client", bad, "--ca", ca, check=False)
    assert done.returncode in (1, 2) and "is not an id" in done.stderr
    assert done.stderr.count("\n") == 1, "one line, escaped"
    assert everything(ca) == before


def test_ca_refuses_what_makes_no_sense(ca, folder):
    assert ctl("enrol", "broker", "b", "--ca", ca, check=False).returncode == 1, "a broker without names"
    assert ctl("enrol", "client", "c", "--ca", ca, "--dns", "x", check=False).returncode == 1
    assert ctl("enrol", "emperor", "c", "--ca", ca, check=False).returncode == 2
    assert ctl("enrol", "client", "c", check=False).returncode == 2
    assert ctl("enrol", "client", "c", "--ca", folder / "nothing", check=False).returncode == 5
    assert ctl("ca", "init", folder / "other", check=False).returncode == 2
    assert ctl("ca", "init", folder / "other", "--fleet", "a/b", check=False).returncode == 1
    for day in ("2099-13-01", "2099-02-31", "tomorrow", "1999-01-01"):
        assert ctl("enrol", "client", "c", "--ca", ca, "--until", day, check=False).returncode == 1, day
    for wrong in (("--ip", "300.1.1.1"), ("--dns", "a b"), ("--dns", "x,IP:1.2.3.4"), ("--dns", "")):
        assert ctl("enrol", "broker", "b", "--ca", ca, *wrong, check=False).returncode == 1, wrong
    assert not list((ca / "out").iterdir()) and not list((ca / "issued").iterdir())
    ctl("enrol", "client", "c", "--ca", ca, "--until", "2030-06-30")
    assert cert_of(ca / "out/c/tls.crt").not_valid_after == datetime.datetime(2030, 6, 30, 23, 59, 59)


def device_request(folder, curve="P-256", subject="/CN=root/O=attacker", tampered=False):
    key, csr = folder / "device.key", folder / "device.csr"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", str(key)], check=True,
                   stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "req", "-new", "-key", str(key), "-subj", subject, "-addext", "basicConstraints=CA:TRUE",
                    "-addext", "subjectAltName=DNS:control", "-out", str(csr)], check=True, stderr=subprocess.DEVNULL)
    if tampered:
        der = bytearray(x509.load_pem_x509_csr(csr.read_bytes()).public_bytes(serialization.Encoding.DER))
        der[der.index(b"root")] ^= 1
        csr.write_bytes(x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM))
    return key, csr


def test_ca_keys_made_on_the_device_stay_there(ca, folder):
    key, csr = device_request(folder)
    identity = Ed25519PrivateKey.generate()
    public = wire.raw_public(identity)
    ctl("enrol", "client", "dev1", "--ca", ca, "--public-key", public.hex(), "--csr", csr)
    out = ca / "out/dev1"
    assert not (out / "tls.key").exists() and not (out / "identity.key").exists()
    cert = cert_of(out / "tls.crt")
    made = serialization.load_pem_private_key(key.read_bytes(), None)
    assert cert.public_key().public_numbers() == made.public_key().public_numbers()
    assert [a.value for a in cert.subject] == ["dev1"], "the request's own subject does not count"
    assert not extension(cert, x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        extension(cert, x509.SubjectAlternativeName)
    e = pb.Enrolment()
    e.ParseFromString(dsse_holds((out / "dev1.enrol").read_bytes(), "enrolment", wire.raw_public(wire.read_key(ca / "keys/enrol.key"))))
    assert e.public_key == public


def test_ca_requests_that_prove_nothing_are_refused(ca, folder):
    public = "ab" * 32
    _, weak = device_request(folder, curve="secp224r1")
    assert ctl("enrol", "client", "d", "--ca", ca, "--public-key", public, "--csr", weak, check=False).returncode == 1
    _, forged = device_request(folder, tampered=True)
    assert ctl("enrol", "client", "d", "--ca", ca, "--public-key", public, "--csr", forged, check=False).returncode == 4
    _, good = device_request(folder)
    assert ctl("enrol", "client", "d", "--ca", ca, "--csr", good, check=False).returncode == 2
    assert ctl("enrol", "client", "d", "--ca", ca, "--public-key", "zz" * 32, "--csr", good, check=False).returncode == 2
    assert not (ca / "out/d").exists() and not list((ca / "issued").iterdir()) and not list((ca / "out").iterdir())


def test_ca_revocation_list_names_the_certificate(ca):
    for id_ in ("f1", "f2"):
        ctl("enrol", "client", id_, "--ca", ca)
    ctl("ca", "revoke", "f2", "--ca", ca)
    ctl("ca", "revoke", "f2", "--ca", ca)
    crl = x509.load_pem_x509_crl((ca / "crl.pem").read_bytes())
    assert crl.is_signature_valid(cert_of(ca / "ca.crt").public_key())
    assert [r.serial_number for r in crl] == [cert_of(ca / "out/f2/tls.crt").serial_number]
    text = subprocess.run(["openssl", "crl", "-in", str(ca / "crl.pem"), "-noout", "-text"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    assert re.search(r"Last Update: Jan  1 00:00:00 1970", text)
    assert ctl("ca", "revoke", "nobody", "--ca", ca, check=False).returncode == 5
    assert ctl("enrol", "client", "f2", "--ca", ca, check=False).returncode == 4, "a revoked id is not given again"


def test_ca_a_folder_that_cannot_be_read_leaves_nobody_out_of_the_list(ca, folder):
    """ptrace answers in the disk's place: from the first listing of what was revoked on nothing of it is read."""
    for id_ in ("f1", "f2"):
        ctl("enrol", "client", id_, "--ca", ca)
    ctl("ca", "revoke", "f2", "--ca", ca)
    cutter = Cutter(folder)

    def again(number):
        return subprocess.run(cutter.argv(f"{number}:out", ca / "revoked", [PROGRAMS["helioctl"], "ca", "revoke", "f2", "--ca", ca]),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert again(0).returncode == 0
    kept = (ca / "crl.pem").read_bytes()
    done = again(cutter.names().index("getdents64") + 1)
    assert done.returncode != 0 and "cannot read" in done.stderr, done
    crl = x509.load_pem_x509_crl((ca / "crl.pem").read_bytes())
    assert (ca / "crl.pem").read_bytes() == kept and [r.serial_number for r in crl] == [cert_of(ca / "out/f2/tls.crt").serial_number]
