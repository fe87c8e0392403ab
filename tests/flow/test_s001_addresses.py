"""The address that a grant names: it is used, and no other; where nothing good is behind it, another is asked for.

Server and publisher keep the connections they have. Whoever connects anew to the address of the grant meets what a
client meets behind a bad route: nobody, somebody who never answers, or somebody else."""
import re
import socket
import ssl
import threading
import time

import pytest

from lib import wire
from lib.fleet import Fleet
from lib.proxy import Proxy
from lib.wait import wait_for

pb = wire.pb


class Gate(Proxy):
    """The address of a data broker, with a door that decides about each new connection."""

    def __init__(self, to_port):
        super().__init__(to_port)
        self.door, self.inside, self.alerts = self.lets_in, [], []

    def _accept(self):
        while not self.ended:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.door(client)

    def lets_in(self, client):
        server = socket.create_connection(self.to)
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs.append((client, server))
        threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def refuses(self, folder):
        """A dead port; who is inside stays."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def never_answers(self, folder):
        self.door = self.inside.append

    def is_another(self, folder):
        """A broker of the same names whose certificate another authority made."""
        other = Fleet(folder / "other", data_brokers=("da",), clients=(), publishers=())
        bundle = other.bundle("da")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(bundle / "tls.crt", bundle / "tls.key")
        self.door = self.greets

    def greets(self, client):
        client.settimeout(5)
        try:
            with self.tls.wrap_socket(client, server_side=True) as s:
                s.recv(1)
            self.alerts.append("let in")
        except OSError as e:
            self.alerts.append(str(e))


@pytest.fixture
def gated(fleet_of):
    """A fleet whose data brokers are known by the addresses of gates, with one client."""
    gates = {}

    def make(**server):
        sections = {"probe": {"enabled": False}, **server}      # a probe connects anew
        fleet = fleet_of(clients=("f1",), server=sections, agent={"control": {"connect_timeout_s": 3}})
        fleet.brokers()
        for name in fleet.data_ids:
            gates[name] = Gate(fleet.port[name]).start()
            fleet.port[name] = gates[name].port
        fleet.heliod().wait_text("LINK-UP", 15, count=3)
        fleet.publisher()
        fleet.agent("f1")
        fleet.wait_client("f1", lambda c: c["reach"] == "online" and c["state"] == "idle", 20)
        return fleet, gates
    yield make
    for gate in gates.values():
        gate.stop()
        for s in gate.inside:
            s.close()


def package_of(fleet, folder, name="app"):
    home = folder / f"software-{name}"
    home.mkdir()
    (home / "image.bin").write_bytes(name.encode() * 50_000)
    return fleet.software_package(name, "1", home)


def stored_at(fleet, package):
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 20, "it is stored")
    return fleet.ctl("package", "show", package)["broker"]


def installed(fleet, package):
    return (fleet.folder / "f1/packages" / package).exists()


def came(fleet, broker):
    """The broker's own log."""
    return bool(re.search(r"New client connected from \S+ as f1 ", fleet.broker_log(broker)))


def asked(fleet, broker):
    return set(re.findall(r" f1 1 helio/v1/chunk/pub/(\w+)", fleet.broker_log(broker)))


def grants(watch):
    return [g for g in (m.decode(pb.Grant) for m in watch.of("helio/v1/grant/f1")) if g.granted]


def complaints(watch):
    wants = [m.decode(pb.Want) for m in watch.of("helio/v1/want/")]
    return [w.fetch.failed_broker for w in wants if w.HasField("fetch") and w.fetch.failed_broker]


def outcomes(fleet):
    return [r["outcome"] for r in fleet.ctl("operations", "f1")["operations"] if r["kind"] == "retrieve-information"]


