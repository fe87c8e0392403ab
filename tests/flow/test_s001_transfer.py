"""An interrupted transfer and a new version in between. What crossed the wire is read in the data broker's own log:
one line with topic and size for each object that it sent to a client."""
import collections
import os
import random
import re
import struct
import subprocess
import zlib

from lib import wire
from lib.steps import responses
from lib.wait import wait_for

pb = wire.pb

MB = 1024 * 1024
SHARED, OWN = 9 * MB, 3 * MB       # what both versions have, and what each has for itself
BLOCK = 64 * 1024
SLACK = 5 * 256 * 1024              # objects on their way at the kill, and an object's share in two chunks


def version(folder, number):
    home = folder / f"version-{number}"
    home.mkdir()
    (home / "own.bin").write_bytes(random.Random(number).randbytes(OWN))
    (home / "run").write_text("#!/bin/sh\nexit 0\n")
    (home / "run").chmod(0o755)
    (home / "shared.bin").write_bytes(random.Random(0).randbytes(SHARED))
    return home


def sent(log, client):
    """topic -> [bytes of each time it was sent]"""
    out = collections.defaultdict(list)
    for topic, size in re.findall(rf"Sending PUBLISH to {client} \(d\d, q\d, r\d, m\d+, '(\S+)', \.\.\. \((\d+) bytes\)", log):
        if topic.startswith("helio/v1/chunk/"):
            out[topic].append(int(size))
    return out


def bytes_of(table):
    return sum(sum(sizes) for sizes in table.values())


def blocks_held(path, source):
    """Offsets of the blocks of a file in staging that are what they should be."""
    good = source.read_bytes()
    have = path.read_bytes() if path.exists() else b""
    return [at for at in range(0, len(good), BLOCK) if have[at:at + BLOCK] == good[at:at + BLOCK]]


def on_disk(folder):
    files = [f for f in folder.rglob("*") if f.is_file()] if folder.exists() else []
    return sum(os.stat(f).st_blocks * 512 for f in files)


def assert_same_files(fleet, client, package, home):
    """sha256sum of what is installed and of what was published."""
    def sums(folder):
        done = subprocess.run(["sha256sum", "own.bin", "run", "shared.bin"], cwd=folder, stdout=subprocess.PIPE, check=True)
        return done.stdout
    assert sums(fleet.folder / client / "packages" / package / "files") == sums(home)


class Interrupted:
    """f1 was killed when it had 40 % of version 1."""

    def __init__(self, fleet_of, folder):
        fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",),
                         server={"server": {"rate_bytes_per_s": 4_000_000}, "data": {"recent_period_s": 0}})
        fleet.up(agents=["f1"])
        self.fleet, self.homes = fleet, {1: version(folder, 1), 2: version(folder, 2)}
        self.first = fleet.software_package("app", "1", self.homes[1])
        fleet.ctl("channel", "publish", "default", self.first)
        self.staging = fleet.folder / "f1" / "staging" / self.first
        wait_for(lambda: on_disk(self.staging) > 0.4 * (SHARED + OWN), 40, "40 % are there")
        fleet.procs["f1"].kill()
        self.before = sent(fleet.broker_log("da"), "f1")
        self.mark = len(fleet.broker_log("da"))
        self.held = {name: blocks_held(self.staging / "files" / name, self.homes[1] / name)
                     for name in ("shared.bin", "own.bin")}
        assert 0.2 * SHARED < len(self.held["shared.bin"]) * BLOCK < 0.8 * SHARED
        self.second = fleet.software_package("app", "2", self.homes[2])
        fleet.ctl("channel", "publish", "default", self.second)

    def go_on(self):
        self.fleet.agent("f1")
        wait_for(lambda: (self.fleet.folder / "f1" / "packages" / self.second).exists(), 60, "version 2 is installed")
        assert_same_files(self.fleet, "f1", self.second, self.homes[2])
        return sent(self.fleet.broker_log("da")[self.mark:], "f1")


