"""The packager: orders of the server become packages by their criteria, on their period and on every change, and nothing when
nothing changed. The server is a voice of the test; what lies on the data broker is read by mosquitto_sub, protoc and zstd,
the stores by sqlite3 and sha256sum."""
import hashlib
import json
import subprocess
import time

import pytest

from lib import wire
from lib.orders import OrderVoice, manifest_on, order_of, png
from lib.wait import stays, wait_for

pb = wire.pb
SETTINGS = {"packager": {"settle_ms": 100, "period_s": 1}}


def packager(fleet_of, key=True, **extra):
    fleet = fleet_of(data_brokers=("da",), clients=())
    settings = {"packager": {**SETTINGS["packager"], **extra}}
    if key:
        settings["packager"]["image_key"] = fleet.ca / "keys/image.key"
    fleet.publisher_extra = settings
    fleet.brokers()
    fleet.publisher()
    fleet.voice = OrderVoice(fleet)
    fleet.voice.ready()
    return fleet


def add(fleet, name, *tags, seed=None, **sides):
    path = png(fleet.folder / "in" / f"{name}.png", seed=seed or sum(map(ord, name)), **sides)
    done = fleet.ctl("image", "add", path, *[w for t in tags for w in ("--tag", t)])
    return done["images"][0]["image"]


def titles(files):
    return [f.picture.title for f in files]


def stored(fleet, package):
    """Waits until it lies on the broker: the publisher has said that it read its mark back."""
    wait_for(lambda: [m for m in fleet.voice.said if m.state == pb.PUB_STORED and m.package == package], 20, "PUB_STORED")
    return manifest_on(fleet, package)


def packages(fleet):
    return fleet.sql("SELECT hex(id), version FROM package ORDER BY built_unix_ms", "pub").splitlines()


def test_S001_c9c_packages_follow_the_pictures(fleet_of):
    fleet = packager(fleet_of)
    images = {name: add(fleet, name, tag) for name, tag in
              (("wave", "sea"), ("beach", "sea"), ("tower", "city"), ("wood", "forest"))}
    sea = fleet.voice.order(order_of("c.harbour.a", "sea"))
    city = fleet.voice.order(order_of("c.town.a", "city", customer="town"))
    assert sea.package and city.package and sea.package != city.package
    # Exactly the pictures that match, as the manifest on the wire lists them.
    root, files, envelope = stored(fleet, sea.package)
    assert titles(files) == ["wave", "beach"] and [f.path for f in files] == ["0001-wave.png", "0002-beach.png"]
    assert [f.sha256.hex() for f in files] == [images["wave"], images["beach"]]
    assert titles(stored(fleet, city.package)[1]) == ["tower"]
    # A picture that matches nobody is in no package.
    shown = fleet.sql("SELECT count(*) FROM package_image WHERE hex(image) = upper('%s')" % images["wood"], "pub")
    assert shown == "0"
    # The root's image key signed it, as openssl sees it.
    key = fleet.folder / "image.pub.pem"
    subprocess.run(["openssl", "pkey", "-in", fleet.ca / "keys/image.key", "-pubout", "-out", key], check=True)
    covered = b"DSSEv1 %d %s %d " % (len(envelope.payload_type), envelope.payload_type.encode(), len(envelope.payload)) + envelope.payload
    (fleet.folder / "covered").write_bytes(covered)
    (fleet.folder / "signature").write_bytes(envelope.signatures[0].signature)
    subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", fleet.folder / "covered",
                    "-sigfile", fleet.folder / "signature"], check=True, stdout=subprocess.DEVNULL)
    # Ticks without a change: no new version, nothing said.
    before, said = packages(fleet), len(fleet.voice.outcomes)
    stays(lambda: len(fleet.voice.outcomes) == said, 2.5)
    assert packages(fleet) == before
    # A new picture that matches: a new version after the next tick, without any act of an operator; the other one stays.
    add(fleet, "surf", "sea")
    new = fleet.voice.outcome("c.harbour.a", lambda o: o.package != sea.package)
    root2, files2, _ = stored(fleet, new.package)
    assert titles(files2) == ["wave", "beach", "surf"]
    assert root2.version != root.version and root2.name == root.name
    assert not [o for o in fleet.voice.outcomes if o.order == "c.town.a" and o.package != city.package]
    # An edit that changes nothing of the content: the same package again, told with the new revision.
    again = fleet.voice.order(order_of("c.harbour.a", "sea or (sea and city)", revision=2))
    assert again.package == new.package and again.revision == 2
    assert len(packages(fleet)) == 3


def test_S001_c9c_without_a_package_there_is_a_reason(fleet_of):
    fleet = packager(fleet_of, key=False)
    for name in ("wave", "beach"):
        add(fleet, name, "sea")
    order = fleet.voice.order
    o = order(order_of("c.h.a", "sea"))
    assert not o.package and o.reason.startswith("no-key") and (o.matched, o.included) == (2, 0)
    o = order(order_of("c.h.b", "desert"))
    assert not o.package and o.reason.startswith("empty-match") and "no picture has the tag desert" in o.warnings[0]
    o = order(order_of("c.h.c", ""))
    assert not o.package and o.reason.startswith("empty-match")          # an empty criterion matches nothing
    size = int(fleet.sql("SELECT sum(size_bytes) FROM image", "pub"))
    o = order(order_of("c.h.d", "sea", max_bytes=size - 1))
    assert not o.package and o.reason.startswith("too-large") and f"{size} bytes" in o.reason and f"{size - 1}" in o.reason
    assert packages(fleet) == [] and not fleet.voice.offers
    # The key comes: what had waited for it is made, what does not fit is not.
    fleet.procs["pub"].stop()
    fleet.publisher_extra["packager"]["image_key"] = fleet.ca / "keys/image.key"
    fleet.publisher()
    made = fleet.voice.outcome("c.h.a", lambda found: found.package)
    assert made.included == 2 and len(packages(fleet)) == 1
    # A key that the root does not know as one of pictures signs nothing.
    fleet.procs["pub"].stop()
    fleet.publisher_extra["packager"]["image_key"] = fleet.ca / "keys/software.key"
    fleet.publisher()
    fleet.voice.ready()
    o = order(order_of("c.x.a", "sea", name="x"))
    assert not o.package and o.reason.startswith("no-key") and o.matched == 2
    assert {m.package for m in fleet.voice.offers} == {made.package} and len(packages(fleet)) == 1
