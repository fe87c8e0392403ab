"""The state of a thousand devices as others see it: how late an answer and a view come, who is late, and what a stop of the
server does not mean. All times are those of mosquitto_sub, all states those of the retained views."""
import collections
import signal
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import Fleet, PROGRAMS
from lib.steps import responses
from lib.wait import patience, wait_for

pb = wire.pb
INTERVAL_MS = 1000
WORDS = {"hb": pb.Heartbeat, "rsp": pb.Response, "state": pb.StateView}


class Book:
    """What mosquitto_sub wrote down, by client: heartbeats, responses, views with their stamps in seconds."""

    def __init__(self, fleet):
        self.path, self.at = fleet.folder / "book", 0
        self.found = {kind: collections.defaultdict(list) for kind in WORDS}
        argv = ["mosquitto_sub", "-V", "5", "-p", str(fleet.port["control"]), "-i", "book", "-q", "1", "-F", "%U %t %x"]
        for topic in ("hb/#", "rsp/+", "view/state/+"):
            argv += ["-t", f"helio/v1/{topic}"]
        self.out = open(self.path, "wb")
        self.p = subprocess.Popen(argv, stdout=self.out, stderr=subprocess.DEVNULL)
        wait_for(lambda: ": book 1 helio/v1/view/state/+" in fleet.broker_log("control"), 10, "the book is open")

    def close(self):
        self.p.send_signal(signal.SIGTERM)
        self.p.wait()
        self.out.close()

    def read(self):
        """All so far: {"hb", "rsp", "state": {client: [(stamp, message)]}}."""
        with open(self.path, "rb") as f:
            f.seek(self.at)
            data = f.read()
        data = data[:data.rfind(b"\n") + 1]
        self.at += len(data)
        for line in data.splitlines():
            at, topic, payload = line.decode().split(" ")
            words = topic.split("/")
            kind = "state" if words[2] == "view" else words[2]
            m = WORDS[kind]()
            m.ParseFromString(bytes.fromhex(payload))
            self.found[kind][words[-1]].append((float(at), m))
        return self.found


def devices(fleet, prefix, count):
    """helio-fleet in the background: each device beats once a second until it is killed."""
    b = fleet.bundle("server.1")
    argv = [PROGRAMS["helio-fleet"], "beats", "--prefix", prefix, "--count", count, "--port", fleet.port["control"], "--root-file",
            b / "root.bin", "--root-key", b / "root.pub", "--rate", count * 1000 // INTERVAL_MS, "--seconds", 600]
    return subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)


def enrol(fleet, prefix, count):
    subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--prefix", prefix, "--count", str(count), "--enrol-key",
                    fleet.ca / "keys/enrol.key", "--out", fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)


def answered(book, begin=0.0):
    """Seconds from each heartbeat of a session after `begin` to its response; every one, also before, has exactly one."""
    found = []
    for client, beats in book["hb"].items():
        answers = collections.defaultdict(list)
        for at, r in book["rsp"][client]:
            answers[r.session_id, r.in_reply_to_seq].append(at)
        in_session = [(at, h) for at, h in beats if h.session_id]
        for at, h in in_session[:-1]:       # the last may be on its way
            got = answers[h.session_id, h.seq]
            assert len(got) == 1, f"{client} seq {h.seq}: {len(got)} responses"
            if at >= begin:
                found.append(got[0] - at)
    return sorted(found)


def changed(book, begin=0.0):
    """Seconds from each heartbeat after `begin` that changed a client's state to the view that says so."""
    found = []
    for client, responses in book["rsp"].items():
        beats = {h.seq: at for at, h in book["hb"][client] if h.session_id}
        views, before = book["state"][client], None
        for _, r in responses:
            state, before_, before = r.body.state, before, r.body.state
            if before_ is None or state == before_:
                continue
            at = beats[r.in_reply_to_seq]
            if at < begin:
                continue
            said = [v_at for v_at, v in views if v.seq >= r.in_reply_to_seq and v.state == state]
            assert said, f"{client}: no view says {pb.ClientState.Name(state)} of beat {r.in_reply_to_seq}"
            found.append(said[0] - at)
    return sorted(found)


