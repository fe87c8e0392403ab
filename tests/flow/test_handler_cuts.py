"""F36: a device with two slots is killed before each system call that changes a file while the real RAUC, or the real SWUpdate, installs
an update there and while it is kept: its boot loader always starts a slot that is whole, the old or the new, and it ends with the new one.

Witnesses: the calls as the kernel saw them (ptrace; the agent, the service, their programs), sha256sum over the slots, the boot loader's file.
"""
import hashlib
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from lib.cut import Cutter
from lib.fleet import PROGRAMS
from lib.media import recorded, rig, sha256sum, unpack
from lib.procs import Proc
from lib.wait import wait_for
from test_s001_update import BUS, SYSTEM, cpio

SIZE = 300_000      # more than a socket holds: see update_swupdate.c

# A boot loader keeps its choice in one atomic write, as U-Boot's redundant environment and GRUB's do.
BOOT = """#!/bin/sh
cd {home}
put() {{ echo "$2" > "$1.new" && mv "$1.new" "$1"; }}
case "$1" in
get-primary) cat primary;;
set-primary) put primary "$2";;
get-state) cat "state-$2" 2>/dev/null || echo good;;
set-state) put "state-$2" "$3";;
get-current) cat booted;;
esac
"""
# What is put around the programs of a device: RAUC's service runs as long as the agent does.
UP = {"rauc": "#!/bin/sh\nrauc -c {home}/system.conf --override-boot-slot=$(cat {home}/booted) service >/dev/null 2>&1 &\nexec \"$@\"\n",
      "swupdate": "#!/bin/sh\nexec \"$@\"\n"}
# SWUpdate knows nothing of slots: it is told which one does not run, and what to do once that is written. When what runs is not kept yet,
# an installation was cut after its last act: it is done, and the other slot is what a roll back needs.
PICK = """#!/bin/sh
case " $* " in *" -n "*) ;; *) [ "$(cat {home}/booted)" = "$(cat {home}/good)" ] || exit 0;; esac
[ "$(cat {home}/booted)" = A ] && other=B || other=A
exec /usr/bin/swupdate -k {home}/swu.pem -H board:1.0 -M -m -e "stable,copy$other" -p "{home}/boot set-primary $other" "$@"
"""
PROGRAM = {"pick": PICK, "keep": "#!/bin/sh\ncp {home}/booted {home}/good.new && mv {home}/good.new {home}/good\n",
           "back": "#!/bin/sh\n{home}/boot set-primary $(cat {home}/good)\n",
           "well": "#!/bin/sh\n[ $(cat {home}/booted) = $(cat {home}/primary) ]\n",
           "reboot": "#!/bin/sh\ntouch {home}/rebooting\n", "boot": BOOT}


