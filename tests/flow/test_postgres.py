"""heliod with its state in PostgreSQL: the whole conversation, what a kill and a lost database leave. psql is the witness."""
import signal
import time

import pytest

from lib import wire
from lib.postgres import Postgres, one, programs
from lib.procs import Proc
from lib.fleet import PROGRAMS
from lib.wait import wait_for

pb = wire.pb
needs_postgres = pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed (Debian: postgresql-15)")


@pytest.fixture(scope="module")
def cluster():
    with Postgres(durable=True) as private:
        yield private


@pytest.fixture
def postgres(cluster):
    """The database, empty."""
    cluster.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return cluster


def four_answers(fleet, capture, pictures):
    """A new device is asked, obeys, fetches, and is told that nothing is to be done."""
    package = fleet.image_package("art", "1", pictures)
    fleet.ctl("channel", "publish", "default", package)
    fleet.ctl("ask", "f1", "display")
    fleet.ctl("exec", "f1", "ping")
    kinds = {pb.NO_ACTION, pb.SEND_INFORMATION, pb.RETRIEVE_INFORMATION, pb.EXECUTE_COMMAND}

    def said():
        return {pb.Response.FromString(payload[:]).body.kind for _, topic, payload in fleet.captured(capture)
                if topic == "helio/v1/rsp/f1"}
    wait_for(lambda: said() >= kinds, 30, "four kinds of answers")
    assert said() == kinds
    return package


@needs_postgres
def test_postgres_four_answers_and_what_a_kill_leaves(postgres, fleet_of, pictures):
    fleet = fleet_of(clients=["f1"], data_brokers=["da"], server={"server": {"store": postgres.url}})
    fleet.brokers()
    capture = fleet.capture("helio/v1/rsp/#")
    heliod = fleet.heliod()
    fleet.publisher()
    fleet.agent("f1")
    package = four_answers(fleet, capture, pictures)
    wait_for(lambda: one(postgres, "SELECT count(*) FROM operation WHERE client = 'f1' AND place <> 0") == "0", 20, "no open operation")
    assert one(postgres, f"SELECT name FROM package WHERE encode(id, 'hex') = '{package}'") == "art"
    assert {int(row[0]) for row in postgres.sql("SELECT DISTINCT kind FROM answer WHERE client = 'f1'")} == \
        {pb.SEND_INFORMATION, pb.RETRIEVE_INFORMATION, pb.EXECUTE_COMMAND}
    assert not list((fleet.folder / "heliod").glob("*.db")), "there is a file of SQLite beside it"

    # Negative: nobody else works on this store meanwhile.
    second = fleet.folder / "second.ini"
    second.write_text((fleet.folder / "heliod.ini").read_text().replace(str(fleet.folder / "heliod"), str(fleet.folder / "second")))
    second.chmod(0o600)
    other = Proc("second", [PROGRAMS["heliod"], "--config", second], fleet.folder).start()
    assert other.p.wait(20) != 0 and "used by another server" in other.text()

    # What a kill and a stop leave: the sequence of the queue, the operations, the session go on.
    done = one(postgres, "SELECT count(*) FROM operation WHERE client = 'f1'")
    place = one(postgres, "SELECT epoch || ' ' || pointer FROM client WHERE id = 'f1'")
    incarnation = int(one(postgres, "SELECT number FROM meta WHERE key = 'incarnation'"))
    for end in (lambda: heliod.kill(), lambda: heliod.stop()):
        end()
        mark = len(heliod.lines("LINK-UP"))
        fleet.heliod(wait=False)
        heliod.wait_text("LINK-UP", 15, count=mark + 1)
        fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
        now = int(one(postgres, "SELECT number FROM meta WHERE key = 'incarnation'"))
        assert now > incarnation
        incarnation = now
    assert one(postgres, "SELECT count(*) FROM operation WHERE client = 'f1'") == done, "an operation was done twice"
    assert one(postgres, "SELECT epoch || ' ' || pointer FROM client WHERE id = 'f1'") == place


