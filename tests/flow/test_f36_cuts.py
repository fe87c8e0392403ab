"""F36, F37: a device is killed before each system call that changes a file, or loses its power, while it takes a medium and while it
installs an update: what runs is the old version or the new one, whole, and the next start ends with the new one.

Witnesses: the calls as the kernel saw them (ptrace), the writes and flushes of the block layer, e2fsck, the links, sha256sum.
"""
import os
import random
import shutil
import subprocess

import pytest

from lib.cut import Cutter, Device
from lib.media import recorded, rig, unpack
from lib.write_log import LoggedDisk
from test_power_cut import NO_SYNC

FILES = {"bin/run": 20_000, "etc/a/b": 300, "etc/empty": 0}


def version(fleet, folder, number):
    """A package of software, and a medium for f2 that has it."""
    home, dice = folder / f"app-{number}", random.Random(number)
    for path, size in FILES.items():
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dice.randbytes(size))
        file.chmod(0o755 if path.startswith("bin/") else 0o644)
    package = fleet.software_package("app", number, home)
    fleet.ctl("channel", "publish", "default", package)
    return package, unpack(recorded(fleet, "f2", package)["path"], folder / f"disc{number}")


class Trial:
    """A device that runs version 1, a medium with version 2, and the folder as it was before each of the two works."""

    def __init__(self, fleet_of, folder, disk, now=lambda: 0):
        fleet = rig(fleet_of, clients=("f2",), agents=())
        self.folder, self.device = folder, Device(fleet, "f2", disk, Cutter(folder))
        one, disc = version(fleet, folder, "1")
        two, self.disc = version(fleet, folder, "2")
        fleet.leave_agents_alone()
        assert self.device.bring(disc) == 0 and self.device.run() == "to=confirmed", self.device.log.read_text()
        old = self.device.runs(), self.device.held()
        assert old[0][0] == "releases/1" and old[1][0] == one and set(old[0][1]) == set(FILES) and old[0][1] == old[1][1]
        # An older release, which the commit of the new one removes.
        releases = self.device.root / "releases"
        shutil.copytree(releases / "1", releases / "0")
        subprocess.run(["sync", *(releases / "0").rglob("*"), releases / "0", releases], check=True)
        self.keep("before-import")
        self.begun = now()
        assert self.device.bring(self.disc, 0) == 0
        self.answered = now()
        self.import_calls = self.device.cutter.names()
        self.keep("before-update")
        confirmed = []
        assert self.device.run(0, said=lambda: confirmed.append(now())) == "to=confirmed", self.device.log.read_text()
        self.confirmed, self.ended = confirmed[0], now()
        self.update_calls = self.device.cutter.names()
        new = self.device.runs(), self.device.held()
        assert new[0][0] == "releases/2" and new[1][0] == two and new[0][1] == new[1][1] != old[0][1]
        self.whole = {"app": (old[0], new[0]), "slot": (old[1], new[1])}

    def keep(self, name):
        shutil.copytree(self.device.disk, self.folder / name, symlinks=True)

    def back(self, name):
        for at in self.device.disk.iterdir():
            shutil.rmtree(at)
        shutil.copytree(self.folder / name, self.device.disk, symlinks=True, dirs_exist_ok=True)

    def back_state(self, name):
        shutil.rmtree(self.device.state)
        shutil.copytree(self.folder / name / "state", self.device.state, symlinks=True)

    def which(self, where):
        """Old or new, each whole: (0 or 1 of what runs, 0 or 1 of the slot)."""
        runs, held = self.device.runs(), self.device.held()
        releases = self.device.releases()
        assert all(files in [runs[1] for runs in self.whole["app"]] for files in releases.values()), (where, releases)
        assert runs in self.whole["app"] and held in self.whole["slot"], (where, runs, held, self.device.log.read_text()[-2000:])
        return self.whole["app"].index(runs), self.whole["slot"].index(held)

    def repaired(self, where):
        """Whatever the cut left: the medium is taken, the agent runs, and the new version with it."""
        assert self.device.bring(self.disc) == 0, (where, self.device.log.read_text()[-2000:])
        self.goes_on(where)

    def goes_on(self, where):
        if self.which(where) == (1, 1):
            self.device.run(until=("LINK-DOWN",))       # it may have nothing to do any more
        else:
            word = self.device.run()
            assert word == "to=confirmed", (where, word, self.device.log.read_text()[-2000:])
        assert self.which(where) == (1, 1)


def spread(count, most):
    """At most so many of 1..count, evenly, with the first and the last."""
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)}) if count > most else range(1, count + 1)


