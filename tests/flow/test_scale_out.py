"""Two heliod on one store of PostgreSQL, both of which answer: who answers whom, what moves when one comes or dies. The wire (a
recording of the broker) and psql are the witnesses."""
import collections
import os
import pathlib
import re
import shutil
import signal
import tempfile
import time
from datetime import datetime

import pytest

from lib import wire
from lib.fleet import Fleet
from lib.postgres import Postgres, one, programs
from lib.presence import Record
from lib.recording import conversation
from lib.transfers import MB, OBJECT, installed, joins, per_second, published, rates_told, sent, unstalled
from lib.wait import wait_for

pb = wire.pb
pytestmark = pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed (Debian: postgresql-15)")
CLIENTS = [f"f{n}" for n in range(1, 9)]
LEASE_MS = 15000  # a busy machine stops a server for some seconds; where a server is ended, its lease is waited for


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


def options(postgres, lease_ms=LEASE_MS, **more):
    return {"servers": ["server.1", "server.2"], "clients": CLIENTS, "data_brokers": ["da", "db"],
            "server": {"server": {"store": postgres.url, "share": True, "lease_ms": lease_ms},
                       "data": {"recent_period_s": 0, "sys_interval_s": 1, "share_bytes_per_s": 0, "stalled_after_s": 6}}, **more}


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


def pair(postgres, fleet_of, **more):
    return started(postgres, fleet_of(**options(postgres, publishers=[], **more)))


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
    for each in (client, *CLIENTS):
        wait_for(lambda c=each: (fleet.folder / c / "packages" / package / "manifest").exists(), 15, f"{each} fetched it")
    fleet.wait_client(client, lambda c: c["reach"] == "online" and package in str(c), 20)
    # The grant came from the leader's presence server, sealed by the one that has the session.
    def grants():
        said = [pb.Grant.FromString(p) for _, topic, p in fleet.captured(capture) if topic == f"helio/v1/grant/{client}"]
        return said if [g for g in said if g.granted] else None
    given = wait_for(grants, 10, "a grant")
    assert {g.boot[4:] for g in given} == {boot_of(fleet, capture, client)}
    wait_for(lambda: one(postgres, "SELECT count(*) FROM letter WHERE place <> 257") == "0", 10, "every letter is taken")
    wait_for(lambda: not fleet.ctl("leases")["total"], 20, "nobody fetches any more", every=0.3)


def recorded(fleet):
    """A new recording; the one before is over."""
    if "capture-watch.2" in fleet.procs:
        fleet.procs["capture-watch.2"].stop()
    return Record(fleet)


def published_to(fleet, client, size, name):
    if "pub" not in fleet.procs:
        fleet.publisher()
    return published(fleet, client, size, name)[0]


def boots_told(fleet, record, client):
    """Whose starts the last response and all grants to it name."""
    return {g.boot[4:] for _, _, g in record.grants(client)} | {boot_of(fleet, record.capture, client)}


def never_above(record, clients, limit):
    """What these were told, grants and answers, in the order of the wire and until they have it, never sums up to more; the
    highest sum."""
    told, most = dict.fromkeys(clients, 0), 0
    rows = [(at, who, g.rate_bytes_per_s) for at, who, g in record.grants() if who in clients]
    rows += [(at, who, rate) for who in clients for at, rate in rates_told(record, who) if rate]
    ended = [(at, topic.rsplit("/", 1)[1]) for at, topic, w in record.of("helio/v1/want/", pb.Want) if w.HasField("release")]
    rows = [row for row in rows if not [at for at, who in ended if who == row[1] and at <= row[0]]] + [(at, who, 0) for at, who in ended if who in told]
    for at, who, rate in sorted(rows):
        told[who] = rate
        assert sum(told.values()) <= limit + len(clients), (at, who, rate, told, sorted(rows))
        most = max(most, sum(told.values()))
    return most


