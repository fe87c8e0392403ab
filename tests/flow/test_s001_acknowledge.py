"""A heartbeat acknowledges, asks again, or is busy (S001-c35): a real agent whose answers a man between bends, and scripted
devices that ask for what they should not. mosquitto_sub has it all."""
import time

from lib import wire
from lib.between import Between
from lib.recording import answer_to, beats, body_text, conversation, next_beat
from lib.steps import answer, settle, until
from lib.wait import wait_for
from test_s000_accordance import idle, notebook, notes, view

pb = wire.pb


def record(fleet):
    return fleet.capture("helio/v1/hb/#", "helio/v1/rsp/#", "helio/v1/view/queue/default", seat="watch.1")


def given(said, word):
    """Places of the responses that tell to note a word."""
    return [n for n, s in enumerate(said) if s.kind == pb.EXECUTE_COMMAND and word in s.r.body.execute.args]


def acknowledged(fleet, capture):
    """All that was said, once the heartbeat after the third `bent` is there."""
    said = conversation(fleet, capture, "f1")
    places = given(said, "bent")
    return len(places) >= 3 and next_beat(said, places[2]) and said


def test_S001_c35_a_response_that_arrived_is_acknowledged_and_a_bent_one_is_asked_for_again(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=600)   # an answer that is late is asked for again, too
    fleet.brokers()
    with Between(fleet) as between:
        bent = []

        def bend(topic, payload):
            """One bit of the first response that says `bent`, in its body; another time one of the MAC."""
            if topic == "helio/v1/rsp/f1" and b"bent" in payload and len(bent) < 2:
                bent.append(payload)
                at = payload.index(b"bent") if len(bent) == 1 else len(payload) - 1
                return payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1:]
            return payload
        fleet.heliod()
        agent = fleet.agent("f1", {**between.settings(), **notebook(fleet, "f1")})
        idle(fleet, "f1")
        between.down, capture = bend, record(fleet)
        fleet.ctl("exec", "f1", "note", "whole", "--wait")
        assert not agent.lines("RSP-REFUSED")
        fleet.ctl("exec", "f1", "note", "bent", "--wait")
        idle(fleet, "f1")
        said = wait_for(lambda: acknowledged(fleet, capture), 10, "it is recorded")
    # Normal: the next heartbeat says that it has R.
    (whole,) = given(said, "whole")
    hb = said[next_beat(said, whole)].hb
    assert (hb.ack, hb.last_response_id) == (pb.ACK_RESPONSE, said[whole].r.body.response_id)
    # Bent, in the body and then in the MAC: it asks again, still showing the one before; the same is sent again.
    places = given(said, "bent")
    assert len(places) == 3 and [said[n].payload for n in places[:2]] == bent
    before = [s.r.body.response_id for s in said[:places[0]] if s.r][-1]
    for first, again in zip(places, places[1:]):
        asks = next_beat(said, first)
        assert (said[asks].hb.ack, said[asks].hb.last_response_id) == (pb.ACK_RESEND, before)
        assert answer_to(said, asks) == again
        one, two = said[first].r.body, said[again].r.body
        assert (one.response_id, one.op_id) == (two.response_id, two.op_id) and one.op_id
        assert body_text(fleet, said[first].payload) == body_text(fleet, said[again].payload)
    hb = said[next_beat(said, places[2])].hb
    assert (hb.ack, hb.last_response_id) == (pb.ACK_RESPONSE, said[places[2]].r.body.response_id)
    # Asked again for nothing else, run once, and nobody counted a mismatch.
    assert [hb.ack for hb in beats(said)].count(pb.ACK_RESEND) == 2
    assert "MAC" in agent.lines("RSP-REFUSED")[0] or "auth" in agent.lines("RSP-REFUSED")[0], agent.lines("RSP-REFUSED")
    assert notes(fleet, "f1") == ["whole", "bent"] and view(fleet, "f1").mismatches == 0


def test_S001_c35_a_busy_client_is_left_alone_and_its_pointer_stands(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=200, server={"server": {"view_period_s": 1}})
    book = notebook(fleet, "f1")
    book["commands"]["run"] = [book["commands"]["run"], "nap 30 /bin/sleep 4"]
    fleet.agent_extra = book
    fleet.up()
    idle(fleet, "f1")
    capture = record(fleet)
    fleet.ctl("exec", "f1", "nap")
    wait_for(lambda: any(hb.ack == pb.ACK_BUSY for hb in beats(conversation(fleet, capture, "f1"))), 10, "it is busy")
    fleet.ctl("exec", "--channel", "default", "note", "pending")
    pending = fleet.ctl("queue", "default")["elements"][-2]["seq"]
    wait_for(lambda: given(conversation(fleet, capture, "f1"), "pending"), 20, "the pending event")
    idle(fleet, "f1")

    def viewed():
        """stamp -> where the pointer stood, by the views of the queue."""
        return {stamp: {p.client_id: p.seq for p in pb.QueueView.FromString(payload).pointers}["f1"]
                for stamp, topic, payload in fleet.captured(capture) if topic == "helio/v1/view/queue/default"}
    wait_for(lambda: list(viewed().values())[-1:] > [pending], 10, "the view shows that it moved")
    said = conversation(fleet, capture, "f1")
    busy = [n for n, s in enumerate(said) if s.hb and s.hb.ack == pb.ACK_BUSY]
    nap = next(s.r.body.op_id for s in said if s.kind == pb.EXECUTE_COMMAND)
    assert len(busy) >= 5 and busy[-1] - busy[0] < 3 * len(busy)
    for n in busy:
        assert (said[n].hb.op.op_id, said[n].hb.op.status) == (nap, pb.OP_RUNNING)
        assert said[answer_to(said, n)].kind == pb.NO_ACTION
    # While it was busy the pointer stood at the event, which came when it was not busy any more; then the pointer moved.
    at = viewed()
    (delivered,) = given(said, "pending")
    assert said[delivered].r.body.event_seq == pending and delivered > busy[-1]
    while_busy = [seq for stamp, seq in at.items() if said[busy[0]].at < stamp < said[busy[-1]].at]
    assert while_busy and set(while_busy) == {pending}, at
    assert notes(fleet, "f1") == ["pending"]


