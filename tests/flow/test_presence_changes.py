"""What changes under the presence server while content lies on data brokers and is fetched: settings, clocks, programs that start again,
brokers that cannot be reached when something is to be taken from them. And what helioctl brokers shows of it."""
import re
import time

import pytest

from lib import rogue, wire
from lib.presence import Record, choices, content, late, offer, package_of, pump, quiet_counts, stored, sys_value
from lib.transfers import MB, OBJECT, joins, per_second, rates_told, sent
from lib.wait import stays, wait_for
from lib.wallclock import WallClock
from test_acl import puback
from test_ctl import on_terminal
from test_presence_choice import candidates, settled, target
from test_presence_leases import answered, ask, beats_until, installed, release, same_file, told

pb = wire.pb


def fleet_for(fleet_of, clients=("f1",), brokers=("da", "db"), publishers=("pub",), capacity=100 * MB, agent=None, publisher=None, tls=True, **data):
    return fleet_of(clients=clients, data_brokers=brokers, publishers=publishers, interval_ms=200, capacity=capacity, agent=agent, publisher=publisher,
                    tls=tls, server={"server": {"reconnect_spread_s": 0, "host_period_ms": 3600000}, "probe": {"enabled": False},
                                     "data": {"recent_period_s": 0, "sys_interval_s": 1, "share_bytes_per_s": 0, **data}})


def lines(fleet, **capacity):
    """The settings' lines of these brokers."""
    return [f"{d} localhost 127.0.0.1 {fleet.port[d]} {bytes_per_s}" for d, bytes_per_s in capacity.items()]


def started_again(fleet, links, **data):
    """The server, killed and started with other settings; its publisher is in session again before anything is asked of it."""
    heliod = fleet.procs["heliod"]
    heliod.kill()
    fleet.server_extra["data"].update(data)
    up = len(heliod.lines("LINK-UP"))
    fleet.heliod().wait_text("LINK-UP", 15, count=up + 1 + links)


# ---------------------------------------------------------------- least busy, per capacity

def test_S002_4_capacity_and_what_was_just_granted_decide_as_well(fleet_of):
    fleet = fleet_for(fleet_of, publishers=("hand", "pump"), capacity=MB)
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=3)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    own = content(fleet, hand, "own")
    assert hand.publish(own) == "da", "of equals the first by id"
    stored(fleet, own.hex)
    assert target(hand, fleet, 1) == "da", "it was not its idleness"
    # A client is granted all that da can, and has not fetched a byte: Mosquitto counts nothing yet, and da is busy all the same.
    one = fleet.principal("f1").sign_in()
    fleet.ctl("channel", "publish", "default", own.hex)
    told(one, own.hex)
    ask(one, own.id, 1, publisher="hand")
    g = answered(one, 1)
    assert getattr(g, "from").broker_id == "da" and g.rate_bytes_per_s == MB
    assert target(hand, fleet, 2) == "db"
    scores = choices(fleet)[-1][1]
    assert scores["da"] >= 1 > 0.1 > scores["db"], scores
    release(one, own.id, g.lease, 2)
    assert answered(one, 2).release_acked
    wait_for(lambda: {b["id"]: b["busy"] for b in fleet.ctl("brokers")["brokers"]}["da"] < 0.1, 10, "it is idle again")
    assert target(hand, fleet, 3) == "da"
    # What they send is held against what they can: db sends more, and is less busy as soon as it can do ten times as much.
    pump(fleet, "da", 3)
    pump(fleet, "db", 6)
    settled(fleet, "da", "db")
    assert target(hand, fleet, 4) == "da"
    hand.close()
    fleet.witnesses.remove(hand)
    started_again(fleet, 2, broker=lines(fleet, da=MB, db=10 * MB))
    candidates(fleet)
    settled(fleet, "da", "db")
    hand = rogue.Publisher(fleet, "hand")
    assert target(hand, fleet, 5) == "db"


