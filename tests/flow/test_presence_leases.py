"""Who asks is told where to fetch directly; while somebody fetches the content stays, and when nobody wants it any more the publisher is
told to stop and to wait. mosquitto_sub reads the wire and what lies on the data brokers; their logs say who was there."""
import re
import subprocess
import time

import pytest

from lib import wire
from lib.presence import Record, all_there, connected, late, package_of, published, quiet_counts, stored
from lib.steps import answer, settle
from lib.fleet import LONG
from lib.wait import patience, stays, wait_for

pb = wire.pb


def fleet_for(fleet_of, clients=("f1", "f2"), rate=0, brokers=("da",), **data):
    server = {"reconnect_spread_s": 0, "host_period_ms": 3600000}
    if rate:
        server["rate_bytes_per_s"] = rate
    return fleet_of(clients=clients, data_brokers=brokers, interval_ms=200,
                    server={"server": server, "probe": {"enabled": False}, "data": {"recent_period_s": 0, "sys_interval_s": 1, **data}})


def joins(fleet, *clients):
    """Each agent shows what its own channel says, so that packages are meant for one at a time."""
    for c in clients:
        fleet.ctl("channel", "create", c)
        fleet.ctl("client", "channel", c, c)


def installed(fleet, client, package):
    return (fleet.folder / client / "packages" / package).exists()


