"""A device that reads gigabytes of its own files before anything is fetched. Witnesses: mosquitto_sub's recording of the control broker, the data
broker's log, the kernel's count of what the agent read, sha256sum."""
import os
import re
import time

from lib.presence import Record
from lib.wait import wait_for
from lib import wire

from test_delta import NAME, assert_same_files, installed, program, sent

pb = wire.pb
PATIENCE_S = 1      # [data] stalled_after_s
DISK_BYTES = 3 << 29    # a hole: it is read and hashed as any other file, and takes no room


def read_bytes(fleet, client):
    """What the process asked the kernel for, from its start."""
    with open(f"/proc/{fleet.procs[client].p.pid}/io") as f:
        return int(re.search(r"rchar: (\d+)", f.read())[1])


def looks(record, client, package):
    """(second, MB of its own files, chunks it has) of each heartbeat with a holding of this package."""
    return [(at, h.looked_mb, h.chunks_have) for at, topic, beat in record.of("helio/v1/hb/", pb.Heartbeat)
            for h in beat.holdings.items if topic.endswith(f"/{client}") and h.package.hex() == package]


def told(fleet, client):
    return [(int(n), int(hashed)) for n, hashed in re.findall(r" SEEDS files=\d+ chunks=(\d+) hashed=(\d+)$", fleet.procs[client].text(), re.M)]


def test_S001_c30_seeds_are_hashed_once_and_whoever_does_is_not_stalled(fleet_of, folder):
    """The whole look takes several times as long as a transfer may stand. Control: the same fetch after a restart reads a hundredth, and what
    became another file is read again."""
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=250,
                     server={"data": {"recent_period_s": 0, "stalled_after_s": PATIENCE_S}, "server": {"reconnect_spread_s": 0}})
    homes = {n: program(folder, n, 900_000) for n in (1, 2, 3)}
    made_with, disk = folder / "opt/app", folder / "disk.img"
    made_with.mkdir(parents=True)
    code = bytearray((homes[1] / NAME).read_bytes())
    code[100:104] = b"made"
    (made_with / "other-name").write_bytes(code)
    disk.touch()
    os.truncate(disk, DISK_BYTES)
    fleet.up(agents=[])
    record = Record(fleet)
    fleet.agent_extra = {"agent": {"seed": [made_with, disk]}}
    fleet.agent("f1")
    package = {1: fleet.software_package("app", "1", homes[1])}
    fleet.ctl("channel", "publish", "default", package[1])
    installed(fleet, "f1", package[1], 90)
    wait_for(lambda: told(fleet, "f1"), 10, "the seeds are told of")
    assert told(fleet, "f1")[0][1] > DISK_BYTES / (768 << 10)
    assert_same_files(fleet, "f1", package[1], homes[1])
    assert sum(n for topic, n in sent(fleet, "f1") if "/chunk/" in topic) < 450_000     # most of it came from the seed
    rows = wait_for(lambda: [r for r in looks(record, "f1", package[1]) if r[1]], 20, "heartbeats tell of it")
    seconds = rows[-1][0] - rows[0][0]
    print(f"{len(rows)} heartbeats in {seconds:.1f} s tell {rows[0][1]} to {rows[-1][1]} MB")
    assert seconds > 1.5 * PATIENCE_S and not any(have for _, _, have in rows), "long enough to be a stall"
    assert [mb for _, mb, _ in rows] == sorted(mb for _, mb, _ in rows) and len({mb for _, mb, _ in rows}) > 3
    assert "FETCH-STALLED" not in fleet.procs["heliod"].text()
    assert fleet.ctl("counters")["counters"]["presence.stalls"] == 0
    assert len(record.grants("f1", package[1])) == 1

    # Started anew, it knows them by its list.
    assert (fleet.folder / "f1" / "seeds.list").stat().st_size < 400_000
    fleet.procs["f1"].stop()
    fleet.agent("f1")
    package[2] = fleet.software_package("app", "2", homes[2])
    fleet.ctl("channel", "publish", "default", package[2])
    installed(fleet, "f1", package[2])
    wait_for(lambda: len(told(fleet, "f1")) == 2, 10, "the seeds are told of")
    assert told(fleet, "f1")[1][1] == 0
    assert read_bytes(fleet, "f1") < DISK_BYTES / 100

    # Another file by its times: read again; told to stop meanwhile, it stops.
    os.utime(disk)
    package[3] = fleet.software_package("app", "3", homes[3])
    fleet.ctl("channel", "publish", "default", package[3])
    wait_for(lambda: read_bytes(fleet, "f1") > DISK_BYTES / 20, 30, "it reads it again")
    began = time.monotonic()
    fleet.procs["f1"].stop()
    took = time.monotonic() - began
    text = fleet.procs["f1"].text()
    print(f"stopped within {took:.2f} s")
    assert re.search(r" SEEDS .* hashed=\d+ ended$", text, re.M) and took < seconds / 2 + 1
