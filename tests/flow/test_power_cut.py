"""A power cut of a device, and of the server: what the disk held at one moment is all that is left. The program's folder is
an ext4 of its own on a loop file; the file as it is at the cut is what the next start is given."""
import os
import pathlib
import shutil
import subprocess

import pytest

from lib import wire
from lib.steps import responses
from lib.wait import wait_for
from test_s001_commands import begun, ended, fleet_with_work, run

pb = wire.pb
NO_SYNC = "int fsync(int fd) { (void)fd; return 0; } int fdatasync(int fd) { (void)fd; return 0; }\n"


def call(*words, text_in=None):
    return subprocess.run([str(w) for w in words], input=text_in, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Disk:
    """An ext4 that writes nothing of its own accord: what nobody syncs is not there after the cut."""

    def __init__(self, folder, at, megabytes):
        self.file, self.at, self.cuts = folder / "disk.0", at, 0
        with open(self.file, "wb") as f:
            f.truncate(megabytes << 20)
        made = call("mkfs.ext4", "-q", "-F", self.file)
        assert made.returncode == 0, made.stdout
        at.mkdir(mode=0o700)
        self.mount()

    def mount(self):
        done = call("mount", "-o", "loop,commit=300", self.file, self.at)
        if done.returncode != 0:
            pytest.skip(f"no file can be mounted here: {done.stdout}")

    def unmount(self):
        """Whoever was killed lets go of it a moment later."""
        wait_for(lambda: call("umount", self.at).returncode == 0, 10, f"{self.at} is free")

    def cut(self):
        """As it is now; the caller ends who has files open, then lights go on."""
        self.cuts += 1
        left = self.file.with_name(f"disk.{self.cuts}")
        shutil.copyfile(self.file, left)
        self.file = left

    def light(self):
        self.unmount()
        self.mount()


def disk_of(folder, name, megabytes=24):
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("only root mounts a disk")
    one = Disk(folder, folder / name, megabytes)
    yield one
    one.unmount()


@pytest.fixture
def disk(folder):
    yield from disk_of(folder, "f4")


@pytest.fixture
def server_disk(folder):
    """Too small for a redo log: SQLite's own log is what is synced."""
    yield from disk_of(folder, "heliod")


@pytest.fixture
def large_disk(folder):
    yield from disk_of(folder, "heliod", 256)


def slow_and_cut(fleet, folder, disk, env=None):
    """The light goes out when the program has begun. Returns the flow of it."""
    (folder / "pids").unlink(missing_ok=True)
    flow = fleet.ctl("exec", "f4", "slow")["flow"]
    wait_for(lambda: (folder / "pids").exists() and (folder / "pids").read_text(), 15, "it has begun")
    disk.cut()
    fleet.procs["f4"].kill()
    for pid in (folder / "pids").read_text().split():
        os.kill(int(pid), 9)
    disk.light()
    fleet.agent("f4", env=env)
    return flow


def fleet_on(disk, fleet_of, folder):
    fleet = fleet_with_work(fleet_of, folder, data_brokers=("da",), publishers=())
    assert fleet.folder == folder and pathlib.Path(disk.at) == fleet.folder / "f4"
    return fleet


def test_a_command_is_run_once_over_power_cuts(disk, fleet_of, folder):
    fleet = fleet_on(disk, fleet_of, folder).up()
    for n in range(1, 4):
        flow = slow_and_cut(fleet, folder, disk)
        done = wait_for(lambda f=flow: ended(fleet, f), 20, "it ended")
        assert [(d["outcome"], d["detail"].split(":")[0]) for d in done] == [("unknown", "interrupted")], done
        assert [b[0] for b in begun(folder)] == ["slow"] * n
    assert run(fleet, "work")["state"] == "done"
    heliod = fleet.procs["heliod"]
    assert not heliod.lines("NEW-STORE") and not heliod.lines("CLONE-SUSPECT")


def test_a_disk_that_promises_and_does_not_keep_is_seen(disk, fleet_of, folder):
    """The control of the test above: with an fsync that does nothing the cut takes the agent's memory."""
    made = call("cc", "-shared", "-fPIC", "-o", folder / "no_sync.so", "-xc", "-", text_in=NO_SYNC)
    assert made.returncode == 0, made.stdout
    env = {"LD_PRELOAD": str(folder / "no_sync.so")}
    fleet = fleet_on(disk, fleet_of, folder).up(agents=[])
    fleet.agent("f4", env=env)
    fleet.wait_client("f4", lambda c: c["reach"] == "online", 20)
    flow = slow_and_cut(fleet, folder, disk, env=env)
    fleet.procs["heliod"].wait_text("NEW-STORE", 20)
    assert [d["outcome"] for d in wait_for(lambda: ended(fleet, flow), 20, "it ended")] == ["unknown"]


# ---------------------------------------------------------------- the server's disk

def told_until_cut(server_disk, fleet_of, env=None):
    """The light goes out while commands are given as fast as they come. What was told on the wire before the cut."""
    fleet = fleet_of(clients=("f1", "f2", "f3"), interval_ms=200, data_brokers=("da",), publishers=())
    fleet.brokers()
    fleet.heliod(env=env)
    for client in ("f1", "f2", "f3"):
        fleet.agent(client)
    for client in ("f1", "f2", "f3"):
        fleet.wait_client(client, lambda c: c["reach"] == "online" and c["state"] == "idle", 30)
    watch = fleet.watch("helio/v1/rsp/#")

    def told():
        return {(c, r.body.op_id) for c in ("f1", "f2", "f3") for r in responses(watch, c) if r.body.kind == pb.EXECUTE_COMMAND}

    for _ in range(4):
        for client in ("f1", "f2", "f3"):
            fleet.ctl("exec", client, "ping")
    wait_for(lambda: len(told()) >= 6, 20, "commands were given")
    before = told()
    server_disk.cut()
    fleet.procs["heliod"].kill()
    server_disk.light()
    return fleet, before


def stored(fleet):
    """What the store knows of it."""
    if not list((fleet.folder / "heliod").glob("*.db")):
        return set()
    rows = fleet.sql("SELECT client || ' ' || op_id FROM operation")
    return {(r.split(" ")[0], int(r.split(" ")[1]) % 2 ** 64) for r in rows.split("\n") if r}


def test_S000_7_what_was_told_outlives_a_power_cut_of_the_server(server_disk, fleet_of, folder):
    fleet, told = told_until_cut(server_disk, fleet_of)
    assert told <= stored(fleet), told - stored(fleet)


def test_S000_7_what_was_told_comes_back_from_the_redo_log_after_a_power_cut(large_disk, fleet_of, folder):
    fleet, told = told_until_cut(large_disk, fleet_of)
    assert told - stored(fleet), "nothing depended on the log"
    fleet.heliod().wait_text("STORE-REDO", 10)
    assert told <= stored(fleet), told - stored(fleet)


def test_S000_7_a_disk_that_does_not_keep_what_it_promises_loses_what_was_told(server_disk, fleet_of, folder):
    """The control of the test above."""
    made = call("cc", "-shared", "-fPIC", "-o", folder / "no_sync.so", "-xc", "-", text_in=NO_SYNC)
    assert made.returncode == 0, made.stdout
    fleet, told = told_until_cut(server_disk, fleet_of, env={"LD_PRELOAD": str(folder / "no_sync.so")})
    assert told - stored(fleet)
