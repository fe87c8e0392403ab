"""A whole private fleet: certificates, brokers over TLS, heliod, publisher, agents, all on free
loopback ports and in one private folder; everything started here is ended here, by its id."""
import json
import os
import pathlib
import re
import signal
import subprocess

from . import store, wire
from .procs import SESSIONS, Proc, free_ports, port_answers
from .wait import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("HELIO_BUILD", ROOT / "build/dev"))
LONG = bool(os.environ.get("HELIO_LONG"))

PROGRAMS = {
    "heliod": BUILD / "server/heliod",
    "helio-publisher": BUILD / "server/publisher/helio-publisher",
    "helioctl": BUILD / "server/ctl/helioctl",
    "helio-agent": BUILD / "client/helio-agent",
    "helio-display": BUILD / "client/display/helio-display",
    "helio-fleet": BUILD / "tests/helio-fleet",
    "helio-pictures": BUILD / "deploy/pictures/helio-pictures",
}


def ini(sections):
    out = []
    for section, pairs in sections.items():
        out.append(f"[{section}]")
        for key, value in pairs.items():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                out.append(f"{key} = {str(one).lower() if isinstance(one, bool) else one}")
        out.append("")
    return "\n".join(out)


CONTROL_UP = "LINK-UP broker=control"
STORY = r" (warn|error) |SHARD|SHARE |SERVER-|STORE-|LEADS|SESSION-OVER"   # what a failed test tells of a program besides its end


