"""US 8,949,380 / claim 17: what was shown comes back, is counted once, and can be asked for in sums and as a whole.
The ledger that the display wrote, and sqlite3 over the server's store, are the witnesses."""
import csv
import io
import json
import time
from collections import Counter

from lib import wire
from lib.orders import png
from lib.screen import Screen
from lib.wait import wait_for

pb = wire.pb
BOOT = "0123456789abcdef" * 2
HOUR_MS = 3_600_000


def days_ago(days):
    """Within what the server keeps, whenever this runs."""
    return (int(time.time()) - days * 86_400) * 1000


def asked(fleet, client, *more):
    return fleet.ctl("ask", client, "usage", "--wait", *more)


def sums(fleet, *args):
    answer = fleet.ctl("usage", "sums", *args)
    return {one["key"]: (one["shown"], one["duration_ms"]) for one in answer["sums"]}


def test_S001_c17_usage_of_a_real_display_comes_back_and_is_summed(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200).up()
    names = ("dawn", "noon", "dusk")
    for n, name in enumerate(names):
        png(folder / f"{name}.png", seed=n + 1)
    added = fleet.ctl("image", "add", *[folder / f"{name}.png" for name in names])
    images = [one["image"] for one in added["images"]]
    built = fleet.ctl("package", "build", "--name", "art", "--version", "1", "--duration", "1000", "--transition", "0",
                      *[w for i in images for w in ("--image", i)])
    fleet.ctl("package", "publish", built["package"])
    fleet.ctl("channel", "publish", "default", built["package"], "--wait")
    with Screen(fleet, "f1") as screen:
        wait_for(lambda: len(screen.ledger()) >= 4, 15, "four showings")
        asked(fleet, "f1")
        held = fleet.sql("SELECT lower(hex(package)), image, from_ms, from_ms + duration_ms FROM usage ORDER BY ledger_seq")
        rows = [tuple(line.split("|")) for line in held.splitlines()]
        ledger = [tuple(map(str, row)) for row in screen.ledger()]
        assert len(rows) >= 4 and rows == ledger[:len(rows)]
    assert all(r[0] == built["package"] and 900 <= int(r[3]) - int(r[2]) <= 1200 for r in rows)
    assert len({r[1] for r in rows}) == 3
    # The sums are those of the ledger; a picture's name is its own, without the place in the package.
    want = Counter()
    for _, image, begin, end in rows:
        want[image[5:]] += int(end) - int(begin)
    assert {k: v[1] for k, v in sums(fleet, "f1").items()} == want
    assert sums(fleet, "f1", "--by", "package") == {built["package"]: (len(rows), sum(want.values()))}
    assert sums(fleet, "f1", "--by", "name") == {"art": (len(rows), sum(want.values()))}
    # How each turn ended is what the display wrote; the sums count by it.
    told = [line.split("\t")[7:] for line in (screen.meet / "shown.log").read_text().splitlines()][:len(rows)]
    held = fleet.sql("SELECT planned_ms, result, reason FROM usage ORDER BY ledger_seq").splitlines()
    words = {"whole": pb.SHOWN_WHOLE, "cut": pb.SHOWN_CUT}
    assert held == [f"{p}|{words[r]}|{'' if why == '-' else why}" for p, r, why in told] and {p for p, _, _ in told} == {"1000"}
    assert sum(one["cut"] for one in fleet.ctl("usage", "sums", "f1")["sums"]) == sum(r == "cut" for _, r, _ in told)
    # Each row says which boot of the device it was.
    boots = fleet.sql("SELECT DISTINCT boot FROM usage").splitlines()
    said = (screen.meet / "shown.log").read_text().split("\t")[1]
    assert [int(b) for b in boots] == [int(said[:16], 16) & (2 ** 63 - 1)]


def write_ledger(fleet, client, rows, boot=BOOT):
    meet = fleet.folder / client / "display"
    meet.mkdir(parents=True, exist_ok=True)
    with open(meet / "shown.log", "w") as out:
        for seq, image, at, ms, clock, *end in rows:
            out.write("\t".join(map(str, (seq, boot, "ab" * 32, image, at, ms, clock, *end))) + "\n")


def exported(fleet, form, *more):
    out = fleet.folder / "export"
    fleet.ctl_plain("--config", fleet.ctl_config(), "usage", "export", f"--{form}", "--out", out, *more)
    if form == "json":
        return json.loads(out.read_text())
    text = out.read_bytes()
    assert text.endswith(b"\r\n") and text.count(b"\r\n") == text.count(b"\n")
    return list(csv.DictReader(io.StringIO(text.decode())))


