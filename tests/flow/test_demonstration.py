"""The demonstration in one run, for a sceptic: mosquitto_sub records the wire, and what is claimed is read from its lines and
from the data brokers' own logs. Its eight steps in their order."""
import json
import os
import random
import re
import subprocess

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.steps import answer, settle, until
from lib.wait import wait_for

pb = wire.pb
MB = 1024 * 1024
SIZE = 6 * MB


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


def software(folder, name, size):
    home = folder / name
    home.mkdir()
    (home / "data").write_bytes(random.Random(name).randbytes(size))
    return home


def told_publisher(fleet, capture, package, kind):
    """The directives of one kind about a package, as the wire has them."""
    found = [pb.Directive.FromString(p) for _, topic, p in fleet.captured(capture) if topic == "helio/v1/pubcmd/pub"]
    return [d for d in found if d.package.hex() == package and d.kind == kind]


def grants(fleet, capture, client, package):
    found = [pb.Grant.FromString(p) for _, topic, p in fleet.captured(capture) if topic == f"helio/v1/grant/{client}"]
    return [g for g in found if g.granted and g.package.hex() == package]


def chunks_sent(fleet, broker, client, since=0):
    """Topics of the objects that a data broker gave to a client, from its own log."""
    return re.findall(rf"Sending PUBLISH to {client} \(.*'(helio/v1/chunk/\S+)'", fleet.broker_log(broker)[since:])


def retained(fleet, broker):
    """How many objects and indexes a late subscriber of a data broker finds."""
    out = fleet.mosquitto_sub("helio/v1/chunk/#", "-t", "helio/v1/idx/#", "--retained-only", "-F", "%t", broker=broker, timeout=1, check=False)
    return len(out.split())


def joins(fleet, client, channel):
    """A real device takes the place of the scripted one; it has a channel of its own."""
    fleet.ctl("channel", "create", channel)
    fleet.ctl("client", "channel", client, channel)
    fleet.agent(client)
    fleet.wait_client(client, lambda c: c["reach"] == "online" and c["state"] == "idle" and c["at_tail"])


def by_disc(fleet):
    """Step 2: f5 is enrolled and was never heard: an image of a disc for it, without anybody's doing, which it imports offline."""
    package = fleet.software_package("abroad", "1", software(fleet.folder, "abroad", MB))
    fleet.ctl("channel", "create", "abroad")
    fleet.ctl("client", "channel", "f5", "abroad")
    fleet.ctl("channel", "publish", "abroad", package)
    row = f"select path, lower(hex(sha256)) from media_order where client = 'f5' and state = {pb.MEDIA_RECORDED}"
    path, sha256 = wait_for(lambda: fleet.sql(row), 30, "the disc is recorded").split("|")
    assert fleet.procs["heliod"].lines("route client=f5 via=MEDIUM reason=never-heard")
    summed = subprocess.run(["sha256sum", path], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0]
    with open(path, "rb") as f:
        f.seek(16 * 2048 + 1)
        assert f.read(5) == b"CD001" and summed == sha256
    settings = fleet.common("f5")
    settings["agent"] = {"state_dir": fleet.folder / "f5"}
    settings["control"] = {"name": "nowhere.invalid", "ip": "127.0.0.1", "port": 9}     # offline
    config = fleet.write("f5", settings, {})
    done = subprocess.run([PROGRAMS["helio-agent"], "import", path, "--config", config], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    files = [fleet.folder / "f5" / "packages" / package / "files/data", fleet.folder / "abroad/data"]
    sums = subprocess.run(["sha256sum", *files], stdout=subprocess.PIPE, text=True, check=True)
    assert len({line.split()[0] for line in sums.stdout.splitlines()}) == 1
    assert not fleet.mosquitto_sub("helio/v1/rsp/f5", "-C", "1", timeout=1, check=False)
    assert fleet.client("f5")["reach"] == "never"
    return package


def over_the_second_broker(fleet, capture, first):
    """Step 3: the least busy broker was a target just now; f3's package goes to the next one, and comes from there."""
    wait_for(lambda: told_publisher(fleet, capture, first, pb.TRANSMIT), 20, "a target for the first package")
    package = fleet.software_package("app", "1", software(fleet.folder, "app", SIZE))
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 30, "it is stored")
    targets = [told_publisher(fleet, capture, p, pb.TRANSMIT)[0].to.broker_id for p in (first, package)]
    assert len(set(targets)) == 2, "a recent target was named again"
    assert retained(fleet, targets[1]) > SIZE // MB
    joins(fleet, "f3", "hall")
    fleet.ctl("channel", "publish", "hall", package)
    grant = wait_for(lambda: grants(fleet, capture, "f3", package), 20, "a grant")[0]
    assert getattr(grant, "from").broker_id == targets[1]
    return package, targets


