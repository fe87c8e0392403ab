"""What every program does the same way (X-6): it says what it is and what it takes, refuses bad settings
with a sentence that names the place, ends when it is told to, and reads its log level again."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from lib.fleet import PROGRAMS, ROOT, ini
from lib.procs import Proc
from lib.wait import stays, wait_for

EVERY = ["heliod", "helio-publisher", "helioctl", "helio-agent", "helio-display"]
TRUSTED = ["heliod", "helio-publisher", "helio-agent"]     # they read keys
ROWS = {"heliod": "server/settings.c", "helio-publisher": "server/publisher/settings.c", "helio-agent": "client/settings.c",
        "helioctl": "server/ctl/ctl.c", "helio-display": "client/display/settings.c"}


def run(program, *args, **options):
    return subprocess.run([PROGRAMS[program], *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=20, **options)


def sections(fleet, program):
    """Good settings of a program, as the dictionary that ini() takes."""
    if program == "heliod":
        return {**fleet.common("server.1", key="online.key"),
                "server": {"state_dir": fleet.folder / "heliod", "enrol_dir": fleet.ca / "enrolments", "interval_ms": 300},
                "data": {"broker": [f"da localhost 127.0.0.1 {fleet.port['da']} 100000000"]}}
    if program == "helio-publisher":
        return {**fleet.common("pub"), "publisher": {"state_dir": fleet.folder / "pub", "socket": fleet.folder / "pub.sock"}}
    if program == "helio-agent":
        return {**fleet.common("f1"), "agent": {"state_dir": fleet.folder / "f1", "interval_ms": 300}}
    if program == "helio-display":
        return {"log": {"level": "info"}, "display": {"folder": fleet.folder / "f1/display", "client_id": "f1"}}
    common = fleet.common("alice.1")
    return {"identity": {"seats": fleet.ca / "out/alice", "root_file": common["identity"]["root_file"],
                         "root_key": common["identity"]["root_key"]},
            "tls": {"enabled": True, "ca": common["tls"]["ca"]}, "control": common["control"],
            "publisher": {"socket": fleet.folder / "pub.sock"}, "ca": {"dir": fleet.ca}}


def rows_of(program):
    """(section, key) of every row in the program's table, with those of the sets of rows that programs share."""
    shared = {}     # name of the set: its text
    for file in ("proto/base/program.h", "proto/fleet_settings.h"):
        shared.update(re.findall(r"^#define (\w+_ROWS?)\(.*?\)((?:.*\\\n)+.*)$", (ROOT / file).read_text(), re.M))
    assert len(shared) == 4, shared.keys()
    text = (ROOT / ROWS[program]).read_text()
    for _ in range(2):     # a set may name a set
        text = re.sub(rf"\b({'|'.join(shared)})\(", lambda m: shared[m[1]] + "(", text)
    return re.findall(r'(?:\{|\w+\()[\s\\]*(?:\.section = )?"([a-z]+)",\s*(?:\.key = )?"([a-z_]+)",\s', text)


def write(path, wanted):
    path.write_text(ini(wanted))
    return path


def line_of(path, section, key):
    now = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("["):
            now = line.strip("[]")
        elif now == section and line.split(" = ")[0] == key:
            return number
    raise AssertionError(f"[{section}] {key} is not in {path}")


@pytest.fixture
def small(fleet_of):
    """Certificates and settings of a small fleet; nothing runs yet."""
    return fleet_of(clients=("f1",), data_brokers=("da",), level="info")


# ---------------------------------------------------------------- what it is, what it takes

