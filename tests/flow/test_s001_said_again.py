"""What a real agent does with words of the server that come again, or that no good server would say. They are sealed with its
session's own key, so that nothing but the agent's judgement stands between them and the device."""
from lib import wire
from lib.steps import responses
from lib.voice import Voice
from lib.wait import wait_for
from test_s000_accordance import idle, notebook, notes

pb = wire.pb


def ended(hb, op_id, status):
    return hb.op.op_id == op_id and hb.op.status == status


def test_S001_c25_X_3_a_response_that_is_sent_again_is_acknowledged_again_and_not_done_again(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=300, server={"data": {"recent_period_s": 0}})
    fleet.agent_extra = notebook(fleet, "f1")
    fleet.up()
    idle(fleet, "f1")
    watch = fleet.watch("helio/v1/rsp/f1")
    # An inline command, then one that is fetched by its reference.
    for done, how in (["n1"], ()), (["n1", "n2"], ("--by-reference",)):
        fleet.ctl("exec", "f1", *how, "note", done[-1], "--wait")
        told = wait_for(lambda: [r.body for r in responses(watch, "f1") if r.body.kind in (pb.EXECUTE_COMMAND, pb.RETRIEVE_INFORMATION)][len(done) - 1:],
                        10, "what it was told is recorded")
        body = told[-1]
        assert bool(how) == body.retrieve.HasField("command")
        with Voice(fleet, "f1") as server:
            for _ in range(2):
                for _ in range(5):      # an answer that comes later than the next heartbeat is asked for again
                    hb = server.next_beat()
                    assert hb.last_response_id >= body.response_id
                    server.answer(hb, body, fleet.interval_ms)
                    after = server.next_beat()
                    if after.ack != pb.ACK_RESEND:
                        break
                assert after.ack != pb.ACK_RESEND and ended(after, body.op_id, pb.OP_DONE), after
            assert notes(fleet, "f1") == done, "it was done again"
            if how:
                # Control: the same words under another number are another operation, and are done.
                body.response_id = body.op_id = after.last_response_id + 1
                server.answer(server.next_beat(), body, fleet.interval_ms)
                wait_for(lambda: any(ended(b, body.op_id, pb.OP_DONE) for b in server.beats()), 15, "the other one is done")
                assert notes(fleet, "f1") == [*done, "n2"]


def test_S001_c27_an_interval_outside_of_the_limits_is_refused_or_clamped_and_never_kept(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=250).up()
    idle(fleet, "f1")
    with Voice(fleet, "f1") as server:
        number = server.next_beat().last_response_id
        for wrong in (1, 199, 1_000_000_000):
            number += 1
            body = pb.ResponseBody(response_id=number, op_id=number, kind=pb.RETRIEVE_INFORMATION, state=pb.CS_AWAIT_RETRIEVE, attempt=1)
            body.reason.code = pb.REASON_EVENT
            body.retrieve.heartbeat_interval_ms = wrong
            server.answer(server.next_beat(), body, 250)
            after = wait_for(lambda: [b for b in server.beats() if ended(b, number, pb.OP_REFUSED)], 10, "it is refused")[0]
            assert f"heartbeat_interval_ms is {wrong}, at " in after.op.detail, after
            assert after.status.interval_ms == 250
        # In the header of an answer it is not believed either: the spacing stays within the limits.
        body = pb.ResponseBody(response_id=number + 1, kind=pb.NO_ACTION, state=pb.CS_IDLE)
        body.reason.code = pb.REASON_CAUGHT_UP
        for wrong in (1, 1_000_000_000):
            server.answer(server.next_beat(), body, wrong)
            seen = len(server.beats())
            wait_for(lambda: len(server.beats()) >= seen + 3, 10, "heartbeats")
            assert {hb.status.interval_ms for hb in server.beats()[-3:]} <= {200, 250}
        at = [m.at for m in server.watch.of("helio/v1/hb/")]
        assert (at[-1] - at[0]) / (len(at) - 1) > 0.19
        # Control: one within the limits is kept, and acknowledged.
        good = pb.ResponseBody(response_id=number + 2, op_id=number + 2, kind=pb.RETRIEVE_INFORMATION, state=pb.CS_AWAIT_RETRIEVE,
                               attempt=1)
        good.reason.code = pb.REASON_EVENT
        good.retrieve.heartbeat_interval_ms = 300
        server.answer(server.next_beat(), good, 250)
        after = wait_for(lambda: [b for b in server.beats() if ended(b, good.op_id, pb.OP_DONE)], 10, "it is done")[-1]
        assert after.status.interval_ms == 300
