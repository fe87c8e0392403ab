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


def test_S001_c13_a_preference_changes_the_manifest(fleet_of):
    fleet = packager(fleet_of)
    for name, tag in (("wave", "sea"), ("beach", "sea"), ("tower", "city"), ("bridge", "city")):
        add(fleet, name, tag)
    mine = fleet.voice.order(order_of("c.mine.a", "sea"))
    other = fleet.voice.order(order_of("c.other.a", "sea or city", customer="other"))
    assert titles(stored(fleet, mine.package)[1]) == ["wave", "beach"]
    # sea -> city: the next package has the pictures of the city, the other customer's is as it was.
    now = fleet.voice.order(order_of("c.mine.a", "city", revision=2))
    assert titles(stored(fleet, now.package)[1]) == ["tower", "bridge"]
    assert [o.package for o in fleet.voice.outcomes if o.order == "c.other.a"] == [other.package]
    # A lower revision is not taken any more.
    fleet.voice.direct(pb.PACKAGE_ORDER, order=order_of("c.mine.a", "sea"))
    assert fleet.voice.outcome("c.mine.a", lambda o: o.revision == 2 and o.package == now.package)
    # A tag that nobody has: said with a warning, and no package takes the place of what is shown.
    none = fleet.voice.order(order_of("c.mine.a", "cty", revision=3))
    assert not none.package and "no picture has the tag cty" in none.warnings[0]
    assert "offered" in fleet.sql("SELECT CASE state WHEN 3 THEN 'offered' END FROM package WHERE lower(hex(id)) = '%s'"
                                  % now.package.hex(), "pub")
    # Plans in one package: order, hours and weight of each are in the manifest, as protoc prints it.
    o = order_of("c.mine.a", None, revision=4)
    o.show.order, o.show.time_zone, o.show.duration_ms = "weight", "Europe/Athens", 5000
    morning = o.parts.add(plan="morning", expression="sea", order="newest", weight=3, fit="fill")
    morning.dayparts.add(weekdays=0x1f, from_minute=360, until_minute=600)
    o.parts.add(plan="rest", expression="city", max_images=1, until_unix_ms=4102444800000)
    both = fleet.voice.order(o)
    root, files, envelope = stored(fleet, both.package)
    assert titles(files) == ["beach", "wave", "tower"] and [f.picture.group for f in files] == [1, 1, 2]
    printed = fleet.protoc("Manifest", envelope.payload)
    for text in ('plan: "morning"', "from_minute: 360", "until_minute: 600", "weekdays: 31", 'time_zone: "Europe/Athens"', 'plan: "rest"',
                 "until_unix_ms: 4102444800000", "weight: 3"):
        assert text in printed, text
    assert (both.matched, both.included) == (4, 3) and both.reason == "limit: 3 of 4 pictures"
    # Withdrawn: told as such, and nothing is made of it any more.
    gone = fleet.voice.order(order_of("c.mine.a", "sea", revision=5, withdrawn=True))
    assert not gone.package and gone.reason.startswith("withdrawn")
    count = len(packages(fleet))
    add(fleet, "surf", "sea")
    fleet.voice.outcome("c.other.a", lambda o: o.package != other.package)
    assert len(packages(fleet)) == count + 1


