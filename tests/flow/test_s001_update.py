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
from lib.fleet import PROGRAMS, ROOT
from lib.procs import Proc
from lib.wait import wait_for
from test_s001_medium import importing, orders, recorded, unpack

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
    # The settings that the README shows are good ones.
    shown = re.search(r"```ini\n(\[update\].*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    config = folder / "readme.ini"
    config.write_text(re.sub(r"\[update\].*?(?=\n\[|\Z)", "", (folder / "f1.ini").read_text(), flags=re.S) + "\n" + shown)
    config.chmod(0o600)
    done = subprocess.run([PROGRAMS["helio-agent"], "--config", config, "--check-config"], env={**os.environ, "HELIO_TEST": "1"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_S001_c18_what_is_not_well_is_rolled_back_and_not_given_again(fleet_of, folder):
    root, asked = folder / "app", folder / "asked"
    check = folder / "check"
    check.write_text(f"#!/bin/sh\necho ask >> {asked}\n[ \"$(cat {root}/current/bin/run)\" != bad ] || {{ echo it is ill; exit 3; }}\n")
    check.chmod(0o755)
    anew = folder / "anew"
    anew.write_text(f"#!/bin/sh\nreadlink {root}/current >> {folder}/starts\n")
    anew.chmod(0o755)
    fleet = rig(fleet_of, {"handler": f"app symlink {root}", "check": f"app {check}", "trial_s": 2, "penalty_s": 3600, "restart": f"app {anew}"})
    publish(fleet, release(fleet, "1", {"bin/run": "good"}))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    spy = fleet.watch(wire.hb_topic("f1"))
    bad = release(fleet, "2", {"bin/run": "bad"}, counter=9)
    publish(fleet, bad)
    found = fleet.wait_client("f1", lambda c: any(u["failures"] == 1 for u in c["updates"]), 20)["updates"][0]
    assert found["state"] == "rolled-back" and found["package"] == bad and found["reason"].startswith("health") and "it is ill" in found["reason"]
    assert found["until_unix_ms"] > time.time() * 1000 + 3000_000
    assert current(root) == "releases/1" and version_of(fleet) == "1"
    wait_for(lambda: states(spy)[-1:] == ["rolled-back"], 10, "a heartbeat says so")
    assert (folder / "starts").read_text().split() == ["releases/1", "releases/2", "releases/1"], "each was started anew"
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


def test_S001_c24_what_is_for_other_hardware_or_no_software_is_refused_and_nothing_changes(fleet_of, folder, pictures):
    root = folder / "app"
    fleet = rig(fleet_of, {"handler": f"app symlink {root}"}, agent={"hw_class": "rpi4"})
    publish(fleet, release(fleet, "1", {"bin/run": "one"}, "app", None, "--hw-class", "rpi4"))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    # An image package of that name is shown, and is no software.
    publish(fleet, fleet.image_package("app", "9", pictures[:1]))
    fleet.wait_client("f1", lambda c: len(c["holdings"]) == 2, 20)
    assert current(root) == "releases/1" and version_of(fleet) == "1"
    publish(fleet, release(fleet, "2", {"bin/run": "two"}, "app", None, "--hw-class", "other"))
    wait_for(lambda: any("hw-class" in o[2] for o in operations(fleet)), 15, "the refusal")
    assert current(root) == "releases/1" and version_of(fleet) == "1"
    # Refused (5), finally, at the first attempt, and no hindrance for what comes behind it.
    publish(fleet, release(fleet, "3", {"bin/run": "three"}, "app", None, "--hw-class", "rpi4"))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["3"], 20)
    assert [o[:2] for o in operations(fleet) if "hw-class" in o[2]] == [["5", "1"]], operations(fleet)


# ---------------------------------------------------------------- a program of the device's own


HANDLER = """#!/bin/sh
# VERB FOLDER VERSION PACKAGE; what a test wants is in files beside it
cd {home}
echo "$1 $3" >> log
[ -e kill-$1 ] && rm kill-$1 && kill -9 $PPID && exit 0
[ -e fail-$1 ] && rm -f fail-rollback && echo "no $1" && exit 4
stat -c '%a %n' "$TMPDIR" > temporary
[ -e busy-$1 ] && rm busy-$1 && exit 75
[ "$1" = install ] && cp "$2"/what running
[ "$1" = rollback ] && cp before running
[ "$1" = commit ] && cp running before
exit 0
"""


class Script:
    def __init__(self, folder):
        self.home = folder / "device"
        self.home.mkdir()
        (self.home / "before").write_text("nothing")
        self.path = self.home / "handler"
        self.path.write_text(HANDLER.format(home=self.home))
        self.path.chmod(0o755)

    def verbs(self, version):
        lines = (self.home / "log").read_text().splitlines()
        return [v.split()[0] for v in lines if v.split()[1] == version]

    def running(self):
        return (self.home / "running").read_text()


def test_S001_c18_a_handler_that_fails_at_any_verb_leaves_what_ran_before(fleet_of, folder):
    device = Script(folder)
    fleet = rig(fleet_of, {"handler": f"app script {device.path}", "trial_s": 2})
    publish(fleet, release(fleet, "1", {"what": "one"}))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    assert device.verbs("1") == ["prepare", "install", "verify", "commit"]
    for number, (verb, reason) in enumerate([("prepare", "prepare"), ("install", "install"), ("verify", "health"), ("commit", "commit")]):
        (device.home / f"fail-{verb}").touch()
        if verb == "install":
            (device.home / "fail-rollback").touch()      # once: it is tried again
        version = f"{number}.bad"
        package = release(fleet, version, {"what": version})
        publish(fleet, package)
        found = fleet.wait_client("f1", lambda c: any(u["package"] == package and u["failures"] for u in c["updates"]), 20)
        mine = next(u for u in found["updates"] if u["package"] == package)
        assert mine["state"] == "rolled-back" and mine["reason"].startswith(reason) and f"no {verb}" in mine["reason"], mine
        assert version_of(fleet) == "1" and device.running() == "one"
        assert ("rollback" in device.verbs(version)) == (verb != "prepare"), device.verbs(version)
        (device.home / f"fail-{verb}").unlink(missing_ok=True)
    publish(fleet, release(fleet, "2", {"what": "two"}))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["2"], 20)
    assert device.running() == "two"


def test_S001_c18_a_device_in_trouble_is_asked_again_and_its_release_has_no_penalty(fleet_of, folder):
    device = Script(folder)
    fleet = rig(fleet_of, {"handler": f"app script {device.path}", "trial_s": 3})
    for verb in ("prepare", "install", "commit"):
        (device.home / f"busy-{verb}").touch()
    publish(fleet, release(fleet, "1", {"what": "one"}))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    assert device.verbs("1") == ["prepare", "prepare", "install", "install", "verify", "commit", "commit"] and device.running() == "one"
    assert len(fleet.procs["f1"].lines("UPDATE-AGAIN")) == 3 and updates(fleet) == []
    assert (device.home / "temporary").read_text() == f"700 {fleet.folder}/f1/tmp\n", "what it needs meanwhile is its own"
    assert [o[:2] for o in wait_for(lambda: operations(fleet), 10, "the outcome")] == [["3", "1"]], "one attempt, and done"


def test_F36_S001_c18_killed_at_every_verb_it_ends_with_the_old_or_the_new_and_says_which(fleet_of, folder):
    device = Script(folder)
    fleet = rig(fleet_of, {"handler": f"app script {device.path}", "trial_s": 3})
    publish(fleet, release(fleet, "1", {"what": "one"}))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    agent = fleet.procs["f1"]
    for verb in ("prepare", "install", "verify", "commit"):
        (device.home / f"kill-{verb}").touch()
    publish(fleet, release(fleet, "2", {"what": "two"}))
    for _ in range(4):
        wait_for(lambda: not agent.alive(), 20, "the kill")
        assert agent.p.returncode == -signal.SIGKILL
        fleet.agent("f1")
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["2"], 20)
    assert device.running() == "two" and device.verbs("2").count("install") == 2
    wait_for(lambda: operations(fleet)[0][2] == "confirmed", 10, "one outcome, over all starts")
    for verb in ("install", "rollback"):
        (device.home / f"kill-{verb}").touch()
    (device.home / "fail-verify").touch()
    publish(fleet, release(fleet, "3", {"what": "three"}))
    for _ in range(2):
        wait_for(lambda: not agent.alive(), 20, "the kill")
        fleet.agent("f1")
    fleet.wait_client("f1", lambda c: any(u["failures"] == 1 for u in c["updates"]), 20)
    assert device.running() == "two" and version_of(fleet) == "2"


