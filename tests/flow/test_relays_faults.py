"""A relay that lies, is full, is slow, hangs or dies in the middle: its site gets all the same, from it or from where everybody is served.
The brokers' own logs say who fetched where, sha256sum what came."""
import socket

import pytest

from lib import wire
from lib.presence import connected, package_of, stored
from lib.proxy import Proxy
from lib.transfers import sent
from lib.wait import wait_for
from test_presence_leases import installed, joins, same_file
from test_relays import asked, fetched


def site_of(fleet_of, clients=("f1", "f2"), line=None, **data):
    """da for all, rl for the lobby, where everybody stands; line(port): what stands between rl and the world."""
    fleet = fleet_of(clients=clients, data_brokers=("da", "rl"), interval_ms=200, tls=False, server={
        "server": {"reconnect_spread_s": 0, "host_period_ms": 3600000}, "probe": {"enabled": False},
        "data": {"recent_period_s": 0, "sys_interval_s": 1, "linger_s": 600, "broker_away_s": 2, "relay": "rl acme/lobby", **data}})
    fleet.brokers()
    real = fleet.port["rl"]
    if line:
        fleet.line = line(real).start()
        fleet.port["rl"] = fleet.line.port      # a grant names the relay as the server knows it
    fleet.heliod().wait_text("LINK-UP", 15, count=3)
    fleet.port["rl"] = real
    fleet.publisher()
    for client in clients:
        fleet.agent(client)
    for client in clients:
        fleet.wait_client(client, lambda c: c["reach"] == "online", 20)
    joins(fleet, *clients)
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "place", "acme", "lobby")
    for client in clients:
        fleet.ctl("customer", "client", "acme", client, "--place", "lobby")
    return fleet


class Liar(Proxy):
    """Shows the others what is there, and f1 other bytes in every object."""

    def _carry(self, client, server):
        first = client.recv(4096, socket.MSG_PEEK)      # CONNECT names the client
        super()._carry(client, Bent(server) if b"\x00\x02f1" in first else server)


class Bent:
    def __init__(self, real):
        self.real = real

    def recv(self, size):
        data = bytearray(self.real.recv(size))
        if len(data) > 20000:
            data[len(data) // 2] ^= 1
        return bytes(data)

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.mark.slow
def test_relay_that_lies_to_one_of_its_clients_is_left_by_that_one_alone(fleet_of):
    fleet = site_of(fleet_of, line=Liar)
    with fleet.line:
        package = package_of(fleet, size=1_500_000)
        assert stored(fleet, package) == "da"
        fetched(fleet, "f2", package, "app-1")
        fetched(fleet, "f1", package, "app-1")
        # f1 asked the relay, saw that the bytes are wrong and said so; the server found the right ones; then it was sent elsewhere.
        assert asked(fleet, "rl", "f1") and fleet.procs["f1"].lines("FETCH-WRONG-BYTES")
        said = [line for line in fleet.procs["heliod"].lines("FETCH-COMPLAINT") if " client=f1 " in line]
        assert any("again=yes" in line for line in said) and all(" broker=rl " in line for line in said), said
        assert asked(fleet, "da", "f1")
        assert fleet.client("f1")["state"] != "failed" and not connected(fleet, "da", "f2")
        # Who was told the truth fetches there on.
        two = package_of(fleet, size=700_000, version="2", seed="other")
        stored(fleet, two)
        fetched(fleet, "f2", two, "app-2")
        assert not connected(fleet, "da", "f2")


@pytest.mark.slow
def test_relay_with_wrong_bytes_for_all_is_filled_anew(fleet_of):
    fleet = site_of(fleet_of, clients=("f1",))
    package = package_of(fleet, size=1_500_000)
    stored(fleet, package)
    # What lies at the relay is spoilt as soon as it lies there, the first time.
    spoiler, spoilt = wire.Client(fleet.port["rl"], client_id="spoiler"), []
    fleet.witnesses.append(spoiler)

    def came(c, u, m):
        if not spoilt and len(m.payload) > 100_000:
            spoilt.append(m.topic.rsplit("/", 1)[1])
            c.publish(m.topic, m.payload[:-1] + bytes([m.payload[-1] ^ 1]), qos=1, retain=True)
    spoiler.m.on_message = came
    spoiler.subscribe("helio/v1/chunk/#")
    fetched(fleet, "f1", package, "app-1")
    assert spoilt and spoilt[0] in asked(fleet, "rl", "f1"), "f1 did not meet the wrong bytes"
    assert fleet.procs["f1"].lines("FETCH-WRONG-BYTES") and fleet.procs["heliod"].lines("COPY-LOST")
    assert spoilt[0] in asked(fleet, "da", "f1") or spoilt[0] in asked(fleet, "rl", "f1")


def test_relay_that_is_full_is_done_without(fleet_of):
    fleet = site_of(fleet_of, clients=("f1",))
    fleet.procs["broker-rl"].stop()
    conf = fleet.folder / "broker-rl/mosquitto.conf"
    conf.write_text(conf.read_text() + "\nmemory_limit 2000000\n")
    fleet.broker("rl")
    wait_for(lambda: {b["id"]: b for b in fleet.ctl("brokers")["brokers"]}["rl"]["reachable"], 20, "the server has found it again")
    package = package_of(fleet, size=6_000_000)
    stored(fleet, package)
    fetched(fleet, "f1", package, "app-1")
    assert fleet.procs["pub"].lines("PUBLISH-FAILED broker=rl"), "it was not full"
    assert asked(fleet, "da", "f1")


@pytest.mark.slow
def test_relay_that_is_slower_than_the_others_serves_its_site_all_the_same(fleet_of):
    fleet = site_of(fleet_of, clients=("f1",), line=lambda port: Proxy(port, narrow=True), stalled_after_s=3)
    with fleet.line:
        fleet.line.rate = 300_000
        package = package_of(fleet, size=1_500_000)
        stored(fleet, package)
        fetched(fleet, "f1", package, "app-1")
        assert asked(fleet, "rl", "f1") and not connected(fleet, "da", "f1"), "the line of the site is what it spares"
        assert not fleet.procs["heliod"].lines("FETCH-STALLED")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ("pause", "kill"))
def test_relay_that_hangs_or_dies_in_the_middle_is_left_and_nothing_comes_twice(fleet_of, fault):
    fleet = site_of(fleet_of, clients=("f1",), stalled_after_s=3, budget="client f1 600000")
    package = package_of(fleet, size=8_000_000)
    stored(fleet, package)
    fleet.ctl("channel", "publish", "f1", package)
    wait_for(lambda: len(sent(fleet, "f1", "rl")) > 4, 40, "the relay serves it")
    relay = fleet.procs["broker-rl"]
    getattr(relay, fault)()
    try:
        assert not installed(fleet, "f1", package)
        fleet.ctl("budget", "set", "client", "f1", 8_000_000)
        wait_for(lambda: installed(fleet, "f1", package), 60, "it goes on from the other one")
    finally:
        if fault == "pause":
            relay.go_on()
    assert same_file(fleet, "f1", package) and sent(fleet, "f1", "da")
    both = asked(fleet, "rl", "f1") & asked(fleet, "da", "f1")
    assert len(both) < len(asked(fleet, "rl", "f1")), "what had come was fetched again"