def test_S001_c30_a_new_version_takes_over_what_the_interrupted_attempt_holds(fleet_of, folder):
    i = Interrupted(fleet_of, folder)
    # The first version was a mistake: it is withdrawn, and what f1 has of it is all that will ever come.
    i.fleet.ctl("package", "withdraw", i.first)
    # One of the blocks that f1 holds rots meanwhile: it must not be believed.
    rotten = i.held["shared.bin"][len(i.held["shared.bin"]) // 2] + 100
    path = i.staging / "files" / "shared.bin"
    path.chmod(0o600)
    with open(path, "r+b") as f:
        f.seek(rotten)
        byte = f.read(1)[0]
        f.seek(rotten)
        f.write(bytes([byte ^ 0xff]))
    after = i.go_on()
    assert not (i.fleet.folder / "f1" / "packages" / i.first).exists()
    held = len(i.held["shared.bin"]) * BLOCK
    print(f"f1 held {held} of what both have, fetched {bytes_of(after)}")
    assert bytes_of(after) < SHARED + OWN - held + SLACK, "what was held was fetched again"
    again = set(i.before) & set(after)
    assert 1 <= len(again) <= 1 + SLACK // (256 * 1024), "the rotten one and what was on its way, nothing else"
    # Control: a client that holds nothing fetches all of it.
    i.mark = len(i.fleet.broker_log("da"))
    i.fleet.agent("f2")
    wait_for(lambda: (i.fleet.folder / "f2" / "packages" / i.second).exists(), 60)
    assert_same_files(i.fleet, "f2", i.second, i.homes[2])
    assert bytes_of(sent(i.fleet.broker_log("da")[i.mark:], "f2")) > SHARED + OWN


def test_S001_c30_a_new_version_in_between_fetches_nothing_twice(fleet_of, folder):
    i = Interrupted(fleet_of, folder)
    # Both versions stand in the queue: the first one is completed, and the second one costs what is its own.
    after = i.go_on()
    assert_same_files(i.fleet, "f1", i.first, i.homes[1])
    held = sum(len(blocks) for blocks in i.held.values()) * BLOCK
    print(f"f1 held {held}, fetched {bytes_of(after)}")
    assert OWN < bytes_of(after) < SHARED + 2 * OWN - held + SLACK
    assert len(set(i.before) & set(after)) <= SLACK // (256 * 1024)
    assert max(len(sizes) for sizes in after.values()) == 1, "an object crossed twice"


# ---------------------------------------------------------------- while it is fetched

def noise(path, seed, side=560):
    """A picture that nothing makes smaller: side * side * 3 bytes of noise."""
    row = random.Random(seed)
    raw = b"".join(b"\0" + row.randbytes(3 * side) for _ in range(side))

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
                     part(b"IDAT", zlib.compress(raw, 0)) + part(b"IEND", b""))
    return path


def test_S001_c30_a_newer_version_takes_over_in_mid_fetch_and_nothing_is_fetched_twice(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",),
                     server={"server": {"rate_bytes_per_s": 1_000_000}, "data": {"recent_period_s": 0}}).up()
    shown = [noise(folder / f"{n}.png", n) for n in range(7)]
    size = shown[0].stat().st_size
    first = fleet.image_package("gallery", "1", shown[:6])
    second = fleet.image_package("gallery", "2", shown[:5] + shown[6:])
    watch = fleet.watch("helio/v1/rsp/f1")
    fleet.ctl("channel", "publish", "default", first)
    staging = fleet.folder / "f1" / "staging" / first
    wait_for(lambda: on_disk(staging) > 2 * size, 30, "a third is there")
    mark = len(fleet.broker_log("da"))
    fleet.ctl("channel", "publish", "default", second)
    wait_for(lambda: (fleet.folder / "f1" / "packages" / second).exists(), 40, "version 2 is installed")
    assert not (fleet.folder / "f1" / "packages" / first).exists(), "the older one was completed all the same"
    fleet.wait_client("f1", lambda c: c["state"] == "idle")

    # What it was told, on the wire: one after the other, and no command between them.
    told = {}
    for r in responses(watch, "f1"):
        if r.body.kind != pb.NO_ACTION:
            told[r.body.op_id] = r.body
    ops = [b for _, b in sorted(told.items()) if b.kind == pb.RETRIEVE_INFORMATION]
    assert [b.retrieve.packages[0].package.hex() for b in ops] == [first, second], ops
    assert not [b for b in told.values() if b.kind == pb.EXECUTE_COMMAND]
    assert "in place of gallery@1" in ops[1].reason.text
    # What is recorded: one outcome of each.
    rows = {int(r["op_id"]): r for r in fleet.ctl("operations", "f1")["operations"]}
    assert rows[ops[0].op_id]["outcome"] == "cancelled" and "superseded" in rows[ops[0].op_id]["detail"]
    assert rows[ops[1].op_id]["outcome"] == "done"

    # What crossed the wire, in the broker's log: what came before the change came once.
    log = fleet.broker_log("da")
    before, after = sent(log[:mark], "f1"), sent(log[mark:], "f1")
    again = set(before) & set(after)
    print(f"{bytes_of(before)} before, {bytes_of(after)} after, again {len(again)}")
    assert bytes_of(before) > 1.5 * size
    assert len(again) <= SLACK // (256 * 1024), "more was sent again than was on its way"
    assert bytes_of(before) + bytes_of(after) < 7 * size + SLACK
