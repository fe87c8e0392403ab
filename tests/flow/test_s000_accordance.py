"""Later heartbeats are checked against the state (S000-8), on the wire: a man between loses responses, a scripted device
claims what is not so, and mosquitto_sub has it all."""
import collections
import random
import threading

import pytest

from lib import wire
from lib.between import Between
from lib.recording import answer_to, beats, body_text, conversation, next_beat, recorded
from lib.steps import settle
from lib.wait import wait_for

pb = wire.pb


def notebook(fleet, client):
    """The command `note WORD`: a line in a file for each time that it ran."""
    script = fleet.folder / f"{client}.sh"
    script.write_text(f"echo \"$1\" >>{fleet.folder}/{client}.notes\n")
    return {"commands": {"run": f"note 20 /bin/sh {script} ..."}}


def notes(fleet, client):
    path = fleet.folder / f"{client}.notes"
    return path.read_text().split() if path.exists() else []


def view(fleet, client):
    """The retained view, by mosquitto_sub; protoc reads it too."""
    payload = fleet.mosquitto_sub(f"helio/v1/view/state/{client}", "-C", "1", "-N")
    found = pb.StateView.FromString(payload)
    assert f"state: {pb.ClientState.Name(found.state)}\n" in fleet.protoc("StateView", payload)
    return found


def record(fleet):
    return fleet.capture("helio/v1/hb/#", "helio/v1/rsp/#", seat="watch.1")


def idle(fleet, client, timeout=20):
    return fleet.wait_client(client, lambda c: c["state"] == "idle" and c["at_tail"] and c["private_elements"] == 0, timeout)


def test_S000_8_a_lost_response_is_sent_again_with_the_same_id_operation_and_body(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=600)   # an answer that is late is asked for again, too
    fleet.brokers()
    with Between(fleet) as between:
        lost = []

        def lose_the_first(topic, payload):
            if not lost and topic == "helio/v1/rsp/f1" and pb.Response.FromString(payload).body.kind == pb.EXECUTE_COMMAND:
                lost.append(payload)
                return None
            return payload
        fleet.heliod()
        fleet.agent("f1", {**between.settings(), **notebook(fleet, "f1")})
        idle(fleet, "f1")
        capture = record(fleet)
        wait_for(lambda: len(conversation(fleet, capture, "f1")) >= 4, 10)
        between.down = lose_the_first
        fleet.ctl("exec", "f1", "note", "one", "--wait")
        fleet.ctl("exec", "f1", "note", "two", "--wait")    # control: nothing is lost, nothing is sent again
        idle(fleet, "f1")
        said = recorded(fleet, capture, "f1", lambda said: [s for s in said if s.r and "two" in s.r.body.execute.args] and said[-1].r
                        and said[-1].r.body.kind == pb.NO_ACTION)
    given = [n for n, s in enumerate(said) if s.kind == pb.EXECUTE_COMMAND]
    assert [said[n].r.body.execute.args[0] for n in given] == ["one", "one", "two"]
    first, again = given[:2]
    assert said[first].payload == lost[0], "it was on the wire, and the agent never had it"
    # The next heartbeat shows the response before it, R-1.
    before = [s for s in said[:first] if s.r][-1]
    shown = next_beat(said, first)
    assert said[shown].hb.last_response_id == before.r.body.response_id == said[first].r.body.response_id - 1
    # Its answer is R again: the id, the operation, the body byte for byte; only the heartbeat that it answers is another.
    assert answer_to(said, shown) == again
    assert body_text(fleet, said[again].payload) == body_text(fleet, lost[0])
    a, b = said[first].r, said[again].r
    assert (a.body.response_id, a.body.op_id) == (b.body.response_id, b.body.op_id) and a.body.op_id
    assert b.in_reply_to_seq == said[shown].hb.seq > a.in_reply_to_seq
    assert body_text(fleet, before.payload) != body_text(fleet, lost[0]), "the witness cannot tell two bodies apart"
    # From then on R is shown; it ran once, and nobody counted a mismatch.
    assert said[next_beat(said, again)].hb.last_response_id == b.body.response_id
    assert notes(fleet, "f1") == ["one", "two"] and view(fleet, "f1").mismatches == 0


