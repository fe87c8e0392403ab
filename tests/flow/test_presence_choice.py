"""Which data broker a publisher is directed to: the least busy by what the brokers count themselves, no recent target, and the
same choice again when content is wanted once more. The publisher is made by hand and stores nothing, unless it says so."""
import time

import pytest

from lib import rogue, wire
from lib.presence import Record, at_pace, choices, content, load, offer, package_of, pump, stored
from lib.wait import stays, wait_for

pb = wire.pb


def fleet_for(fleet_of, brokers=("da", "db", "dc"), capacity=1_000_000, publishers=("hand", "pump"), **data):
    fleet = fleet_of(clients=(), data_brokers=brokers, publishers=publishers, capacity=capacity,
                     server={"data": {"sys_interval_s": 1, "recent_period_s": 0, **data}, "probe": {"enabled": False}})
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=1 + len(brokers))
    return fleet


def again(fleet, publisher, **data):
    """The server with other settings; what it persisted stays."""
    publisher.close()
    fleet.witnesses.remove(publisher)
    fleet.server_extra["data"].update(data)
    fleet.procs["heliod"].kill()
    seen = len(fleet.procs["heliod"].lines("LINK-UP"))
    fleet.heliod().wait_text("LINK-UP", 15, count=seen + 1 + len(fleet.data_ids))
    candidates(fleet)
    return rogue.Publisher(fleet, publisher.id)


def candidates(fleet):
    """Every broker has shown that it lives."""
    wait_for(lambda: all(b["reachable"] and not b["stale"] for b in fleet.ctl("brokers")["brokers"]), 10, "all brokers are fresh")


def target(publisher, fleet, n):
    return offer(publisher, content(fleet, publisher, f"app-{n}"), (pb.TRANSMIT,)).to.broker_id


def settled(fleet, *brokers):
    """The brokers count their load in this order, and the server's figures are theirs, within their rounding."""
    def same():
        loads = [load(fleet, b) for b in brokers]
        seen = {b["id"]: b["sent_bytes_per_s"] for b in fleet.ctl("brokers")["brokers"]}
        return (loads[0] > 20_000 and all(1.3 * a < b for a, b in zip(loads, loads[1:])) and
                all(abs(seen[b] - found) < 0.1 * found for b, found in zip(brokers, loads)))
    wait_for(same, 15, "the server has the brokers' figures")


def test_S002_4_the_least_busy_by_the_brokers_own_count_is_named(fleet_of):
    fleet = fleet_for(fleet_of)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    pump(fleet, "da", 9)
    pump(fleet, "dc", 6)
    pump(fleet, "db", 3)
    settled(fleet, "db", "dc", "da")
    assert target(hand, fleet, 1) == "db"
    # Five placements, two at a time within a recent period: the order follows the scores that were printed.
    hand = again(fleet, hand, recent_period_s=1)
    began, wanted = time.monotonic(), []
    at_pace(1.2, began)
    for n in (2, 4, 6):
        wanted += [target(hand, fleet, i) for i in (n, n + 1)[:1 if n == 6 else 2]]
        at_pace(1.2, time.monotonic())
    assert len(wanted) == 5 and wanted[::2] == ["db"] * 3 and set(wanted[1::2]) <= {"dc", "db"}
    for chosen, scores, _, _ in choices(fleet)[-5:]:
        assert scores["db"] < scores["dc"] < scores["da"]
    # What is most busy changes: pumped more than the others together.
    hand = again(fleet, hand, recent_period_s=0)
    pump(fleet, "db", 15)
    settled(fleet, "dc", "da", "db")
    assert target(hand, fleet, 7) == "dc"