def percentile(values, p):
    return values[min(len(values) - 1, int(len(values) * p))]


def thousand(folder, steady, dying):
    fleet = Fleet(folder, data_brokers=("da",), clients=(), publishers=(), interval_ms=INTERVAL_MS, tls=False, level="info",
                  log_types="error subscribe", server={"server": {"offers_per_s": 100000, "interval_busy_ms": INTERVAL_MS,
                                                                "reconnect_spread_s": 1}})
    enrol(fleet, "dev", steady)
    enrol(fleet, "gone", dying)
    book, running = None, []
    try:
        fleet.brokers()
        fleet.heliod()
        book = Book(fleet)
        running = [devices(fleet, "gone", dying), devices(fleet, "dev", steady)]
        yield fleet, book, running
    finally:
        for p in running:
            p.kill()
            p.wait()
        if book is not None:
            book.close()
        fleet.down()


def in_time(book, begin):
    """A hundredth of the answers may take longer than 100 ms, a hundredth of the views longer than 50 ms."""
    waits, views = answered(book, begin), changed(book, begin)
    print(f"{len(waits)} beats answered: p50 {percentile(waits, .5) * 1000:.1f} ms, p99 {percentile(waits, .99) * 1000:.1f} ms; "
          f"{len(views)} changes viewed: p50 {percentile(views, .5) * 1000:.1f} ms, p99 {percentile(views, .99) * 1000:.1f} ms, "
          f"last {views[-1] * 1000:.1f} ms")
    return percentile(waits, .99) < 0.1 and percentile(views, .99) < 0.05


def round_of(fleet, book, clients, seconds):
    """Everybody is told to do something, which changes each state twice. True when answers and views came in time."""
    begin = time.time()
    fleet.ctl("exec", "--channel", "default", "ping")
    time.sleep(seconds)
    found = book.read()
    assert len(changed(found, begin)) >= 2 * clients
    return in_time(found, begin)


def judge_late(book, gone, alive):
    """Each that was killed is LATE in time, nobody else is."""
    taken = []
    for client in gone:
        last = max(at for at, h in book["hb"][client] if h.session_id)
        late = [at for at, v in book["state"][client] if v.reach == pb.REACH_LATE and at > last]
        assert late, f"{client} is never late"
        taken.append(late[0] - last)
    print(f"{len(taken)} killed: late after {min(taken):.2f} to {max(taken):.2f} s")
    assert min(taken) > 2 * INTERVAL_MS / 1000 and max(taken) <= 2.5 * INTERVAL_MS / 1000 + 0.5
    for client in alive:
        began = [at for at, h in book["hb"][client] if h.session_id][2]     # before, it waited for all others to sign in
        assert not [v for at, v in book["state"][client] if at > began and v.reach in (pb.REACH_LATE, pb.REACH_SILENT)], \
            f"{client} lives and is late"


def dropped(fleet, before=None):
    """How many messages the broker could not pass on, by its own count. What did not change for a minute is gone from $SYS: then it is
    what it was `before`."""
    done = subprocess.run(["mosquitto_sub", "-p", str(fleet.port["control"]), "-i", "sys", "-t", "$SYS/broker/publish/messages/dropped",
                           "-C", "1", "-W", "5"], stdout=subprocess.PIPE, text=True)
    if before is not None and done.returncode == 27:    # timed out
        return before
    done.check_returncode()
    return int(done.stdout)


