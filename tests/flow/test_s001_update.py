"""US 8,949,380 / claims 18 and 24: software is installed by a handler, on trial, and rolled back when it is not well.

Witnesses: the links and files themselves, sha256sum, `rauc status`, the heartbeats on the wire, and the processes' own
executables in /proc.
"""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.procs import Proc
from lib.wait import wait_for

pb = wire.pb

QUICK = {"trial_beats": 2, "trial_s": 6}


def rig(fleet_of, update, agents=("f1",), agent=None, **more):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, agent={"update": {**QUICK, **update}, "agent": agent or {}},
                     server={"data": {"recent_period_s": 0}}, **more)
    return fleet.up(agents=list(agents))


def release(fleet, version, files, name="app", counter=None, *more):
    home = fleet.folder / f"{name}-{version}-{len(list(fleet.folder.iterdir()))}"
    for path, content in files.items():
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.startswith("bin/") or path == "helio-agent":
            file.chmod(0o755)
    more = ["--security-counter", str(counter), *more] if counter is not None else list(more)
    return fleet.software_package(name, version, home, *more)


def publish(fleet, package):
    return fleet.ctl("channel", "publish", "default", package)


def current(root):
    link = root / "current"
    return os.readlink(link) if link.is_symlink() else None


def version_of(fleet, name="app"):
    return {s["name"]: s["version"] for s in fleet.client("f1")["software"]}.get(name)


def operations(fleet):
    """By sqlite3: what became of each RETRIEVE, newest first."""
    rows = fleet.sql("select outcome, is_final, detail from operation where client = 'f1' and kind = 3 and outcome <> 0 order by op_id desc")
    return [row.split("|", 2) for row in rows.splitlines()]


def updates(fleet, name="app"):
    return [u for u in fleet.client("f1")["updates"] if u["name"] == name]


def beats(spy):
    return [m.decode(pb.Heartbeat) for m in spy.of(wire.hb_topic("f1"))]


def states(spy, name="app"):
    """The states of an update as the wire showed them, without repetitions."""
    seen = []
    for beat in beats(spy):
        for u in beat.status.updates:
            if u.name == name and (not seen or seen[-1] != u.state):
                seen.append(u.state)
    return seen


# ---------------------------------------------------------------- the link


def test_S001_c18_a_release_is_switched_to_on_trial_confirmed_and_its_version_told(fleet_of, folder):
    root = folder / "app"
    fleet = rig(fleet_of, {"handler": f"app symlink {root}"})
    spy = fleet.watch(wire.hb_topic("f1"))
    publish(fleet, release(fleet, "1.0", {"bin/run": "one", "etc/a/b": "x"}, counter=1))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1.0"], 20)
    assert current(root) == "releases/1.0"
    two = publish(fleet, release(fleet, "1.1", {"bin/run": "two" * 1000, "etc/a/b": "y"}, counter=2))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1.1"], 20)
    assert current(root) == "releases/1.1" and os.readlink(root / "previous") == "releases/1.0"
    told = subprocess.run(["sha256sum", root / "current/bin/run"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert told == hashlib.sha256(b"two" * 1000).hexdigest()
    assert os.access(root / "current/bin/run", os.X_OK) and not os.access(root / "current/etc/a/b", os.X_OK)
    assert "trial" in states(spy), states(spy)
    assert updates(fleet) == [], "what was confirmed is no update any more"
    done = wait_for(lambda: [o for o in operations(fleet) if o[2] == "confirmed"], 5, "the outcome")
    assert done and two
    # The one before it is below the floor now: refused, and nothing changes.
    publish(fleet, release(fleet, "0.9", {"bin/run": "old"}, counter=1))
    wait_for(lambda: any("security-counter" in o[2] for o in operations(fleet)), 15, "the refusal")
    assert current(root) == "releases/1.1" and version_of(fleet) == "1.1"


def test_S001_c18_what_is_not_well_is_rolled_back_and_not_given_again(fleet_of, folder):
    root, asked = folder / "app", folder / "asked"
    check = folder / "check"
    check.write_text(f"#!/bin/sh\necho ask >> {asked}\n[ \"$(cat {root}/current/bin/run)\" != bad ] || {{ echo it is ill; exit 3; }}\n")
    check.chmod(0o755)
    fleet = rig(fleet_of, {"handler": f"app symlink {root}", "check": f"app {check}", "trial_s": 2, "penalty_s": 3600})
    publish(fleet, release(fleet, "1", {"bin/run": "good"}))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    spy = fleet.watch(wire.hb_topic("f1"))
    bad = release(fleet, "2", {"bin/run": "bad"}, counter=9)
    publish(fleet, bad)
    found = fleet.wait_client("f1", lambda c: any(u["failures"] == 1 for u in c["updates"]), 20)["updates"][0]
    assert found["state"] == "rolled-back" and found["package"] == bad and found["reason"].startswith("health") and "it is ill" in found["reason"]
    assert found["until_unix_ms"] > time.time() * 1000 + 3000_000
    assert current(root) == "releases/1" and version_of(fleet) == "1"
    assert states(spy)[-2:] == ["rolling-back", "rolled-back"] or states(spy)[-1] == "rolled-back"
    last = wait_for(lambda: [o for o in operations(fleet) if "rolled-back" in o[2]], 10, "the outcome")[0]
    assert "reason=health" in last[2] and last[1] == "1", last
    fleet.procs["heliod"].wait_text("UPDATE-FAILED client=f1 name=app version=2", 5)
    # Published again, and to whoever comes back: not given, and said why.
    before, given = len(asked.read_text().splitlines()), len(operations(fleet))
    publish(fleet, bad)
    wait_for(lambda: "failed on this client" in fleet.ctl("why", "f1", check=False).stdout, 10, "the reason")
    assert len(operations(fleet)) == given and len(asked.read_text().splitlines()) == before
    # A floor that never counted: the counter of what failed binds nobody.
    publish(fleet, release(fleet, "3", {"bin/run": "fine"}, counter=1))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["3"], 20)
    # An operator allows it: tried again, and again rolled back.
    fleet.ctl("exec", "f1", "allow-update", "app", "--wait")
    fleet.wait_client("f1", lambda c: not c["updates"], 10)
    publish(fleet, bad)
    fleet.wait_client("f1", lambda c: any(u["failures"] == 1 and u["state"] == "rolled-back" for u in c["updates"]), 20)
    assert len(asked.read_text().splitlines()) > before and current(root) == "releases/3"