def test_S001_c9c_an_order_survives_kill_9_everywhere(fleet_of):
    fleet = packager(fleet_of)
    voice, images = fleet.voice, 0

    def killed():
        fleet.procs["pub"].kill()
        (fleet.folder / "pub.sock").unlink(missing_ok=True)
        said = len(voice.said)
        fleet.publisher()
        wait_for(lambda: len(voice.said) > said, 20, "the next session")

    for i in range(4):
        add(fleet, f"sea{i}", "sea", seed=500 + i, width=200, height=150)
        images += 1
    # Taken and never told: the server hears nothing of the offer, then nothing of the outcome.
    for deaf, seen in ((pb.PUB_OFFER, lambda: voice.offers), (pb.PUB_ORDERED, lambda: voice.outcomes)):
        voice.deaf = {deaf}
        voice.direct(pb.PACKAGE_ORDER, order=order_of("c.k.a", "sea", screen_width_px=100, screen_height_px=100))
        wait_for(seen, 20, "the publisher says it")
        assert fleet.sql("SELECT told FROM package_order", "pub") == "0"
        killed()
        assert fleet.sql("SELECT told FROM package_order", "pub") == "0"
    voice.deaf, seen = set(), len(voice.outcomes)
    first = wait_for(lambda: voice.outcomes[seen:], 20, "told again, unasked")[0]
    wait_for(lambda: fleet.sql("SELECT told FROM package_order", "pub") == "1", 10, "the server knows it")
    assert first.included == 4 and len(packages(fleet)) == 1
    # Killed while it decodes, sizes, builds, signs, offers: whatever stood, the last edit wins, and nothing is there twice.
    for i in range(5):
        add(fleet, f"more{i}", "sea", seed=600 + i, width=200, height=150)
        images += 1
        revision = 2 + i
        voice.direct(pb.PACKAGE_ORDER, order=order_of("c.k.a", "sea", revision, screen_width_px=100 + i, screen_height_px=100))
        time.sleep(0.02 * i)
        killed()
    last = voice.order(order_of("c.k.a", "sea", 20, screen_width_px=90, screen_height_px=90))
    assert last.included == images == 9
    root, files, _ = stored(fleet, last.package)
    assert len(files) == 9 and {(f.picture.width_px, f.picture.height_px) for f in files} == {(90, 68)}
    assert fleet.sql("PRAGMA integrity_check", "pub") == "ok"
    twice = fleet.sql("SELECT name, version, count(*) FROM package GROUP BY 1, 2 HAVING count(*) > 1", "pub")
    assert twice == ""
    # Every file of the store hashes to its name, and each is named by a row.
    files = [p for p in (fleet.folder / "pub/images").glob("*/*") if p.is_file()]
    sums = subprocess.run(["sha256sum", *files], capture_output=True, text=True, check=True).stdout.splitlines()
    assert all(line.split()[0] == line.split("/")[-1] for line in sums)
    named = set(fleet.sql("SELECT lower(hex(sha256)) FROM image UNION SELECT lower(hex(sha256)) FROM variant", "pub").split())
    fleet.procs["pub"].stop()
    fleet.publisher()
    assert {p.name for p in (fleet.folder / "pub/images").glob("*/*")} <= named
    # And an untold edit is heard with its last word only: asked again, the same package.
    assert voice.order(order_of("c.k.a", "sea", 20, screen_width_px=90, screen_height_px=90)).package == last.package


def test_S001_c9c_old_packages_are_let_go(fleet_of):
    fleet = packager(fleet_of, keep=1)
    voice = fleet.voice
    made = []
    for i in range(4):
        add(fleet, f"p{i}", "sea", seed=800 + i)
        made.append(voice.order(order_of("c.old.a", "sea", revision=1 + i, max_images=i + 1)).package)
    assert len(set(made)) == 4
    for package in made:
        stored(fleet, package)
    # All of them lie on the broker and may be leased: none is taken away, whatever time passes.
    stays(lambda: len(packages(fleet)) == 4, 2.2)
    assert not [m for m in voice.said if m.state == pb.PUB_WITHDRAWN]
    # The server stops them, nobody wants them any more: what is older than the one before the present one goes.
    for package in made:
        voice.directive_id += 1
        voice.direct(pb.STOP, package=package, directive_id=voice.directive_id,
                     to=pb.Address(broker_id="da", host="localhost", ip="127.0.0.1", port=fleet.port["da"], tls=True))
    wait_for(lambda: len(packages(fleet)) == 2, 20, "two packages are left")
    assert {m.package for m in voice.said if m.state == pb.PUB_WITHDRAWN} == set(made[:2])
    left = {row.split("|")[0].lower() for row in packages(fleet)}
    assert left == {p.hex() for p in made[2:]}
    stays(lambda: len(packages(fleet)) == 2, 2.2)
