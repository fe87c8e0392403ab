"""Commands end to end: what the operator named runs without a shell, once, and can be stopped; a reboot, a new
identity key, a command that is fetched, an interval that is acknowledged."""
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

from lib import rogue, wire
from lib.procs import Proc
from lib.screen import Screen
from lib.steps import responses
from lib.wait import stays, wait_for

pb = wire.pb
HB = "helio/v1/hb/#"
COMMAND = "application/vnd.heliograph.command.v1+protobuf"

WORK = r'''
import json, os, pathlib, subprocess, sys, time
folder, what, *args = sys.argv[1:]
with open(pathlib.Path(folder) / "begun", "a") as f:
    f.write(json.dumps([what, *args]) + "\n")
if what == "slow":
    child = subprocess.Popen(["/bin/sleep", "300"])
    (pathlib.Path(folder) / "pids").write_text(f"{os.getpid()} {child.pid}")
    print("PERCENT 10", flush=True)
    time.sleep(0.4)
    print("PERCENT 40", flush=True)
    time.sleep(300)
print("\n".join(["done", *args] + ["x" * 60] * 20), flush=True)
'''


def fleet_with_work(fleet_of, folder, **options):
    script = folder / "work.py"
    script.write_text(WORK)
    commands = [f"work 30 /usr/bin/python3 {script} {folder} work ...", f"slow 60 /usr/bin/python3 {script} {folder} slow ..."]
    return fleet_of(clients=("f4",), interval_ms=200, agent={"commands": {"run": commands}}, **options)


def begun(folder):
    path = folder / "begun"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid):
    """A process that is there, and no zombie."""
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def flow_of(done):
    return json.loads(done.stdout)["clients"][0]


def run(fleet, *args, timeout=60):
    """helioctl exec ... --wait; the one row of its flow."""
    return flow_of(fleet.ctl("exec", "--wait", "f4", *args, check=False, timeout=timeout))


def ended(fleet, flow):
    """The operations of a flow, when none of them is open."""
    rows = [o for o in fleet.ctl("operations", "f4")["operations"] if str(o["flow"]) == str(flow)]
    return rows if rows and all(o["outcome"] != "open" for o in rows) else None


def detail(row):
    return dict(w.split("=", 1) for w in row["detail"].split(" ") if "=" in w)


