"""US 8,949,380 / claims 1 to 8: who is heard gets the link, who is not gets a medium."""
import pathlib
import re
import subprocess

from lib import wire
from lib.media import QUICK, importing, orders, package, recorded, rig, sha256sum, shown, tree, unpack
from lib.steps import settle
from lib.wait import wait_for

pb = wire.pb


def ordered(fleet, client, package, timeout=15):
    return wait_for(lambda: orders(fleet, client, package), timeout, f"a medium for {client}")[-1]


def routed(fleet, client, way):
    return re.findall(rf"route client={client} via={way} reason=([a-z-]+)", fleet.procs["heliod"].text())


def taken_by_link(fleet, client):
    """Told so, or quicker: it asked, and its way was chosen then."""
    return routed(fleet, client, "LINK") or re.search(rf"ROUTE-ASKED client={client} \S+ route=LINK", fleet.procs["heliod"].text())


def view_of(fleet, client, number):
    text = fleet.mosquitto_sub(f"helio/v1/view/media/{client}/{number}", "-C", "1", "-N")
    return fleet.protoc("MediaOrder", text)


def test_S001_c1_who_is_heard_gets_the_link_who_is_not_gets_a_medium(fleet_of):
    fleet = rig(fleet_of)
    spy = fleet.watch("helio/v1/rsp/#")
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)
    order = ordered(fleet, "f2", one)
    assert order["reason"] == "never-heard"
    view = view_of(fleet, "f2", order["number"])
    assert 'client_id: "f2"' in view and "MEDIA_" in view and 'reason: "never-heard"' in view, view
    fleet.wait_client("f1", lambda c: one in c["holdings"], 20)
    wait_for(lambda: pb.RETRIEVE_INFORMATION in [m.decode(pb.Response).body.kind for m in spy.of("helio/v1/rsp/f1")], 10, "it was asked to retrieve")
    wait_for(lambda: taken_by_link(fleet, "f1") and routed(fleet, "f2", "MEDIUM") == ["never-heard"], 10, "both ways are logged")
    # Negative: no medium for who is heard, no word to who is not.
    assert orders(fleet, "f1") == [] and spy.of("helio/v1/rsp/f2") == [] and routed(fleet, "f1", "MEDIUM") == []
    assert fleet.mosquitto_sub("helio/v1/view/media/f1/#", "-C", "1", "-N", timeout=1, check=False) == b""

    # What is no communication of f2 does not make it heard: its will, a retained heartbeat, a bad
    # signature, and one on its topic that names f1.
    f2 = fleet.principal("f2")
    hb = wire.hb_topic("f2")
    f2.link.publish(f"helio/v1/bye/{wire.shard('f2')}/f2", b"gone")
    key = wire.read_key(fleet.bundle("f1") / "identity.key")
    forged = pb.Heartbeat(schema=1, client_id="f2", session_id=7, seq=1, boot=b"b" * 16)
    f2.link.publish(hb, wire.sealed(forged, hb, mac_key=b"k" * 32), retain=True)
    other = pb.Heartbeat(schema=1, client_id="f1")
    f2.link.publish(hb, wire.sealed(other, hb, sign_key=key))
    fleet.procs["heliod"].wait_text("reason=signature", 10)
    fleet.procs["heliod"].stop()
    fleet.heliod()          # and a restart delivers the retained one again
    wait_for(lambda: fleet.ctl("status", check=False).returncode == 0, 15, "the server answers")
    assert fleet.ctl("client", "show", "f2")["last_heard_unix_ms"] == 0
    two = package(fleet, "2")
    fleet.ctl("channel", "publish", "default", two)
    assert ordered(fleet, "f2", two)["reason"] == "never-heard"


def silent_for(fleet, client, seconds):
    """Waits until the client was silent for so long by the server's count; then says which way it would go."""
    def look():
        found = fleet.ctl("media", "route", client)
        return found if found["silent_ms"] >= seconds * 1000 and found["reach"] == "silent" else None
    return wait_for(look, 30, f"{client} is silent for {seconds} s", every=0.1)