def test_S001_c17_sums_gaps_and_exports_are_those_of_the_ledgers(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=200,
                     server={"usage": {"rows_per_client": 100000}}).up()
    fleet.ctl("customer", "add", "harbour")
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "1920x1080")
    begin = days_ago(4) // HOUR_MS * HOUR_MS
    one = [(n, f"{n % 7:04}-sea{n % 3},=\"x\".png" if n % 50 == 0 else f"{n % 7:04}-sea{n % 3}.png", begin + n * 9_000, 8_000 + n, 3)
           for n in range(1, 1301) if not 411 < n < 431]          # the device dropped nineteen
    two = [(n, "0001-=cmd.png", begin + n * 60_000, 60_000, 1) for n in range(200, 231)]
    write_ledger(fleet, "f1", one)
    write_ledger(fleet, "f2", two)
    asked(fleet, "f1")
    asked(fleet, "f2")
    asked(fleet, "f2")   # again: counted once
    assert fleet.sql("SELECT client, customer, COUNT(*) FROM usage GROUP BY client") == f"f1|harbour|{len(one)}\nf2||{len(two)}"

    # Sums, by the test's own arithmetic.
    everything = [("f1", "harbour", *r) for r in one] + [("f2", "", *r) for r in two]

    def want(key, rows=everything):
        out = {}
        for r in rows:
            n, ms = out.get(key(r), (0, 0))
            out[key(r)] = (n + 1, ms + r[5])
        return out
    assert sums(fleet, "--by", "client") == want(lambda r: r[0])
    assert sums(fleet, "--by", "customer") == want(lambda r: r[1])
    assert sums(fleet, "--by", "picture") == want(lambda r: r[3][5:])
    assert sums(fleet, "--by", "hour") == want(lambda r: str(r[4] // HOUR_MS * 3600))
    since, until = begin + HOUR_MS, begin + 2 * HOUR_MS
    span = ("--since", since, "--until", until)
    inside = [r for r in everything if since <= r[4] < until]
    assert inside and sums(fleet, "--by", "client", *span) == want(lambda r: r[0], inside)
    assert sums(fleet, "f2", "--by", "client", *span) == want(lambda r: r[0], [r for r in inside if r[0] == "f2"])
    assert sums(fleet, "--customer", "harbour", "--by", "client") == want(lambda r: r[0], everything[:len(one)])
    done = fleet.ctl("usage", "sums", "--since", "soon", check=False)
    assert done.returncode == 2 and "2026-11-21" in done.stderr

    # What is missing is seen.
    gaps = fleet.ctl("usage", "gaps", "f1")
    assert [(g["from_seq"], g["to_seq"], g["first"]) for g in gaps["gaps"]] == [(412, 430, False)] and gaps["missing"] == 19
    gaps = fleet.ctl("usage", "gaps", "f2")
    assert [(g["from_seq"], g["to_seq"], g["first"]) for g in gaps["gaps"]] == [(1, 199, True)]

    # The whole of it, over three pages, in two forms.
    rows = exported(fleet, "csv")
    clock = {3: "ntp", 1: "none"}
    flat = [(r[0], r[1], str(r[2]), r[3], str(r[4]), str(r[5]), clock[r[6]]) for r in everything]
    assert [(r["client"], r["customer"], r["seq"], r["image"], r["from_unix_ms"], r["duration_ms"], r["clock"]) for r in rows] == flat
    assert {(r["package"], r["boot"]) for r in rows} == {("ab" * 32, BOOT[:16])}
    objects = exported(fleet, "json")
    assert [(o["client"], o["customer"], str(o["seq"]), o["image"], str(o["from_unix_ms"]), str(o["duration_ms"]), o["clock"])
            for o in objects] == flat
    assert len(exported(fleet, "csv", *span)) == len(inside)
    assert len(exported(fleet, "json", "--client", "f2", *span)) == len([r for r in inside if r[0] == "f2"])
    assert exported(fleet, "json", "--since", "4000000000000") == []
    assert fleet.ctl("usage", "export", "--client", "f2")[0]["image"] == "0001-=cmd.png"   # to the standard output
    assert fleet.ctl_plain("--config", fleet.ctl_config(), "usage", "export", check=False).returncode == 2

    # A change of owner changes no account.
    fleet.ctl("customer", "client-remove", "harbour", "f1")
    assert sums(fleet, "--by", "customer") == want(lambda r: r[1])


def test_S001_c17_lost_and_cut_turns_and_two_devices_of_one_name_are_seen(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200).up()
    begin = days_ago(4)
    ends = [("whole", "-"), ("whole", "-"), ("cut", "command"), ("skipped", "unreadable"), ("failed", "unreadable"), ("cut", "crash")]
    rows = [(n, f"0001-{ends[n % 6][0]}.png", begin + n * 10_000, 0 if n % 6 in (3, 4) else 10_000 - n % 6, 3, 10_000, *ends[n % 6])
            for n in range(1, 61)]
    write_ledger(fleet, "f1", rows + [(61, "0001-x.png", begin + 610_000, 1, 3, 10_000, "eaten", "-"),     # no such word
                                      (62, "0001-x.png", begin + 620_000, 1, 3, 10_000, "cut", "W0RD"),
                                      (63, "0001-x.png", begin + 630_000, 1, 3, 10_000, "cut", "a" * 17),
                                      (64, "0001-x.png", begin + 640_000, 1, 3, "soon", "cut", "stop")])
    told = asked(fleet, "f1")["usage"]
    assert [(u["from_unix_ms"], u["result"]) for u in told] == [(r[2], r[6]) for r in reversed(rows)]
    assert fleet.sql("SELECT count(*), max(ledger_seq) FROM usage") == "60|60"
    of = fleet.ctl("usage", "sums", "--by", "client")["sums"][0]
    assert {k: of[k] for k in ("shown", "cut", "skipped", "failed", "doubtful")} == dict(shown=40, cut=20, skipped=10, failed=10, doubtful=0)
    assert of["duration_ms"] == sum(r[3] for r in rows)
    assert sums(fleet)["skipped.png"] == (0, 0) and sums(fleet)["cut.png"][0] == 20
    kept = exported(fleet, "csv")
    assert [(r["planned_ms"], r["result"], r["reason"], r["doubtful"]) for r in kept] == \
        [("10000", r[6], "" if r[7] == "-" else r[7], "no") for r in rows]
    assert fleet.ctl("usage", "gaps", "f1")["twins"] == []

    # The device starts anew, after a power cut that took rows which were told already: its numbers come again, and count.
    again = [(n, "0001-again.png", begin + 600_000 + n * 10_000, 10_000, 3, 10_000, "whole", "-") for n in range(41, 61)]
    write_ledger(fleet, "f1", again, boot="1" * 32)
    asked(fleet, "f1")
    assert sums(fleet)["again.png"] == (20, 200_000)
    assert fleet.ctl("usage", "gaps", "f1")["doubtful"] == 0

    # A copy of the device, with all its state, shows something of its own at the time of the first.
    copy = [(n, "0001-copy.png", begin + 300_000 + n * 10_000, 10_000, 3, 10_000, "whole", "-") for n in range(1, 31)]
    write_ledger(fleet, "f1", copy, boot="2" * 32)
    asked(fleet, "f1")
    # Both are held; of 310 s to 600 s, when two spoke at once, nothing is in a sum.
    held = fleet.sql("SELECT boot, count(*), min(from_ms), max(from_ms) FROM usage WHERE doubt = 1 GROUP BY boot ORDER BY boot").splitlines()
    assert held == [f"{int(b, 16)}|30|{begin + 310_000}|{begin + 600_000}" for b in (BOOT[:16], "2" * 16)]
    of = fleet.ctl("usage", "sums", "--by", "client")
    assert (of["doubtful"], of["shown"]) == (60, 40) and "copy.png" not in {k for k, v in sums(fleet).items() if v[0]}
    gaps = fleet.ctl("usage", "gaps", "f1")
    assert gaps["doubtful"] == 60 and [(t["from_unix_ms"], t["until_unix_ms"], {t["boot"], t["other_boot"]}) for t in gaps["twins"]] == \
        [(begin + 310_000, begin + 600_000, {BOOT[:16], "2" * 16})]
    found = [f for f in json.loads(fleet.ctl("doctor", check=False).stdout)["findings"] if f["id"] == "USAGE-f1"]
    assert found and "60 showings" in found[0]["what"]


def test_S001_c17_the_store_of_usage_is_bounded_and_the_server_asks_only_for_what_it_lacks(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200,
                     server={"usage": {"rows_per_client": 250, "keep_days": 30}, "freshness": {"usage_s": 1}})
    fleet.up(agents=[])
    watch = fleet.watch("helio/v1/report/#")
    now = int(fleet.sql("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"))
    old = [(n, "0001-old.png", now - 40 * 86_400_000 + n, 5_000, 3) for n in range(1, 21)]
    unknown = [(n, "0001-dark.png", n, 5_000, 1) for n in range(21, 31)]   # a clock in 1970
    new = [(n, "0001-new.png", now - 8 * 86_400_000 + n * 10_000, 5_000, 3) for n in range(31, 261)]
    write_ledger(fleet, "f1", old + unknown + new)
    fleet.agent("f1")
    wait_for(lambda: fleet.sql("SELECT COUNT(*) FROM usage") == "240", 5, "what is kept")
    # Older than what is kept goes; when the dark ones were shown nobody knows: they stay.
    assert fleet.sql("SELECT MIN(ledger_seq), SUM(image = '0001-dark.png') FROM usage") == "21|10"
    more = [(n, "0001-more.png", now - n * 1000, 5_000, 3) for n in range(281, 260, -1)]

    def travelled(since=0):
        return [s.ledger_seq for m in watch.of("helio/v1/report/")[since:] for s in m.decode(pb.Report).usage]
    wait_for(lambda: 260 in travelled(), 10, "the first reports are seen")
    seen = len(watch.of("helio/v1/report/"))
    write_ledger(fleet, "f1", old + unknown + new + sorted(more))
    wait_for(lambda: fleet.sql("SELECT COUNT(*) FROM usage WHERE image = '0001-more.png'") == "21", 15, "what came later")
    assert fleet.sql("SELECT COUNT(*) FROM usage") == "250"
    assert fleet.sql("SELECT SUM(image = '0001-dark.png') FROM usage") == "0"   # the bound counts for all
    # It was asked from a day before the newest one that was held: old rows do not travel again.
    wait_for(lambda: 281 in travelled(seen), 10, "the later report is seen")
    assert min(travelled(seen)) > 30