def test_S002_4_nobody_but_the_broker_itself_says_how_busy_it_is(fleet_of):
    fleet = fleet_for(fleet_of, publishers=("hand",), capacity=MB)
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=3)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    watch = fleet.watch("$SYS/broker/load/bytes/sent/1min", "$SYS/broker/uptime", broker="da")
    assert puback(fleet, "hand", "helio/v1/chunk/hand/" + "ab" * 32, "da") in (0, 16), "it may say nothing at all"
    for seat in ("f1", "hand", "alice.1", "server.1"):
        if seat == "server.1":
            fleet.procs["heliod"].pause()       # its own name, with its own certificate
        for topic in ("load/bytes/sent/1min", "uptime"):
            assert puback(fleet, seat, f"$SYS/broker/{topic}", "da", payload="99999999", retain=True) == 135, seat
    fleet.procs["heliod"].go_on()
    candidates(fleet)
    assert not [m for m in watch.messages if m.payload.startswith(b"99999999")]
    assert sys_value(fleet, "da", "load/bytes/sent/1min") < 9e7 and sys_value(fleet, "da", "uptime") < 9e7
    hand = rogue.Publisher(fleet, "hand")
    assert target(hand, fleet, 1) == "da", "the lie made it busy"


# ---------------------------------------------------------------- the clock

@pytest.mark.slow
def test_S002_5_a_clock_set_by_an_hour_makes_nobody_less_recent_and_ends_no_lease(fleet_of):
    fleet = fleet_for(fleet_of, publishers=("hand",), recent_period_s=1800, linger_s=2, lease_ttl_s=3)
    clock = WallClock(fleet.folder, "heliod")
    fleet.brokers()
    fleet.heliod(env=clock.env()).wait_text("LINK-UP", 15, count=3)
    record = Record(fleet)
    hand = rogue.Publisher(fleet, "hand")
    candidates(fleet)
    own = content(fleet, hand, "own")
    assert hand.publish(own) == "da"
    stored(fleet, own.hex)
    one = fleet.principal("f1").sign_in()
    fleet.ctl("channel", "publish", "default", own.hex)
    told(one, own.hex)
    ask(one, own.id, 1, publisher="hand")
    lease = answered(one, 1).lease
    # An hour forward: da was a target a moment ago all the same, and the lease has not aged.
    clock.step(3600)
    d = offer(hand, content(fleet, hand, "second"))
    assert d.kind == pb.TRANSMIT and d.to.broker_id == "db", "the step forward made it forget"
    d = offer(hand, content(fleet, hand, "third"))
    assert d.kind == pb.DEFER and 1_700_000 < d.retry_after_ms <= 1_800_000
    beats_until(one, time.time() + 4, own.id, lease)
    assert fleet.sql("select id from lease") == str(lease)
    # And back, to an hour before the truth.
    clock.step(-3600)
    d = offer(hand, content(fleet, hand, "fourth"))
    assert d.kind == pb.DEFER and 1_700_000 < d.retry_after_ms <= 1_800_000, "the step back made it forget"
    beats_until(one, time.time() + 4, own.id, lease)
    assert fleet.sql("select id from lease") == str(lease) and not record.directives(own.hex, pb.STOP, publisher="hand")
    # What is to end ends in its time.
    release(one, own.id, lease, 2)
    assert answered(one, 2).release_acked
    record.directive(own.hex, pb.STOP, publisher="hand")


# ---------------------------------------------------------------- settings

