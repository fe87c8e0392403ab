"""US 7,779,090 claim 1: heartbeats, one of four responses, state set, state checked."""
import collections
import hashlib
import hmac
import os
import statistics
import subprocess
import time

import pytest

from lib import wire
from lib.procs import Proc
from lib.steps import answer, responses, settle, try_beat, until
from lib.wait import wait_for

pb = wire.pb
HB = "helio/v1/hb/#"


@pytest.mark.slow
def test_S000_1_periodic_heartbeats_with_status_from_several_clients(fleet_of):
    fleet = fleet_of(interval_ms=500, server={"server": {"view_period_s": 1}}).up()
    watch = fleet.watch(HB, "helio/v1/view/state/+")

    def said():
        beats = collections.defaultdict(list)
        for hb in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/")):
            if hb.session_id:
                beats[hb.client_id].append(hb)
        return beats
    wait_for(lambda: [len(found) >= 20 for found in said().values()] == [True] * 4, 12, "twenty heartbeats of each", every=0.2)
    watch.close()
    beats = said()
    assert set(beats) == {"f1", "f2", "f3", "f4"}
    for client, found in beats.items():
        times = [hb.sent_unix_ms for hb in found]
        # One that the machine held up is late, and only that one.
        assert 450 <= statistics.median(b - a for a, b in zip(times, times[1:])) <= 550, f"{client} at 500 ms: {times}"
        assert all(hb.HasField("status") and hb.status.state for hb in found)
    for client in beats:
        late = fleet.mosquitto_sub(f"helio/v1/view/state/{client}", "-C", "1", "-N", "-F", "%r")
        assert late.strip() == b"1", "the view is not retained"
        heard = [m.decode(pb.StateView).last_heard_unix_ms for m in watch.of(f"helio/v1/view/state/{client}")]
        assert len(heard) >= 5 and heard == sorted(heard) and heard[-1] - heard[0] > 5000, "last_heard does not grow"
    # Negative: a heartbeat without status obtains nothing and refreshes nothing.
    fleet.procs["f1"].stop()
    f1 = fleet.principal("f1").sign_in()
    f1.beat()
    before = fleet.client("f1")["last_heard_unix_ms"]
    f1.mark_seen()
    f1.send(f1.heartbeat(status=None))
    fleet.procs["heliod"].wait_text("no-status")
    f1.quiet()
    assert fleet.client("f1")["last_heard_unix_ms"] == before


