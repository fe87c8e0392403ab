"""US 8,949,380 / claims 3 and 4: discs and sticks that are put into a running device, mounted for real."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib.fleet import ROOT
from lib.media import orders, package, recorded, rig, shown, tree, unpack
from lib.wait import wait_for


def call(*words):
    return subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Mounted:
    """A file of a disc or a stick, mounted by the kernel or, where it does not know the format, by FUSE."""

    def __init__(self, image, at, kind, options="ro"):
        self.at = at
        at.mkdir(exist_ok=True)
        ways = {"ext4": (("mount", "-o", f"loop,{options}", image, at),),
                "iso9660": (("mount", "-o", "loop,ro", image, at), ("fuseiso", image, at)),
                "vfat": (("mount", "-t", "vfat", "-o", f"loop,{options}", image, at), ("fusefat", "-o", "rw+", image, at))}[kind]
        said = [call(*way) for way in ways if shutil.which(way[0])]
        if not os.path.ismount(at):
            pytest.skip(f"no {kind} can be mounted here: {[s.stdout for s in said]}")

    def __enter__(self):
        return self.at

    def __exit__(self, *_):
        wait_for(lambda: call("umount", self.at).returncode == 0, 10, f"{self.at} is free")
        self.at.rmdir()


def discs(fleet, folder, client, versions):
    """An image for each version of the package, as the publisher recorded it."""
    out = {}
    for version in versions:
        one = package(fleet, version, size=400_000)
        fleet.ctl("channel", "publish", "default", one)
        out[version] = (one, pathlib.Path(shutil.copy(recorded(fleet, client, one)["path"], folder / f"{client}-{version}.image")))
    return out


def stick(folder, name, image):
    """A stick of 32 MB, formatted and filled by mke2fs."""
    files, out = unpack(image, folder / f"{name}-files"), folder / f"{name}.stick"
    with open(out, "wb") as f:
        f.truncate(32 << 20)
    done = call("mkfs.ext4", "-q", "-F", "-d", files, out)
    assert done.returncode == 0, done.stdout
    return out


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.ext4"), reason="only root mounts")
def test_S001_c4_discs_and_sticks_that_are_put_in_are_installed_by_themselves(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f1", "f2"), agents=())
    mine, others = discs(fleet, folder, "f2", "123"), discs(fleet, folder, "f1", "4")
    fleet.leave_agents_alone()      # the agent runs, and nobody is there
    media = folder / "media"
    media.mkdir()
    log = fleet.agent("f2", {"agent": {"medium_dir": media}})

    def told(reason):
        return log.text().count(f"media refused reason={reason} ")
    # Negative: an image that was cut, a disc for another client: told, each once, and nothing is changed.
    whole = mine["1"][1].read_bytes()
    (media / "cut.iso").write_bytes(whole[:len(whole) * 2 // 3])
    wait_for(lambda: told("image") == 1, 10, "the cut image is told")
    with Mounted(others["4"][1], media / "other", "iso9660"):
        wait_for(lambda: told("other-client") == 1, 10, "the other's disc is told")
    assert shown(fleet, "f2") is None and not list((folder / "f2/packages").iterdir())

    # A disc: nothing can be written to it.
    with Mounted(mine["1"][1], media / "disc", "iso9660"):
        wait_for(lambda: shown(fleet, "f2") == mine["1"][0], 15, "installed from the disc")
        wait_for(lambda: "IMPORT-NO-RETURN" in log.text(), 10, "the disc takes nothing")
    # A stick: what goes back lies on it, as debugfs reads it when it is out again.
    image = stick(folder, "two", mine["2"][1])
    with Mounted(image, media / "stick", "ext4", "rw"):
        wait_for(lambda: shown(fleet, "f2") == mine["2"][0], 15, "installed from the stick")
        wait_for(lambda: log.text().count("IMPORT-RETURN") == 1, 10, "what goes back")
    back = call("debugfs", "-R", "stat /helio/return/f2.bin", image).stdout
    assert int(re.search(r"Size: (\d+)", back)[1]) > 100, back
    wait_for(lambda: log.text().count("MOUNT-GONE") == 3, 10, "other, disc and stick are out")
    # Put in again it is read again, and brings back what happened since.
    with Mounted(image, media / "stick", "ext4", "rw"):
        wait_for(lambda: log.text().count("IMPORT-RETURN") == 2, 10, "it collects again")
    # An older disc: told, and the newer stays.
    with Mounted(mine["1"][1], media / "disc", "iso9660"):
        wait_for(lambda: told("older") == 1, 10, "the older disc is told")
    assert shown(fleet, "f2") == mine["2"][0]
    # An image that is copied into the folder is taken when it is whole.
    data = mine["3"][1].read_bytes()
    with open(media / "new.iso", "wb", buffering=0) as out:
        for at in range(0, len(data), 65536):
            out.write(data[at:at + 65536])
    wait_for(lambda: shown(fleet, "f2") == mine["3"][0], 15, "installed from the image")
    assert tree(folder / f"f2/packages/{mine['3'][0]}/files") and (media / "new.iso").exists()
    assert told("image") == 1 and told("other-client") == 1 and told("older") == 1
    wait_for(lambda: log.text().count("IMPORT-DONE") >= 4, 10, "one, two, two again, three")
    assert log.text().count("IMPORT-DONE") == 4


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.vfat"), reason="only root mounts, and dosfstools formats")
def test_S001_c3_a_stick_with_vfat_is_installed_and_takes_what_goes_back(fleet_of, folder):
    image = folder / "stick"
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    assert call("mkfs.vfat", image).returncode == 0
    media = folder / "media"
    media.mkdir()
    at = Mounted(image, folder / "at", "vfat", "rw")
    with at:
        fleet = rig(fleet_of, clients=("f2",), agents=())
        one = package(fleet, size=200_000)
        fleet.ctl("channel", "publish", "default", one)
        number = recorded(fleet, "f2", one)["number"]
        fleet.ctl("media", "record", number, "--to", folder / "at")
    log = fleet.agent("f2", {"agent": {"medium_dir": media}})
    for name in [n for n in fleet.procs if n.startswith("broker-")]:
        fleet.procs[name].stop()
    with Mounted(image, media / "stick", "vfat", "rw"):
        wait_for(lambda: shown(fleet, "f2") == one and "IMPORT-RETURN" in log.text(), 20, "installed from the stick")
    with Mounted(image, folder / "at", "vfat", "rw"):
        assert (folder / "at/helio/return/f2.bin").stat().st_size > 100
    assert orders(fleet, "f2", one)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_S001_c3_the_unit_that_mounts_is_one(folder):
    unit = ROOT / "deploy/systemd/heliograph-medium@.service"
    rule = (ROOT / "deploy/udev/90-heliograph-medium.rules").read_text()
    one = folder / "heliograph-medium@sdb1.service"
    one.write_text(unit.read_text())
    done = call("systemd-analyze", "verify", one)
    assert done.returncode == 0 and "heliograph-medium" not in done.stdout, done.stdout
    # Negative: the checker sees what is none.
    one.write_text(unit.read_text().replace("/bin/mount ", "/bin/no-such-mount ").replace("Type=oneshot", "Type=never"))
    done = call("systemd-analyze", "verify", one)
    assert "heliograph-medium" in done.stdout, done.stdout
    # The rule asks for that unit, goes only forward, and to labels that are there.
    assert 'ENV{SYSTEMD_WANTS}+="heliograph-medium@%k.service"' in rule
    lines = [line for line in rule.splitlines() if line and not line.startswith("#")]
    item = r'(?:[A-Z_]+|(?:ENV|ATTRS)\{[A-Za-z_]+\})(?:==|!=|\+=|=)"[^"]*"'
    assert all(re.fullmatch(rf"{item}(?:, {item})*", line) for line in lines), lines
    for at, line in enumerate(lines):
        for label in re.findall(r'GOTO="([^"]+)"', line):
            assert f'LABEL="{label}"' in lines[at + 1:], label
