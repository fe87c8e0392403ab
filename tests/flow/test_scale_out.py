"""Two heliod on one store of PostgreSQL, both of which answer: who answers whom, what moves when one comes or dies. The wire (a
recording of the broker) and psql are the witnesses."""
import collections
import time

import pytest

from lib import wire
from lib.postgres import Postgres, programs
from lib.recording import conversation
from lib.wait import wait_for

pb = wire.pb
pytestmark = pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed (Debian: postgresql-15)")
CLIENTS = [f"f{n}" for n in range(1, 9)]
LEASE_MS = 2000


@pytest.fixture(scope="module")
def cluster():
    with Postgres(durable=True) as private:
        yield private


@pytest.fixture
def postgres(cluster):
    cluster.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return cluster


def one(postgres, query):
    rows = postgres.sql(query)
    return rows[0][0] if rows else None


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


def pair(postgres, fleet_of, **options):
    """Two that answer, half of the shards each, and eight devices."""
    fleet = fleet_of(servers=["server.1", "server.2"], clients=CLIENTS, data_brokers=["da"],
                     server={"server": {"store": postgres.url, "share": True, "lease_ms": LEASE_MS}}, **options)
    fleet.brokers()
    first = fleet.heliod()
    second = fleet.heliod(id_="server.2", name="heliod2")
    wait_for(lambda: divided(postgres), 20, "each has half")
    for client in CLIENTS:
        fleet.agent(client)
    for client in CLIENTS:
        wait_for(lambda c=client: one(postgres, f"SELECT reach FROM client WHERE id = '{c}' AND state > 0") == "1" or
                 one(postgres, f"SELECT last_kind FROM client WHERE id = '{c}'") not in (None, "0"), 20, f"{client} is answered")
    return fleet, first, second


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


def test_scale_out_each_heartbeat_is_answered_once_by_the_owner_of_its_shard(postgres, fleet_of):
    fleet, first, second = pair(postgres, fleet_of, publishers=[])
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
