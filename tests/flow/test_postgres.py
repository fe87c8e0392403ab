"""heliod with its state in PostgreSQL: the whole conversation, what a kill and a lost database leave. psql is the witness."""
import signal

import pytest

from lib import wire
from lib.postgres import Postgres, programs
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


def one(postgres, query):
    rows = postgres.sql(query)
    return rows[0][0] if rows else None


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
