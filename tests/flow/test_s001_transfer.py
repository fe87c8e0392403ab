"""An interrupted transfer and a new version in between. What crossed the wire is read in the data broker's own log:
one line with topic and size for each object that it sent to a client."""
import collections
import os
import random
import re
import subprocess

from lib.wait import wait_for

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
