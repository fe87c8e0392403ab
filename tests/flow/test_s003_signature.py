"""CN 101217512: state is kept from heartbeats that carry client signature information."""
import collections
import os
import statistics
import subprocess
import time

import pytest

from lib import wire
from lib.steps import settle
from lib.wait import wait_for
from lib.wallclock import WallClock

pb = wire.pb


def openssl_verifies(folder, public_raw, message, signature):
    """openssl pkeyutl as the witness: DER of an Ed25519 public key is 12 fixed bytes and the key."""
    (folder / "pub.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + public_raw)
    (folder / "m").write_bytes(message)
    (folder / "s").write_bytes(signature)
    return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "pub.der",
                           "-rawin", "-in", folder / "m", "-sigfile", folder / "s"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def openssl_mac(key, message):
    done = subprocess.run(["openssl", "mac", "-digest", "SHA256", "-macopt", f"hexkey:{key.hex()}", "-in", "-", "HMAC"],
                          input=message, stdout=subprocess.PIPE, check=True)
    return bytes.fromhex(done.stdout.decode().strip())


def test_S003_1_heartbeat_carries_client_signature_information(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"))
    fleet.brokers()
    watch = fleet.watch("helio/v1/hb/#")
    fleet.heliod()
    for id_ in ("f1", "f2"):
        fleet.agent(id_)
    wait_for(lambda: len([m for m in watch.of("helio/v1/hb/") if m.decode(pb.Heartbeat).session_id]) >= 6, 20)
    seen = {"sign-in": 0, "beat": 0}
    dumped = dict(line.split() for line in (fleet.folder / "f1.session").read_text().splitlines())
    for m in watch.of("helio/v1/hb/"):
        hb = m.decode(pb.Heartbeat)
        topic = m.topic.encode()
        if hb.session_id == 0:
            public = wire.raw_public(wire.read_key(fleet.bundle(hb.client_id) / "identity.key"))
            assert m.payload[-67:-64] == wire.AUTH_SIGNATURE
            assert openssl_verifies(fleet.folder, public, topic + b"\0" + m.payload[:-67], m.payload[-64:])
            assert not openssl_verifies(fleet.folder, public, topic + b"x\0" + m.payload[:-67], m.payload[-64:])
            seen["sign-in"] += 1
        elif hb.client_id == "f1":
            assert m.payload[-35:-32] == wire.AUTH_MAC
            assert openssl_mac(bytes.fromhex(dumped["mac_up"]), topic + b"\0" + m.payload[:-35]) == m.payload[-32:]
            seen["beat"] += 1
    assert seen["sign-in"] >= 2 and seen["beat"] >= 2, seen


def test_S003_1_bad_signature_information_changes_nothing(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    f2 = fleet.principal("f2").sign_in()
    settle(f1)
    settle(f2)

    def view():
        """What no good heartbeat changed. Time alone makes it late, and that view shows the last good one."""
        v = pb.StateView.FromString(fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N"))
        return v.session_id, v.seq <= last, v.state, v.op_id, v.mismatches, fleet.client("f1")["last_heard_unix_ms"]
    last = f1.seq
    before = view()
    assert before[1]
    f1.mark_seen()

    def counted():
        found = fleet.ctl("counters")["counters"]
        return found["reject.signature"], found["reject.session"]
    assert counted() == (0, 0)
    good = wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), mac_key=f1.mac_up)
    hostile = {
        "absent": good[:-35],
        "bit in the payload": bytes([good[0], good[1], good[2] ^ 1]) + good[3:],
        "bit in the MAC": good[:-1] + bytes([good[-1] ^ 1]),
        "key of another client": wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), mac_key=f2.mac_up),
        "signature instead of MAC": wire.sealed(f1.heartbeat(), wire.hb_topic("f1"), sign_key=f1.key),
    }
    for name, payload in hostile.items():
        f1.send(None, payload=payload)
    # A good payload of f1 on the topic of f2 (f2's own certificate carries it there).
    f2.mark_seen()
    f2.send(None, topic=wire.hb_topic("f2"), payload=good)
    fleet.procs["heliod"].wait_text("reason=signature", 10)
    # A sign-in that another enrolled client signed, or nobody, or with a bit bent: no offer.
    sign_in, topic = f1.sign_in_payload(os.urandom(32)), wire.hb_topic("f1")
    offers = len(f1.link.of("helio/v1/offer/"))
    forged = [wire.sealed(pb.Heartbeat.FromString(sign_in), topic, sign_key=f2.key), sign_in[:-67],
              sign_in[:-1] + bytes([sign_in[-1] ^ 1])]
    for payload in forged:
        f1.send(None, payload=payload)
    # Each is counted; the heartbeat that the client itself signed is no sign-in, and so of no session.
    # What f2 carried names f1's session: another one than f2's, unless both signed in within one second.
    other = f1.session_id != f2.session_id
    expected = len(hostile) + 1 + len(forged) - 1 - other, 1 + other
    wait_for(lambda: counted() == expected, 10, f"each is counted: {counted()}")
    assert len(f1.link.of("helio/v1/offer/")) == offers
    f1.quiet(0.3)
    f2.quiet(0.1)
    assert view() == before, "the view changed"
    # Control: the untouched one is answered.
    f1.send(None, payload=good)
    assert f1.response().in_reply_to_seq


