"""Information that a device sends: logs, software, usage, a screenshot; to the address that the server names; in parts
that go on where they were after either side was killed."""
import hashlib
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import time
import zlib

import pytest

from lib import wire
from lib.fleet import PROGRAMS
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
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200,
                     agent={"logs": {"unit": [f"device file {log}", f"said run /bin/echo one two; cat {folder}/secret",
                                              f"pipe file {folder}/pipe"]}}).up()
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
    log.write_text("\n".join(noise(44_000)) + "\n")     # 3.2 MB: 25 parts
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
    assert 3 <= at_kill < 25
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
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(("\n".join(noise(44_000)) + "\n").encode()).digest()
    # On the wire: one report, and beside what was on the way when somebody was killed nothing came twice.
    wait_for(lambda: len({p.part for p in parts_of(watch)}) >= 25, 10, "all parts are recorded")
    parts = parts_of(watch)
    assert len({p.report_id for p in parts}) == 1 and {p.part for p in parts} == set(range(25))
    assert len(parts) <= 25 + 2 * 4, [p.part for p in parts]
    told = [m.decode(pb.Response) for m in watch.of("helio/v1/rsp/")]
    assert {r.open_report_parts for r in told} - {0}
    assert held() == 0 and fleet.sql("SELECT COUNT(*) FROM report WHERE what = 5") == "1"


