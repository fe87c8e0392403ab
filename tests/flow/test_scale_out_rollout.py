"""Publisher, placement and the pipeline of pictures over two heliod on one store of PostgreSQL, each of which is killed while it leads:
once as a package is being placed, once in the middle of a rollout. psql, the agents' folders and a recording are the witnesses."""
import os

import pytest

from lib import wire
from lib.orders import manifest_on
from lib.postgres import Postgres, one, programs
from lib.presence import Record, software
from lib.transfers import MB, installed
from lib.wait import wait_for
from test_presence_leases import same_file
from test_s001_customer import PACKAGER, made, picture
from test_scale_out import CLIENTS, divided, leader, of_owner, options, shares, started

pb = wire.pb
pytestmark = pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed (Debian: postgresql-15)")
SIZE = 3 * MB
SLOW = 300_000
SENDING = "3"   # placement.h
NAMES = {"server.1": "heliod", "server.2": "heliod2"}


@pytest.fixture
def postgres():
    with Postgres() as private:
        yield private


def placement(postgres, package):
    return one(postgres, f"SELECT state FROM placement WHERE encode(package, 'hex') = '{package}'")


def titles(fleet, package):
    return sorted(f.picture.title for f in manifest_on(fleet, bytes.fromhex(package))[1])


def killed(postgres, fleet):
    """The leader is killed; the other leads and has all shards."""
    server = leader(postgres)
    fleet.procs[NAMES[server]].kill()
    (other,) = set(NAMES) - {server}
    wait_for(lambda: shares(postgres) == {other: 256} and leader(postgres) == other, 60, f"{other} leads")
    return server


def back(postgres, fleet, server):
    fleet.heliod(id_=server, name=NAMES[server])
    wait_for(lambda: divided(postgres), 30, "each has half")


def done_by(postgres, package):
    """How often each client was given the package, and came to a good end with it."""
    rows = postgres.sql(f"SELECT client, count(*) FROM operation WHERE kind = {pb.RETRIEVE_INFORMATION} AND outcome = {pb.OP_DONE} AND "
                        f"position('\\x{package}'::bytea IN body) > 0 GROUP BY client")
    return {client: int(n) for client, n in rows}


def staged(fleet, client, package):
    home = fleet.folder / client / "staging" / package
    return sum(os.stat(f).st_blocks * 512 for f in home.rglob("*") if f.is_file())


def pictures_shown(fleet, postgres, clients):
    """Pictures of a customer become a package, which comes to its devices at both servers."""
    for name in ("wave", "beach"):
        picture(fleet, name, "sea")
    fleet.ctl("customer", "add", "harbour")
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea")
    for client in clients:
        fleet.ctl("customer", "client", "harbour", client, "--screen", "1920x1080")
    package = made(fleet, "harbour")["package"]
    for client in clients:
        wait_for(lambda c=client: installed(fleet, c, package), 30, f"{client} has the pictures")
    return package


def placed_by_another(postgres, fleet):
    """No data broker takes anything while the publisher transmits; the leader is killed then, and the other one goes on."""
    record = Record(fleet)
    brokers = [fleet.procs[f"broker-{b}"] for b in fleet.data_ids]
    for broker in brokers:
        broker.pause()
    try:
        package = fleet.software_package("app", "1", software(fleet.folder, "app-1", SIZE))
        record.directive(package, pb.TRANSMIT)
        server = killed(postgres, fleet)
        assert placement(postgres, package) == SENDING
    finally:
        for broker in brokers:
            broker.go_on()
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 60, "it is placed")
    ids = [d.directive_id for _, d in record.directives(package) if d.directive_id]
    assert ids == sorted(ids), "a directive was said with an older number than before"
    back(postgres, fleet, server)
    return package


@pytest.mark.slow
def test_scale_out_pictures_and_software_come_to_all_though_each_leader_is_killed_once(postgres, fleet_of):
    fleet = fleet_of(**options(postgres, lease_ms=8000))
    fleet.publisher_extra = {"packager": {**PACKAGER["packager"], "image_key": fleet.ca / "keys/image.key"}}
    started(postgres, fleet)
    fleet.publisher()
    screens = [of_owner(postgres, server)[0] for server in NAMES]
    others = [c for c in CLIENTS if c not in screens]
    first = pictures_shown(fleet, postgres, screens)
    assert titles(fleet, first) == ["beach", "wave"]
    package = placed_by_another(postgres, fleet)
    assert leader(postgres) == "server.2"
    # A rollout: one is quick, the others are slow; some of both servers have a part when the leader is killed.
    for client in others[1:]:
        fleet.ctl("budget", "set", "client", client, SLOW)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, others[0], package), 30, "the first has it")
    for client in others[1:]:
        wait_for(lambda c=client: staged(fleet, c, package) > 0 or installed(fleet, c, package), 30, f"{client} has a part of it")
    server = killed(postgres, fleet)
    assert server == "server.2" and not all(installed(fleet, c, package) for c in others), "the rollout was over before"
    for client in others[1:]:
        fleet.ctl("budget", "unset", "client", client)
    for client in others:
        wait_for(lambda c=client: installed(fleet, c, package), 60, f"{client} has it")
        assert same_file(fleet, client, package)
    # The pipeline goes on, too: one picture more is one version more, without anybody's doing.
    picture(fleet, "surf", "sea")
    second = made(fleet, "harbour", lambda o: o["package"] != first, 40)["package"]
    for client in screens:
        wait_for(lambda c=client: installed(fleet, c, second), 40, f"{client} has the new picture")
    assert titles(fleet, second) == ["beach", "surf", "wave"]
    back(postgres, fleet, server)
    # Each was told once and did it once; nothing waits, nothing is left, and no store was taken for an older one.
    for p, clients in ((package, others), (first, screens), (second, screens)):
        wait_for(lambda p=p, clients=clients: set(done_by(postgres, p)) == set(clients), 30, "all told that they have it")
        assert set(done_by(postgres, p).values()) == {1}, done_by(postgres, p)
        for client in clients:
            assert len(fleet.procs[client].lines(f"FETCH-COMPLETE package={p[:8]}")) == 1, fleet.procs[client].lines("FETCH-")
    assert one(postgres, "SELECT count(*) FROM event WHERE queue = 'default' AND author = 'alice.1'") == "1"
    assert one(postgres, "SELECT count(DISTINCT epoch) FROM queue WHERE name = 'default'") == "1"
    wait_for(lambda: one(postgres, "SELECT count(*) FROM operation WHERE place <> 0") == "0", 30, "no operation is open")
    wait_for(lambda: one(postgres, "SELECT count(*) FROM letter WHERE place <> 257") == "0", 20, "every letter is taken")
    wait_for(lambda: not fleet.ctl("leases")["total"], 30, "nobody fetches any more", every=0.3)
    for name in NAMES.values():
        assert not fleet.procs[name].lines("STORE-RESTORED") and not fleet.procs[name].lines("STORE-OLDER")