@pytest.mark.parametrize("program", EVERY)
def test_X_6_a_program_says_its_version_and_every_setting(program):
    said = run(program, "--version")
    assert said.returncode == 0 and re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", said.stdout) and not said.stderr
    helped = run(program, "--help")
    assert helped.returncode == 0 and not helped.stderr and program in helped.stdout.splitlines()[0]
    rows = rows_of(program)
    assert len(rows) >= 10, rows
    now, told = None, {}
    for line in helped.stdout.split("settings:\n", 1)[1].splitlines():
        if line.startswith("["):
            now = line.strip("[]")
        elif re.match(r"  \w", line):
            key, *about = line.split()
            told[now, key] = about
    for row in rows:
        assert row in told and len(told[row]) >= 2, f"--help does not explain [{row[0]}] {row[1]}"


def test_X_6_the_fleet_of_the_tests_says_its_usage():
    assert re.fullmatch(r"helio-fleet \d+\.\d+\.\d+\n", run("helio-fleet", "--version").stdout)
    helped = run("helio-fleet", "--help")
    assert helped.returncode == 0 and not helped.stderr
    options = re.findall(r'\{ "([a-z-]+)", [01], NULL', (ROOT / "tests/fleet/main.c").read_text())
    assert len(options) >= 10 and all(f"--{o}" in helped.stdout for o in options), options
    bad = run("helio-fleet", "nonsense")
    assert bad.returncode == 2 and bad.stderr.startswith("usage:")


def test_X_6_the_pictures_say_their_usage(folder):
    assert re.fullmatch(r"helio-pictures \d+\.\d+\.\d+\n", run("helio-pictures", "--version").stdout)
    helped = run("helio-pictures", "--help")
    assert helped.returncode == 0 and "--only" in helped.stdout and not helped.stderr
    bad = run("helio-pictures", "--nonsense")
    assert bad.returncode == 2 and bad.stderr.startswith("usage:") and not bad.stdout
    locked = folder / "file"
    locked.write_text("")
    assert run("helio-pictures", locked / "below", "1").returncode == 1


@pytest.mark.parametrize("program", EVERY)
def test_X_6_a_wrong_command_line_is_refused_in_one_sentence(program):
    for args in (["--nonsense"], ["--config"], [] if program != "helioctl" else ["no-such-command"]):
        bad = run(program, *args)
        assert bad.returncode == 2 and not bad.stdout, (args, bad)
        assert bad.stderr.startswith(f"{program}: ") and "--help" in bad.stderr, (args, bad.stderr)


def test_X_6_helioctl_explains_a_command_and_a_group_of_them():
    plan = run("helioctl", "customer", "plan", "--help")
    assert plan.returncode == 0 and "--dayparts" in plan.stdout
    assert run("helioctl", "help", "customer", "plan").stdout == plan.stdout
    assert run("helioctl", "help").stdout == run("helioctl", "--help").stdout
    group = run("helioctl", "customer", "--help")
    assert group.returncode == 0 and run("helioctl", "help", "customer").stdout == group.stdout
    every = {line.split("  ")[1] for line in run("helioctl", "--help").stdout.splitlines() if line.startswith("  customer ")}
    told = {line.strip() for line in group.stdout.splitlines() if line.startswith("  customer ")}
    assert len(every) > 10 and len(every) == len(told), (every, told)
    # Not whole: every word of the group is named, none cut.
    for args in (["customer"], ["customer", "plam"], ["nonsense", "--help"]):
        bad = run("helioctl", *args)
        assert bad.returncode == 2 and not bad.stdout, bad
    assert {"preview", "plan-remove", "encrypt"} <= set(run("helioctl", "customer").stderr.replace(";", "").split())


# ---------------------------------------------------------------- settings