def test_S001_c26_the_client_connects_to_the_address_it_was_given_and_to_no_other(fleet_of, folder):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch("helio/v1/grant/f1")
    first = package_of(fleet, folder, "first")
    one = stored_at(fleet, first)
    other = "db" if one == "da" else "da"
    fleet.ctl("channel", "publish", "default", first)
    wait_for(lambda: installed(fleet, first), 20)
    grant = wait_for(lambda: grants(watch), 10, "the grant is recorded")[0]
    assert getattr(grant, "from").broker_id == one and getattr(grant, "from").port == fleet.port[one]
    assert getattr(grant, "from").topic == f"helio/v1/pkg/pub/{first}"
    assert came(fleet, one) and asked(fleet, one)
    assert not came(fleet, other) and not asked(fleet, other), "the client was at a broker that nobody named"
    assert not fleet.mosquitto_sub(f"helio/v1/pkg/pub/{first}", "-C", "1", "-N", broker=other, timeout=1, check=False), \
        "the package lies on both: its absence there proves nothing"
    assert fleet.mosquitto_sub(f"helio/v1/pkg/pub/{first}", "-C", "1", "-N", broker=one)
    # The next package lies on the other one, for the first was a target just now: now the client comes there.
    second = package_of(fleet, folder, "second")
    assert stored_at(fleet, second) == other
    fleet.ctl("channel", "publish", "default", second)
    wait_for(lambda: installed(fleet, second), 20)
    assert came(fleet, other) and asked(fleet, other)


@pytest.mark.parametrize("how", ["refuses", pytest.param("never_answers", marks=pytest.mark.slow), "is_another"])
def test_S001_c26_behind_a_bad_address_the_client_says_so_and_is_given_another(gated, folder, how):
    fleet, gates = gated(data={"recent_period_s": 0})
    watch = fleet.watch("helio/v1/grant/f1", "helio/v1/want/#")
    package = package_of(fleet, folder)
    bad = stored_at(fleet, package)
    good = "db" if bad == "da" else "da"
    getattr(gates[bad], how)(folder)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, package), 60, "it comes from another broker")
    fleet.wait_client("f1", lambda c: c["state"] == "idle", 10)
    assert set(wait_for(lambda: complaints(watch), 10, "the complaint is recorded")) == {bad}

    def given(since=0):
        return [getattr(g, "from").broker_id for g in grants(watch)[since:]]
    wait_for(lambda: good in given(), 10, "the grant is recorded")
    assert given()[0] == bad and given()[-1] == good, given()
    assert not came(fleet, bad) and came(fleet, good)
    assert outcomes(fleet) == ["done"]
    if how == "is_another":
        assert gates[bad].alerts and all("unknown ca" in a for a in gates[bad].alerts), gates[bad].alerts
    if how == "never_answers":
        assert gates[bad].inside
    # For a time it is not sent there again: of the next package it hears when that lies elsewhere.
    second = package_of(fleet, folder, "second")
    before = len(grants(watch))
    stored_at(fleet, second)
    fleet.ctl("channel", "publish", "default", second)
    wait_for(lambda: installed(fleet, second), 30)
    wait_for(lambda: given(before), 10, "the grant is recorded")
    assert set(given(before)) == {good}


def test_S001_c26_with_no_good_address_at_all_it_ends_failed_within_the_deadline(gated, folder):
    fleet, gates = gated(server={"op_deadline_s": 5, "attempts_max": 1, "reconnect_spread_s": 0}, data={"recent_period_s": 0})
    watch = fleet.watch("helio/v1/want/#", "helio/v1/hb/#")
    package = package_of(fleet, folder)
    bad = stored_at(fleet, package)
    gates[bad].refuses(folder)
    gates["db" if bad == "da" else "da"].never_answers(folder)
    fleet.ctl("channel", "publish", "default", package)
    began = time.monotonic()
    wait_for(lambda: outcomes(fleet) == ["failed"], 20, "the operation fails")
    assert 4 < time.monotonic() - began < 20
    assert set(complaints(watch)) == {bad}, "it said which broker failed"
    # The client learns it, and is free for the next one.
    fleet.ctl("exec", "f1", "ping")
    wait_for(lambda: any(r["kind"] == "execute-command" and r["outcome"] == "done"
                         for r in fleet.ctl("operations", "f1")["operations"]), 20, "it does what is asked next")
    assert not installed(fleet, package)