def same_file(fleet, client, package, name="app-1"):
    sums = subprocess.run(["sha256sum", fleet.folder / client / "packages" / package / "files/data", fleet.folder / f"software-{name}/data"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return sums[0].split()[0] == sums[1].split()[0]


def asked(fleet, broker, client):
    """Objects that a client subscribed to, by the broker's log."""
    return set(re.findall(rf" {client} 1 helio/v1/chunk/pub/(\w+)", fleet.broker_log(broker)))


def lies(fleet, package, broker="da"):
    return late(fleet, broker, f"helio/v1/pkg/pub/{package}")


def leases(fleet):
    return [line.split() for line in fleet.sql("select client, id from lease").replace("|", " ").splitlines()]


def test_S002_8_S002_9_S002_10_each_consumer_asks_is_granted_and_fetches_directly(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1", "f2", "f3"), rate=600_000).up()
    record = Record(fleet)
    joins(fleet, "f1", "f2", "f3")
    package = package_of(fleet, size=3_000_000)
    assert stored(fleet, package) == "da"
    for c in ("f1", "f2"):
        fleet.ctl("channel", "publish", c, package)
    for c in ("f1", "f2"):
        wait_for(lambda: record.grants(c, package), 20, f"a grant for {c}")
    grants = {c: record.grants(c, package)[0][2] for c in ("f1", "f2")}
    for c, g in grants.items():
        (want,) = {w.request_id: w for _, _, w in record.wants(c)}.values()
        assert want.package.hex() == package and g.request_id == want.request_id, "not one request for each"
        assert getattr(g, "from").broker_id == "da" and getattr(g, "from").port == fleet.port["da"] and g.rate_bytes_per_s == 600_000
        assert g.lease and g.ttl_ms >= 3 * 200
    lines = fleet.procs["heliod"].lines("LEASE-GRANTED")
    assert [re.search(r"leases=(\d+)", line)[1] for line in lines] == ["1", "2"] and grants["f1"].lease != grants["f2"].lease
    assert sorted(leases(fleet)) == sorted([c, str(g.lease)] for c, g in grants.items())
    # The server is gone: the connection is direct, both complete all the same.
    fleet.procs["heliod"].kill()
    assert not [c for c in ("f1", "f2") if installed(fleet, c, package)], "it was over before the server was killed"
    for c in ("f1", "f2"):
        wait_for(lambda: installed(fleet, c, package), 40, f"{c} completes without the server")
        assert same_file(fleet, c, package) and connected(fleet, "da", c) and asked(fleet, "da", c)
    # Who asked for nothing was given nothing.
    assert not connected(fleet, "da", "f3") and not asked(fleet, "da", "f3")
    assert not re.search(r"Sending PUBLISH to f3 ", fleet.broker_log("da"))
    assert not list((fleet.folder / "f3/packages").iterdir()) and "FETCH" not in fleet.procs["f3"].text()
    assert not record.wants("f3") and not record.grants("f3")


def told(p, package):
    """Beats until the server told it to fetch the package."""
    for _ in range(12):
        r = p.beat()
        if r.body.kind == pb.RETRIEVE_INFORMATION:
            assert r.body.retrieve.packages[0].package.hex() == package
            return r
        answer(p, r)
    raise AssertionError("it was not told to fetch")


def ask(p, package, request_id, publisher="pub", **more):
    """A request by hand, under the session's key."""
    p.want_seq = getattr(p, "want_seq", 0) + 1
    w = pb.Want(schema=1, client_id=p.id, session_id=p.session_id, seq=p.want_seq, boot=p.boot)
    w.fetch.request_id, w.fetch.package, w.fetch.publisher = request_id, package, publisher
    for name, value in more.items():
        setattr(w.fetch, name, value)
    topic = f"helio/v1/want/{wire.shard(p.id)}/{p.id}"
    p.link.publish(topic, wire.sealed(w, topic, mac_key=p.mac_up))


def answered(p, request_id, timeout=10):
    while True:
        m = p.link.next(f"helio/v1/grant/{p.id}", timeout)
        g = m.decode(pb.Grant)
        assert wire.mac_holds(m.payload, m.topic, p.mac_down)
        if g.request_id == request_id:
            return g


def test_S002_8_what_is_not_meant_for_a_client_or_not_known_is_not_granted(fleet_of):
    fleet = fleet_for(fleet_of)
    fleet.up(agents=[])
    joins(fleet, "f1", "f2")
    package = package_of(fleet, size=50_000)
    stored(fleet, package)
    fleet.ctl("channel", "publish", "f1", package)
    one, two = (fleet.principal(c).sign_in() for c in ("f1", "f2"))
    settle(two, 12)
    told(one, package)
    id_ = bytes.fromhex(package)
    ask(two, id_, 1)
    ask(two, bytes(31) + b"\1", 2)
    ask(two, id_, 3, publisher="other")
    for n, word in ((1, "not-meant"), (2, "unknown"), (3, "unknown")):
        g = answered(two, n)
        assert not g.granted and g.reason.startswith(word) and not g.lease and not g.HasField("from"), g
    assert fleet.sql("select count(*) from lease") == "0"
    ask(one, id_, 1)
    g = answered(one, 1)
    assert g.granted and getattr(g, "from").broker_id == "da" and fleet.sql("select client from lease") == "f1"
    # The same request again is the same lease; another one of this client as well.
    ask(one, id_, 1)
    assert answered(one, 1).lease == g.lease
    ask(one, id_, 2)
    assert answered(one, 2).lease == g.lease and fleet.sql("select count(*) from lease") == "1"


@pytest.mark.slow
def test_S002_11_stop_comes_when_the_last_consumer_has_ended_and_lingered(fleet_of):
    linger = 1
    fleet = fleet_for(fleet_of, rate=700_000, linger_s=linger).up(agents=["f2"])
    record = Record(fleet)
    joins(fleet, "f1", "f2")
    package = package_of(fleet, size=4_500_000)
    stored(fleet, package)
    one, id_ = fleet.principal("f1").sign_in(), bytes.fromhex(package)
    for c in ("f1", "f2"):
        fleet.ctl("channel", "publish", c, package)
    told(one, package)
    ask(one, id_, 1)
    g = answered(one, 1)
    wait_for(lambda: record.grants("f2", package), 20)
    objects = sorted(late(fleet, "da", "helio/v1/chunk/#", f"helio/v1/pkg/pub/{package}", "helio/v1/idx/#"))
    assert len(objects) > 15 and len(leases(fleet)) == 2
    # f1 ends long before f2: no STOP for three times the linger, and everything stays.
    release(one, id_, g.lease, 2)
    answered(one, 2)
    ended_early = time.time()
    assert [c for c, _ in leases(fleet)] == ["f2"] and not installed(fleet, "f2", package)
    wait_for(lambda: installed(fleet, "f2", package), 40)
    ended = wait_for(lambda: [at for at, t, w in record.of("helio/v1/want/", pb.Want) if w.HasField("release") and t.endswith("/f2")], 10)[0]
    assert not [at for at, d in record.directives(package, pb.STOP) if at < ended] and ended - ended_early > 3 * linger
    record.directive(package, pb.STOP)
    at = record.directives(package, pb.STOP)[0][0]
    assert linger - 0.3 <= at - ended, "STOP came before the linger was over"
    print(f"STOP {at - ended:.2f} s after the last release, linger {linger} s")
    assert at - ended <= linger + 1 or at - ended <= linger + 1 + patience(1) - 1
    record.directive(package, pb.WAIT)
    assert not late(fleet, "da", *objects) and not late(fleet, "da", "helio/v1/chunk/#")
    (stopped,) = [m for _, _, m in record.of("helio/v1/pub/pub", pb.PublisherMsg) if m.state == pb.PUB_STOPPED][:1]
    assert stopped.package.hex() == package


def release(p, package, lease, request_id):
    p.want_seq += 1
    w = pb.Want(schema=1, client_id=p.id, session_id=p.session_id, seq=p.want_seq, boot=p.boot)
    w.release.request_id, w.release.package, w.release.lease, w.release.outcome = request_id, package, lease, pb.OP_DONE
    topic = f"helio/v1/want/{wire.shard(p.id)}/{p.id}"
    p.link.publish(topic, wire.sealed(w, topic, mac_key=p.mac_up))


@pytest.mark.slow
def test_S002_11_a_lease_keeps_everything_and_a_watcher_nothing(fleet_of):
    linger, ttl = 2, 2
    fleet = fleet_for(fleet_of, clients=("f1", "f2"), rate=300_000, linger_s=linger, lease_ttl_s=ttl).up(agents=["f2"])
    record = Record(fleet)
    joins(fleet, "f1", "f2")
    package = package_of(fleet, size=3_000_000)
    stored(fleet, package)
    everything = [f"helio/v1/pkg/pub/{package}", *late(fleet, "da", "helio/v1/chunk/#", "helio/v1/idx/#")]
    fleet.watch(*everything, broker="da")           # an operator who only looks, all the time
    fleet.ctl("channel", "publish", "f2", package)
    wait_for(lambda: record.grants("f2", package), 20)
    for _ in range(4):
        assert all_there(fleet, "da", everything), "something went while a lease lived"
        time.sleep(0.7)
    assert fleet.procs["f2"].alive() and leases(fleet)
    fleet.procs["f2"].kill()
    killed = time.time()
    record.directive(package, pb.STOP, timeout=ttl + linger + 10)
    took = record.directives(package, pb.STOP)[0][0] - killed
    print(f"STOP {took:.2f} s after the kill, ttl {ttl} s, linger {linger} s")
    assert ttl + linger - 0.7 <= took <= ttl + linger + 1.5 + patience(1) - 1
    record.directive(package, pb.WAIT)
    assert not late(fleet, "da", *everything), "what was only looked at stayed"
    # Who joins within the linger keeps it.
    one, id_ = fleet.principal("f1").sign_in(), bytes.fromhex(package)
    fleet.ctl("channel", "publish", "f1", package)
    told(one, package)
    ask(one, id_, 1)
    g = wait_for(lambda: record.grants("f1", package), 20, "it comes back")[0][2]
    stops = len(record.directives(package, pb.STOP))
    for n in (2, 4, 6):     # longer than the linger in all
        release(one, id_, g.lease, n)
        answered(one, n)
        time.sleep(linger * 0.4)
        ask(one, id_, n + 1)
        g = answered(one, n + 1)
        assert g.granted
    assert len(record.directives(package, pb.STOP)) == stops
    beats_until(one, time.time() + linger * 1.5, id_, g.lease)
    assert len(record.directives(package, pb.STOP)) == stops and late(fleet, "da", everything[0])


def beats_until(p, end, package, lease):
    """Heartbeats that list the lease, as an agent that fetches sends them."""
    while time.time() < end:
        held = pb.Holdings()
        held.items.add(package=package, lease=lease, chunks_total=9)
        p.beat(holdings=held)
        time.sleep(0.2)


@pytest.mark.slow
def test_S002_12_S002_15_unasked_content_goes_and_the_publisher_waits_until_somebody_asks(fleet_of):
    grace = 3
    fleet = fleet_for(fleet_of, clients=("f1", "f2"), brokers=("da", "db"), first_viewer_grace_s=grace, linger_s=60).up()
    record = Record(fleet)
    joins(fleet, "f1", "f2")
    package = package_of(fleet, size=400_000)
    broker = stored(fleet, package)
    record.directive(package, pb.TRANSMIT)
    at = record.directives(package, pb.TRANSMIT)[0][0]
    everything = [f"helio/v1/pkg/pub/{package}", *late(fleet, broker, "helio/v1/chunk/#", "helio/v1/idx/#")]
    assert len(everything) > 4 and all_there(fleet, broker, everything)
    record.directive(package, pb.WAIT)
    stop = record.directives(package, pb.STOP)[0][0]
    assert grace - 0.3 <= stop - at <= grace + 3 + patience(1) - 1, "it was not the grace"
    assert not late(fleet, broker, *everything)
    # It waits: nothing is sent to any data broker, also when the publisher is started again: it asks, and is told to wait.
    before, sent, waits = quiet_counts(fleet), len(record.directives(package, pb.TRANSMIT)), len(record.directives(package, pb.WAIT))
    began = time.monotonic()
    fleet.procs["pub"].kill()
    fleet.publisher("pub")
    record.directive(package, pb.WAIT, waits + 1)
    time.sleep(max(0, (20 if LONG else 4) - (time.monotonic() - began)))
    assert published(fleet) == before and len(record.directives(package, pb.TRANSMIT)) == sent
    # Another package is asked for and fetched: this one sleeps on.
    other = package_of(fleet, "other", 100_000)
    stored(fleet, other)
    fleet.ctl("channel", "publish", "f1", other)
    wait_for(lambda: installed(fleet, "f1", other), 30)
    assert len(record.directives(package, pb.TRANSMIT)) == sent and not late(fleet, broker, *everything)
    # Somebody asks for it.
    fleet.ctl("channel", "publish", "f2", package)
    wait_for(lambda: installed(fleet, "f2", package), 30, "it comes back and is fetched")
    assert same_file(fleet, "f2", package) and len(record.directives(package, pb.TRANSMIT)) == sent + 1
    again = record.directives(package, pb.TRANSMIT)[-1][1].to.broker_id
    assert all_there(fleet, again, everything)


def test_S002_15_with_no_grace_what_nobody_asks_for_stays(fleet_of):
    fleet = fleet_for(fleet_of, clients=(), first_viewer_grace_s=0, linger_s=1)
    fleet.up()
    record = Record(fleet)
    package = package_of(fleet, size=50_000)
    stored(fleet, package)
    for _ in range(4):
        assert lies(fleet, package)
    assert not record.directives(package, pb.STOP)
    # The same with a grace: it goes.
    fleet.procs["heliod"].kill()
    fleet.server_extra["data"]["first_viewer_grace_s"] = 1
    fleet.heliod()
    record.directive(package, pb.STOP)
    record.directive(package, pb.WAIT)
    assert not lies(fleet, package)
