"""Discovery, name first and then IP: name and address of the control broker are two listeners on two loopback
addresses, and each keeps its own book of who came."""
import contextlib
import itertools
import re
import shutil
import time

from lib import wire
from lib.fleet import PROGRAMS
from lib.names import Names
from lib.procs import Proc, free_ports, port_answers
from lib.proxy import Proxy
from lib.wait import stays, wait_for

pb = wire.pb
NAME, IP = "localhost", "127.0.0.2"     # NAME resolves to another address


class Ways:
    """One port on two addresses: `name` behind the name, `ip` behind the address. Either may be closed and opened."""

    def __init__(self, fleet):
        self.to, self.port = fleet.port["control"], free_ports(1)[0]
        self.at = {"name": "127.0.0.1", "ip": IP}
        self.books = {"name": [], "ip": []}
        self.open_now = {}

    def open(self, way):
        proxy = self.open_now[way] = Proxy(self.to, at=(self.at[way], self.port)).start()
        proxy.accepted = self.books[way]        # one book, however often the way is closed and opened
        return proxy

    def close(self, way):
        self.open_now.pop(way).stop()
        wait_for(lambda: not port_answers(self.port, self.at[way]), 5, f"{way} refuses")
        self.books[way].clear()                 # the questions of this class are not the agent's

    def came(self, way):
        return len(self.books[way])

    def settings(self, **more):
        return {"control": {"name": NAME, "ip": IP, "port": self.port, "backoff_min_ms": 100, **more}}


@contextlib.contextmanager
def two_ways(fleet):
    fleet.enrol("broker", "reached.twice", "--dns", NAME, "--ip", "127.0.0.1", "--ip", IP)
    for f in ("tls.crt", "tls.key"):
        shutil.copy(fleet.bundle("reached.twice") / f, fleet.bundle("control") / f)
    ways = Ways(fleet)
    try:
        yield ways
    finally:
        for proxy in ways.open_now.values():
            proxy.stop()


def connections(fleet, client):
    """What the broker's own log says."""
    return len(re.findall(rf"New client connected from \S+ as {re.escape(client)} ", fleet.broker_log("control")))


def vias(agent):
    return re.findall(r" CONNECT connect via=(\w+)", agent.text())


def heard(fleet, watch):
    """A heartbeat after now, on the broker itself."""
    seen = len(watch.of(wire.hb_topic("f1")))
    wait_for(lambda: len(watch.of(wire.hb_topic("f1"))) > seen, 15, "a heartbeat")


def test_S001_c31_a_name_whose_port_refuses_gives_way_to_the_address_and_wins_again(fleet_of):
    fleet = fleet_of(clients=("f1",))
    with two_ways(fleet) as ways:
        fleet.brokers()
        fleet.heliod()
        watch = fleet.watch("helio/v1/hb/#")
        # Both would serve: the name is used, and nobody comes to the address.
        ways.open("name")
        ways.open("ip")
        agent = fleet.agent("f1", ways.settings())
        heard(fleet, watch)
        assert vias(agent) == ["name"] and ways.came("name") == 1 and ways.came("ip") == 0
        assert connections(fleet, "f1") == 1
        # The name resolves still, its port refuses: the address.
        ways.close("name")
        wait_for(lambda: len(vias(agent)) == 2, 15, "connected again")
        heard(fleet, watch)
        assert vias(agent) == ["name", "ip"] and ways.came("ip") == 1
        assert connections(fleet, "f1") == 2
        # The name works again: a connection that works is left alone, and the next one goes by the name.
        ways.open("name")
        stays(lambda: ways.came("name") == 0 and ways.came("ip") == 1, 1.0)
        ways.open_now["ip"].cut()
        wait_for(lambda: len(vias(agent)) == 3, 15, "connected again")
        heard(fleet, watch)
        assert vias(agent) == ["name", "ip", "name"]
        assert ways.came("name") == 1 and ways.came("ip") == 1, "the address was asked though the name works"
        assert connections(fleet, "f1") == 3 and agent.alive()
        fleet.wait_client("f1", lambda c: c["reach"] == "online", 10)