def test_S000_6_a_named_command_is_argv_and_no_shell(fleet_of, folder):
    fleet = fleet_with_work(fleet_of, folder).up()
    watch = fleet.watch(HB)
    trace = Proc("strace", ["strace", "-f", "-qq", "-e", "trace=execve", "-s", "300", "-o", folder / "execs", "-p",
                            fleet.procs["f4"].pid], folder).start()
    wait_for(lambda: "TracerPid:\t0\n" not in pathlib.Path(f"/proc/{fleet.procs['f4'].pid}/status").read_text(), 10, "strace looks")
    try:
        nasty = ["$(touch hit)", "; touch hit", "`id`", "a b", "*", "|cat"]
        row = run(fleet, "work", "--", *nasty)
    finally:
        trace.stop()
    assert row["state"] == "done", row
    assert begun(folder) == [["work", *nasty]]
    execs = (folder / "execs").read_text()
    assert "/usr/bin/python3" in execs and "$(touch hit)" in execs, execs      # the witness sees what is run
    assert not any(f'/{shell}"' in execs for shell in ("sh", "bash", "dash")), execs
    assert not list(folder.rglob("hit"))
    # The whole output is witnessed by its length and hash, its end is shown.
    (folder / "output").write_text("\n".join(["done", *nasty] + ["x" * 60] * 20) + "\n")
    witness = subprocess.run(["sha256sum", folder / "output"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0]
    said = detail(row)
    assert said["rc"] == "0" and said["sha256"] == witness and said["bytes"] == str((folder / "output").stat().st_size), row
    assert row["detail"].endswith("x" * 60) and len(row["detail"]) < 512
    # How far it is stands in the heartbeats; a cancel ends the whole group.
    fleet.ctl("exec", "f4", "slow")
    wait_for(lambda: fleet.client("f4")["op"] and fleet.client("f4")["op"]["percent"] == 40, 15, "40 %")

    def percents():
        return {h.op.percent for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/")) if h.op.status == pb.OP_RUNNING}
    wait_for(lambda: 40 in percents(), 10, "40 % in a heartbeat")
    assert percents() <= {0, 10, 40}
    pids = [int(p) for p in (folder / "pids").read_text().split()]
    assert all(map(alive, pids))
    cancelled = flow_of(fleet.ctl("cancel", "f4", "--wait", check=False))
    assert cancelled["state"] == "done", cancelled
    assert not any(map(alive, pids)), "the program outlived its cancel"
    outcome = fleet.sql("select outcome from operation order by op_id desc limit 2").split()
    assert outcome == [str(pb.OP_DONE), str(pb.OP_CANCELLED)], outcome
    # Too long: ended, and said so. Its beginning was counted: the check above would see a second run.
    row = run(fleet, "slow", "--run-timeout", "700")
    assert row["state"] == "failed" and row["detail"].startswith("timeout "), row
    assert [b[0] for b in begun(folder)] == ["work", "slow", "slow"]


def test_S000_6_a_command_runs_at_most_once_over_kill_9(fleet_of, folder):
    fleet = fleet_with_work(fleet_of, folder).up()
    flow = fleet.ctl("exec", "f4", "slow")["flow"]
    wait_for(lambda: (folder / "pids").exists() and (folder / "pids").read_text(), 15, "it has begun")
    fleet.procs["f4"].kill()
    for pid in (folder / "pids").read_text().split():
        os.kill(int(pid), 9)     # as the supervisor's control group would
    fleet.agent("f4")
    done = wait_for(lambda: ended(fleet, flow), 20, "it ended")
    assert done[0]["outcome"] == "unknown" and "interrupted" in done[0]["detail"], done
    # The server dies too, and comes back: it is not given again.
    fleet.procs["heliod"].kill()
    fleet.heliod()
    assert run(fleet, "ping")["state"] == "done"
    assert [b[0] for b in begun(folder)] == ["slow"]
    assert run(fleet, "work")["state"] == "done"     # control: one more would be seen
    assert [b[0] for b in begun(folder)] == ["slow", "work"]


def test_S000_6_an_expired_command_is_not_run_and_its_author_is_told(fleet_of, folder):
    fleet = fleet_with_work(fleet_of, folder).up()
    fleet.procs["f4"].stop()
    late = fleet.ctl("exec", "f4", "work", "late", "--expires", "1")["flow"]
    good = fleet.ctl("exec", "f4", "work", "good", "--expires", "3600")["flow"]

    def state(flow):
        done = fleet.ctl("flow", str(flow), check=False)
        return json.loads(done.stdout)["clients"][0]["state"] if done.stdout.strip() else None
    assert state(good) == "waiting"
    wait_for(lambda: state(late) == "expired", 10, "its time is over")
    watch = fleet.watch("helio/v1/rsp/f4")
    fleet.agent("f4")
    wait_for(lambda: state(good) == "done", 20, "the one in time is done")
    given = wait_for(lambda: [list(r.body.execute.args) for r in responses(watch, "f4") if r.body.execute.verb == "work"], 10, "it is recorded")
    assert given == [["good"]] and begun(folder) == [["work", "good"]]
    assert state(late) == "expired"
    fleet.procs["heliod"].wait_text("COMMAND-EXPIRED", 5)
    assert fleet.sql("select count(*) from skipped where client = 'f4' and queue = '@f4'") == "1"
    assert "author=alice.1" in fleet.procs["heliod"].lines("COMMAND-EXPIRED")[0]


def test_S000_6_reboot_is_deferred_ordered_once_and_known_by_the_boot(fleet_of, folder):
    boot, script = folder / "boot_id", folder / "reboot.py"
    script.write_text(f"open({str(folder / 'ordered')!r}, 'a').write('once\\n')\n")
    check = folder / "check.py"
    check.write_text(f"import os, sys; sys.exit(os.path.exists({str(folder / 'busy')!r}))\n")
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    fleet = fleet_of(clients=("f4",), interval_ms=200, agent={
        "agent": {"reboot": f"/usr/bin/python3 {script}", "reboot_check": f"/usr/bin/python3 {check}", "reboot_wait_s": 3},
        "test": {"boot_id_file": boot}}).up()

    def ordered():
        return (folder / "ordered").read_text() if (folder / "ordered").exists() else ""

    def op_detail():
        op = fleet.client("f4")["op"]
        return op["detail"] if op else ""
    defer = folder / "f4" / "display" / "defer"
    defer.touch()
    (folder / "busy").touch()
    flow = fleet.ctl("exec", "f4", "reboot")["flow"]
    wait_for(lambda: op_detail() == "deferred by the file defer", 15, "the file defers it")
    defer.unlink()
    wait_for(lambda: op_detail() == "deferred by reboot_check", 15, "the program defers it")
    # The agent alone starts anew: nothing was ordered, and nothing is forgotten.
    fleet.procs["f4"].kill()
    fleet.agent("f4")
    wait_for(lambda: op_detail() == "deferred by reboot_check", 15, "it is deferred still")
    assert ordered() == ""
    (folder / "busy").unlink()
    wait_for(ordered, 15, "it is ordered")
    fleet.procs["f4"].kill()                                      # the power goes
    boot.write_text("11111111-2222-3333-4444-666666666666\n")     # the kernel starts
    fleet.agent("f4")

    rows = wait_for(lambda: ended(fleet, flow), 15, "it ended")
    assert [r["outcome"] for r in rows] == ["done"] and rows[0]["detail"].startswith("rebooted"), rows
    # Control: an order that the kernel does not obey has failed, and is not repeated over a start of the agent.
    flow = fleet.ctl("exec", "f4", "reboot")["flow"]
    wait_for(lambda: ordered() == "once\nonce\n", 15, "the second order")
    fleet.procs["f4"].kill()
    fleet.agent("f4")
    rows = wait_for(lambda: ended(fleet, flow), 20, "it did not happen")
    assert rows[0]["outcome"] == "failed" and rows[0]["detail"] == "no reboot happened in time", rows
    assert ordered() == "once\nonce\n"


def status_file(screen):
    path = screen.meet / "status"
    return dict(line.split("\t", 1) for line in (path.read_text().splitlines() if path.exists() else []) if "\t" in line)


def test_S000_6_the_display_obeys_and_its_own_status_and_ledger_say_so(fleet_of, folder, pictures):
    fleet = fleet_of(clients=("f4",), interval_ms=200).up()
    ids = [row["image"] for row in fleet.ctl("image", "add", *pictures)["images"]]
    package = fleet.ctl("package", "build", "--name", "art", "--version", "1", "--duration", "500", "--transition", "0",
                        *[w for i in ids for w in ("--image", i)])["package"]
    fleet.ctl("package", "publish", package)
    with Screen(fleet, "f4") as screen:
        fleet.ctl("channel", "publish", "default", package)
        wait_for(lambda: len(screen.ledger()) >= 2, 40, "it is shown")
        names = sorted(f.name for f in (folder / "f4" / "packages" / package / "files").iterdir())
        assert run(fleet, "pause")["state"] == "done"
        wait_for(lambda: status_file(screen).get("state") == "paused", 10, "it is paused")
        held = status_file(screen)["image"]
        stays(lambda: status_file(screen)["image"] == held, 1.2)      # twice as long as a picture lasts
        other = next(n for n in names if n != held)
        assert run(fleet, "show", other)["state"] == "done"
        wait_for(lambda: status_file(screen)["image"] == other, 10, "the picture named is shown")
        fleet.procs["f4"].wait_text("EXEC client=f4 verb=show rc=0", 5)
        assert run(fleet, "resume")["state"] == "done"
        before = len(screen.ledger())
        wait_for(lambda: status_file(screen)["state"] == "showing" and len(screen.ledger()) >= before + 2, 10, "it goes on")
        row = run(fleet, "show", "nothing-of-this-name")      # control: what is not there is not shown
        assert row["state"] == "failed" and "neither a package nor a picture" in row["detail"], row
        # What no slot names goes, what is shown stays.
        rubbish = folder / "f4" / "staging" / ("ab" * 32)
        (rubbish / "files").mkdir(parents=True)
        (rubbish / "files" / "half").write_bytes(b"x" * 1000)
        assert run(fleet, "clear-cache")["state"] == "done"
        assert not rubbish.exists()
        installed = subprocess.run(["sha256sum", *names], cwd=folder / "f4" / "packages" / package / "files",
                                   stdout=subprocess.PIPE, text=True, check=True).stdout
        assert len(installed.splitlines()) == len(names)
        # Its supervisor would start it again; without a display the command says so.
        assert run(fleet, "restart-display")["state"] == "done"
        wait_for(lambda: not screen.proc.alive(), 10, "the display has ended")
        assert screen.proc.p.returncode == 0
        row = run(fleet, "restart-display")
        assert row["state"] == "failed" and row["detail"] == "no display is running", row
    # Full holdings are asked for and told; what is given up twice is not there.
    watch = fleet.watch(HB)
    assert run(fleet, "resync")["state"] == "done"
    full = wait_for(lambda: [h for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/")) if h.holdings.full], 10, "full holdings")
    assert any(i.package.hex() == package and i.complete for h in full for i in h.holdings.items)
    refused = fleet.ctl("cancel", "f4", check=False)
    assert refused.returncode != 0 and "no such operation open" in refused.stderr


# ---- rotation of the identity key

def openssl_verifies(folder, public, message, signature):
    """openssl as the witness: a raw Ed25519 key, as SubjectPublicKeyInfo."""
    der, text, sig = folder / "k.der", folder / "k.msg", folder / "k.sig"
    der.write_bytes(bytes.fromhex("302a300506032b6570032100") + public)
    text.write_bytes(message)
    sig.write_bytes(signature)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", der, "-rawin", "-in", text,
                           "-sigfile", sig], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0


def rotations(watch):
    return [m for m in watch.of("helio/v1/hb/") if m.decode(pb.Heartbeat).sign_in.next_key]


def key_in_store(fleet):
    return fleet.sql("select hex(public_key) from principal where id = 'f4'").lower()


def test_S003_3_the_identity_key_is_rotated_by_one_message_that_both_keys_signed(fleet_of, folder):
    fleet = fleet_of(clients=("f4",), interval_ms=200).up()
    watch = fleet.watch(HB)
    first = wire.raw_public(wire.read_key(fleet.bundle("f4") / "identity.key"))
    assert key_in_store(fleet) == first.hex()
    row = run(fleet, "rotate-key")
    assert row["state"] == "done", row
    m = wait_for(lambda: rotations(watch), 10, "the message is recorded")[0]
    hb = m.decode(pb.Heartbeat)
    s = hb.sign_in
    covered = m.topic.encode() + b"\0" + m.payload[:-67]
    proof = b"heliograph rotate-key v1\0f4\0" + s.public_key + s.next_key + s.nonce + s.x25519_share
    assert s.public_key == first and hb.client_id == "f4"
    assert openssl_verifies(folder, first, covered, m.payload[-64:])
    assert openssl_verifies(folder, s.next_key, proof, s.next_proof)
    assert not openssl_verifies(folder, s.next_key, covered, m.payload[-64:])     # control: each its own
    assert not openssl_verifies(folder, first, proof, s.next_proof)
    assert key_in_store(fleet) == s.next_key.hex()
    assert detail(row)["key"] == hashlib.sha256(s.next_key).hexdigest()
    # The key of before is of no use any more, whoever has it; the device comes back with the new one.
    fleet.procs["f4"].stop()
    old = fleet.principal("f4")
    old.link.publish(wire.hb_topic("f4"), old.sign_in_payload(os.urandom(32)), qos=0)
    fleet.procs["heliod"].wait_text("reason=signature id=f4")
    old.close()
    # The enrolment of the first key is read again at each start; it changes nothing.
    fleet.procs["heliod"].stop()
    fleet.heliod()
    fleet.agent("f4")
    wait_for(lambda: run(fleet, "ping")["state"] == "done", 20)
    assert key_in_store(fleet) == s.next_key.hex() and fleet.client("f4")["id"] == "f4"
    # Killed while the server does not answer, killed at some moment while it does: it signs in.
    keys = {first.hex(), key_in_store(fleet)}
    for pause in (True, False, False):
        told = len(rotations(watch))
        flow = fleet.ctl("exec", "f4", "rotate-key")["flow"]
        if pause:
            wait_for(lambda: list((folder / "f4" / "keys").glob("*.next")), 10, "the next key is on disk")
        else:
            wait_for(lambda: len(rotations(watch)) > told, 10, "it was told", every=0.005)
        fleet.procs["f4"].kill()
        fleet.agent("f4")
        rows = wait_for(lambda: ended(fleet, flow), 30, "the rotation ended")
        assert rows[0]["outcome"] == "done", rows
        assert key_in_store(fleet) not in keys, "the key did not change"
        keys.add(key_in_store(fleet))
        assert not list((folder / "f4" / "keys").glob("*.next"))
    assert fleet.sql("select count(*) from former_key where id = 'f4'") == "4"


# ---- a command by reference

def test_S001_c25_a_command_is_fetched_verified_and_run_once(fleet_of, folder):
    fleet = fleet_with_work(fleet_of, folder).up()
    watch = fleet.watch("helio/v1/rsp/f4")
    capture = fleet.watch("helio/v1/cmd/#", broker="da"), fleet.watch("helio/v1/cmd/#", broker="db")
    row = run(fleet, "--by-reference", "work", "by", "reference")
    assert row["state"] == "done" and row["kind"] == "retrieve-information", row
    assert begun(folder) == [["work", "by", "reference"]]
    got = wait_for(lambda: [r for r in responses(watch, "f4") if r.body.retrieve.HasField("command")], 10, "the response is recorded")
    ref = got[0].body.retrieve.command
    assert len({r.body.op_id for r in got}) == 1 and not got[0].body.execute.verb     # the command is not inline
    broker = ref.__getattribute__("from").broker_id
    assert f"as f4 " in fleet.broker_log(broker), "the client was not at the data broker"
    lies = fleet.mosquitto_sub(f"helio/v1/cmd/pub/{ref.sha256.hex()}", "-C", "1", "-N", broker=broker)
    (folder / "object").write_bytes(lies)
    witness = subprocess.run(["sha256sum", folder / "object"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0]
    assert witness == ref.sha256.hex()
    assert 'verb: "work"' in fleet.protoc("SignedCommand", wire_payload(lies))
    # The same response once more, in the server's name: run once.
    again = [m for m in watch.of("helio/v1/rsp/f4") if m.decode(pb.Response).body.op_id == got[0].body.op_id][0]
    server = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
    server.publish("helio/v1/rsp/f4", again.payload)
    server.close()
    wait_for(lambda: run(fleet, "ping")["state"] == "done", 20)
    assert len(begun(folder)) == 1
    # Wrong bytes under the right name, and a right name of what a wrong key signed.
    for name in fleet.publishers:
        fleet.procs[name].stop()
    pub = wire.Client(fleet.port[broker], fleet.bundle("pub"))
    wrong = pb.Envelope.FromString(lies)
    payload = pb.SignedCommand.FromString(wrong.payload)
    payload.command.args[:] = ["forged"]
    forged = rogue.envelope(COMMAND, payload.SerializeToString(), wire.read_key(fleet.ca / "keys/image.key"))
    pub.publish(f"helio/v1/cmd/pub/{hashlib.sha256(b'other').hexdigest()}", forged, retain=True)
    pub.publish(f"helio/v1/cmd/pub/{hashlib.sha256(forged).hexdigest()}", forged, retain=True)
    pub.close()
    for sha, why in ((hashlib.sha256(b"other").hexdigest(), "does not match its hash"),
                     (hashlib.sha256(forged).hexdigest(), "command: ")):
        row = run(fleet, "--reference", f"{broker}/pub/{sha}")
        assert row["state"] == "failed" and why in row["detail"] and row["attempt"] == 1, row
    assert len(begun(folder)) == 1
    # Control: the good one by its reference again is another operation, and runs.
    assert run(fleet, "--reference", f"{broker}/pub/{ref.sha256.hex()}")["state"] == "done"
    assert len(begun(folder)) == 2
    del capture


def wire_payload(envelope):
    return pb.Envelope.FromString(envelope).payload


# ---- the interval as an operation

def test_S001_c27_a_heartbeat_interval_is_an_acknowledged_operation(fleet_of, folder):
    fleet = fleet_of(clients=("f4",), interval_ms=1000).up()
    capture = fleet.capture("helio/v1/hb/+/f4")
    watch = fleet.watch("helio/v1/rsp/f4")
    done = fleet.ctl("interval", "f4", "300", "--operation", "--wait")["clients"][0]
    assert done["state"] == "done" and done["kind"] == "retrieve-information", done
    told = wait_for(lambda: [r for r in responses(watch, "f4") if r.body.retrieve.heartbeat_interval_ms], 10, "it is told")
    assert [r.body.retrieve.heartbeat_interval_ms for r in told] == [300]

    def beats():
        found = [(at, pb.Heartbeat.FromString(payload)) for at, _, payload in fleet.captured(capture)]
        return [(at, h) for at, h in found if h.status.interval_ms == 300]
    wait_for(lambda: len(beats()) >= 14, 20, "14 beats at the new interval")
    at = [a for a, _ in beats()]
    middle = statistics.median(b - a for a, b in zip(at[1:], at[2:]))
    assert 0.27 <= middle <= 0.33, at
    acknowledged = [h for _, h in beats() if h.op.op_id == told[0].body.op_id]
    assert acknowledged and acknowledged[-1].op.status == pb.OP_DONE
    before = [a for a, payload in ((a, pb.Heartbeat.FromString(p)) for a, _, p in fleet.captured(capture))
              if payload.status.interval_ms == 1000]
    assert len(before) < 2 or (before[-1] - before[0]) / (len(before) - 1) > 0.8     # control: it was slower
    # Outside of the range nobody is told anything.
    for wrong in ("1", "199", "1000000000"):
        refused = fleet.ctl("interval", "f4", wrong, "--operation", check=False)
        assert refused.returncode != 0 and "200" in refused.stderr, refused.stderr
    assert len([r for r in responses(watch, "f4") if r.body.retrieve.heartbeat_interval_ms]) == 1


# ---- the whole output

SAY = r'''
import pathlib, random, sys
folder, size, *words = sys.argv[1:]
text = random.Random(size).randbytes(int(size)).hex().encode()
text = b"\n".join(text[i:i + 79] for i in range(0, len(text), 79)) + b"\n" + " ".join(words).encode()
(pathlib.Path(folder) / f"said-{size}").write_bytes(text)     # the witness: the program's own copy
sys.stdout.buffer.write(text)
sys.exit(3 if words == ["badly"] else 0)
'''


def sha256_of(path):
    return subprocess.run(["sha256sum", path], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0]


def test_S000_6_the_whole_output_of_a_command_can_be_had(fleet_of, folder):
    script = folder / "say.py"
    script.write_text(SAY)
    agent = {"commands": {"run": [f"say 30 /usr/bin/python3 {script} {folder} ..."], "outputs_kept": 2}}
    fleet = fleet_of(clients=("f4",), interval_ms=200, agent=agent).up()
    done = fleet.ctl("exec", "--wait", "--output", "--out", folder / "got", "f4", "say", "300000", timeout=60)
    row, report = done["clients"][0], done["output"]
    assert report["bytes"] > 600000 and not report["truncated"] and report["output_of"] == row["op_id"], report
    assert sha256_of(folder / "got") == sha256_of(folder / "said-300000") == report["sha256"] == detail(row)["sha256"]
    first = row["op_id"]
    # A program that fails is the one whose output is wanted.
    done = json.loads(fleet.ctl("exec", "--wait", "--output", "f4", "say", "500", "badly", check=False).stdout)
    assert done["clients"][0]["state"] == "failed" and done["output"]["sha256"] == sha256_of(folder / "said-500"), done
    # Of an operation before, by its number: it is asked for anew. A limit cuts, and it is said.
    assert fleet.ctl("output", "f4", first)["sha256"] == sha256_of(folder / "said-300000")
    done = fleet.ctl("exec", "--wait", "--output", "--out", folder / "cut", "--max-output", 1000, "f4", "say", "700")
    assert done["output"]["truncated"] and done["output"]["bytes"] == 1000, done["output"]
    assert (folder / "cut").read_bytes() == (folder / "said-700").read_bytes()[:1000]
    # The third pushed the first out; and what ran no program has none.
    gone = fleet.ctl("output", "f4", first, check=False)
    assert gone.returncode != 0 and "not one of the last 2" in gone.stdout + gone.stderr, gone
    ping = run(fleet, "ping")["op_id"]
    assert "ran no program" in (lambda d: d.stdout + d.stderr)(fleet.ctl("output", "f4", ping, check=False))


# ---- a command that is taken back

def test_S001_c25_a_withdrawn_command_is_never_run(fleet_of, folder):
    fleet = fleet_with_work(fleet_of, folder).up()

    def lies(ref):
        broker, publisher, sha = ref.split("/")
        return fleet.mosquitto_sub(f"helio/v1/cmd/{publisher}/{sha}", "-C", "1", "-W", "1", "-N", broker=broker, check=False)

    def signed(*args):
        """Given by reference to whom it may concern, without waiting: flow and reference."""
        done = fleet.ctl("exec", "--by-reference", "f4", *args, check=False)
        return str(json.loads(done.stdout)["flow"]), done.stderr.split("signed command ")[1].split()[0]
    fleet.procs["f4"].stop()
    kept, kept_ref = signed("work", "kept")
    gone, gone_ref = signed("work", "withdrawn")
    named, named_ref = signed("work", "withdrawn", "by", "name")
    assert all(lies(ref) for ref in (kept_ref, gone_ref, named_ref))
    assert fleet.ctl("command", "withdraw", gone)["cancelled"] == 0
    assert fleet.ctl("command", "withdraw", named_ref)["cancelled"] == 0
    assert lies(kept_ref) and not lies(gone_ref) and not lies(named_ref)
    row = fleet.ctl("flow", gone)
    assert row["finished"] and row["clients"][0]["state"] == "withdrawn", row
    # It is remembered over a crash, and nobody else can give it either.
    fleet.procs["heliod"].kill()
    fleet.procs["heliod"].start()
    again = fleet.ctl("exec", "--reference", gone_ref, "f4", check=False, timeout=30)
    assert again.returncode != 0 and "withdrawn" in again.stdout + again.stderr, again
    # Who comes later runs what was not withdrawn, and nothing else.
    fleet.procs["f4"].start()
    assert json.loads(fleet.ctl("flow", kept, "--wait", check=False, timeout=40).stdout)["clients"][0]["state"] == "done"
    assert run(fleet, "ping")["state"] == "done"
    assert begun(folder) == [["work", "kept"]]
    assert {l.split("why=")[1].split()[0] for l in fleet.procs["heliod"].lines("COMMAND-UNTOLD")} == {"withdrawn"}
    # Who was told already, and is at it, gives it up.
    slow, slow_ref = signed("slow")
    pids = [int(p) for p in wait_for(lambda: (folder / "pids").exists() and (folder / "pids").read_text().split(), 20, "it runs")]
    assert all(alive(p) for p in pids)
    assert fleet.ctl("command", "withdraw", slow_ref)["cancelled"] == 1
    wait_for(lambda: not any(alive(p) for p in pids), 20, "its processes end")
    assert wait_for(lambda: ended(fleet, slow), 20)[0]["outcome"] != "done"
    # What was given inline is not signed: cancel is for that.
    inline = fleet.ctl("exec", "f4", "ping")["flow"]
    assert "no signed command" in (lambda d: d.stdout + d.stderr)(fleet.ctl("command", "withdraw", inline, check=False))
