"""C4, C5: what a stranger can put on a stick: links, pipes, devices, folders, names without end. None is read, nothing hangs, and nothing
outside of the stick is touched."""
import ctypes
import os
import shutil
import socket
import subprocess
import threading

import pytest

from lib.fleet import PROGRAMS
from lib.media import agent_settings, importing, package, recorded, rig, shown, unpack

ORDERS = "helio/v1/medium/f2"


def opened(fleet, medium):
    """By strace: the paths that were opened or tried, while the medium was imported."""
    log = fleet.folder / "opened"
    done = subprocess.run(["strace", "-f", "-qq", "-o", log, "-e", "trace=open,openat,openat2", str(PROGRAMS["helio-agent"]), "import", str(medium),
                           "--config", str(fleet.folder / "f2.ini")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env={**os.environ, "HELIO_TEST": "1"})
    return done, log.read_text()


def test_C5_what_is_no_file_on_a_stick_is_not_read(fleet_of, folder):
    fleet, stick = fleet_of(clients=("f2",)), folder / "stick"
    agent_settings(fleet, "f2")
    orders = stick / ORDERS
    orders.mkdir(parents=True)
    secret = folder / "secret"
    secret.write_text("not for a stick")
    (orders / "1").symlink_to(secret)
    os.mkfifo(orders / "2")
    (orders / "3").mkdir()
    (orders / "4").write_bytes(b"")
    with open(orders / "5", "wb") as f:
        f.truncate(1 << 40)                 # a terabyte of nothing
    (orders / "6").symlink_to("6")
    os.link(secret, orders / "7")           # a file like any other: its bytes are no order
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(folder / "sock"))
    os.rename(folder / "sock", orders / "8")
    if os.geteuid() == 0:
        os.mknod(orders / "9", 0o20666, os.makedev(1, 5))       # /dev/zero: it never ends
    count = len(list(orders.iterdir()))
    done, paths = opened(fleet, stick)
    s.close()
    assert done.returncode != 0 and done.stdout.count("refused\t0") == count, (done.stdout, done.stderr[-2000:])
    assert 'ELOOP' in paths and str(secret) not in paths, "the link was met, and not followed"
    assert secret.read_text() == "not for a stick" and not list((folder / "f2/packages").iterdir())


def test_C5_an_object_that_is_a_socket_does_not_end_what_is_read_of_the_rest(fleet_of, folder):
    """A socket answers to who opens it as a stick does that was pulled."""
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet, size=2_000_000)
    fleet.ctl("channel", "publish", "default", one)
    stick = unpack(recorded(fleet, "f2", one)["path"], folder / "stick")
    fleet.leave_agents_alone()
    chunks = sorted((stick / "helio/v1/chunk/pub").iterdir(), key=lambda p: p.stat().st_size)
    assert len(chunks) > 5
    chunks[-2].rename(folder / "away")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / "sock"))
    os.rename(folder / "sock", chunks[-2])
    done = importing(fleet, "f2", stick, wait_s=120)
    assert done.returncode != 0 and "media refused reason=denied" in done.stderr and shown(fleet, "f2") is None, done.stderr[-1500:]
    assert f"{chunks[-2].name} is no file" in done.stderr and "MEDIUM-ODD" in done.stderr
    # All the others came: what follows takes one object.
    os.unlink(chunks[-2])
    (folder / "away").rename(chunks[-2])
    for path in chunks[-5:-2]:
        os.unlink(path)
    done = importing(fleet, "f2", stick)
    assert done.returncode == 0 and shown(fleet, "f2") == one, done.stderr[-1500:]


def test_C5_a_stick_with_names_without_end_is_given_up(fleet_of, folder):
    fleet, stick = fleet_of(clients=("f2",)), folder / "stick"
    (stick / ORDERS).mkdir(parents=True)
    for number in range(600):
        (stick / ORDERS / f"{number:04}").write_bytes(b"x")
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and "more names than a medium has" in done.stderr
    assert done.stdout.count("refused\t0") == 257, done.stdout.count("refused\t0")


