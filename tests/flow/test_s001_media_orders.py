"""US 8,949,380 / claims 3 and 5: media by hand, media for a moment, media that wait for somebody, media that are over."""
import json
import pathlib
import subprocess
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lib import wire
from lib.media import QUICK, importing, orders, package, recorded, rig, shown, unpack
from lib.stage import png_bytes
from lib.wait import wait_for

pb = wire.pb


def pictures(fleet, version, rgb):
    """A package of one picture of one colour."""
    path = fleet.folder / f"all-{version}.png"
    path.write_bytes(png_bytes(64, 48, rgb))
    image = fleet.ctl("image", "add", path)["images"][0]["image"]
    built = fleet.ctl("package", "build", "--name", "art", "--version", version, "--duration", "60000", "--image", image)
    fleet.ctl("package", "publish", built["package"])
    return built["package"]


def order_on(disc, client):
    """The signed order on a medium, without our code."""
    envelope = pb.Envelope.FromString(next((disc / "helio/v1/medium" / client).iterdir()).read_bytes())
    return pb.Medium.FromString(envelope.payload)


def test_S001_c3_a_medium_by_hand_swaps_at_its_moment(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2"), medium_never_after_s=3600, medium_after_s=3600)
    one, two = pictures(fleet, "1", (200, 40, 30)), pictures(fleet, "2", (40, 180, 60))
    # What awaits nobody, what is not there and what is no moment are told as such.
    for words, text in ((("f1",), "holds what its channels show"), (("nobody", "--package", one), "nobody"),
                        (("f2", "--package", one, "--at", "tomorrow"), "--at is a day")):
        done = fleet.ctl("media", "order", *words, check=False)
        assert done.returncode != 0 and text in done.stderr, done
    assert orders(fleet) == []
    # By hand also for a device that is heard: whole, and at once, though the link works.
    fleet.ctl("media", "order", "f1", "--package", one)
    first = recorded(fleet, "f1", one)
    assert first["reason"] == "asked"
    again = fleet.ctl("media", "order", "f1", "--package", one, check=False)
    assert again.returncode != 0 and "is recorded" in again.stderr, again
    # Without a name: what the device is to have.
    fleet.ctl("channel", "publish", "default", one)
    assert [m["package"] for m in fleet.ctl("media", "order", "f2")["media"]] == [one]
    done = importing(fleet, "f2", recorded(fleet, "f2", one)["path"])
    assert done.returncode == 0 and shown(fleet, "f2", kind="images") == one, done

    at = (time.time_ns() // 1_000_000_000 + 8) * 1000
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1000))
    said = fleet.ctl("media", "order", "f2", "--package", two, "--at", text)["media"][0]
    assert said["activate_unix_ms"] == at and said["reason"] == "asked"
    disc = unpack(recorded(fleet, "f2", two)["path"], folder / "disc")
    assert order_on(disc, "f2").package.activate_unix_ms == at and order_on(disc, "f2").package.activate
    assert order_on(unpack(first["path"], folder / "other"), "f1").package.activate_unix_ms == 0
    assert f"Shown     from {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(at // 1000))}" in (disc / "ORDER.txt").read_text()
    fleet.leave_agents_alone()
    # Held, and not shown: the display is told of the moment, and an agent that starts later too.
    done = importing(fleet, "f2", disc)
    assert done.returncode == 0 and "installed\t" in done.stdout, done
    assert time.time() * 1000 < at - 1000, "this machine is too slow for the test's moment"
    assert shown(fleet, "f2", kind="images") == one and (folder / f"f2/packages/{two}").is_dir()
    assert f"activate\t{at}" in (folder / "f2/display/playlist.next").read_text()
    fleet.agent("f2")
    early = []
    while shown(fleet, "f2", kind="images") == one and time.time() * 1000 < at + 10_000:
        early.append(time.time() * 1000)
        time.sleep(0.05)
    assert shown(fleet, "f2", kind="images") == two and time.time() * 1000 >= at and early[-1] > at - 1000, (at, early[-1])