def killed_and_resumed(fleet, package, targets):
    """Step 4: f3 is killed at 40 % and goes on where it was."""
    staging = fleet.folder / "f3" / "staging" / package
    wait_for(lambda: sum(os.stat(f).st_blocks * 512 for f in staging.rglob("*") if f.is_file()) > 0.4 * SIZE, 30, "40 % are there")
    fleet.procs["f3"].kill()
    before, mark = chunks_sent(fleet, targets[1], "f3"), len(fleet.broker_log(targets[1]))
    fleet.agent("f3")
    home = fleet.folder / "f3" / "packages" / package
    wait_for(home.exists, 60, "the package is installed")
    after = chunks_sent(fleet, targets[1], "f3", mark)
    everything = set(before) | set(after)
    on_the_way = set(before) & set(after)
    assert len(before) > len(everything) // 4 and len(after) > len(everything) // 4
    assert len(on_the_way) <= 8, "what it had was fetched again"
    sums = subprocess.run(["sha256sum", home / "files/data", fleet.folder / "app/data"], stdout=subprocess.PIPE, text=True, check=True)
    assert len({line.split()[0] for line in sums.stdout.splitlines()}) == 1
    assert not chunks_sent(fleet, targets[0], "f3"), "something came over the broker that was not named"


def stopped_and_begun_elsewhere(fleet, capture, package, targets):
    """Step 5: nobody fetches any more: STOP, the objects are gone, WAIT; f4 asks, and they are there again, elsewhere."""
    wait_for(lambda: told_publisher(fleet, capture, package, pb.WAIT), 20, "STOP and WAIT")
    stop, wait = (told_publisher(fleet, capture, package, k)[0] for k in (pb.STOP, pb.WAIT))
    assert stop.directive_id < wait.directive_id and retained(fleet, targets[1]) == 0
    joins(fleet, "f4", "yard")
    assert len(told_publisher(fleet, capture, package, pb.TRANSMIT)) == 1, "nobody asked, and it was begun again"
    fleet.ctl("channel", "publish", "yard", package)
    wait_for((fleet.folder / "f4" / "packages" / package).exists, 60, "f4 has it")
    (elsewhere,) = {d.to.broker_id for d in told_publisher(fleet, capture, package, pb.TRANSMIT)} - {targets[1]}
    assert elsewhere not in targets and retained(fleet, elsewhere) > SIZE // MB
    assert chunks_sent(fleet, elsewhere, "f4") and not chunks_sent(fleet, targets[1], "f4")
    for client in ("f3", "f4"):
        fleet.wait_client(client, lambda c: c["state"] == "idle" and c["at_tail"])
        fleet.procs[client].stop()


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


@pytest.mark.slow
def test_X_6_the_demonstration_is_on_the_wire_and_why_explains_it(fleet_of):
    fleet = fleet_of(clients=("f1", "f2", "f3", "f4", "f5"), data_brokers=("da", "db", "dc"),
                     server={"server": {"rate_bytes_per_s": 3_000_000, "reconnect_spread_s": 0, "medium_never_after_s": 0},
                             "data": {"recent_period_s": 60, "linger_s": 1}}).up(agents=[])
    capture = fleet.capture("helio/v1/#")
    f = {n: fleet.principal(f"f{n}").sign_in() for n in (1, 2, 3, 4)}
    for p in f.values():
        settle(p, 12)
    flow = four_kinds(fleet, f)
    first = by_disc(fleet)
    for n in (3, 4):
        f[n].close()
        fleet.witnesses.remove(f[n])
    package, targets = over_the_second_broker(fleet, capture, first)
    killed_and_resumed(fleet, package, targets)
    stopped_and_begun_elsewhere(fleet, capture, package, targets)
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
