"""Several publishers, several consumers, several copies: everybody at once, and nobody touches what is another's."""
import os
import subprocess
import time

import pytest

from lib import rogue, wire
from lib.presence import Record, all_there, connected, content, counted, late, lies_at, offer, package_of, stored, sys_value
from lib.wait import stays, wait_for
from test_acl import puback
from test_presence_leases import answered, ask, fleet_for, installed, joins, release, same_file, told

pb = wire.pb


def test_S002_14_two_publishers_three_clients_and_a_process_that_is_both(fleet_of):
    fleet = fleet_for(fleet_of, clients=("f1", "f2", "f3"), brokers=("da", "db"))
    fleet.publishers += ["pub2", "hand", "thief"]
    for p in fleet.publishers[1:]:
        fleet.enrol("publisher", p)
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=3)
    for p in ("pub", "pub2"):
        fleet.publisher(p)
    for c in ("f1", "f2"):
        fleet.agent(c)
        fleet.wait_client(c, lambda s: s["reach"] == "online", 20)
    record = Record(fleet)
    joins(fleet, "f1", "f2", "f3")
    # This process is a publisher and a consumer: it publishes, asks, is granted and fetches what it published.
    hand, three = rogue.Publisher(fleet, "hand"), fleet.principal("f3").sign_in()
    own = content(fleet, hand, "own", size=20_000)
    packages = {"f1": package_of(fleet, "one", 600_000), "f2": package_of(fleet, "two", 600_000, publisher="pub2"), "f3": own.hex}
    hand.publish(own)
    for c, p in packages.items():
        stored(fleet, p)
        fleet.ctl("channel", "publish", c, p)
    told(three, own.hex)
    ask(three, own.id, 1, publisher="hand")
    g = answered(three, 1)
    place = getattr(g, "from").broker_id
    as_client = wire.Client(fleet.port[place], fleet.bundle("f3"))
    fleet.witnesses.append(as_client)
    as_client.subscribe(*[f"helio/v1/chunk/hand/{o.hex()}" for o in own.objects])
    wait_for(lambda: len(as_client.of("helio/v1/chunk/hand/")) == len(own.objects), 10, "all of its objects")
    assert {rogue.sha(m.payload) for m in as_client.of("helio/v1/chunk/")} == set(own.objects)
    assert connected(fleet, place, "hand") and connected(fleet, place, "f3")
    release(three, own.id, g.lease, 2)
    assert answered(three, 2).release_acked
    for c, name in (("f1", "one-1"), ("f2", "two-1")):
        wait_for(lambda: installed(fleet, c, packages[c]), 30)
        assert same_file(fleet, c, packages[c], name)
    assert len({topic for _, topic, _ in record.of("helio/v1/pubcmd/", pb.Directive)}) == 3
    # Nobody withdraws or overwrites what is another's: the data broker says so ...
    at = lies_at(fleet, packages["f2"], "pub2")[0]
    theirs = list(late(fleet, at, f"helio/v1/pkg/pub2/{packages['f2']}", f"helio/v1/idx/pub2/{packages['f2']}/full", "helio/v1/chunk/pub2/+"))
    assert len(theirs) > 4
    for topic in (theirs[0], theirs[-1], f"helio/v1/idx/pub2/{packages['f2']}/full"):
        assert puback(fleet, "thief", topic, at, payload=None) == 135 and puback(fleet, "thief", topic, at, retain=True) == 135
    assert puback(fleet, "thief", "helio/v1/chunk/thief/" + "ab" * 32, at, retain=True) in (0, 16), "it may write nothing at all"
    assert all_there(fleet, at, theirs)
    # ... and so does the presence server, of every word about it.
    thief = rogue.Publisher(fleet, "thief")
    directives = len(record.directives(packages["f2"], publisher="pub2"))
    for state in (pb.PUB_STORED, pb.PUB_STOPPED, pb.PUB_FAILED, pb.PUB_WITHDRAWN, pb.PUB_SENDING):
        thief.say(state, package=bytes.fromhex(packages["f2"]), directive_id=record.directives(packages["f2"], publisher="pub2")[-1][1].directive_id,
                  broker_id=at, mark=os.urandom(16), index_sha256=os.urandom(32))
        d = thief.directive((pb.DIRECTIVE_NOTED, pb.TRANSMIT), bytes.fromhex(packages["f2"]))
        assert d.kind == pb.DIRECTIVE_NOTED and d.reason == "refused: the package belongs to another publisher"
    stays(lambda: len(record.directives(packages["f2"], publisher="pub2")) == directives, 0.5)
    assert fleet.ctl("package", "show", packages["f2"])["state"] in ("stored", "linger")


