"""Two heliod on one store of PostgreSQL, both of which answer: who answers whom, what moves when one comes or dies. The wire (a
recording of the broker) and psql are the witnesses."""
import collections
import pathlib
import re
import shutil
import tempfile
import time

import pytest

from lib import wire
from lib.fleet import Fleet
from lib.postgres import Postgres, one, programs
from lib.recording import conversation
from lib.wait import wait_for

pb = wire.pb
pytestmark = pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed (Debian: postgresql-15)")
CLIENTS = [f"f{n}" for n in range(1, 9)]
LEASE_MS = 5000  # a busy machine stops a server for a second or two


@pytest.fixture(scope="module")
def cluster():
    with Postgres() as private:
        yield private


@pytest.fixture
def postgres(cluster):
    cluster.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return cluster


def owners(postgres):
    """Who owns the shard of each client, by psql."""
    held = dict(postgres.sql("SELECT shard, holder FROM shard_lease"))
    return {c: held[str(int(wire.shard(c), 16))] for c in CLIENTS}


def shares(postgres):
    return {holder: int(n) for holder, n in postgres.sql("SELECT holder, count(*) FROM shard_lease WHERE shard < 256 GROUP BY holder")}


def leader(postgres):
    return one(postgres, "SELECT holder FROM shard_lease WHERE shard = 256")


def divided(postgres):
    return shares(postgres) == {"server.1": 128, "server.2": 128}


def started(postgres, fleet):
    """Two that answer, half of the shards each, and eight devices."""
    fleet.brokers()
    first = fleet.heliod()
    second = fleet.heliod(id_="server.2", name="heliod2")
    wait_for(lambda: divided(postgres), 20, "each has half")
    for client in CLIENTS:
        fleet.agent(client)
    for client in CLIENTS:
        wait_for(lambda c=client: one(postgres, f"SELECT last_kind FROM client WHERE id = '{c}'") not in (None, "0"), 20,
                 f"{client} is answered")
    return fleet, first, second


def options(postgres, **more):
    return {"servers": ["server.1", "server.2"], "clients": CLIENTS, "data_brokers": ["da"],
            "server": {"server": {"store": postgres.url, "share": True, "lease_ms": LEASE_MS}}, **more}


