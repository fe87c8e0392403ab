"""A load of simulated devices against heliod, or against the echo server, each with a Mosquitto of its own."""
import json
import re
import subprocess
import time

from lib import wire
from lib.fleet import BUILD, PROGRAMS, Fleet
from lib.procs import Proc
from lib.wait import wait_for

WATCHED = "dev000001"


class Generator:
    """helio-fleet, connected, signed in and warmed up; its devices stay for every measurement. sizes: bytes of a
    heartbeat and of an answer, for the echo server."""

    def __init__(self, folder, clients, echo, sizes=None, settings=None, servers=("server.1",)):
        self.folder, self.clients, self.echo = folder, clients, echo
        self.heartbeat_bytes, self.answer_bytes = sizes or (165, 157)
        self.fleet = Fleet(folder, data_brokers=("da",), clients=() if echo else ("f1",), publishers=("pub",),
                           interval_ms=60000, log_types="error", tls=False, level="warn", capacity=20_000_000_000,
                           servers=servers)
        self.kinds, self.rate_value = [], 1000000
        if echo:
            self.fleet.broker("control")
            self.server = self._echo(0)
        else:
            subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--count", str(clients), "--enrol-key",
                            self.fleet.ca / "keys/enrol.key", "--out", self.fleet.ca / "enrolments"], check=True,
                           stdout=subprocess.DEVNULL)
            self.fleet.server_extra = {"server": {"offers_per_s": 100000, **(settings or {})}}
            self.fleet.brokers()
            self.server = self.fleet.heliod(wait=False)
            wait_for(lambda: self.fleet.ctl("status", check=False).returncode == 0, 60, "heliod answers")
            self.others()
        self.devices = self._devices()
        self.watch = None if echo else self._watch()

    def others(self):
        """Further servers, of a fleet that has several."""

    def _echo(self, qos, records=False):
        record = ("--record", self.folder / "answers") if records else ()
        server = Proc("echo", [BUILD / "tests/echo_server", *record, self.fleet.port["control"], self.answer_bytes, qos],
                      self.folder)
        ready = server.text().count("ready") if server.log.exists() else 0
        server.start().wait_text("ready", count=ready + 1)
        return server

    def _watch(self):
        """One device's wire, for sizes and QoS: a thousandth of the load."""
        watch = wire.Client(self.fleet.port["control"], client_id="watch.1")
        watch.subscribe(f"helio/v1/hb/+/{WATCHED}", f"helio/v1/rsp/{WATCHED}")
        return watch

    def _devices(self):
        b = self.fleet.bundle("server.1")
        argv = [PROGRAMS["helio-fleet"], "beats", "--steps", "--count", self.clients, "--port",
                self.fleet.port["control"], "--root-file", b / "root.bin", "--root-key", b / "root.pub", "--rate", 2000,
                "--server-pid", self.server.pid, "--broker-pid", self.fleet.procs["broker-control"].pid,
                "--size", self.heartbeat_bytes]
        with open(self.folder / "helio-fleet.log", "w") as log:
            devices = subprocess.Popen([str(a) for a in argv + (["--echo"] if self.echo else [])], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        if "ready" not in devices.stdout.readline():
            raise RuntimeError((self.folder / "helio-fleet.log").read_text())
        return devices

    # ------------------------------------------------------------ one measurement

    def start(self, rate, seconds):
        self.devices.stdin.write(f"{rate} {seconds} {self.server.pid} {self.heartbeat_bytes}\n")
        self.devices.stdin.flush()

    def result(self):
        return json.loads(self.devices.stdout.readline())

    def run(self, rate, seconds):
        self.start(rate, seconds)
        found = self.result()
        self.look()
        return found

    def keeps_up(self, rate, seconds):
        """Every beat answered, and no queue that grows. A stall of the machine may spoil one try, not two."""
        for _ in range(2):
            found = self.run(rate, seconds)
            if not found["overrun"] and found["answered"] >= 0.999 * found["sent"] and found["late_p50_us"] < 100000 and \
                    found["sent"] >= 0.97 * rate * seconds:
                return True
            time.sleep(0.5)    # what queued drains before the next measurement
        return False

    # ------------------------------------------------------------ what is answered, and how

    def look(self):
        while self.watch and not self.watch.inbox.empty():
            self.kinds.append(self.watch.inbox.get())

    def sizes(self, qos):
        """Bytes of a heartbeat, and of an answer of that QoS."""
        self.run(2 * self.clients, 1)
        wait_for(lambda: self.look() or any(m.qos == qos for m in self.kinds if "/rsp/" in m.topic), 5, "an answer")
        return [len([m for m in self.kinds if at in m.topic and (at == "/hb/" or m.qos == qos)][-1].payload)
                for at in ("/hb/", "/rsp/")]

    def share_at_qos1(self):
        answers = [m.qos for m in self.kinds if "/rsp/" in m.topic]
        return sum(answers) / max(1, len(answers))

    def elements(self, count):
        """Control elements for the whole channel: the next `count` beats of everybody are told something, at QoS 1."""
        for _ in range(count):
            self.rate_value += 1
            self.fleet.ctl("channel", "rate", "default", self.rate_value)

    def echo_as(self, sizes, qos, records=False):
        """The echo server anew, with answers of this size and QoS; one that records has each turn's answers on the disk
        before it sends them, as heliod must have a state that it sets."""
        self.server.stop()
        self.heartbeat_bytes, self.answer_bytes = sizes
        self.server = self._echo(qos, records)

    def agent(self, id_):
        """A real agent and a publisher beside the simulated devices."""
        self.fleet.publisher()
        self.fleet.agent(id_)
        self.fleet.wait_client(id_, lambda c: c["reach"] == "online")

    def broker_options(self):
        text = (self.fleet.folder / "broker-control/mosquitto.conf").read_text()
        names = {"set_tcp_nodelay": "nodelay", "max_queued_messages": "max_queued", "max_inflight_messages": "max_inflight"}
        found = {short: m[1] for option, short in names.items() if (m := re.search(rf"^{option} (\S+)", text, re.M))}
        return {"mqtt": 5, **found}

    def down(self):
        self.devices.stdin.close()
        self.devices.wait(30)
        if self.watch:
            self.watch.close()
        if self.echo:
            self.server.stop()
        self.fleet.down()


def highest_rates(generators, seconds, first=8000):
    """The highest rate without queueing of each, searched in turn so that both see the same machine."""
    low = dict.fromkeys(generators, first // 2)
    high = dict.fromkeys(generators)
    while any(high[n] is None or high[n] / low[n] > 1.04 for n in generators):
        for name, g in generators.items():
            if high[name] and high[name] / low[name] <= 1.04:
                continue
            rate = int(low[name] * 1.5 if high[name] is None else (low[name] * high[name]) ** 0.5)
            if g.keeps_up(rate, seconds):
                low[name] = rate
            else:
                high[name] = rate
    return low