def test_S000_4_software_is_the_agent_its_packages_and_where_allowed_every_package_of_the_system(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",))
    fleet.up(agents=())
    fleet.agent("f1", {"agent": {"inventory": True}})
    fleet.agent("f2")

    def software(client):
        fleet.ctl("ask", client, "software", "--wait")
        return {row["name"]: row["version"] for row in fleet.ctl("reports", client, "software")["software"]}
    mine, other = software("f1"), software("f2")
    # Debian's own answer is the witness; the report has room for 4000 rows, less the agent's own.
    lines = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\t${Version}\n"], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    dpkg = {name: version for name, version in rows if version and len(name) <= 64 and len(version) <= 64}
    assert len(dpkg) > 50 and mine["helio-agent"] and set(other) == {"helio-agent"}
    assert {name: mine.get(name) for name in dpkg} == dpkg or len(mine) >= 3990


def test_S001_c21_usage_has_only_rows_since_then_and_the_future_gives_an_empty_report(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200).up()
    watch = fleet.watch(REPORTS)
    meet = fleet.folder / "f1" / "display"
    meet.mkdir(exist_ok=True)
    boot, package, start = "0123456789abcdef" * 2, "ab" * 32, (int(time.time()) - 4 * 86_400) * 1000    # within what the server keeps
    rows = [(n, start + n * 10_000) for n in range(1, 1001)]
    (meet / "shown.log").write_text("".join(f"{n}\t{boot}\t{package}\tpicture-{n}.png\t{at}\t9000\t3\n" for n, at in rows))

    def usage(*more):
        seen = len(parts_of(watch))
        fleet.ctl("ask", "f1", "usage", "--wait", *more)
        return wait_for(lambda: (lambda came: came and {p.part for p in came} == set(range(came[0].parts)) and came)(parts_of(watch)[seen:]),
                        10, "its parts are recorded")
    since = rows[700][1]
    answer = usage("--since", since)
    assert [s.from_unix_ms for p in answer for s in p.usage] == [at for _, at in rows[700:]]
    assert int(fleet.sql("SELECT COUNT(*) FROM usage")) == 300
    # The same question again: no row twice.
    usage("--since", since)
    assert int(fleet.sql("SELECT COUNT(*) FROM usage")) == 300
    future = usage("--since", 4_000_000_000_000)
    assert len(future) == 1 and not future[0].usage and future[0].what == pb.INFO_USAGE
    fleet.wait_client("f1", lambda c: c["state"] == "idle", 10)
    # All of it, in parts; control: the ledger has so many rows.
    everything = usage()
    assert everything[0].parts == 3 and sum(len(p.usage) for p in {p.part: p for p in everything}.values()) == 1000
    assert int(fleet.sql("SELECT COUNT(*), COUNT(DISTINCT ledger_seq) FROM usage").split("|")[0]) == 1000


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    return struct.unpack(">II", data[16:24])


def test_S000_4_a_screenshot_is_what_the_screen_shows_and_fits_the_limit(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200).up()
    picture = folder / "noise.png"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "nullsrc=s=640x360,geq=random(1)*255:128:128",
                    "-frames:v", "1", picture], check=True)
    package = fleet.image_package("noise", "1", [picture])
    fleet.ctl("channel", "publish", "default", package)
    out = folder / "shot.png"
    with Screen(fleet, "f1", 640, 360) as screen:
        wait_for(lambda: screen.ledger() or "noise" in ((screen.meet / "status").read_text()
                                                       if (screen.meet / "status").exists() else ""), 30, "it is shown")
        fleet.ctl("ask", "f1", "screenshot", "--wait", "--out", out)
        assert png_size(out.read_bytes()) == (640, 360)
        whole = out.stat().st_size
        camera, shot = (subprocess.run(["ffmpeg", "-loglevel", "error", *where, "-frames:v", "1", "-f", "rawvideo",
                                        "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True).stdout
                        for where in (["-f", "x11grab", "-video_size", "640x360", "-i", screen.name], ["-i", out]))
        assert camera == shot, "the camera in front of the screen sees something else"
        limit = whole // 5
        fleet.ctl("ask", "f1", "screenshot", "--wait", "--out", out, "--max-bytes", limit)
        width, height = png_size(out.read_bytes())
        assert out.stat().st_size <= limit and 100 < width < 640 and abs(width / height - 16 / 9) < 0.05
        refused = fleet.ctl("ask", "f1", "screenshot", "--wait", "--max-bytes", 50, check=False)
        assert refused.returncode != 0 and re.search(r"still takes \d+ bytes, at most 50", refused.stderr), refused.stderr


# The program's own witness of how it was called; then what the test wants of it.
JOURNAL = r'''
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
with open(folder / "called", "a") as f:
    f.write(json.dumps(sys.argv[2:]) + "\n")
if "--unit=large" in sys.argv:
    for n in range(50000):
        print(f"2026-11-21T10:00:00+0000 host large[1]: line {n} " + "x" * 60)
elif "--unit=slow" in sys.argv:
    time.sleep(60)
else:
    print("2026-11-21T10:00:00+0000 host x[1]: hello")
'''
NASTY = "; touch hit $(touch hit) `touch hit` --file=/etc/shadow"


def logs_of(fleet, folder):
    def ask(*more, check=True):
        out = folder / "out"
        out.unlink(missing_ok=True)
        done = fleet.ctl("ask", "f1", "logs", "--wait", "--out", out, *more, check=False, timeout=60)
        assert (done.returncode == 0) == check, done
        return out.read_text().splitlines() if check else done.stdout + done.stderr
    return ask


def test_S000_4_the_journal_is_read_by_words_and_within_limits(fleet_of, folder):
    script = folder / "journal.py"
    script.write_text(JOURNAL)
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200,
                     agent={"logs": {"journal": f"/usr/bin/python3 {script} {folder}",
                                     "unit": ["shop journal shop@1.service", "large journal large"]}}).up()
    ask = logs_of(fleet, folder)
    assert ask("--unit", "shop", "--since", 1_795_200_000_999, "--lines", 7, "--pattern", NASTY) == []
    assert ask("--unit", "shop", "--lines", 7) == ["2026-11-21T10:00:00+0000 host x[1]: hello"]
    # A name that the settings do not have reaches no program; and a unit in them is a unit.
    assert "the settings name no unit" in ask("--unit", NASTY, check=False)
    bad = fleet.folder / "bad.ini"
    bad.write_text((fleet.folder / "f1.ini").read_text().replace("shop@1.service", "shop $(touch hit)"))
    refused = subprocess.run([PROGRAMS["helio-agent"], "--check-config", "--config", bad], stdout=subprocess.PIPE,
                             env={**os.environ, "HELIO_TEST": "1"},
                             stderr=subprocess.STDOUT, text=True)
    assert refused.returncode != 0 and "is no unit of the journal" in refused.stdout, refused
    fixed = ["--no-pager", "--quiet", "--output=short-iso", "--unit=shop@1.service"]
    calls = [json.loads(line) for line in (folder / "called").read_text().splitlines()]
    assert calls == [[*fixed, "--since=@1795200000"], [*fixed, "--lines=7"]], calls
    assert not list(folder.rglob("hit")), "something was given to a shell"
    # More is said than is read, and more is read than is wanted: the newest whole lines.
    lines = ask("--unit", "large", "--max-bytes", 100_000)
    assert 800 < len(lines) and sum(len(l) + 1 for l in lines) <= 100_000 and " line 49999 " in lines[-1]
    assert fleet.ctl("reports", "f1", "logs")["truncated"]


@pytest.mark.long
def test_S000_4_a_journal_that_does_not_end_is_ended(fleet_of, folder):
    script = folder / "journal.py"
    script.write_text(JOURNAL)
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200,
                     agent={"logs": {"journal": f"/usr/bin/python3 {script} {folder}", "unit": ["slow journal slow"]}}).up()
    assert "took longer than 10 s" in logs_of(fleet, folder)("--unit", "slow", check=False)