def test_S001_c18_a_cancel_undoes_what_is_on_trial_without_a_penalty(fleet_of, folder):
    device = Script(folder)
    fleet = rig(fleet_of, {"handler": f"app script {device.path}", "check": "app /bin/false", "trial_s": 60})
    package = release(fleet, "1", {"what": "one"})
    publish(fleet, package)
    fleet.wait_client("f1", lambda c: any(u["state"] == "trial" for u in c["updates"]) and c["op"] and c["op"]["percent"] >= 70, 20)
    assert device.running() == "one"
    fleet.ctl("cancel", "f1")
    found = fleet.wait_client("f1", lambda c: any(u["state"] == "rolled-back" for u in c["updates"]), 20)["updates"][0]
    assert found["reason"].startswith("cancelled") and found["failures"] == 0
    assert device.running() == "nothing" and version_of(fleet) is None


def test_S001_c18_c4_a_medium_brings_an_update_to_a_device_without_a_link(fleet_of, folder):
    root = folder / "app"
    fleet = rig(fleet_of, {"handler": f"app symlink {root}", "check": "app /bin/true"}, agents=())
    fleet.server_extra["server"] = {"silent_after_s": 1, "reconnect_spread_s": 0, "medium_after_s": 2, "medium_never_after_s": 0}
    fleet.procs["heliod"].stop()
    fleet.heliod()
    package = release(fleet, "1", {"bin/run": "one"})
    publish(fleet, package)
    disc = unpack(recorded(fleet, "f1", package)["path"], folder / "disc")
    assert orders(fleet, "f1")
    agent = fleet.agent("f1")       # for its settings alone
    agent.kill()
    fleet.leave_agents_alone()
    shutil.rmtree(fleet.folder / "f1", ignore_errors=True)
    done = importing(fleet, "f1", disc)
    assert done.returncode == 0, done
    assert current(root) is None, "who imports leaves it to the agent that runs"
    fleet.agent("f1").wait_text("to=confirmed", 15)
    assert current(root) == "releases/1" and (root / "current/bin/run").read_text() == "one"