@pytest.mark.slow
def test_S000_2_the_candidates_are_exactly_four(fleet_of, pictures):
    fleet = fleet_of(clients=[f"f{n}" for n in range(1, 11)], interval_ms=200, log_types="error").up()
    watch = fleet.watch(HB, "helio/v1/rsp/#")
    fleet.ctl("channel", "create", "art")
    fleet.ctl("client", "channel", "f3", "art")
    package = fleet.image_package("art", "1", pictures)
    fleet.ctl("channel", "publish", "art", package)
    begin = len(watch.of("helio/v1/hb/"))
    for round_ in range(6):
        fleet.ctl("ask", "f2", "display")
        fleet.ctl("exec", "f4", "ping")
    wait_for(lambda: len(watch.of("helio/v1/hb/")) - begin >= 1000, 60, "1,000 heartbeats")
    beats = {(hb.client_id, hb.session_id, hb.seq) for hb in
             (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/")) if hb.session_id}

    def told():
        return {(r.client_id, r.session_id, r.in_reply_to_seq) for r in (m.decode(pb.Response) for m in watch.of("helio/v1/rsp/"))}
    # The capture begins in the middle of an exchange of each client.
    wait_for(lambda: len(beats - told()) <= 10, 10, "those are answered", every=0.2)
    watch.close()
    answered = collections.Counter()
    kinds = collections.Counter()
    for m in watch.of("helio/v1/rsp/"):
        r = m.decode(pb.Response)
        kinds[r.body.kind] += 1
        answered[(r.client_id, r.session_id, r.in_reply_to_seq)] += 1
    assert set(kinds) == {pb.NO_ACTION, pb.SEND_INFORMATION, pb.RETRIEVE_INFORMATION, pb.EXECUTE_COMMAND}, kinds
    assert set(answered.values()) == {1}, "a heartbeat has more than one answer"
    beats = {(hb.client_id, hb.session_id, hb.seq) for hb in
             (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/")) if hb.session_id}
    assert len(set(answered) - beats) <= 10
    # Negative: a response of kind 5 is refused by the client, even under the session's own MAC.
    fleet.procs["heliod"].pause()
    mark = len(fleet.procs["f1"].lines("RSP-REFUSED"))
    keys = dict(line.split() for line in (fleet.folder / "f1.session").read_text().splitlines())
    watch = fleet.watch(HB, seat="watch.2")
    beat = wait_for(lambda: [h for h in (m.decode(pb.Heartbeat) for m in watch.of(wire.hb_topic("f1")))], 10)[-1]
    fake = pb.Response(schema=1, client_id="f1", session_id=beat.session_id, in_reply_to_seq=beat.seq, boot=beat.boot,
                       heartbeat_interval_ms=200)
    fake.body.response_id = beat.last_response_id + 1
    fake.body.reason.code = pb.REASON_CAUGHT_UP
    fake.body.state = pb.CS_IDLE
    for kind in (5, 0):
        body = fake.body.SerializeToString() + (b"\x10" + bytes([kind]) if kind else b"")
        plain = pb.Response()
        plain.CopyFrom(fake)
        plain.ClearField("body")
        raw = plain.SerializeToString() + b"\xa2\x01" + bytes([len(body)]) + body
        covered = b"helio/v1/rsp/f1\0" + raw
        mac = hmac.new(bytes.fromhex(keys["mac_down"]), covered, hashlib.sha256).digest()
        rogue = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
        rogue.publish("helio/v1/rsp/f1", raw + wire.AUTH_MAC + mac)
        rogue.close()
    try:
        wait_for(lambda: [w for w in fleet.procs["f1"].lines("RSP-REFUSED")[mark:] if "kind" in w], 10, "kind 5 is refused by name")
        seen = len(watch.of(wire.hb_topic("f1")))
        after = wait_for(lambda: watch.of(wire.hb_topic("f1"))[seen:], 10)[0].decode(pb.Heartbeat)
        assert (after.last_response_id, after.op) == (beat.last_response_id, beat.op), "it was taken"
    finally:
        fleet.procs["heliod"].go_on()


def test_S000_3_first_client_no_action(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch(HB, "helio/v1/rsp/f1")
    wait_for(lambda: len(watch.of("helio/v1/rsp/f1")) >= 5, 10)
    last = watch.of("helio/v1/rsp/f1")[-2:]
    beats = {m.decode(pb.Heartbeat).seq for m in watch.of("helio/v1/hb/")}
    for m in last:
        r = m.decode(pb.Response)
        assert r.body.kind == pb.NO_ACTION and r.in_reply_to_seq in beats
        assert r.body.reason.code == pb.REASON_CAUGHT_UP and r.body.reason.text
        assert len(m.payload) >= 2 and not m.retain
    view = fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N")
    assert "state: CS_IDLE" in fleet.protoc("StateView", view)
    # Negative: no response is not the same as NO_ACTION: the client asks for it again.
    fleet.procs["heliod"].pause()
    seen = len(watch.of("helio/v1/hb/"))
    try:
        wait_for(lambda: any(m.decode(pb.Heartbeat).ack == pb.ACK_RESEND for m in watch.of("helio/v1/hb/")[seen:]), 10,
                 "ack RESEND")
    finally:
        fleet.procs["heliod"].go_on()


def test_S000_4_second_client_send_information(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up()
    watch = fleet.watch("helio/v1/hb/#", "helio/v1/rsp/#", "helio/v1/report/#", "helio/v1/view/state/f2")
    fleet.ctl("ask", "f2", "display")
    wait_for(lambda: any(r.body.kind == pb.SEND_INFORMATION for r in responses(watch, "f2")), 10)
    op = next(r for r in responses(watch, "f2") if r.body.kind == pb.SEND_INFORMATION).body.op_id
    report = wait_for(lambda: [m.decode(pb.Report) for m in watch.of("helio/v1/report/")], 10)[0]
    assert (report.op_id, report.client_id, report.what) == (op, "f2", pb.INFO_DISPLAY) and report.HasField("display")
    wait_for(lambda: fleet.client("f2")["state"] == "idle", 10)

    def views():
        return [m.decode(pb.StateView) for m in watch.of("helio/v1/view/state/f2")]
    wait_for(lambda: any(v.state == pb.CS_AWAIT_INFO and v.op_id == op for v in views()) and views()[-1].state == pb.CS_IDLE, 10, "the views")
    wait_for(lambda: any(h.client_id == "f2" and h.op.op_id == op and h.op.status == pb.OP_DONE
                         for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/"))), 10, "it is said to be done")
    assert not any(r.body.kind == pb.SEND_INFORMATION for r in responses(watch, "f1"))
    assert not [m for m in watch.of("helio/v1/report/") if m.topic.endswith("/f1")]


def test_S000_4_done_without_a_report_is_not_believed(fleet_of):
    fleet = fleet_of(clients=("f2",)).up(agents=[])
    f2 = fleet.principal("f2").sign_in()
    r = settle(f2)
    fleet.ctl("ask", "f2", "display")
    r = until(f2, pb.SEND_INFORMATION)
    f2.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    for _ in range(2):
        f2.beat()
        assert fleet.client("f2")["state"] == "await-info"


def test_S000_5_third_client_retrieve_information(fleet_of, pictures):
    fleet = fleet_of(clients=("f1", "f3")).up()
    watch = fleet.watch(HB, "helio/v1/rsp/#")
    fleet.ctl("channel", "create", "art")
    fleet.ctl("client", "channel", "f3", "art")
    package = fleet.image_package("art", "1", pictures)
    fleet.ctl("channel", "publish", "art", package)
    fleet.wait_client("f3", lambda c: c["showing"]["package"] == package or c["packages"] >= 1, 30)
    got = wait_for(lambda: [r for r in responses(watch, "f3") if r.body.kind == pb.RETRIEVE_INFORMATION and r.body.retrieve.packages], 10,
                   "the response is recorded")[0]
    assert got.body.retrieve.packages[0].package.hex() == package
    assert not any(r.body.kind == pb.RETRIEVE_INFORMATION and r.body.retrieve.packages for r in responses(watch, "f1"))
    installed = fleet.folder / "f3" / "packages" / package / "files"
    listed = {}
    for page in sorted((fleet.folder / "f3" / "packages" / package / "pages").iterdir()):
        found = pb.ManifestPage()
        found.ParseFromString(page.read_bytes())
        listed.update({f.path: f.sha256.hex() for f in found.files})
    assert len(listed) == len(pictures)
    sums = subprocess.run(["sha256sum", *sorted(listed)], cwd=installed, check=True, stdout=subprocess.PIPE, text=True)
    assert {line.split("  ")[1]: line.split("  ")[0] for line in sums.stdout.splitlines()} == listed
    done = wait_for(lambda: [h for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/"))
                             if h.client_id == "f3" and h.op.op_id == got.body.op_id and h.op.status == pb.OP_DONE], 10, "f3 says done")
    assert any(i.complete and i.package.hex() == package for i in done[0].holdings.items)


def test_S000_5_done_without_the_package_is_not_believed(fleet_of, pictures):
    fleet = fleet_of(clients=("f3",)).up(agents=[])
    f3 = fleet.principal("f3").sign_in()
    settle(f3)
    package = fleet.image_package("art", "1", pictures)
    fleet.ctl("channel", "publish", "default", package)
    r = until(f3, pb.RETRIEVE_INFORMATION)
    f3.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    again = [f3.beat() for _ in range(4)]
    assert any(a.body.kind == pb.RETRIEVE_INFORMATION and a.body.response_id == r.body.response_id and
               a.body.SerializeToString() == r.body.SerializeToString() for a in again), again
    assert fleet.client("f3")["state"] == "await-retrieve"


def test_S000_6_fourth_client_execute_a_command(fleet_of):
    fleet = fleet_of(clients=("f4",)).up()
    watch = fleet.watch(HB, "helio/v1/rsp/f4")
    fleet.ctl("exec", "f4", "ping")
    wait_for(lambda: any(r.body.kind == pb.EXECUTE_COMMAND for r in responses(watch, "f4")), 10)
    r = next(r for r in responses(watch, "f4") if r.body.kind == pb.EXECUTE_COMMAND)
    assert r.body.state == pb.CS_AWAIT_COMMAND and r.body.execute.verb == "ping"
    wait_for(lambda: any(h.op.op_id == r.body.op_id and h.op.status == pb.OP_DONE
                         for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/"))), 10)
    # Negative: a verb that is not on the list is refused, and nothing is started.
    children = set(os.listdir(f"/proc/{fleet.procs['f4'].pid}/task"))
    fleet.ctl("exec", "f4", "rm", "$(touch x); rm x", check=False)
    refused = wait_for(lambda: [h for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/"))
                                if h.op.status == pb.OP_REFUSED], 10)
    assert refused[0].op.op_id != r.body.op_id
    tasks = f"/proc/{fleet.procs['f4'].pid}/task/{fleet.procs['f4'].pid}/children"
    assert open(tasks).read().strip() == ""
    assert children


def test_S000_7_state_is_set_before_the_response_is_sent(fleet_of):
    fleet = fleet_of(clients=("f3",), data_brokers=(), publishers=()).up(agents=[])
    f3 = fleet.principal("f3").sign_in()
    settle(f3)
    capture = fleet.capture("helio/v1/view/state/f3", "helio/v1/rsp/f3", seat="watch.1")
    states = {pb.SEND_INFORMATION: pb.CS_AWAIT_INFO, pb.EXECUTE_COMMAND: pb.CS_AWAIT_COMMAND, pb.RETRIEVE_INFORMATION: pb.CS_AWAIT_RETRIEVE}
    given = {}
    for words, kind in ((("ask", "f3", "holdings"), pb.SEND_INFORMATION), (("exec", "f3", "ping"), pb.EXECUTE_COMMAND),
                        (("interval", "f3", "1000", "--operation"), pb.RETRIEVE_INFORMATION)):
        if given:
            answer(f3, given[max(given)])
            settle(f3)
            f3.op = None
        fleet.ctl(*words)
        r = until(f3, kind)
        given[r.body.response_id] = r

    def order():
        """Each response and each view in the order of the wire: (is a view, id of the response)."""
        return [(True, pb.StateView.FromString(p).response_id) if "/view/" in topic else (False, pb.Response.FromString(p).body.response_id)
                for _, topic, p in fleet.captured(capture)]
    wait_for(lambda: (False, max(given)) in order(), 5)
    for id_ in given:
        assert order().index((True, id_)) < order().index((False, id_)), "the response came before its state"
    views = {v.response_id: v for v in (pb.StateView.FromString(p) for _, topic, p in fleet.captured(capture) if "/view/" in topic)}
    for id_, told in given.items():
        assert (views[id_].state, views[id_].op_id) == (states[told.body.kind], told.body.op_id)
    # The server dies right after R: what it told is what it remembers, and the next heartbeat is judged by it.
    fleet.procs["heliod"].kill()
    assert fleet.sql("select count(*) from client where id = 'f3'") == "1"
    fleet.heliod()
    wait_for(lambda: fleet.client("f3")["state"] == "await-retrieve", 10)
    view = pb.StateView.FromString(fleet.mosquitto_sub("helio/v1/view/state/f3", "-C", "1", "-N"))
    assert (view.state, view.response_id, view.op_id) == (pb.CS_AWAIT_RETRIEVE, r.body.response_id, r.body.op_id)
    first = f3.beat(timeout=15)
    again = f3.beat() if first.body.reason.code == pb.REASON_STALE_BOOT else first
    assert again.body == r.body, "it was not at work, and was not told again"


def test_S000_7_what_cannot_be_recorded_is_not_sent(fleet_of):
    fleet = fleet_of(clients=("f3",)).up(agents=[])
    f3 = fleet.principal("f3").sign_in()
    settle(f3)
    fleet.ctl("exec", "f3", "ping")
    heliod = fleet.procs["heliod"]
    # From now on no write of the server reaches its disk.
    broken = Proc("strace", ["strace", "-f", "-o", fleet.folder / "strace.out", "-e", "trace=pwrite64,fdatasync",
                             "-e", "inject=pwrite64,fdatasync:error=EROFS", "-p", heliod.pid], fleet.folder).start()
    broken.wait_text("attached", 10)
    f3.mark_seen()
    f3.send(f3.heartbeat())
    heliod.wait_text("state-write", 10)
    f3.quiet(0.5)
    assert heliod.alive()
    # The disk comes back: the server recovers by itself, and the command is told once.
    broken.stop()
    first = wait_for(lambda: try_beat(f3), 30, "an answer after the disk came back")
    r = first if first.body.kind == pb.EXECUTE_COMMAND else until(f3, pb.EXECUTE_COMMAND, 40)
    assert r.body.execute.verb == "ping"


def test_S000_9_all_acts_are_the_servers(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch(HB, "helio/v1/rsp/#")
    wait_for(lambda: watch.of("helio/v1/rsp/f1"), 10)
    fleet.procs["heliod"].stop()
    stopped = time.time() * 1000
    # What was on its way has come when a heartbeat of later has.
    wait_for(lambda: any(m.decode(pb.Heartbeat).sent_unix_ms > stopped for m in watch.of("helio/v1/hb/")), 20, "a heartbeat after the end")
    beats, answers = len(watch.of("helio/v1/hb/")), len(watch.of("helio/v1/rsp/"))
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= beats + 4, 20, "heartbeats go on")
    assert len(watch.of("helio/v1/rsp/")) == answers
    # Responses are never retained: a late subscriber gets none.
    late = fleet.mosquitto_sub("helio/v1/rsp/f1", "-C", "1", timeout=2, check=False)
    assert late == b""
