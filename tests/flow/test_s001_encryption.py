"""US 8,949,380 / claim 29: what is transferred is encrypted, also where it lies: on a broker, on a disc."""
import pathlib
import random
import subprocess

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from lib import wire
from lib.media import importing, recorded, rig, sha256sum, shown, tree, unpack
from lib.wait import wait_for
from test_s001_customer import customers, holds, made, order, packaging

pb = wire.pb
MARKER = b"the bridge at dawn, 1874"
NAME = "old-harbour.bin"


def content(version="1", size=300_000):
    """Bytes that no compression changes, so that what lies open is found by its text."""
    rnd = random.Random(version)
    return rnd.randbytes(size // 2) + MARKER + rnd.randbytes(size // 2)


def built(fleet, name, version, data, *more):
    folder = fleet.folder / f"{name}-{version}"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(data)
    found = fleet.ctl("package", "build", name, version, "--software", folder, *more)
    fleet.ctl("package", "publish", found["package"])
    return found["package"], found


def on_broker(fleet, package, disc):
    """Everything that lies on the data broker of this package, by mosquitto_sub; the disc says the names."""
    on = wait_for(lambda: fleet.ctl("package", "show", package)["broker"], 20, "a broker")
    topics = [str(p.relative_to(disc)) for p in disc.glob("helio/v1/*/pub/**/*") if p.is_file()]
    return {t: fleet.mosquitto_sub(t, "-C", "1", "-N", broker=on) for t in topics}


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def opened(k, sealed):
    """Without our code: name | AES-256-GCM | tag."""
    inner = AESGCM(hkdf(k, sealed[:32], b"helio/v1 object key")).decrypt(b"\0" * 12, sealed[32:], None)
    h = hmac.HMAC(hkdf(k, b"\0" * 32, b"helio/v1 object name"), hashes.SHA256())
    h.update(inner)
    assert h.finalize() == sealed[:32]
    return subprocess.run(["zstd", "-dc"], input=inner, stdout=subprocess.PIPE, check=True).stdout


def key_of(fleet, customer):
    """By sqlite3, not by the server, which tells no key."""
    return bytes.fromhex(fleet.sql(f"select hex(secret) from content_key where customer = '{customer}' and current = 1").strip())


def test_S001_c29_a_package_is_read_by_its_customers_devices_alone(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2", "f3"), agents=("f1",))
    said = fleet.ctl("customer", "encrypt", "acme", "on")
    assert said["encrypts"] and len(said["key_id"]) == 32
    fleet.procs["pub"].wait_text("CONTENT-KEY customer=acme sealed=yes", 10)
    plain, _ = built(fleet, "open", "1", content())
    shut, first = built(fleet, "art", "1", content(), "--customer", "acme")
    fleet.ctl("channel", "publish", "default", plain)
    fleet.ctl("channel", "publish", "default", shut)
    for package in (plain, shut):
        fleet.wait_client("f1", lambda c, package=package: package in c["holdings"], 30)
    # The device has the bytes; it was given the key in its session, and nobody else can read it there.
    want = {NAME: sha256sum(fleet.folder / f"art-1/{NAME}")}
    assert tree(folder / f"f1/packages/{shut}/files") == want
    keys = list((folder / "f1/keys").iterdir())
    assert [p.name for p in keys] == [said["key_id"]] and keys[0].stat().st_mode & 0o777 == 0o600
    k = key_of(fleet, "acme")
    assert keys[0].read_bytes() == k

    # What lies on the broker and on the disc: the text of one is found, of the other it is not.
    discs = {p: unpack(recorded(fleet, "f2", p)["path"], folder / p[:8]) for p in (plain, shut)}
    lies = {p: on_broker(fleet, p, discs[p]) for p in (plain, shut)}
    images = {p: pathlib.Path(recorded(fleet, "f2", p)["path"]).read_bytes() for p in (plain, shut)}
    assert any(MARKER in b for b in lies[plain].values()) and MARKER in images[plain]
    assert not any(MARKER in b or NAME.encode() in b for b in lies[shut].values())
    assert MARKER not in images[shut] and NAME.encode() not in images[shut] and k not in images[shut]
    # A witness that is not ours opens it with the key, and not with another one.
    chunks = [b for t, b in lies[shut].items() if "/chunk/" in t]
    texts = [opened(k, b) for b in chunks]
    assert any(MARKER in t for t in texts) and any(NAME.encode() in t for t in texts)
    for bad in (k[:-1] + bytes([k[-1] ^ 1]), bytes(32)):
        try:
            opened(bad, chunks[0])
            raise AssertionError("opened with another key")
        except InvalidTag:
            pass

    # A client that never started reads its disc, with nobody to ask.
    for name in [n for n in fleet.procs if n.startswith("broker-") or n in ("heliod", "pub")]:
        fleet.procs[name].stop()
    box = fleet.bundle("f2") / "box.key"
    good = box.read_text()
    assert box.stat().st_mode & 0o777 == 0o600
    for bad in (None, (fleet.bundle("f3") / "box.key").read_text()):
        box.unlink()
        if bad:
            box.write_text(bad)
            box.chmod(0o600)
        done = importing(fleet, "f2", discs[shut])
        assert done.returncode != 0 and "media refused reason=no-key" in done.stderr and shown(fleet, "f2") is None, done.stderr[-1500:]
        box.write_text(good)
        box.chmod(0o600)
    chunk = max((discs[shut] / "helio/v1/chunk/pub").iterdir(), key=lambda p: p.stat().st_size)
    data = chunk.read_bytes()
    chunk.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    done = importing(fleet, "f2", discs[shut])
    assert done.returncode != 0 and "media refused reason=hash" in done.stderr and shown(fleet, "f2") is None, done.stderr[-1500:]
    chunk.write_bytes(data)
    done = importing(fleet, "f2", discs[shut])
    assert done.returncode == 0 and shown(fleet, "f2") == shut, done.stderr[-1500:]
    assert tree(folder / f"f2/packages/{shut}/files") == want


def test_S001_c29_equal_chunks_of_one_customer_stay_one_object(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1",), agents=())
    for customer in ("acme", "umbra"):
        fleet.ctl("customer", "encrypt", customer, "on")
        fleet.procs["pub"].wait_text(f"CONTENT-KEY customer={customer} sealed=yes", 10)
    data = random.Random(7).randbytes(3_000_000)
    one, first = built(fleet, "art", "1", data, "--customer", "acme")
    again, second = built(fleet, "art", "1", data, "--customer", "acme")
    assert again == one and second["new_bytes"] == 0
    two, second = built(fleet, "art", "2", data[:1_500_000] + b"new" + data[1_500_000:], "--customer", "acme")
    assert first["new_bytes"] > 3_000_000 and 0 < second["new_bytes"] < 1_500_000, (first, second)
    # Negative: of another customer, of nobody, and after a rotation nothing is equal.
    other, third = built(fleet, "art", "1", data, "--customer", "umbra")
    assert other != one and third["new_bytes"] > 3_000_000
    nobody, fourth = built(fleet, "art", "1", data)
    assert nobody not in (one, other) and fourth["new_bytes"] > 2_900_000
    before = fleet.ctl("customer", "encrypt", "acme", "on")["key_id"]
    after = fleet.ctl("customer", "encrypt", "acme", "rotate")["key_id"]
    assert before != after
    wait_for(lambda: fleet.procs["pub"].text().count("CONTENT-KEY customer=acme") >= 2, 10)
    turned, fifth = built(fleet, "art", "1", data, "--customer", "acme")
    assert turned != one and fifth["new_bytes"] > 3_000_000
    # Off, and what was sealed before is still given.
    fleet.ctl("customer", "encrypt", "acme", "off")
    wait_for(lambda: "CONTENT-KEY customer=acme sealed=no" in fleet.procs["pub"].text(), 10)
    assert built(fleet, "art", "1", data, "--customer", "acme")[0] == nobody
    fleet.ctl("channel", "publish", "default", one)
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: one in c["holdings"], 30)


def root_of(fleet, package):
    on = wait_for(lambda: fleet.ctl("package", "show", package)["broker"], 20, "a broker")
    return pb.Manifest.FromString(pb.Envelope.FromString(fleet.mosquitto_sub(f"helio/v1/pkg/pub/{package}", "-C", "1", "-N", broker=on)).payload)


def test_S001_c29_what_a_plan_makes_is_sealed_for_its_customer(fleet_of):
    fleet = packaging(fleet_of, agents=("f1", "f3"))
    customers(fleet)
    before, town = made(fleet, "harbour"), made(fleet, "town")
    assert root_of(fleet, before["package"]).key_id == b""
    holds(fleet, "f1", before["package"])
    pictures = tree(fleet.folder / f"f1/packages/{before['package']}/files")
    said = fleet.ctl("customer", "encrypt", "harbour", "on")
    after = made(fleet, "harbour", lambda o: o["package"] != before["package"])
    holds(fleet, "f1", after["package"])
    # The same pictures, sealed; another customer's stay open, and its devices were given no key.
    assert root_of(fleet, after["package"]).key_id.hex() == said["key_id"]
    assert tree(fleet.folder / f"f1/packages/{after['package']}/files") == pictures != {}
    holds(fleet, "f3", town["package"])
    assert order(fleet, "town")["package"] == town["package"] and not (fleet.folder / "f3/keys").exists()
    assert [p.name for p in (fleet.folder / "f1/keys").iterdir()] == [said["key_id"]]
