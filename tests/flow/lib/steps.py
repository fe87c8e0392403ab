"""What a hand-made client does in most tests."""
import time

from . import wire

pb = wire.pb


def responses(watch, client):
    return [m.decode(pb.Response) for m in watch.of(f"helio/v1/rsp/{client}")]


def settle(p, beats=6):
    """Answers the snapshot of a new client until it is caught up."""
    for _ in range(beats):
        r = p.beat()
        if r.body.kind == pb.NO_ACTION and r.body.reason.code == pb.REASON_CAUGHT_UP:
            return r
        answer(p, r)
    raise AssertionError(f"not caught up: {r}")


def answer(p, r):
    """Does what a good client does, as short as possible."""
    if r.body.kind == pb.SEND_INFORMATION:
        p.report_id = getattr(p, "report_id", 0) + 1
        report = pb.Report(schema=1, client_id=p.id, session_id=p.session_id, seq=p.report_id, boot=p.boot,
                           report_id=p.report_id, op_id=r.body.op_id, what=r.body.send.what, part=0, parts=1)
        if r.body.send.what == pb.INFO_HOLDINGS:
            report.holdings.full = True
        topic = f"helio/v1/report/{wire.shard(p.id)}/{p.id}"
        p.link.publish(topic, wire.sealed(report, topic, mac_key=p.mac_up))
        p.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    elif r.body.kind in (pb.EXECUTE_COMMAND, pb.RETRIEVE_INFORMATION):
        p.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)


def until(p, kind, beats=20):
    for _ in range(beats):
        r = p.beat()
        if r.body.kind == kind:
            return r
        time.sleep(0.02)
    raise AssertionError(f"no {pb.ResponseKind.Name(kind)} in {beats} beats; last {r}")


def try_beat(p):
    try:
        return p.beat(timeout=1)
    except AssertionError:
        return None
