"""A power cut of a device: what its disk held at one moment is all that is left. The agent's folder is an ext4 of its own
on a loop file; the file as it is at the cut is what the next start is given."""
import os
import pathlib
import shutil
import subprocess

import pytest

from lib.wait import wait_for
from test_s001_commands import begun, ended, fleet_with_work, run

NO_SYNC = "int fsync(int fd) { (void)fd; return 0; } int fdatasync(int fd) { (void)fd; return 0; }\n"


def call(*words):
    return subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Disk:
    """An ext4 that writes nothing of its own accord: what nobody syncs is not there after the cut."""

    def __init__(self, folder, at):
        self.file, self.at, self.cuts = folder / "disk.0", at, 0
        with open(self.file, "wb") as f:
            f.truncate(24 << 20)
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


@pytest.fixture
def disk(folder):
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("only root mounts a disk")
    one = Disk(folder, folder / "f4")
    yield one
    one.unmount()


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
    (folder / "no_sync.c").write_text(NO_SYNC)
    made = call("cc", "-shared", "-fPIC", "-o", folder / "no_sync.so", folder / "no_sync.c")
    assert made.returncode == 0, made.stdout
    env = {"LD_PRELOAD": str(folder / "no_sync.so")}
    fleet = fleet_on(disk, fleet_of, folder).up(agents=[])
    fleet.agent("f4", env=env)
    fleet.wait_client("f4", lambda c: c["reach"] == "online", 20)
    flow = slow_and_cut(fleet, folder, disk, env=env)
    fleet.procs["heliod"].wait_text("NEW-STORE", 20)
    assert [d["outcome"] for d in wait_for(lambda: ended(fleet, flow), 20, "it ended")] == ["unknown"]
