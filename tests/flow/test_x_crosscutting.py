"""What each claim needs and no claim says: malformed input, forgery, crashes, broker rules."""
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import random
import re
import subprocess
import threading
import time

import pytest
from google.protobuf.message import DecodeError

from lib import wire
from lib.fleet import BUILD, ROOT
from lib.procs import Proc
from lib.steps import responses, settle, try_beat
from lib.wait import wait_for

pb = wire.pb


SANITIZED = pathlib.Path(os.environ.get("HELIO_BUILD_ASAN", BUILD.parent / "asan"))
SANITIZER_ENV = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:verbosity=1", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
                 "LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0"}


def sanitized(program):
    """The program of the build with AddressSanitizer; that build may still be under way."""
    if not SANITIZED.exists():
        pytest.skip(f"there is no sanitized build in {SANITIZED}")
    wait_for(lambda: os.access(SANITIZED / program, os.X_OK), 300, f"{SANITIZED / program} is built", every=1)
    return SANITIZED / program


def sealed_raw(p, body):
    topic = wire.hb_topic(p.id)
    return body + wire.AUTH_MAC + hmac.new(p.mac_up, topic.encode() + b"\0" + body, hashlib.sha256).digest()


def changed(rng, body):
    """One to four changes by chance."""
    body = bytearray(body)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(body) + 1)
        how = rng.randrange(6)
        if how == 0:
            body[at:at] = rng.choice([b"\0", b"\x08\x02", b"\x0b", b"\x0f", b"\x12\x7f", b"\x12\xff\xff\xff\xff\x0f", b"\x40\0", b"\x40\x63",
                                      b"\xf8\x3f\x01", b"\xff" * 12, b"\x62\0" * rng.randrange(1, 3000)])
        elif how == 1:
            del body[at:at + rng.randrange(1, 9)]
        elif how == 2:
            body[at:at] = rng.randbytes(rng.randrange(1, 33))
        elif how == 3:
            body[at:at] = body[at:at + rng.randrange(1, 60)]
        elif at < len(body):
            body[at] = body[at] ^ 1 << rng.randrange(8) if how == 4 else rng.randrange(256)
    return bytes(body)