def cut_everywhere(trial, imports, updates, nested=0):
    seen, dice = set(), random.Random(36)
    for number in spread(len(trial.import_calls), imports):
        where = ("import", number, trial.import_calls[number - 1])
        trial.back("before-import")
        assert trial.device.bring(trial.disc, number) == 137, where
        assert trial.which(where) == (0, 0), where
        trial.repaired(where)
    for number in spread(len(trial.update_calls), updates):
        where = ("update", number, trial.update_calls[number - 1])
        trial.back("before-update")
        # The last calls of a run follow its confirmation, and the order of threads is not quite the same each time.
        assert trial.device.run(number) is None or number > len(trial.update_calls) - 8, where
        seen.add(trial.which(where))
        for _ in range(nested):
            # What was cut behind its confirmation may have nothing to do any more, and comes to no such call.
            until = {"until": ("LINK-DOWN",)} if trial.which(where) == (1, 1) else {}
            trial.device.run(dice.randrange(1, len(trial.update_calls)), **until)
            seen.add(trial.which(where))
        trial.repaired(where)
    return seen


def test_F36_S001_c18_c3_killed_before_calls_that_change_the_disk_it_runs_the_old_or_the_new(fleet_of, folder):
    (folder / "disk").mkdir()
    trial = Trial(fleet_of, folder, folder / "disk")
    assert {"rename", "symlink", "unlink", "mkdir", "fsync", "write"} <= set(trial.import_calls + trial.update_calls)
    seen = cut_everywhere(trial, 3, 10)
    assert {(0, 0), (1, 0), (1, 1)} >= seen >= {(0, 0), (1, 0)}, seen      # both sides of the switch were met


@pytest.mark.long
def test_F36_S001_c18_c3_killed_before_every_call_that_changes_the_disk_and_again_meanwhile(fleet_of, folder):
    (folder / "disk").mkdir()
    trial = Trial(fleet_of, folder, folder / "disk")
    seen = cut_everywhere(trial, 10**6, 10**6, nested=1)
    assert {(0, 0), (1, 0), (1, 1)} >= seen >= {(0, 0), (1, 0)}, seen


# ---------------------------------------------------------------- a disk that is full, a disk that fails


def after_trouble(trial, where):
    """The trouble is over: what was held back is done, or brought again, and nobody blames the release."""
    for _ in range(2):
        assert trial.device.bring(trial.disc) == 0, (where, trial.device.log.read_text()[-2000:])
        if trial.which(where) == (1, 1):
            return
        word = trial.device.run()
        text = trial.device.log.read_text()
        assert word == "to=confirmed" or (word == "to=rolled-back" and "reason=device" in text), (where, word, text[-2000:])
    assert trial.which(where) == (1, 1), where


def trouble_everywhere(trial, how, imports, updates):
    imported = [n for n, name in enumerate(trial.import_calls, 1) if how != "sync" or "sync" in name]
    updated = [n for n, name in enumerate(trial.update_calls, 1) if how != "sync" or "sync" in name]
    for number in [imported[i - 1] for i in spread(len(imported), imports)]:
        where = (how, "import", number)
        trial.back("before-import")
        failed = trial.device.bring(trial.disc, f"{number}:{how}") != 0
        assert trial.which(where) == (0, 0), where
        # After a sync that failed nobody knows what the disk has: nothing of it is built upon.
        if failed and how == "sync" and len(list((trial.device.state / "packages").iterdir())) == 1:
            assert not list((trial.device.state / "staging").iterdir()), where
        after_trouble(trial, where)
    told = set()
    for number in [updated[i - 1] for i in spread(len(updated), updates)]:
        where = (how, "update", number)
        trial.back("before-update")
        told.add(trial.device.run(f"{number}:{how}", until=("to=confirmed", "to=rolled-back", "to=broken", "UPDATE-UNSAVED", "UPDATE-UNCONFIRMED")))
        trial.which(where)
        after_trouble(trial, where)
    return told


def test_F38_S001_c18_a_disk_that_is_full_at_any_call_keeps_the_old_and_blames_nobody(fleet_of, folder):
    (folder / "disk").mkdir()
    trial = Trial(fleet_of, folder, folder / "disk")
    assert trouble_everywhere(trial, "full", 2, 3) >= {"UPDATE-UNSAVED"}
    trouble_everywhere(trial, "sync", 3, 0)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", trial.device.root]).returncode != 0:
        return      # only root has a small disk to fill
    # The handler's disk alone is full: undone, told as the device's fault, nothing left behind, and installed when there is room.
    try:
        shutil.copytree(folder / "before-update/app", trial.device.root, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("0"))
        (trial.device.root / "ballast").write_bytes(b"x" * 60_000)
        trial.back_state("before-update")
        assert trial.device.run() == "to=rolled-back"
        text = trial.device.log.read_text()
        assert "reason=device" in text and "No space left on device" in text and "UPDATE-AGAIN" not in text, text[-2000:]
        assert trial.which("a small disk") == (0, 0) and sorted(os.listdir(trial.device.root / "releases")) == ["1"]
        (trial.device.root / "ballast").unlink()
        trial.repaired("room")
    finally:
        subprocess.run(["umount", trial.device.root], check=True)