@pytest.mark.parametrize("program", EVERY)
def test_X_6_check_config_takes_good_and_names_the_place_of_bad(small, program):
    path = small.folder / f"{program}.ini"
    good = sections(small, program)

    def check(wanted, text=None):
        path.write_text(text if text is not None else ini(wanted))
        return run(program, "--config", path, "--check-config")

    def refused(done, *words):
        assert done.returncode == 2 and not done.stdout, done
        assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"{program}: "), done.stderr
        for word in words:
            assert str(word) in done.stderr, f"{word!r} is not in {done.stderr!r}"

    fine = check(good)
    assert fine.returncode == 0 and fine.stdout == f"{program}: {path} is good\n" and not fine.stderr, fine
    section = "display" if program == "helio-display" else "control"
    number = "width" if program == "helio-display" else "port"
    refused(check({**good, section: {**good[section], "colour": "red"}}), f"{path}:{line_of(path, section, 'colour')}:",
            f"[{section}] colour", "not a setting")
    for value, why in (("many", "not a number"), ("999999", "outside"), ("-1", "not a number"), ("", "not a number")):
        refused(check({**good, section: {**good[section], number: value}}), f"{path}:{line_of(path, section, number)}:",
                f"[{section}] {number}", why)
    refused(check({**good, "log": {"level": "loud"}}), f"{path}:{line_of(path, 'log', 'level')}:", "[log] level", "debug|info")
    refused(check(None, ini(good) + "\nnonsense\n"), f"{path}:{len(ini(good).splitlines()) + 2}:")
    twice = ini(good).replace(f"{number} = ", f"{number} = 500\n{number} = ", 1) if f"{number} = " in ini(good) else \
        ini(good) + "width = 500\nwidth = 501\n"
    refused(check(None, twice), f"[{section}] {number}", "twice")
    path.unlink()
    refused(run(program, "--config", path, "--check-config"), path)
    if program != "helioctl":
        must = {"heliod": ("server", "state_dir"), "helio-publisher": ("identity", "id"), "helio-agent": ("identity", "key"),
                "helio-display": ("display", "folder")}[program]
        less = {**good, must[0]: {k: v for k, v in good[must[0]].items() if k != must[1]}}
        refused(check(less), path, f"[{must[0]}] {must[1]} is missing")


def test_a_memory_for_transfers_in_which_not_one_fits_is_refused(small):
    path, good = small.folder / "heliod.ini", sections(small, "heliod")
    for value, refused in ((0, False), (1, True), (1114111, True), (1114112, False)):
        write(path, {**good, "data": {**good["data"], "transfers_bytes": value}})
        done = run("heliod", "--config", path, "--check-config")
        assert done.returncode == (2 if refused else 0), done
        wanted = f"heliod: {path}:{line_of(path, 'data', 'transfers_bytes')}: [data] transfers_bytes: {value} is less than one transfer takes"
        assert done.stderr.startswith(wanted) if refused else not done.stderr, done.stderr


@pytest.mark.parametrize("program", TRUSTED)
def test_X_6_check_config_looks_at_every_key(small, program):
    """A key that is missing, no key, no file, or open to others is found before the program runs; the sentence names
    file, line and setting, and running it without --check-config says the same."""
    path = small.folder / f"{program}.ini"
    good = sections(small, program)

    def refused(section, key, value, *words):
        write(path, {**good, section: {**good[section], key: value}})
        for more in (["--check-config"], []):
            done = run(program, "--config", path, *more)
            assert done.returncode == 2, (section, key, done)
            for word in (f"{path}:{line_of(path, section, key)}: [{section}] {key}", *words):
                assert str(word) in done.stderr, f"{word!r} is not in {done.stderr!r}"
    bad = small.folder / "bad"
    bad.write_text("nonsense\n")
    bad.chmod(0o600)
    for section, key, secret in (("identity", "key", True), ("identity", "root_file", False), ("identity", "root_key", False),
                                 ("tls", "ca", False), ("tls", "cert", False), ("tls", "key", True)):
        refused(section, key, small.folder / "absent", "No such file")
        refused(section, key, small.folder, "is not a file")
        if secret:
            open_key = small.folder / "open.key"
            shutil.copy(good[section][key], open_key)
            for mode in (0o640, 0o604):
                open_key.chmod(mode)
                refused(section, key, open_key, f"chmod 600 {open_key}")
            open_key.chmod(0o600)
            write(path, {**good, section: {**good[section], key: open_key}})
            assert run(program, "--config", path, "--check-config").returncode == 0, "the mended key is good"
    refused("identity", "key", bad, "Ed25519")
    assert not (small.folder / "heliod").exists() and not (small.folder / "pub").exists(), "a check writes nothing"