def enrolled_by_its_own_keys(fleet, client):
    """As a device that makes its keys itself, by openssl: no box key is known of it."""
    key, csr = fleet.folder / "device.key", fleet.folder / "device.csr"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], check=True,
                   stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=x", "-out", csr], check=True, stderr=subprocess.DEVNULL)
    fleet.enrol("client", client, "--public-key", wire.raw_public(Ed25519PrivateKey.generate()).hex(), "--csr", csr)


def x25519_public():
    der = subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-outform", "DER"], stdout=subprocess.PIPE, check=True).stdout
    out = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=der, stdout=subprocess.PIPE, check=True)
    return out.stdout[-32:].hex()


def test_S001_c5_what_a_sealed_medium_waits_for_is_told(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), server={"server": {"medium_never_after_s": 0, "medium_after_s": 3600}, "data": {"recent_period_s": 0}})
    enrolled_by_its_own_keys(fleet, "f9")
    fleet.up(agents=["f1"])
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "encrypt", "acme", "on")
    fleet.procs["pub"].wait_text("CONTENT-KEY customer=acme sealed=yes", 10)
    plain = package(fleet)
    (folder / "sealed").write_bytes(b"x" * 3000)
    shut = fleet.ctl("package", "build", "shut", "1", "--software", folder / "sealed", "--customer", "acme")["package"]
    fleet.ctl("package", "publish", shut)
    for one in (plain, shut):
        fleet.ctl("channel", "publish", "default", one)
    # Negative: what is not encrypted is recorded for the same client.
    recorded(fleet, "f9", plain)
    waits = wait_for(lambda: [o for o in orders(fleet, "f9", shut) if o["detail"]], 15, "why it waits")[0]
    assert int(waits["state"]) == pb.MEDIA_PENDING and "f9 is enrolled without a box key" in waits["detail"], waits
    listed = {m["package"]: m for m in fleet.ctl("media", "list")["media"]}
    assert "without a box key" in listed[shut]["detail"] and listed[plain]["detail"] == ""
    said = fleet.ctl("status")
    assert said["media_waits"] == waits["number"] and "box key" in said["media_why"] and said["media_recorded"] == 1
    found = [f for f in doctor(fleet) if f["id"] == "MEDIA-WAIT"]
    assert len(found) == 1 and "box key" in found[0]["what"] and found[0]["level"] == "warn", found
    text = fleet.ctl_plain("--config", fleet.ctl_config(), "status").stdout
    assert "without a box key" in text, text
    # It is asked for again and again, and said once.
    log = fleet.procs["heliod"]
    assert len([line for line in log.text().splitlines() if "MEDIA-UNTOLD" in line and "box key" in line and " warn " in line]) == 1
    # The line that it names mends it.
    fleet.enrol("client", "f9", "--box-key", x25519_public())
    fleet.ctl("client", "add", fleet.ca / "enrolments/f9.enrol")
    assert recorded(fleet, "f9", shut, 30)["detail"] == ""
    assert "media_why" not in fleet.ctl("status") and not [f for f in doctor(fleet) if f["id"] == "MEDIA-WAIT"]
    assert log.text().count("MEDIA-UNTOLD") == 1


def doctor(fleet):
    return json.loads(fleet.ctl("doctor", check=False).stdout)["findings"]