def test_S002_12_what_two_packages_share_goes_with_the_last_of_them(fleet_of):
    """The same file is in both: its objects stay while one of them lists them, and nothing stays after that."""
    fleet = fleet_for(fleet_of, clients=("f1",), first_viewer_grace_s=0, linger_s=1).up(agents=[])
    one = package_of(fleet, "app", 500_000, "1", seed="same")
    stored(fleet, one)
    alone = set(late(fleet, "da", "helio/v1/chunk/pub/+"))
    two = package_of(fleet, "app", 500_000, "2", seed="same")
    stored(fleet, two)
    both = set(late(fleet, "da", "helio/v1/chunk/pub/+"))
    assert alone <= both and len(alone) > 2 and len(both) < 2 * len(alone), "they share nothing"
    fleet.ctl("package", "withdraw", one)
    wait_for(lambda: not late(fleet, "da", f"helio/v1/pkg/pub/{one}"), 10)
    wait_for(lambda: fleet.procs["pub"].lines("PUBLISH-STOPPED"), 10)
    rest = set(late(fleet, "da", "helio/v1/chunk/pub/+"))
    assert len(alone & rest) >= 2 and all_there(fleet, "da", [f"helio/v1/pkg/pub/{two}"])
    fleet.ctl("package", "withdraw", two)
    wait_for(lambda: len(fleet.procs["pub"].lines("PUBLISH-STOPPED")) == 2, 10)
    assert not late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#")


def test_S002_14_publishers_that_hold_the_same_chunks_take_away_their_own_alone(fleet_of):
    """The same file at two publishers, on one broker: each has its own copy of the objects there, and one's end is not the other's."""
    fleet = fleet_for(fleet_of, clients=("f1",), first_viewer_grace_s=0, linger_s=1)
    fleet.publishers.append("pub2")
    fleet.enrol("publisher", "pub2")
    fleet.up(agents=[])
    one, two = package_of(fleet, "one", 500_000, seed="same"), package_of(fleet, "two", 500_000, seed="same", publisher="pub2")
    for p in (one, two):
        assert stored(fleet, p) == "da"
    names = {p: {t.rsplit("/", 1)[1] for t in late(fleet, "da", f"helio/v1/chunk/{p}/+")} for p in ("pub", "pub2")}
    assert len(names["pub"] & names["pub2"]) >= 2, "they share nothing"
    theirs = [f"helio/v1/pkg/pub2/{two}", f"helio/v1/idx/pub2/{two}/full", *[f"helio/v1/chunk/pub2/{n}" for n in names["pub2"]]]
    fleet.ctl("package", "withdraw", one)
    wait_for(lambda: fleet.procs["pub"].lines("PUBLISH-STOPPED"), 10)
    wait_for(lambda: not late(fleet, "da", "helio/v1/chunk/pub/+", "helio/v1/pkg/pub/+"), 10, "its own are gone")
    assert all_there(fleet, "da", theirs)
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    fleet.ctl("channel", "publish", "default", two)
    wait_for(lambda: installed(fleet, "f1", two), 30)
    assert same_file(fleet, "f1", two, "two-1")