def is_malformed(body, client):
    """Judged without the project: Google's reader refuses it, or a rule of the schema that anybody can check is broken."""
    hb = pb.Heartbeat()
    try:
        hb.ParseFromString(body)
    except DecodeError:
        return True
    return hb.schema != 1 or hb.client_id != client or not hb.HasField("status") or len(hb.ip_address) not in (4, 16) or \
        hb.ack not in (1, 2, 3, 4) or (hb.HasField("op") and (hb.op.percent > 100 or hb.op.status not in range(1, 8))) or len(body) > 16384


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
def test_X_1_malformed_is_refused(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), interval_ms=60000, log_types="error",
                     server={"server": {"view_period_s": 86400, "messages_per_s": 0}})
    fleet.brokers()
    # The server under AddressSanitizer: what it reads beyond an end, ends it.
    fleet.procs["heliod"] = Proc("heliod", [sanitized("server/heliod"), "--config", fleet.folder / "heliod.ini"], fleet.folder,
                                 env={"HELIO_TEST": "1", **SANITIZER_ENV})
    fleet.heliod()
    assert "AddressSanitizer" in fleet.procs["heliod"].text(), "it is not sanitized"
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    topic = wire.hb_topic("f1")
    view = wait_for(lambda: fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N"), 5)

    def rejected():
        return {k: v for k, v in fleet.ctl("counters")["counters"].items() if k.startswith("reject.")}

    def flood(payloads):
        """Each is refused and counted, and none is answered; returns how many by which name."""
        before, sent = rejected(), 0
        f1.mark_seen()
        for payload in payloads:
            f1.link.publish(topic, payload, qos=0)
            sent += 1
            if sent % 400 == 0:      # a broker drops what a busy reader does not take
                wait_for(lambda: sum(rejected().values()) - sum(before.values()) >= sent, 20, "they are counted")
        wait_for(lambda: sum(rejected().values()) - sum(before.values()) >= sent, 20, f"{sent} are counted")
        now = rejected()
        assert sum(now.values()) - sum(before.values()) == sent
        assert not f1.link.of("helio/v1/rsp/f1")[f1.seen:], "a response came"
        assert fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N") == view, "the view changed"
        return {k: v - before[k] for k, v in now.items() if v != before[k]}
    rng = random.Random(1)
    full = f1.heartbeat(op=pb.Operation(op_id=7, status=pb.OP_RUNNING, detail="x", percent=5),
                        changes=[pb.Change(change_id=1, key="showing", value="art-7")], sent_unix_ms=1).SerializeToString()
    good = sealed_raw(f1, full)
    named = [b"", b"\0", b"\xff" * 40, good[:-1], good[1:], b"\x0a" * 5000, rng.randbytes(16 * 1024 + 1), good + b"\0"]
    # Correctly sealed, and wrong inside: schema, enum 0, unknown enum, rubbish, too many.
    for field, value in (("schema", 2), ("schema", 0), ("ack", 0), ("ack", 9), ("status", None)):
        named.append(sealed_raw(f1, f1.heartbeat(**{field: value}).SerializeToString()))
    named.append(sealed_raw(f1, f1.heartbeat(changes=[pb.Change(change_id=i + 1, key="k", value="v") for i in range(500)])
                            .SerializeToString()))
    named += [sealed_raw(f1, b"\xff\xff\xff\xff"), sealed_raw(f1, b"")]
    why = flood(named)
    assert all(why.get(f"reject.{w}") for w in ("size", "signature", "schema", "format", "no-status")), why
    chance = (changed(rng, full) for _ in iter(int, 1))
    inside = (sealed_raw(f1, body) for body in chance if is_malformed(body, "f1"))
    why = flood(itertools.chain(itertools.islice(inside, 3000), (rng.randbytes(rng.randrange(1, 400)) for _ in range(500))))
    print(why)
    assert why["reject.format"] > 1000 and why["reject.signature"] >= 400, "they did not come as far as the decoder"
    # The next good one is answered, and the view shows it.
    assert f1.beat(status=pb.Status(state="busy", agent_version="0.0.2", interval_ms=1000, clock_quality=3)).in_reply_to_seq == f1.seq
    assert fleet.client("f1")["agent_version"] == "0.0.2"
    assert fleet.procs["heliod"].stop(timeout=20) == 0, fleet.procs["heliod"].text()[-3000:]
    assert "ERROR: " not in fleet.procs["heliod"].text()


@pytest.mark.parametrize("payloads", [10000, pytest.param(1000000, marks=pytest.mark.long)])
@pytest.mark.parametrize("program", ["test_gate_malformed", "test_codec_malformed"])
def test_X_1_a_million_malformed_payloads_under_the_sanitizers(program, payloads):
    """Through the gate of a server core, nine in ten with the right MAC; and to every decoder there is."""
    # One in twelve is still well-formed after its change.
    done = subprocess.run([sanitized(f"tests/{program}")], env={**os.environ, **SANITIZER_ENV, "HELIO_MALFORMED": str(payloads * 9 // 8)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "AddressSanitizer" in done.stdout and "ERROR: " not in done.stdout
    said = re.search(r"^payloads (\d+)(.*)$", done.stdout, re.M)
    print(said[0])
    assert int(said[1]) == payloads * 9 // 8
    count = dict(zip(said[2].split()[::2], map(int, said[2].split()[1::2])))
    if count:
        assert sum(count.values()) == int(said[1]), "each is refused and counted"
        assert sum(count[w] for w in count if w not in ("session", "replay", "boot")) >= payloads


def test_X_3_a_rogue_with_the_servers_certificate_but_no_key_moves_nobody(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch("helio/v1/hb/#", "helio/v1/rsp/f1")
    wait_for(lambda: watch.of("helio/v1/rsp/f1"), 10)
    recorded = [m for m in watch.of("helio/v1/rsp/f1")]
    fleet.procs["heliod"].kill()
    rogue = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
    fleet.witnesses.append(rogue)
    mark = len(watch.of("helio/v1/hb/"))
    for m in recorded:
        rogue.publish("helio/v1/rsp/f1", m.payload)
    fake = pb.Response(schema=1, client_id="f1", heartbeat_interval_ms=200)
    fake.body.response_id = 1 << 60
    fake.body.kind = pb.EXECUTE_COMMAND
    fake.body.op_id = 1 << 60
    fake.body.state = pb.CS_AWAIT_COMMAND
    fake.body.reason.code = pb.REASON_EVENT
    fake.body.execute.verb = "ping"
    beat = wait_for(lambda: watch.of("helio/v1/hb/")[mark:], 10)[-1].decode(pb.Heartbeat)
    fake.session_id, fake.boot, fake.in_reply_to_seq = beat.session_id, beat.boot, beat.seq
    for payload in (fake.SerializeToString(), wire.sealed(fake, "helio/v1/rsp/f1", mac_key=os.urandom(32)),
                    wire.sealed(fake, "helio/v1/rsp/f1", sign_key=wire.read_key(fleet.bundle("alice.2") / "identity.key"))):
        rogue.publish("helio/v1/rsp/f1", payload)
    mark = len(watch.of("helio/v1/hb/"))
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= mark + 5, 10)
    for m in watch.of("helio/v1/hb/")[mark:]:
        hb = m.decode(pb.Heartbeat)
        assert not hb.HasField("op") or hb.op.op_id != 1 << 60
        assert hb.last_response_id != 1 << 60
        assert hb.status.interval_ms == fleet.interval_ms
    # Control: the real server is obeyed again.
    rogue.close()
    fleet.witnesses.remove(rogue)
    fleet.heliod()
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    fleet.ctl("exec", "f1", "ping")
    fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 15)


HOLES = """with e as (select queue, first_seq, seq, lag(seq) over (partition by queue order by seq) as before,
  lead(seq) over (partition by queue order by seq) as after from event where live = 1)
  select 'hole', queue, first_seq, seq from e join queue q on q.name = e.queue
  where first_seq > seq or first_seq <> before + 1 or (after is null and seq <> q.tail_seq - 1)"""
POINTERS = """select 'pointer', c.id, c.pointer, q.tail_seq from client c left join queue q on q.name = c.channel
  where q.name is null or c.pointer > q.tail_seq or (c.pointer <> 0 and c.pointer <> q.tail_seq
  and c.pointer >= (select coalesce(min(first_seq), q.tail_seq) from event e where e.queue = q.name and e.live = 1)
  and not exists (select 1 from event e where e.queue = q.name and e.live = 1 and c.pointer between e.first_seq and e.seq))"""


def record_is_whole(fleet):
    """sqlite3's word on what a killed server left: readable, no number missing, every pointer shows an element."""
    assert fleet.sql("pragma integrity_check") == "ok"
    assert fleet.sql(f"{HOLES} union all {POINTERS}") == ""


class Pump(threading.Thread):
    """Says one thing after another to the server, and remembers what it was told to have been taken."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.taken, self.said, self.ended = fleet, [], 0, threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.said += 1
            n = self.said
            where = ("--channel", "default") if n % 4 == 0 else (self.fleet.clients[n % 2],)
            if n % 9 == 0:
                self.fleet.ctl("--timeout", "1", "channel", "consolidate", "default", check=False)
            done = self.fleet.ctl("--timeout", "1", "exec", *where, "note", f"n{n}", check=False)
            if done.returncode == 0:
                self.taken.append((n, self.fleet.clients if n % 4 == 0 else where))

    def end(self):
        self.ended.set()
        self.join(30)
        assert not self.is_alive()


def kill_at_a_call(fleet, rng):
    """SIGKILL as it enters its n-th call that writes: strace injects it. False: it made fewer."""
    calls = rng.choice(["pwrite64", "fdatasync", "write", "pwrite64,fdatasync,write,ftruncate,unlink"])
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(fleet.procs["heliod"].pid), "-e", f"trace={calls}",
                               "-e", f"inject={calls}:signal=SIGKILL:when={rng.randrange(1, 25)}"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: not fleet.procs["heliod"].alive(), 2)
        return True
    except AssertionError:
        return False
    finally:
        fleet.procs["heliod"].kill()
        strace.wait(timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=pytest.mark.long)])
def test_X_4_killed_at_random_the_state_is_whole(fleet_of, rounds):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=(), interval_ms=200, log_types="error", server={"probe": {"enabled": False}})
    for client in fleet.clients:      # a device's own list of what it did
        (fleet.folder / f"{client}.sh").write_text(f"echo \"$1\" >>{fleet.folder}/{client}.notes\n")
    fleet.brokers()
    fleet.heliod()
    for client in fleet.clients:
        fleet.agent(client, {"commands": {"run": f"note 20 /bin/sh {fleet.folder}/{client}.sh ..."}})
        fleet.wait_client(client, lambda c: c["state"] == "idle" and c["at_tail"], 20)
    watch = fleet.watch("helio/v1/rsp/#")
    rng = random.Random(rounds)
    pump = Pump(fleet)
    pump.start()
    at_a_call = 0
    for round_ in range(rounds):
        if round_ % 8 != 7:     # work is going on; in one round of eight it may still be starting
            mark, taken = len(watch.messages), len(pump.taken)
            wait_for(lambda: len(watch.messages) > mark and len(pump.taken) > taken, 30, "it answers")
        if round_ % 2:
            at_a_call += kill_at_a_call(fleet, rng)
        else:
            time.sleep(rng.random() * 0.3)
            fleet.procs["heliod"].kill()
        record_is_whole(fleet)
        fleet.heliod(wait=False)
    pump.end()
    assert at_a_call >= rounds // 4, "too few died within a write"
    for client in fleet.clients:
        fleet.wait_client(client, lambda c: c["private_elements"] == 0 and c["state"] == "idle" and c["at_tail"], 120)
    # Every op id is used for one body, and they rise.
    for client in fleet.clients:
        bodies = {}
        for r in responses(watch, client):
            if r.body.kind != pb.NO_ACTION:
                body = r.body.SerializeToString()
                assert bodies.setdefault(r.body.op_id, body) == body, f"op id {r.body.op_id} of {client} has two bodies"
        assert list(bodies) == sorted(bodies) and len(bodies) > 1
    # What was acknowledged was done once by whom it was for, and nothing was done twice.
    for client in fleet.clients:
        notes = (fleet.folder / f"{client}.notes").read_text().split()
        assert len(notes) == len(set(notes)), "a command was executed twice"
        missing = [n for n, whom in pump.taken if client in whom and f"n{n}" not in notes]
        assert not missing, f"acknowledged and never done by {client}: {missing}"
        rows = [r for r in fleet.ctl("operations", client)["operations"] if r["kind"] == "execute-command"]
        assert rows and all(r["outcome"] == "done" for r in rows), rows
    assert len(pump.taken) >= rounds * 7 // 8
    print(f"{rounds} kills, {at_a_call} within a write; {pump.said} said, {len(pump.taken)} taken")


def test_X_4_the_check_sees_a_hole_and_a_bad_pointer(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=())
    fleet.brokers()
    fleet.heliod()
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    for _ in range(3):
        fleet.ctl("exec", "--channel", "default", "ping")
    fleet.procs["heliod"].kill()
    record_is_whole(fleet)
    db = next((fleet.folder / "heliod").glob("*.db"))
    good = {path: path.read_bytes() for path in db.parent.iterdir() if path.name.startswith(db.name)}
    for harm in ("delete from event where seq = (select min(seq) + 1 from event where live = 1)", "update client set pointer = pointer + 90",
                 "delete from event where seq = (select max(seq) from event)"):
        subprocess.run(["sqlite3", db, harm], check=True)
        with pytest.raises(AssertionError):
            record_is_whole(fleet)
        for path in db.parent.glob(f"{db.name}*"):
            path.unlink()
        for path, data in good.items():
            path.write_bytes(data)
    record_is_whole(fleet)
    fleet.heliod()
    wait_for(lambda: try_beat(f1), 15, "it goes on where it was")


def test_X_5_no_wildcard_below_content_topics(fleet_of, pictures):
    fleet = fleet_of(clients=("f1", "f2")).up()
    package = fleet.image_package("art", "1", pictures)
    fleet.ctl("channel", "publish", "default", package)
    for client in fleet.clients:
        wait_for(lambda: (fleet.folder / client / "packages" / package).exists(), 40)
    for broker in fleet.data_ids:
        filters = re.findall(r": (\S+) (\d) (helio/v1/\S+)", fleet.broker_log(broker))
        wild = [f for f in filters if re.match(r"helio/v1/(pkg|idx|chunk|delta|cmd)/.*[+#]", f[2])]
        assert not wild, wild
    asked = [f for b in fleet.data_ids for f in re.findall(r": (f1) \d (helio/v1/chunk/\S+)", fleet.broker_log(b))]
    assert asked, "the log shows no subscription at all: the witness is blind"
    # The control broker goes away and comes back: heartbeats and answers with it.
    fleet.procs["broker-control"].kill()
    fleet.broker("control")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 30)


def test_X_6_everything_is_readable_with_mosquitto_sub_and_protoc(fleet_of, pictures):
    fleet = fleet_of(clients=("f1",)).up()
    package = fleet.image_package("art", "1", pictures)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 40)
    for topic, message in ((wire.hb_topic("f1"), "Heartbeat"), ("helio/v1/rsp/f1", "Response"),
                           ("helio/v1/view/state/f1", "StateView"), ("helio/v1/view/queue/default", "QueueView"),
                           ("helio/v1/host/server.1", "HostState")):
        payload = fleet.mosquitto_sub(topic, "-C", "1", "-N", timeout=10)
        assert "schema: 1" in fleet.protoc(message, payload), topic
    lines = fleet.mosquitto_sub("helio/v1/hb/#", "-t", "helio/v1/rsp/#", "-t", "helio/v1/view/#", "-C", "12", "-F", "%t %x",
                                timeout=15)
    decoded = fleet.ctl_plain("decode", input=lines.decode())
    assert "f1" in decoded.stdout and len(decoded.stdout.splitlines()) >= 12
    as_json = fleet.ctl_plain("--json", "decode", input=lines.decode())
    rows = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert len(rows) == 12 and all("topic" in r for r in rows)
    # Negative: what is not ours is reported, and the rest is still read.
    mixed = b"helio/v1/rsp/f1 zz\nnonsense\n" + lines
    odd = fleet.ctl_plain("decode", input=mixed.decode(), check=False)
    assert odd.stderr and len(odd.stdout.splitlines()) >= 12
