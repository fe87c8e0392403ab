"""What each claim needs and no claim says: malformed input, forgery, crashes, broker rules."""
import hashlib
import hmac
import json
import os
import random
import re
import subprocess
import time

from lib import wire
from lib.steps import responses, settle
from lib.wait import wait_for

pb = wire.pb


def test_X_1_malformed_is_refused(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    view = fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N")
    f1.mark_seen()
    rng = random.Random(1)
    good = wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), mac_key=f1.mac_up)

    def sealed_raw(body):
        topic = wire.hb_topic("f1")
        return body + wire.AUTH_MAC + hmac.new(f1.mac_up, topic.encode() + b"\0" + body, hashlib.sha256).digest()
    hostile = [b"", b"\0", b"\xff" * 40, good[:-1], good[1:], b"\x0a" * 5000, os.urandom(16 * 1024 + 1), good + b"\0"]
    hostile += [rng.randbytes(rng.randrange(1, 400)) for _ in range(200)]
    # Correctly sealed, and wrong inside: schema, enum 0, unknown enum, no status, rubbish.
    for field, value in (("schema", 2), ("schema", 0), ("ack", 0), ("ack", 9)):
        hostile.append(sealed_raw(f1.heartbeat(**{field: value}).SerializeToString()))
    hostile.append(sealed_raw(f1.heartbeat(changes=[pb.Change(change_id=i + 1, key="k", value="v") for i in range(500)])
                              .SerializeToString()))
    hostile.append(sealed_raw(b"\xff\xff\xff\xff"))
    for payload in hostile:
        f1.link.publish(wire.hb_topic("f1"), payload, qos=0)
    # A retained heartbeat is stale by definition.
    f1.link.publish(wire.hb_topic("f1"), wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), mac_key=f1.mac_up), qos=0,
                    retain=False)
    wait_for(lambda: f1.link.of("helio/v1/rsp/f1")[f1.seen:], 10, "the one good heartbeat is answered")
    assert len(f1.link.of("helio/v1/rsp/f1")[f1.seen:]) == 1
    assert fleet.procs["heliod"].alive()
    counters = fleet.ctl("counters")["counters"] if fleet.ctl("counters", check=False).returncode == 0 else None
    assert counters is None or sum(v for k, v in counters.items() if k.startswith("reject")) >= 200
    after = fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N")
    first, second = pb.StateView(), pb.StateView()
    first.ParseFromString(view)
    second.ParseFromString(after)
    assert (first.state, first.op_id, first.session_id) == (second.state, second.op_id, second.session_id)


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


def test_X_4_killed_at_random_the_state_is_whole(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), interval_ms=200).up()
    rounds = 40 if os.environ.get("HELIO_LONG") else 8
    rng = random.Random(3)
    watch = fleet.watch("helio/v1/rsp/#")
    done = 0
    for _ in range(rounds):
        for client in fleet.clients:
            if fleet.ctl("exec", client, "ping", check=False).returncode == 0:
                done += 1
        time.sleep(rng.random() * 0.4)
        fleet.procs["heliod"].kill()
        db = next((fleet.folder / "heliod").glob("*.db"))
        check = subprocess.run(["sqlite3", str(db), "pragma integrity_check"], stdout=subprocess.PIPE, text=True)
        assert check.stdout.strip() == "ok", check.stdout
        fleet.heliod()
    for client in fleet.clients:
        fleet.wait_client(client, lambda c: c["private_elements"] == 0 and c["state"] == "idle", 60)
    bodies = {}
    for client in fleet.clients:
        for r in responses(watch, client):
            if r.body.kind != pb.NO_ACTION:
                key = (client, r.body.op_id)
                assert bodies.setdefault(key, r.body.SerializeToString()) == r.body.SerializeToString(), "an op id twice"
    for client in fleet.clients:
        rows = fleet.ctl("operations", client)["operations"]
        pings = [r for r in rows if r["kind"] == "execute-command"]
        assert all(r["outcome"] != "open" for r in pings)
    assert done >= rounds


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