# ---------------------------------------------------------------- when


def test_S001_c18_it_is_fetched_now_and_installed_in_its_window(fleet_of, folder):
    import datetime
    import zoneinfo
    root, zone = folder / "app", "Asia/Kolkata"

    def window(hours):
        begin = datetime.datetime.now(zoneinfo.ZoneInfo(zone)) + datetime.timedelta(hours=hours)
        return f"app {begin:%H:%M}-{begin + datetime.timedelta(hours=1, minutes=59):%H:%M} {zone}"
    fleet = rig(fleet_of, {"handler": f"app symlink {root}", "window": window(2)})
    package = release(fleet, "1", {"bin/run": "one"})
    publish(fleet, package)
    found = fleet.wait_client("f1", lambda c: package in c["holdings"] and c["updates"], 20)
    assert found["updates"][0]["state"] == "waiting" and not (root / "current").exists()
    assert wait_for(lambda: operations(fleet), 10, "the outcome")[0][2] == "held: waits for its window"
    # Nothing else waits for it: what comes meanwhile is done.
    other = release(fleet, "1", {"what": "x"}, "other")
    publish(fleet, other)
    fleet.wait_client("f1", lambda c: other in c["holdings"] and not (root / "current").exists(), 20)
    fleet.procs["f1"].kill()
    fleet.agent("f1", {"update": {**QUICK, "handler": f"app symlink {root}", "window": window(-1)}})
    fleet.wait_client("f1", lambda c: "app" in [s["name"] for s in c["software"]], 20)
    assert current(root) == "releases/1"
    # And at a moment: on the wire, and kept by whoever starts meanwhile.
    spy, two = fleet.watch("helio/v1/rsp/f1"), release(fleet, "2", {"bin/run": "two"})
    moment = int(time.time() * 1000) + 6000
    fleet.ctl("channel", "publish", "default", two, "--at", moment)
    fleet.wait_client("f1", lambda c: any(u["state"] == "waiting" for u in c["updates"]), 20)
    wait_for(lambda: moment in [p.activate_unix_ms for m in spy.of("helio/v1/rsp/f1") for p in m.decode(pb.Response).body.retrieve.packages],
             10, "the moment is told")
    fleet.procs["f1"].kill()
    fleet.agent("f1", {"update": {"window": window(-1)}})
    wait_for(lambda: current(root) == "releases/2" or time.time() * 1000 > moment + 15000, 30, "the moment")
    assert current(root) == "releases/2" and os.lstat(root / "current").st_mtime * 1000 >= moment