def test_S000_8_an_operation_that_was_never_given_is_cancelled_and_counted(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=()).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    f1.beat()
    before = wait_for(lambda: [v for v in [view(fleet, "f1")] if v.state == pb.CS_IDLE], 10)[0]
    f1.op = pb.Operation(op_id=999, status=pb.OP_RUNNING)
    r = f1.beat()
    assert r.body.kind == pb.EXECUTE_COMMAND and r.body.reason.code == pb.REASON_CANCEL_UNKNOWN
    assert (r.body.execute.verb, list(r.body.execute.args)) == ("cancel", ["999"])
    seen = wait_for(lambda: [v for v in [view(fleet, "f1")] if v.response_id == r.body.response_id], 10)[0]
    assert (seen.state, seen.op_id, seen.mismatches) == (pb.CS_AWAIT_COMMAND, r.body.op_id, before.mismatches + 1)
    # Control: who does what it is told and shows what it has is not counted, and is idle again.
    f1.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    assert f1.beat().body.kind == pb.NO_ACTION
    f1.op = None
    f1.beat()
    seen = wait_for(lambda: [v for v in [view(fleet, "f1")] if v.state == pb.CS_IDLE], 10)[0]
    assert seen.mismatches == before.mismatches + 1


def test_S000_8_an_id_that_was_never_issued_leads_to_full_holdings_and_back_to_idle(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=()).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    known = f1.beat().body.response_id
    views = fleet.watch("helio/v1/view/state/f1")
    r = f1.beat(last_response_id=known + 5)
    assert (r.body.kind, r.body.execute.verb, r.body.state) == (pb.EXECUTE_COMMAND, "resync", pb.CS_RESYNC)
    # DONE without everything that it holds is not believed: the same is said again.
    f1.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    some = pb.Holdings(items=[pb.Holding(package=b"\1" * 32, complete=True)])
    assert f1.beat(holdings=some).body == r.body and f1.beat(holdings=None).body == r.body
    assert view(fleet, "f1").state == pb.CS_RESYNC
    full = pb.Holdings(full=True, items=[pb.Holding(package=bytes([n]) * 32, complete=True) for n in (7, 8)])
    assert f1.beat(holdings=full).body.kind == pb.NO_ACTION
    assert fleet.client("f1")["packages"] == 2, "all that it holds, and nothing else"
    f1.op = None
    assert f1.beat().body.reason.code == pb.REASON_CAUGHT_UP

    def order():
        states = [m.decode(pb.StateView).state for m in views.of("helio/v1/view/state/f1")]
        return [s for n, s in enumerate(states) if n == 0 or states[n - 1] != s]
    wait_for(lambda: len(order()) >= 3, 10, "the views")
    assert order() == [pb.CS_IDLE, pb.CS_RESYNC, pb.CS_IDLE], order()


def test_S000_8_a_real_agent_that_heard_nothing_for_long_is_asked_for_everything_and_is_idle_again(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=200)
    fleet.brokers()
    with Between(fleet) as between:
        fleet.heliod()
        fleet.agent("f1", {**between.settings(), **notebook(fleet, "f1")})
        idle(fleet, "f1")
        capture = record(fleet)
        between.down = lambda topic, payload: None if topic == "helio/v1/rsp/f1" else payload
        asked = fleet.ctl("exec", "f1", "note", "lost")
        wait_for(lambda: any(s.r and s.r.body.execute.verb == "resync" for s in conversation(fleet, capture, "f1")), 20, "a resync")
        assert not [hb for hb in beats(conversation(fleet, capture, "f1")) if hb.holdings.full], "nobody had asked for it"
        between.down = lambda topic, payload: payload
        idle(fleet, "f1")
        # The command that nobody heard did not run; as far as the server can tell its outcome is unknown, and that is recorded.
        assert notes(fleet, "f1") == []
        assert fleet.sql(f"select outcome, is_final from operation where flow = {asked['flow']}") == f"{pb.OP_UNKNOWN}|1"
        fleet.ctl("exec", "f1", "note", "next", "--wait")
        assert notes(fleet, "f1") == ["next"]
    said = recorded(fleet, capture, "f1", lambda said: any(s.r and "next" in s.r.body.execute.args for s in said))
    resync = next(n for n, s in enumerate(said) if s.r and s.r.body.execute.verb == "resync")
    assert said[resync].r.body.state == pb.CS_RESYNC
    after = beats(said[resync:])
    assert any(hb.op.op_id == said[resync].r.body.op_id and hb.op.status == pb.OP_DONE for hb in after)
    assert any(hb.holdings.full for hb in after)
    states = [pb.ClientState.Name(s.r.body.state) for s in said[resync:] if s.r]
    assert list(dict.fromkeys(states))[:2] == ["CS_RESYNC", "CS_IDLE"]


# ---------------------------------------------------------------- honest clients under loss