def test_S001_c6_heard_means_heard_within_the_period(fleet_of):
    fleet = rig(fleet_of, clients=("f1",), medium_after_s=4)
    fleet.procs["f1"].stop()
    one = package(fleet)
    at = silent_for(fleet, "f1", 1)
    assert (at["via"], at["reason"]) == ("LINK", "patience") and at["silent_ms"] < 4000, at
    fleet.ctl("channel", "publish", "default", one)
    wait_for(lambda: routed(fleet, "f1", "LINK"), 10)
    assert orders(fleet) == []
    # Above the period it is a medium, also of what was on its way over the link.
    order = ordered(fleet, "f1", one)
    assert order["reason"] == "silent"
    assert fleet.ctl("media", "route", "f1")["via"] == "MEDIUM"
    # Only another period: the same silence is patience. And it is the same silence after a restart.
    before = fleet.ctl("media", "route", "f1")["silent_ms"]
    fleet.procs["heliod"].stop()
    fleet.server_extra["server"]["medium_after_s"] = 60
    fleet.heliod()
    wait_for(lambda: fleet.ctl("status", check=False).returncode == 0, 15, "the server answers")
    at = fleet.ctl("media", "route", "f1")
    assert (at["via"], at["reason"]) == ("LINK", "patience") and before <= at["silent_ms"] < 60000, (before, at)
    two = package(fleet, "2")
    fleet.ctl("channel", "publish", "default", two)
    wait_for(lambda: len(routed(fleet, "f1", "LINK")) >= 2, 10)
    assert orders(fleet, package=two) == []


def test_S001_c8_heartbeats_alone_keep_a_client_on_the_link(fleet_of):
    fleet = rig(fleet_of, clients=("f1", "f2"), agents=(), silent_after_s=3)
    one = package(fleet)
    f1, f2 = (fleet.principal(c).sign_in() for c in ("f1", "f2"))
    settle(f1), settle(f2)
    f2.link.m._keepalive = 1
    log = fleet.procs["heliod"]

    def reached(client):
        return re.findall(rf"REACH-CHANGE client={client} from=[a-z]+ to=([a-z]+)", log.text())
    # Of one nothing but heartbeats, of the other nothing but PINGREQ on a connection that stays.
    wait_for(lambda: f1.beat() and "silent" in reached("f2"), 20, "f2 is silent", every=0.1)
    assert reached("f2") == ["online", "late", "silent"] and "silent" not in reached("f1"), log.text()
    fleet.ctl("channel", "publish", "default", one)
    wait_for(lambda: f1.beat() and orders(fleet, "f2", one), 20, "a medium for f2", every=0.2)
    assert orders(fleet, "f2")[0]["reason"] == "silent"
    assert routed(fleet, "f1", "LINK") == ["reachable"] and orders(fleet, "f1") == []
    assert fleet.broker_log("control").count("Received PINGREQ from f2") >= 2 and f2.link.m.is_connected()


def test_S003_3_a_silent_client_under_replay_still_goes_by_medium(fleet_of):
    fleet = rig(fleet_of, clients=("f1",), agents=())
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    beat = wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), mac_key=f1.mac_up)
    f1.send(None, payload=beat)
    f1.response()
    heard = fleet.client("f1")["last_heard_unix_ms"]
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)

    def replayed():
        f1.send(None, payload=beat)
        f1.send(None, payload=f1.sign_in_bytes)
        return orders(fleet, "f1", one)
    wait_for(replayed, 20, "a medium in spite of the replay", every=0.2)
    log = fleet.procs["heliod"].text()
    assert log.count("reason=replay") >= 3, log[-2000:]
    assert orders(fleet, "f1")[0]["reason"] == "silent"
    assert fleet.client("f1")["last_heard_unix_ms"] == heard
    # Control: one good heartbeat, and it is heard again.
    f1.beat()
    assert fleet.client("f1")["last_heard_unix_ms"] > heard


def test_S001_c5_what_cannot_be_sent_is_recorded_without_anybody(fleet_of, folder):
    # The folder takes nothing at first: a file stands where it is to be.
    (folder / "pub").mkdir()
    (folder / "pub/media").write_text("in the way")
    fleet = rig(fleet_of, clients=("f1", "f2"))
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)
    order = ordered(fleet, "f2", one)
    wait_for(lambda: orders(fleet, "f2")[0]["detail"], 20, "why it is not recorded")
    assert int(orders(fleet, "f2")[0]["state"]) == pb.MEDIA_PENDING and orders(fleet, "f2")[0]["path"] == ""
    (folder / "pub/media").unlink()
    order = recorded(fleet, "f2", one, 40)
    assert sha256sum(order["path"]) == order["sha256"] and order["detail"] == ""
    view = view_of(fleet, "f2", order["number"])
    assert "state: MEDIA_RECORDED" in view and order["path"] in view, view
    # Negative: who gets the link gets no file.
    fleet.wait_client("f1", lambda c: one in c["holdings"], 20)
    assert [p.name for p in sorted((folder / "pub/media").glob("*.iso"))] == [f"{order['number']}.iso"]