def run_thousand(folder, rounds, seconds):
    """rounds: of which one must be in time, for the machine may be busy with something else."""
    steady, dying = 950, 50
    for fleet, book, running in thousand(folder, steady, dying):
        # The ten rounds of helio-fleet's warming up are beats like all others.
        # Whoever is told to do something before it is caught up is given a snapshot instead.
        wait_for(lambda: sum(r[-1][1].body.reason.code == pb.REASON_CAUGHT_UP for r in book.read()["rsp"].values()) == steady + dying,
                 30, "a thousand devices beat and are caught up", every=0.2)
        lost = dropped(fleet)
        assert any(round_of(fleet, book, steady + dying, seconds) for _ in range(rounds))
        time.sleep(1.1)     # the broker counts once in a second
        assert dropped(fleet, lost) == lost, "the broker dropped messages"
        running[0].kill()
        wait_for(lambda: sum(1 for c, views in book.read()["state"].items() if c.startswith("gone") and
                             views[-1][1].reach == pb.REACH_LATE) == dying, 15, "those that were killed are late", every=0.2)
        found = book.read()
        running[1].kill()
        names = list(found["hb"])
        judge_late(found, [c for c in names if c.startswith("gone")], [c for c in names if c.startswith("dev")])
        # Control: a response that is taken away is missed.
        client = next(c for c in names if c.startswith("dev"))
        del found["rsp"][client][len(found["rsp"][client]) // 2]
        with pytest.raises(AssertionError, match="0 responses"):
            answered(found)


@pytest.mark.slow
@pytest.mark.quiet
def test_S003_4_a_thousand_devices_are_answered_and_viewed_in_time(folder):
    run_thousand(folder, rounds=5, seconds=3)


@pytest.mark.long
@pytest.mark.quiet
def test_S003_4_a_thousand_devices_are_answered_and_viewed_in_time_for_a_minute(folder):
    run_thousand(folder, rounds=1, seconds=60)


# ---------------------------------------------------------------- the server stops

def view_of(fleet, client):
    v = pb.StateView()
    v.ParseFromString(fleet.mosquitto_sub(f"helio/v1/view/state/{client}", "-C", "1", "-N"))
    return v


def host_of(fleet, broker="control"):
    payload = fleet.mosquitto_sub("helio/v1/host/server.1", "-C", "1", "-N", broker=broker)
    assert wire.signature_holds(payload, "helio/v1/host/server.1", fleet.online_public())
    h = pb.HostState()
    h.ParseFromString(payload)
    return h


@pytest.mark.slow
def test_S003_4_a_server_that_stood_still_or_was_away_calls_nobody_silent(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=300, log_types="error subscribe",
                     server={"server": {"silent_after_s": 2, "host_period_ms": 500, "reconnect_spread_s": 2}}).up()
    views = fleet.watch("helio/v1/view/state/+", seat="watch.1")
    heliod = fleet.procs["heliod"]
    # Control: a client that is gone is late and silent within a second or so, by the same views.
    fleet.procs["f2"].p.send_signal(signal.SIGSTOP)
    wait_for(lambda: view_of(fleet, "f2").reach == pb.REACH_SILENT, 15, "f2 is silent")
    fleet.procs["f2"].p.send_signal(signal.SIGCONT)
    wait_for(lambda: view_of(fleet, "f2").reach == pb.REACH_ONLINE, 15, "f2 is back")

    began, counter = len(views.messages), host_of(fleet).counter
    heliod.p.send_signal(signal.SIGSTOP)
    time.sleep(5)
    # The view is stale, and says so: what it knows was heard five seconds ago; the host state does not rise.
    stale = view_of(fleet, "f1")
    assert time.time() * 1000 - stale.last_heard_unix_ms > 4500
    assert host_of(fleet).counter <= counter + 1
    heliod.p.send_signal(signal.SIGCONT)
    wait_for(lambda: time.time() * 1000 - view_of(fleet, "f1").last_heard_unix_ms < 40000 and host_of(fleet).counter > counter + 1,
             15, "the server goes on")
    # The same as a real end and a new start.
    counter = host_of(fleet).counter
    heliod.stop()
    down = host_of(fleet)
    assert not down.up and down.counter > counter
    time.sleep(3)
    fleet.heliod(wait=False)
    wait_for(lambda: host_of(fleet).up, 15, "the server is back")
    assert host_of(fleet).counter > down.counter, "the counter rises over restarts"
    for client in ("f1", "f2"):
        fleet.wait_client(client, lambda c: c["reach"] == "online" and time.time() * 1000 - c["last_heard_unix_ms"] < 2000, 15)
    said = [m.decode(pb.StateView) for m in views.messages[began:]]
    assert said and not [v for v in said if v.reach == pb.REACH_SILENT]
    # Signed and rising on every broker.
    on_da = host_of(fleet, "da")
    wait_for(lambda: host_of(fleet, "da").counter > on_da.counter, 10, "it rises on the data broker too")


# ---------------------------------------------------------------- who may read

def test_S003_6_a_permitted_client_reads_the_state_of_another_and_nobody_else_does(fleet_of):
    fleet = fleet_of(clients=("f1", "f2", "f3"), readers=("f2",), interval_ms=300).up(agents=["f1"])
    # Two devices with their own certificates, and nothing but Debian's client.
    permitted, other = ({"seat": id_} for id_ in ("f2", "f3"))
    seen = pb.StateView()
    payload = fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N", **permitted)
    assert wire.signature_holds(payload, "helio/v1/view/state/f1", fleet.online_public())
    seen.ParseFromString(payload)
    assert seen.client_id == "f1" and seen.reach == pb.REACH_ONLINE
    # A change reaches it within a second of the heartbeat that made it.
    reader = wire.Client(fleet.port["control"], fleet.bundle("f2")).subscribe("helio/v1/view/state/+")
    fleet.witnesses.append(reader)
    refused = wire.Client(fleet.port["control"], fleet.bundle("f3")).subscribe("helio/v1/view/state/+", "helio/v1/view/state/f1")
    fleet.witnesses.append(refused)
    beats = fleet.watch("helio/v1/hb/#", "helio/v1/rsp/#")
    fleet.ctl("exec", "f1", "ping", "--wait")
    changes = wait_for(lambda: [m for m in reader.of("helio/v1/view/state/f1") if m.decode(pb.StateView).state == pb.CS_AWAIT_COMMAND],
                       10, "a view of the change")
    opened = wait_for(lambda: [r for r in responses(beats, "f1") if r.body.kind == pb.EXECUTE_COMMAND], 10, "the response")[0]
    beat = next(m for m in beats.of(wire.hb_topic("f1")) if m.decode(pb.Heartbeat).seq == opened.in_reply_to_seq)
    assert changes[0].at - beat.at < 1.0
    # Who has not the right gets nothing, retained or new; its connection is fine.
    assert fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", timeout=2, check=False, **other) == b""
    assert not refused.messages
    # Nor does the right give more than that: no word of another's conversation.
    reader.subscribe("helio/v1/hb/+/f1", "helio/v1/rsp/f1", "helio/v1/report/#", "helio/v1/api/#")
    fleet.ctl("exec", "f1", "ping", "--wait")
    assert not [m for m in reader.messages if "/view/" not in m.topic]
    # It may write none either: a forged view never arrives.
    reader.publish("helio/v1/view/state/f1", b"forged", retain=True, wait=False)
    time.sleep(0.3)
    assert fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N", **permitted) != b"forged"


# ---------------------------------------------------------------- no connection needed

def test_S003_7_S001_c8_reach_is_the_heartbeat_and_never_the_connection(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=(), publishers=(), interval_ms=1000,
                     server={"server": {"silent_after_s": 5, "reconnect_spread_s": 0}})
    fleet.brokers()
    fleet.heliod()
    views = fleet.watch("helio/v1/view/state/+")

    def reaches(client):
        return [m.decode(pb.StateView).reach for m in views.of(f"helio/v1/view/state/{client}")]

    f1, f2 = (fleet.principal(c).sign_in() for c in ("f1", "f2"))
    f1.beat()
    f2.beat()
    f2.link.m._keepalive = 1            # it pings each second, and says nothing else
    # f1 has no connection but for the moment of a heartbeat, and sends nothing else than heartbeats: it is ONLINE throughout.
    for _ in range(12):
        link = wire.Client(fleet.port["control"], fleet.bundle("f1"))
        f1.link.close()
        f1.link = link.subscribe("helio/v1/rsp/f1")
        f1.beat()
        link.close()
        time.sleep(0.25)
    assert set(reaches("f1")) == {pb.REACH_ONLINE}
    # f2 kept its connection and pinged: LATE, then SILENT.
    wait_for(lambda: reaches("f2")[-1] == pb.REACH_SILENT, 10, "f2 is silent")
    assert reaches("f2")[-3:] == [pb.REACH_ONLINE, pb.REACH_LATE, pb.REACH_SILENT]
    assert fleet.broker_log("control").count("Received PINGREQ from f2") >= 2 and f2.link.m.is_connected()
    # A will is a hint: f1 was heard just now, somebody with its certificate dies, and nothing changes.
    topic = f"helio/v1/bye/{wire.shard('f1')}/f1"
    b, before = fleet.bundle("f1"), len(reaches("f1"))
    byes = fleet.watch("helio/v1/bye/#", seat="watch.2")
    fleet.wait_client("f1", lambda c: c["reach"] == "silent", 15)
    dying = subprocess.Popen([str(a) for a in ("mosquitto_sub", "-V", "5", "-h", "localhost", "-p", fleet.port["control"], "--cafile",
                              b / "ca.crt", "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", "f1", "-t", "helio/v1/rsp/f1",
                              "--will-topic", topic, "--will-payload", "gone", "--will-qos", "1")])
    wait_for(lambda: ": f1 0 helio/v1/rsp/f1" in fleet.broker_log("control"), 10, "it is connected")
    dying.kill()
    dying.wait()
    wait_for(lambda: byes.of(topic), 10, "the will")
    fleet.procs["heliod"].wait_text("BYE client=f1", 5)
    assert reaches("f1")[before:] in ([pb.REACH_LATE, pb.REACH_SILENT], [pb.REACH_SILENT]), "a connection or a will was a sign of life"
    assert fleet.client("f1")["reach"] == "silent"


# ---------------------------------------------------------------- state by signature alone

def test_S003_3_a_valid_heartbeat_changes_the_state_a_new_session_takes_over_and_a_revoked_key_falls_silent(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), interval_ms=300,
                     server={"server": {"silent_after_s": 1, "reconnect_spread_s": 0}})
    fleet.brokers()
    fleet.heliod()
    views = fleet.watch("helio/v1/view/state/f1")

    def view():
        found = views.of("helio/v1/view/state/f1")
        return found[-1].decode(pb.StateView) if found else None

    f1 = fleet.principal("f1").sign_in()
    assert view() is None or view().reach == pb.REACH_NEVER     # an offer changes nothing
    f1.beat()
    first = wait_for(lambda: view() and view().reach == pb.REACH_ONLINE and view(), 10, "the first heartbeat is seen")
    assert first.seq == f1.seq and first.session_id == f1.session_id
    r = f1.beat()
    second = wait_for(lambda: view().seq >= f1.seq - 1 and view().state == r.body.state and view(), 10, "the next one too")
    assert second.last_heard_unix_ms >= first.last_heard_unix_ms
    # It starts again: another session, ONLINE throughout.
    f1.sign_in()
    f1.beat()
    again = wait_for(lambda: view().session_id == f1.session_id and view(), 10, "the new session")
    assert again.session_id > first.session_id and again.reach == pb.REACH_ONLINE
    # Its key is revoked: it goes on beating, and falls silent by time.
    fleet.ctl("client", "revoke", "f1")
    heard = fleet.client("f1")["last_heard_unix_ms"]
    end = time.monotonic() + patience(20)
    while fleet.client("f1")["reach"] != "silent":
        f1.send(f1.heartbeat())
        assert time.monotonic() < end, "a revoked client that beats is not silent"
    assert fleet.client("f1")["last_heard_unix_ms"] == heard
    assert "reason=revoked" in fleet.procs["heliod"].text()
    # Nobody waits for a person here: one device is one device.
    assert fleet.ctl("silence", "release", check=False).returncode != 0
