"""A device with credentials of its own that means no good: within its rights on the broker it says everything it can as
often as it can. Log, store and memory of the server stay bounded, it is seen, and its neighbour does not notice."""
import hmac
import os
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lib import wire
from lib.steps import settle
from lib.wait import wait_for

pb = wire.pb
SECONDS = 4


def memory_kb(pid):
    """What is in use. Under a sanitizer, which keeps what was freed, nothing can be said: 0."""
    if "libasan" in open(f"/proc/{pid}/maps").read():
        return 0
    return int(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")))


def answers(watch, client):
    return len(watch.of(f"helio/v1/rsp/{client}"))


def counters(fleet):
    return fleet.ctl("counters")["counters"]


def send(p, topic, message=None, payload=None):
    if payload is None:
        payload = wire.sealed(message, topic, mac_key=p.mac_up)
    p.link.publish(topic, payload, qos=0, wait=False)


class Flood:
    """One of each kind in turn, as fast as Python makes them."""

    def __init__(self, fleet, p):
        self.p, self.n, self.change = p, 0, 0
        self.seqs = {"report": 0, "want": 0}
        self.wrong = Ed25519PrivateKey.generate()
        self.kinds = (self.changes, self.strange, self.report, self.want, self.sign_in, self.working)

    def topic(self, kind):
        return f"helio/v1/{kind}/{wire.shard(self.p.id)}/{self.p.id}"

    def beat(self, **forced):
        ip = bytes([10, 1, self.n // 256 % 256, self.n % 256])      # another address each time
        send(self.p, wire.hb_topic(self.p.id), self.p.heartbeat(ip_address=ip, **forced))

    def changes(self):
        self.change += 32
        self.beat(changes=[pb.Change(change_id=self.change + i, key=("skip", "nonsense")[i % 2], value=f"v{self.n}")
                           for i in range(32)])

    def strange(self):
        self.beat(last_response_id=self.p.last_response_id + 100000 + self.n)

    def working(self):
        self.beat(op=pb.Operation(op_id=77 + self.n, status=pb.OP_RUNNING, percent=self.n % 100))

    def common(self, kind, **more):
        self.seqs[kind] += 1
        return dict(schema=1, client_id=self.p.id, session_id=self.p.session_id, seq=self.seqs[kind], boot=self.p.boot, **more)

    def report(self):
        send(self.p, self.topic("report"), pb.Report(**self.common("report", report_id=self.n, op_id=12345, parts=1),
                                                     what=pb.INFO_LOGS, data=b"x" * 60000))

    def want(self):
        m = pb.Want(**self.common("want"))
        m.fetch.request_id, m.fetch.package = self.n, os.urandom(32)
        send(self.p, self.topic("want"), m)

    def sign_in(self):
        own, self.p.key = self.p.key, self.wrong
        payload = self.p.sign_in_payload(os.urandom(32))
        self.p.key = own
        send(self.p, wire.hb_topic(self.p.id), payload=payload)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.n <= 1000:     # more than may pass, however slow this machine is
            self.n += 1
            self.kinds[self.n % len(self.kinds)]()
        return self.n


def test_a_device_that_floods_costs_the_others_nothing(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), publishers=(), level="info",
                     server={"server": {"messages_per_s": 200}}).up(agents=["f1"])
    heliod, watch = fleet.procs["heliod"], fleet.watch("helio/v1/rsp/f1", "helio/v1/hb/+/f1")
    rogue = fleet.principal("f2").sign_in()
    settle(rogue)
    rows = int(fleet.sql("SELECT COUNT(*) FROM event")) + int(fleet.sql("SELECT COUNT(*) FROM operation"))
    before, log, memory = counters(fleet), heliod.log.stat().st_size, memory_kb(heliod.pid)
    began, begun, asked = time.monotonic(), answers(watch, "f1"), len(watch.of("helio/v1/hb/"))
    sent = Flood(fleet, rogue).run(SECONDS)
    # What lies retained on its own topics greets the server at its next start.
    for kind in ("hb", "report", "want", "bye"):
        rogue.link.publish(f"helio/v1/{kind}/{wire.shard('f2')}/f2", os.urandom(4000), qos=1, retain=True)
    assert sent > 1000, f"only {sent} messages were sent: this is no flood"
    # The neighbour is answered, beat by beat.
    wait_for(lambda: answers(watch, "f1") - begun >= len(watch.of("helio/v1/hb/")) - asked - 1, 5, "every beat of f1 is answered")
    assert answers(watch, "f1") - begun >= SECONDS * 1000 // fleet.interval_ms // 2
    # It was looked at so often and no more, and is seen.
    after, took = counters(fleet), time.monotonic() - began
    grown = {k: after[k] - before.get(k, 0) for k in after}
    assert grown["reject.too-many"] > 0 and grown["heartbeats"] < (took + 2) * 210, grown
    assert heliod.lines("reason=too-many")
    # Control: what it did within the limit had its effect, and left its trace.
    assert grown["reject.signature"] > 0 and grown["mismatches"] > 0, grown
    # And nothing of it grows with what it sends.
    now = int(fleet.sql("SELECT COUNT(*) FROM event")) + int(fleet.sql("SELECT COUNT(*) FROM operation"))
    assert now - rows < 200, f"{now - rows} rows for {sent} messages"
    assert heliod.log.stat().st_size - log < 250_000, f"{heliod.log.stat().st_size - log} bytes of log for {sent} messages"
    assert memory_kb(heliod.pid) - memory < 30_000, f"{memory_kb(heliod.pid) - memory} kB for {sent} messages"
    # The server starts again among what it left behind, and the neighbour goes on.
    heliod.kill()
    fleet.heliod()
    heliod.wait_text("reason=retained", 10)
    mark = answers(watch, "f1")
    wait_for(lambda: answers(watch, "f1") >= mark + 3, 15, "f1 is answered by the next start")


def varint(n):
    return bytes([n & 0x7f | 0x80]) + varint(n >> 7) if n > 0x7f else bytes([n])


def bombs(limit):
    """Empty elements of each field until the message is as long as it may be; each field in itself, thousands deep."""
    for number in range(1, 21):
        tag = varint(number << 3 | 2)
        yield (tag + b"\0") * ((limit - 100) // (len(tag) + 1))
        deep = b""
        while len(deep) < min(limit - 100, 30_000):
            deep = tag + varint(len(deep)) + deep
        yield deep


def test_C8_bombs_in_a_good_session_cost_the_server_8_mib_at_most(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), publishers=(), level="info", server={"server": {"messages_per_s": 10_000}}).up(agents=["f1"])
    heliod, watch = fleet.procs["heliod"], fleet.watch("helio/v1/rsp/f1")
    rogue = fleet.principal("f2").sign_in()
    settle(rogue)
    before, begun = counters(fleet), answers(watch, "f1")
    open(f"/proc/{heliod.pid}/clear_refs", "w").write("5")      # the highest from now on
    base, sent = memory_kb(heliod.pid), 0
    for kind, limit in (("hb", 16 << 10), ("report", 256 << 10), ("want", 64 << 10)):
        topic = f"helio/v1/{kind}/{wire.shard('f2')}/f2"
        for payload in bombs(limit):
            rogue.link.publish(topic, payload + wire.AUTH_MAC + hmac.new(rogue.mac_up, topic.encode() + b"\0" + payload, "sha256").digest(), qos=1)
            sent += 1
    # Its own good words are heard behind all that, and so is the neighbour.
    assert rogue.beat().body.kind is not None
    wait_for(lambda: answers(watch, "f1") > begun, 5, "f1 is answered")
    after = counters(fleet)
    refused = sum(n - before.get(k, 0) for k, n in after.items() if k.startswith("reject."))
    assert refused >= sent, (sent, before, after)
    peak = int(next(line.split()[1] for line in open(f"/proc/{heliod.pid}/status") if line.startswith("VmHWM")))
    assert not base or peak - base < 8 << 10, f"{peak - base} kB"
    print(f"{sent} bombs, {peak - base} kB")
