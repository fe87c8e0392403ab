"""The conversation in one run, for a sceptic: mosquitto_sub records the wire, and what is claimed is read from its lines.

The transfer's steps (medium, placement, resume, STOP and WAIT) have their own tests in test_s001_transfer.py and the quickstart."""
import json
import subprocess

from lib import wire
from lib.fleet import PROGRAMS
from lib.steps import answer, settle, until
from lib.wait import wait_for

pb = wire.pb


def replayed(path, *options):
    done = subprocess.run([PROGRAMS["helioctl"], "--json", "replay", path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def four_kinds(fleet, f):
    """Step 1: one client of each kind in one run."""
    assert f[1].beat().body.kind == pb.NO_ACTION
    fleet.ctl("ask", "f2", "holdings")
    flow = fleet.ctl("exec", "f4", "ping")["flow"]
    f[1].beat(changes=[pb.Change(change_id=1, key="showing", value="art-3")])
    for n, kind in ((2, pb.SEND_INFORMATION), (3, pb.RETRIEVE_INFORMATION), (4, pb.EXECUTE_COMMAND)):
        answer(f[n], until(f[n], kind))
    for n in (1, 2, 3, 4):
        settle(f[n], 12)
    return flow


def consolidated(fleet, f):
    """Step 6: f2 is busy while six display events and a control event come; it gets three responses, in their order."""
    for n in range(2, 8):
        answer(f[1], f[1].beat(changes=[pb.Change(change_id=n, key="showing", value=f"art-{n}")]))
        assert f[2].beat(ack=pb.ACK_BUSY).body.reason.code == pb.REASON_BUSY
        if n == 4:
            fleet.ctl("channel", "rate", "default", "1000000")
    fleet.ctl("consolidate", "default")
    got = []
    for _ in range(12):
        r = f[2].beat()
        if r.body.kind == pb.NO_ACTION and r.body.reason.code == pb.REASON_CAUGHT_UP:
            break
        if r.body.kind != pb.NO_ACTION:
            got.append(r.body)
            answer(f[2], r)
    assert [b.kind for b in got] == [pb.RETRIEVE_INFORMATION, pb.EXECUTE_COMMAND, pb.RETRIEVE_INFORMATION], got
    assert got[1].execute.verb == "control" and got[0].event_seq < got[1].event_seq < got[2].event_seq
    settle(f[1], 24)


def replay_refused(fleet, f1):
    """Step 7: a heartbeat of the wire, byte for byte once more."""
    hb = f1.heartbeat()
    payload = f1.send(hb)
    assert f1.response().in_reply_to_seq == hb.seq
    f1.mark_seen()
    before = fleet.client("f1")["last_heard_unix_ms"]
    f1.link.publish(wire.hb_topic("f1"), payload, qos=0)
    fleet.procs["heliod"].wait_text("replay")
    f1.quiet(0.3)
    assert fleet.client("f1")["last_heard_unix_ms"] == before


def response_lost(fleet, f1):
    """Step 8: the client never saw its response: the same operation, the same body."""
    fleet.ctl("exec", "f1", "ping")
    f1.send(f1.heartbeat())
    lost = f1.response()
    again = f1.beat()
    assert lost.body.kind == pb.EXECUTE_COMMAND and lost.body == again.body
    f1.op = None
    told = f1.beat()     # and does not begin it: told once more, and again
    assert told.body == lost.body and f1.beat().body == lost.body
    answer(f1, told)
    settle(f1)
    return lost.body.op_id


def test_X_6_the_demonstration_is_on_the_wire_and_why_explains_it(fleet_of):
    fleet = fleet_of(clients=("f1", "f2", "f3", "f4")).up(agents=[])
    capture = fleet.capture("helio/v1/#")
    f = {n: fleet.principal(f"f{n}").sign_in() for n in (1, 2, 3, 4)}
    for p in f.values():
        settle(p, 12)
    flow = four_kinds(fleet, f)
    consolidated(fleet, f)
    replay_refused(fleet, f[1])
    op_id = response_lost(fleet, f[1])

    # Why: the rule of ACCORDANCE.md behind each, and one flow from the act to its end.
    why = fleet.ctl("why", "f1")["entries"]
    rules = {e["rule_name"] for e in why}
    assert {"lost", "not at work", "idle"} <= rules, rules
    assert all(e["interval_by"] in ("idle", "busy", "operator") and e["interval_ms"] > 0 for e in why)
    assert "not at work" in fleet.ctl_plain("--config", fleet.ctl_config(), "why", "f1").stdout
    told = fleet.ctl("flow", flow)
    assert told["verb"] == "exec" and told["at_unix_ms"] <= told["clients"][0]["told_unix_ms"] <= told["clients"][0]["ended_unix_ms"]
    assert any(e["flow"] == flow for e in fleet.ctl("why", "f4")["entries"])

    # The recording: mosquitto_sub's lines say the same, and every heartbeat but the replayed one has one answer.
    def answers():
        return [wire.pb.Response.FromString(p) for _, t, p in fleet.captured(capture) if t == "helio/v1/rsp/f1"]
    wait_for(lambda: [r for r in answers() if r.body.op_id == op_id][3:], 5, "four times the same operation on the wire")
    seqs = [(r.session_id, r.in_reply_to_seq) for r in answers()]
    assert len(seqs) == len(set(seqs)), "a heartbeat was answered twice"
    wire_txt = fleet.folder / "wire.txt"
    wire_txt.write_text(capture.text())

    # Replay: the policy that was in force changes nothing (the control); a lower limit does, and says by which rule.
    same = replayed(wire_txt)
    assert same["different"] == 0 and same["compared"] > 30 and same["clients"] == 4, same
    lower = replayed(wire_txt, "--set", "mismatch_limit=1")
    assert lower["different"] >= 1 and lower["differences"][0]["client"] == "f1", lower
    assert lower["differences"][0]["would_rule_name"] == "not at work, told often" and lower["left_out"] >= 1
