"""A whole small Heliograph fleet on this machine, over TLS, with real pictures.

  deploy/quickstart           builds, starts everything, shows the main job, and leaves it running
  deploy/quickstart --once    the same, then stops everything; exit code 0 only if all of it was verified
  deploy/quickstart --stop    stops what an earlier call left running

Everything lies in one folder (--home DIR, by default ~/heliograph-quickstart) and listens on
loopback ports that are free now. A second call stops what the first left running.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

from ports import free_ports

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/quickstart"
PROGRAMS = {
    "helioctl": "server/ctl/helioctl", "heliod": "server/heliod", "helio-publisher": "server/publisher/helio-publisher",
    "helio-agent": "client/helio-agent", "helio-display": "client/display/helio-display",
    "helio-pictures": "deploy/pictures/helio-pictures",
}
PICTURES = 44
AGENTS = {"f1": "idle", "f2": "asked for information", "f3": "shows pictures", "f4": "executes a command"}
TTY = sys.stdout.isatty()
COLOURS = TTY and not os.environ.get("NO_COLOR")


# ------------------------------------------------------------------ what is seen

def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


def columns():
    return max(60, shutil.get_terminal_size().columns) if TTY else 1000


def short(path):
    """A path as people write it: below their home with a tilde, quoted where a shell would want it."""
    path, home = str(path), os.path.expanduser("~")
    if path.startswith(home + "/"):
        return "~/" + shlex.quote(path[len(home) + 1:])
    return shlex.quote(path)


def cut(text, width):
    return text if len(text) <= width else text[:max(1, width - 1)] + "…"


def bar(part, whole, wide=16):
    filled = round(wide * part / whole) if whole else 0
    return "█" * filled + "░" * (wide - filled)


class Step:
    """One line: a spinner while it runs on a terminal, then a tick and what came out."""
    frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
    wide = 38     # leaves 28 columns of 80 for what came out

    def __init__(self, text):
        self.text, self.began, self.frame, self.note = text, time.monotonic(), 0, ""

    def __enter__(self):
        self.draw()
        return self

    def line(self, mark, note):
        seconds = time.monotonic() - self.began
        room = columns() - (3 + self.wide + 10) - 1
        return f" {mark} {self.text:<{self.wide}} {paint('2', f'{seconds:5.1f} s')}  {cut(note, room)}".rstrip()

    def draw(self, note=None):
        if note is not None:
            self.note = note
        if TTY:
            self.frame += 1
            print("\r" + self.line(self.frames[self.frame % len(self.frames)], self.note) + "\033[K", end="", flush=True)

    def __exit__(self, kind, error, trace):
        mark = paint("32", "✓") if kind is None else paint("31", "✗")
        note = self.note if kind is None else str(error).splitlines()[0] if str(error) else kind.__name__
        print(("\r" if TTY else "") + self.line(mark, note) + ("\033[K" if TTY else ""), flush=True)


def head(text):
    print("\n" + paint("1;33", f"── {text} " + "─" * max(3, 74 - len(text))), flush=True)


def table(rows, titles):
    cells = [titles] + [[str(c) for c in row] for row in rows]
    wide = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    for number, row in enumerate(cells):
        line = cut("   " + "  ".join(c.ljust(w) for c, w in zip(row, wide)).rstrip(), columns() - 1)
        print(paint("2", line) if number == 0 else line, flush=True)


def bytes_text(n):
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.2f} {unit}"
        n /= 1000


class Problem(Exception):
    pass


# ------------------------------------------------------------------ processes

class House:
    """Folders, ports and processes of one quickstart."""

    def __init__(self, home):
        self.home = home
        self.logs = home / "logs"
        self.pids = home / "pids"
        self.children = {}

    def start(self, name, argv, env=None, pass_fds=()):
        with open(self.logs / f"{name}.log", "ab") as log:
            p = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                 env={**os.environ, **(env or {})}, start_new_session=True, pass_fds=pass_fds)
        self.children[name] = p
        with open(self.pids, "a") as f:
            f.write(f"{p.pid} {start_time(p.pid)} {name}\n")
        return p

    def log(self, name):
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def check(self, name):
        p = self.children[name]
        if p.poll() is not None:
            raise Problem(f"{name} ended with {p.returncode}; its log ends:\n{self.log(name)[-1500:]}")


def start_time(pid):
    """A process id alone may belong to somebody else by the time we want to end it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def stop(home):
    """Ends what an earlier call started: only processes that are still the same ones. Their names."""
    pids = home / "pids"
    if not pids.exists():
        return []
    rows = [line.split() for line in pids.read_text().splitlines()]
    mine = [(int(pid), name) for pid, began, name in rows if start_time(int(pid)) == began]
    names = [name for _, name in mine]
    # Devices first, brokers last, so that every program can say its goodbye.
    for group in (lambda n: not n.startswith(("broker", "xvfb")), lambda n: True):
        batch = [(pid, name) for pid, name in mine if group(name)]
        for pid, _ in batch:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        end = time.monotonic() + 7
        while batch and time.monotonic() < end:
            batch = [(pid, n) for pid, n in batch if alive(pid)]
            time.sleep(0.05)
        for pid, name in batch:
            print(f"   {name} ({pid}) did not end in time: killed", flush=True)
            os.kill(pid, signal.SIGKILL)
        mine = [(pid, n) for pid, n in mine if alive(pid)]
    pids.unlink()
    return names


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    if state == "Z":
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        return False
    return True