def test_scale_out_S001_c28_a_budget_of_a_site_holds_over_both_servers_and_changes_while_they_fetch(calm, request):
    fleet, postgres = calm
    near, (far, beyond) = of_owner(postgres, "server.1")[-1], of_owner(postgres, "server.2")[-2:]
    request.addfinalizer(lambda: fleet.ctl("budget", "unset", "site", "acme/lobby", check=False))
    joins(fleet, near, far, beyond)
    for client in (near, far, beyond):  # nothing of an earlier channel is on its way
        wait_for(lambda c=client: fleet.client(c)["state"] == "idle", 20, f"{client} is idle", every=0.3)
    record = recorded(fleet)
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "place", "acme", "lobby")
    for client in (near, far):
        fleet.ctl("customer", "client", "acme", client, "--place", "lobby")
    fleet.ctl("budget", "set", "site", "acme/lobby", 3 * MB)
    package = published_to(fleet, far, 40 * MB, "both")
    at = wait_for(lambda: record.grants(far, package), 20, "a grant")[0][2]
    assert at.rate_bytes_per_s == 3 * MB
    home = getattr(at, "from").broker_id
    wait_for(lambda: [r for _, r in rates_told(record, far) if r == 3 * MB], 10, "its own server tells it the whole")
    # Another one of the site, of the server that leads: each gets its half.
    fleet.ctl("channel", "publish", near, package)
    for client in (near, far):
        wait_for(lambda c=client: [r for _, r in rates_told(record, c) if r == 1_500_000], 20, f"{client} is told its half")
    wait_for(lambda: sum(size for _, size in sent(fleet, far, home)) > 6 * MB, 30, "some of it is sent")
    slow = {c: sent(fleet, c, home) for c in (near, far)}
    never_above(record, (near, far), 3 * MB)
    shown = {x["client"]: x for x in fleet.ctl("leases")["leases"]}
    assert shown[far]["due_bytes_per_s"] == 1_500_000 and shown[far]["chunks_have"] > 0 and shown[far]["measured_bytes_per_s"] > 0
    seconds = per_second(sorted(slow[near] + slow[far]))
    assert seconds and max(unstalled(seconds, 3 * MB), default=0) <= 3 * MB + 2 * OBJECT, seconds
    assert sum(seconds) <= 3 * MB * len(seconds) * 1.05 + 2 * OBJECT, seconds
    # More, while it runs: both hear it, and the transfer goes on.
    fleet.ctl("budget", "set", "site", "acme/lobby", 16 * MB)
    for client in (near, far):
        wait_for(lambda c=client: [r for _, r in rates_told(record, c) if r == 8 * MB], 20, f"{client} is told more")
    for client in (near, far):
        wait_for(lambda c=client: installed(fleet, c, package), 60, f"{client} has it")
        assert len(record.grants(client, package)) == 1
    assert never_above(record, (near, far), 16 * MB) > 3 * MB
    # Whose word each took: the two servers' own.
    assert len(boots_told(fleet, record, near)) == len(boots_told(fleet, record, far)) == 1
    assert boots_told(fleet, record, near) != boots_told(fleet, record, far)
    # Control: who stands elsewhere is not held back by the site.
    fleet.ctl("budget", "set", "site", "acme/lobby", 1 * MB)
    fleet.ctl("channel", "publish", beyond, package)
    wait_for(lambda: installed(fleet, beyond, package), 60, "the one beyond has it")
    assert wait_for(lambda: record.grants(beyond, package), 10, "its grant is recorded")[0][2].rate_bytes_per_s == fleet.capacity
    quick = sent(fleet, beyond, home)  # at the site's rate it takes 40 s, and no second has more than that and two objects
    assert quick[-1][0] - quick[0][0] < 30 or max(per_second(quick)) > 1 * MB + 2 * OBJECT, per_second(quick)


