"""A stick with very many files: what is for this device is found by name, in bounded memory. The kernel's count of the agent's memory
(/usr/bin/time), sha256sum and bsdtar are the witnesses."""
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from lib.media import importing, recorded, rig, shown, unpack

BARE_KB = 16_000    # what an import of one small file may take


def told(done):
    """(kB at most, seconds) of the process, by /usr/bin/time."""
    found = re.search(r"^peak (\d+) kB, ([\d.]+) s$", done.stderr, re.M)
    return int(found[1]), float(found[2])


def sums(folder):
    """By sha256sum, of all files at once."""
    names = "\0".join(sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()))
    return subprocess.run(["xargs", "-0", "sha256sum"], input=names, cwd=folder, stdout=subprocess.PIPE, check=True, text=True).stdout


def many_files(fleet, count):
    home = fleet.folder / "many"
    for n in range(count):
        folder = home / f"d{n % 100:02}"
        if n < 100:
            folder.mkdir(parents=True)
        (folder / f"f{n:05}").write_bytes(b"%d of many " % n * (10 + n % 20))
    return home


def carried(fleet_of, folder, count):
    """One package of so many files on a stick that carries as many objects of somebody else."""
    fleet = rig(fleet_of, clients=("f2",), agents=())
    home = many_files(fleet, count)
    package = fleet.software_package("art", "1", home, timeout=300)
    fleet.ctl("channel", "publish", "default", package)
    stick = unpack(recorded(fleet, "f2", package, 120)["path"], folder / "stick")
    for n in range(count):
        name = hashlib.sha256(b"%d" % n).hexdigest()
        (stick / "helio/v1/chunk/pub" / name).write_bytes(b"somebody else's")
    return fleet, home, package, stick


def imported(fleet, home, package, path, most_kb, most_s):
    done = importing(fleet, "f2", path, under=("/usr/bin/time", "-f", "peak %M kB, %e s"), wait_s=4 * most_s)
    assert done.returncode == 0, done.stderr[-2000:]
    kb, seconds = told(done)
    print(f"{path.name}: {kb} kB, {seconds} s")
    assert shown(fleet, "f2") == package
    assert sums(fleet.folder / f"f2/packages/{package}/files") == sums(home)
    assert kb < most_kb and seconds < most_s


@pytest.mark.skipif(not os.path.exists("/usr/bin/time"), reason="who counts the memory is not here")
@pytest.mark.parametrize("count", [1000, pytest.param(50_000, marks=pytest.mark.long)])
def test_S001_c3_a_stick_of_very_many_files_is_imported_in_bounded_memory(fleet_of, folder, count):
    fleet, home, package, stick = carried(fleet_of, folder, count)
    imported(fleet, home, package, stick, BARE_KB, 20 + count // 500)
    # The same as an image, which is read without a mount: its names are held, 0.6 kB each.
    shutil.rmtree(fleet.folder / "f2")
    shutil.rmtree(stick / "helio/return", ignore_errors=True)
    image = folder / "stick.iso"
    subprocess.run(["bsdtar", "--format", "iso9660", "-cf", image, "-C", stick, "."], check=True)
    imported(fleet, home, package, image, BARE_KB + int(0.7 * count), 30 + count // 250)
