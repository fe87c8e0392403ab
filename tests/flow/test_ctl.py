"""helioctl on a live fleet: what people see, what scripts get, and how it fails."""
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import fcntl
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.wait import wait_for

pb = wire.pb


def plain(fleet, *args, check=True, timeout=60, **options):
    """helioctl for people, on a pipe."""
    return fleet.ctl_plain("--config", fleet.ctl_config(), *args, check=check, timeout=timeout, **options)


def on_terminal(fleet, *args, columns=100, rows=30, seconds=3.0, stop=signal.SIGINT, env=None):
    """What helioctl writes to a terminal; ends it by a signal after `seconds` if it still runs."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        os.execv(str(PROGRAMS["helioctl"]), ["helioctl", "--config", str(fleet.folder / "helioctl.ini"), *map(str, args)])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    out, end, told = b"", time.monotonic() + seconds, False
    while True:
        ready, _, _ = select.select([fd], [], [], 0.05)
        if ready:
            try:
                more = os.read(fd, 65536)
            except OSError:
                break
            if not more:
                break
            out += more
        if time.monotonic() > end and not told:
            os.kill(pid, stop)
            told = True
        assert time.monotonic() < end + 20, "it does not end"
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return out.decode(errors="replace"), os.waitstatus_to_exitcode(status)


# ---------------------------------------------------------------- people and scripts

def test_ctl_every_reading_command_speaks_to_people_and_to_scripts(shared):
    for args in (["status"], ["status", "f1"], ["why", "f1"], ["queue", "default"], ["brokers"], ["servers"], ["channel", "list"],
                 ["client", "list"], ["client", "show", "f1"], ["operations", "f1"], ["counters"], ["package", "list"],
                 ["package", "list", "--store"], ["image", "list"], ["doctor"], ["topics"], ["broker-conf", "data", "--list"]):
        text = plain(shared, *args).stdout
        assert text and "\x1b" not in text, f"{args}: no colours on a pipe"
        json.loads(plain(shared, "--json", *args).stdout)
    status = plain(shared, "status").stdout
    assert re.search(r"^server\.1  up ", status) and re.search(r"4 clients: 4 online", status)
    assert len(re.findall(r"^f\d +online +idle +default", status, re.M)) == 4
    why = plain(shared, "why", "f2").stdout
    assert "f2 is online" in why and "caught-up" in why and "send-information" in why
    assert re.search(r"^ +\d+  tail +f1 f2 f3 f4$", plain(shared, "queue", "default").stdout, re.M)


def test_ctl_exit_codes_tell_scripts_what_happened(shared, folder):
    cases = [(5, ["client", "show", "nobody"]), (5, ["why", "nobody"]), (5, ["package", "show", "nothing@1"]),
             (5, ["image", "add", folder / "absent.jpg"]), (1, ["client", "show", "a/b"]), (2, ["client", "show"]), (2, ["status", "a", "b"]),
             (2, ["--nonsense", "status"]), (2, ["nonsense"]), (2, ["channel"]), (2, []), (1, ["ask", "f1", "secrets"]),
             (1, ["exec", "f1", "ping", "x", "--wait"]), (0, ["exec", "f1", "ping", "--wait"])]
    for code, args in cases:
        done = plain(shared, *args, check=False)
        assert done.returncode == code, f"{args}: {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
        assert (code == 0) or done.stderr.startswith("helioctl: ") or "--wait" in args, done.stderr
    said = json.loads(plain(shared, "--json", "client", "show", "nobody", check=False).stdout)
    assert said == {"ok": False, "error_word": "not-found", "error": said["error"]} and said["error"]


def test_ctl_wait_follows_an_act_to_its_end(shared):
    for id_ in ("f1", "f2", "f3", "f4"):     # what came before a newcomer has caught up does not reach it
        shared.wait_client(id_, lambda c: c["state"] == "idle" and c["at_tail"], 15)
    done = json.loads(plain(shared, "--json", "exec", "--channel", "default", "ping", "--wait").stdout)
    assert done["finished"] and done["done"] == done["total"] == 4
    assert {c["client"] for c in done["clients"]} == {"f1", "f2", "f3", "f4"} and {c["status"] for c in done["clients"]} == {"done"}
    report = json.loads(plain(shared, "--json", "ask", "f3", "display", "--wait").stdout)
    assert report["client"] == "f3" and report["what"] == "display" and "display" in report
    event = json.loads(plain(shared, "--json", "ask", "f3", "holdings").stdout)
    flow = wait_for(lambda: (lambda d: d if d["finished"] else None)(json.loads(plain(shared, "--json", "flow", event["flow"]).stdout)), 15)
    assert flow["done"] == 1
    assert json.loads(plain(shared, "--json", "reports", "f3", "holdings").stdout)["what"] == "holdings"


def test_ctl_numbers_beyond_a_double_arrive_whole(shared):
    plain(shared, "exec", "f1", "ping", "--wait")
    row = json.loads(plain(shared, "--json", "operations", "f1").stdout)["operations"][0]
    assert int(row["op_id"]) > 1 << 53
    assert str(row["op_id"]) in plain(shared, "operations", "f1").stdout


def test_C11_hostile_names_do_not_reach_the_terminal(shared, pictures):
    title = "a\u202egpj.exe \u200b"
    plain(shared, "image", "add", pictures[0], "--title", title, "--license", "x")
    listed = plain(shared, "image", "list").stdout
    assert "\\u{202e}gpj.exe" in listed and not re.search("[\u202e\u200b\u0080-\u009f]", listed)
    raw = plain(shared, "--json", "image", "list").stdout
    assert not re.search("[\u202e\u200b\u0080-\u009f]", raw)
    assert any(i["title"] == title for i in json.loads(raw)["images"]), "scripts get the very text"
    done = plain(shared, "client", "show", "\x1b]52;c;aGk=\x07", check=False)
    assert "\x1b" not in done.stderr + done.stdout and done.returncode != 0


# ---------------------------------------------------------------- a terminal

def test_ctl_watch_redraws_in_place_and_ends_with_ctrl_c(shared):
    shared.ctl_config()
    text, code = on_terminal(shared, "watch", seconds=3)
    assert code == 0
    frames = text.split("\x1b[H")
    assert len(frames) >= 3 and frames[0].startswith("\x1b[2J")
    assert all("f4" in f and "online" in f and f.count("\n") <= 29 for f in frames[1:])
    assert text.rstrip().endswith("\x1b[?7h"), "the terminal is left as it was found"


def test_ctl_tables_fit_the_terminal_and_colours_can_be_refused(shared):
    shared.ctl_config()
    wide, code = on_terminal(shared, "why", "f1", columns=200)
    assert code == 0 and "\x1b[" in wide
    narrow, _ = on_terminal(shared, "why", "f1", columns=80, env={"NO_COLOR": "1"})
    assert "\x1b[" not in narrow
    lines = [line.rstrip("\r") for line in narrow.split("\n")]
    assert lines and all(len(line) <= 80 for line in lines[2:]), "no line of the table is wrapped"
    assert any("\u2026" in line for line in lines)


def test_ctl_progress_is_for_terminals(shared, pictures):
    shared.ctl_config()
    shown, code = on_terminal(shared, "image", "add", pictures[0].parent, "--tag", "bar", seconds=30)
    assert code == 0 and "\u2588" in shown or "of 4" in shown
    piped = plain(shared, "image", "add", pictures[0].parent, "--tag", "bar")
    assert "\u2588" not in piped.stdout + piped.stderr and "\r" not in piped.stderr


def test_ctl_watch_without_a_terminal_prints_a_line_for_each_change(shared):
    p = subprocess.Popen([str(PROGRAMS["helioctl"]), "--config", str(shared.ctl_config()), "--json", "watch"], stdout=subprocess.PIPE)
    try:
        seen = set()
        while len(seen) < 4:
            line = p.stdout.readline()
            assert line, "it ended"
            seen.add(json.loads(line)["client_id"])
        assert seen == {"f1", "f2", "f3", "f4"}
    finally:
        p.send_signal(signal.SIGINT)
        assert p.wait(timeout=10) == 0


# ---------------------------------------------------------------- seats, silence

def test_ctl_takes_a_free_seat_and_says_when_there_is_none(shared):
    config = shared.ctl_config()

    def hold(seat):
        p = subprocess.Popen([str(PROGRAMS["helioctl"]), "--config", str(config), "--json", "watch", "--seat", seat], stdout=subprocess.PIPE)
        assert p.stdout.readline()
        return p
    first = hold("alice.1")
    try:
        assert json.loads(plain(shared, "--json", "status").stdout)["total"] == 4, "alice.2 is free"
        taken = plain(shared, "status", "--seat", "alice.1", check=False)
        assert taken.returncode == 4 and "alice.1" in taken.stderr
        second = hold("alice.2")
        try:
            full = plain(shared, "status", check=False)
            assert full.returncode == 4 and "all seats" in full.stderr
        finally:
            second.send_signal(signal.SIGKILL)
            second.wait()
        assert plain(shared, "status").returncode == 0, "a killed process leaves its seat"
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(timeout=10)
    assert plain(shared, "status", "--seat", "nobody.1", check=False).returncode == 5
    assert plain(shared, "status", "--seat", "../alice.1", check=False).returncode == 1


def test_ctl_says_who_does_not_answer(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    done = plain(fleet, "--timeout", "8", "status", check=False)
    assert done.returncode == 3 and "control broker" in done.stderr, done.stderr
    assert plain(fleet, "image", "list", check=False).returncode == 3
    fleet.brokers()
    began = time.monotonic()
    done = plain(fleet, "--timeout", "5", "status", check=False)
    assert done.returncode == 3 and "heliod does not answer" in done.stderr, done.stderr
    assert 4 < time.monotonic() - began < 9
    doctor = json.loads(plain(fleet, "--json", "--timeout", "4", "doctor", check=False).stdout)
    assert not doctor["ok"] and "NO-ANSWER" in {f["id"] for f in doctor["findings"]}


def test_ctl_goes_on_when_the_server_starts_again(fleet_of):
    """An act whose answer is lost has one effect: the same request id in a new session."""
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    p = subprocess.Popen([str(PROGRAMS["helioctl"]), "--config", str(fleet.ctl_config()), "--json", "--timeout", "40", "exec", "f1", "sleep", "3", "--wait"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: fleet.client("f1")["op"], 15)
    fleet.procs["heliod"].kill()
    fleet.heliod()
    out, err = p.communicate(timeout=60)
    assert p.returncode in (0, 1), err
    flow = json.loads(out)
    assert flow["finished"] and flow["total"] == 1
    rows = [o for o in fleet.ctl("operations", "f1")["operations"] if o["kind"] == "execute-command"]
    assert len(rows) == 1, "one request, one effect"


def test_ctl_a_client_is_added_moved_revoked_and_removed(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    fleet.enrol("client", "late1")
    fleet.enrol("client", "late2")
    (fleet.ca / "enrolments/late2.enrol").rename(fleet.folder / "late2.enrol")
    assert json.loads(plain(fleet, "--json", "client", "add", "late1").stdout) == {"id": "late1", "role": "client"}
    assert "late2 is enrolled as client" in plain(fleet, "client", "add", fleet.folder / "late2.enrol").stdout
    assert plain(fleet, "client", "add", fleet.bundle("late1") / "root.bin", check=False).returncode in (1, 4)
    assert plain(fleet, "client", "add", "nobody", check=False).returncode == 5
    plain(fleet, "channel", "create", "lobby")
    plain(fleet, "client", "channel", "late1", "lobby")
    assert fleet.client("late1")["channel"] == "lobby"
    assert {c["id"] for c in fleet.ctl("client", "list", "--channel", "lobby")["clients"]} == {"late1"}
    plain(fleet, "client", "revoke", "f1")
    assert "revoked" in re.search(r"^f1 .*$", plain(fleet, "client", "list").stdout, re.M)[0]
    plain(fleet, "client", "remove", "f1")
    assert plain(fleet, "client", "show", "f1", check=False).returncode == 5
    plain(fleet, "client", "add", "f1")
    assert fleet.client("f1")["revoked"] is False
    assert json.loads(plain(fleet, "--json", "interval", "late1", "700").stdout)["interval_ms"] == 700


def test_ctl_publishes_rolls_back_and_withdraws_by_name(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",)).up()
    for version in ("1", "2"):
        tool = folder / version
        tool.mkdir()
        (tool / "run").write_text(f"version {version}\n" * 1000)
        built = json.loads(plain(fleet, "--json", "package", "build", "tool", version, "--software", tool).stdout)
        assert len(built["package"]) == 64 and built["files"] == 1
        plain(fleet, "package", "publish", f"tool@{version}", "--wait")
        assert plain(fleet, "channel", "publish", "default", f"tool@{version}", "--wait").returncode == 0
    installed = {"version": lambda c: [s["version"] for s in c["software"] if s["name"] == "tool"]}["version"]
    assert installed(fleet.client("f1")) == ["2"]
    ambiguous = plain(fleet, "package", "show", "tool", check=False)
    assert ambiguous.returncode == 4 and "tool" in ambiguous.stderr
    back = plain(fleet, "channel", "rollback", "default", "tool", "--wait")
    assert "2 of 2 done" in back.stdout
    wait_for(lambda: installed(fleet.client("f2")) == ["1"], 15, "back to version 1")
    plain(fleet, "package", "withdraw", "tool@2")
    assert "tool@2" in plain(fleet, "package", "list").stdout


# ---------------------------------------------------------------- trust

def test_ctl_refuses_a_server_that_the_root_does_not_name(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    fleet.ctl_plain("ca", "init", folder / "other", "--fleet", "test")
    seat = fleet.bundle("alice.1")
    fleet.brokers()
    fleet.heliod()
    assert plain(fleet, "status").returncode == 0
    # The same seat with another fleet's root of trust: the offer's signature counts for nothing.
    config = fleet.ctl_config()
    config.write_text(re.sub(r"root_file = .*", f"root_file = {folder}/other/root.bin",
                             re.sub(r"root_key = .*", f"root_key = {folder}/other/root.pub", config.read_text())))
    done = fleet.ctl_plain("--config", config, "--timeout", "5", "status", check=False)
    assert done.returncode == 3 and "OFFER-REFUSED" in done.stderr
    (folder / "other/root.pub").write_text("00" * 32 + "\n")
    done = fleet.ctl_plain("--config", config, "status", check=False)
    assert done.returncode == 4, "a root that its key did not sign"
    assert seat.exists()


def test_ctl_signs_only_what_it_asked_for(fleet_of, folder, pictures):
    """A publisher that hands back another manifest gets no signature (C17)."""
    import socket
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    m = pb.Manifest(schema=1, kind=pb.SOFTWARE, name="tool", version="1", file_count=1, size_bytes=1, chunk_count=1)
    m.pages.add(sha256=b"\1" * 32, size_bytes=50, chunk_count=1, file_count=1)
    good = m.SerializeToString()
    m.version = "2"
    evil = m.SerializeToString()
    import hashlib

    def build(manifest, package):
        path = fleet.folder / "pub.sock"
        path.unlink(missing_ok=True)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.bind(str(path))
        s.listen(1)
        p = subprocess.Popen([str(PROGRAMS["helioctl"]), "--config", str(fleet.ctl_config()), "package", "build", "tool", "1", "--software",
                              str(pictures[0])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        c, _ = s.accept()
        verbs = []
        while True:
            packet = c.recv(70000)
            if not packet:
                break
            verbs.append(json.loads(packet)["verb"])
            c.send(json.dumps({"request": json.loads(packet)["request"], "ok": True, "package": package, "manifest": manifest.hex()}).encode())
        p.communicate(timeout=20)
        s.close()
        return p.returncode, verbs
    assert build(good, hashlib.sha256(good).hexdigest()) == (0, ["package-build", "package-sign"])
    assert build(evil, hashlib.sha256(evil).hexdigest()) == (1, ["package-build"]), "another version"
    assert build(good, hashlib.sha256(evil).hexdigest()) == (1, ["package-build"]), "another id"
    assert build(good + b"\x08\x01", hashlib.sha256(good + b"\x08\x01").hexdigest())[1] == ["package-build"], "not canonical"


def test_ctl_doctor_names_what_is_wrong_and_the_line_that_mends_it(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    fleet.brokers()
    fleet.heliod()
    fleet.publisher()
    assert json.loads(plain(fleet, "--json", "doctor").stdout)["ok"]

    def finding(id_, *more):
        done = plain(fleet, "--json", "doctor", "--local", *more, check=False)
        found = [f for f in json.loads(done.stdout)["findings"] if f["id"] == id_]
        assert found and done.returncode == 1, done.stdout
        return found[0]
    key = fleet.bundle("alice.2") / "tls.key"
    key.chmod(0o644)
    assert finding("KEY-OPEN")["mend"] == f"chmod 600 {key}"
    subprocess.run(finding("KEY-OPEN")["mend"].split(), check=True)
    assert plain(fleet, "doctor", "--local").returncode == 0
    key.write_bytes((fleet.bundle("f1") / "tls.key").read_bytes())
    assert finding("CERT-KEY")
    (fleet.bundle("alice.2") / "tls.crt").write_bytes((fleet.bundle("f1") / "tls.crt").read_bytes())
    assert finding("CERT-NAME")
    (fleet.bundle("alice.2") / "tls.crt").write_bytes((fleet.bundle("da") / "tls.crt").read_bytes())
    assert finding("CERT-USE")
    (fleet.bundle("alice.2") / "tls.crt").write_text("nonsense")
    assert finding("CERT-BAD")


# ---------------------------------------------------------------- decode, completion

def test_ctl_decode_reads_the_whole_wire(shared):
    fleet = shared
    b = fleet.bundle("watch.2")
    sub = subprocess.Popen(["mosquitto_sub", "-V", "5", "-h", "localhost", "-p", str(fleet.port["control"]), "--cafile", str(b / "ca.crt"), "--cert",
                            str(b / "tls.crt"), "--key", str(b / "tls.key"), "-i", "watch.2", "-q", "1", "-t", "helio/v1/#", "-F", "%t %x", "-W", "5"],
                           stdout=subprocess.PIPE)
    time.sleep(0.5)
    plain(fleet, "ask", "f1", "display", "--wait")
    plain(fleet, "exec", "f2", "ping", "--wait")
    lines = sub.communicate(timeout=20)[0].splitlines()
    done = fleet.ctl_plain("--json", "decode", "--verify", fleet.ca / "root.bin", input=b"\n".join(lines).decode() + "\n", check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(lines)
    kinds = {row["kind"] for row in rows}
    assert {"hb", "rsp", "report", "api", "apir", "offer", "view/state", "host"} <= kinds
    for row in rows:
        if row["kind"] in ("offer", "host", "view/state", "view/queue", "view/ds") and row.get("auth") == "ed25519":
            assert row["signature"] == "holds", row
    beat = next(r for r in rows if r["kind"] == "hb")
    raw = next(line for line in lines if line.startswith(beat["topic"].encode()))
    other = pb.Heartbeat()
    other.ParseFromString(bytes.fromhex(raw.split()[1].decode()))
    assert beat["body"]["seq"] == other.seq and beat["body"]["last_response_id"] == other.last_response_id
    text = fleet.ctl_plain("decode", input=b"\n".join(lines).decode()).stdout
    assert re.search(r"^rsp +f2 \(\d+ B, hmac\) .*kind=execute-command", text, re.M) and "verb=ping" in text


def test_ctl_decode_reports_bad_lines_and_goes_on(shared):
    good = "helio/v1/mark/pub 00112233445566778899aabbccddeeff"
    mixed = f"rubbish\n{good}\nhelio/v1/mark/pub 001\n\n{'x' * 5000000}\nhelio/v1/rsp/\x1b[2J 00\n{good}\n"
    done = shared.ctl_plain("decode", input=mixed, check=False)
    assert done.returncode == 1
    assert done.stdout.count("mark ") == 2
    assert [int(n) for n in re.findall(r"line (\d+)", done.stderr)] == [1, 3, 5, 6] and "\x1b" not in done.stderr


# What stands on the line, and what one press of the tab key makes of its last word; "": nothing.
COMPLETED = [(["chan"], "channel"), (["channel", "pub"], "publish"), (["channel", "publish", "--wa"], "--wait"),
             (["--config", "x", "status", "--rea"], "--reach"), (["broker-conf", "con"], "control"), (["enrol", "--pub"], "--public-key"),
             (["enrol", "cl"], "client"), (["status", "--js"], "--json"), (["status", "--wa"], ""), (["image", "add", "/etc/passw"], "/etc/passwd")]


def completion(shared, shell):
    script = shared.folder / f"completion.{shell}"
    script.write_text(shared.ctl_plain("completion", shell).stdout)
    return script


@pytest.mark.parametrize("words,expected", COMPLETED)
def test_ctl_completion_completes_in_bash(shared, words, expected):
    line = ["helioctl", *words]
    done = subprocess.run(["bash", "-c", f"source {completion(shared, 'bash')}; COMP_WORDS=({' '.join(line)}); COMP_CWORD={len(line) - 1}; "
                                         "_helioctl; printf '%s\\n' \"${COMPREPLY[@]}\""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listed = done.stdout.split()
    assert expected in listed if expected.startswith("/") else listed == [w for w in [expected] if w], done


def test_ctl_completion_completes_in_fish(shared):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    asked = "; ".join(f"echo ask; complete -C 'helioctl {' '.join(words)}'" for words, _ in COMPLETED)
    done = subprocess.run(["fish", "--no-config", "-c", f"source {completion(shared, 'fish')}; {asked}"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, env={**os.environ, "HOME": str(shared.folder)})
    answers = [[line.split("\t")[0] for line in part.splitlines()[1:]] for part in done.stdout.split("ask")[1:]]
    assert not done.stderr and len(answers) == len(COMPLETED), done
    for (words, expected), got in zip(COMPLETED, answers):
        assert expected in got if expected.startswith("/") else got == [w for w in [expected] if w], (words, got)


@pytest.mark.parametrize("by", ["sourced", "autoloaded"])
def test_ctl_completion_completes_in_zsh(shared, folder, by):
    """Tab and enter are pressed in an interactive zsh, where helioctl is a function that says what it was given."""
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    script = completion(shared, "zsh")
    (folder / "_helioctl").write_text(script.read_text())
    load = f"source {script}" if by == "sourced" else f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D"
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "dumb", "LC_ALL": "C.UTF-8", "HOME": str(folder), "ZDOTDIR": str(folder)})
        os.execvp("zsh", ["zsh", "-f", "-i"])
    typed = [f"{load}; helioctl() {{ print -r -- 'given:' $@ }}", *(f"helioctl {' '.join(words)}\t" for words, _ in COMPLETED), "exit"]
    os.write(fd, "\n".join(typed).encode() + b"\n")
    out, end = b"", time.monotonic() + 60
    while time.monotonic() < end and select.select([fd], [], [], 1.0)[0] or out.count(b"given: ") < len(COMPLETED) and time.monotonic() < end:
        try:
            out += os.read(fd, 65536)
        except OSError:
            break
    os.close(fd)
    os.waitpid(pid, 0)
    given = re.findall(r"^given: (.*?)\r*$", out.decode(errors="replace"), re.M)
    assert given == [" ".join([*words[:-1], expected or words[-1]]) for words, expected in COMPLETED], out.decode(errors="replace")


def test_ctl_help_version_and_check_config(shared, folder):
    assert re.fullmatch(r"helioctl \d+\.\d+\.\d+\n", shared.ctl_plain("--version").stdout)
    top = shared.ctl_plain("--help").stdout
    names = re.findall(r"^  ([a-z-]+(?: [a-z]+)?)  +\S", top.split("commands:")[1].split("for every command")[0], re.M)
    assert len(names) > 40
    for name in names:
        assert shared.ctl_plain(*name.split(), "--help").stdout.startswith(f"helioctl {name}: "), name
        assert name in top
    assert "is good" in shared.ctl_plain("--config", shared.ctl_config(), "--check-config").stdout
    bad = folder / "bad.ini"
    bad.write_text("[control]\nport = 99999\n")
    done = shared.ctl_plain("--config", bad, "status", check=False)
    assert done.returncode == 2 and "bad.ini:2" in done.stderr
    assert shared.ctl_plain("--config", bad, "--check-config", check=False).returncode == 2
    assert shared.ctl_plain("status", check=False, env={"PATH": os.environ["PATH"], "HOME": str(folder)}).returncode == 2


# ---- replay

def test_replay_takes_every_setting_that_decides_an_answer_and_no_other(folder):
    def replay(*options):
        done = subprocess.run([PROGRAMS["helioctl"], "replay", *options, folder / "none"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout
    (folder / "none").write_text("")
    help_text = subprocess.run([PROGRAMS["heliod"], "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    code, said = replay("--set", "silent_after_s=600")
    assert code != 0 and "silent_after_s is no setting of [server] that decides an answer" in said, said
    names = said.split("those are ")[1].split()
    names = [n.strip(",") for n in names]
    assert {"mismatch_limit", "attempts_max", "op_deadline_s", "interval_ms"} <= set(names)
    for name in names:      # heliod has each, with the same default and the same limits
        least, most, default = re.search(rf"^  {name} .*\[(\d+)\.\.(\d+)\] \(default (\d+)\)", help_text, re.M).groups()
        assert replay("--set", f"{name}={default}")[0] == 0
        code, said = replay("--was", f"{name}={int(most) + 1}")
        assert code != 0 and f"{name} is a number from {least} to {most}" in said, said
    assert "cannot be seen in a recording" in replay("--set", "private_in_a_row=2")[1]


def test_a_large_fleet_is_listed_whole_though_it_comes_in_pages(fleet_of):
    """A page has a thousand rows: 2,345 devices are three pages for the API and one list for people and --json."""
    count = 2345
    fleet = fleet_of(clients=("f1",), data_brokers=(), log_types="error")
    subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--count", str(count), "--enrol-key", fleet.ca / "keys/enrol.key", "--out",
                    fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)
    fleet.brokers()
    fleet.heliod()
    wait_for(lambda: len(fleet.ctl("client", "list", "--role", "client")["clients"]) == count + 1, 60, "all are enrolled")
    for words in (("client", "list", "--role", "client"), ("status",)):
        said = fleet.ctl(*words)
        ids = [c["id"] for c in said["clients"]]
        assert len(ids) == len(set(ids)) == count + 1 and "next" not in said
        shown = fleet.ctl_plain("--config", fleet.ctl_config(), *words).stdout
        assert shown.count("\ndev0") == count
    # The witness's count, and what one question is told: more than fits a page.
    assert int(fleet.sql("select count(*) from principal where role = 1")) == count + 1