def test_S002_4_a_dead_or_silent_broker_is_never_named(fleet_of):
    fleet = fleet_for(fleet_of)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    pump(fleet, "db", 3)
    pump(fleet, "dc", 6)
    settled(fleet, "db", "dc")
    assert target(hand, fleet, 1) == "da", "the idle one, while it lives"
    fleet.procs["broker-da"].kill()
    wait_for(lambda: not {b["id"]: b for b in fleet.ctl("brokers")["brokers"]}["da"]["reachable"], 10)
    assert [target(hand, fleet, n) for n in (2, 3, 4)] == ["db"] * 3, "the last known low load of a dead one won"
    # Its connection stands, but its uptime was not seen for three of its intervals.
    fleet.procs["broker-db"].pause()
    try:
        wait_for(lambda: {b["id"]: b for b in fleet.ctl("brokers")["brokers"]}["db"]["stale"], 10)
        assert target(hand, fleet, 5) == "dc"
        assert choices(fleet)[-1][2] == {"da", "db"}
    finally:
        fleet.procs["broker-db"].go_on()
    wait_for(lambda: not {b["id"]: b for b in fleet.ctl("brokers")["brokers"]}["db"]["stale"], 10)
    assert target(hand, fleet, 6) == "db", "it lives again"


def test_S002_4_of_equals_the_choice_is_by_id_and_not_by_place_in_the_settings(fleet_of):
    fleet = fleet_for(fleet_of, brokers=("db", "dc", "da"))
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    assert [target(hand, fleet, n) for n in range(3)] == ["da"] * 3
    for _, scores, away, _ in choices(fleet):
        assert len(set(scores.values())) == 1 and not away, "they are not equal"


def test_S002_5_a_recent_target_is_not_named_again_and_the_fourth_waits(fleet_of):
    period = 3
    fleet = fleet_for(fleet_of, recent_period_s=period)
    record = Record(fleet)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    made = [content(fleet, hand, f"app-{n}") for n in range(4)]
    for c in made:
        hand.say(pb.PUB_OFFER, package=c.id, manifest=c.envelope, object_bytes=1000)
    first = [hand.directive((pb.TRANSMIT, pb.DEFER), c.id) for c in made]
    assert [d.kind for d in first] == [pb.TRANSMIT] * 3 + [pb.DEFER]
    assert {d.to.broker_id for d in first[:3]} == {"da", "db", "dc"}
    assert 0 < first[3].retry_after_ms <= period * 1000 and not first[3].HasField("to")
    later = hand.directive((pb.TRANSMIT,), made[3].id)
    for c in made:
        record.directive(c.hex, pb.TRANSMIT, publisher="hand")
    at = {d.package: when for when, d in record.directives(kind=pb.TRANSMIT, publisher="hand")}
    oldest = min(at[c.id] for c in made[:3])
    assert later.to.broker_id == first[0].to.broker_id and at[made[3].id] - oldest >= period - 0.05
    # Only TRANSMIT counts: DEFER made nobody a target, and the targets are persisted.
    rows = dict(r.split("|") for r in fleet.sql("select broker, last_ms from data_target").splitlines())
    assert set(rows) == {"da", "db", "dc"} and int(rows[later.to.broker_id]) > max(int(v) for k, v in rows.items() if k != later.to.broker_id)
    hand = again(fleet, hand, recent_period_s=60)
    d = offer(hand, content(fleet, hand, "app-5"), (pb.TRANSMIT, pb.DEFER))
    assert d.kind == pb.DEFER, "the restart forgot who was a target"


def test_S002_5_it_is_recency_and_no_rotation(fleet_of):
    fleet = fleet_for(fleet_of)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    assert [target(hand, fleet, n) for n in range(4)] == ["da"] * 4, "period 0 excludes nobody"
    hand = again(fleet, hand, recent_period_s=1)
    began, named = time.monotonic(), []
    at_pace(1.2, began)
    for n in range(4, 7):
        named.append(target(hand, fleet, n))
        at_pace(1.2, time.monotonic())
    assert named == ["da"] * 3, "requests further apart than the period name the same one"
    # All are recent, and the setting says: the one used longest ago.
    hand = again(fleet, hand, recent_period_s=60, recent_fallback="oldest")
    assert target(hand, fleet, 7) == "db" and target(hand, fleet, 8) == "dc"
    assert not any(c[3] for c in choices(fleet))
    assert target(hand, fleet, 9) == "da" and choices(fleet)[-1][3], "no fallback was told"
    assert target(hand, fleet, 10) == "db"


