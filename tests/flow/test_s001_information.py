"""Information that a device sends: logs, software, usage, a screenshot; to the address that the server names; in parts
that go on where they were after either side was killed."""
import hashlib
import os
import random
import re
import struct
import subprocess
import time
import zlib

from lib import wire
from lib.screen import Screen
from lib.wait import stays, wait_for
from test_s001_reports import gallery

pb = wire.pb
REPORTS = "helio/v1/report/#"


def noise(count, seed=7):
    """Lines that nothing can guess: number, and a hash."""
    r = random.Random(seed)
    return [f"{n:06d} {r.getrandbits(256):064x}" for n in range(count)]


def operation(fleet, asked):
    return fleet.ctl("flow", asked["flow"])["clients"][0] if "flow" in asked else None


def parts_of(watch):
    return [m.decode(pb.Report) for m in watch.of("helio/v1/report/")]


def test_S000_4_logs_come_by_unit_date_pattern_and_lines(fleet_of, folder):
    log = folder / "device.log"
    stamps = [f"2026-11-{day:02d}T10:00:00Z" for day in range(1, 21)]
    lines = [f"{s} camera frame {n} {'ok' if n % 2 else 'LOST'}" for n, s in enumerate(stamps)]
    log.write_text("\n".join(lines) + "\n")
    (folder / "secret").write_text("nobody may read this\n")
    fleet = fleet_of(clients=("f1",), data_brokers=("da",),
                     agent={"logs": {"unit": [f"device file {log}", f"said run /bin/echo one two; cat {folder}/secret",
                                              "slow run /bin/sleep 60", f"pipe file {folder}/pipe"]}}).up()
    os.mkfifo(folder / "pipe")

    def ask(*more, ok=True):
        out = folder / "out"
        done = fleet.ctl("ask", "f1", "logs", "--wait", "--out", out, *more, check=False)
        assert (done.returncode == 0) == ok, done.stderr
        return out.read_text() if ok else done.stderr
    assert ask("--unit", "device") == log.read_text()
    assert ask("--unit", "device", "--lines", 3) == "\n".join(lines[-3:]) + "\n"
    assert ask("--unit", "device", "--pattern", "LOST") == "".join(l + "\n" for l in lines if "LOST" in l)
    day15 = 1794736800000       # date -d 2026-11-15T10:00:00Z +%s000
    assert ask("--unit", "device", "--since", day15) == "\n".join(lines[14:]) + "\n"
    assert ask("--unit", "device", "--since", day15, "--pattern", "ok", "--lines", 1) == lines[-1] + "\n"
    # A limit: whole lines, the newest, and it is said.
    small = ask("--unit", "device", "--max-bytes", 100)
    assert small and len(small) <= 100 and log.read_text().endswith(small) and small.startswith("2026-")
    assert fleet.ctl("reports", "f1", "logs")["truncated"]
    # No shell: what follows is words of the same program.
    assert ask("--unit", "said") == f"one two; cat {folder}/secret\n"
    # Its own records, always there.
    assert "SESSION client=f1" in ask() and "OP-BEGIN" in ask("--unit", "agent", "--pattern", "OP-BEGIN")
    # What is not named cannot be read, whatever it is called.
    for unit in ("/etc/passwd", "../secret", "nginx"):
        assert "unknown log" in ask("--unit", unit, ok=False)
    assert "is no file" in ask("--unit", "pipe", ok=False)


def test_S000_4_a_report_in_parts_goes_on_after_either_side_was_killed(fleet_of, folder):
    log = folder / "big.log"
    log.write_text("\n".join(noise(22_000)) + "\n")     # 1.6 MB: 13 parts
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=300,
                     agent={"logs": {"unit": [f"big file {log}"]}}).up()
    watch = fleet.watch(REPORTS, "helio/v1/rsp/f1")
    asked = fleet.ctl("ask", "f1", "logs", "--unit", "big", "--max-bytes", 4_000_000)

    def held():
        rows = fleet.sql("SELECT COUNT(*) FROM report_part")
        return int(rows or 0)
    wait_for(lambda: held() >= 3, 10, "some parts are held", every=0.02)
    fleet.procs["f1"].kill()
    at_kill = held()
    assert 3 <= at_kill < 13
    log.write_text("the log is another now\n")          # the report was made before
    fleet.agent("f1")
    wait_for(lambda: held() > at_kill, 15, "it goes on", every=0.02)
    fleet.procs["heliod"].kill()
    at_server_kill = held()
    fleet.heliod()
    fleet.wait_client("f1", lambda c: c["state"] == "idle" and c["private_elements"] == 0, 30)
    assert fleet.ctl("flow", asked["flow"])["done"] == 1
    out = folder / "out"
    fleet.ctl("reports", "f1", "logs", "--out", out)
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(("\n".join(noise(22_000)) + "\n").encode()).digest()
    # On the wire: one report, and beside what was on the way when somebody was killed nothing came twice.
    parts = parts_of(watch)
    assert len({p.report_id for p in parts}) == 1 and {p.part for p in parts} == set(range(13))
    assert len(parts) <= 13 + 2 * 4, [p.part for p in parts]
    told = [m.decode(pb.Response) for m in watch.of("helio/v1/rsp/")]
    assert {r.open_report_parts for r in told} - {0}
    assert held() == 0 and fleet.sql("SELECT COUNT(*) FROM report WHERE what = 5") == "1"
