"""Operation ids over many operations and deaths of the server. The devices are the real core of the agent, many in
one process; what was said is captured by mosquitto_sub and judged by sort and uniq."""
import collections
import json
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS, Fleet
from lib.wait import patience, wait_for

pb = wire.pb
RATE = 2000     # heartbeats a second, of all devices


class Devices:
    """helio-fleet: signed in, asked what they hold, caught up. They live until the end, whatever dies meanwhile."""

    def __init__(self, fleet, count):
        b = fleet.bundle("server.1")
        self.argv = [PROGRAMS["helio-fleet"], "beats", "--steps", "--count", count, "--port", fleet.port["control"],
                     "--root-file", b / "root.bin", "--root-key", b / "root.pub", "--rate", RATE]
        self.log = fleet.folder / "helio-fleet.log"

    def __enter__(self):
        with open(self.log, "w") as log:
            self.p = subprocess.Popen([str(a) for a in self.argv], text=True, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=log)
        assert "ready" in self.p.stdout.readline(), self.log.read_text()
        return self

    def begin(self, seconds, rate=RATE):
        self.p.stdin.write(f"{rate} {seconds}\n")
        self.p.stdin.flush()

    def end(self):
        return json.loads(self.p.stdout.readline())

    def __exit__(self, *args):
        self.p.stdin.close()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


class Capture:
    """mosquitto_sub: topic and bytes of everything that the two sides said, a line each."""

    def __init__(self, fleet):
        self.path = fleet.folder / "capture"
        port = str(fleet.port["control"])
        with open(self.path, "wb") as out:
            self.proc = subprocess.Popen(["mosquitto_sub", "-V", "5", "-p", port, "-i", "capture", "-q", "0", "-F", "%t %x",
                                          "-t", "helio/v1/rsp/+", "-t", "helio/v1/hb/+/+"], stdout=out)

        def heard():
            subprocess.run(["mosquitto_pub", "-p", port, "-t", "helio/v1/rsp/nobody", "-m", "x"], check=True)
            return self.path.stat().st_size > 0
        wait_for(heard, 10, "the capture hears", every=0.1)
        self.responses, self.beats, self.read = [], [], 0

    def take(self):
        """Decodes what came since the last call."""
        with open(self.path, "rb") as f:
            f.seek(self.read)
            lines = f.read()
        lines = lines[:lines.rfind(b"\n") + 1]
        self.read += len(lines)
        for line in lines.decode().splitlines():
            topic, payload = line.split(" ")
            if topic == "helio/v1/rsp/nobody":
                continue
            m = (pb.Response if "/rsp/" in topic else pb.Heartbeat)()
            m.ParseFromString(bytes.fromhex(payload))
            (self.responses if "/rsp/" in topic else self.beats).append(m)
        return self

    def opened(self):
        """(client, op_id) of each response that was begun, not of one that is said again: that has the same bytes."""
        bodies = dict.fromkeys((r.client_id, r.body.SerializeToString(deterministic=True))
                               for r in self.responses if r.body.kind != pb.NO_ACTION)
        out = []
        for client, raw in bodies:
            body = pb.ResponseBody()
            body.ParseFromString(raw)
            out.append((client, body))
        return out

    def done(self):
        return {(h.client_id, h.op.op_id) for h in self.beats if h.op.status == pb.OP_DONE}

    def stop(self):
        self.proc.terminate()
        self.proc.wait()


def uniq_d(folder, lines):
    path = folder / "operations"
    path.write_text("".join(f"{client} {op}\n" for client, op in lines))
    return subprocess.run(f"sort {path} | uniq -d", shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout


def pings(fleet, count):
    for _ in range(count):
        fleet.ctl("exec", "--channel", "default", "ping")


def catch_up(devices, capture, count, events):
    """Beats until every device has told the outcome of every event."""
    end = time.monotonic() + patience(30)
    while time.monotonic() < end:
        devices.begin(0.5)
        devices.end()
        capture.take()
        told = capture.done()
        ended = [body for client, body in capture.opened() if body.execute.verb == "ping" and (client, body.op_id) in told]
        if len(ended) >= count * events:
            return
    raise AssertionError(f"{len(ended)} of {count * events} operations ended")


def many_operations(folder, count, rounds, events):
    fleet = Fleet(folder, data_brokers=("da",), clients=(), publishers=(), interval_ms=60000, log_types="error", tls=False,
                  level="info", server={"server": {"offers_per_s": 100000}})
    subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--count", str(count), "--enrol-key", fleet.ca / "keys/enrol.key",
                    "--out", fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)
    capture = None
    try:
        fleet.brokers()
        fleet.heliod()
        capture = Capture(fleet)
        with Devices(fleet, count) as devices:
            for round_ in range(rounds):
                pings(fleet, events)
                # kill -9 in the middle of the round: it takes two seconds, an operation a beat, and has one and a half.
                before = len(capture.take().opened())
                devices.begin(1.5, rate=count * events / 2)
                wait_for(lambda: len(capture.take().opened()) - before > count * events // 5, 20, "a part of the round")
                fleet.procs["heliod"].kill()
                devices.end()
                given = len(capture.take().opened()) - before
                assert given < count * events, "the kill came too late to hit anything"
                fleet.heliod(wait=False).wait_text("LINK-UP broker=control", 20, count=round_ + 2)
                catch_up(devices, capture, count, (round_ + 1) * events)
        judge(folder, capture, count, rounds, events)
    finally:
        if capture is not None:
            capture.stop()
        fleet.down()


def judge(folder, capture, count, rounds, events):
    opened = capture.opened()
    operations = [(client, body.op_id) for client, body in opened]
    assert len(operations) >= count * rounds * events
    assert uniq_d(folder, operations) == "", "an op id was used twice"
    # They rise, for each client, over every death of the server; each start has a range of its own.
    of = collections.defaultdict(list)
    for client, op in operations:
        of[client].append(op)
    assert len(of) == count
    assert all(ops == sorted(ops) for ops in of.values())
    assert len({op >> 32 for _, op in operations}) == rounds + 1
    # No event was given to a client as two operations, and an operation that ended never ran again.
    given = collections.Counter((client, body.event_seq) for client, body in opened if body.execute.verb == "ping")
    assert len(given) == count * rounds * events and set(given.values()) == {1}
    last = {}
    for h in capture.beats:
        key = (h.client_id, h.op.op_id)
        assert last.get(key) != pb.OP_DONE or h.op.status == pb.OP_DONE, "an operation ran again"
        last[key] = h.op.status
    # Control: the check sees one that is there twice.
    client, op = operations[len(operations) // 2]
    assert uniq_d(folder, [*operations, (client, op)]) == f"{client} {op}\n"
    print(f"{len(operations)} operations, {len(capture.responses)} responses, {len(capture.beats)} heartbeats")


def test_S001_c36_a_thousand_operations_and_two_kills_of_the_server_have_a_thousand_ids(folder):
    many_operations(folder, count=50, rounds=2, events=10)


@pytest.mark.long
def test_S001_c36_ten_thousand_operations_and_five_kills_of_the_server_have_ten_thousand_ids(folder):
    many_operations(folder, count=200, rounds=5, events=10)