class Fleet:
    def __init__(self, folder, data_brokers=("da", "db"), clients=("f1", "f2", "f3", "f4"), publishers=("pub",),
                 interval_ms=300, server=None, agent=None, publisher=None, log_types="all", tls=True, level="debug",
                 capacity=100_000_000, binds=("127.0.0.1",), readers=(), servers=("server.1",)):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "ca"
        self.clients, self.publishers = list(clients), list(publishers)
        self.data_ids = list(data_brokers)
        self.interval_ms = interval_ms
        self.server_extra, self.agent_extra, self.publisher_extra = server or {}, agent or {}, publisher or {}
        self.log_types, self.tls, self.level, self.capacity = log_types, tls, level, capacity
        self.binds = list(binds)      # where the brokers listen
        self.servers = list(servers)
        self.readers = list(readers)  # clients that may read the state of others
        ports = free_ports(1 + len(self.data_ids))
        self.port = {"control": ports[0], **dict(zip(self.data_ids, ports[1:]))}
        self.procs = {}
        self.broker_extra = {}  # name of a broker -> more variables of its templates
        self.under = {}         # name of a program -> what runs it, such as valgrind
        self.witnesses = []
        self.make_certificates()

    # ------------------------------------------------------------ certificates and settings

    def ctl_plain(self, *args, check=True, timeout=60, **options):
        done = subprocess.run([str(PROGRAMS["helioctl"]), *map(str, args)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout, **options)
        if check:
            assert done.returncode == 0, f"helioctl {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def enrol(self, role, id_, *more):
        return self.ctl_plain("enrol", role, id_, "--ca", self.ca, *more)

    def make_certificates(self):
        self.ctl_plain("ca", "init", self.ca, "--fleet", "test")
        for server in self.servers:
            self.enrol("server", server)
        for broker in ["control", *self.data_ids]:
            self.enrol("broker", broker, "--dns", "localhost",
                       *[w for ip in dict.fromkeys([*self.binds, "127.0.0.1", "::1"]) for w in ("--ip", ip)])
        for seat in ("alice.1", "alice.2"):
            self.enrol("operator", seat)
        for seat in ("watch.1", "watch.2"):
            self.enrol("watcher", seat)
        for publisher in self.publishers:
            self.enrol("publisher", publisher)
        for client in self.clients:
            self.enrol("client", client)

    def bundle(self, id_):
        return self.ca / "out" / id_

    def online_public(self):
        return wire.raw_public(wire.read_key(self.bundle("server.1") / "online.key"))

    def common(self, id_, key="identity.key"):
        b = self.bundle(id_)
        return {
            "log": {"level": self.level},
            "identity": {"id": id_, "key": b / key, "root_file": b / "root.bin", "root_key": b / "root.pub"},
            "tls": {"enabled": self.tls, "ca": b / "ca.crt", "cert": b / "tls.crt", "key": b / "tls.key"},
            "control": {"name": "localhost", "ip": "127.0.0.1", "port": self.port["control"]},
        }

    def write(self, name, sections, extra):
        for section, pairs in extra.items():
            sections.setdefault(section, {}).update(pairs)
        path = self.folder / f"{name}.ini"
        fresh = self.folder / f"{name}.ini.fresh"
        fresh.write_text(ini(sections))
        fresh.chmod(0o600)
        fresh.rename(path)      # a program that is just reading it sees the old one or the new one
        return path

    # ------------------------------------------------------------ programs

    def broker(self, name):
        """Starts a broker, again if it was ended, on the same port and with the same rules."""
        home = self.folder / f"broker-{name}"
        if not (home / "mosquitto.conf").exists():
            home.mkdir()
            kind = "test" if not self.tls else "control" if name == "control" else "data"
            for f in ("ca.crt", "tls.crt", "tls.key"):
                (home / f).write_bytes((self.bundle(name) / f).read_bytes())
                (home / f).chmod(0o600)
            secured = [f"binds={' '.join(self.binds)}", f"servers={' '.join(self.servers)}", f"publishers={' '.join(self.publishers)}",
                       "operators=alice.1 alice.2", f"readers={' '.join(self.readers)}", "watchers=watch.1 watch.2"] if self.tls else []
            self.ctl_plain("broker-conf", kind, "--out", home, f"broker_id={name}", f"port={self.port[name]}",
                           f"run_user={'root' if os.getuid() == 0 else os.environ['USER']}", f"conf_dir={home}",
                           f"log_types={self.log_types}", "sys_interval_s=1", *secured,
                           *[f"{k}={v}" for k, v in self.broker_extra.get(name, {}).items()])
        proc = self.procs.setdefault(f"broker-{name}", Proc(f"broker-{name}", ["mosquitto", "-c", home / "mosquitto.conf"],
                                                            self.folder))
        proc.start()
        wait_for(lambda: port_answers(self.port[name]) or not proc.alive(), 10, f"broker {name} listens")
        assert proc.alive(), proc.text()
        return proc

    def brokers(self):
        for name in ["control", *self.data_ids]:
            self.broker(name)

    def heliod_config(self, id_="server.1", name="heliod"):
        settings = self.common(id_, key="online.key")
        settings["server"] = {"state_dir": self.folder / name, "enrol_dir": self.ca / "enrolments"}
        settings["data"] = {"broker": [f"{d} localhost 127.0.0.1 {self.port[d]} {self.capacity}" for d in self.data_ids]}
        extra = {"server": {"interval_ms": self.interval_ms}}
        for section, pairs in self.server_extra.items():
            extra.setdefault(section, {}).update(pairs)
        return self.write(name, settings, extra)

    def start(self, name, program, config, env=None):
        proc = self.procs.get(name) or Proc(name, [*self.under.get(name, ()), PROGRAMS[program], "--config", config], self.folder,
                                            env={"HELIO_TEST": "1", **(env or {})})
        self.procs[name] = proc
        return proc.start()

    def heliod(self, wait=True, env=None, id_="server.1", name="heliod"):
        before = self.procs[name].text().count(CONTROL_UP) if name in self.procs else 0    # of its lives before
        proc = self.start(name, "heliod", self.heliod_config(id_, name), env)
        if wait:
            proc.wait_text(CONTROL_UP, 20, count=before + 1)
        return proc

    def publisher(self, id_="pub"):
        settings = self.common(id_)
        settings["publisher"] = {"state_dir": self.folder / id_, "socket": self.folder / f"{id_}.sock"}
        proc = self.start(id_, "helio-publisher", self.write(id_, settings, self.publisher_extra))
        wait_for(lambda: (self.folder / f"{id_}.sock").exists() or not proc.alive(), 10, "the publisher's socket")
        return proc

    def agent(self, id_, extra=None, env=None):
        settings = self.common(id_)
        settings["agent"] = {"state_dir": self.folder / id_, "interval_ms": self.interval_ms}
        settings["test"] = {"dump_session_key": self.folder / f"{id_}.session"}
        merged = {k: dict(v) for k, v in self.agent_extra.items()}
        for section, pairs in (extra or {}).items():
            merged.setdefault(section, {}).update(pairs)
        return self.start(id_, "helio-agent", self.write(id_, settings, merged), env)

    def up(self, agents=None):
        """Brokers, server, publisher and agents; returns when every agent is online."""
        self.brokers()
        self.heliod().wait_text("LINK-UP", 15, count=1 + len(self.data_ids))
        for id_ in self.publishers:
            self.publisher(id_)
        for id_ in self.clients if agents is None else agents:
            self.agent(id_)
        for id_ in self.clients if agents is None else agents:
            self.wait_client(id_, lambda c: c["reach"] == "online", 20)
        return self

    # ------------------------------------------------------------ helioctl

    def ctl_config(self, publisher="pub"):
        b = self.bundle("alice.1")
        return self.write("helioctl", {
            "identity": {"seats": self.ca / "out" / "alice", "root_file": b / "root.bin", "root_key": b / "root.pub"},
            "tls": {"enabled": self.tls, "ca": b / "ca.crt"},
            "control": {"name": "localhost", "ip": "127.0.0.1", "port": self.port["control"]},
            "publisher": {"socket": self.folder / f"{publisher}.sock"},
            "ca": {"dir": self.ca},
        }, {})

    def ctl(self, *args, check=True, publisher="pub", **options):
        """helioctl with --json; returns the document, or the finished process with check=False."""
        done = self.ctl_plain("--config", self.ctl_config(publisher), "--json", *args, check=check, **options)
        if not check:
            return done
        return json.loads(done.stdout) if done.stdout.strip() else None

    def leave_agents_alone(self):
        """Brokers, server and publisher end."""
        for name in [n for n in self.procs if n.startswith("broker-") or n in ("heliod", "pub")]:
            self.procs[name].stop()

    def client(self, id_):
        return self.ctl("client", "show", id_)

    def wait_client(self, id_, fact, timeout=20):
        last = {}

        def look():
            done = self.ctl("client", "show", id_, check=False)
            if done.returncode != 0:
                last["text"] = done.stderr
                return None
            last["text"] = done.stdout
            found = json.loads(done.stdout)
            return found if fact(found) else None
        try:
            return wait_for(look, timeout, f"client {id_}", every=0.1)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{last.get('text')}\n{self.tails()}") from None

    def image_package(self, name, version, pictures, publisher="pub"):
        """Adds pictures, builds, signs and offers a package; returns its id."""
        ids = [self.ctl("image", "add", p, publisher=publisher) for p in pictures]
        images = [row["image"] for one in ids for row in (one["images"] if "images" in one else [one])]
        built = self.ctl("package", "build", "--name", name, "--version", version,
                         *[w for i in images for w in ("--image", i)], publisher=publisher)
        self.ctl("package", "publish", built["package"], publisher=publisher)
        return built["package"]

    def software_package(self, name, version, path, *more, publisher="pub", timeout=60):
        built = self.ctl("package", "build", "--name", name, "--version", version, "--software", path, *more,
                         publisher=publisher, timeout=timeout)
        self.ctl("package", "publish", built["package"], publisher=publisher)
        return built["package"]

    # ------------------------------------------------------------ the wire

    def watch(self, *topics, broker="control", seat="watch.1"):
        w = wire.Client(self.port[broker], self.bundle(seat))
        self.witnesses.append(w)
        if topics:
            w.subscribe(*topics)
        return w

    def principal(self, id_):
        p = wire.Principal(self.port["control"], self.bundle(id_), self.online_public())
        self.witnesses.append(p)
        return p

    def mosquitto_sub(self, topic, *more, broker="control", seat="watch.2", timeout=5, check=True):
        """Debian's own client as a witness: the payloads of `-C n` messages, or b"" after -W."""
        b = self.bundle(seat)
        argv = ["mosquitto_sub", "-V", "5", "-h", "localhost", "-p", str(self.port[broker]), "--cafile", b / "ca.crt",
                "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", seat, "-q", "1", "-t", topic,
                "-W", str(timeout), *more]
        done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout + 60)
        if check:
            assert done.returncode == 0, f"{argv}: {done.returncode} {done.stderr.decode()}"
        return done.stdout

    def capture(self, *topics, broker="control", seat="watch.2"):
        """mosquitto_sub in the background: captured() gives (stamp, topic, payload) of all that came."""
        b, name = self.bundle(seat), f"capture-{seat}"
        argv = ["stdbuf", "-oL", "mosquitto_sub", "-V", "5", "-h", "localhost", "-p", str(self.port[broker]),
                "--cafile", b / "ca.crt", "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", seat, "-q", "1",
                *[w for t in topics for w in ("-t", t)], "-F", "%U %t %x"]
        self.procs[name] = Proc(name, argv, self.folder).start()
        wait_for(lambda: re.search(rf": {re.escape(seat)} 1 ", self.broker_log(broker)), 10, f"{seat} has subscribed")
        return self.procs[name]

    @staticmethod
    def captured(capture):
        rows = [line.split(" ") for line in capture.text().splitlines(keepends=True) if line.endswith("\n")]
        return [(float(at), topic, bytes.fromhex(payload)) for at, topic, payload in rows]

    def protoc(self, message, payload):
        done = subprocess.run(["protoc", f"--decode=helio.v1.{message}", f"--proto_path={ROOT}/proto", "helio.proto"],
                              input=payload, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def broker_log(self, name):
        return self.procs[f"broker-{name}"].text()

    # ------------------------------------------------------------ the end

    def sql(self, query, name="heliod"):
        """sqlite3 as the witness, on a copy: the server holds its database for itself."""
        proc = self.procs.get(name)
        return store.asked(next((self.folder / name).glob("*.db")), self.folder / "witness.db", query, lambda: proc and proc.is_running())

    def tails(self, lines=25):
        out = []
        for name, proc in self.procs.items():
            if not name.startswith(("broker-", "capture-")):
                said = proc.text().splitlines()
                story = [line for line in said[:-lines] if re.search(STORY, line)][-60:]
                out.append("\n".join([f"--- {name}", *story, *said[-lines:]]))
        return "\n".join(out)

    def down(self):
        for w in self.witnesses:
            w.close()
        failures = []
        for name in sorted(self.procs, key=lambda n: n.startswith("broker-")):
            try:
                self.procs[name].stop()
            except AssertionError as e:
                failures.append(str(e))
        failures += [f"left running: {pid} {text}" for pid, text in self.leftovers()]
        assert not failures, "\n".join(failures)

    def leftovers(self):
        """Processes of tests that still work in this fleet's folder: ended by id, and a failure of the test."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                text = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                ours = str(self.folder).encode() + b"/" in text and os.getsid(int(entry.name)) in SESSIONS
            except OSError:
                continue
            if ours and int(entry.name) != os.getpid():
                found.append((int(entry.name), text.replace(b"\0", b" ").decode(errors="replace")))
                os.kill(int(entry.name), signal.SIGKILL)
        return found