def rounds(ways):
    """How often the name was asked and then the address; asserts that it was in this order. A way that failed without
    a word is looked at once more before the next one, to tell why: that is the same try."""
    ip = list(ways.books["ip"])
    name = [t for t in ways.books["name"] if ip and t <= ip[-1]]     # the agent goes on while we look
    tries = [way for way, _ in itertools.groupby(way for _, way in sorted([(t, "name") for t in name] +
                                                                          [(t, "ip") for t in ip]))]
    assert tries == ["name", "ip"] * (len(tries) // 2), tries
    return len(tries) // 2


def test_S001_c31_both_dead_each_round_asks_the_name_first_and_rounds_grow_apart(fleet_of):
    fleet = fleet_of(clients=("f1",))
    with two_ways(fleet) as ways:
        fleet.brokers()
        for way in ("name", "ip"):
            ways.open(way).refuse = True    # takes the call and hangs up
        agent = fleet.agent("f1", ways.settings(backoff_max_ms=3000))
        wait_for(lambda: ways.came("ip") >= 1, 15, "a first round")
        # Waits below 0.1, 0.2, 0.4, .. 3 s: 14 of them do not fit into 4 s, but 80 that do not grow.
        stays(lambda: agent.alive() and rounds(ways) <= 14, 4.0)
        assert rounds(ways) >= 3
        # It is there as soon as one of the two answers, without a restart.
        ways.open_now["ip"].refuse = False
        agent.wait_text("via=ip", 20)
        wait_for(lambda: connections(fleet, "f1") == 1, 5, "the broker's log")
        agent.stop()
        # Control: waits that do not grow are seen as such.
        ways.open_now["ip"].refuse = True
        ways.books["name"].clear()
        ways.books["ip"].clear()
        began = time.monotonic()
        fleet.agent("f1", ways.settings(backoff_max_ms=100))
        wait_for(lambda: rounds(ways) > 20, 30, "many rounds")
        print(f"21 rounds in {time.monotonic() - began:.1f} s")


# ---------------------------------------------------------------- SRV records

SERVICE = "_heliograph._tcp.helio.test"
WAYS = {"first.helio.test": "127.0.0.3", "second.helio.test": "127.0.0.4", "ip": IP}


def test_S001_c31_srv_records_come_first_in_their_order_with_the_targets_own_certificate(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=())
    names = Names(fleet.folder)
    fleet.enrol("broker", "by.service", "--dns", "first.helio.test", "--dns", "second.helio.test", "--dns", "localhost", "--ip", IP,
                "--ip", "127.0.0.1")
    for f in ("tls.crt", "tls.key"):
        shutil.copy(fleet.bundle("by.service") / f, fleet.bundle("control") / f)
    fleet.brokers()
    port = free_ports(1)[0]
    names.a = {name: at for name, at in WAYS.items() if name != "ip"}
    names.a["other.helio.test"] = "127.0.0.3"           # it works, but the certificate has not this name
    names.srv = {SERVICE: [(20, 0, port, "second.helio.test"), (10, 0, port, "first.helio.test")]}
    doors = {name: Proxy(fleet.port["control"], at=(at, port)).start() for name, at in WAYS.items()}
    came = {name: door.accepted for name, door in doors.items()}
    try:
        fleet.procs["f1"] = Proc("f1", names.argv(PROGRAMS["helio-agent"], "--config", fleet.folder / "f1.ini"), fleet.folder,
                                 env={"HELIO_TEST": "1"})
        agent = fleet.agent("f1", {"control": {"srv": SERVICE, "name": "", "ip": IP, "port": port, "backoff_min_ms": 100,
                                               "backoff_max_ms": 1000, "connect_timeout_s": 5}})

        def connected(number):
            lines = agent.wait_text(" CONNECT connect via=", 25, count=number)
            assert len(lines) == number
            return re.search(r"via=(\w+) addr=\S+ host=\"?([a-z0-9.]+)", lines[-1]).groups()

        # All three would serve: the one of the lowest priority is used, by the name that its record has.
        assert connected(1) == ("srv", "first.helio.test")
        assert (SERVICE, 33) in names.asked and not came["ip"] and not came["second.helio.test"]
        # It is gone: the next record.
        doors.pop("first.helio.test").stop()
        assert connected(2) == ("srv", "second.helio.test") and not came["ip"]
        # There are no records: the address. They are there again: they win with the next connection.
        records, names.srv = names.srv, {}
        doors["second.helio.test"].cut()
        assert connected(3) == ("ip", IP)
        names.srv = records
        doors["first.helio.test"] = Proxy(fleet.port["control"], at=(WAYS["first.helio.test"], port)).start()
        doors["ip"].cut()
        assert connected(4) == ("srv", "first.helio.test")
        # No downgrade: a target that is reached and whose certificate has not its name is refused.
        names.srv = {SERVICE: [(10, 0, port, "other.helio.test")]}
        tried = len(doors["first.helio.test"].accepted)
        doors["first.helio.test"].cut()
        assert connected(5) == ("ip", IP)
        assert len(doors["first.helio.test"].accepted) > tried, "it was not even tried"
        assert "does not carry the name 'other.helio.test'" in agent.text()
        # A name server that says nothing holds it up for a bounded time.
        names.silent = True
        began = time.monotonic()
        doors["ip"].cut()
        assert connected(6) == ("ip", IP) and time.monotonic() - began < 15
        assert agent.alive()
    finally:
        names.close()
        for door in doors.values():
            door.stop()
