"""US 8,949,380 / claim 29: what is transferred is encrypted, also where it lies: on a broker, on a disc."""
import pathlib
import random
import subprocess

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from lib import wire
from lib.media import importing, recorded, rig, sha256sum, shown, tree, unpack
from lib.wait import wait_for
from test_delta import suite
from test_s001_customer import customers, holds, made, order, packaging

pb = wire.pb
MARKER = b"the bridge at dawn, 1874"
NAME = "old-harbour.bin"
ZSTD = b"\x28\xb5\x2f\xfd"      # how a frame begins: RFC 8878


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


def unsealed(k, sealed):
    """Without our code: name | AES-256-GCM | tag."""
    inner = AESGCM(hkdf(k, sealed[:32], b"helio/v1 object key")).decrypt(b"\0" * 12, sealed[32:], None)
    h = hmac.HMAC(hkdf(k, b"\0" * 32, b"helio/v1 object name"), hashes.SHA256())
    h.update(inner)
    assert h.finalize() == sealed[:32]
    return inner


def opened(k, sealed):
    return subprocess.run(["zstd", "-dc"], input=unsealed(k, sealed), stdout=subprocess.PIPE, check=True).stdout


def key_of(fleet, customer):
    """By sqlite3, not by the server, which tells no key."""
    return bytes.fromhex(fleet.sql(f"select hex(secret) from content_key where customer = '{customer}' and current = 1").strip())


def test_S001_c29_a_package_is_read_by_its_customers_devices_alone(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2", "f3"), agents=("f1",))
    fleet.ctl("customer", "add", "acme")
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
    assert any(MARKER in b for b in lies[plain].values()) and MARKER.decode() in strings(recorded(fleet, "f2", plain)["path"])
    assert MARKER.decode() not in strings(recorded(fleet, "f2", shut)["path"])
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
    fleet.leave_agents_alone()
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
        fleet.ctl("customer", "add", customer)
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


def test_S001_c29_a_sealed_package_of_the_small_profile_is_one_stream_that_nobody_else_reads(fleet_of, folder):
    """What is told with earlier chunks of its own package is sealed too, and costs no more for it."""
    fleet = rig(fleet_of, clients=("f1", "f2"), agents=("f1",))
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "encrypt", "acme", "on")
    fleet.procs["pub"].wait_text("CONTENT-KEY customer=acme sealed=yes", 10)
    home = suite(folder, 700_000)
    (home / NAME).write_bytes(MARKER)
    made = {}
    for name, more in (("shut", ("--customer", "acme")), ("open", ())):
        made[name] = fleet.ctl("package", "build", name, "1", "--software", home, "--profile", "small", *more, timeout=60)
        fleet.ctl("package", "publish", made[name]["package"])
        fleet.ctl("channel", "publish", "default", made[name]["package"])
    shut, plain = (made[n]["package"] for n in ("shut", "open"))
    # A frame of its own, a name and a tag each: some sixty bytes an object, no more.
    assert plain != shut and made["shut"]["object_bytes"] < 1.01 * made["open"]["object_bytes"] + 4096, made
    # By the link to a device of the customer.
    fleet.wait_client("f1", lambda c: shut in c["holdings"], 60)
    assert tree(folder / f"f1/packages/{shut}/files") == tree(home)
    # What lay on the wire: none of it is a stream, nor says a name; with the key, and only so, all of it is what it was.
    k, lies = key_of(fleet, "acme"), {p: on_broker(fleet, p, unpack(recorded(fleet, "f2", p)["path"], folder / p[:8])) for p in (plain, shut)}
    objects = {p: {t.rsplit("/", 1)[1]: b for t, b in lies[p].items() if "/chunk/" in t} for p in lies}
    assert any(b.startswith(ZSTD) for b in objects[plain].values()) and not any(ZSTD in b[:64] for b in objects[shut].values())
    assert not any(NAME.encode() in b or MARKER in b for b in lies[shut].values())
    index = pb.Index.FromString(pb.Envelope.FromString(lies[shut][f"helio/v1/idx/pub/{shut}/full"]).payload)
    told, streams = 0, []
    for page in index.pages:
        of_page = pb.IndexPage.FromString(opened(k, objects[shut][page.object.sha256.hex()])).objects
        told += sum(o.coding == pb.ZSTD_PREFIX and len(o.own_runs) > 0 for o in of_page)
        streams += [unsealed(k, objects[shut][o.sha256.hex()]) for o in of_page]
    assert told >= 2 and all(b.startswith(ZSTD) for b in streams), (told, len(streams))
    with pytest.raises(InvalidTag):
        unsealed(key_of(fleet, "acme")[:-1] + b"?", next(iter(objects[shut].values())))


def strings(path):
    return subprocess.run(["strings", "-a", path], stdout=subprocess.PIPE, check=True, text=True).stdout


def keys_told(spy, publisher):
    """What the server sent to a publisher about keys, in plain protobuf."""
    said = [m.decode(pb.Directive) for m in spy.of(f"helio/v1/pubcmd/{publisher}")]
    return [(d.customer, d.key.key_id.hex(), d.reason) for d in said if d.kind == pb.CONTENT_KEY]


