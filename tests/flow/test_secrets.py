"""C14: no key lies anywhere but in its own file. A fleet works, with sealed packages, a medium, a refusal; then every byte that its
programs wrote, said and were started with is searched for the bytes of every key, raw, in hex and in base64."""
import base64
import pathlib
import shutil
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lib.fleet import PROGRAMS
from lib.media import importing, recorded, rig, unpack

KEYS = {"sessions": "select hex(mac_up), hex(mac_down), hex(enc) from session", "content": "select hex(secret) from content_key"}


def private_bytes(path):
    """Of a PEM file, or of one with 64 hex digits."""
    text = path.read_bytes()
    if b"-----" not in text:
        return bytes.fromhex(text.decode())
    key = serialization.load_pem_private_key(text, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes(32, "big")
    return key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())


def forms(secret):
    """The secret as it could stand somewhere; of base64 what no neighbour changes."""
    inner = [base64.b64encode(secret[skip:])[:36] for skip in range(3)]
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), *inner]


def found_in(data, secrets):
    return sorted({name for name, secret in secrets.items() for f in forms(secret) if f in data})


def files(folder):
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def test_C14_no_key_lies_anywhere_but_in_its_own_file(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2"), agents=("f1",))
    spy = fleet.watch("#")
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "encrypt", "acme", "on")
    fleet.procs["pub"].wait_text("CONTENT-KEY customer=acme sealed=yes", 10)
    (folder / "art").write_bytes(b"the bridge at dawn" * 999)
    package = fleet.ctl("package", "build", "art", "1", "--software", folder / "art", "--customer", "acme")["package"]
    fleet.ctl("package", "publish", package)
    fleet.ctl("channel", "publish", "default", package)
    fleet.wait_client("f1", lambda c: package in c["holdings"], 30)
    fleet.ctl("ask", "f1", "software", "--wait")
    fleet.ctl("exec", "f1", "nothing", check=False)
    disc = unpack(recorded(fleet, "f2", package)["path"], folder / "disc")
    (fleet.bundle("f2") / "box.key").rename(folder / "box.away")       # a refusal, which speaks of keys
    assert importing(fleet, "f2", disc).returncode != 0
    (folder / "box.away").rename(fleet.bundle("f2") / "box.key")
    assert importing(fleet, "f2", disc).returncode == 0
    fleet.ctl("customer", "keys")
    fleet.ctl("doctor", check=False)

    # What is secret: every key file, and what the server keeps in its store.
    own = {path: private_bytes(path) for path in files(folder) if path.suffix == ".key"}
    secrets = {str(path.relative_to(folder)): secret for path, secret in own.items()}
    for what, statement in KEYS.items():
        words = fleet.sql(statement).replace("|", "\n").split()
        assert words, what
        secrets |= {f"{what} {n}": bytes.fromhex(word) for n, word in enumerate(words)}
    assert len([s for s in secrets.values() if len(s) == 32 and any(s)]) > 15, secrets.keys()
    (folder / "witness.db").unlink()        # what fleet.sql reads is a copy
    store = next((folder / "heliod").rglob("*.db"))
    content = [name for name in secrets if name.startswith("content")]
    allowed = {folder / "pub/keys/acme": content, **{path: content for path in folder.glob("f?/keys/*")},
               folder / "f1.session": [name for name in secrets if name.startswith("sessions")]}      # these tests ask for it

    # The processes: how they were started, and what surrounds them.
    for name, proc in fleet.procs.items():
        if proc.alive():
            for what in ("cmdline", "environ"):
                assert not found_in(pathlib.Path(f"/proc/{proc.pid}/{what}").read_bytes(), secrets), (name, what)
    # What went over the brokers, inside of TLS.
    assert len(spy.messages) > 10 and not found_in(b"\n".join(m.payload for m in spy.messages), secrets)
    # Everything on the disk, logs too.
    seen = set()
    for path in files(folder):
        found = found_in(path.read_bytes(), secrets)
        if not found:
            continue
        seen.add(path)
        private = stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        if path in own:
            assert private and all(secrets[name] == own[path] for name in found), (path, found)
        elif path.name.startswith(store.name):
            assert private and all(name.startswith(("sessions", "content")) for name in found), (path, found)
        else:
            assert private and set(found) <= set(allowed.get(path, [])), (path, found)
    assert seen >= set(allowed) and any(path.name.startswith(store.name) for path in seen)      # the search sees what is there
    (folder / "planted.log").write_text("key=" + base64.b64encode(b"." + next(iter(secrets.values()))).decode())
    assert found_in((folder / "planted.log").read_bytes(), secrets)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace sees a system call")
@pytest.mark.parametrize("program", ["heliod", "helio-publisher", "helio-agent", "helioctl"])
def test_C14_a_program_that_holds_keys_leaves_no_core(program, folder):
    """By strace: it says so before it reads any key."""
    log, nothing = folder / "calls", folder / "none.ini"
    nothing.write_text("")
    argv = {"helioctl": ["ca", "init", folder / "ca", "--fleet", "test"]}.get(program, ["--config", nothing])
    subprocess.run(["strace", "-f", "-qq", "-o", log, "-e", "trace=prctl,openat", PROGRAMS[program], *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    lines = log.read_text().splitlines()
    asked = [n for n, line in enumerate(lines) if "PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in line]
    keys = [n for n, line in enumerate(lines) if ".key" in line]
    assert asked and (not keys or asked[0] < keys[0]), lines[-20:]