def test_F39_S001_c18_a_package_that_rots_while_it_waits_is_not_installed_and_fetched_anew(fleet_of, folder):
    root = folder / "app"
    fleet = rig(fleet_of, {"handler": f"app symlink {root}"})
    package = release(fleet, "1", {"bin/run": "one", "etc/more": "x" * 300_000})
    moment = int(time.time() * 1000) + 5000
    fleet.ctl("channel", "publish", "default", package, "--at", moment)
    fleet.wait_client("f1", lambda c: any(u["state"] == "waiting" for u in c["updates"]), 20)
    rotten = fleet.folder / "f1/packages" / package / "files/bin/run"
    rotten.chmod(0o644)
    rotten.write_text("0ne")
    found = fleet.wait_client("f1", lambda c: any(u["state"] == "rolled-back" for u in c["updates"]), 20)["updates"][0]
    assert found["reason"].startswith("damaged") and found["failures"] == 0 and not (root / "current").exists()
    publish(fleet, package)
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 20)
    assert (root / "current/bin/run").read_text() == "one"


# ---------------------------------------------------------------- the agent itself


def build_of(version):
    """The same program, another build: it says another version of itself."""
    program = pathlib.Path(PROGRAMS["helio-agent"]).read_bytes()
    assert b"0.1.0\0" in program and len(version) == 5
    return program.replace(b"0.1.0\0", version.encode() + b"\0")


def executable(fleet):
    return os.readlink(f"/proc/{fleet.procs['f1'].pid}/exe")


def supervised(fleet, fact, timeout=30):
    """What systemd does: who ended is started again."""
    def look():
        if not fleet.procs["f1"].alive():
            fleet.procs["f1"].start()
        found = fleet.ctl("client", "show", "f1", check=False)
        return found.returncode == 0 and fact(fleet.client("f1"))
    return wait_for(look, timeout, "the supervised agent")


@pytest.mark.parametrize("how", ["exec", "exit"])
def test_F50_S001_c18_the_agent_updates_itself_and_one_that_crashes_is_rolled_back(fleet_of, folder, how):
    root = folder / "heliograph"
    fleet = rig(fleet_of, {"handler": f"agent symlink {root}", "restart": f"agent {how}"})
    first = fleet.procs["f1"].pid
    publish(fleet, release(fleet, "0.1.1", {"helio-agent": build_of("0.1.1")}, "agent"))
    assert supervised(fleet, lambda c: c["agent_version"] == "0.1.1" and [s["version"] for s in c["software"]] == ["0.1.1"])
    assert executable(fleet) == str(root / "releases/0.1.1/helio-agent")
    assert (fleet.procs["f1"].pid == first) == (how == "exec")
    wait_for(lambda: [o for o in operations(fleet) if o[2] == "confirmed"], 10, "the outcome")
    text = len(fleet.procs["f1"].text())
    bad = {"exec": b"\x7fELF, not really", "exit": "#!/bin/sh\nkill -SEGV $$\n"}[how]
    package = release(fleet, "0.2.0", {"helio-agent": bad}, "agent")
    publish(fleet, package)
    assert supervised(fleet, lambda c: any(u["package"] == package and u["failures"] == 1 for u in c["updates"]))
    assert executable(fleet) == str(root / "releases/0.1.1/helio-agent") and current(root) == "releases/0.1.1"
    reason = updates(fleet, "agent")[0]["reason"]
    assert reason.startswith("cannot-start" if how == "exec" else "crash-loop"), reason
    starts = fleet.procs["f1"].text()[text:].count("to=trial")
    assert starts == (1 if how == "exec" else 3), "counted before it began"
    last = wait_for(lambda: [o for o in operations(fleet) if "rolled-back" in o[2]], 10, "the outcome")[0]
    assert last[1] == "1"


