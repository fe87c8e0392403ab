"""Bad input and faults: a named reason, nothing lost, and the next good input works."""
import contextlib
import json
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time
import zlib

import pytest

from lib import wire
from lib.fleet import Fleet, PROGRAMS
from lib.procs import Proc
from lib.proxy import Proxy
from lib.rogue import INDEX, MANIFEST, Content, Publisher, envelope
from lib.steps import responses, settle
from lib.wait import stays, wait_for

pb = wire.pb
HB = "helio/v1/hb/#"


# ---------------------------------------------------------------- what the tests share

def software(folder, megabytes, seed=7):
    home = folder / f"software-{megabytes}-{seed}"
    home.mkdir()
    (home / "image.bin").write_bytes(random.Random(seed).randbytes(int(megabytes * 1024 * 1024)))
    return home


def installed(fleet, client, package):
    return fleet.folder / client / "packages" / package


def same_bytes(fleet, client, package, home):
    sums = subprocess.run(["sha256sum", home / "image.bin", installed(fleet, client, package) / "files/image.bin"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return sums[0] == sums[2]


def staged_bytes(fleet, client, package):
    total = 0
    for f in (fleet.folder / client / "staging" / package).rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if f.is_file():
                total += os.stat(f).st_blocks * 512
    return total


def operations(fleet, client, kind):
    return [r for r in fleet.ctl("operations", client)["operations"] if r["kind"] == kind]


def ops_of(watch, client):
    """op id -> the final statuses that heartbeats showed of it."""
    found = {}
    for m in watch.of("helio/v1/hb/"):
        hb = m.decode(pb.Heartbeat)
        if hb.client_id == client and hb.HasField("op"):
            found.setdefault(hb.op.op_id, []).append(hb.op)
    return found


def slow(fleet, bytes_per_s):
    fleet.server_extra = {"server": {"rate_bytes_per_s": bytes_per_s}}
    return fleet


@contextlib.contextmanager
def small_disk(path, megabytes):
    """A tmpfs of so many megabytes at path, as a disk that can be full."""
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", path],
                          stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        pytest.skip(f"no small disk here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(disk):
    """Takes every byte that is left; returns the file that holds them."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as f:
        with contextlib.suppress(OSError):
            while True:
                f.write(b"\xa5" * 65536)
    return filler


def remount(disk, how):
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def integrity(fleet):
    return fleet.sql("pragma integrity_check")


# ---------------------------------------------------------------- full and read-only disks

def test_a_full_disk_at_the_agent_is_named_and_recovers(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), agent={"agent": {"reserve_bytes": 0}},
                     server={"server": {"attempts_max": 1}})
    with small_disk(fleet.folder / "f1", 16) as disk:
        try:
            fleet.up()
            watch = fleet.watch(HB)
            first_home, home = software(folder, 1, 1), software(folder, 6, 2)
            first = fleet.software_package("app", "1", first_home)
            fleet.ctl("channel", "publish", "default", first)
            wait_for(lambda: installed(fleet, "f1", first).exists(), 20)
            filler = fill(disk)
            package = fleet.software_package("app", "2", home)
            fleet.ctl("channel", "publish", "default", package)
            failed = wait_for(lambda: [o for ops in ops_of(watch, "f1").values() for o in ops if o.status == pb.OP_FAILED], 20)
            assert "no-space" in failed[0].detail
            # Nothing else is lost: the heartbeats go on, the installed package is whole, commands are obeyed.
            assert same_bytes(fleet, "f1", first, first_home) and not installed(fleet, "f1", package).exists()
            fleet.ctl("exec", "f1", "ping")
            fleet.wait_client("f1", lambda c: c["private_elements"] == 0, 15)
            assert fleet.procs["f1"].alive()
            # Room is made: the same package installs.
            filler.unlink()
            fleet.ctl("channel", "publish", "default", package)
            wait_for(lambda: installed(fleet, "f1", package).exists(), 30, "it installs when there is room")
            assert same_bytes(fleet, "f1", package, home)
        finally:
            for name in ("f1",):
                if name in fleet.procs:
                    fleet.procs[name].stop()


def test_a_disk_that_fills_while_the_agent_fetches_is_named_and_recovers(fleet_of, folder):
    fleet = slow(fleet_of(clients=("f1",), data_brokers=("da",), agent={"agent": {"reserve_bytes": 0}}), 4_000_000)
    with small_disk(fleet.folder / "f1", 24) as disk:
        try:
            fleet.up()
            home = software(folder, 12)
            package = fleet.software_package("app", "1", home)
            fleet.ctl("channel", "publish", "default", package)
            wait_for(lambda: staged_bytes(fleet, "f1", package) > 2_000_000, 20)
            filler = fill(disk)
            fleet.procs["f1"].wait_text("no-space", 20)
            assert not installed(fleet, "f1", package).exists()
            filler.unlink()
            wait_for(lambda: installed(fleet, "f1", package).exists(), 40, "an attempt after that succeeds")
            assert same_bytes(fleet, "f1", package, home)
        finally:
            if "f1" in fleet.procs:
                fleet.procs["f1"].stop()


def test_a_read_only_disk_at_the_agent_is_named_and_recovers(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    watch = fleet.watch("helio/v1/rsp/f1")
    broken = Proc("strace", ["strace", "-f", "-o", fleet.folder / "strace.out", "-P", fleet.folder / "f1/state.tmp", "-e", "trace=openat",
                             "-e", "inject=openat:error=EROFS", "-p", fleet.procs["f1"].pid], fleet.folder).start()
    broken.wait_text("attached", 10)
    fleet.ctl("exec", "f1", "ping")
    named = fleet.procs["f1"].wait_text("Read-only", 15)
    assert re.search("warn|error", named[0]) and fleet.procs["f1"].alive()
    assert not operations(fleet, "f1", "execute-command") or operations(fleet, "f1", "execute-command")[0]["outcome"] == "open"
    broken.stop()
    fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 20)
    told = wait_for(lambda: [r for r in responses(watch, "f1") if r.body.kind == pb.EXECUTE_COMMAND], 10, "it is recorded")
    assert len({r.body.op_id for r in told}) == 1, "one operation, however often it had to be told"
    assert [r["outcome"] for r in operations(fleet, "f1", "execute-command")] == ["done"]


@pytest.mark.parametrize("who", ["f1", "pub", "heliod"])
def test_a_program_on_a_read_only_disk_says_so_and_starts_when_it_is_mended(fleet_of, who):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    start = {"f1": lambda: fleet.agent("f1"), "pub": fleet.publisher, "heliod": lambda: fleet.heliod(wait=False)}[who]
    with small_disk(fleet.folder / who, 24) as disk:
        try:
            fleet.up()
            proc = fleet.procs[who]
            proc.stop()
            said = len(proc.text())
            remount(disk, "ro")
            start()
            wait_for(lambda: not proc.alive(), 10, f"{who} ends")
            assert re.search("[Rr]ead-only", proc.text()[said:]), proc.text()[said:]
            assert proc.p.returncode > 0, "no good end, and no crash"
            remount(disk, "rw")
            start()
            fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
            fleet.ctl("image", "list")
        finally:
            if who in fleet.procs:
                fleet.procs[who].stop()


def test_a_full_disk_at_the_publisher_is_named_and_recovers(fleet_of, pictures):
    fleet = fleet_of(clients=(), data_brokers=("da",))
    with small_disk(fleet.folder / "pub", 8) as disk:
        try:
            fleet.up()
            first = fleet.ctl("image", "add", pictures[0])
            filler = fill(disk)
            refused = fleet.ctl("image", "add", pictures[1], check=False)
            assert refused.returncode != 0 and re.search("space|full", refused.stdout + refused.stderr), refused
            fleet.procs["pub"].wait_text("PUBLISHER-STORE-FULL", 5)
            assert fleet.procs["pub"].alive()
            filler.unlink()
            fleet.ctl("image", "add", pictures[1])
            package = fleet.image_package("art", "1", pictures[:3])
            wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 20)
            assert first
        finally:
            if "pub" in fleet.procs:
                fleet.procs["pub"].stop()


@contextlib.contextmanager
def failing_disk(fleet, disk, proc, how):
    """From now on the disk takes nothing: it is full, or every write of the program finds it read-only."""
    if how == "full":
        filler = fill(disk)
        yield
        filler.unlink()
    else:
        calls = "pwrite64,fsync,fdatasync,rename"
        threads = [w for t in os.listdir(f"/proc/{proc.pid}/task") for w in ("-p", t)]     # not its children, which are confined
        broken = Proc("strace", ["strace", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EROFS", *threads],
                      fleet.folder).start()
        broken.wait_text("attached", 10)
        yield
        broken.stop()


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_fails_under_a_running_publisher_is_named_and_it_recovers(fleet_of, pictures, how):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    word = {"full": "PUBLISHER-STORE-FULL", "read-only": "PUBLISHER-STORE-READ-ONLY"}[how]
    with small_disk(fleet.folder / "pub", 8) as disk:
        try:
            fleet.broker("control")     # no data broker yet: what is offered waits
            fleet.heliod()
            pub = fleet.publisher()
            fleet.agent("f1")
            fleet.wait_client("f1", lambda c: c["reach"] == "online" and c["at_tail"], 20)
            package = fleet.image_package("art", "1", pictures[:3])
            fleet.ctl("channel", "publish", "default", package)
            with failing_disk(fleet, disk, pub, how):
                refused = fleet.ctl("image", "add", pictures[3], check=False)
                assert refused.returncode != 0 and re.search("No space|full|Read-only", refused.stdout + refused.stderr), refused
                assert " error " in pub.wait_text(word, 5)[0]
                assert len(fleet.ctl("image", "list")["images"]) == 3, "reading goes on"
                # The order to transmit comes and cannot be recorded: nothing is transmitted.
                fleet.broker("da")
                fleet.procs["heliod"].wait_text("kind=transmit", 30)
                wait_for(lambda: pub.lines("DIRECTIVE-IGNORED") or pub.lines("PUBLISH-FAILED"), 15, "it cannot obey")
                time.sleep(1.5)
                assert pub.alive() and len(pub.lines(word)) == 1 and not pub.lines("PUBLISHER-STORE-RECOVERED")
                assert not installed(fleet, "f1", package).exists()
            pub.wait_text("PUBLISHER-STORE-RECOVERED", 10)
            wait_for(lambda: installed(fleet, "f1", package).exists(), 60, "what waited is transmitted")
            fleet.ctl("image", "add", pictures[3])
            assert len(fleet.ctl("image", "list")["images"]) == 4
        finally:
            if "pub" in fleet.procs:
                fleet.procs["pub"].stop()


def test_a_full_disk_at_the_server_is_named_and_nothing_is_lost(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    with small_disk(fleet.folder / "heliod", 24) as disk:
        try:
            fleet.up()
            heliod = fleet.procs["heliod"]
            fleet.ctl("exec", "f1", "ping")
            filler = fill(disk)
            # Something to write: it is refused or unanswered, and never said to be done.
            refused = wait_for(lambda: [d for d in [fleet.ctl("--timeout", "2", "exec", "f1", "ping", check=False)] if d.returncode], 15)
            alert = heliod.wait_text("STATE-WRITE ", 15)
            assert "word=no-space" in alert[-1], alert
            assert heliod.alive() and refused
            filler.unlink()
            heliod.wait_text("STATE-WRITE-RECOVERED", 15)
            fleet.ctl("exec", "f1", "ping")
            fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 20)
            done = operations(fleet, "f1", "execute-command")
            assert len(done) >= 2 and all(r["outcome"] == "done" for r in done), done
            heliod.stop()
            assert integrity(fleet) == "ok"
        finally:
            if "heliod" in fleet.procs:
                fleet.procs["heliod"].stop()


# ---------------------------------------------------------------- kill -9 at any moment

VICTIMS = ["f1", "f2", "pub", "heliod", "broker-da", "broker-control"]


def rollout_with_kills(fleet, folder, seed, victims, megabytes=20):
    rng = random.Random(seed)
    watch = fleet.watch(HB, "helio/v1/rsp/#")
    home = software(folder, megabytes, seed)
    package = fleet.software_package("app", str(seed), home)
    fleet.ctl("channel", "publish", "default", package)
    again = {"heliod": lambda: fleet.heliod(wait=False), "pub": fleet.publisher, "broker-da": lambda: fleet.broker("da"),
             "broker-control": lambda: fleet.broker("control"), **{c: lambda c=c: fleet.agent(c) for c in fleet.clients}}
    for victim in victims:
        # A moment of the rollout, by a fact: so many more bytes are there, or everything is.
        goal = sum(staged_bytes(fleet, c, package) for c in fleet.clients) + rng.randrange(100_000, 4_000_000)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: sum(staged_bytes(fleet, c, package) for c in fleet.clients) >= goal or
                     all(installed(fleet, c, package).exists() for c in fleet.clients), 4)
        fleet.procs[victim].kill()
        if victim == "heliod":
            assert integrity(fleet) == "ok"
        again[victim]()
    for client in fleet.clients:
        wait_for(lambda: installed(fleet, client, package).exists(), 60, f"{client} has the package after all")
        assert same_bytes(fleet, client, package, home)
        fleet.wait_client(client, lambda c: c["reach"] == "online" and c["state"] == "idle", 40)
    for client in fleet.clients:
        rows = [r for r in operations(fleet, client, "retrieve-information")]
        assert rows and not [r for r in rows if r["outcome"] == "open"], rows
        assert len({r["op_id"] for r in rows}) == len(rows), "an operation has two outcomes"
        assert [r for r in rows if r["outcome"] == "done"], rows
        for op, shown in ops_of(watch, client).items():
            final = [o.status for o in shown if o.status >= pb.OP_DONE]
            assert len(set(final)) <= 1, f"operation {op} of {client} ended as {final}"
        bodies = {}
        for r in responses(watch, client):
            if r.body.kind != pb.NO_ACTION:
                assert bodies.setdefault(r.body.response_id, r.body.SerializeToString()) == r.body.SerializeToString()
        # Older ones that were being removed at a kill may lie there as seeds: two at most (DEPOT_STAGING_KEPT).
        left = [p.name for p in (fleet.folder / client / "staging").iterdir()]
        assert package not in left and len(left) <= 2, f"staging holds {left} after a rollout"
    assert integrity(fleet) == "ok"
    watch.close()       # the next one has its id


def kill_fleet(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), agent={"control": {"backoff_min_ms": 200, "backoff_max_ms": 1000}})
    fleet.server_extra = {"server": {"rate_bytes_per_s": 5_000_000}, "data": {"recent_period_s": 0}}
    return fleet.up()


@pytest.mark.parametrize("seed", [1, 2])
def test_X_4_kill_9_of_every_program_at_random_during_a_rollout(fleet_of, folder, seed):
    order = random.Random(4).sample(VICTIMS, len(VICTIMS))     # the two halves of one order: every program once
    rollout_with_kills(kill_fleet(fleet_of), folder, seed, order[:3] if seed == 1 else order[3:])


@pytest.mark.long
def test_X_4_kill_9_of_every_program_at_random_many_rounds(fleet_of, folder):
    fleet = kill_fleet(fleet_of)
    for seed in range(10, 20):
        rollout_with_kills(fleet, folder, seed, random.Random(seed).sample(VICTIMS, len(VICTIMS)))


# ---------------------------------------------------------------- brokers and links that fail in mid-transfer

def start_rollout(fleet, folder, megabytes, at=1_500_000):
    home = software(folder, megabytes)
    package = fleet.software_package("app", "1", home)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: staged_bytes(fleet, "f1", package) > at, 30, "the transfer is under way")
    return package, home


def test_S001_c30_a_broker_that_vanishes_and_comes_back_is_used_again(fleet_of, folder):
    fleet = slow(fleet_of(clients=("f1",), data_brokers=("da",)), 4_000_000).up()
    package, home = start_rollout(fleet, folder, 10)
    fleet.procs["broker-da"].kill()
    fleet.procs["f1"].wait_text("FETCH-DOWN", 10)
    fleet.procs["heliod"].wait_text("LINK-DOWN", 10)
    fleet.ctl("exec", "f1", "ping")
    assert fleet.client("f1")["reach"] == "online", "the control link does not suffer"
    fleet.broker("da")
    wait_for(lambda: installed(fleet, "f1", package).exists(), 60, "it completes after the broker came back")
    assert same_bytes(fleet, "f1", package, home)


@pytest.mark.slow
def test_S001_c30_an_object_that_is_gone_from_the_broker_is_repaired(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",)).up(agents=["f1"])
    home = software(folder, 4)
    package = fleet.software_package("app", "1", home)
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 20)
    watch = fleet.watch("helio/v1/chunk/#", broker="da")
    wait_for(lambda: len(watch.of("helio/v1/chunk/")) >= 10, 10)
    # Somebody with the publisher's certificate withdraws some objects and puts wrong bytes in the place of others.
    victims = sorted(watch.of("helio/v1/chunk/"), key=lambda m: len(m.payload))[-4:]
    fleet.procs["pub"].pause()
    rogue = wire.Client(fleet.port["da"], fleet.bundle("pub"))
    for i, m in enumerate(victims):
        rogue.publish(m.topic, b"" if i % 2 else m.payload[:-1] + bytes([m.payload[-1] ^ 1]), retain=True)
    rogue.close()
    fleet.procs["pub"].go_on()
    fleet.agent("f2")
    fleet.ctl("channel", "publish", "default", package)
    for client in ("f1", "f2"):
        wait_for(lambda: installed(fleet, client, package).exists(), 40, f"{client} completes after a repair")
        assert same_bytes(fleet, client, package, home)
        fleet.wait_client(client, lambda c: c["state"] == "idle", 10)
        rows = operations(fleet, client, "retrieve-information")
        assert [r["outcome"] for r in rows] == ["done"], rows
    assert fleet.procs["heliod"].lines("kind=repair"), "no repair was ordered"
    repaired = {m.topic: m.payload for m in watch.of("helio/v1/chunk/") if m.payload}
    for m in victims:
        again = fleet.mosquitto_sub(m.topic, "-C", "1", "-N", broker="da")
        assert again == m.payload, f"{m.topic} was not repaired"
    assert repaired


@pytest.mark.slow
def test_S001_c30_a_broker_that_hangs_is_left_for_another(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), server={"data": {"sys_interval_s": 1, "broker_away_s": 3, "recent_period_s": 0}})
    fleet.server_extra["server"] = {"rate_bytes_per_s": 3_000_000}
    fleet.up()
    package, home = start_rollout(fleet, folder, 8)
    broker = re.search(r"GRANT .*broker=(\w+)", fleet.procs["f1"].text())[1]
    hung = fleet.procs[f"broker-{broker}"]
    hung.pause()
    try:
        wait_for(lambda: installed(fleet, "f1", package).exists(), 60, "it completes though that broker hangs")
        assert re.findall(r"GRANT .*broker=(\w+)", fleet.procs["f1"].text())[-1] != broker
        assert same_bytes(fleet, "f1", package, home)
    finally:
        hung.go_on()


def test_S001_c30_a_broker_that_hangs_for_a_while_costs_nothing_but_time(fleet_of, folder):
    fleet = slow(fleet_of(clients=("f1",), data_brokers=("da",)), 4_000_000).up()
    package, home = start_rollout(fleet, folder, 8)
    fleet.procs["broker-da"].pause()
    held = staged_bytes(fleet, "f1", package)
    try:
        stays(lambda: not installed(fleet, "f1", package).exists(), 2)
    finally:
        fleet.procs["broker-da"].go_on()
    wait_for(lambda: installed(fleet, "f1", package).exists(), 40)
    assert held and same_bytes(fleet, "f1", package, home)


def test_S001_c30_a_link_that_is_cut_again_and_again_resumes(fleet_of, folder):
    fleet = slow(fleet_of(clients=("f1",), data_brokers=("da",)), 6_000_000)
    fleet.brokers()
    real = fleet.port["da"]
    with Proxy(real).start() as proxy:
        # The grant names the broker as the server knows it: all go through the proxy.
        fleet.port["da"] = proxy.port
        try:
            fleet.heliod()
            fleet.publisher()
            fleet.agent("f1")
            fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
            package, home = start_rollout(fleet, folder, 12, at=1_000_000)
            before = len(proxy.down)
            for _ in range(4):
                goal = staged_bytes(fleet, "f1", package) + 1_000_000
                wait_for(lambda: staged_bytes(fleet, "f1", package) >= goal or installed(fleet, "f1", package).exists(), 30)
                proxy.cut()
            wait_for(lambda: installed(fleet, "f1", package).exists(), 60, "it completes over a link that breaks")
            assert same_bytes(fleet, "f1", package, home)
            # Nothing that was stored is fetched twice: at most a window after each cut.
            assert len(proxy.down) - before < 11_500_000 + 4 * 2_500_000, len(proxy.down) - before
        finally:
            fleet.port["da"] = real


# ---------------------------------------------------------------- pictures that are none

def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, body, extra=b""):
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + extra +
            png_chunk(b"IDAT", body) + png_chunk(b"IEND", b""))


def zeros(count):
    """zlib's stream of so many zeros, put together from one block: compressing gigabytes takes long."""
    block = 1 << 24
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = z.compress(bytes(block)) + z.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(count % block)) + last.flush()
    return b"\x78\x9c" + one * (count // block) + rest + struct.pack(">I", (count % 65521) << 16 | 1)


def test_C1_C15_pictures_that_are_none_are_refused_by_name_and_cost_little(fleet_of, pictures, folder):
    fleet = fleet_of(clients=(), data_brokers=("da",)).up()
    pub = fleet.procs["pub"]
    jpeg = next(p for p in pictures if p.suffix in (".jpg", ".jpeg")).read_bytes()
    row = zeros(3 * 30000 + 1)
    assert zlib.decompress(zeros((1 << 24) + 77)) == bytes((1 << 24) + 77), "the bomb is a good stream"
    huge_exif = jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0" + bytes(65527) for _ in range(200)) + jpeg[2:]
    text_bomb = png_chunk(b"zTXt", b"Comment\0\0" + zeros(64 << 20))
    good_row = zlib.compress(b"\0" + bytes(3 * 4) + b"\0" + bytes(3 * 4))
    hostile = {
        "text.jpg": b"this is not a picture\n" * 20,
        "program.png": open("/bin/true", "rb").read(),
        "empty.png": b"",
        "bomb.png": png(30000, 30000, zeros(30000 * 90001)),
        "wide.png": png(2 ** 31 - 1, 1, row),
        "short-pixels.png": png(400, 400, row[:50]),
        "cut.jpg": jpeg[:len(jpeg) // 2],
        "header-only.jpg": jpeg[:200],
        "no-end.png": png(4, 2, good_row)[:-12],
    }
    children = f"/proc/{pub.pid}/task/{pub.pid}/children"
    peak = [0]
    watching = threading.Event()

    def look():
        while not watching.is_set():
            with contextlib.suppress(OSError, ValueError):
                for child in [str(pub.pid), *open(children).read().split()]:
                    kib = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{child}/status").read())[1])
                    peak[0] = max(peak[0], kib)
            watching.wait(0.005)
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        for name, data in hostile.items():
            (folder / name).write_bytes(data)
            begin = time.monotonic()
            refused = fleet.ctl("image", "add", folder / name, check=False)
            assert refused.returncode != 0, name
            assert (refused.stderr + refused.stdout).strip(), f"{name}: no reason"
            assert time.monotonic() - begin < 10, f"{name} took long"
            assert pub.alive(), name
        assert len(pub.lines("IMAGE-REFUSED")) >= len(hostile) - 1
        assert fleet.ctl("image", "list")["images"] == []
        # What is harmless apart from its luggage is taken without it.
        for name, data in {"zTXt.png": png(4, 2, good_row, text_bomb), "exif.jpg": huge_exif}.items():
            (folder / name).write_bytes(data)
            done = fleet.ctl("image", "add", folder / name, check=False)
            if done.returncode == 0:
                stored = max((fleet.folder / "pub" / "images").rglob("*"), key=lambda f: f.stat().st_mtime if f.is_file() else 0)
                assert stored.stat().st_size <= len(jpeg) + 4096, f"{name}: the luggage was kept"
        assert peak[0] < 400 * 1024, f"{peak[0]} KiB for a bomb"
        fleet.ctl("image", "add", pictures[0])
        assert fleet.ctl("image", "list")["images"]
    finally:
        watching.set()
        thread.join()


# ---------------------------------------------------------------- forged words between the programs

def test_X_3_forged_cut_oversized_and_misaddressed_answers_move_nobody(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",)).up()
    watch = fleet.watch(HB, "helio/v1/rsp/#", "helio/v1/offer/#", "helio/v1/pubcmd/#")
    package = fleet.software_package("app", "1", software(folder, 0.2))
    wait_for(lambda: len(watch.of("helio/v1/rsp/f1")) > 2 and len(watch.of("helio/v1/rsp/f2")) > 2, 10)
    fleet.procs["heliod"].kill()
    rogue = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
    fleet.witnesses.append(rogue)
    beat = watch.of("helio/v1/hb/")[-1].decode(pb.Heartbeat)
    real, other = watch.of("helio/v1/rsp/f1")[-1].payload, watch.of("helio/v1/rsp/f2")[-1].payload
    wrong_key = wire.read_key(fleet.bundle("alice.2") / "identity.key")
    hostile = [b"", b"\0", real[:-1], real[:40], real[:-35], real + b"\0", real[:10] + b"\xff" + real[11:], other,
               os.urandom(64 * 1024), os.urandom(200_000), b"\x0a" * 60000]
    for payload in hostile:
        rogue.publish("helio/v1/rsp/f1", payload)
    rogue.publish("helio/v1/rsp/f1", real, retain=True)      # a retained one is stale by definition
    # A grant, an offer and directives that nobody of the fleet's server sealed.
    grant = pb.Grant(schema=1, client_id="f1", session_id=beat.session_id, seq=1 << 40, boot=beat.boot, request_id=1,
                     package=bytes.fromhex(package), granted=True, lease=7, ttl_ms=60000, window=8, publisher="pub",
                     publisher_key=wire.raw_public(wrong_key))
    getattr(grant, "from").broker_id = "da"
    getattr(grant, "from").host = "localhost"
    getattr(grant, "from").port = fleet.port["da"]
    directive = pb.Directive(schema=1, publisher="pub", session_id=1, seq=1 << 40, boot=beat.boot, kind=pb.STOP,
                             directive_id=1 << 50, package=bytes.fromhex(package))
    offer = pb.SessionOffer(schema=1, principal="f1", session_id=1 << 40, x25519_share=os.urandom(32), nonce=os.urandom(16),
                            boot=os.urandom(16), server_key_id=os.urandom(32), next_lineage=os.urandom(16),
                            sign_in_sha256=os.urandom(32), server_unix_ms=int(time.time() * 1000), incarnation=1 << 31)
    for message, topic in ((grant, "helio/v1/grant/f1"), (directive, "helio/v1/pubcmd/pub"), (offer, "helio/v1/offer/f1"),
                           (offer, "helio/v1/offer/pub")):
        rogue.publish(topic, message.SerializeToString())
        rogue.publish(topic, wire.sealed(message, topic, mac_key=os.urandom(32)))
        rogue.publish(topic, wire.sealed(message, topic, sign_key=wrong_key))
        rogue.publish(topic, wire.sealed(message, topic, sign_key=wrong_key)[:-5])
    mark = len(watch.of("helio/v1/hb/"))
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= mark + 8, 15, "heartbeats go on")
    for m in watch.of("helio/v1/hb/")[mark:]:
        hb = m.decode(pb.Heartbeat)
        assert hb.session_id in (0, beat.session_id) or hb.client_id != "f1" or hb.session_id < 1 << 40
        assert not hb.HasField("op") or hb.op.status >= pb.OP_DONE
    log = fleet.procs["f1"].text()
    assert "lease=7" not in log and "FETCH-CONNECT" not in log
    assert all(fleet.procs[p].alive() for p in ("f1", "f2", "pub"))
    refused = sum(len(fleet.procs[p].lines(w)) for p, w in (("f1", "RSP-REFUSED"), ("f1", "OFFER-REFUSED"), ("f1", "GRANT-REFUSED"),
                                                              ("pub", "DIRECTIVE-REFUSED"), ("pub", "OFFER-REFUSED")))
    assert refused >= 3, "nothing of this was named in a log"
    # What lies there greets an agent that starts anew, and is stale by definition.
    fleet.procs["f1"].kill()
    begun = len(fleet.procs["f1"].lines("reason=retained"))
    fleet.agent("f1")
    fleet.procs["f1"].wait_text("reason=retained", 15, count=begun + 1)
    # The real server is obeyed again.
    rogue.publish("helio/v1/rsp/f1", b"", retain=True)
    rogue.close()
    fleet.witnesses.remove(rogue)
    fleet.heliod()
    fleet.ctl("channel", "publish", "default", package)
    for client in ("f1", "f2"):
        wait_for(lambda: installed(fleet, client, package).exists(), 30)


def test_X_1_a_retained_or_misaddressed_heartbeat_is_counted_and_changes_nothing(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",)).up(agents=[])
    f1, f2 = fleet.principal("f1").sign_in(), fleet.principal("f2").sign_in()
    settle(f1)
    settle(f2)
    heard = fleet.client("f2")["last_heard_unix_ms"]
    heliod = fleet.procs["heliod"]
    # f1's words in f2's name, sealed with f1's keys: id in the payload, in the topic, and on another shard.
    f1.mark_seen()
    f1.send(f1.heartbeat(client_id="f2"))
    f2.link.publish(wire.hb_topic("f2"), wire.sealed(f1.heartbeat(), wire.hb_topic("f2"), mac_key=f1.mac_up), qos=0)
    wrong_shard = f"helio/v1/hb/{(int(wire.shard('f1'), 16) + 1) % 256:02x}/f1"
    f1.link.publish(wrong_shard, wire.sealed(f1.heartbeat(), wrong_shard, mac_key=f1.mac_up), qos=0)
    heliod.wait_text("GATE-REJECT", 10)
    f1.quiet(0.5)
    assert fleet.client("f2")["last_heard_unix_ms"] == heard
    # Left on the broker while the server is away, it greets the server at its next start.
    heliod.stop()
    f1.link.publish(wire.hb_topic("f1"), wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), mac_key=f1.mac_up), qos=1, retain=True)
    f1.mark_seen()
    mark = len(heliod.lines("GATE-REJECT"))
    fleet.heliod()
    heliod.wait_text("reason=retained", 10)
    assert len(heliod.lines("GATE-REJECT")) > mark
    f1.quiet(0.5)
    f1.link.publish(wire.hb_topic("f1"), b"", qos=1, retain=True)
    assert f1.beat().body.kind is not None
    assert f2.beat().in_reply_to_seq == f2.seq


# ---------------------------------------------------------------- content that lies

@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A fleet whose only publisher is made by hand and holds the release keys."""
    path = tmp_path_factory.mktemp("hostile")
    fleet = Fleet(path, clients=tuple(f"f{i}" for i in range(1, 16)), publishers=("rogue",), data_brokers=("da",),
                  server={"server": {"attempts_max": 1}, "data": {"recent_period_s": 0}})
    fleet.brokers()
    fleet.heliod()
    fleet.rogue = Publisher(fleet, "rogue")
    fleet.free = list(fleet.clients)
    yield fleet
    fleet.down()


def release(fleet, which="software"):
    return wire.read_key(fleet.ca / "keys" / f"{which}.key")


def device(fleet):
    """An agent of its own channel."""
    client = fleet.free.pop()
    fleet.ctl("channel", "create", f"only-{client}")
    fleet.ctl("client", "channel", client, f"only-{client}")
    fleet.agent(client)
    fleet.wait_client(client, lambda c: c["reach"] == "online" and c["state"] == "idle", 20)
    return client


def proven(fleet, content):
    wait_for(lambda: fleet.ctl("package", "show", content.hex)["state"] in ("stored", "linger"), 15, "it is read back")


def is_refused_and_the_next_good_one_works(fleet, client, bad, words):
    fleet.ctl("channel", "publish", f"only-{client}", bad.hex)
    agent = fleet.procs[client]
    line = agent.wait_text("FETCH-FAILED", 15)[0]
    assert re.search(words, line), line
    home = fleet.folder / client
    assert not installed(fleet, client, bad.hex).exists()
    slots = list((home / "slots").rglob("current")) if (home / "slots").exists() else []
    assert not slots, f"something was activated: {slots}"
    assert not list(fleet.folder.rglob("evil*")), "a file lies outside"
    good = Content({"bin/tool": os.urandom(3000), "readme": b"good"}, version="9").make(release(fleet), fleet.rogue.key)
    fleet.rogue.publish(good)
    proven(fleet, good)
    fleet.ctl("channel", "publish", f"only-{client}", good.hex)
    wait_for(lambda: installed(fleet, client, good.hex).exists(), 30, "the next good package installs")
    assert (installed(fleet, client, good.hex) / "files/readme").read_bytes() == b"good"
    agent.stop()


def long_case(value):
    return pytest.param(value, marks=pytest.mark.long)


@pytest.mark.parametrize("path", ["../../evil", "/tmp/evil-abs", *map(long_case, (
    "a/../../../evil", ".evil", "a//evil", "evil\n", "a/./evil", "evil\\..\\x", "evil%2e", "evil\u2024\u2024", "e" * 300))])
def test_C3_a_path_that_leaves_the_folder_is_refused_though_it_is_signed(hostile, path):
    client = device(hostile)
    content = Content({path: b"evil" * 300, "readme": os.urandom(200)}).make(release(hostile), hostile.rogue.key)
    hostile.rogue.publish(content)
    proven(hostile, content)
    is_refused_and_the_next_good_one_works(hostile, client, content, "reason=(path|manifest)")
    assert not os.path.exists("/tmp/evil-abs")


def lie_in_the_root(c):
    c.manifest.size_bytes += 1 << 30


def lie_in_the_pages_chunks(c):
    c.manifest.pages[0].chunk_count = c.manifest.chunk_count = 1


def lie_about_a_file(index, page):
    page.objects[0].chunk_count = 2


LIES = {
    "the root promises other bytes than its pages": ("bend", lie_in_the_root),
    "the root promises fewer chunks than its pages": ("bend", lie_in_the_pages_chunks),
    "the index yields other chunks than the manifest": ("bend_index", lie_about_a_file),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_package_whose_sizes_lie_is_refused_though_it_is_signed(hostile, lie):
    client = device(hostile)
    content = Content({"image.bin": os.urandom(70000), "readme": os.urandom(200)})
    setattr(content, *LIES[lie])
    content.make(release(hostile), hostile.rogue.key)
    hostile.rogue.publish(content)
    proven(hostile, content)
    is_refused_and_the_next_good_one_works(hostile, client, content, "reason=(manifest|index|no-space)")


def test_a_file_longer_than_its_signed_size_is_refused(hostile):
    client = device(hostile)
    content = Content({"image.bin": os.urandom(70000), "readme": os.urandom(200)})
    content.page.files[0].size_bytes = 100
    content.page.files[0].chunk_size.extend([70000])
    content.page.files[0].chunk_sha256 = content.page.files[0].sha256
    content.make(release(hostile), hostile.rogue.key)
    hostile.rogue.publish(content)
    proven(hostile, content)
    is_refused_and_the_next_good_one_works(hostile, client, content, "reason=(manifest|index)")


def good_content():
    return Content({"image.bin": os.urandom(70000), "readme": os.urandom(200)})


def test_S001_c9g_an_index_with_a_wrong_signature_is_never_used(hostile):
    client = device(hostile)
    content = good_content().make(release(hostile), hostile.rogue.key)
    broker = hostile.rogue.publish(content)
    proven(hostile, content)
    bad = wire.read_key(hostile.bundle("alice.1") / "identity.key")
    parsed = pb.Envelope()
    parsed.ParseFromString(content.index)
    hostile.rogue.put(broker, "idx", f"/{content.hex}/full", envelope(INDEX, parsed.payload, bad))
    is_refused_and_the_next_good_one_works(hostile, client, content, "reason=signature")


def test_S001_c9g_an_index_of_another_package_is_never_used(hostile):
    client = device(hostile)
    content, other = (good_content().make(release(hostile), hostile.rogue.key) for _ in range(2))
    broker = hostile.rogue.publish(content)
    proven(hostile, content)
    hostile.rogue.put(broker, "idx", f"/{content.hex}/full", other.index)
    is_refused_and_the_next_good_one_works(hostile, client, content, "reason=index")


def test_S001_c9g_a_manifest_signed_by_a_key_for_pictures_is_no_software(hostile):
    client = device(hostile)
    # The server takes no offer of it ...
    wrong = good_content().make(release(hostile, "image"), hostile.rogue.key)
    d = hostile.rogue.offer_package(wrong)
    assert d.kind == pb.DIRECTIVE_NOTED and d.reason.startswith("refused"), d
    # ... and a device does not believe it though it lies where the server's own lay.
    content = good_content().make(release(hostile), hostile.rogue.key)
    broker = hostile.rogue.publish(content)
    proven(hostile, content)
    parsed = pb.Envelope()
    parsed.ParseFromString(content.envelope)
    hostile.rogue.put(broker, "pkg", f"/{content.hex}", envelope(MANIFEST, parsed.payload, release(hostile, "image")))
    is_refused_and_the_next_good_one_works(hostile, client, content, "reason=signature")


def test_the_publishers_socket_takes_no_envelope_that_the_release_key_did_not_sign(fleet_of, folder):
    fleet = fleet_of(clients=(), data_brokers=("da",)).up()
    home = software(folder, 0.1)

    def call(fds=(), **request):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(str(fleet.folder / "pub.sock"))
            socket.send_fds(s, [json.dumps({"request": 1, **request}).encode()], list(fds))
            while True:
                answer = json.loads(s.recv(70000))
                if "ok" in answer:
                    return answer
    with open(home / "image.bin", "rb") as f:
        built = call([f.fileno()], verb="package-build", kind="software", name="tool", version="1")
    assert built["ok"], built
    payload = bytes.fromhex(built["manifest"])
    keys = {k: wire.read_key(fleet.ca / "keys" / f"{k}.key") for k in ("software", "image", "enrol")}
    for name, bad in {"image key": envelope(MANIFEST, payload, keys["image"]), "enrol key": envelope(MANIFEST, payload, keys["enrol"]),
                      "nobody": envelope(MANIFEST, payload), "another purpose": envelope("x", payload, keys["software"]),
                      "other bytes": envelope(MANIFEST, payload + b"\x08\x01", keys["software"]), "rubbish": b"\xff" * 80}.items():
        answer = call(verb="package-sign", package=built["package"], envelope=bad.hex())
        assert not answer["ok"] and answer["error"], name
    refused = call(verb="package-publish", package=built["package"])
    assert not refused["ok"], "an unsigned package is not offered"
    assert call(verb="package-sign", package=built["package"], envelope=envelope(MANIFEST, payload, keys["software"]).hex())["ok"]
    assert call(verb="package-publish", package=built["package"])["ok"]


# ---------------------------------------------------------------- the agent's state

def test_a_corrupted_state_file_falls_back_to_its_previous_copy(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    package = fleet.software_package("app", "1", software(folder, 0.5))
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, "f1", package).exists(), 20)
    fleet.wait_client("f1", lambda c: c["state"] == "idle", 15)
    agent, state = fleet.procs["f1"], fleet.folder / "f1"
    # One copy bad: named, and everything goes on from the one before.
    agent.kill()
    data = bytearray((state / "state.bin").read_bytes())
    data[len(data) // 2] ^= 0x20
    (state / "state.bin").write_bytes(bytes(data))
    fleet.agent("f1")
    agent.wait_text("STATE-", 10)
    fleet.ctl("exec", "f1", "ping")
    fleet.wait_client("f1", lambda c: c["reach"] == "online" and c["private_elements"] == 0 and c["state"] == "idle", 30)
    assert installed(fleet, "f1", package).exists()
    # Both bad: a new store for the server, the packages stay and are believed only by their manifests.
    for wreck in (b"", b"rubbish\n" * 100):
        agent.kill()
        for name in ("state.bin", "state.prev"):
            (state / name).write_bytes(wreck)
        lost = len(agent.lines("STATE-LOST"))
        fleet.agent("f1")
        agent.wait_text("STATE-LOST", 10, count=lost + 1)
        fleet.ctl("exec", "f1", "ping")
        fleet.wait_client("f1", lambda c: c["reach"] == "online" and c["private_elements"] == 0 and c["state"] == "idle", 30)
        assert installed(fleet, "f1", package).exists()
    pongs = [r for r in operations(fleet, "f1", "execute-command") if r["detail"] == "pong"]
    assert len(pongs) == 3 and all(r["outcome"] == "done" for r in pongs), pongs


def test_a_second_agent_on_one_state_folder_is_refused(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    second = subprocess.run([PROGRAMS["helio-agent"], "--config", fleet.folder / "f1.ini"], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=10, env={**os.environ, "HELIO_TEST": "1"})
    assert second.returncode not in (0, None)
    assert re.search("another|lock|in use", second.stdout), second.stdout
    session = fleet.client("f1")["session_id"]
    fleet.ctl("exec", "f1", "ping")
    fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 15)
    assert fleet.client("f1")["session_id"] == session, "the first one was disturbed"
    # The lock dies with its holder.
    fleet.procs["f1"].kill()
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["session_id"] != session and c["reach"] == "online", 20)


# ---------------------------------------------------------------- ends

def ends_in_time(proc):
    begin = time.monotonic()
    code = proc.stop(timeout=5)
    assert code == 0, f"{proc.name} ended with {code} after {time.monotonic() - begin:.1f} s"


def test_sigterm_ends_every_program_within_5_s_also_in_mid_work(fleet_of, folder):
    fleet = slow(fleet_of(clients=("f1", "f2"), data_brokers=("da",)), 2_000_000).up()
    start_rollout(fleet, folder, 8, at=500_000)
    for name in ("f1", "pub", "heliod"):
        ends_in_time(fleet.procs[name])
    # With brokers that accept and say nothing, and with none at all.
    fleet.heliod()
    fleet.publisher()
    fleet.procs["broker-control"].pause()
    fleet.procs["broker-da"].pause()
    begun = len(fleet.procs["f1"].lines(" AGENT "))
    fleet.agent("f1")
    fleet.procs["f1"].wait_text(" AGENT ", 10, count=begun + 1)
    try:
        for name in ("f1", "f2", "pub", "heliod"):
            ends_in_time(fleet.procs[name])
    finally:
        fleet.procs["broker-control"].go_on()
        fleet.procs["broker-da"].go_on()
    fleet.procs["broker-control"].kill()
    fleet.procs["broker-da"].kill()
    fleet.heliod(wait=False)
    fleet.publisher()
    fleet.agent("f1")
    fleet.procs["f1"].wait_text("LINK-DOWN", 15, count=len(fleet.procs["f1"].lines("LINK-DOWN")) + 1)
    for name in ("f1", "pub", "heliod"):
        ends_in_time(fleet.procs[name])
    fleet.brokers()


# ---------------------------------------------------------------- revoked and removed

@pytest.mark.parametrize("how", ["revoke", "remove"])
def test_a_client_that_is_revoked_or_removed_is_shut_out_at_once(fleet_of, folder, how):
    fleet = slow(fleet_of(clients=("f1", "f2"), data_brokers=("da",)), 2_000_000).up(agents=["f2"])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    package = fleet.software_package("app", "1", software(folder, 1))
    fleet.ctl("client", how, "f1")
    f1.mark_seen()
    f1.send(f1.heartbeat())
    fleet.procs["heliod"].wait_text("GATE-REJECT", 5)
    # No answer to a beat, no grant to a want, no offer to a sign-in.
    want = pb.Want(schema=1, client_id="f1", session_id=f1.session_id, seq=1, boot=f1.boot)
    want.fetch.package, want.fetch.publisher, want.fetch.request_id = bytes.fromhex(package), "pub", 1
    topic = f"helio/v1/want/{wire.shard('f1')}/f1"
    f1.link.publish(topic, wire.sealed(want, topic, mac_key=f1.mac_up))
    f1.link.publish(wire.hb_topic("f1"), f1.sign_in_payload(os.urandom(32)), qos=0)
    f1.quiet(0.8)
    assert not f1.link.of("helio/v1/grant/f1") and len(f1.link.of("helio/v1/offer/f1")) == 1
    assert fleet.client("f2")["reach"] == "online"
    f1.close()
    fleet.witnesses.remove(f1)
    # What is revoked stays out until it was removed; then it can be enrolled again.
    refused = fleet.ctl("client", "add", "f1", check=False)
    if how == "revoke":
        assert refused.returncode != 0 and "remove it" in refused.stderr
        fleet.ctl("client", "remove", "f1")
        fleet.ctl("client", "add", "f1")
    again = fleet.principal("f1").sign_in()
    settle(again)


def test_an_agent_that_is_revoked_in_mid_transfer_loses_its_lease(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), 
                     server={"server": {"rate_bytes_per_s": 1_000_000, "reconnect_spread_s": 0}, "data": {"linger_s": 1}}).up()
    package, _ = start_rollout(fleet, folder, 16, at=500_000)
    heliod = fleet.procs["heliod"]
    fleet.ctl("client", "revoke", "f1")
    heliod.wait_text("LEASE-END client=f1", 3)
    heliod.wait_text("reason=revoked", 5)
    # Nobody else wants it: the publisher is told to stop, and what was not fetched until then is not fetched any more.
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stopping", "waiting"), 10, "it is withdrawn")
    wait_for(lambda: fleet.mosquitto_sub(f"helio/v1/idx/pub/{package}/full", "-C", "1", broker="da", timeout=1, check=False) == b"", 10)
    stays(lambda: not installed(fleet, "f1", package).exists(), 1)
    assert fleet.procs["f1"].alive()