def wait_for(fact, seconds, what, step=None, every=0.1):
    end = time.monotonic() + seconds
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > end:
            raise Problem(f"not within {seconds} s: {what}")
        if step:
            step.draw()
        time.sleep(every)


# ------------------------------------------------------------------ the quickstart

class Quickstart:
    def __init__(self, options):
        self.o = options
        self.home = pathlib.Path(options.home).expanduser().resolve()
        self.house = House(self.home)
        self.build_dir = pathlib.Path(options.build).expanduser().resolve() if options.build else BUILD
        self.program = {name: self.build_dir / path for name, path in PROGRAMS.items()}
        self.ca = self.home / "ca"
        self.facts = []          # (what, verified by)
        self.kinds_seen, self.wire_lines = {}, 0
        self.compared = 0        # installed files, with what was ingested

    def run(self, argv, **more):
        done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        if done.returncode != 0:
            raise Problem(f"{' '.join(map(str, argv))[:200]}: {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout

    def ctl(self, *args):
        return json.loads(self.run([self.program["helioctl"], "--config", self.home / "helioctl.ini", "--json", *args]) or "{}")

    def plain_ctl(self, *args):
        return self.run([self.program["helioctl"], *args])

    # ---- ground

    def build(self):
        if self.o.build:
            missing = [str(p) for p in self.program.values() if not os.access(p, os.X_OK)]
            if missing:
                raise Problem(f"--build: no program {missing[0]}")
            with Step("programs that are built already") as step:
                step.note = self.plain_ctl("--version").strip()
            return
        with Step("building all programs") as step:
            self.run(["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                      "-DHELIO_TESTS=OFF"])
            p = subprocess.Popen(["cmake", "--build", BUILD], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            last = ""
            for line in p.stdout:
                last += line
                found = re.match(r"\[(\d+)/(\d+)\]", line)
                if found:
                    step.draw(f"{bar(int(found[1]), int(found[2]))} {found[1]} of {found[2]}")
            if p.wait() != 0:
                raise Problem("the build failed:\n" + last[-3000:])
            step.note = self.plain_ctl("--version").strip()

    def ground(self):
        if self.home.exists() and not (self.home / ".heliograph-quickstart").exists() and any(self.home.iterdir()):
            raise Problem(f"{self.home} exists and is not from an earlier quickstart; name another with --home")
        if (self.home / "pids").exists():
            with Step("stopping what an earlier call left running") as step:
                step.note = f"{len(stop(self.home))} processes"
        shutil.rmtree(self.home, ignore_errors=True)
        self.house.logs.mkdir(parents=True, mode=0o700)
        (self.home / ".heliograph-quickstart").touch()
        self.port = dict(zip(("control", "data-a", "data-b"), free_ports(3)))

    def certificates(self):
        with Step("authority, keys and certificates") as step:
            self.plain_ctl("ca", "init", self.ca, "--fleet", "quickstart")
            self.enrol("server", "server.1")
            for broker in self.port:
                self.enrol("broker", broker, "--dns", "localhost", "--ip", "127.0.0.1", "--ip", "::1")
            for role, seats in (("operator", ("alice.1", "alice.2")), ("watcher", ("debug.1", "debug.2"))):
                for seat in seats:
                    self.enrol(role, seat)
            self.enrol("publisher", "gallery")
            for agent in AGENTS:
                self.enrol("client", agent)
            step.note = f"TLS 1.3, {len(list((self.ca / 'out').iterdir()))} identities"

    def enrol(self, role, id_, *more):
        self.plain_ctl("enrol", role, id_, "--ca", self.ca, *more)

    def settings(self, name, sections):
        lines = []
        for section, pairs in sections.items():
            lines.append(f"[{section}]")
            for key, value in pairs.items():
                for one in value if isinstance(value, list) else [value]:
                    lines.append(f"{key} = {one}")
            lines.append("")
        path = self.home / f"{name}.ini"
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return path

    def common(self, id_, key="identity.key"):
        b = self.ca / "out" / id_
        return {"log": {"level": "info"},
                "identity": {"id": id_, "key": b / key, "root_file": b / "root.bin", "root_key": b / "root.pub"},
                "tls": {"enabled": "true", "ca": b / "ca.crt", "cert": b / "tls.crt", "key": b / "tls.key"},
                "control": {"name": "localhost", "ip": "127.0.0.1", "port": self.port["control"]}}

    def brokers(self):
        with Step("one control and two data brokers") as step:
            user = "root" if os.getuid() == 0 else self.run(["id", "-un"]).strip()
            for name, port in self.port.items():
                home = self.home / f"broker-{name}"
                home.mkdir(mode=0o700)
                for f in ("ca.crt", "tls.crt", "tls.key"):
                    shutil.copy2(self.ca / "out" / name / f, home / f)
                self.plain_ctl("broker-conf", "control" if name == "control" else "data", "--out", home,
                               f"broker_id={name}", f"port={port}", "binds=127.0.0.1", f"run_user={user}",
                               f"conf_dir={home}", "servers=server.1", "publishers=gallery", "operators=alice.1 alice.2",
                               "watchers=debug.1 debug.2", "sys_interval_s=1")
                self.house.start(f"broker-{name}", ["mosquitto", "-c", home / "mosquitto.conf"])
            for name, port in self.port.items():
                wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 10, f"broker {name} listens", step)
                self.house.check(f"broker-{name}")
            step.note = "on ports " + " ".join(map(str, self.port.values()))

    def servers(self):
        with Step("heliod and helio-publisher") as step:
            s = self.common("server.1", "online.key")
            s["server"] = {"state_dir": self.home / "heliod", "enrol_dir": self.ca / "enrolments", "interval_ms": 500}
            s["data"] = {"broker": [f"{n} localhost 127.0.0.1 {self.port[n]} 100000000" for n in ("data-a", "data-b")]}
            self.house.start("heliod", [self.program["heliod"], "--config", self.settings("heliod", s)])
            p = self.common("gallery")
            p["publisher"] = {"state_dir": self.home / "publisher", "socket": self.home / "publisher.sock"}
            p["packager"] = {"image_key": self.ca / "keys/image.key"}
            self.house.start("helio-publisher", [self.program["helio-publisher"], "--config", self.settings("helio-publisher", p)])
            b = self.ca / "out" / "alice.1"
            self.settings("helioctl", {
                "identity": {"seats": self.ca / "out" / "alice", "root_file": b / "root.bin", "root_key": b / "root.pub"},
                "tls": {"enabled": "true", "ca": b / "ca.crt"},
                "control": {"name": "localhost", "ip": "127.0.0.1", "port": self.port["control"]},
                "publisher": {"socket": self.home / "publisher.sock"}, "ca": {"dir": self.ca}})
            self.command("helioctl", f"export HELIOCTL_CONFIG={shlex.quote(str(self.home / 'helioctl.ini'))}")

            def both():
                self.house.check("heliod")
                self.house.check("helio-publisher")
                return (self.home / "publisher.sock").exists()
            wait_for(both, 15, "the publisher's socket", step)
            brokers = wait_for(self.both_reachable, 15, "heliod reaches its data brokers", step)
            step.note = f"{len(brokers)} data brokers reachable"

    def command(self, name, first):
        """A program of the build that people can call from the quickstart's bin folder."""
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{first}\nexec {shlex.quote(str(self.program[name]))} "$@"\n')
        path.chmod(0o755)

    def both_reachable(self):
        try:
            rows = self.ctl("brokers")["brokers"]
        except Problem:
            return None
        return rows if len(rows) == 2 and all(r["reachable"] for r in rows) else None

    def agents(self):
        with Step("four agents sign in") as step:
            for id_ in AGENTS:
                s = self.common(id_)
                s["agent"] = {"state_dir": self.home / id_, "interval_ms": 500}
                self.house.start(id_, [self.program["helio-agent"], "--config", self.settings(id_, s)])
            wait_for(lambda: all(self.client(i).get("reach") == "online" for i in AGENTS), 20, "all are online", step)
            step.note = ", ".join(AGENTS)

    def client(self, id_):
        try:
            return self.ctl("client", "show", id_)
        except Problem:
            return {}

    def screen(self):
        """The real screen where there is one, else an X server of our own."""
        env = {}
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            ours, its = os.pipe()       # it takes a free number, and says which when it is up
            self.house.start("xvfb", ["Xvfb", "-displayfd", its, "-screen", "0", "1280x720x24", "-nolisten", "tcp"],
                             pass_fds=(its,))
            os.close(its)
            with open(ours) as said:
                number = said.readline().strip()
            if not number:
                raise Problem(f"Xvfb does not start:\n{self.house.log('xvfb')[-800:]}")
            env["DISPLAY"] = f":{number}"
        s = {"log": {"level": "info"},
             "display": {"folder": self.home / "f3/display", "client_id": "f3", "windowed": "true", "width": 1280, "height": 720}}
        self.house.start("display", [self.program["helio-display"], "--config", self.settings("display", s)], env)
        return "Xvfb " + env["DISPLAY"] if env else "a window on your screen"

    # ---- the main job

    def watch_wire(self):
        """mosquitto_sub is the witness: everything that goes to the devices is kept for the end."""
        b = self.ca / "out" / "debug.1"
        self.house.start("wire", ["mosquitto_sub", "-V", "5", "-h", "localhost", "-p", self.port["control"], "--cafile",
                                  b / "ca.crt", "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", "debug.1", "-q", "1",
                                  "-t", "helio/v1/rsp/+", "-F", "%t %x"])

    def kinds(self):
        """What each device was told, as protoc sees it."""
        lines = self.house.log("wire").split("\n")[:-1]
        found = self.kinds_seen
        fresh, self.wire_lines = lines[self.wire_lines:], len(lines)
        for line in fresh:
            topic, _, payload = line.partition(" ")
            if not topic.startswith("helio/v1/rsp/") or len(payload) % 2:
                continue
            try:
                text = subprocess.run(["protoc", "--decode=helio.v1.Response", f"--proto_path={ROOT}/proto", "helio.proto"],
                                      input=bytes.fromhex(payload), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
            except ValueError:
                continue
            kind = re.search(rb"kind: (\w+)", text)
            verb = re.search(rb'verb: "(\w+)"|what: INFO_(\w+)|packages \{', text)
            if kind:
                found.setdefault(topic.split("/")[-1], set()).add((kind[1].decode(), verb[0].decode() if verb else ""))
        return found

    def draw(self):
        with Step(f"drawing {PICTURES} pictures") as step:
            out = self.home / "pictures"
            out.mkdir()
            hands = max(1, min(8, len(os.sched_getaffinity(0))))
            log = open(self.house.logs / "pictures.log", "ab")
            drawing = [subprocess.Popen([str(self.program["helio-pictures"]), "--only",
                                         ",".join(map(str, range(hand + 1, PICTURES + 1, hands))), str(out), str(PICTURES)],
                                        stdout=log, stderr=log) for hand in range(hands)]
            try:
                while any(p.poll() is None for p in drawing):
                    done = len(list(out.glob("*.*")))
                    step.draw(f"{bar(done, PICTURES)} {done} of {PICTURES}")
                    time.sleep(0.1)
            finally:
                for p in drawing:
                    if p.poll() is None:
                        p.terminate()
                        p.wait()
            self.pictures = sorted(out.iterdir())
            if any(p.returncode for p in drawing) or len(self.pictures) != PICTURES:
                raise Problem("helio-pictures failed")
            step.note = f"{bytes_text(sum(p.stat().st_size for p in self.pictures))}, free to use (CC0)"

    def ingest(self):
        with Step("ingest: checked, upright, by content") as step:
            self.images = []
            for at in range(0, len(self.pictures), 4):
                done = self.ctl("image", "add", *self.pictures[at:at + 4], "--tag", "gallery", "--license", "CC0-1.0")
                self.images += [i["image"] for i in done["images"]]
                step.draw(f"{bar(len(self.images), PICTURES)} {len(self.images)} of {PICTURES}")
            step.note = f"{len(self.images)} JPEG, PNG and WebP"

    def package(self, version, images):
        built = self.ctl("package", "build", "--name", "gallery", "--version", version, "--duration", "4000",
                         "--transition", "800", *[w for i in images for w in ("--image", i)])
        self.ctl("package", "publish", built["package"])
        return built

    def received(self, id_, package):
        """What the agent's sockets took in for this package: its own log line says so."""
        def look():
            lines = [w for w in self.house.log(id_).splitlines() if "FETCH-DONE" in w and package[:12] in w]
            return re.search(r"received_bytes=(\d+)", lines[-1]) if lines else None
        return int(wait_for(look, 5, f"{id_} says what it received")[1])

    def four_answers(self):
        head("four devices, four kinds of response")
        with Step("f1: nothing to do"):
            wait_for(lambda: ("NO_ACTION", "") in self.kinds().get("f1", ()), 20, "NO_ACTION to f1")
        with Step("f2: asked for its display information") as step:
            self.ctl("ask", "f2", "display")
            wait_for(lambda: self.client("f2").get("state") == "idle" and not self.client("f2").get("private_elements"), 20,
                     "f2 has answered", step)
            r = self.ctl("reports", "f2", "display")["display"]
            step.note = f"{bytes_text(r['free_bytes'])} free on its disk"
        with Step("f4: executes a command") as step:
            self.ctl("exec", "f4", "ping")
            wait_for(lambda: any(o["kind"] == "execute-command" and o["outcome"] == "done"
                                 for o in self.ctl("operations", "f4")["operations"]), 20, "f4 has run it", step)
            step.note = "ping: done"
        with Step("f3: retrieves a package of 40 pictures") as step:
            self.ctl("channel", "create", "lobby")
            self.ctl("client", "channel", "f3", "lobby")
            self.v1 = self.package("1", self.images[:40])
            self.ctl("channel", "publish", "lobby", self.v1["package"])
            self.wait_package("f3", self.v1["package"], step)
            step.note = f"{bytes_text(self.received('f3', self.v1['package']))} received"
        self.verify_files("f3", self.v1["package"])

    def wait_package(self, id_, package, step):
        def there():
            c = self.client(id_)
            step.draw(self.progress(c.get("op"), package))
            return (self.home / id_ / "packages" / package).exists() and c.get("state") == "idle"
        wait_for(there, 90, f"{id_} has installed it", step)

    def progress(self, op, package):
        """How far the device is; before that, what the package waits for."""
        if op and op.get("percent"):
            return f"{bar(op['percent'], 100)} {op['percent']} %"
        rows = self.ctl("package", "list")["packages"] if TTY else []
        row = next((r for r in rows if r["package"] == package), {})
        if row.get("state") == "deferred":
            return "both data brokers had work a moment ago"
        return {"sending": "on its way to a data broker", "verifying": "the broker's copy is verified"}.get(
            row.get("state"), op.get("status", "") if op else "")

    def verify_files(self, id_, package):
        """sha256sum of what is installed, against what was put into the image store."""
        files = sorted((self.home / id_ / "packages" / package / "files").iterdir())
        sums = self.run(["sha256sum", *files])
        installed = {line.split()[0] for line in sums.splitlines()}
        stored = {i["image"] for i in self.ctl("image", "list")["images"]}
        if not installed or not installed <= stored:
            raise Problem("an installed file is not what was ingested")
        self.compared += len(files)

    def wait_shown(self, id_, package, step):
        wait_for(lambda: self.client(id_).get("showing", {}).get("package") == package, 30, f"{id_} shows it", step)

    def show(self):
        with Step("f3: on the screen") as step:
            where = self.screen_name
            picture = self.home / "screenshot.png"
            self.wait_shown("f3", self.v1["package"], step)
            time.sleep(1.2)     # past the first fade, so that the screenshot shows one picture
            os.kill(self.house.children["display"].pid, signal.SIGUSR1)
            shot = self.home / "f3/display/screenshot.png"
            wait_for(lambda: shot.exists() and shot.stat().st_size > 1000, 10, "a screenshot", step)
            shutil.copy2(shot, picture)
            step.note = f"{where}, {picture.name}"
        ledger = (self.home / "f3/display/shown.log")
        wait_for(lambda: ledger.exists() and ledger.read_text().count("\n") >= 1, 20, "a showing in the ledger")
        self.facts.append(("the installed pictures are shown", "screenshot.png, shown.log"))

    def second_version(self):
        head("version 2: most pictures the same")
        new = self.images[40:44]
        with Step("f3: 4 of 40 pictures are new") as step:
            self.v2 = self.package("2", new + self.images[4:40])
            self.ctl("channel", "publish", "lobby", self.v2["package"])
            self.wait_package("f3", self.v2["package"], step)
            got, whole = self.received("f3", self.v2["package"]), self.v2["size_bytes"]
            fresh = sum((self.home / "publisher/images" / i[:2] / i).stat().st_size for i in new)
            self.wait_shown("f3", self.v2["package"], step)
            step.note = f"{bytes_text(got)} of {bytes_text(whole)}: {100 * got / whole:.1f} %"
        self.verify_files("f3", self.v2["package"])
        if got > 1.02 * fresh + 8000:
            raise Problem(f"{got} bytes for {fresh} bytes of new pictures")
        self.facts.append((f"version 2 cost {got:,} bytes, {fresh:,} are new", "the agent's socket"))
        self.sent = (got, whole, fresh)

    def software(self):
        head("software on the same path")
        tree = self.home / "software"
        (tree / "bin").mkdir(parents=True)
        (tree / "bin/hello").write_text("#!/bin/sh\necho hello from version 1.4\n")
        (tree / "bin/hello").chmod(0o755)
        shutil.copy2(self.program["helio-agent"], tree / "bin/helper")
        with Step("f4: software runs from its slot") as step:
            built = self.ctl("package", "build", "--name", "hello", "--version", "1.4", "--software", tree)
            self.ctl("package", "publish", built["package"])
            self.ctl("channel", "create", "kiosk")
            self.ctl("client", "channel", "f4", "kiosk")
            self.ctl("channel", "publish", "kiosk", built["package"])
            self.wait_package("f4", built["package"], step)
            program = self.home / "f4/slots/software/hello/current/files/bin/hello"
            wait_for(program.exists, 10, "the new version is current", step)
            said = self.run([program]).strip()
            step.note = f'"{said}"'
            if said != "hello from version 1.4":
                raise Problem("the installed program is not the shipped one")
        same = hashlib.sha256((tree / "bin/helper").read_bytes()).digest() == \
            hashlib.sha256((program.parent / "helper").read_bytes()).digest()
        if not same:
            raise Problem("the installed program differs")
        self.facts.append(("the software package runs from its slot", "its own output"))

    def verdict(self):
        kinds = {id_: sorted({k for k, _ in found}) for id_, found in self.kinds().items()}
        wanted = {"f1": "NO_ACTION", "f2": "SEND_INFORMATION", "f3": "RETRIEVE_INFORMATION", "f4": "EXECUTE_COMMAND"}
        for id_, kind in wanted.items():
            if kind not in kinds.get(id_, ()):
                raise Problem(f"{id_} was never answered with {kind}")
        self.facts = [("four devices were answered with the four kinds", "mosquitto_sub, protoc"),
                      (f"{self.compared} installed pictures equal the ingested ones", "sha256sum")] + self.facts
        head("what happened")
        table([(i, AGENTS[i], wanted[i].lower().replace("_", "-"), self.client(i).get("state"), self.client(i).get("version") or "-")
               for i in AGENTS], ["device", "part", "response on the wire", "state", "version"])
        print()
        table(self.facts, ["verified", "by"])

    def directions(self):
        head("where everything lies")
        table([("settings, keys, state, logs", short(self.home)), ("the screen", short(self.home / "screenshot.png")),
               ("what a device holds", short(self.home / "f3/packages")),
               ("brokers on 127.0.0.1", ", ".join(f"{n} {p}" for n, p in self.port.items()))], ["what", "where"])
        if self.o.once:
            return
        head("look around")
        home = "" if self.home == pathlib.Path(DEFAULT_HOME).expanduser().resolve() else f" --home {short(self.home)}"
        running = [n for n, p in self.house.children.items() if p.poll() is None]
        print(f"""   PATH={short(self.home / "bin")}:$PATH
   helioctl status
   helioctl why f3
   helioctl watch

   # the wire: every message, readable
   keys={short(self.ca / "out/debug.2")}
   mosquitto_sub -V 5 -h localhost -p {self.port['control']} -i debug.2 --cafile "$keys/ca.crt" \\
     --cert "$keys/tls.crt" --key "$keys/tls.key" -t 'helio/v1/#' -F '%t %x' | helioctl decode

   # ends the {len(running)} processes that run now
   deploy/quickstart --stop{home}""", flush=True)

    def all(self):
        print(paint("1", "Heliograph") + " distributes pictures and software to devices through Mosquitto.\n")
        self.build()
        self.ground()
        self.certificates()
        self.brokers()
        self.servers()
        self.watch_wire()
        self.agents()
        self.screen_name = self.screen()
        self.draw()
        self.ingest()
        self.four_answers()
        self.show()
        self.second_version()
        self.software()
        self.verdict()
        self.directions()


DEFAULT_HOME = "~/heliograph-quickstart"


def main():
    parser = argparse.ArgumentParser(prog="deploy/quickstart", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="stop everything at the end")
    parser.add_argument("--stop", action="store_true", help="stop what an earlier call left running")
    parser.add_argument("--home", default=DEFAULT_HOME, metavar="DIR", help=f"where everything lies (default {DEFAULT_HOME})")
    parser.add_argument("--build", default=os.environ.get("HELIO_QUICKSTART_BUILD"), metavar="DIR",
                        help="build folder whose programs are taken as they are (default: $HELIO_QUICKSTART_BUILD, else "
                             "the programs are built in build/quickstart)")
    options = parser.parse_args()
    home = pathlib.Path(options.home).expanduser().resolve()
    if options.stop:
        names = stop(home)
        said = f"stopped: {', '.join(names)}" if names else "nothing was running"
        print(textwrap.fill(said, columns() - 1, subsequent_indent="   "))
        return 0
    quick = Quickstart(options)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    code = 1
    try:
        quick.all()
        code = 0
    except Problem as problem:
        print(paint("31", f"\n   {problem}"), file=sys.stderr)
        print(f"   the logs lie in {quick.house.logs}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\n   interrupted")
    except OSError as error:
        print(paint("31", f"\n   {error}"), file=sys.stderr)
    if options.once or code:
        stop(home)
        print("\n" + ("everything was verified, everything is stopped" if code == 0 else "stopped"))
    return code


if __name__ == "__main__":
    sys.exit(main())