@pytest.mark.slow
def test_S002_11_a_broker_that_left_the_settings_is_left_and_emptied(fleet_of):
    """Two packages lie there: one is being fetched, one was never asked for."""
    fleet = fleet_for(fleet_of, linger_s=1, first_viewer_grace_s=3600)
    fleet.server_extra["data"]["budget"] = ["client * 200000"]
    fleet.server_extra["data"]["broker"] = lines(fleet, da=100 * MB)
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=2)
    fleet.publisher()
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    record = Record(fleet)
    unasked, wanted = package_of(fleet, "unasked", 300_000), package_of(fleet, "wanted", 5_000_000)
    for p in (unasked, wanted):
        assert stored(fleet, p) == "da"
    fleet.ctl("channel", "publish", "default", wanted)
    wait_for(lambda: sent(fleet, "f1"), 20, "bytes come from da")
    started_again(fleet, 1, broker=lines(fleet, db=100 * MB), first_viewer_grace_s=2, budget=["client * 5000000"])
    assert not installed(fleet, "f1", wanted), "it was over before the settings changed"
    shown = {p["package"]: p for p in fleet.ctl("brokers")["unplaced"]}
    assert unasked in shown and shown[unasked]["broker"] == "da", "nobody would see what still lies there"
    wait_for(lambda: installed(fleet, "f1", wanted), 60, "it goes on from db")
    assert same_file(fleet, "f1", wanted, "wanted-1") and sent(fleet, "f1", "db")
    for p in (unasked, wanted):
        record.directive(p, pb.WAIT, timeout=30)
    assert {d.to.broker_id for _, d in record.directives(unasked, pb.TRANSMIT)} == {"da"}, "what nobody asked for was sent again"
    wait_for(lambda: not late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#"), 20, "nothing lies at da", every=0.2)
    wait_for(lambda: not late(fleet, "db", "helio/v1/chunk/#", "helio/v1/pkg/#"), 20, "nor at db, where nobody wants it any more", every=0.2)


@pytest.mark.slow
def test_S001_c28_a_brokers_capacity_that_changes_is_told_to_who_fetches(fleet_of):
    fleet = fleet_for(fleet_of, brokers=("da",), capacity=2 * MB).up()
    record = Record(fleet)
    package = package_of(fleet, size=40 * MB)
    stored(fleet, package)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: record.grants("f1", package), 20, "a grant")
    (grant,) = [g for _, _, g in record.grants("f1", package)]
    assert grant.rate_bytes_per_s == 2 * MB
    wait_for(lambda: sum(n for _, n in sent(fleet, "f1")) > 2 * MB, 20, "it is under way")
    started_again(fleet, 1, broker=lines(fleet, da=500_000))
    at = wait_for(lambda: [at for at, rate in rates_told(record, "f1") if rate == 500_000], 20, "the lower rate is told")[0]
    begun = len(sent(fleet, "f1"))
    wait_for(lambda: len(sent(fleet, "f1")) > begun + 8, 30, "it goes on")
    slow = per_second(sent(fleet, "f1")[begun + 2:])
    assert not slow or max(slow) <= 500_000 + OBJECT, slow
    assert not [rate for t, rate in rates_told(record, "f1") if t > at + 1 and rate > 500_000]
    assert fleet.ctl("brokers")["brokers"][0]["capacity_bytes_per_s"] == 500_000
    started_again(fleet, 1, broker=lines(fleet, da=50 * MB))
    wait_for(lambda: [r for _, r in rates_told(record, "f1") if r == 50 * MB], 30, "the higher rate is told")
    wait_for(lambda: installed(fleet, "f1", package), 60, "it arrives")
    assert same_file(fleet, "f1", package)
    assert {g.lease for _, _, g in record.grants("f1", package)} == {grant.lease}, "it is the same transfer, under the same lease"


# ---------------------------------------------------------------- programs that start again

@pytest.mark.slow
def test_S002_12_what_is_deferred_stays_so_over_restarts_and_goes_on_then(fleet_of):
    fleet = fleet_for(fleet_of, brokers=("da",), recent_period_s=3600).up()
    record = Record(fleet)
    first, second = package_of(fleet, "first", 100_000), package_of(fleet, "second", 100_000)
    stored(fleet, first)
    fleet.ctl("channel", "publish", "default", second)
    record.directive(second, pb.DEFER)
    wait_for(lambda: [g for _, _, g in record.grants("f1", second, granted=False) if g.reason.startswith("deferred: every data broker was a target")],
             10, "who asks is told why")
    shown = [p for p in fleet.ctl("brokers")["unplaced"] if p["package"] == second]
    assert shown and shown[0]["state"] == "deferred" and "target lately" in shown[0]["detail"]
    before = quiet_counts(fleet)
    fleet.procs["pub"].kill()
    fleet.publisher()
    record.directive(second, pb.DEFER, 2, timeout=40)
    started_again(fleet, 1)
    record.directive(second, pb.DEFER, 3, timeout=40)
    assert fleet.ctl("package", "show", second)["state"] == "deferred"
    assert not record.directives(second, pb.TRANSMIT)
    # The first one's manifest and index were said again, and nothing of the second.
    assert quiet_counts(fleet)["da"] < before["da"] + 50_000, "it was sent though it was deferred"
    assert not late(fleet, "da", f"helio/v1/pkg/pub/{second}")
    started_again(fleet, 1, recent_period_s=0)
    wait_for(lambda: installed(fleet, "f1", second), 60, "it goes on")
    assert same_file(fleet, "f1", second, "second-1")


