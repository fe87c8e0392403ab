"""US 8,949,380 / claims 3 and 4: several clients on one medium, only what is lacked, the same bytes again."""
import pathlib
import random
import re
import time

from lib.media import importing, package, recorded, rig, sha256sum, shown, tree, unpack
from lib.wait import wait_for


def test_S001_c3_several_clients_share_one_stick_and_one_disc(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2", "f3"), agents=())
    one = package(fleet, size=400_000)
    fleet.ctl("channel", "publish", "default", one)
    found = {c: recorded(fleet, c, one) for c in ("f1", "f2", "f3")}
    two = folder / "two"
    two.mkdir()
    done = fleet.ctl("media", "record", found["f1"]["number"], found["f2"]["number"], "--to", two)
    assert done["orders"] == 2
    label = (two / "ORDER.txt").read_text()
    assert re.findall(r"For +(\S+)", label) == ["f1", "f2"] and "art 1" in label, label
    # What is equal lies there once: the same files as on the medium of one, and one order more.
    alone = unpack(found["f1"]["path"], folder / "alone")
    more = set(tree(two)) - set(tree(alone))
    assert more == {f"helio/v1/medium/f2/{found['f2']['number']}"}, more
    for client in ("f1", "f2"):
        assert importing(fleet, client, two).returncode == 0 and shown(fleet, client) == one
    refused = importing(fleet, "f3", two)
    assert refused.returncode != 0 and "reason=other-client" in refused.stderr and shown(fleet, "f3") is None
    assert [m["client"] for m in fleet.ctl("media", "merge", two)["merged"]] == ["f1", "f2", "f3"]
    # By client; into an image, and the same bytes a second later.
    images = [folder / "a.iso", folder / "b.iso"]
    for image in images:
        done = fleet.ctl("media", "record", "--client", "f3", "--iso", image)
        assert done["orders"] == 1 and done["sha256"] == sha256sum(image)
        begun = int(time.time())
        wait_for(lambda: int(time.time()) > begun, 5, "another second")
    assert images[0].read_bytes() == images[1].read_bytes() == pathlib.Path(found["f3"]["path"]).read_bytes()
    assert importing(fleet, "f3", images[0]).returncode == 0 and shown(fleet, "f3") == one
    # Nothing there, no right, not recorded.
    for words in (("--to", folder / "nowhere"), ("77", "--to", two), ("--client", "f9", "--to", two), ("--to", two, "--iso", images[0])):
        assert fleet.ctl("media", "record", *words, check=False).returncode != 0, words


def test_S001_c5_what_a_client_is_known_to_hold_is_left_out(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1",), agents=("f1",), medium_after_s=3)
    base = random.Random(1).randbytes(3_000_000)
    path = folder / "art-1"
    path.write_bytes(base)
    one = fleet.software_package("art", "1", path)
    fleet.ctl("channel", "publish", "default", one)
    fleet.wait_client("f1", lambda c: one in c["holdings"], 30)
    fleet.procs["f1"].stop()
    path = folder / "art-2"
    path.write_bytes(base[:2_000_000] + random.Random(2).randbytes(20_000) + base[2_000_000:])
    two = fleet.software_package("art", "2", path)
    fleet.ctl("channel", "publish", "default", two)
    order = recorded(fleet, "f1", two, 30)
    disc = unpack(order["path"], folder / "disc")
    size = sum(p.stat().st_size for p in disc.rglob("*") if p.is_file())
    assert 20_000 < size < 1_500_000, size
    done = importing(fleet, "f1", disc)
    assert done.returncode == 0 and shown(fleet, "f1") == two, done.stderr[-1500:]
    assert tree(folder / f"f1/packages/{two}/files") == {"art-2": sha256sum(path)}
    # Control: what a person records by hand is whole, for a device that lost its disk.
    whole = folder / "whole"
    whole.mkdir()
    fleet.ctl("media", "record", order["number"], "--to", whole)
    assert sum(p.stat().st_size for p in whole.rglob("*") if p.is_file()) > 3_000_000
    assert set(tree(disc / "helio/v1")) < set(tree(whole / "helio/v1"))


def test_S001_c3_what_is_mounted_is_installed_by_itself(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2"), agents=())
    one = package(fleet, size=200_000)
    fleet.ctl("channel", "publish", "default", one)
    stick = unpack(recorded(fleet, "f2", one)["path"], folder / "stick")
    other = unpack(recorded(fleet, "f1", one)["path"], folder / "other")
    fleet.leave_agents_alone()      # the agent runs, and nobody is there
    mounts = folder / "media"
    mounts.mkdir()
    other.rename(mounts / "other")      # for another client: told, once, and left alone
    before = tree(mounts / "other")
    fleet.agent("f2", {"agent": {"medium_dir": mounts}})
    stick.rename(mounts / "stick")
    wait_for(lambda: shown(fleet, "f2") == one, 20, "installed from the stick")
    wait_for(lambda: (mounts / "stick/helio/return/f2.bin").exists(), 10, "what goes back")
    wait_for(lambda: "media refused reason=other-client" in fleet.procs["f2"].text(), 10, "what is for another is told")
    log = fleet.procs["f2"].text()
    assert log.count("IMPORT-MOUNT") == 2 and log.count("media refused reason=other-client") == 1, log[-1500:]
    assert tree(mounts / "other") == before


def test_S001_c3_a_stick_that_was_pulled_half_way_is_refused_and_goes_on(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet, size=2_000_000)
    fleet.ctl("channel", "publish", "default", one)
    stick = unpack(recorded(fleet, "f2", one)["path"], folder / "stick")
    chunks = sorted((stick / "helio/v1/chunk/pub").iterdir(), key=lambda p: p.stat().st_size)
    away = folder / "away"
    away.mkdir()
    for path in chunks[-3:]:        # the last ones to be copied; of one only a part
        path.rename(away / path.name)
    (stick / "helio/v1/chunk/pub" / chunks[-1].name).write_bytes((away / chunks[-1].name).read_bytes()[:1000])
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and re.search(r"media refused reason=(missing|hash) ", done.stderr), done.stderr[-1500:]
    assert shown(fleet, "f2") is None and not list((folder / "f2/packages").iterdir())
    for path in away.iterdir():
        path.rename(stick / "helio/v1/chunk/pub" / path.name)
    done = importing(fleet, "f2", stick)
    assert done.returncode == 0 and shown(fleet, "f2") == one and "FETCH-RESUME" in done.stderr, done.stderr[-1500:]
