"""Files that did not change are not read again by the publisher, and files that did are, whatever their size and time of modification say.
Witnesses: the kernel's count of what the publisher read (/proc/PID/io), sha256sum of what a client installed."""
import json
import os
import re
import socket
import subprocess
import time

from lib.wait import wait_for

from test_delta import installed

BIG, OTHER = 6_000_000, 3_000_000
LITTLE = 500_000    # rows, sockets, settings
SETTLED_S = 2.1


def read_bytes(fleet):
    with open(f"/proc/{fleet.procs['pub'].p.pid}/io") as f:
        return int(re.search(r"rchar: (\d+)", f.read())[1])


def ask(fleet, *asked, fd=None):
    """All in one breath: what takes its time waits for what was asked for before it."""
    answers = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(30)
        s.connect(str(fleet.folder / "pub.sock"))
        for number, one in enumerate(asked):
            socket.send_fds(s, [json.dumps({**one, "request": number + 1}).encode()], [] if fd is None else [fd])
        while len(answers) < len(asked):
            said = json.loads(s.recv(65536))
            if "ok" in said:
                assert said["ok"], said
                answers[said["request"]] = said
    return [answers[number] for number in sorted(answers)]


def remove_all(fleet):
    for package in ask(fleet, {"verb": "package-list"})[0]["packages"]:
        ask(fleet, {"verb": "package-remove", "package": package["package"]})


def test_a_file_is_read_when_it_changed_and_else_not(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), server={"data": {"recent_period_s": 0}})
    home, version = folder / "home", iter(range(1, 99))
    home.mkdir()
    big, other = home / "big.bin", home / "other.bin"
    big.write_bytes(os.urandom(BIG))
    other.write_bytes(os.urandom(OTHER))
    fleet.up()

    def settled():
        wait_for(lambda: time.time() - max(f.stat().st_ctime for f in (big, other)) > SETTLED_S, 10, "the files have been left alone")

    def build(*more):
        before = read_bytes(fleet)
        built = fleet.ctl("package", "build", "--name", "app", "--version", str(next(version)), "--software", home, *more)
        return built, read_bytes(fleet) - before

    settled()
    first, read = build()
    assert read > BIG + OTHER and first["read_bytes"] == BIG + OTHER
    again, read = build()
    assert read < LITTLE and again["read_bytes"] == 0 and again["package"] != first["package"]
    everything, read = build("--read-all")    # control: the count counts
    assert read > BIG + OTHER and everything["read_bytes"] == BIG + OTHER and everything["new_bytes"] == again["new_bytes"]

    # Who waits for its turn knows what was seen until then, not until it was asked for.
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    twice = ask(fleet, *({"verb": "package-build", "kind": "software", "name": "twice", "version": v} for v in ("1", "2")), fd=fd)
    os.close(fd)
    assert [built["read_bytes"] for built in twice] == [BIG + OTHER, 0]

    # A store that lost the objects makes them again from what is read.
    remove_all(fleet)
    assert not [f for f in (fleet.folder / "pub" / "objects").rglob("*") if f.is_file()]
    anew, read = build()
    assert read > BIG + OTHER and anew["read_bytes"] == BIG + OTHER and anew["new_bytes"] == first["new_bytes"]

    # In place, as large as it was and as old as it was, but for the time that nobody can set.
    was = big.stat()
    with open(big, "r+b") as f:
        f.seek(BIG // 2)
        f.write(os.urandom(1000))
    os.utime(big, ns=(was.st_atime_ns, was.st_mtime_ns))
    now = big.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (was.st_size, was.st_mtime_ns, was.st_ino) and now.st_ctime_ns != was.st_ctime_ns
    changed, read = build()
    assert BIG < read < BIG + OTHER and changed["read_bytes"] == BIG
    assert 1000 < changed["new_bytes"] < 2_000_000
    # It was read at once after it was written: what it says of itself then is not relied on.
    racy, read = build()
    assert BIG < read < BIG + OTHER and racy["read_bytes"] == BIG
    settled()
    build()
    quiet, read = build()
    assert read < LITTLE and quiet["read_bytes"] == 0

    fleet.ctl("package", "publish", quiet["package"])
    fleet.ctl("channel", "publish", "default", quiet["package"])
    installed(fleet, "f1", quiet["package"])
    came = fleet.folder / "f1" / "packages" / quiet["package"] / "files"
    sums = [subprocess.run(["sha256sum", "big.bin", "other.bin"], cwd=at, stdout=subprocess.PIPE, check=True).stdout for at in (home, came)]
    assert sums[0] == sums[1]