def test_S002_12_a_brokers_memory_is_back_where_it_began_after_stop(fleet_of):
    """By Mosquitto's own count of its heap. What it keeps of a topic that was cleared (200 B in 2.0.11) is its own affair."""
    fleet = fleet_for(fleet_of, clients=(), first_viewer_grace_s=0).up()
    small = package_of(fleet, "small", 1000)        # the publisher's connection and its mark are there before as after
    stored(fleet, small)

    def heap():
        counted(fleet)
        return sys_value(fleet, "da", "heap/current")
    began, size = heap(), 30_000_000
    for round in range(3):
        package = package_of(fleet, "large", size, str(round))
        stored(fleet, package)
        wait_for(lambda: heap() > began + 0.99 * size, 20, "it lies in the broker's memory")
        topics = len(late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#"))
        fleet.ctl("package", "withdraw", package)
        residue = (round + 1) * topics * 400 + 200_000
        wait_for(lambda: heap() < began + residue, 30, f"it is given back but for {residue} B")
        print(f"heap {began:.0f} B, with {topics} topics of {size} B and without them again {heap():.0f} B")
    assert stored(fleet, small) == "da"


def crowded(fleet_of, clients, brokers=("da", "db", "dc"), **data):
    """A broker that serves one client at the rate that each should have."""
    fleet = fleet_of(clients=clients, data_brokers=brokers, interval_ms=200, capacity=1_000_000,
                     server={"server": {"reconnect_spread_s": 0, "host_period_ms": 3600000}, "probe": {"enabled": False},
                             "data": {"recent_period_s": 0, "sys_interval_s": 1, "share_bytes_per_s": 700_000, "linger_s": 1, **data}})
    fleet.up()
    joins(fleet, *clients)
    return fleet


@pytest.mark.slow
def test_S002_7_S002_9_more_than_one_broker_serves_gets_further_copies(fleet_of):
    clients = ("f1", "f2", "f3")
    fleet = crowded(fleet_of, clients)
    record = Record(fleet)
    package = package_of(fleet, size=4_000_000)
    first = stored(fleet, package)
    for n, c in enumerate(clients):
        fleet.ctl("channel", "publish", c, package)
        wait_for(lambda: len({who for _, who, _ in record.grants(package=package)}) == n + 1, 20, f"a grant for {c}")
    places = {who: getattr(g, "from").broker_id for _, who, g in record.grants(package=package)}
    assert len(set(places.values())) == 3 and first in places.values(), places
    assert all(g.rate_bytes_per_s >= 700_000 for _, _, g in record.grants(package=package))
    assert sorted(lies_at(fleet, package)) == ["da", "db", "dc"]
    shown = {p["broker"]: (p["state"], p["leases"]) for p in fleet.ctl("package", "show", package)["placements"]}
    assert set(shown) == {"da", "db", "dc"} and sum(n for _, n in shown.values()) == 3
    for c in clients:
        wait_for(lambda: installed(fleet, c, package), 40)
        assert same_file(fleet, c, package) and connected(fleet, places[c], c)
    # Nobody fetches any more: all of them go.
    record.directive(package, pb.WAIT)
    wait_for(lambda: len([m for _, _, m in record.of("helio/v1/pub/pub", pb.PublisherMsg) if m.state == pb.PUB_STOPPED]) >= 3, 20)
    for b in fleet.data_ids:
        assert not late(fleet, b, "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#"), b
    assert fleet.sql("select count(*) from placement_copy") == "0"


@pytest.mark.long
def test_S002_7_a_copy_takes_over_when_the_first_broker_dies_and_nothing_is_sent_again(fleet_of):
    clients = ("f1", "f2")
    fleet = crowded(fleet_of, clients, ("da", "db"), broker_away_s=1)
    record = Record(fleet)
    package = package_of(fleet, size=7_000_000)
    first = stored(fleet, package)
    for n, c in enumerate(clients):
        fleet.ctl("channel", "publish", c, package)
        wait_for(lambda: len({who for _, who, _ in record.grants(package=package)}) == n + 1, 20, f"a grant for {c}")
    places = {who: getattr(g, "from").broker_id for _, who, g in record.grants(package=package)}
    (second,) = set(places.values()) - {first}
    sent = len(record.directives(package, pb.TRANSMIT))
    fleet.procs[f"broker-{first}"].kill()
    # The server is killed in between: what lies where, and who fetches where, is read back.
    fleet.procs["heliod"].kill()
    fleet.heliod()
    for c in clients:
        wait_for(lambda: installed(fleet, c, package), 60, f"{c} completes")
        assert same_file(fleet, c, package)
    assert fleet.procs["heliod"].lines("COPY-ADOPTED")
    assert all(d.to.broker_id == second for _, d in record.directives(package, pb.TRANSMIT)[sent:]), "it was sent somewhere again"
    # The dead one comes back empty: what was left there is counted as withdrawn.
    fleet.broker(first)
    wait_for(lambda: fleet.sql("select count(*) from placement_copy") == "0", 40, "nothing is left to be withdrawn")
    assert not late(fleet, first, "helio/v1/chunk/#", "helio/v1/pkg/#")
