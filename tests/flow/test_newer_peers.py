"""A fleet of two versions: a device, a server and another server that say what this program does not know yet, a field or the value
of an enum. Nothing of such a message is believed, the log or the answer says what was not understood, and the rest goes on."""
import itertools

import pytest

from lib import wire
from lib.postgres import Postgres, one, programs
from lib.steps import settle
from lib.voice import Voice
from lib.wait import wait_for
from test_s001_said_again import ended
from test_scale_out import commands, of_owner, options, started

pb = wire.pb


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def later(message, number):
    """The message as a later program writes it: with one field more."""
    return type(message).FromString(message.SerializeToString() + varint(number << 3) + b"\x01")


def with_later(message, part, number):
    """The same, deep inside."""
    at = getattr(message, part)
    at.CopyFrom(later(at, number))
    return message


def reason(line):
    return line.split("reason=")[1].split()[0]


def test_X_1_what_a_newer_device_says_is_refused_in_words_and_changes_nothing(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=())
    fleet.brokers()
    heliod = fleet.heliod()
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    before = fleet.client("f1")["last_heard_unix_ms"]
    want_topic = f"helio/v1/want/{wire.shard('f1')}/f1"

    def want():
        m = pb.Want(schema=1, client_id="f1", session_id=f1.session_id, seq=f1.seq + 1, boot=f1.boot)
        m.fetch.request_id, m.fetch.package = 1, bytes(range(32))
        return later(m, 300)

    def sign_in():
        old = pb.Heartbeat.FromString(f1.sign_in_payload(bytes(range(32)))[:-67])
        return wire.sealed(with_later(old, "sign_in", 55), wire.hb_topic("f1"), sign_key=f1.key)
    say = {"heartbeat has an unknown field 1900": lambda: f1.send(later(f1.heartbeat(), 1900)),
           "heartbeat.status has an unknown field 77": lambda: f1.send(with_later(f1.heartbeat(), "status", 77)),
           "heartbeat.ack is 9, at most 4": lambda: f1.send(f1.heartbeat(ack=9)),
           "heartbeat.op.status is 88, at most ": lambda: f1.send(f1.heartbeat(op=pb.Operation(op_id=7, status=88))),
           "want has an unknown field 300": lambda: f1.send(want(), want_topic),
           "heartbeat.sign_in has an unknown field 55": lambda: f1.send(None, payload=sign_in())}
    f1.mark_seen()
    for words, once in say.items():
        def told():
            once()      # of each reason one a second is told
            return [line for line in heliod.lines("GATE-REJECT") if words in line]
        assert reason(wait_for(told, 15, words, every=0.3)[0]) == "format"
    assert not f1.link.of("helio/v1/rsp/f1")[f1.seen:], "it was answered"
    assert fleet.client("f1")["last_heard_unix_ms"] == before
    # Control: the same device, when it says what is known.
    assert f1.beat().in_reply_to_seq == f1.seq
    assert fleet.client("f1")["last_heard_unix_ms"] > before


def test_X_1_what_a_newer_server_says_is_refused_in_words_and_not_done(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=250).up()
    agent = fleet.procs["f1"]
    number = itertools.count()

    def command():
        n = base + next(number)
        body = pb.ResponseBody(response_id=n, op_id=n, kind=pb.EXECUTE_COMMAND, state=pb.CS_AWAIT_COMMAND, attempt=1)
        body.reason.code, body.execute.verb = pb.REASON_EVENT, "ping"
        return body

    def changed(**fields):
        body = command()
        for name, value in fields.items():
            setattr(body, name, value)
        return body

    def said_by_agent(since, words):
        return [line for line in agent.lines("RSP-REFUSED")[since:] if words in line]
    with Voice(fleet, "f1") as server:
        base = server.next_beat().last_response_id + 1
        # What is to be done and is not understood ends by its id, and its outcome says why.
        body = with_later(command(), "execute", 31)
        server.answer(server.next_beat(), body, 250)
        after = wait_for(lambda: [b for b in server.beats() if ended(b, body.op_id, pb.OP_REFUSED)], 10, "it is refused")[0]
        assert "not understood: execute has an unknown field 31" in after.op.detail, after.op.detail
        # Where not even the answer is understood, its log says so, and the next heartbeat that nothing came.
        for words, body in {"response.body has an unknown field 500": later(command(), 500), "state is 77, at most ": changed(state=77),
                            "kind is 9, at most 4": changed(kind=9)}.items():
            since, hb = len(agent.lines("RSP-REFUSED")), server.next_beat()
            wait_for(lambda: (server.answer(hb, body, 250), said_by_agent(since, words))[1], 10, words, every=0.5)
            assert server.next_beat().last_response_id < body.response_id
        grant = pb.Grant(schema=1, client_id="f1", session_id=server.next_beat().session_id, seq=1 << 60, request_id=1, granted=True)
        topic = "helio/v1/grant/f1"
        server.link.publish(topic, wire.sealed(later(grant, 900), topic, mac_key=server.key()))
        wait_for(lambda: [x for x in agent.lines("GRANT-REFUSED") if "grant has an unknown field 900" in x], 10, "a grant")
        # Control: one that is understood is done.
        body = command()
        server.answer(server.next_beat(), body, 250)
        wait_for(lambda: [b for b in server.beats() if ended(b, body.op_id, pb.OP_DONE)], 10, "the command is done")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)


LETTER_GRANT, TO_ALL, LEAD = 8, 257, 256


@pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed (Debian: postgresql-15)")
def test_X_1_letters_of_a_newer_server_are_refused_in_words_and_are_in_nobodys_way(fleet_of):
    with Postgres() as postgres:
        fleet, first, second = started(postgres, fleet_of(**options(postgres, publishers=[])))
        theirs = of_owner(postgres, "server.2")[0]
        grant = later(pb.Grant(schema=1, client_id=theirs, request_id=1, granted=True, seq=1, session_id=1), 900).SerializeToString()

        def post(place, kind, client, body=b""):
            postgres.sql("INSERT INTO letter (place, kind, client, text, a, b, body, at_ms) VALUES "
                         f"({place}, {kind}, '{client}', 'x', 1, 2, '\\x{body.hex()}', extract(epoch FROM now()) * 1000)")
        post(LEAD, 99, theirs)
        post(int(wire.shard(theirs), 16), 98, theirs)
        post(int(wire.shard(theirs), 16), LETTER_GRANT, theirs, grant)
        post(TO_ALL, 97, "")
        for server, words in ((first, "a letter of kind 99"), (second, "a letter of kind 98"), (second, "grant has an unknown field 900"),
                              (second, "a letter of kind 97")):
            wait_for(lambda: [x for x in server.lines("LETTER-REFUSED") if words in x], 20, f"{server.name}: {words}")
        # They are taken, and what comes behind them is obeyed.
        fleet.ctl("exec", theirs, "ping")
        wait_for(lambda: commands(postgres, theirs) == (1, 1), 20, "a command done")
        wait_for(lambda: one(postgres, f"SELECT count(*) FROM letter WHERE place <> {TO_ALL}") == "0", 10, "every letter is taken")
        for server in (first, second):
            assert not server.lines("STATE-WRITE"), server.text()[-2000:]