@pytest.mark.long
def test_F50_an_agent_that_hangs_is_ended_by_an_alarm_and_rolled_back(fleet_of, folder):
    root = folder / "heliograph"
    fleet = rig(fleet_of, {"handler": f"agent symlink {root}", "restart": "agent exit", "trial_starts": 1, "trial_s": 2})
    package = release(fleet, "0.2.0", {"helio-agent": "#!/bin/sh\nexec sleep 1000\n"}, "agent")
    publish(fleet, package)
    assert supervised(fleet, lambda c: any(u["package"] == package and u["failures"] == 1 for u in c["updates"]), 60)
    assert executable(fleet) == str(PROGRAMS["helio-agent"].resolve()) and current(root) is None


# ---------------------------------------------------------------- RAUC


BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={home}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow eavesdrop="true"/></policy></busconfig>
"""

BOOT = """#!/bin/sh
# The boot loader: a file each for what it starts first, and for what it thinks of a slot.
cd {home}
case "$1" in
get-primary) cat primary;;
set-primary) echo "$2" > primary;;
get-state) cat "state-$2" 2>/dev/null || echo good;;
set-state) echo "$3" > "state-$2";;
esac
"""

SYSTEM = """[system]
compatible=helio-test
bootloader=custom
mountprefix={home}/mnt
statusfile={home}/status
[handlers]
bootloader-custom-backend={home}/boot
[keyring]
path={home}/cert.pem
[slot.rootfs.0]
device={home}/slot-a
type=raw
bootname=A
[slot.rootfs.1]
device={home}/slot-b
type=raw
bootname=B
"""


class Device:
    """Two slots, a boot loader, and the real rauc; a boot is a new boot id and a new service."""

    def __init__(self, folder):
        self.home = folder / "os"
        self.home.mkdir()
        for name, text in {"bus.conf": BUS, "boot": BOOT, "system.conf": SYSTEM}.items():
            (self.home / name).write_text(text.format(home=self.home))
        (self.home / "boot").chmod(0o755)
        (self.home / "reboot").write_text(f"#!/bin/sh\ntouch {self.home}/rebooting\n")
        (self.home / "reboot").chmod(0o755)
        (self.home / "primary").write_text("A\n")
        for slot in "ab":
            (self.home / f"slot-{slot}").write_bytes(b"\0" * 65536)
        self.key("cert", "key")
        self.bus = Proc("dbus", ["dbus-daemon", f"--config-file={self.home}/bus.conf", "--nofork"], self.home).start()
        wait_for(lambda: (self.home / "bus").exists(), 10, "the bus")
        self.env = {"DBUS_STARTER_BUS_TYPE": "session", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.home}/bus"}
        self.service = None
        self.boots = 0
        self.boot("A")

    def key(self, cert, key):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.home / f"{key}.pem",
                        "-out", self.home / f"{cert}.pem", "-subj", "/CN=release", "-days", "3650"], check=True, capture_output=True)

    def boot(self, slot):
        self.boots += 1
        self.booted = slot
        (self.home / "rebooting").unlink(missing_ok=True)
        (self.home / "boot_id").write_text(f"{self.boots:08x}-0000-4000-8000-000000000000\n")
        if self.service:
            self.service.kill()
        self.service = Proc("rauc", ["rauc", "-c", self.home / "system.conf", f"--override-boot-slot={slot}", "service"], self.home, self.env).start()
        wait_for(lambda: self.rauc("status").returncode == 0, 10, "the rauc service")

    def rauc(self, *args):
        return subprocess.run(["rauc", "-c", self.home / "system.conf", *args], env={**os.environ, **self.env}, capture_output=True, text=True)

    def bundle(self, fleet, version, key=("cert", "key"), compatible="helio-test"):
        content = self.home / f"content-{version}"
        content.mkdir()
        (content / "rootfs.img").write_bytes(f"system {version}\n".encode().ljust(65536, b"."))
        (content / "manifest.raucm").write_text(f"[update]\ncompatible={compatible}\nversion={version}\n[bundle]\nformat=plain\n"
                                                "[image.rootfs]\nfilename=rootfs.img\n")
        package = fleet.folder / f"os-{version}"
        package.mkdir()
        subprocess.run(["rauc", "bundle", f"--cert={self.home}/{key[0]}.pem", f"--key={self.home}/{key[1]}.pem", content, package / "system.raucb"],
                       check=True, capture_output=True)
        return fleet.software_package("os", version, package), hashlib.sha256((content / "rootfs.img").read_bytes()).hexdigest()

    def slot_sum(self, slot):
        return subprocess.run(["sha256sum", self.home / f"slot-{slot}"], capture_output=True, text=True, check=True).stdout.split()[0]

    def primary(self):
        return (self.home / "primary").read_text().strip()

    def update(self):
        words = " ".join(f"{k}={v}" for k, v in self.env.items())
        return {"handler": f"os rauc /usr/bin/env {words} /usr/bin/rauc -c {self.home}/system.conf"}

    def agent_extra(self):
        return {"agent": {"reboot": str(self.home / "reboot"), "reboot_defer_max_s": 60}, "test": {"boot_id_file": self.home / "boot_id"}}

    def down(self):
        for p in (self.service, self.bus):
            if p:
                p.kill()


@pytest.fixture
def device(folder):
    made = Device(folder)
    yield made
    made.down()


def reboot_when_asked(fleet, device, slot, extra):
    wait_for(lambda: (device.home / "rebooting").exists(), 20, "the reboot")
    fleet.procs["f1"].kill()
    device.boot(slot)
    fleet.agent("f1", extra)


def test_S001_c18_a_rauc_bundle_is_installed_in_the_other_slot_booted_on_trial_and_kept_or_left(fleet_of, folder, device):
    check = folder / "check"
    check.write_text(f"#!/bin/sh\ngrep -q 'system 3' {device.home}/slot-a && exit 1\nexit 0\n")
    check.chmod(0o755)
    extra = device.agent_extra()
    fleet = rig(fleet_of, {**device.update(), "check": f"os {check}", "trial_s": 3}, agents=())
    fleet.agent("f1", extra)
    defer = fleet.folder / "f1/display/defer"
    wait_for(lambda: defer.parent.exists(), 10, "the agent's folder")
    defer.touch()
    two, image = device.bundle(fleet, "2")
    publish(fleet, two)
    # Written to the other slot; the application is still at work, so nothing reboots.
    fleet.wait_client("f1", lambda c: any(u["state"] == "restarting" for u in c["updates"]), 20)
    assert device.slot_sum("b") == image and device.primary() == "B" and not (device.home / "rebooting").exists()
    defer.unlink()
    reboot_when_asked(fleet, device, "B", extra)
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["2"], 20)
    status = device.rauc("status", "--output-format=shell").stdout
    assert "RAUC_SYSTEM_BOOTED_BOOTNAME='B'" in status and "RAUC_BOOT_PRIMARY='rootfs.1'" in status
    assert (device.home / "state-B").read_text().strip() == "good"
    assert wait_for(lambda: [o for o in operations(fleet) if o[2] == "confirmed"], 10, "one outcome over the reboot")
    # Not well: the old slot is made the first again, and booted.
    three, _ = device.bundle(fleet, "3")
    publish(fleet, three)
    reboot_when_asked(fleet, device, "A", extra)
    reboot_when_asked(fleet, device, "B", extra)
    fleet.wait_client("f1", lambda c: any(u["package"] == three and u["state"] == "rolled-back" for u in c["updates"]), 20)
    assert device.primary() == "B" and device.booted == "B" and version_of(fleet, "os") == "2"
    # The boot loader falls back by itself: seen, and told.
    four, _ = device.bundle(fleet, "4")
    publish(fleet, four)
    reboot_when_asked(fleet, device, "B", extra)
    found = fleet.wait_client("f1", lambda c: any(u["package"] == four and u["failures"] for u in c["updates"]), 20)["updates"]
    assert next(u for u in found if u["package"] == four)["reason"].startswith("fell-back"), found
    # Signed by somebody else: not a byte of a slot changes.
    before = device.slot_sum("a"), device.slot_sum("b"), device.primary()
    device.key("cert2", "key2")
    five, _ = device.bundle(fleet, "5", ("cert2", "key2"))
    publish(fleet, five)
    found = fleet.wait_client("f1", lambda c: any(u["package"] == five and u["failures"] for u in c["updates"]), 20)["updates"]
    assert next(u for u in found if u["package"] == five)["reason"].startswith("prepare"), found
    assert (device.slot_sum("a"), device.slot_sum("b"), device.primary()) == before


# ---------------------------------------------------------------- SWUpdate


def cpio(files):
    """The format `crc`, which SWUpdate wants."""
    out = b""
    for number, (name, data) in enumerate([*files, ("TRAILER!!!", b"")], 1):
        n = name.encode() + b"\0"
        mode = 0 if name == "TRAILER!!!" else 0o100644
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(n), sum(data) & 0xffffffff)
        out += b"070702" + b"".join(b"%08x" % v for v in fields) + n
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out + b"\0" * (-len(out) % 512)


def swu(folder, target, content, cert="swu"):
    if not (folder / f"{cert}.pem").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / f"{cert}.key", "-out", folder / f"{cert}.pem",
                        "-subj", "/CN=swu", "-addext", "extendedKeyUsage=emailProtection", "-days", "3650"], check=True, capture_output=True)
    description = folder / "sw-description"
    description.write_text(f'software = {{ version = "1"; hardware-compatibility: [ "1.0" ]; images: ( {{ filename = "img.raw"; device = "{target}"; '
                           f'type = "raw"; sha256 = "{hashlib.sha256(content).hexdigest()}"; }} ); }}\n')
    subprocess.run(["openssl", "cms", "-sign", "-in", description, "-out", folder / "sig", "-signer", folder / f"{cert}.pem", "-inkey", folder / f"{cert}.key",
                    "-outform", "DER", "-nosmimecap", "-binary"], check=True, capture_output=True)
    return cpio([("sw-description", description.read_bytes()), ("sw-description.sig", (folder / "sig").read_bytes()), ("img.raw", content)])


# `swupdate` of Debian 12 ends with 1 now and then for a good image that is smaller than a socket's buffer, as the first is.
def test_S001_c18_an_swupdate_image_is_installed_and_its_boot_loader_told(fleet_of, folder):
    target, kept, back = folder / "target", folder / "kept", folder / "back"
    target.write_bytes(b"\0" * 4096)
    for path, line in ((kept, f"cp {target} {folder}/good"), (back, f"cp {folder}/good {target}")):
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    check = folder / "check"
    check.write_text(f"#!/bin/sh\n! grep -q ill {target}\n")
    check.chmod(0o755)
    first = swu(folder, target, b"well 1".ljust(4096, b"."))
    fleet = rig(fleet_of, {"handler": f"os swupdate /usr/bin/swupdate -k {folder}/swu.pem -H board:1.0 -M -m", "restart": "os none",
                           "commit": f"os {kept}", "rollback": f"os {back}", "check": f"os {check}", "trial_s": 2})
    publish(fleet, release(fleet, "1", {"a.swu": first}, "os"))
    fleet.wait_client("f1", lambda c: [s["version"] for s in c["software"]] == ["1"], 40)
    assert updates(fleet, "os") == [] and [o[1:] for o in wait_for(lambda: operations(fleet), 10, "the outcome")] == [["1", "confirmed"]]
    well = hashlib.sha256(b"well 1".ljust(4096, b".")).hexdigest()

    def told():
        return subprocess.run(["sha256sum", target], capture_output=True, text=True, check=True).stdout.split()[0]
    assert told() == well and (folder / "good").exists()
    for version, image, reason in (("2", swu(folder, target, b"ill 2".ljust(300_000, b".")), "health"),
                                   ("3", swu(folder, target, b"well 3".ljust(300_000, b"."), "stranger"), "prepare")):
        package = release(fleet, version, {"a.swu": image}, "os")
        publish(fleet, package)
        found = fleet.wait_client("f1", lambda c: any(u["package"] == package and u["failures"] for u in c["updates"]), 20)["updates"]
        assert next(u for u in found if u["package"] == package)["reason"].startswith(reason), found
        assert told() == well and version_of(fleet, "os") == "1"