class TwoSlots:
    """The disk of a device: the agent's state, two slots, a boot loader. A start is a new boot id, and the slot that the boot loader names."""

    def __init__(self, folder, handler):
        self.handler, self.folder, self.disk, self.home = handler, folder, folder / "disk", folder / "disk/os"
        self.home.mkdir(parents=True)
        self.cutter, self.log, self.boots, self.bus, self.env = Cutter(folder), folder / "device.log", 0, None, {}
        for name, text in {**PROGRAM, "up": UP[handler], "bus.conf": BUS, "system.conf": SYSTEM}.items():
            (self.home / name).write_text(text.format(home=self.home))
            (self.home / name).chmod(0o755)
        for name, text in {"primary": "A\n", "booted": "A\n", "good": "A\n"}.items():
            (self.home / name).write_text(text)
        self.old, self.new = (random.Random(n).randbytes(SIZE) for n in (1, 2))
        (self.home / "slot-a").write_bytes(self.old)
        (self.home / "slot-b").write_bytes(bytes(SIZE))
        for cert, extra in (("cert", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("swu", ["-newkey", "rsa:2048", "-addext", "extendedKeyUsage=emailProtection"])):
            subprocess.run(["openssl", "req", "-x509", *extra, "-nodes", "-keyout", folder / f"{cert}.key", "-out", self.home / f"{cert}.pem", "-subj", "/CN=release",
                            "-days", "3650"], check=True, capture_output=True)
        if handler == "rauc":
            self.bus = Proc("dbus", ["dbus-daemon", f"--config-file={self.home}/bus.conf", "--nofork"], self.folder).start()
            wait_for(lambda: (self.home / "bus").exists(), 10, "the bus")
            self.env = {"DBUS_STARTER_BUS_TYPE": "session", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.home}/bus"}

    def end(self):
        self.off()
        if self.bus:
            self.bus.kill()

    # ---- the update

    def bundle(self, into):
        content = self.folder / "content"
        content.mkdir()
        (content / "rootfs.img").write_bytes(self.new)
        (content / "manifest.raucm").write_text("[update]\ncompatible=helio-test\nversion=2\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n")
        subprocess.run(["rauc", "bundle", f"--cert={self.home}/cert.pem", f"--key={self.folder}/cert.key", content, into / "system.raucb"], check=True, capture_output=True)

    def swu(self, into):
        copies = "; ".join(f'copy{slot} : {{ images: ( {{ filename = "img.raw"; device = "{self.home}/slot-{slot.lower()}"; type = "raw"; '
                           f'sha256 = "{hashlib.sha256(self.new).hexdigest()}"; }} ); }}' for slot in "AB")
        (self.folder / "desc").write_text(f'software = {{ version = "2"; hardware-compatibility: [ "1.0" ]; stable = {{ {copies}; }}; }}\n')
        subprocess.run(["openssl", "cms", "-sign", "-in", self.folder / "desc", "-out", self.folder / "sig", "-signer", self.home / "swu.pem",
                        "-inkey", self.folder / "swu.key", "-outform", "DER", "-nosmimecap", "-binary"], check=True, capture_output=True)
        (into / "a.swu").write_bytes(cpio([("sw-description", (self.folder / "desc").read_bytes()), ("sw-description.sig", (self.folder / "sig").read_bytes()),
                                           ("img.raw", self.new)]))

    def medium(self, fleet_of):
        fleet, into = rig(fleet_of, clients=("f2",), agents=()), self.folder / "package"
        into.mkdir()
        self.bundle(into) if self.handler == "rauc" else self.swu(into)
        self.package = fleet.software_package("os", "2", into)
        fleet.ctl("channel", "publish", "default", self.package)
        disc = unpack(recorded(fleet, "f2", self.package)["path"], self.folder / "disc")
        fleet.leave_agents_alone()
        words = " ".join(f"{k}={v}" for k, v in self.env.items())
        update = {"handler": f"os rauc /usr/bin/env {words} /usr/bin/rauc -c {self.home}/system.conf"} if self.handler == "rauc" else {
            "handler": f"os swupdate {self.home}/pick", "commit": f"os {self.home}/keep", "rollback": f"os {self.home}/back"}
        settings = fleet.common("f2")
        settings["agent"] = {"state_dir": self.disk / "state", "interval_ms": 1000, "reboot": self.home / "reboot"}
        settings["update"] = {**update, "check": f"os {self.home}/well", "trial_s": 20}
        settings["test"] = {"boot_id_file": self.home / "boot_id"}
        fleet.write("f2", settings, {})
        self.ini = fleet.folder / "f2.ini"
        subprocess.run([PROGRAMS["helio-agent"], "import", disc, "--config", self.ini], check=True, capture_output=True, env={**os.environ, "HELIO_TEST": "1"})

    # ---- power

    def off(self):
        """What a power cut ends with it: nothing runs, nothing is mounted."""
        for at in ("bundle", "image"):
            subprocess.run(["umount", "-l", self.home / "mnt" / at], stderr=subprocess.DEVNULL)

    def boot(self):
        self.boots += 1
        shutil.copy(self.home / "primary", self.home / "booted")
        (self.home / "boot_id").write_text(f"{self.boots:08x}-0000-4000-8000-000000000000\n")
        (self.home / "rebooting").unlink(missing_ok=True)

    def on(self, number=None, until=("to=confirmed", "to=rolled-back", "to=broken"), timeout=40):
        """A start: until it reboots, ends its update, or is cut. Says which."""
        self.boot()
        argv = [str(w) for w in (self.home / "up", PROGRAMS["helio-agent"], "--config", self.ini)]
        argv = argv if number is None else self.cutter.argv(number, self.disk, argv)
        with open(self.log, "w") as out:
            p = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "HELIO_TEST": "1", **self.env})
        end = time.monotonic() + timeout
        try:
            while p.poll() is None:
                text = self.log.read_text(errors="replace")
                said = [w for w in until if w in text]
                if said or (self.home / "rebooting").exists():
                    return said[0] if said else "reboots"
                assert time.monotonic() < end, text[-3000:]
                time.sleep(0.01)
            return "cut"
        finally:
            if number == 0 and p.poll() is None:
                p.terminate()       # so that the names of the calls are written
                p.wait(timeout=30)
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            p.wait(timeout=30)
            self.off()

    # ---- what it holds

    def starts(self, where):
        """0: the old system, 1: the new one; each whole."""
        slot = (self.home / "primary").read_text().strip().lower()
        have = sha256sum(self.home / f"slot-{slot}")
        whole = [hashlib.sha256(image).hexdigest() for image in (self.old, self.new)]
        assert slot in "ab" and have in whole, (where, slot, self.log.read_text()[-2000:])
        return whole.index(have)

    def can_go_back(self, where):
        """Until the new one is kept, the old one is there."""
        at = self.disk / "state/slots/software/os/current"
        have = {sha256sum(self.home / f"slot-{slot}") for slot in "ab"}
        assert at.is_symlink() or hashlib.sha256(self.old).hexdigest() in have, where

    def ends(self, where):
        """However it stands: it goes on to the new one by itself."""
        at = self.disk / "state/slots/software/os/current"
        said = "to=confirmed"
        if at.is_symlink():
            self.on(until=("LINK-DOWN",))       # it may have nothing to do any more
        else:
            for _ in range(6):
                said = self.on()
                self.can_go_back(where)
                if said != "reboots":
                    break
                self.starts(where)
        assert said == "to=confirmed" and self.starts(where) == 1 and at.resolve().name == self.package, (where, said, self.log.read_text()[-3000:])

    def keep(self, name):
        shutil.copytree(self.disk, self.folder / name, symlinks=True, ignore=shutil.ignore_patterns("bus"))

    def back(self, name):
        for at in self.disk.iterdir():
            subprocess.run(["find", at, "-mindepth", "1", "-not", "-name", "bus", "-not", "-type", "d", "-delete"], check=True)
        shutil.rmtree(self.disk / "state")
        shutil.copytree(self.folder / name, self.disk, symlinks=True, dirs_exist_ok=True)