@pytest.mark.slow
def test_S002_11_who_fetches_is_counted_over_restarts_of_server_publisher_and_broker(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1", "f2"), brokers=("da",), linger_s=2, lease_ttl_s=5)
    fleet.server_extra["data"]["budget"] = ["client * 200000"]
    fleet.up()
    joins(fleet, "f1", "f2")
    record = Record(fleet)
    package = package_of(fleet, size=8 * MB)
    stored(fleet, package)
    for c in ("f1", "f2"):
        fleet.ctl("channel", "publish", c, package)
        wait_for(lambda: record.grants(c, package), 20, f"a grant for {c}")

    def counted():
        """client -> lease, as rows; the server's own numbers agree."""
        rows = dict(r.split("|") for r in fleet.sql("select client, id from lease").splitlines())
        seen = fleet.ctl("brokers")
        return rows if {x["client"]: x["lease"] for x in seen["leases"]} == rows and seen["brokers"][0]["leases"] == len(rows) else None
    leases = counted()
    assert leases and set(leases) == {"f1", "f2"}
    fleet.procs["pub"].kill()
    fleet.publisher()
    assert counted() == leases, "the publisher's death ended a lease"
    started_again(fleet, 1)
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] == "stored", 20, "it is read back")
    assert wait_for(counted, 10) == leases and not record.directives(package, pb.STOP)
    assert not installed(fleet, "f1", package) and not installed(fleet, "f2", package)
    # The broker forgets everything: who fetched is served anew, and counts once.
    fleet.ctl("budget", "set", "client", "*", 2 * MB)
    fleet.procs["broker-da"].kill()
    fleet.broker("da")
    wait_for(lambda: len(record.directives(package, pb.TRANSMIT)) > 1, 30, "it is sent again")
    fresh = wait_for(lambda: (lambda rows: rows if rows and set(rows) == {"f1", "f2"} and not set(rows.values()) & set(leases.values()) else None)(counted()),
                     40, "both have a lease again")
    assert len(set(fresh.values())) == 2
    for c in ("f1", "f2"):
        wait_for(lambda: installed(fleet, c, package), 60, f"{c} completes")
        assert same_file(fleet, c, package)
    record.directive(package, pb.STOP, timeout=30)
    record.directive(package, pb.WAIT, timeout=30)
    assert not fleet.sql("select id from lease") and not late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#")


# ---------------------------------------------------------------- what could not be withdrawn

@pytest.mark.slow
def test_S002_11_what_could_not_be_withdrawn_goes_when_its_broker_answers_again(fleet_of):
    """The broker hangs when its content is to go, until the publisher has given up; then it goes on, with everything in its memory."""
    fleet = fleet_for(fleet_of, clients=(), brokers=("da",), first_viewer_grace_s=3, publisher={"publisher": {"broker_patience_ms": 1000}}).up()
    record = Record(fleet)
    unasked, taken = package_of(fleet, "unasked", 300_000), package_of(fleet, "taken", 300_000)
    for p in (unasked, taken):
        stored(fleet, p)
    lying = late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#")
    pub, broker = fleet.procs["pub"], fleet.procs["broker-da"]
    broker.pause()
    try:
        assert not record.directives(unasked, pb.STOP), "it went before the broker hung"
        fleet.ctl("package", "withdraw", taken)
        for p in (unasked, taken):
            pub.wait_text(f"PUBLISH-FAILED broker=da package={p[:8]}", 90)
    finally:
        broker.go_on()
    wait_for(lambda: not late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#"), 60, "nothing lies there any more", every=0.3)
    assert len(lying) > 6
    wait_for(lambda: fleet.sql("select count(*) from placement_copy") == "0", 20, "and the server knows it")
    assert fleet.ctl("package", "show", unasked)["state"] == "waiting" and fleet.ctl("package", "show", taken)["state"] == "withdrawn"


def test_S002_5_a_wanted_package_whose_brokers_are_all_gone_waits_without_a_word_a_second(fleet_of):
    fleet = fleet_for(fleet_of, brokers=("da", "db"), broker_away_s=1)
    fleet.server_extra["data"]["budget"] = ["client * 300000"]
    fleet.up()
    package = package_of(fleet, size=3_000_000)
    home = stored(fleet, package)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: sent(fleet, "f1", home), 20, "it is under way")
    for b in fleet.data_ids:
        fleet.procs[f"broker-{b}"].kill()
    wait_for(lambda: not any(b["reachable"] for b in fleet.ctl("brokers")["brokers"]), 15)
    before = len(fleet.procs["heliod"].lines("PLACE-CHOICE"))
    heliod = fleet.procs["heliod"]
    # For several times what it waits before it looks again.
    stays(lambda: not heliod.lines("PLACE-REFUSED") and len(heliod.lines("PLACE-CHOICE")) <= before + 1, 4)
    fleet.broker("db")
    wait_for(lambda: installed(fleet, "f1", package), 60, "it goes on")
    assert same_file(fleet, "f1", package)