@pytest.mark.long
@pytest.mark.parametrize("how", ["full", "sync"])
def test_F38_F23_S001_c18_a_disk_that_is_full_or_fails_at_every_call_keeps_the_old_or_the_new(fleet_of, folder, how):
    (folder / "disk").mkdir()
    trial = Trial(fleet_of, folder, folder / "disk")
    assert trouble_everywhere(trial, how, 10**6, 10**6) >= {"UPDATE-UNSAVED" if how == "full" else "to=confirmed"}


# ---------------------------------------------------------------- power


@pytest.fixture
def disk(folder):
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not shutil.which("mkfs.ext4"):
        pytest.skip("only root, with FUSE and mkfs.ext4, mounts a disk of its own")
    one = LoggedDisk(folder, folder / "disk")
    yield one
    one.end()


def judged(trial, disk, log, moment, dice, kept=None):
    """One power cut, and the start after it. Returns which version was met."""
    where = disk.cut(log, moment, dice, kept)
    try:
        met = trial.which(where)
        if moment < trial.answered:
            assert met == (0, 0), where
            trial.repaired(where)
        elif moment < trial.confirmed:
            trial.goes_on(where)        # the medium is not asked for again: it was said that the device has it
        else:
            assert met == (1, 1), where
        return met
    finally:
        disk.unmount()


def power_cuts(trial, disk, cuts):
    log, dice = disk.recorded(), random.Random(4)
    assert len([e for e in log[trial.begun:trial.ended] if e is None]) > 10, "it flushes"
    seen = {judged(trial, disk, log, moment, dice, kept) for moment in (trial.answered, trial.confirmed) for kept in (0, 1)}
    for _ in range(cuts):
        seen.add(judged(trial, disk, log, dice.randrange(trial.begun, trial.ended + 1), dice))
    return seen


def test_F36_S001_c18_c3_a_power_cut_leaves_the_old_or_the_new_and_nothing_is_lost_that_was_said(disk, fleet_of, folder):
    trial = Trial(fleet_of, folder, disk.at, disk.now)
    assert power_cuts(trial, disk, 6) >= {(0, 0), (1, 1)}
    # The control: with an fsync that does nothing, what was said is lost.
    (folder / "no_sync.c").write_text(NO_SYNC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "no_sync.so", folder / "no_sync.c"], check=True)
    disk.renew()
    trial.back("before-import")
    subprocess.run(["sync", "-f", disk.at], check=True)
    trial.device.env = {"LD_PRELOAD": str(folder / "no_sync.so")}
    moments = []
    assert trial.device.bring(trial.disc) == 0 and trial.device.run(said=lambda: moments.append(disk.now())) == "to=confirmed"
    assert trial.which("not cut yet") == (1, 1)
    disk.cut(disk.recorded(), moments[0], random.Random(1), 0)
    assert trial.device.runs() != trial.whole["app"][1]


@pytest.mark.long
def test_F36_S001_c18_c3_many_power_cuts_leave_the_old_or_the_new(disk, fleet_of, folder):
    trial = Trial(fleet_of, folder, disk.at, disk.now)
    assert power_cuts(trial, disk, 400) >= {(0, 0), (1, 0), (1, 1)}


@pytest.mark.long
def test_F36_S001_c18_c3_a_power_cut_while_the_one_before_is_mended_leaves_the_old_or_the_new(disk, fleet_of, folder):
    trial = Trial(fleet_of, folder, disk.at, disk.now)
    first, fresh, dice, seen = disk.recorded(), disk.base, random.Random(36), set()
    for _ in range(60):
        disk.base = fresh
        disk.base, where = disk.left(first, dice.randrange(trial.begun, trial.ended + 1), dice)
        disk.renew()
        trial.which(where)
        trial.repaired(where)
        ended = disk.now()
        again = disk.cut(disk.recorded(), dice.randrange(0, ended + 1), dice)
        seen.add(trial.which(f"{where}, then {again}"))
        trial.repaired(f"{where}, then {again}")
        disk.unmount()
    assert seen >= {(0, 0), (1, 1)}, seen
