"""Row reconnect: agents with TLS lose their control broker, which is started again at once; how long until all are connected, and until all
are answered. Beside them, in turn, as many raw clients over TLS with the same rest, spread and times of their beats, and the echo server in
the place of heliod. All devices of a side show one certificate: the broker's rules are those of the fleet, but for who a client is."""
import json
import pathlib
import statistics
import subprocess
import tempfile

from lib.fleet import BUILD, PROGRAMS, Fleet
from lib.procs import Proc
from lib.wait import wait_for


class Side:
    """heliod does not probe here: it would rightly refuse such a broker."""

    def __init__(self, folder, clients, interval_ms, echo, spread_ms=0):
        self.server = self.devices = None    # server: the echo server
        self.fleet = Fleet(folder, data_brokers=(), clients=("f1",), publishers=(), interval_ms=interval_ms, log_types="error", level="warn",
                           server={"server": {"offers_per_s": 100000, "interval_min_ms": 1000}, "probe": {"enabled": False}})
        try:
            self._start(clients, interval_ms, echo, spread_ms)
        except BaseException:
            self.down()
            raise

    def _start(self, clients, interval_ms, echo, spread_ms):
        self._broker()
        if echo:
            b = self.fleet.bundle("server.1")
            self.server = Proc("echo", [BUILD / "tests/echo_server", self.fleet.port["control"], 157, 0, b / "ca.crt", b / "tls.crt", b / "tls.key"],
                               self.fleet.folder).start()
            self.server.wait_text("ready")
        else:
            subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--count", str(clients), "--enrol-key", self.fleet.ca / "keys/enrol.key",
                            "--out", self.fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)
            self.fleet.heliod(wait=False)
            wait_for(lambda: self.fleet.ctl("status", check=False).returncode == 0, 60, "heliod answers")
        self.devices = self._devices(clients, interval_ms, echo, spread_ms)

    def _broker(self):
        """Its certificate says that a client belongs to the fleet, and no more."""
        self.fleet.broker("control").stop()
        home = self.fleet.folder / "broker-control"
        text = (home / "mosquitto.conf").read_text()
        (home / "mosquitto.conf").write_text(text.replace("use_username_as_clientid true\n", ""))
        with open(home / "acl", "a") as acl:
            acl.write("pattern readwrite helio/v1/#\n")
        self.fleet.broker("control")

    def _devices(self, clients, interval_ms, echo, spread_ms):
        b, d = self.fleet.bundle("server.1"), self.fleet.bundle("f1")
        argv = [PROGRAMS["helio-fleet"], "reconnect", "--count", clients, "--port", self.fleet.port["control"], "--root-file", b / "root.bin",
                "--root-key", b / "root.pub", "--rate", 2000, "--ca", d / "ca.crt", "--cert", d / "tls.crt", "--key", d / "tls.key",
                *(["--echo", "--spread", spread_ms, "--interval", interval_ms, "--size", 165] if echo else [])]
        log = self.fleet.folder / "helio-fleet.log"
        with open(log, "w") as f:
            devices = subprocess.Popen([str(a) for a in argv], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=f)
        if "ready" not in devices.stdout.readline():
            raise RuntimeError(log.read_text())
        return devices

    def measure(self):
        self.devices.stdin.write("1 1\n")
        self.devices.stdin.flush()
        if "armed" not in self.devices.stdout.readline():
            raise RuntimeError((self.fleet.folder / "helio-fleet.log").read_text())
        self.fleet.procs["broker-control"].kill()
        self.fleet.broker("control")
        found = self.devices.stdout.readline()
        if not found:
            raise RuntimeError((self.fleet.folder / "helio-fleet.log").read_text())
        return json.loads(found)

    def down(self):
        if self.devices:
            self.devices.kill()
            self.devices.wait()
        if self.server:
            self.server.stop()
        self.fleet.down()


def bench_reconnect(row, quick):
    clients, interval_ms, pairs = (1000, 3000, 1) if quick else (15000, 10000, 5)
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        sides = []
        try:
            sides.append(Side(pathlib.Path(d) / "agents", clients, interval_ms, False))
            ours = [sides[0].measure()]    # tells the spread
            sides.append(Side(pathlib.Path(d) / "raw", clients, interval_ms, True, ours[0]["spread_ms"]))
            raws = [sides[1].measure()]
            for _ in range(pairs - 1):
                ours.append(sides[0].measure())
                raws.append(sides[1].measure())
        finally:
            for side in sides:
                side.down()
    last = [o["answered_ms"] for o in ours]
    row("reconnect", clients=clients, pairs=pairs, spread_ms=ours[0]["spread_ms"], interval_ms=interval_ms,
        **{k: statistics.median(o[k] for o in ours) for k in ("connected_p50_ms", "connected_ms", "answered_p50_ms", "answered_ms")},
        spread=f"{min(last)}..{max(last)}", **{f"raw_{k}": statistics.median(r[k] for r in raws) for k in ("connected_ms", "answered_ms")},
        ratio_to_raw=statistics.median(o["answered_ms"] / r["answered_ms"] for o, r in zip(ours, raws)),
        ratio_to_raw_connected=statistics.median(o["connected_ms"] / r["connected_ms"] for o, r in zip(ours, raws)), tls=1, qos=0, mqtt=5)