# ---------------------------------------------------------------- at a glance

@pytest.mark.slow
def test_ctl_brokers_shows_what_lies_where_for_whom_how_fast_and_why(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1", "f2", "f3"), capacity=500_000, recent_period_s=3600, broker_away_s=3600).up()
    joins(fleet, "f1", "f2", "f3")
    held, idle = package_of(fleet, "pictures-of-november", 30 * MB), package_of(fleet, "player", 500_000)
    home = {p: stored(fleet, p) for p in (held, idle)}
    assert set(home.values()) == {"da", "db"}
    third = package_of(fleet, "third", 100_000)         # both were a target
    for c, p in (("f1", held), ("f2", held), ("f3", third)):
        fleet.ctl("channel", "publish", c, p)

    def both_are_measured():
        doc = fleet.ctl("brokers")
        return doc if sum(1 for x in doc["leases"] if x["measured_bytes_per_s"]) == 2 and doc["unplaced"] and doc["unplaced"][0]["waiting"] else None

    doc = wait_for(both_are_measured, 30, "two fetch and one waits")
    at = {p["package"]: p for b in doc["brokers"] for p in b["holds"]}
    assert at[held]["leases"] == 2 and at[held]["granted_bytes_per_s"] == 500_000 == sum(x["rate_bytes_per_s"] for x in doc["leases"])
    assert at[held]["measured_bytes_per_s"] == sum(x["measured_bytes_per_s"] for x in doc["leases"])
    assert at[idle]["state"] == "linger" and at[idle]["leases"] == at[idle]["waiting"] == 0 and at[idle]["detail"] == "nobody has asked yet"
    (lost,) = doc["unplaced"]
    assert (lost["package"], lost["broker"], lost["state"], lost["waiting"]) == (third, "", "deferred", 1)
    fleet.procs[f"broker-{home[idle]}"].kill()
    wait_for(lambda: not all(b["reachable"] for b in fleet.ctl("brokers")["brokers"]), 10)
    fleet.ctl_config()
    for columns in (80, 120):
        text, code = on_terminal(fleet, "brokers", columns=columns, env={"NO_COLOR": "1"})
        rows = text.replace("\r", "").splitlines()
        assert code == 0 and max(map(len, rows)) <= columns, text
        assert re.search(rf"^{home[held]} +up .* 2 .*1 package, 30 MB$", text.replace("\r", ""), re.M), text
        assert re.search(rf"^{home[idle]} +down .* 0 .*(refuse|lost|connect|closed)", text, re.M), text
        assert re.search(r"^- +third@1 +deferred +1 +- +- +every dat", text, re.M), text
        assert re.search(rf"^{home[held]} +pictu\S+ +stored +2 +500 kB/s +[\d.]+ [kM]?B/s ", text, re.M), text
        assert re.search(rf"^{home[idle]} +player@1 +(verifying|linger) ", text, re.M), text
        for c in ("f1", "f2"):
            assert re.search(rf"^{home[held]} +{c} +pictures-of-november@1 +250 kB/s .*\d+%", text, re.M), text