@needs_postgres
def test_postgres_that_is_gone_stops_the_answers_until_it_is_back(postgres, fleet_of):
    fleet = fleet_of(clients=["f1"], data_brokers=[], publishers=[], server={"server": {"store": postgres.url}})
    fleet.brokers()
    heliod = fleet.heliod()
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    watch = fleet.watch("helio/v1/rsp/#", "helio/v1/hb/#")
    postgres.end(signal.SIGQUIT)  # as a crash
    heliod.wait_text("fatal state-write", 20)
    failed = time.time() * 1000
    # An answer that was on its way has come when a later heartbeat has.
    wait_for(lambda: any(m.decode(pb.Heartbeat).sent_unix_ms > failed for m in watch.of("helio/v1/hb/")), 20, "a heartbeat of later")
    begin, beats = len(watch.of("helio/v1/rsp/")), len(watch.of("helio/v1/hb/"))
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= beats + 5, 20, "five heartbeats")
    assert len(watch.of("helio/v1/rsp/")) == begin, "an answer without a store"
    assert heliod.alive()
    postgres.start()
    heliod.wait_text("STATE-WRITE-RECOVERED", 30)
    wait_for(lambda: len(watch.of("helio/v1/rsp/")) > begin, 20, "answers again")
    fleet.ctl("exec", "f1", "ping")
    wait_for(lambda: one(postgres, "SELECT count(*) FROM operation WHERE client = 'f1' AND outcome <> 0 AND kind = "
                         f"{pb.EXECUTE_COMMAND}") != "0", 20, "a command done")


# ---- several servers on one store

def pair(postgres, fleet_of, **options):
    """One that serves, and one that stands by."""
    fleet = fleet_of(servers=["server.1", "server.2"], data_brokers=["da"],
                     server={"server": {"store": postgres.url, "stand_by": True, "lease_ms": 3000}}, **options)
    fleet.brokers()
    one_, other = fleet.heliod(), fleet.heliod(wait=False, id_="server.2", name="heliod2")
    other.wait_text("SERVER-STANDS-BY", 15)
    return fleet, one_, other


def answered(watch, after):
    """When the first answer came after that moment."""
    times = [m.at for m in watch.of("helio/v1/rsp/") if m.at > after]
    return min(times) if times else None


@needs_postgres
def test_postgres_who_stands_by_takes_over_from_a_killed_server(postgres, fleet_of):
    fleet, first, second = pair(postgres, fleet_of, clients=["f1"], publishers=[])
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    fleet.ctl("exec", "f1", "ping")
    wait_for(lambda: one(postgres, "SELECT count(*) FROM operation WHERE outcome <> 0 AND kind = 4") == "1", 20, "a command done")
    watch = fleet.watch("helio/v1/rsp/#")
    wait_for(lambda: answered(watch, 0), 10, "an answer")
    assert "LINK-UP" not in second.text(), "who stands by speaks with a broker"
    assert one(postgres, "SELECT DISTINCT holder FROM shard_lease") == "server.1"
    fencing = int(one(postgres, "SELECT fencing FROM server_lease WHERE holder = 'server.1'"))
    killed = time.time()
    first.kill()
    second.wait_text("SERVER-TAKES-OVER", 20)
    taken = time.time()
    came = wait_for(lambda: answered(watch, taken), 20, "an answer of the other server")
    print(f"answered again after {came - killed:.2f} s")
    assert one(postgres, "SELECT DISTINCT holder FROM shard_lease") == "server.2"
    assert int(one(postgres, "SELECT DISTINCT fencing FROM shard_lease")) > fencing
    # Nothing is lost, nothing done twice, and no store was restored.
    assert one(postgres, "SELECT count(*) FROM operation WHERE kind = 4") == "1"
    assert not second.lines("STORE-RESTORED")
    fleet.ctl("exec", "f1", "ping")
    wait_for(lambda: one(postgres, "SELECT count(*) FROM operation WHERE outcome <> 0 AND kind = 4") == "2", 20, "another one")
    # The first one comes back, and stands by; the second ends in order: no lease is waited for.
    fleet.heliod(wait=False)
    first.wait_text("SERVER-STANDS-BY", 15)
    second.stop()
    first.wait_text("SERVER-TAKES-OVER", 15)
    assert not first.lines("STORE-RESTORED")


@needs_postgres
def test_postgres_a_stopped_server_that_goes_on_writes_nothing(postgres, fleet_of):
    fleet, first, second = pair(postgres, fleet_of, clients=["f1"], publishers=[])
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    first.pause()
    second.wait_text("LINK-UP", 20)
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    incarnation = one(postgres, "SELECT number FROM meta WHERE key = 'incarnation'")
    answers = one(postgres, "SELECT max(number) FROM answer")
    first.go_on()
    assert first.p.wait(20) != 0, "it did not end"
    assert "SERVER-REPLACED" in first.text()
    assert one(postgres, "SELECT DISTINCT holder FROM shard_lease") == "server.2"
    assert one(postgres, "SELECT number FROM meta WHERE key = 'incarnation'") == incarnation
    assert one(postgres, f"SELECT count(*) FROM answer WHERE number > {answers} AND response_id >> 32 <> {incarnation}") == "0"
    fleet.ctl("exec", "f1", "ping")
    wait_for(lambda: one(postgres, "SELECT count(*) FROM operation WHERE outcome <> 0 AND kind = 4") == "1", 20, "a command done")