class Loss:
    """Every fifth response or so is lost, for each client by dice of its own."""

    def __init__(self, clients, share=0.2):
        self.dice = {c: random.Random(c) for c in clients}
        self.share, self.kinds, self.passed = share, collections.Counter(), collections.Counter()

    def __call__(self, topic, payload):
        client = topic.rsplit("/", 1)[1]
        if not topic.startswith("helio/v1/rsp/"):
            return payload
        if self.dice[client].random() >= self.share:
            self.passed[client] += 1
            return payload
        self.kinds[pb.Response.FromString(payload).body.kind] += 1
        return None

    def lost(self):
        return sum(self.kinds.values())


class Giver(threading.Thread):
    """Gives one operation after another while the clients beat: to one, to all, a question."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.ended = fleet, threading.Event()
        self.given = {c: [] for c in fleet.clients}
        self.asked = 0

    def run(self):
        n = 0
        while not self.ended.wait(0.3):
            n += 1
            one = self.fleet.clients[n % len(self.fleet.clients)]
            if n % 5 == 4:
                self.fleet.ctl("ask", one, "display")
                self.asked += 1
                continue
            where, whom = (("--channel", "default"), self.fleet.clients) if n % 5 == 0 else ((one,), [one])
            self.fleet.ctl("exec", *where, "note", f"n{n}")
            for client in whom:
                self.given[client].append(f"n{n}")

    def end(self):
        self.ended.set()
        self.join(30)
        assert not self.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("count", [40, pytest.param(1200, marks=pytest.mark.long)])
def test_S000_8_honest_clients_under_loss_end_without_a_mismatch_and_do_everything_once(fleet_of, count):
    """So many beats of each of four clients, 200 ms apart."""
    fleet = fleet_of(clients=("f1", "f2", "f3", "f4"), data_brokers=(), publishers=(), interval_ms=200, log_types="error subscribe")
    fleet.brokers()
    with Between(fleet) as between:
        fleet.heliod()
        for client in fleet.clients:
            fleet.agent(client, {**between.settings(), **notebook(fleet, client)})
        for client in fleet.clients:
            idle(fleet, client)
        capture = record(fleet)
        between.down = loss = Loss(fleet.clients)
        giver = Giver(fleet)
        giver.start()
        wait_for(lambda: all(len(beats(conversation(fleet, capture, c))) >= count for c in fleet.clients), count * 0.6, "beats", every=0.5)
        giver.end()
        for client in fleet.clients:
            idle(fleet, client, 60)     # the loss goes on until the last operation has ended
    said = {c: recorded(fleet, capture, c, lambda said: len({s.r.body.op_id for s in said if s.kind == pb.EXECUTE_COMMAND}) >= len(giver.given[c]))
            for c in fleet.clients}
    total = loss.lost() + sum(loss.passed.values())
    print(f"{total} responses, {loss.lost()} lost: {dict(loss.kinds)}; {sum(map(len, giver.given.values()))} notes, {giver.asked} questions")
    assert 0.1 < loss.lost() / total < 0.3 and loss.kinds[pb.NO_ACTION] and sum(loss.kinds.values()) > loss.kinds[pb.NO_ACTION]
    again = 0
    for client in fleet.clients:
        assert view(fleet, client).mismatches == 0, client
        # Each operation was begun once and ended so; what was lost came again as it was.
        assert sorted(notes(fleet, client)) == sorted(giver.given[client]), client
        bodies = collections.defaultdict(list)
        for s in said[client]:
            if s.kind not in (0, pb.NO_ACTION):
                bodies[s.r.body.op_id].append(s.r.body.SerializeToString(deterministic=True))
                assert s.r.body.execute.verb not in ("resync", "cancel")
        assert all(len(set(of)) == 1 for of in bodies.values()), "an operation has two bodies"
        again += sum(len(of) - 1 for of in bodies.values())
        assert {hb.ack for hb in beats(said[client])} >= {pb.ACK_RESPONSE}
    assert again, "nothing was ever sent again: nothing was lost that mattered"
    rows = fleet.sql("select client, first_op_id, count(*), min(outcome), max(outcome) from operation where is_final = 1 "
                     "group by client, first_op_id").splitlines()
    ended = [row.split("|")[2:] for row in rows]
    assert len(ended) >= sum(map(len, giver.given.values())) + giver.asked
    assert {tuple(row) for row in ended} == {("1", str(int(pb.OP_DONE)), str(int(pb.OP_DONE)))}, "an operation has no outcome, or two"