def test_C4_the_folder_of_orders_may_not_be_elsewhere(fleet_of, folder):
    fleet, stick, other = fleet_of(clients=("f2",)), folder / "stick", folder / "other"
    (stick / ORDERS).parent.mkdir(parents=True)
    other.mkdir()
    (other / "1").write_bytes(b"x")
    (stick / ORDERS).symlink_to(other)
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and "behind a link" in done.stderr, done.stderr[-1500:]


def image_of(folder, before=(), after=()):
    """By xorriso: an image of the folder, with links, pipes and devices as they are (Rock Ridge)."""
    iso = folder.with_suffix(".iso")
    subprocess.run(["xorriso", "-outdev", iso, "-volid", "HELIO_1", *before, "-map", folder, "/", *after, "-commit"], check=True, stderr=subprocess.PIPE)
    return iso


@pytest.mark.parametrize("what", ["link", "pipe", "device", "hard link", "foreign name"])
def test_C5_an_image_holds_files_that_a_medium_has_and_nothing_else(fleet_of, folder, what):
    fleet, disc = fleet_of(clients=("f2",)), folder / "disc"
    agent_settings(fleet, "f2")
    (disc / ORDERS).mkdir(parents=True)
    (disc / ORDERS / "1").write_bytes(b"x")
    odd = disc / ORDERS / "2"
    if what == "link":
        odd.symlink_to(folder / "f2.ini")
    elif what == "pipe":
        os.mkfifo(odd)
    elif what == "device":
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        os.mknod(odd, 0o20666, os.makedev(1, 5))
    elif what == "hard link":
        os.link(disc / ORDERS / "1", odd)
    else:
        (disc / "autorun.inf").write_bytes(b"x")
    done = importing(fleet, "f2", image_of(disc, before=("-hardlinks", "on")))
    assert done.returncode != 0, done.stderr
    # A second name of a file is a file like any other, or none; no order stands in it.
    assert "which no medium has" in done.stderr or what == "hard link", done.stderr[-1500:]
    assert not [p for p in (folder / "f2").rglob("*") if p.is_symlink() or not (p.is_file() or p.is_dir())]
    assert not list((folder / "f2/packages").iterdir())


@pytest.mark.parametrize("mib", [64, pytest.param(4095, marks=pytest.mark.long)])     # zisofs takes less than 4 GiB
def test_C15_an_image_that_inflates_is_refused_by_its_size(fleet_of, folder, mib):
    """zisofs: the reader would inflate a file by itself."""
    fleet, disc = fleet_of(clients=("f2",)), folder / "disc"
    agent_settings(fleet, "f2")
    (disc / ORDERS).mkdir(parents=True)
    (disc / ORDERS / "1").write_bytes(b"x")
    bomb = disc / "helio/v1/chunk/pub" / ("ab" * 32)
    bomb.parent.mkdir(parents=True)
    with open(bomb, "wb") as f:
        for _ in range(mib):
            f.write(b"\1" * (1 << 20))
    iso = image_of(disc, ("-zisofs", "level=9:block_size=32k"), ("-find", "/helio/v1/chunk", "-type", "f", "-exec", "set_filter", "--zisofs", "--"))
    inflated = int(subprocess.run(f"bsdtar -xOf '{iso}' 'helio/v1/chunk/pub/{bomb.name}' | wc -c", shell=True, stdout=subprocess.PIPE, check=True).stdout)
    assert inflated == mib << 20 and iso.stat().st_blocks * 512 < 2 << 20 | mib << 14, "the control: it is a bomb, to bsdtar"
    done = importing(fleet, "f2", iso, under=("/usr/bin/time", "-f", "peak=%M"))
    assert done.returncode != 0 and f"has {mib << 20} bytes" in done.stderr, done.stderr[-1500:]
    assert sum(p.stat().st_blocks * 512 for p in (folder / "f2").rglob("*")) < 4 << 20
    assert int(done.stderr.rsplit("peak=", 1)[1]) < 64 << 10


class Watched:
    """inotify, by the C library: whether anybody opened the file."""

    def __init__(self, path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK)
        assert self.fd >= 0 and self.libc.inotify_add_watch(self.fd, str(path).encode(), 0x20) >= 0     # IN_OPEN

    def opened(self):
        try:
            return len(os.read(self.fd, 4096)) // 16
        except BlockingIOError:
            return 0