@pytest.fixture(scope="module")
def calm():
    """For the tests that end nothing: a fleet and its database."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="helio-"))
    with Postgres() as private:
        fleet = Fleet(path, **options(private))
        try:
            started(private, fleet)
            yield fleet, private
        finally:
            fleet.down()
            shutil.rmtree(path, ignore_errors=True)


def pair(postgres, fleet_of):
    return started(postgres, fleet_of(**options(postgres, publishers=[])))


def answers(fleet, capture, client):
    """How many responses each of its heartbeats got, in the order of the wire: {(session, boot, seq): responses}."""
    count = collections.OrderedDict()
    for s in conversation(fleet, capture, client):
        if s.hb:
            count.setdefault((s.hb.session_id, s.hb.seq), 0)
        elif (s.r.session_id, s.r.in_reply_to_seq) in count:
            count[(s.r.session_id, s.r.in_reply_to_seq)] += 1
    return count


def boot_of(fleet, capture, client):
    """Whose start its last response names; the first bytes tell apart the times that a shard came."""
    return [s.r.boot[4:] for s in conversation(fleet, capture, client) if s.r][-1]


def test_scale_out_each_heartbeat_is_answered_once_by_the_owner_of_its_shard(calm):
    fleet, postgres = calm
    capture = fleet.capture("helio/v1/hb/#", "helio/v1/rsp/#")
    wait_for(lambda: all(len([n for n in answers(fleet, capture, c).values() if n]) >= 6 for c in CLIENTS), 30, "six answers each")
    owner = owners(postgres)
    assert set(owner.values()) == {"server.1", "server.2"}, "the clients of this test all have one owner"
    boots = collections.defaultdict(set)
    for client in CLIENTS:
        got = list(answers(fleet, capture, client).values())
        assert set(got[:-1]) == {1}, f"{client}: {got}"  # the last one's answer may be on its way
        boots[owner[client]].add(boot_of(fleet, capture, client))
    assert {len(b) for b in boots.values()} == {1} and boots["server.1"] != boots["server.2"], boots
    # Negative: both of them heard every heartbeat, and what each lets pass it does not refuse.
    for server, name in (("server.1", "heliod"), ("server.2", "heliod2")):
        assert re.search(rf"Sending PUBLISH to {re.escape(server)} .*helio/v1/hb/", fleet.broker_log("control")), server
        heard = set(re.findall(rf"Sending PUBLISH to {re.escape(server)} [^']*'(helio/v1/hb/[^']*)'", fleet.broker_log("control")))
        assert heard >= {wire.hb_topic(c) for c in CLIENTS}, heard
        assert not [line for line in fleet.procs[name].lines("GATE-REJECT") if " id=f" in line and "=boot " not in line]


def commands(postgres, client):
    """Ended commands of a client, and how many there were."""
    rows = postgres.sql(f"SELECT outcome FROM operation WHERE client = '{client}' AND kind = {pb.EXECUTE_COMMAND}")
    return len([r for r in rows if r[0] != "0"]), len(rows)


def of_owner(postgres, server):
    return [c for c, holder in owners(postgres).items() if holder == server]


def test_scale_out_what_the_leader_decides_reaches_the_clients_of_the_other(calm, pictures):
    fleet, postgres = calm
    assert leader(postgres) == "server.1"
    client = of_owner(postgres, "server.2")[0]
    fleet.publisher()
    package = fleet.image_package("art", "1", pictures[:1])
    capture = fleet.capture("helio/v1/hb/#", "helio/v1/rsp/#", "helio/v1/grant/#", seat="watch.1")
    fleet.ctl("exec", client, "ping")
    wait_for(lambda: commands(postgres, client) == (1, 1), 20, "a command of an operator, done")
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: (fleet.folder / client / "packages" / package / "manifest").exists(), 15, "fetched")
    fleet.wait_client(client, lambda c: c["reach"] == "online" and package in str(c), 20)
    # The grant came from the leader's presence server, sealed by the one that has the session.
    def grants():
        said = [pb.Grant.FromString(p) for _, topic, p in fleet.captured(capture) if topic == f"helio/v1/grant/{client}"]
        return said if [g for g in said if g.granted] else None
    given = wait_for(grants, 10, "a grant")
    assert {g.boot[4:] for g in given} == {boot_of(fleet, capture, client)}
    wait_for(lambda: one(postgres, "SELECT count(*) FROM letter WHERE place <> 257") == "0", 10, "every letter is taken")


def test_scale_out_a_killed_server_is_taken_over_and_nothing_is_lost_or_done_twice(postgres, fleet_of):
    fleet, first, second = pair(postgres, fleet_of)
    theirs, ours = of_owner(postgres, "server.1"), of_owner(postgres, "server.2")
    for client in (theirs[0], ours[0]):
        fleet.ctl("exec", client, "ping")
        wait_for(lambda c=client: commands(postgres, c) == (1, 1), 20, "a command done")
    capture = fleet.capture("helio/v1/hb/#", "helio/v1/rsp/#")
    boot = {c: wait_for(lambda c=c: conversation(fleet, capture, c) and [s for s in conversation(fleet, capture, c) if s.r] and
                        boot_of(fleet, capture, c), 10, "an answer") for c in CLIENTS}
    fencing = int(one(postgres, "SELECT max(fencing) FROM server_lease"))
    # The leader dies, with half of the clients.
    killed = time.time()
    first.kill()

    def by_the_other(client):
        said = [s.at for s in conversation(fleet, capture, client) if s.r and s.at > killed and s.r.boot[4:] != boot[client]]
        return said and min(said)
    took = max(wait_for(lambda c=c: by_the_other(c), 20, f"{c} is answered by the other") for c in theirs) - killed
    print(f"all {len(theirs)} clients answered by the other after {took:.2f} s")
    assert shares(postgres) == {"server.2": 256} and leader(postgres) == "server.2"
    assert int(one(postgres, "SELECT fencing FROM server_lease")) == fencing
    for client in CLIENTS:
        assert commands(postgres, client)[1] == (1 if client in (theirs[0], ours[0]) else 0)
    fleet.ctl("exec", theirs[1], "ping")  # the other leads
    wait_for(lambda: commands(postgres, theirs[1]) == (1, 1), 20, "a command done")
    assert not second.lines("STORE-RESTORED") and not second.lines("STORE-OLDER")
    assert len(postgres.sql("SELECT DISTINCT epoch FROM queue WHERE name = 'default'")) == 1
    # It comes back: half of the shards go to it, the lead stays.
    fleet.heliod()
    wait_for(lambda: divided(postgres), 20, "each has half")
    assert leader(postgres) == "server.2"
    back = of_owner(postgres, "server.1")[0]
    fleet.ctl("exec", back, "ping")
    wait_for(lambda: commands(postgres, back)[0] == commands(postgres, back)[1] > 0, 20, "a command done")


def test_scale_out_a_stopped_leader_that_goes_on_writes_nothing(postgres, fleet_of):
    fleet, first, second = pair(postgres, fleet_of)
    theirs = of_owner(postgres, "server.1")
    first.pause()
    wait_for(lambda: shares(postgres) == {"server.2": 256}, 20, "taken over")
    wait_for(lambda: leader(postgres) == "server.2", 5, "led")
    capture = fleet.capture("helio/v1/rsp/#")
    wait_for(lambda: set(theirs) <= {t.rsplit("/", 1)[1] for _, t, _ in fleet.captured(capture)}, 20, "all are answered")
    incarnations = set(one(postgres, "SELECT number FROM meta WHERE key = 'incarnation'").split())
    first.go_on()
    assert first.p.wait(20) != 0, "it did not end"
    assert "SERVER-REPLACED" in first.text()
    assert shares(postgres) == {"server.2": 256} and leader(postgres) == "server.2"
    assert {one(postgres, "SELECT number FROM meta WHERE key = 'incarnation'")} == incarnations
    fleet.ctl("exec", theirs[0], "ping")
    wait_for(lambda: commands(postgres, theirs[0]) == (1, 1), 20, "a command done, once")