def test_scale_out_a_transfer_that_stands_is_moved_for_a_client_of_the_other_server(calm):
    fleet, postgres = calm
    client = of_owner(postgres, "server.2")[1]
    record = recorded(fleet)
    joins(fleet, client)
    fleet.ctl("budget", "set", "client", client, 400_000)
    package = published_to(fleet, client, 6 * MB, "stuck")
    home = getattr(wait_for(lambda: record.grants(client, package), 20, "a grant")[0][2], "from").broker_id
    other = "db" if home == "da" else "da"
    wait_for(lambda: sent(fleet, client, home), 20, "bytes come")
    fleet.procs[f"broker-{home}"].pause()  # it holds the connection and sends nothing
    try:
        assert not installed(fleet, client, package)
        fleet.ctl("budget", "set", "client", client, 4 * MB)
        wait_for(lambda: [r for _, r in rates_told(record, client) if r == 4 * MB], 10, "the new rate is told")
        wait_for(lambda: fleet.procs["heliod"].lines("FETCH-STALLED"), 60, "the leader reports it")
        wait_for(lambda: installed(fleet, client, package), 60, "it goes on from the other one")
    finally:
        fleet.procs[f"broker-{home}"].go_on()
    assert [line for line in fleet.procs["heliod"].lines("FETCH-STALLED") if f" client={client} " in line]
    assert not fleet.procs["heliod2"].lines("FETCH-STALLED")
    assert sent(fleet, client, other)
    wait_for(lambda: [g for _, _, g in record.grants(client, package) if getattr(g, "from").broker_id == other], 10, "the grant is recorded")
    assert len(boots_told(fleet, record, client)) == 1
    fleet.ctl("budget", "unset", "client", client)


def shards_of(server):
    """The shards of SERVER's ranges, two hex digits each."""
    return {n for r in server["ranges"] for n in range(int(r[:2], 16), int(r[3:], 16) + 1)}


def test_scale_out_helioctl_tells_who_owns_what_as_the_store_has_it(calm):
    fleet, postgres = calm
    told = fleet.ctl("servers")
    held = collections.defaultdict(set)
    for shard, holder in postgres.sql("SELECT shard, holder FROM shard_lease WHERE shard < 256"):
        held[holder].add(int(shard))
    assert told["shared"] and {s["server"]: shards_of(s) for s in told["servers"]} == held
    assert [s["server"] for s in told["servers"] if s["leads"]] == [leader(postgres)]
    assert {s["server"]: str(s["fencing"]) for s in told["servers"]} == dict(postgres.sql("SELECT holder, fencing FROM server_lease"))
    assert all(0 < s["left_ms"] <= LEASE_MS and s["shards"] == 128 for s in told["servers"]) and told["nobody"]["shards"] == 0
    shown = fleet.ctl_plain("--config", fleet.ctl_config(), "servers").stdout
    assert re.search(r"^server\.1 +leads +128 +\d+\.\d s", shown, re.M) and re.search(r"^server\.2 +128 ", shown, re.M), shown


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
    took = max(wait_for(lambda c=c: by_the_other(c), 60, f"{c} is answered by the other") for c in theirs) - killed
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
    wait_for(lambda: shares(postgres) == {"server.2": 256}, 60, "taken over")
    wait_for(lambda: leader(postgres) == "server.2", 20, "led")
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


def hosts(fleet, capture, server):
    """The counters that a server told of its life."""
    return [pb.HostState.FromString(p).counter for _, t, p in fleet.captured(capture) if t == f"helio/v1/host/{server}"]


def test_scale_out_renewals_that_are_slow_leave_time_for_the_rest(postgres, fleet_of):
    fleet, first, second = pair(postgres, fleet_of, lease_ms=6000)
    terms = postgres.sql("SELECT holder, fencing FROM server_lease ORDER BY holder")
    # Each takes longer than three ticks, and longer than from one to the next.
    postgres.sql("CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.2); RETURN NEW; END $$;"
                 " CREATE TRIGGER slowly BEFORE UPDATE ON server_lease FOR EACH ROW EXECUTE FUNCTION slowly()")
    capture = fleet.capture("helio/v1/host/+")
    client = of_owner(postgres, "server.2")[0]
    fleet.ctl("exec", client, "ping", timeout=120)
    wait_for(lambda: commands(postgres, client) == (1, 1), 60, "a letter went from one to the other, and back")
    for server in ("server.1", "server.2"):
        wait_for(lambda s=server: len(set(hosts(fleet, capture, s))) >= 2, 60, f"{server} tells that it lives")
    assert postgres.sql("SELECT holder, fencing FROM server_lease ORDER BY holder") == terms