@pytest.mark.slow
def test_S002_13_publishing_resumes_elsewhere_and_only_what_was_read_back_is_granted(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da", "db"),
                     server={"server": {"reconnect_spread_s": 0},
                             "data": {"sys_interval_s": 1, "recent_period_s": 3600, "recent_fallback": "oldest", "linger_s": 1}}).up()
    record = Record(fleet)
    package = package_of(fleet)
    one = stored(fleet, package)
    fleet.ctl("channel", "publish", "default", package)
    wait_for((fleet.folder / "f1/packages" / package).exists, 30)
    record.directive(package, pb.WAIT)
    old = record.grants("f1", package)[0][2]
    # It lost its disk and asks again: the broker of before was a target lately.
    fleet.procs["f1"].kill()
    (fleet.folder / "f1").rename(fleet.folder / "f1-lost")
    fleet.agent("f1")
    wait_for((fleet.folder / "f1/packages" / package).exists, 40, "the content came back")
    other = {"da": "db", "db": "da"}[one]
    new = wait_for(lambda: [g for _, _, g in record.grants("f1", package) if getattr(g, "from").broker_id == other], 10, "the grant is recorded")[-1]
    assert new.lease != old.lease
    assert [d.to.broker_id for _, d in record.directives(package, pb.TRANSMIT)] == [one, other]
    assert not fleet.sql(f"select id from lease where id = {old.lease}"), "an old grant lives"
    # No grant before the server's own read-back at that broker.
    proven = {line.split("broker=")[1].split()[0]: n for n, line in enumerate(fleet.procs["heliod"].text().splitlines())
              if "event=proven" in line}
    given = [(n, line.split("broker=")[1].split()[0]) for n, line in enumerate(fleet.procs["heliod"].text().splitlines())
             if "LEASE-GRANTED" in line]
    assert given and all(broker in proven and proven[broker] < n for n, broker in given)


def test_S002_13_what_was_never_there_is_never_granted(fleet_of):
    """A publisher that says it stored what it did not; a client that asks all the time."""
    fleet = fleet_of(clients=("f1",), data_brokers=("da", "db"), publishers=("hand",),
                     server={"server": {"reconnect_spread_s": 0}, "data": {"recent_period_s": 0}})
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=3)
    hand = rogue.Publisher(fleet, "hand")
    record = Record(fleet)
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    lie = content(fleet, hand, "lie")
    d = offer(hand, lie, (pb.TRANSMIT,))
    fleet.ctl("channel", "publish", "default", lie.hex)
    hand.say(pb.PUB_STORED, package=lie.id, directive_id=d.directive_id, broker_id=d.to.broker_id, mark=hand.mark,
             index_sha256=rogue.sha(lie.index), objects=len(lie.objects))
    d = hand.directive((pb.TRANSMIT,), lie.id, 20)     # it is not believed, and told again
    assert wait_for(lambda: record.grants("f1", lie.hex, granted=False), 20), "f1 did not even ask"
    stays(lambda: not record.grants("f1", lie.hex), 1)
    assert fleet.sql("select count(*) from lease") == "0"
    # The same publisher tells the truth about the same package: now it is granted.
    hand.store(lie, d.to.broker_id)
    hand.say(pb.PUB_STORED, package=lie.id, directive_id=d.directive_id, broker_id=d.to.broker_id, mark=hand.mark,
             index_sha256=rogue.sha(lie.index), objects=len(lie.objects))
    wait_for(lambda: record.grants("f1", lie.hex), 20, "a grant")