def gaps_of_beats(fleet, count):
    """Milliseconds between heartbeats, by the stamps of mosquitto_sub."""
    out = fleet.mosquitto_sub("helio/v1/hb/#", "-C", str(count + 1), "-F", "%U", timeout=60).decode().split()
    at = [float(x) * 1000 for x in out]
    return [b - a for a, b in zip(at, at[1:])]


def idle_jitter():
    """How late this machine wakes a process that asked for 10 ms."""
    late = []
    for _ in range(100):
        begin = time.monotonic()
        time.sleep(0.01)
        late.append((time.monotonic() - begin - 0.01) * 1000)
    return max(late)


@pytest.mark.slow
@pytest.mark.quiet
def test_S003_2_heartbeats_come_at_a_fixed_interval(fleet_of):
    fleet = fleet_of(clients=("f1",), interval_ms=500, log_types="error").up()
    for round_ in range(3):
        gaps = gaps_of_beats(fleet, 60)
        mean = statistics.mean(gaps)
        if abs(mean - 500) <= 5 and all(abs(g - 500) <= 50 for g in gaps):
            return
        print(f"round {round_}: mean {mean:.1f} ms, {min(gaps):.0f}..{max(gaps):.0f}; idle jitter {idle_jitter():.1f} ms")
    raise AssertionError("no round kept the interval")


def test_S003_2_a_stall_makes_no_burst(fleet_of):
    fleet = fleet_of(clients=("f1",), interval_ms=400).up()
    watch = fleet.watch("helio/v1/hb/#")
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= 3, 10)
    fleet.procs["f1"].pause()
    before = len(watch.of("helio/v1/hb/"))
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() - begin > 10, 12)
    fleet.procs["f1"].go_on()
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= before + 6, 10)
    at = [m.at for m in watch.of("helio/v1/hb/")[before + 1:before + 6]]
    assert at[-1] - at[0] >= 0.4 * 3, f"{len(at)} beats within {at[-1] - at[0]:.2f} s: a burst"


def beats_of(fleet, capture, client):
    """(mosquitto_sub's stamp in ms, heartbeat) of every beat in session."""
    found = []
    for at, topic, payload in fleet.captured(capture):
        hb = pb.Heartbeat()
        hb.ParseFromString(payload)
        if hb.client_id == client and hb.session_id:
            found.append((at * 1000, hb))
    return found


def keeps_the_grid(beats, interval_ms):
    """Neither a burst nor a gap: no beat is missing, none is too many, and the mean does not drift."""
    at = [stamp for stamp, _ in beats]
    gaps = [b - a for a, b in zip(at, at[1:])]
    good = abs(statistics.mean(gaps) - interval_ms) <= interval_ms / 20 and all(abs(g - interval_ms) <= interval_ms * 0.7 for g in gaps)
    if not good:
        print(f"gaps {[round(g) for g in gaps]} ms of {interval_ms}; idle jitter {idle_jitter():.1f} ms")
    return good


