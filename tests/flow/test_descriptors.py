"""A running program has no descriptor left: it says so by one name, works on with what it has, does not spin, and goes on
by itself when there are some again."""
import contextlib
import json
import os
import pathlib
import re
import resource
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.steps import responses
from lib.wait import wait_for
from test_faults import operations, same_bytes, software

pb = wire.pb


def free_numbers(pid, count):
    """The limit that leaves so many numbers for new descriptors: they are the lowest that are not in use."""
    used = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
    limit = 0
    while count or limit in used:
        count -= limit not in used
        limit += 1
    return limit


@contextlib.contextmanager
def few_descriptors(proc, left=0):
    before = resource.prlimit(proc.pid, resource.RLIMIT_NOFILE)
    times = len(proc.lines("DESCRIPTORS-EXHAUSTED"))
    looks = []
    for _ in range(20):     # some may be in use for a moment only
        looks.append(free_numbers(proc.pid, left))
        time.sleep(0.01)
    resource.prlimit(proc.pid, resource.RLIMIT_NOFILE, (min(looks), before[1]))
    try:
        said = proc.wait_text("DESCRIPTORS-EXHAUSTED", 10, count=times + 1)
        assert "error" in said[-1] and "Too many open files" in said[-1], said
        yield
        assert proc.alive(), proc.text()[-2000:]
    finally:
        if proc.alive():
            resource.prlimit(proc.pid, resource.RLIMIT_NOFILE, before)
    proc.wait_text("DESCRIPTORS-RECOVERED", 10, count=times + 1)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def does_not_spin(proc, seconds=1.5):
    before, began, lines = cpu_seconds(proc.pid), time.monotonic(), len(proc.text().splitlines())
    time.sleep(seconds)
    assert cpu_seconds(proc.pid) - before < 0.3 * (time.monotonic() - began), "it turns in a circle"
    assert len(proc.text().splitlines()) - lines < 60, "it fills the log"


def test_a_server_without_descriptors_says_so_and_reconnects_when_it_has_some(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), level="info").up()
    heliod = fleet.procs["heliod"]
    with few_descriptors(heliod):       # what it holds goes on working
        findings = json.loads(fleet.ctl("doctor", check=False).stdout)["findings"]
        assert "DESCRIPTORS" in {f["id"] for f in findings}, findings
    brokers = ("control", "da")
    for name in brokers:
        fleet.procs[f"broker-{name}"].kill()
    heliod.wait_text("LINK-DOWN", 10, count=2)
    with few_descriptors(heliod):       # its links are gone, and no new one can be had
        for name in brokers:
            fleet.broker(name)
        does_not_spin(heliod)
        assert fleet.ctl("--timeout", "2", "status", check=False).returncode == 3
        assert len(heliod.lines("DESCRIPTORS-EXHAUSTED")) == 2, "once each time"
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 30)
    fleet.ctl("exec", "f1", "ping")
    fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 20)
    assert [r["outcome"] for r in operations(fleet, "f1", "execute-command")] == ["done"]


def test_a_publisher_without_descriptors_keeps_its_callers_waiting_and_refuses_by_name(fleet_of, pictures):
    fleet = fleet_of(clients=(), data_brokers=("da",), level="info").up()
    pub = fleet.procs["pub"]
    pub.wait_text("SESSION-BEGUN", 20)
    with few_descriptors(pub):
        waiting = subprocess.Popen([str(PROGRAMS["helioctl"]), "--config", str(fleet.ctl_config()), "--json", "image", "list"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        pub.wait_text("SOCKET-CALLERS-WAIT", 10)
        does_not_spin(pub)
        assert waiting.poll() is None
    out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 0 and json.loads(out)["images"] == [], (out, err)
    # One for the caller and none for the file it sends; then one for the file and none for the work.
    for left in (1, 2, 3):
        with few_descriptors(pub, left):
            refused = fleet.ctl("image", "add", pictures[0], check=False)
            assert refused.returncode != 0 and re.search("descriptor|Too many open files", refused.stdout + refused.stderr), refused
    assert fleet.ctl("image", "list")["images"] == [], "what was refused left something"
    package = fleet.image_package("art", "1", pictures[:3])
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 20)


@pytest.mark.parametrize("left", [0, 1])
def test_an_agent_without_descriptors_says_so_and_installs_when_it_has_some(fleet_of, folder, left):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), level="info").up()
    agent = fleet.procs["f1"]
    watch = fleet.watch("helio/v1/hb/#", "helio/v1/rsp/f1")
    home = software(folder, 1)
    package = fleet.software_package("app", "1", home)
    with few_descriptors(agent, left):
        fleet.ctl("channel", "publish", "default", package)
        wait_for(lambda: any(r.body.retrieve.packages for r in responses(watch, "f1")), 15, "it is told to fetch")
        beats = len(watch.of("helio/v1/hb/"))
        does_not_spin(agent)
        assert len(watch.of("helio/v1/hb/")) > beats, "the heartbeats stopped"
        assert not (fleet.folder / "f1/packages" / package).exists()
    wait_for(lambda: (fleet.folder / "f1/packages" / package).exists(), 60, "it installs when there are descriptors")
    assert same_bytes(fleet, "f1", package, home)