def test_S001_c29_a_key_goes_to_the_publisher_of_its_customer_alone(fleet_of, folder):
    fleet = fleet_of(publishers=("pub", "rue"), clients=("f1",), server={"data": {"recent_period_s": 0}})
    fleet.up(agents=["f1"])
    spy = fleet.watch("helio/v1/pubcmd/#")
    # Of a customer that nobody knows nothing is encrypted: a slip of the hand is told.
    done = fleet.ctl("customer", "encrypt", "acmee", "on", check=False)
    assert done.returncode != 0 and "there is no customer acmee" in done.stderr, done
    assert fleet.sql("select count(*) from content_key").strip() == "0"
    fleet.ctl("customer", "add", "acme", "--publisher", "pub")
    fleet.ctl("customer", "add", "umbra", "--publisher", "rue")
    ids = {c: fleet.ctl("customer", "encrypt", c, "on")["key_id"] for c in ("acme", "umbra")}
    wait_for(lambda: (folder / "pub/keys/acme").exists() and (folder / "rue/keys/umbra").exists(), 10, "each has its key")
    # In a new session the same again, and nothing more.
    for publisher in ("pub", "rue"):
        fleet.procs[publisher].stop()
        fleet.publisher(publisher)
    wait_for(lambda: all(len(keys_told(spy, p)) >= 2 for p in ("pub", "rue")), 15, "told in the new session")
    assert set(keys_told(spy, "pub")) == {("acme", ids["acme"], "")} and set(keys_told(spy, "rue")) == {("umbra", ids["umbra"], "")}
    assert (folder / "pub/keys/acme").read_bytes() == key_of(fleet, "acme") != key_of(fleet, "umbra")
    assert [p.name for p in (folder / "pub/keys").iterdir()] == ["acme"] and [p.name for p in (folder / "rue/keys").iterdir()] == ["umbra"]
    # What a publisher has no key for it does not make open.
    (folder / "art").write_bytes(MARKER)
    build = ("package", "build", "art", "1", "--software", folder / "art", "--customer")
    done = fleet.ctl(*build, "umbra", check=False)
    assert done.returncode != 0 and "knows no key of customer umbra" in done.stderr, done
    fleet.ctl(*build, "acme")
    # The customer goes elsewhere: another key, the former publisher forgets, and its devices still read what it made.
    one, _ = built(fleet, "old", "1", content(), "--customer", "acme")
    fleet.ctl("customer", "set", "acme", "--publisher", "rue")
    wait_for(lambda: (folder / "rue/keys/acme").exists() and not (folder / "pub/keys/acme").exists(), 10, "the key moved")
    now = {k["customer"]: k for k in fleet.ctl("customer", "keys")["keys"]}["acme"]
    assert now["publisher"] == "rue" and now["encrypts"] and now["key_id"] != ids["acme"]
    wait_for(lambda: keys_told(spy, "pub")[-1] == ("acme", "", "gone"), 10, "it is told")
    assert ("acme", now["key_id"], "") not in keys_told(spy, "pub")
    assert fleet.ctl(*build, "acme", check=False).returncode != 0
    fleet.ctl("channel", "publish", "default", one)
    fleet.wait_client("f1", lambda c: one in c["holdings"], 30)
    assert [p.name for p in (folder / "f1/keys").iterdir()] == [ids["acme"]]


def test_S001_c29_with_another_customers_key_a_device_shows_what_it_showed(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1",), medium_after_s=3600)
    for customer in ("acme", "umbra"):
        fleet.ctl("customer", "add", customer)
        fleet.ctl("customer", "encrypt", customer, "on")
        fleet.procs["pub"].wait_text(f"CONTENT-KEY customer={customer} sealed=yes", 10)
    one, _ = built(fleet, "art", "1", content("1"), "--customer", "acme")
    fleet.ctl("channel", "publish", "default", one)
    wait_for(lambda: shown(fleet, "f1") == one, 30, "the old is shown")
    # Now the server gives another customer's key in the place of this one's.
    before, right, wrong = fleet.ctl("customer", "encrypt", "acme", "rotate"), key_of(fleet, "acme"), key_of(fleet, "umbra")
    wait_for(lambda: (folder / "pub/keys/acme").read_bytes() == right, 10, "the publisher has the new key")
    two, _ = built(fleet, "art", "2", content("2"), "--customer", "acme")
    wait_for(lambda: fleet.ctl("package", "show", two)["state"] in ("stored", "linger"), 20, "it lies there")
    given(fleet, before["key_id"], wrong)
    fleet.ctl("channel", "publish", "default", two)
    refused = wait_for(lambda: fleet.sql("select detail from operation where client = 'f1' and outcome = 4 and detail like '%key%'"), 20, "a refusal")
    assert "no-key" in refused and shown(fleet, "f1") == one and not (folder / f"f1/packages/{two}").exists(), refused
    assert [p.name for p in (folder / "f1/keys").iterdir() if p.read_bytes() == right] == []
    # With the right one, when it is asked for again.
    given(fleet, before["key_id"], right)
    fleet.ctl("channel", "publish", "default", two)
    wait_for(lambda: shown(fleet, "f1") == two, 40, "the new is shown")
    assert tree(folder / f"f1/packages/{two}/files") == {NAME: sha256sum(fleet.folder / f"art-2/{NAME}")}


def given(fleet, key_id, secret):
    """By sqlite3: what the server gives under this id."""
    fleet.procs["heliod"].stop()
    store = next((fleet.folder / "heliod").rglob("*.db"))
    subprocess.run(["sqlite3", store, f"update content_key set secret = x'{secret.hex()}' where key_id = x'{key_id}'"], check=True)
    fleet.heliod()


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
