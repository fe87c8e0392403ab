"""A relay: a data broker that belongs to a site. Who stands there fetches there, once one of them has asked; nobody else is sent there;
without it they are served like all. The brokers' own logs and counts say who fetched where, and what was sent to whom."""
import re
import subprocess

from lib import wire
from lib.fleet import PROGRAMS
from lib.presence import Record, connected, package_of, stored, targets
from lib.wait import wait_for
from test_presence_leases import installed, joins, same_file

pb = wire.pb


def asked(fleet, broker, client):
    return set(re.findall(rf" {client} 1 helio/v1/chunk/pub/(\w+)", fleet.broker_log(broker)))


def fetched(fleet, client, package, name):
    fleet.ctl("channel", "publish", client, package)
    wait_for(lambda: installed(fleet, client, package), 40, f"{client} has {name}")
    assert same_file(fleet, client, package, name)


def test_relay_serves_the_clients_of_its_site_and_they_do_without_when_it_is_gone(fleet_of):
    clients = ("f1", "f2", "f3")
    fleet = fleet_of(clients=clients, data_brokers=("da", "rl"), interval_ms=200, server={
        "server": {"reconnect_spread_s": 0, "host_period_ms": 3600000}, "probe": {"enabled": False},
        "data": {"recent_period_s": 0, "sys_interval_s": 1, "linger_s": 60, "broker_away_s": 1, "relay": "rl acme/lobby"}})
    fleet.up()
    record = Record(fleet)
    joins(fleet, *clients)
    fleet.ctl("customer", "add", "acme")
    for place in ("lobby", "bar"):
        fleet.ctl("customer", "place", "acme", place)
    for client, place in (("f1", "lobby"), ("f2", "lobby"), ("f3", "bar")):
        fleet.ctl("customer", "client", "acme", client, "--place", place)
    one = package_of(fleet, "app", 700_000, "1")
    assert stored(fleet, one) == "da"
    fetched(fleet, "f3", one, "app-1")
    assert asked(fleet, "da", "f3") and not connected(fleet, "rl", "pub"), "a relay is filled when its site asks, and not before"
    fleet.ctl("channel", "publish", "f1", one)
    fetched(fleet, "f2", one, "app-1")
    wait_for(lambda: installed(fleet, "f1", one), 40)
    for client in ("f1", "f2"):
        assert asked(fleet, "rl", client) and not connected(fleet, "da", client)
    assert not connected(fleet, "rl", "f3")
    record.directive(one, pb.TRANSMIT, count=2)
    assert targets(record.directives(one, pb.TRANSMIT)) == ["da", "rl"], "it was sent there once"
    shown = {b["id"]: b for b in fleet.ctl("brokers")["brokers"]}
    assert shown["rl"]["sites"] == ["acme/lobby"] and shown["da"]["sites"] == []
    assert [h["package"] for h in shown["rl"]["holds"]] == [one]
    # The site's own broker goes: its clients are served where everybody is.
    fleet.procs["broker-rl"].kill()
    two = package_of(fleet, "app", 700_000, "2", seed="other")
    stored(fleet, two)
    fetched(fleet, "f1", two, "app-2")
    assert connected(fleet, "da", "f1")


def test_relay_lines_that_make_no_sense_are_refused(fleet_of):
    fleet = fleet_of(clients=(), data_brokers=("da", "rl"))
    for line, why in (("rl acme", "is no site"), ("rx acme/lobby", "there is no data broker rx"), (["rl acme/*", "da acme/*"], "every data broker is a relay")):
        fleet.server_extra = {"data": {"relay": line}}
        done = subprocess.run([PROGRAMS["heliod"], "--check-config", "--config", fleet.heliod_config()], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert done.returncode != 0 and why in done.stdout, done.stdout
