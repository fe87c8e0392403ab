"""A data broker with the shelf: objects lie in a folder, the broker's memory stays small, and the same agents, publishers and server
notice nothing. mosquitto_sub, find and sha256sum say so, and the broker's own count of its heap."""
import hashlib
import pathlib
import re
import subprocess

import pytest

from lib import wire
from lib.fleet import BUILD
from lib.presence import counted, package_of, stored, sys_value
from lib.wait import stays, wait_for
from test_acl import puback
from test_presence_leases import fleet_for, installed, joins, same_file

PLUGIN = BUILD / "broker-conf/shelf/helio-shelf.so"
pytestmark = pytest.mark.skipif(not PLUGIN.exists(), reason="no shelf was built: mosquitto-dev and libmosquitto-dev are missing")


def shelf_of(fleet, broker="da", **more):
    """The broker gets a shelf at its next start with a new configuration."""
    folder = fleet.folder / f"shelf-{broker}"
    folder.mkdir(mode=0o700, exist_ok=True)
    fleet.broker_extra[broker] = {"shelf_plugin": PLUGIN, "shelf_dir": folder, **more}
    return folder


def objects(folder):
    """name -> path of what lies on the shelf, by find."""
    found = subprocess.run(["find", folder, "-type", "f"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return {pathlib.Path(p).name: pathlib.Path(p) for p in found}


def heap(fleet, broker="da"):
    counted(fleet)
    return sys_value(fleet, broker, "heap/current")


def reader(fleet, who, *topics, broker="da"):
    c = wire.Client(fleet.port[broker], fleet.bundle(who))
    fleet.witnesses.append(c)
    c.subscribe(*topics)
    return c


def chunk(name, publisher="pub"):
    return f"helio/v1/chunk/{publisher}/{name}"


def test_shelf_content_lies_in_a_folder_and_is_fetched_with_little_memory(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1", "f2"), linger_s=600, first_viewer_grace_s=0)
    folder = shelf_of(fleet)
    fleet.up()
    joins(fleet, "f1", "f2")
    before = heap(fleet)
    size = 16_000_000
    package = package_of(fleet, size=size)
    stored(fleet, package)
    lying = objects(folder)
    assert sum(p.stat().st_size for p in lying.values()) > size
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == name for name, p in lying.items())
    held = heap(fleet) - before
    assert held < 0.05 * size, f"{held} bytes in the broker's heap for {size}"
    fleet.ctl("channel", "publish", "f1", package)
    wait_for(lambda: installed(fleet, "f1", package), 40)
    assert same_file(fleet, "f1", package)
    # Withdrawn: the files go, and the heap is what it was.
    fleet.ctl("package", "withdraw", package)
    wait_for(lambda: not objects(folder), 20, "nothing is left on the shelf")
    assert heap(fleet) - before < 0.05 * size
    # The control: the same broker without the plugin holds all of it in memory. The same programs fill it and fetch from it.
    fleet.procs["broker-da"].stop()
    conf = fleet.folder / "broker-da/mosquitto.conf"
    conf.write_text("".join(line + "\n" for line in conf.read_text().splitlines() if not line.startswith("plugin")))
    fleet.broker("da")
    fleet.ctl("package", "publish", package)
    stored(fleet, package)
    assert heap(fleet) - before > 0.9 * size and not objects(folder)
    fleet.ctl("channel", "publish", "f2", package)
    wait_for(lambda: installed(fleet, "f2", package), 40)


def test_shelf_gives_each_object_to_those_who_ask_and_may_read_it(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1", "f2", "f3"), linger_s=60)
    folder = shelf_of(fleet)
    fleet.brokers()
    acl = fleet.folder / "broker-da/acl"
    acl.write_text(acl.read_text() + "\nuser f2\ntopic deny helio/v1/chunk/#\n")
    fleet.procs["broker-da"].kill()
    fleet.broker("da")
    fleet.heliod().wait_text("LINK-UP", 15, count=2)
    fleet.publisher()
    stored(fleet, package_of(fleet, size=600_000))
    names = sorted(objects(folder))
    assert len(names) > 3
    one, all_topics = names[0], [chunk(n) for n in names]
    first = reader(fleet, "f1", chunk(one))
    wait_for(lambda: first.of(chunk(one)), 10)
    # A broker that asks first: f2 has no right to read, and a filter with wildcards names no object.
    denied, wild = reader(fleet, "f2", *all_topics), reader(fleet, "watch.1", "helio/v1/chunk/#")
    other = reader(fleet, "f3", *all_topics)
    wait_for(lambda: len(other.of("helio/v1/chunk/")) == len(names), 10, "all objects")
    assert {hashlib.sha256(m.payload).hexdigest() for m in other.of("helio/v1/chunk/")} == set(names)
    stays(lambda: not denied.of("helio/v1/") and not wild.of("helio/v1/") and len(first.of("helio/v1/")) == 1
          and len(other.of("helio/v1/")) == len(names), 0.5)
    assert {m.qos for m in other.of("helio/v1/chunk/")} == {1}
    assert f" f2 1 {chunk(one)}" in fleet.broker_log("da"), "its subscription was granted"
    # mosquitto_sub, at QoS 0 too; asked again, it is given again.
    for qos in ("0", "1"):
        found = fleet.mosquitto_sub(chunk(one), "-C", "1", "-q", qos, "-N", broker="da")
        assert hashlib.sha256(found).hexdigest() == one
    # Only its publisher puts anything there, and only what is named like an object.
    fresh = "ab" * 32
    assert puback(fleet, "f1", chunk(fresh), "da", retain=True) == 135 and puback(fleet, "f1", chunk(one), "da", payload=None) == 135
    for odd in (chunk("AB" * 32), chunk(fresh) + "/x", chunk("..")):
        assert puback(fleet, "pub", odd, "da", retain=True) in (0, 16, 135)
    assert puback(fleet, "pub", chunk(fresh), "da", payload="live", retain=False) in (0, 16)
    assert set(objects(folder)) == set(names)
    # Its publisher's own: published to who is there already, put on the shelf, and withdrawn.
    first.close()
    waiting = reader(fleet, "f1", chunk(fresh))
    assert puback(fleet, "pub", chunk(fresh), "da", payload="fresh", retain=True) in (0, 16)
    wait_for(lambda: [m.payload for m in waiting.of(chunk(fresh))] == [b"fresh"], 10, "it comes to who waits for it")
    assert objects(folder)[fresh].read_text() == "fresh"
    assert puback(fleet, "pub", chunk(fresh), "da", payload=None) in (0, 16)
    assert fresh not in objects(folder)
    # Started anew it is empty, as a broker's memory is: nothing is served that nobody vouches for.
    fleet.procs["pub"].stop()
    fleet.procs["broker-da"].kill()
    fleet.broker("da")
    assert not objects(folder)


def test_shelf_that_cannot_be_written_leaves_objects_in_memory(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1",), linger_s=60)
    folder = shelf_of(fleet)
    (folder / "pub").write_text("in the way")     # of the folder of this publisher
    fleet.up()
    joins(fleet, "f1")
    package = package_of(fleet, size=400_000)
    stored(fleet, package)
    assert list(objects(folder)) == ["pub"] and re.search(r"shelf: .* stays in memory: Not a directory", fleet.broker_log("da"))
    fleet.ctl("channel", "publish", "f1", package)
    wait_for(lambda: installed(fleet, "f1", package), 30)
    assert same_file(fleet, "f1", package)


def test_shelf_refuses_to_start_with_a_folder_that_others_write_to(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1",))
    for mode, extra, why in ((0o777, {}, "nobody else may write to it"), (0o700, {"shelf_budget_bytes": "12"}, "are at least 1114112"),
                             (0o700, {"shelf_dir": "/no/such/folder"}, "cannot open /no/such/folder")):
        shelf_of(fleet, **extra).chmod(mode)
        home = fleet.folder / "broker-da"
        if home.exists():
            subprocess.run(["rm", "-r", home], check=True)
        with pytest.raises(AssertionError):
            fleet.broker("da")
        assert why in fleet.broker_log("da")


def test_shelf_keeps_memory_for_those_who_read(fleet_of):
    many = [f"idle{n}" for n in range(24)]
    fleet = fleet_for(fleet_of, clients=("f1", *many))
    shelf_of(fleet, shelf_budget_bytes=8 << 20)
    fleet.broker("da")
    fleet.procs["broker-da"].stop()
    conf = fleet.folder / "broker-da/mosquitto.conf"
    conf.write_text(conf.read_text().replace("plugin_opt_folder", f"plugin_opt_memory_bytes {16 << 20}\nplugin_opt_folder"))
    pid = fleet.broker("da").pid

    def memory():
        return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) << 10
    with open("/dev/urandom", "rb") as random:
        content = [random.read(1 << 20) for _ in range(12)]
    topics = [chunk(hashlib.sha256(c).hexdigest()) for c in content]
    publisher = reader(fleet, "pub", "helio/v1/host/+")
    for topic, payload in zip(topics, content):
        publisher.publish(topic, payload, retain=True)
    before = memory()
    # Each asks for 12 MiB, all of them for 288, and reads nothing.
    idle = [wire.Client(fleet.port["da"], fleet.bundle(name)) for name in many]
    for c in idle:
        fleet.witnesses.append(c)
        c.m.loop_stop()
        c.m.subscribe([(t, 1) for t in topics])
    wait_for(lambda: memory() - before > 16 << 20, 20, "they are handed what they do not read")
    stays(lambda: memory() - before < 72 << 20, 5)
    # Who reads is served beside them, one object at a time.
    for topic, payload in zip(topics, content):
        one = reader(fleet, "f1", topic)
        wait_for(lambda: one.of(topic), 20, "it is served")
        assert one.of(topic)[0].payload == payload
        one.close()
    # They leave: what they held goes, and what the broker's heap kept of it goes with it.
    for c in idle:
        c.m._sock_close()
    wait_for(lambda: memory() - before < 6 << 20, 20, "the memory is given back")
    full = reader(fleet, "f1", *topics)
    wait_for(lambda: len(full.of("helio/v1/chunk/")) == len(topics), 20, "all of it, at once")
    wait_for(lambda: memory() - before < 6 << 20, 20, "the memory is given back")