REMOTE = pathlib.Path("/lib/systemd/systemd-journal-remote")


def test_S000_4_a_real_journal_is_read_by_unit_and_date(fleet_of, folder):
    """The journal's own programs write it and, through the agent, read it."""
    began = 1_795_255_000
    entries = "".join(
        f"__REALTIME_TIMESTAMP={(began + n) * 1_000_000}\n__MONOTONIC_TIMESTAMP={n + 1}\n_BOOT_ID={'0' * 31}1\n"
        f"_SYSTEMD_UNIT={unit}.service\nSYSLOG_IDENTIFIER={unit}\nPRIORITY=6\nMESSAGE={unit} says {n}\n\n"
        for n in range(40) for unit in ("shop", "other"))
    journal = folder / "j" / "a.journal"
    journal.parent.mkdir()
    subprocess.run([REMOTE, "-o", journal, "-"], input=entries, text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200,
                     agent={"logs": {"journal": f"/usr/bin/journalctl --file {journal}", "unit": ["shop journal shop.service"]}}).up()
    ask = logs_of(fleet, folder)

    def said(*more):
        return [l.split(": ", 1)[1] for l in ask("--unit", "shop", *more)]
    assert said() == [f"shop says {n}" for n in range(40)]
    assert said("--since", (began + 35) * 1000) == [f"shop says {n}" for n in range(35, 40)]
    assert said("--lines", 2) == ["shop says 38", "shop says 39"]
    assert said("--pattern", "says 1", "--lines", 3) == ["shop says 17", "shop says 18", "shop says 19"]