def flipping(path, good, target, stop, flips):
    """The name is the file, then a link out of the stick, then the file again; each by one rename."""
    real, link = good.with_name("real"), good.with_name("link")
    while not stop.is_set():
        if good.is_dir():
            path.rename(real)
            os.symlink(target, path)
            stop.wait(0.0005)
            os.unlink(path)
            real.rename(path)
        else:
            os.symlink(target, link)
            os.rename(link, path)
            stop.wait(0.0005)
            os.link(good, real)
            os.rename(real, path)
        flips[0] += 2
        stop.wait(0.0005)


@pytest.mark.long
@pytest.mark.parametrize("which", ["chunk", "order", "folder of chunks", "folder of orders"])
def test_C4_names_that_become_links_while_they_are_read_lead_nowhere(fleet_of, folder, which):
    """C4: a stick whose file system is an attacker's may change between two looks; inotify says whether what is outside was opened."""
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet, size=400_000)
    fleet.ctl("channel", "publish", "default", one)
    stick = unpack(recorded(fleet, "f2", one)["path"], folder / "stick")
    fleet.leave_agents_alone()
    outside = folder / "outside"
    shutil.copytree(stick / "helio/v1/chunk/pub", outside)
    (outside / "secret").write_text("not for a stick")
    chunk = max((stick / "helio/v1/chunk/pub").iterdir(), key=lambda p: p.stat().st_size)
    at = {"chunk": chunk, "order": next((stick / ORDERS).iterdir()), "folder of chunks": chunk.parent, "folder of orders": stick / ORDERS}[which]
    good = folder / "good"
    target = outside if at.is_dir() else outside / (chunk.name if which == "chunk" else "secret")
    shutil.copytree(at, good) if at.is_dir() else os.link(at, good)
    watched = [Watched(target)]
    assert importing(fleet, "f2", stick).returncode == 0 and shown(fleet, "f2") == one
    stop, flips, met = threading.Event(), [0], 0
    racer = threading.Thread(target=flipping, args=(at, good, target, stop, flips))
    racer.start()
    try:
        for _ in range(12):
            shutil.rmtree(folder / "f2")
            done = importing(fleet, "f2", stick)
            met += "IMPORT-REFUSED" in done.stderr or "refused\t0" in done.stdout
            have = shown(fleet, "f2")
            assert have in (None, one) and (have == one or done.returncode != 0), done.stderr[-2000:]
    finally:
        stop.set()
        racer.join()
    # It raced, and links were met; an object that is none is looked for again, and found.
    assert flips[0] > 500 and (met or which == "chunk"), (flips, met)
    assert not any(w.opened() for w in watched)
    open(target / "secret" if target.is_dir() else target).close()  # the control: inotify tells when somebody does
    assert any(w.opened() for w in watched)


@pytest.mark.parametrize("name", ["../../../../../out", "/tmp/helio-outside-x", "a/../../../../../o", "..", "."])
def test_names_of_an_image_that_lead_out_of_it_are_refused(fleet_of, folder, name):
    """bsdtar makes the image; in its Rock Ridge names the one of a file is changed to another of the same length."""
    fleet = fleet_of(clients=("f2",))
    before, made = "q" * len(name), folder / "made" / ORDERS
    made.mkdir(parents=True)
    (made / before).write_bytes(b"not for a device")
    image = folder / "evil.iso"
    subprocess.run(["bsdtar", "-cf", image, "--format", "iso9660", "--options", "!joliet", "-C", folder / "made", "helio"], check=True)
    assert importing(fleet, "f2", image).stderr.count("reason=order") == 1      # the control: as it is, it is read, and no order
    data = image.read_bytes()
    entry = b"NM" + bytes([5 + len(name), 1, 0])
    assert data.count(entry + before.encode()) == 1
    image.write_bytes(data.replace(entry + before.encode(), entry + name.encode()))
    done = importing(fleet, "f2", image)
    assert done.returncode != 0 and "media refused reason=" in done.stderr and "reason=order" not in done.stderr, done.stderr[-1500:]
    assert not os.path.exists("/tmp/helio-outside-x") and not (folder / "f2/import/image").exists()
    assert not [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and "made" not in p.parts and p.read_bytes() == b"not for a device"]