def test_S003_2_a_step_of_the_wall_clock_makes_neither_a_burst_nor_a_gap(fleet_of):
    ms, hour = 300, 3600
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=(), interval_ms=ms)
    clock = {name: WallClock(fleet.folder, name) for name in ("heliod", "f1", "f2")}
    fleet.brokers()
    fleet.heliod(env=clock["heliod"].env())
    capture, watch = fleet.capture("helio/v1/hb/#"), fleet.watch("helio/v1/rsp/f1")
    fleet.agent("f1", env=clock["f1"].env())
    fleet.agent("f2", env=clock["f2"].env(every_clock=True))
    count = lambda client: len(beats_of(fleet, capture, client))  # noqa: E731
    wait_for(lambda: count("f1") >= 6 and count("f2") >= 6, 20, "both beat")

    told = lambda: [m.decode(pb.Response).server_unix_ms / 1000 - m.at for m in watch.of("helio/v1/rsp/f1")]  # noqa: E731
    said = lambda: [(hb.sent_unix_ms - at) / 1000 for at, hb in beats_of(fleet, capture, "f1")]  # noqa: E731

    def steps(who, offsets):
        """Steps the clock each time that it was seen on the wire once more; returns f1's beats from before to after."""
        begin = count("f1")
        for offset in offsets:
            clock[who].step(offset)
            wait_for(lambda: abs((told if who == "heliod" else said)()[-1] - offset) < 5, 5, f"{who}'s clock is {offset:+d} s off")
        wait_for(lambda: count("f1") >= begin + len(offsets) + 4, 5)
        return beats_of(fleet, capture, "f1")[begin - 2:]

    def some_round_keeps(who, offsets):
        return any(keeps_the_grid(steps(who, offsets), ms) for _ in range(5))
    # The device's clock: an hour on, an hour back beyond the start, home, and to and fro with each beat.
    assert some_round_keeps("f1", [hour, -hour, 0, hour, -hour, hour, -hour, 0])
    # The server's clock: nobody's interval and nobody's session feels it.
    assert some_round_keeps("heliod", [hour, -hour, 0])
    assert len({hb.session_id for _, hb in beats_of(fleet, capture, "f1")}) == 1
    assert {hb.status.interval_ms for _, hb in beats_of(fleet, capture, "f1")} == {ms}
    # Control: where the monotonic clock steps too, the same witness sees the gap.
    clock["f2"].step(-hour)
    at_step = time.time() * 1000
    after = lambda client: len([at for at, _ in beats_of(fleet, capture, client) if at > at_step])  # noqa: E731
    wait_for(lambda: after("f1") >= 8, 10)
    assert after("f2") <= 2, "a clock that goes back an hour was not felt: the witness is blind"
    fleet.procs["f2"].kill()


def test_S003_2_the_interval_is_kept_while_it_fetches_and_runs_a_command(fleet_of, folder):
    ms = 400
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=ms, log_types="error subscribe",
                     server={"server": {"rate_bytes_per_s": 1_000_000}}, agent={"commands": {"run": "nap 30 /bin/sleep 3"}}).up()
    capture = fleet.capture("helio/v1/hb/#")
    for round_ in range(3):
        begin = len(beats_of(fleet, capture, "f1"))
        home = folder / f"software-{round_}"
        home.mkdir()
        (home / "image.bin").write_bytes(os.urandom(3_000_000))
        package = fleet.software_package("app", str(round_ + 1), home)
        fleet.ctl("channel", "publish", "default", package)
        fleet.ctl("exec", "f1", "nap")

        def ended():
            """The package's and the command's operation of this round, when both are done."""
            done = [r for r in fleet.ctl("operations", "f1")["operations"] if r["outcome"] == "done"]
            ids = [[int(r["op_id"]) for r in done if r["kind"] == kind] for kind in ("retrieve-information", "execute-command")]
            return [max(of) for of in ids] if all(len(of) > round_ for of in ids) else None
        both = wait_for(ended, 40, "package and command are done", every=0.5)
        beats = beats_of(fleet, capture, "f1")[begin:]
        running = collections.Counter(hb.op.op_id for _, hb in beats if hb.op.status == pb.OP_RUNNING)
        assert all(running[op] >= 5 for op in both), f"too little was under way: {running} of {both}"
        if keeps_the_grid(beats, ms):
            return
    raise AssertionError("no round kept the interval")