def test_S001_c35_an_acknowledgement_of_nothing_known_is_rejected(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=()).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    f1.mark_seen()
    before, seen = view(fleet, "f1"), fleet.ctl("counters")["counters"]["reject.format"]
    f1.send(f1.heartbeat(ack=0))
    f1.send(f1.heartbeat(ack=5))
    wait_for(lambda: fleet.ctl("counters")["counters"]["reject.format"] == seen + 2, 10, "both are counted")
    f1.quiet(0.3)
    assert view(fleet, "f1") == before
    assert f1.beat(ack=pb.ACK_RESPONSE).body.kind == pb.NO_ACTION      # control


def test_S001_c35_whoever_asks_again_gets_the_last_response_and_never_an_older_one(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=()).up(agents=[])
    capture = record(fleet)
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    ids = []
    for word in ("old", "older"):
        fleet.ctl("exec", "f1", "ping", word)
        ids.append(f1.last_response_id)
        r = until(f1, pb.EXECUTE_COMMAND)
        answer(f1, r)
        settle(f1)
    f1.op = None
    # Nothing is open, and it asks again, for the last answer or for one long ago: a new answer that holds nothing.
    for shown in (f1.last_response_id, f1.last_response_id - 1):
        r = f1.beat(ack=pb.ACK_RESEND, last_response_id=shown)
        assert (r.body.kind, r.body.reason.code) == (pb.NO_ACTION, pb.REASON_CAUGHT_UP)
    fleet.ctl("exec", "f1", "ping", "last")
    before = f1.last_response_id
    last = f1.beat()
    assert last.body.execute.args[0] == "last"
    # It shows an answer of before the last one, a NO_ACTION: what is sent again is the last one, twice if need be.
    for _ in range(2):
        again = f1.beat(ack=pb.ACK_RESEND, last_response_id=before)
        assert again.body == last.body and again.in_reply_to_seq != last.in_reply_to_seq
    # What is older than that it cannot have shown honestly. It gets everything anew, and nothing of old.
    strange = f1.beat(ack=pb.ACK_RESEND, last_response_id=ids[0])
    assert (strange.body.execute.verb, strange.body.reason.code) == ("resync", pb.REASON_RESYNC)

    def told():
        return [s.r.body for s in conversation(fleet, capture, "f1") if s.kind == pb.EXECUTE_COMMAND]
    wait_for(lambda: len(told()) >= 6, 10, "the last one is recorded")
    assert [list(b.execute.args) for b in told()] == [["old"], ["older"], ["last"], ["last"], ["last"], []]


def test_S001_c35_ten_times_asked_again_leads_to_a_resync_then_an_alert_and_no_storm(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=200, log_types="error subscribe",
                     server={"server": {"mismatch_limit": 1}}).up(agents=[])
    capture = record(fleet)
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    fleet.ctl("exec", "f1", "ping")
    shown = f1.last_response_id
    f1.beat()
    heliod, got = fleet.procs["heliod"], []

    def asks(count):
        for _ in range(count):
            time.sleep(0.11)        # a heartbeat counts once in half an interval
            got.append(f1.beat(ack=pb.ACK_RESEND, last_response_id=shown, op=None).body)
    asks(9)
    assert {b.execute.verb for b in got} == {"ping"} and len({b.response_id for b in got}) == 1
    asks(1)
    first = got[-1]
    assert (first.execute.verb, first.state, first.reason.code) == ("resync", pb.CS_RESYNC, pb.REASON_RESYNC)
    seen = wait_for(lambda: [v for v in [view(fleet, "f1")] if v.state == pb.CS_RESYNC], 10)[0]
    assert seen.mismatches == 1 and not heliod.lines("CLIENT-DISAGREES")
    # It goes on: the resync itself is said again ten times, then a second one and the alert.
    asks(10)
    assert got[-1].execute.verb == "resync" and got[-1].op_id != first.op_id
    heliod.wait_text("CLIENT-DISAGREES", 5)
    # No storm: one answer for each heartbeat, one alert, and a new one of ours for each ten of its own at most.
    asks(15)
    resyncs = {b.response_id for b in got if b.execute.verb == "resync"}
    assert 2 <= len(resyncs) <= len(got) // 10, got
    assert len(heliod.lines("CLIENT-DISAGREES")) == 1 and "client=f1" in heliod.lines("CLIENT-DISAGREES")[0]
    said = wait_for(lambda: (lambda said: len(beats(said)) >= len(got) and [s for s in said if s.r][-1].r.body == got[-1] and said)
                    (conversation(fleet, capture, "f1")), 10, "the last answer is recorded")
    assert len({s.r.in_reply_to_seq for s in said if s.r}) == len([s for s in said if s.r]) <= len(beats(said))
    # Control: who tells everything it holds is idle again.
    open_one = [b for b in got if b.kind == pb.EXECUTE_COMMAND][-1]
    f1.op = pb.Operation(op_id=open_one.op_id, status=pb.OP_DONE)
    f1.last_response_id = open_one.response_id
    f1.beat(holdings=pb.Holdings(full=True))
    f1.op = None
    assert settle(f1).body.state == pb.CS_IDLE