def test_X_6_a_key_that_this_user_may_not_read_is_named(small):
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    small.folder.chmod(0o755)
    for p in (small.ca, small.ca / "out", small.bundle("f1")):
        p.chmod(0o755)
    path = write(small.folder / "agent.ini", sections(small, "helio-agent"))
    program = small.folder / "helio-agent"
    shutil.copy(PROGRAMS["helio-agent"], program)
    done = subprocess.run([program, "--config", path, "--check-config"], user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "Permission denied" in done.stderr and f"{path}:{line_of(path, 'tls', 'key')}: [tls] key" in done.stderr


# ---------------------------------------------------------------- signals

def started(fleet, program):
    if program == "helio-display":
        path = write(fleet.folder / "display.ini", sections(fleet, program))
        (fleet.folder / "f1/display").mkdir(parents=True, exist_ok=True)
        proc = fleet.procs["display"] = Proc("display", [PROGRAMS[program], "--config", path], fleet.folder,
                                             env={"SDL_VIDEODRIVER": "dummy"})
        return proc.start(), path
    path = write(fleet.folder / f"{program}.ini", sections(fleet, program))
    return fleet.start(program, program, path), path


def debug_lines(proc, program):
    return [line for line in proc.text().splitlines() if f" {program} debug " in line]


def make_work(fleet, program):
    """Something that the program does, and of which it speaks at level debug."""
    if program == "helio-publisher":
        fleet.ctl("image", "list")
    elif program == "helio-display":
        (fleet.folder / "f1/display/playlist").write_text("nonsense\n")
    else:
        fleet.ctl("exec", "f1", "ping")
        fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 15)


@pytest.mark.parametrize("program", [p for p in EVERY if p != "helioctl"])
def test_X_6_a_program_ends_in_time_and_reads_its_log_level_again(small, program):
    small.brokers()
    if program == "helio-display":
        proc, path = started(small, program)
        wait_for(lambda: (small.folder / "f1/display/status").exists(), 15, "it shows something")
    else:
        others = ["heliod", "helio-agent"] if program != "helio-publisher" else ["heliod"]
        for one in dict.fromkeys([*others, program]):
            made, at = started(small, one)
            if one == program:
                proc, path = made, at
        if program == "helio-publisher":
            wait_for(lambda: (small.folder / "pub.sock").exists(), 15, "its socket")
        else:
            small.wait_client("f1", lambda c: c["reach"] == "online", 20)
    make_work(small, program)
    assert proc.alive() and proc.text() and not debug_lines(proc, program), "debug lines before anybody asked for them"
    wanted = sections(small, program)
    write(path, {**wanted, "log": {"level": "debug"}})
    os.kill(proc.pid, signal.SIGHUP)
    proc.wait_text("LOG-LEVEL", 5)
    make_work(small, program)
    wait_for(lambda: debug_lines(proc, program), 10, "a debug line after SIGHUP")
    # Bad settings change nothing, and are told; and the way back.
    path.write_text("nonsense")
    os.kill(proc.pid, signal.SIGHUP)
    proc.wait_text("SETTINGS-BAD", 5)
    assert proc.alive()
    write(path, wanted)
    os.kill(proc.pid, signal.SIGHUP)
    proc.wait_text("LOG-LEVEL", 5, count=2)
    mark = len(debug_lines(proc, program))
    make_work(small, program)
    assert len(debug_lines(proc, program)) == mark
    began = time.monotonic()
    assert proc.stop(timeout=5) == 0, proc.text()[-1500:]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("program", [p for p in EVERY if p != "helioctl"])