def test_S003_3_replayed_heartbeats_and_sign_ins_do_nothing(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    recorded = f1.send(f1.heartbeat())
    f1.response()
    heard = fleet.client("f1")["last_heard_unix_ms"]
    f1.mark_seen()
    f1.send(None, payload=recorded)
    fleet.procs["heliod"].wait_text("reason=replay", 10)
    f1.quiet(0.4)
    # A replayed sign-in obtains an offer at most, and the live session goes on.
    session = fleet.client("f1")["session_id"]
    f1.send(None, payload=f1.sign_in_bytes)
    f1.quiet(0.4)
    assert fleet.client("f1")["session_id"] == session and fleet.client("f1")["last_heard_unix_ms"] == heard
    assert f1.beat().body.kind == pb.NO_ACTION
    # A new sign-in ends the old session.
    old_session, old_key, old_seq = f1.session_id, f1.mac_up, f1.seq
    f1.sign_in()
    f1.beat()
    f1.mark_seen()
    f1.send(f1.heartbeat(session_id=old_session, seq=old_seq + 5), mac_key=old_key)
    fleet.procs["heliod"].wait_text("reason=session", 10)
    f1.quiet(0.3)
    # A revoked key is refused.
    fleet.ctl("client", "revoke", "f1")
    f1.mark_seen()
    f1.send(f1.heartbeat())
    fleet.procs["heliod"].wait_text("reason=revoked", 10)
    f1.quiet(0.3)


def test_S003_5_a_script_without_our_programs_signs_in_and_is_answered(fleet_of):
    """openssl derives the session keys; python stands here only for the order of the steps and for MQTT."""
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    work = fleet.folder / "script"
    work.mkdir()
    bundle, topic = fleet.bundle("f1"), wire.hb_topic("f1")
    link = wire.Client(fleet.port["control"], bundle).subscribe("helio/v1/offer/f1", "helio/v1/rsp/f1")
    fleet.witnesses.append(link)

    def sh(script, input_=b"", **env):
        return subprocess.run(["bash", "-euc", script], input=input_, stdout=subprocess.PIPE, check=True, cwd=work,
                              env={**os.environ, "B": str(bundle), "T": topic, "P": str(wire.ROOT / "proto"), **env}).stdout

    def text(data):
        return "".join(f"\\x{b:02x}" for b in data)
    sh("openssl genpkey -algorithm X25519 -out x.pem")
    public = sh("openssl pkey -in $B/identity.key -pubout -outform DER | tail -c 32")
    share = sh("openssl pkey -in x.pem -pubout -outform DER | tail -c 32")
    common = ('schema: 1 client_id: "f1" ip_address: "\\x7f\\x00\\x00\\x01" ack: ACK_NOTHING '
              'status { state: "idle" agent_version: "0" clock_quality: 1 interval_ms: 1000 } ')
    sign_in = common + (f'seq: 1 sign_in {{ public_key: "{text(public)}" nonce: "{text(os.urandom(16))}" '
                        f'x25519_share: "{text(share)}" store_id: "{text(os.urandom(16))}" boot_counter: 1 }}')
    encode = "protoc --encode=helio.v1.Heartbeat --proto_path=$P helio.proto"
    unsigned = sh(encode, sign_in.encode())
    signed = sh(encode + " >body; { printf '%s\\0' $T; cat body; } >m; openssl pkeyutl -sign -rawin -inkey "
                "$B/identity.key -in m -out s; cat body; printf '\\372\\177\\100'; cat s", sign_in.encode())
    # Negative: without a signature there is no offer.
    link.publish(topic, unsigned, qos=0)
    fleet.procs["heliod"].wait_text("reject", 10)
    assert not link.of("helio/v1/offer/")
    link.publish(topic, signed, qos=0)
    offer = link.next("helio/v1/offer/f1")
    decoded = fleet.protoc("SessionOffer", offer.payload)
    session = [line.split(": ")[1] for line in decoded.splitlines() if line.startswith("session_id")][0]
    parsed = offer.decode(pb.SessionOffer)
    (work / "peer.der").write_bytes(bytes.fromhex("302a300506032b656e032100") + parsed.x25519_share)
    (work / "transcript").write_bytes(signed + offer.payload)
    key = sh("secret=$(openssl pkeyutl -derive -inkey x.pem -peerkey peer.der -peerform DER | od -An -v -tx1 | tr -d ' \\n');"
             "salt=$(openssl dgst -sha256 -r transcript | cut -c1-64);"
             "openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:$secret -kdfopt hexsalt:$salt "
             "-kdfopt info:'helio/v1 mac-up' HKDF | tr -d ':\\n'").decode()
    beat = common + f'seq: 1 session_id: {session} boot: "{text(parsed.boot)}"'
    seal = (encode + " >body; { printf '%s\\0' $T; cat body; } >m; cat body; printf '\\372\\177\\040'; "
            "openssl mac -digest SHA256 -macopt hexkey:$K -in m -binary HMAC")
    # Negative: a wrong MAC obtains no response.
    link.publish(topic, sh(seal, beat.encode(), K="00" * 32), qos=0)
    fleet.procs["heliod"].wait_text("reason=signature", 10)
    assert not link.of("helio/v1/rsp/")
    link.publish(topic, sh(seal, beat.encode(), K=key), qos=0)
    answer = link.next("helio/v1/rsp/f1")
    assert "in_reply_to_seq: 1" in fleet.protoc("Response", answer.payload)


@pytest.mark.slow
def test_S003_7_state_does_not_depend_on_a_connection(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    wait_for(lambda: f1.beat() and fleet.client("f1")["reach"] == "online", 10, "a heartbeat makes it online")
    # The connection stays open, nothing is said: LATE by time alone.
    fleet.wait_client("f1", lambda c: c["reach"] == "late", 15)
    wait_for(lambda: f1.beat() and fleet.client("f1")["reach"] == "online", 10, "it is online again")     # until it is late again
