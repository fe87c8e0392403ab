"""C4, C5: what a stranger can put on a stick: links, pipes, devices, folders, names without end. None is read, nothing hangs, and nothing
outside of the stick is touched."""
import os
import socket
import subprocess

from lib.fleet import PROGRAMS
from lib.media import agent_settings, importing

ORDERS = "helio/v1/medium/f2"


def opened(fleet, medium):
    """By strace: the paths that were opened or tried, while the medium was imported."""
    log = fleet.folder / "opened"
    done = subprocess.run(["strace", "-f", "-qq", "-o", log, "-e", "trace=open,openat,openat2", str(PROGRAMS["helio-agent"]), "import", str(medium),
                           "--config", str(fleet.folder / "f2.ini")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env={**os.environ, "HELIO_TEST": "1"})
    return done, log.read_text()


def test_what_is_no_file_on_a_stick_is_not_read(fleet_of, folder):
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


def test_a_stick_with_names_without_end_is_given_up(fleet_of, folder):
    fleet, stick = fleet_of(clients=("f2",)), folder / "stick"
    (stick / ORDERS).mkdir(parents=True)
    for number in range(600):
        (stick / ORDERS / f"{number:04}").write_bytes(b"x")
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and "more names than a medium has" in done.stderr
    assert done.stdout.count("refused\t0") == 257, done.stdout.count("refused\t0")


def test_the_folder_of_orders_may_not_be_elsewhere(fleet_of, folder):
    fleet, stick, other = fleet_of(clients=("f2",)), folder / "stick", folder / "other"
    (stick / ORDERS).parent.mkdir(parents=True)
    other.mkdir()
    (other / "1").write_bytes(b"x")
    (stick / ORDERS).symlink_to(other)
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and "behind a link" in done.stderr, done.stderr[-1500:]