def test_S001_c5_the_history_of_media_is_bounded(fleet_of):
    fleet = rig(fleet_of, clients=("f2",), agents=(), media_keep=2)
    wanted, other = package(fleet), package(fleet, name="other")
    fleet.ctl("channel", "publish", "default", wanted)
    # Given up by hand, and the client is still silent: this row is what keeps another medium from being made.
    kept = recorded(fleet, "f2", wanted)["number"]
    fleet.ctl("media", "cancel", kept)
    numbers = []
    for _ in range(5):
        numbers.append(fleet.ctl("media", "order", "f2", "--package", other)["media"][0]["order"])
        assert f'order: {numbers[-1]}' in fleet.protoc("MediaOrder", fleet.mosquitto_sub(f"helio/v1/view/media/f2/{numbers[-1]}", "-C", "1", "-N"))
        fleet.ctl("media", "cancel", numbers[-1])
    wait_for(lambda: [o["number"] for o in orders(fleet)] == [kept, numbers[-1]], 15, "the oldest went")
    # So did their views; those of the others stand.
    for number in numbers[:-1]:
        assert fleet.mosquitto_sub(f"helio/v1/view/media/f2/{number}", "-C", "1", "-N", timeout=0.3, check=False) == b""
    view = fleet.mosquitto_sub(f"helio/v1/view/media/f2/{kept}", "-C", "1", "-N")
    assert "state: MEDIA_CANCELLED" in fleet.protoc("MediaOrder", view)
    # Negative: what is open is no history.
    more = [fleet.ctl("media", "order", "f2", "--package", p)["media"][0]["order"] for p in (other, wanted)]
    assert {o["number"] for o in orders(fleet)} >= set(more)


def test_S001_c5_media_are_kept_until_they_are_over_and_no_more_than_fit(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), server={"server": QUICK, "data": {"recent_period_s": 0}},
                     publisher={"publisher": {"medium_bytes_max": 1 << 20, "medium_keep_s": 3600}})
    fleet.up(agents=[])
    one = package(fleet, size=500_000)
    fleet.ctl("channel", "publish", "default", one)

    def images():
        return sorted(int(p.stem) for p in (folder / "pub/media").glob("*.iso"))

    def by_state(state):
        return [o for o in orders(fleet, package=one) if int(o["state"]) == state]
    # One fits. The other waits, and says for what; the first stays, though room is wanted.
    full = wait_for(lambda: [o for o in by_state(pb.MEDIA_PENDING) if o["detail"]], 20, "one that waits")[0]
    first = by_state(pb.MEDIA_RECORDED)
    assert len(first) == 1 and images() == [int(first[0]["number"])]
    assert "at most 1048576 may be kept" in full["detail"] and "medium_bytes_max" in full["detail"], full
    assert "at most 1048576" in fleet.ctl("status")["media_why"]
    # The first is given up: it goes for the other, and not before.
    fleet.ctl("media", "cancel", first[0]["number"])
    fleet.procs["pub"].wait_text(f"MEDIUM-ENDED order={first[0]['number']} ", 10)
    wait_for(lambda: images() == [int(full["number"])], 40, "the other is recorded in its place")
    second = recorded(fleet, full["client"], one)
    assert pathlib.Path(second["path"]).exists() and not pathlib.Path(first[0]["path"]).exists()
    assert not list((folder / "pub/media").glob(f"{first[0]['number']}*"))
    # What ended while the publisher was away it hears of when it is back; and then it goes by itself.
    fleet.procs["pub"].stop()
    fleet.ctl("media", "cancel", second["number"])
    fleet.publisher_extra["publisher"]["medium_keep_s"] = 0
    fleet.publisher()
    wait_for(lambda: not [p for p in (folder / "pub/media").iterdir() if p.name not in (".lock", ".making")], 20, "nothing is kept")
    assert not list((folder / "pub/media/.making").iterdir())


def test_S001_c5_two_publishers_do_not_share_a_folder_of_media(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), publishers=("pub", "other"), publisher={"publisher": {"medium_dir": folder / "media"}})
    fleet.publisher("pub")
    fleet.publisher("other")
    fleet.procs["other"].wait_text("PUBLISHER-START-FAILED", 60)
    assert f"medium_dir {folder / 'media'} is that of another publisher, which is running" in fleet.procs["other"].text()
    wait_for(lambda: not fleet.procs["other"].alive(), 60, "the other ends")
    # One that is killed holds nobody up.
    assert fleet.procs["pub"].alive()
    fleet.procs["pub"].kill()
    fleet.publisher("other")
    fleet.procs["other"].wait_text("PUBLISHER-STARTED", 60)