def test_S001_c4_the_medium_is_a_disc(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet, size=700_000)
    fleet.ctl("channel", "publish", "default", one)
    order = recorded(fleet, "f2", one)
    image = pathlib.Path(order["path"]).read_bytes()
    assert pathlib.Path(order["path"]).parent == folder / "pub/media"
    assert image[16 * 2048:16 * 2048 + 6] == b"\x01CD001", "ISO 9660"
    listed = subprocess.run(["bsdtar", "-tf", order["path"]], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    assert f"helio/v1/pkg/pub/{one}" in listed and f"helio/v1/medium/f2/{order['number']}" in listed and "ORDER.txt" in listed, listed
    disc = unpack(order["path"], folder / "disc")
    label = (disc / "ORDER.txt").read_text()
    assert "f2" in label and "art 1" in label and one in label, label
    # The same bytes as on the wire.
    wait_for(lambda: fleet.ctl("package", "show", one)["broker"], 10)
    on = fleet.ctl("package", "show", one)["broker"]
    for path in sorted(disc.glob("helio/v1/*/pub/**/*")):
        if path.is_file():
            topic = str(path.relative_to(disc))
            assert fleet.mosquitto_sub(topic, "-C", "1", "-N", broker=on) == path.read_bytes(), topic
    for path in disc.glob("helio/v1/chunk/pub/*"):
        assert sha256sum(path) == path.name


def test_S001_c3_a_silent_client_installs_from_a_medium(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2", "f3"), agents=())
    one = package(fleet, size=900_000)
    fleet.ctl("channel", "publish", "default", one)
    disc = unpack(recorded(fleet, "f2", one)["path"], folder / "disc")
    number = int(orders(fleet, "f2")[0]["number"])
    others = unpack(recorded(fleet, "f3", one)["path"], folder / "others")
    fleet.leave_agents_alone()      # nobody is there to ask

    # Negative: a medium for another client; no medium; nothing changes.
    done = importing(fleet, "f2", others)
    assert done.returncode != 0 and "media refused reason=other-client" in done.stderr, done
    assert shown(fleet, "f2") is None
    # Negative: one byte of each kind of file, and links in the place of files.
    victims = [p for p in disc.rglob("*") if p.is_file() and p.name != "ORDER.txt"]
    kinds = {p.relative_to(disc).parts[2]: p for p in sorted(victims, key=lambda p: p.stat().st_size)}
    assert set(kinds) == {"chunk", "idx", "medium", "pkg"}
    for kind, path in kinds.items():
        good = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        done = importing(fleet, "f2", disc)
        word = {"chunk": "hash", "idx": "signature|index", "medium": "signature", "pkg": "signature|manifest"}[kind]
        assert done.returncode != 0 and re.search(rf"media refused reason=({word}) ", done.stderr), (kind, done.stderr[-2000:])
        assert shown(fleet, "f2") is None and not list((folder / "f2/packages").iterdir()), kind
        path.write_bytes(good)
    chunk = kinds["chunk"]
    away = folder / "elsewhere"
    chunk.rename(away)
    chunk.symlink_to(away)
    done = importing(fleet, "f2", disc)
    assert done.returncode != 0 and "media refused reason=denied" in done.stderr and shown(fleet, "f2") is None, done.stderr[-1500:]
    chunk.unlink()
    away.rename(chunk)

    # The whole one.
    done = importing(fleet, "f2", disc)
    assert done.returncode == 0 and f"installed\t{number}\t{one}" in done.stdout, done
    assert shown(fleet, "f2") == one
    assert tree(folder / f"f2/packages/{one}/files") == {"art-1": sha256sum(folder / "art-1")}
    # Again: nothing is done twice.
    done = importing(fleet, "f2", disc)
    assert done.returncode == 0 and f"held\t{number}" in done.stdout, done.stdout


def test_S001_c4_an_image_is_imported_and_a_cut_one_is_not(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet, size=700_000)
    fleet.ctl("channel", "publish", "default", one)
    image = pathlib.Path(recorded(fleet, "f2", one)["path"])
    whole = image.read_bytes()
    for size in (len(whole) - 2048, len(whole) * 2 // 3, 40_000, 2048):
        cut = folder / "cut.iso"
        cut.write_bytes(whole[:size])
        done = importing(fleet, "f2", cut)
        assert done.returncode != 0 and "media refused reason=image" in done.stderr, (size, done.stderr[-1500:])
        assert shown(fleet, "f2") is None and not (folder / "f2/import/image").exists()
    # Names that no medium has: a link, a way out.
    evil = folder / "evil"
    (evil / "helio/v1/medium/f2").mkdir(parents=True)
    (evil / "helio/v1/medium/f2/1").symlink_to("/etc/passwd")
    (evil / "run.sh").write_text("#!/bin/sh")
    subprocess.run(["bsdtar", "-cf", folder / "evil.iso", "--format", "iso9660", "-C", evil, "."], check=True)
    done = importing(fleet, "f2", folder / "evil.iso")
    assert done.returncode != 0 and "media refused reason=denied" in done.stderr, done.stderr[-1500:]
    done = importing(fleet, "f2", image)
    assert done.returncode == 0 and shown(fleet, "f2") == one, done

    # A running agent installs it as well; an older medium is refused then, and the order has arrived.
    two = package(fleet, "2", size=700_000)
    fleet.ctl("channel", "publish", "default", two)
    newer = recorded(fleet, "f2", two)
    done = importing(fleet, "f2", newer["path"])
    assert done.returncode == 0 and shown(fleet, "f2") == two, done
    old = importing(fleet, "f2", image)
    assert old.returncode != 0 and "media refused reason=older" in old.stderr and shown(fleet, "f2") == two, old.stderr[-1500:]
    fleet.agent("f2")
    fleet.wait_client("f2", lambda c: two in c["holdings"], 30)
    wait_for(lambda: int(orders(fleet, "f2", two)[-1]["state"]) == pb.MEDIA_ARRIVED, 20, "the medium has arrived")
    done = importing(fleet, "f2", newer["path"])
    assert done.returncode == 0 and "held\t" in done.stdout, done


def test_S001_c7_a_link_that_fails_ends_on_a_medium(fleet_of):
    fleet = fleet_of(clients=("f1",), server={"server": {**QUICK, "medium_after_s": 3600, "attempts_max": 2, "op_deadline_s": 3},
                                              "data": {"recent_period_s": 0}})
    fleet.up()
    one = package(fleet)
    wait_for(lambda: fleet.ctl("package", "show", one)["state"] in ("stored", "linger"), 20)
    for broker in fleet.data_ids:
        fleet.procs[f"broker-{broker}"].stop()
    fleet.ctl("channel", "publish", "default", one)
    order = ordered(fleet, "f1", one, 60)
    assert order["reason"] == "send-failed", order
    ended = fleet.sql("select outcome, is_final from operation where client = 'f1' and kind = 3 order by op_id").splitlines()
    assert len(ended) == 2 and ended[-1].endswith("|1"), ended
    assert len(orders(fleet, "f1")) == 1
    order = recorded(fleet, "f1", one)
    # The link works again and is faster: what is recorded is kept, and of no use.
    for broker in fleet.data_ids:
        fleet.broker(broker)
    two = package(fleet, "2")
    fleet.ctl("channel", "publish", "default", two)
    fleet.wait_client("f1", lambda c: two in c["holdings"], 60)
    # Negative: failures before a success order nothing.
    assert orders(fleet, "f1", two) == []
    state = wait_for(lambda: int(orders(fleet, "f1", one)[0]["state"]) != pb.MEDIA_RECORDED and orders(fleet, "f1", one)[0], 10)
    assert int(state["state"]) == pb.MEDIA_SUPERSEDED and pathlib.Path(order["path"]).exists(), state


def test_S001_c7_a_client_that_returns_cancels_what_is_not_recorded_yet(fleet_of, folder):
    (folder / "pub").mkdir()
    (folder / "pub/media").write_text("in the way")
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)
    order = ordered(fleet, "f2", one)
    assert int(order["state"]) == pb.MEDIA_PENDING
    fleet.agent("f2")
    fleet.wait_client("f2", lambda c: one in c["holdings"], 30)
    assert int(orders(fleet, "f2", one)[0]["state"]) == pb.MEDIA_CANCELLED
    view = view_of(fleet, "f2", order["number"])
    assert "state: MEDIA_CANCELLED" in view, view