def processes(postgres):
    """PostgreSQL's own, each of which leads a group of its own."""
    return [postgres.p.pid, *map(int, pathlib.Path(f"/proc/{postgres.p.pid}/task/{postgres.p.pid}/children").read_text().split())]


def each_process(postgres, number):
    for pid in processes(postgres):
        os.kill(pid, number)


def clients_of(fleet, capture, family, after):
    """Whose messages of this family came after that moment, one entry each."""
    return [t.rsplit("/", 1)[1] for at, t, _ in fleet.captured(capture) if t.startswith(f"helio/v1/{family}/") and at > after]


@pytest.mark.long
def test_scale_out_a_database_that_stands_still_ends_no_server_and_nothing_is_done_twice(postgres, fleet_of):
    lease_ms = 6000     # all run out before a server gives up its connection, or a client its session
    fleet, first, second = pair(postgres, fleet_of, lease_ms=lease_ms)
    terms = postgres.sql("SELECT holder, fencing FROM server_lease ORDER BY holder")
    capture = fleet.capture("helio/v1/hb/#", "helio/v1/rsp/#")
    wait_for(lambda: set(clients_of(fleet, capture, "rsp", 0)) == set(CLIENTS), 20, "all are answered")
    for client in CLIENTS:
        fleet.ctl("exec", client, "ping")

    def sessions_over():
        return [client for client in CLIENTS if fleet.procs[client].lines("SESSION-OVER")]
    assert not sessions_over()
    each_process(postgres, signal.SIGSTOP)
    stopped = time.time()
    try:
        wait_for(lambda: time.time() > stopped + 1.5 * lease_ms / 1000 and len(clients_of(fleet, capture, "hb", stopped + 1)) >= len(CLIENTS), 60,
                 "more heartbeats, and all leases ran out")
        assert not clients_of(fleet, capture, "rsp", stopped + 1), "an answer without a store"
        # What both servers once said lies at the broker: for no client is it a sign that one of them lives.
        assert not sessions_over()
    finally:
        each_process(postgres, signal.SIGCONT)
    went_on = time.time()
    for client in CLIENTS:
        wait_for(lambda c=client: c in clients_of(fleet, capture, "rsp", went_on), 20, f"{client} is answered again")
    for client in CLIENTS:
        wait_for(lambda c=client: commands(postgres, c) == (1, 1), 20, f"the command of {client} done, once")
    wait_for(lambda: divided(postgres), 20, "each has its half")
    # Nobody was ended, and nobody took another for dead.
    assert first.alive() and second.alive()
    assert postgres.sql("SELECT holder, fencing FROM server_lease ORDER BY holder") == terms
    for each in (first, second):
        assert not each.lines("STORE-RESTORED") and not each.lines("STORE-OLDER")


@pytest.mark.long
def test_scale_out_a_database_that_was_away_for_long_is_tried_by_who_renews_its_lease(postgres, fleet_of):
    lease_ms = 6000
    fleet, first, second = pair(postgres, fleet_of, lease_ms=lease_ms)
    terms = postgres.sql("SELECT holder, fencing FROM server_lease ORDER BY holder")
    postgres.end(signal.SIGQUIT)    # as a crash
    for server in (first, second):
        server.wait_text("retry_ms=16000", 90)  # of the core, which waits for half a minute from now on
    postgres.start()
    for server in (first, second):
        back = server.wait_text("STATE-WRITE-RECOVERED", 60)[0]
        tried = server.lines("retry_ms=16000")[0]
        waited = (datetime.fromisoformat(back.split("Z")[0]) - datetime.fromisoformat(tried.split("Z")[0])).total_seconds()
        assert waited < 29, f"{server.name} held its lease and did not answer: {waited} s"
    assert postgres.sql("SELECT holder, fencing FROM server_lease ORDER BY holder") == terms
    client = of_owner(postgres, "server.2")[0]
    fleet.ctl("exec", client, "ping")
    wait_for(lambda: commands(postgres, client) == (1, 1), 30, "a command done")