def test_X_6_a_program_that_reaches_nobody_ends_in_time(small, program):
    """SIGTERM while it connects to a broker that is not there, and SIGINT like SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGINT):
        proc, _ = started(small, program)
        proc.wait_text(" ", 10)
        stays(proc.alive, 1)
        began = time.monotonic()
        os.kill(proc.pid, number)
        assert proc.p.wait(timeout=5) == 0, proc.text()[-1500:]
        assert time.monotonic() - began < 5


# ---------------------------------------------------------------- stores of a newer program

def digests(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "lock" and not p.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("program, change, back", [
    ("heliod", "update schema_version set version = version + 1", "update schema_version set version = version - 1"),
    ("helio-publisher", "pragma user_version = 99", "pragma user_version = {}")])
def test_X_6_a_store_of_a_newer_program_is_refused_and_left_alone(small, program, change, back):
    small.brokers()
    if program == "helio-publisher":
        small.heliod()
    proc, path = started(small, program)
    proc.wait_text("LINK-UP" if program == "heliod" else " ", 15)
    folder = small.folder / ("heliod" if program == "heliod" else "pub")
    database = wait_for(lambda: next(folder.glob("*.db"), None) or next(folder.glob("*.sqlite*"), None), 10, "a database")
    wait_for(lambda: program != "helio-publisher" or (small.folder / "pub.sock").exists(), 10)
    assert proc.stop() == 0

    def sqlite(query):
        done = subprocess.run(["sqlite3", database, query], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout
    back = back.format(sqlite("pragma user_version").strip())
    sqlite(change)
    sqlite("pragma wal_checkpoint(truncate)")
    before, dump = digests(folder), sqlite(".dump")
    done = run(program, "--config", path)
    assert done.returncode == 1, done
    assert re.search(r"this program knows up to \d+", done.stderr) and "newer program" in done.stderr, done.stderr
    assert digests(folder) == before and sqlite(".dump") == dump
    sqlite(back)
    proc = small.start(program, program, path)      # control: the store was the only reason
    proc.wait_text("LINK-UP" if program == "heliod" else " ", 15, count=3)      # two brokers before, one now
    wait_for(lambda: proc.alive() and (program == "heliod" or (small.folder / "pub.sock").exists()), 10)
    assert proc.stop() == 0


# ---------------------------------------------------------------- helioctl

READING = [["status"], ["status", "f1"], ["why", "f1"], ["queue", "default"], ["brokers"], ["channel", "list"], ["client", "list"],
           ["client", "show", "f1"], ["operations", "f1"], ["counters"], ["package", "list"], ["image", "list"], ["doctor"], ["topics"]]
WRITING = [["ask", "f1", "display"], ["exec", "f1", "ping"], ["interval", "f1", "500"], ["channel", "create", "hall"],
           ["client", "channel", "f1", "hall"], ["channel", "pause", "hall"], ["channel", "resume", "hall"]]


def test_X_6_helioctl_json_is_one_document_also_when_it_fails(shared):
    for args in READING + WRITING:
        done = shared.ctl(*args, check=False)
        assert done.returncode == 0, (args, done)
        json.loads(done.stdout)
    for args, code in ((["client", "show", "nobody"], 5), (["package", "show", "no@1"], 5), (["ask", "nobody", "display"], 5),
                       (["exec", "f1"], 2), (["status", "f1", "f2"], 2), (["nonsense"], 2), (["channel"], 2), (["status", "--nonsense"], 2),
                       (["channel", "create", "a b"], 1)):
        done = shared.ctl(*args, check=False)
        assert done.returncode == code, (args, done)
        said = json.loads(done.stdout)
        assert said["ok"] is False and said["error"] and said["error_word"], (args, said)
        assert done.stderr.startswith("helioctl: "), done.stderr
    away = shared.folder / "away.ini"
    away.write_text(re.sub(r"port = \d+", "port = 1", shared.ctl_config().read_text()))
    done = shared.ctl_plain("--config", away, "--json", "--timeout", "3", "status", check=False)
    assert done.returncode == 3 and json.loads(done.stdout)["ok"] is False


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_X_6_the_completion_is_sourced_without_a_word(shared, folder, shell):
    script = folder / "completion"
    script.write_text(shared.ctl_plain("completion", shell).stdout)
    assert len(script.read_text().splitlines()) > 5
    if shutil.which(shell) is None:
        assert shell != "bash"
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, *(["--norc", "--noprofile"] if shell == "bash" else []), "-c", f"set -eu; source {script}"]
                          if shell != "fish" else [shell, "-c", f"source {script}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done


def test_X_6_doctor_finds_what_is_broken_and_says_the_line(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da", "db"), level="info")
    fleet.brokers()
    fleet.heliod()
    fleet.publisher()

    def doctor(*more):
        done = fleet.ctl("--timeout", "6", "doctor", *more, check=False)
        found = json.loads(done.stdout)
        assert (done.returncode == 0) == found["ok"] and done.returncode in (0, 1)
        return found
    first = wait_for(lambda: (lambda d: d if sum(f["id"] == "PROBE-PACKET" for f in d["findings"]) == 3 else None)(doctor()), 20)
    assert first["ok"], first
    for f in first["findings"]:
        assert f["what"] and (f["level"] != "ok" or not f["mend"]), f"good, and something to mend: {f}"
    text = fleet.ctl_plain("--config", fleet.ctl_config(), "doctor").stdout
    for id_ in {f["id"] for f in first["findings"] if f["id"].startswith("PROBE-")}:
        assert len(re.findall(rf"^ok +{id_} .*$", text, re.M)) == len({f["what"] for f in first["findings"] if f["id"] == id_})
    assert re.search(r"^ok +PROBE-RETAIN +(?=.*control)(?=.*da)(?=.*db).*: retained messages are kept$", text, re.M), text
    # A data broker stops: the server says so. Then the control broker: nobody can answer.
    fleet.procs["broker-da"].stop()
    bad = wait_for(lambda: next((f for f in doctor()["findings"] if f.get("where") == "da" and f["level"] == "error"), None), 20)
    assert bad["mend"]
    fleet.broker("da")
    wait_for(lambda: doctor()["ok"], 40, "the broker is back and all is well")
    fleet.procs["broker-control"].stop()
    found = doctor()
    closed = [f for f in found["findings"] if f["id"] == "BROKER-CLOSED"]
    assert not found["ok"] and closed and all("systemctl status mosquitto" in f["mend"] for f in closed)
    # An expired certificate and an open key, without any broker.
    seat = fleet.bundle("alice.1")
    subprocess.run(["openssl", "x509", "-req", "-in", request_of(seat), "-CA", fleet.ca / "ca.crt", "-CAkey", fleet.ca / "ca.key",
                    "-CAcreateserial", "-days", "-1", "-out", seat / "tls.crt"], check=True, stderr=subprocess.DEVNULL)
    (seat / "tls.key").chmod(0o604)
    found = {f["id"]: f for f in doctor("--local")["findings"]}
    assert "CERT-EXPIRED" in found, json.dumps(found)
    assert found["CERT-EXPIRED"]["mend"].startswith("helioctl enrol operator") and "tls.crt" in found["CERT-EXPIRED"]["what"]
    assert found["KEY-OPEN"]["mend"] == f"chmod 600 {seat / 'tls.key'}"


def request_of(seat):
    subprocess.run(["openssl", "req", "-new", "-key", seat / "tls.key", "-subj", "/CN=alice.1", "-out", seat / "tls.csr"], check=True)
    return seat / "tls.csr"


def test_X_6_why_names_the_reason_and_the_flow(fleet_of, pictures):
    fleet = fleet_of(clients=("f1",)).up()
    done = fleet.ctl("ask", "f1", "display")
    flow = done["flow"]
    wait_for(lambda: fleet.ctl("flow", flow)["finished"], 15, "f1 has answered")
    rows = wait_for(lambda: (lambda found: found if found[0]["reason"] == "caught-up" else None)(fleet.ctl("why", "f1")["entries"]), 10)
    asked = [r for r in rows if str(r["flow"]) == str(flow)]
    assert asked and asked[0]["kind"] == "send-information" and asked[0]["reason"] == "event", rows
    assert ("no-action", "caught-up") in {(r["kind"], r["reason"]) for r in rows}, rows
    text = fleet.ctl_plain("--config", fleet.ctl_config(), "why", "f1").stdout
    assert str(flow) in text and "send-information" in text and "nothing waits" in text


@pytest.mark.slow
def test_X_6_a_rollback_is_one_event_and_the_version_before_is_shown_again(fleet_of, pictures):
    fleet = fleet_of(clients=("f1",), server={"data": {"recent_period_s": 0}}).up()
    packages = []
    display = fleet.folder / "f1/display"
    config = write(fleet.folder / "display.ini", {"display": {"folder": display, "client_id": "f1", "windowed": True, "width": 640, "height": 360}})
    proc = fleet.procs["display"] = Proc("display", [PROGRAMS["helio-display"], "--config", config], fleet.folder,
                                         env={"SDL_VIDEODRIVER": "dummy"}).start()
    for version, shown in (("1", pictures[:3]), ("2", pictures[1:])):
        packages.append(fleet.image_package("gallery", version, shown))
        fleet.ctl("channel", "publish", "default", packages[-1])
        fleet.wait_client("f1", lambda c, v=version: (c["showing"] or {}).get("version") == v and c["state"] == "idle", 40)
    wait_for(lambda: f"package\t{packages[1]}" in (display / "status").read_text() if (display / "status").exists() else False, 20)
    def tail():
        return next(e["seq"] for e in fleet.ctl("queue", "default")["elements"] if e["type"] == "tail")
    before = tail()
    received = len(fleet.procs["f1"].lines("FETCH-DONE"))
    said = fleet.ctl("channel", "rollback", "default", "gallery", "--wait")
    assert tail() == before + 1, "one event"
    current = fleet.folder / "f1/slots/images/gallery/current"
    assert os.path.realpath(current).endswith(packages[0]), json.dumps([said, fleet.ctl("why", "f1")])
    wait_for(lambda: f"package\t{packages[0]}" in (display / "status").read_text(), 20, "the version before is shown again")
    fleet.wait_client("f1", lambda c: (c["showing"] or {}).get("version") == "1", 20)
    assert proc.alive() and len(fleet.procs["f1"].lines("FETCH-DONE")) <= received + 1


def test_X_6_a_revoked_or_removed_client_is_out_and_the_others_go_on(fleet_of):
    fleet = fleet_of(clients=("f1", "f2", "f3"), level="info").up()
    watch = fleet.watch("helio/v1/rsp/#")
    for verb, client in (("revoke", "f1"), ("remove", "f2")):
        fleet.ctl("client", verb, client)
        others = len(watch.of("helio/v1/rsp/f3"))
        wait_for(lambda: len(watch.of("helio/v1/rsp/f3")) >= others + 3, 15, "what was on its way has come")
        mark, others = len(watch.of(f"helio/v1/rsp/{client}")), len(watch.of("helio/v1/rsp/f3"))
        wait_for(lambda: len(watch.of("helio/v1/rsp/f3")) >= others + 5, 15, "f3 goes on")
        assert len(watch.of(f"helio/v1/rsp/{client}")) == mark, f"{client} is still answered"
    assert fleet.ctl("client", "show", "f1")["revoked"] is True
    assert fleet.ctl("client", "show", "f2", check=False).returncode == 5
    assert fleet.ctl("ask", "f2", "display", check=False).returncode == 5