class Cuts:
    """A whole update, once without a cut, and what each start of it calls."""

    def __init__(self, device):
        self.device, self.calls, self.seen = device, {}, set()
        device.keep("before")
        assert device.on(0) == "reboots" and device.starts("installed") == 1, device.log.read_text()[-2000:]
        self.calls["before"], self.switch = device.cutter.names(), device.cutter.renamed("primary")[-1]
        device.keep("installed")
        assert device.on(0) == "to=confirmed", device.log.read_text()[-2000:]
        self.calls["installed"] = device.cutter.names()

    def cut(self, name, number):
        device, count = self.device, len(self.calls[name])
        where = (device.handler, name, number, count)
        device.back(name)
        # Threads and programs do not take the same turns each time: the last calls may come after the end.
        assert device.on(number) == "cut" or number > count - 12, where
        starts = device.starts(where)
        self.seen.add((name, starts))
        device.can_go_back(where)
        device.ends(where)
        return starts


@pytest.fixture(params=["rauc", "swupdate"])
def device(request, fleet_of, folder):
    if not shutil.which(request.param) or (request.param == "rauc" and os.geteuid() != 0):
        pytest.skip(f"{request.param} is not here, or may not mount")
    made = TwoSlots(folder, request.param)
    try:
        made.medium(fleet_of)
        yield made
    finally:
        made.end()


def test_F36_S001_c18_killed_while_a_bundle_is_installed_it_starts_the_old_or_the_new(device):
    """In the middle, about the boot loader's switch, and while it is kept."""
    cuts = Cuts(device)
    assert cuts.cut("before", cuts.switch // 2) == 0
    # The new one is started, and nobody noted yet that it is installed.
    assert any(cuts.cut("before", number) for number in range(cuts.switch + 1, cuts.switch + 8))
    assert cuts.cut("installed", len(cuts.calls["installed"]) // 2) == 1


@pytest.mark.long
def test_F36_S001_c18_killed_at_every_call_while_a_bundle_is_installed_it_starts_the_old_or_the_new(device):
    cuts = Cuts(device)
    for name in cuts.calls:
        for number in range(1, len(cuts.calls[name]) + 1):
            cuts.cut(name, number)
    assert cuts.seen == {("before", 0), ("before", 1), ("installed", 1)}