def test_S001_c22_the_address_that_the_server_names_is_where_the_report_goes(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da", "db"))
    allowed = f"localhost:{fleet.port['da']}"
    log = folder / "big.log"
    log.write_text("\n".join(noise(8_000)) + "\n")      # 570 kB: 5 parts
    fleet.agent_extra = {"agent": {"report_to": [allowed, f"127.0.0.1:{fleet.port['da']}"]},
                         "logs": {"unit": [f"big file {log}"]}}
    fleet.up()
    control = fleet.watch(REPORTS)
    there = fleet.capture("helio/v1/inbox/f1", broker="da")
    fleet.ctl("ask", "f1", "display", "--wait")
    home = len(wait_for(lambda: parts_of(control), 10, "it comes home"))
    assert not fleet.captured(there), "the default is the client's report topic at home"
    fleet.ctl("ask", "f1", "display", "--wait", "--to", "da")
    (_, topic, payload), *_ = wait_for(lambda: fleet.captured(there), 10, "it lies in the inbox of da")
    assert topic == "helio/v1/inbox/f1" and "what: INFO_DISPLAY" in fleet.protoc("Report", payload)
    assert len(parts_of(control)) == home
    report = pb.Report.FromString(payload)
    stored = fleet.ctl("reports", "f1", "display")
    assert stored["report_id"] in (report.report_id, str(report.report_id))
    assert any("via=da" in line for line in fleet.procs["heliod"].lines("REPORT "))
    # A large one goes there in parts, and only there; how many are held is told at home.
    out = folder / "out"
    fleet.ctl("ask", "f1", "logs", "--unit", "big", "--max-bytes", 1_000_000, "--to", "da", "--wait", "--out", out)
    wait_for(lambda: {r.part for r in (pb.Report.FromString(p) for *_, p in fleet.captured(there)) if r.parts > 1} == set(range(5)), 10,
             "all parts lie in the inbox of da")
    assert out.read_bytes() == log.read_bytes() and len(parts_of(control)) == home
    # A broker that the settings of the device do not allow: refused, and nobody connected to it.
    refused = fleet.ctl("ask", "f1", "display", "--wait", "--to", "db", check=False)
    assert refused.returncode != 0 and "not one that the settings allow" in refused.stderr
    assert "as f1 " in fleet.broker_log("da") and "as f1 " not in fleet.broker_log("db")


def test_S000_4_the_server_asks_only_for_what_is_older_than_the_policy_says(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, server={"freshness": {"software_s": 3600}})
    fleet.up(agents=())
    watch = fleet.watch("helio/v1/rsp/f1")
    fleet.agent("f1")

    def asked(what=pb.INFO_DISPLAY):
        return len({b.op_id for b in (m.decode(pb.Response).body for m in watch.of("helio/v1/rsp/"))
                    if b.kind == pb.SEND_INFORMATION and b.send.what == what})
    # The settings' own policy: what was never told is asked for, once.
    wait_for(lambda: asked(pb.INFO_SOFTWARE) == 1, 10)
    fleet.wait_client("f1", lambda c: c["state"] == "idle" and not c["private_elements"], 10)
    assert fleet.ctl("reports", "f1", "software")["software"][0]["name"] == "helio-agent"
    # Control: without a policy nobody asks.
    stays(lambda: asked() == 0, 1.0)
    fleet.ctl("ask", "f1", "display", "--wait")
    assert asked() == 1
    # Fresh: the copy answers, and nothing is on the wire.
    first = fleet.ctl("reports", "f1", "display")["received_unix_ms"]
    copy = fleet.ctl("ask", "f1", "display", "--max-age", 600)
    assert copy["received_unix_ms"] == first and "display" in copy
    stays(lambda: asked() == 1, 0.6)
    # Another question has no copy; an old copy is none.
    assert "flow" in fleet.ctl("ask", "f1", "display", "--max-age", 600, "--lines", 3)
    wait_for(lambda: asked() == 2, 10)
    fleet.wait_client("f1", lambda c: c["state"] == "idle" and not c["private_elements"], 10)
    fleet.ctl("ask", "f1", "display", "--wait")
    assert asked() == 3
    wait_for(lambda: time.time() * 1000 - fleet.ctl("reports", "f1", "display")["received_unix_ms"] > 1000, 5)
    assert "flow" in fleet.ctl("ask", "f1", "display", "--max-age", 1)
    wait_for(lambda: asked() == 4, 10)
    # The policy: of its own accord, once in a second, and it outlives the server.
    fleet.ctl("freshness", "display", 1)
    wait_for(lambda: asked() >= 6, 15, "the server asks by itself")
    times = sorted({m.decode(pb.Response).body.op_id: m.at for m in reversed(watch.of("helio/v1/rsp/"))
                    if m.decode(pb.Response).body.send.what == pb.INFO_DISPLAY}.values())
    assert times[-1] - times[-2] >= 0.9, times
    fleet.procs["heliod"].kill()
    fleet.heliod()
    assert {"what": "display", "max_age_s": 1, "by_settings_s": 0} in fleet.ctl("freshness")["freshness"]
    assert {"what": "software", "max_age_s": 3600, "by_settings_s": 3600} in fleet.ctl("freshness")["freshness"]
    assert asked(pb.INFO_SOFTWARE) == 1, "it is fresh for an hour"
    fleet.ctl("freshness", "display", "settings")
    assert {"what": "display", "max_age_s": 0, "by_settings_s": 0} in fleet.ctl("freshness")["freshness"]


def test_S001_c17_a_report_is_counted_once_and_only_when_it_was_asked_for(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",))
    fleet.up(agents=())
    device = fleet.principal("f1").sign_in()
    r = device.beat()
    while r.body.kind != pb.SEND_INFORMATION:
        r = device.beat()
    holdings = pb.Report(schema=1, client_id="f1", session_id=device.session_id, boot=device.boot, report_id=1,
                         op_id=r.body.op_id, what=pb.INFO_HOLDINGS, parts=1, seq=1)
    holdings.holdings.full = True
    topic = f"helio/v1/report/{wire.shard('f1')}/f1"
    device.link.publish(topic, wire.sealed(holdings, topic, mac_key=device.mac_up))
    device.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    fleet.ctl("ask", "f1", "usage")
    while not (r.body.kind == pb.SEND_INFORMATION and r.body.send.what == pb.INFO_USAGE):
        r = device.beat()
    question, began = r.body.op_id, (int(time.time()) - 4 * 86_400) * 1000

    def report(seq, report_id, op_id=question, rows=1, client="f1"):
        m = pb.Report(schema=1, client_id=client, session_id=device.session_id, boot=device.boot, report_id=report_id,
                      op_id=op_id, what=pb.INFO_USAGE, parts=1, seq=seq)
        for n in range(rows):
            m.usage.add(ledger_seq=100 * report_id + n + 1, boot_counter=1, package=b"\1" * 32, image="a.png",
                        from_unix_ms=began + n, duration_ms=1000, clock_quality=3)
        return m

    def rows():
        return int(fleet.sql("SELECT COUNT(*) FROM usage"))

    def send(m, on=topic):
        sent = wire.sealed(m, on, mac_key=device.mac_up)
        device.link.publish(on, sent)
        return sent
    # Never asked: no row, also for an id that was asked of somebody else or for something else.
    send(report(2, 2, op_id=question + 77))
    wrong = report(3, 2)
    wrong.what = pb.INFO_DISPLAY
    wrong.ClearField("usage")
    wrong.display.width_px = 1
    send(wrong)
    wait_for(lambda: len(fleet.procs["heliod"].lines("REPORT-REFUSED")) == 2, 10)
    assert rows() == 0 and fleet.sql("SELECT COUNT(*) FROM report WHERE what IN (1, 2)") == "0"
    # Asked: its rows, once; the same again, a replay, and one on another's topic: none.
    good = send(report(4, 3, rows=5))
    wait_for(lambda: rows() == 5, 10)
    send(report(5, 3, rows=5))
    device.link.publish(topic, good)
    foreign = f"helio/v1/report/{wire.shard('f2')}/f2"
    send(report(6, 4, client="f2"), on=foreign)
    send(report(7, 4), on=foreign)
    device.beat()
    wait_for(lambda: fleet.procs["heliod"].lines("reject reason=replay"), 10)
    stays(lambda: rows() == 5, 0.5)
    told = device.beat()
    assert told.acked_report_id == 3
    assert len(fleet.procs["heliod"].lines("REPORT client=f1 what=usage")) == 1
