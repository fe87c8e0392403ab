"""US 8,949,380 / claim 3: an import is killed at its system calls, one after the other: the old package or the new one, never neither."""
import os
import shutil
import signal
import subprocess

import pytest
from lib.fleet import PROGRAMS
from lib.media import importing, package, recorded, rig, sha256sum, shown, tree, unpack

SWITCHING = ["rename", "symlink"]
CHANGING = SWITCHING + ["mkdir", "unlink", "fsync", "pwrite64", "ftruncate", "fchmod"]


def killed_at(fleet, call, number, disc):
    """True: it was killed at the number-th such call of one of its threads."""
    done = subprocess.run(["strace", "-f", "-qq", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", "-o", "/dev/null",
                           str(PROGRAMS["helio-agent"]), "import", str(disc), "--config", str(fleet.folder / "f2.ini")],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env={**os.environ, "HELIO_TEST": "1"})
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills at a system call")
def test_S001_c3_an_import_that_is_killed_leaves_the_old_or_the_new(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2",), agents=())
    ids, want = {}, {}
    for version in ("1", "2"):
        ids[version] = package(fleet, version, size=300_000)
        want[ids[version]] = {f"art-{version}": sha256sum(folder / f"art-{version}")}
        fleet.ctl("channel", "publish", "default", ids[version])
        disc = unpack(recorded(fleet, "f2", ids[version])["path"], folder / f"disc{version}")
        if version == "1":
            assert importing(fleet, "f2", disc).returncode == 0 and shown(fleet, "f2") == ids["1"]
    fleet.leave_agents_alone()
    shutil.copytree(folder / "f2", folder / "before", symlinks=True)
    seen, kills = set(), 0
    for call in CHANGING:
        for number in range(1, 100):
            shutil.rmtree(folder / "f2")
            shutil.copytree(folder / "before", folder / "f2", symlinks=True)
            if not killed_at(fleet, call, number, folder / "disc2"):
                break
            kills += 1
            now = shown(fleet, "f2")
            assert now in want and tree(folder / f"f2/packages/{now}/files") == want[now], (call, number, now)
            # What a cut left is no hindrance: the next import ends with the new one.
            if call in SWITCHING:
                assert importing(fleet, "f2", folder / "disc2").returncode == 0 and shown(fleet, "f2") == ids["2"], (call, number)
            seen.add(now)
        assert number > 1, f"{call} is never called: nothing was tried"
    assert shown(fleet, "f2") == ids["2"] and tree(folder / f"f2/packages/{ids['2']}/files") == want[ids["2"]]
    assert seen == set(want) and kills >= 6, (kills, seen)   # both sides of the switch were met
