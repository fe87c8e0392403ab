"""Row publish_to_last: of each client, from the heartbeat that `helioctl channel publish` was the answer to until the server took its report
that it has the package, verified; the row is the longest. Beside it, in turn, as many clients that have four rounds with the echo server
and fetch the same bytes raw. Part `agents`: real agents, 10 MB, each with a store of its own, in memory: a crowd has as many disks; the raw clients write and sync what they fetch there too. Part `devices`: simulated ones that all beat at the same moment, 100 kB:
they hash every object, and do not verify the two signatures or write, which a real device does on a processor of its own."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from lib import wire
from lib.fleet import BUILD, PROGRAMS, Fleet
from lib.procs import Proc
from lib.wait import wait_for
from witness import cpu_seconds

pb = wire.pb
MARK = "look/mark"


class Devices:
    """helio-fleet publish."""

    def __init__(self, fleet, count, content, *more):
        b, self.log = fleet.bundle("server.1"), fleet.folder / "helio-fleet.log"
        argv = [PROGRAMS["helio-fleet"], "publish", "--count", count, "--port", fleet.port["control"], "--root-file", b / "root.bin", "--root-key",
                b / "root.pub", "--rate", 2000, "--content", content, *more]
        with open(self.log, "w") as f:
            self.proc = subprocess.Popen([str(a) for a in argv], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=f)
        self._line()

    def _line(self):
        found = self.proc.stdout.readline()
        if not found:
            raise RuntimeError(self.log.read_text()[-2000:])
        return json.loads(found)

    def measure(self):
        self.proc.stdin.write("1 1\n")
        self.proc.stdin.flush()
        return self._line()

    def down(self):
        self.proc.kill()
        self.proc.wait()


class World:
    """heliod with clients, and the echo server with as many; both use the one data broker."""

    def __init__(self, folder, count, agents):
        ids = [f"f{i}" for i in range(count)] if agents else []
        self.count, self.seen, self.topics, self.version, self.parts, self.stores = count, set(), folder / "topics", 0, [], folder
        folder.mkdir()
        self.topics.write_text("")
        self.fleet = Fleet(folder / "ours", data_brokers=("da",), clients=ids, interval_ms=200 if agents else 60000, log_types="error", tls=False,
                           level="warn", capacity=20_000_000_000, server={"server": {"offers_per_s": 100000}, "data": {"recent_period_s": 0}})
        self.echo = Fleet(folder / "echo", data_brokers=(), clients=(), publishers=(), log_types="error", tls=False, level="warn")
        try:
            self._start(ids)
        except BaseException:
            self.down()
            raise

    def _start(self, ids):
        fleet = self.fleet
        if not ids:
            subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--count", str(self.count), "--enrol-key", fleet.ca / "keys/enrol.key", "--out",
                            fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)
        fleet.brokers()
        fleet.heliod(wait=False)
        wait_for(lambda: fleet.ctl("status", check=False).returncode == 0, 60, "heliod answers")
        fleet.publisher()
        self.stores = pathlib.Path(tempfile.mkdtemp(prefix="helio-last-", dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else fleet.folder))
        for id_ in ids:
            fleet.agent(id_, {"agent": {"state_dir": self.stores / id_}})
        for id_ in ids:
            fleet.wait_client(id_, lambda c: c["reach"] == "online" and c["at_tail"])
        self.devices = None if ids else Devices(fleet, self.count, self.topics)
        self.parts += [] if ids else [self.devices]
        self.echo.broker("control")
        server = Proc("echo", [BUILD / "tests/echo_server", self.echo.port["control"], 300, 1], self.echo.folder).start()
        self.parts.append(server)
        server.wait_text("ready")
        self.raw = Devices(self.echo, self.count, self.topics, "--echo", "--data-port", fleet.port["da"], *(["--dir", self.stores] if ids else []))
        self.parts.append(self.raw)

    def package(self, size):
        """A new one, and its topics in the order in which an agent asks for them."""
        self.version += 1
        # What lies there: also deltas of the version before, which go again.
        self._look([MARK], lambda messages: any(m.topic == MARK for m in messages) and not self.seen.update(m.topic for m in messages))
        home = self.fleet.folder / f"content-{self.version}"
        home.mkdir()
        (home / "image.bin").write_bytes(os.urandom(size))
        package = self.fleet.software_package("bench", str(self.version), home)
        wait_for(lambda: self.fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 60, "it is stored")
        head = [f"helio/v1/idx/pub/{package}/full", f"helio/v1/pkg/pub/{package}"]
        found = {}

        def all_seen(messages):
            found.update((m.topic, len(m.payload)) for m in messages)
            return sum(n for t, n in found.items() if "/chunk/" in t and t not in self.seen) >= size and all(t in found for t in head)
        self._look(head, all_seen)
        fresh = {t: n for t, n in found.items() if "/chunk/" in t and t not in self.seen}
        self.seen |= set(fresh)
        lines = [f"0 {t}" for t in head] + [f"{2 if n > 30000 else 1} {t}" for t, n in fresh.items()]
        self.topics.write_text("\n".join(lines) + "\n")
        self._publisher_rests()
        return package

    def _publisher_rests(self):
        """It makes deltas of the version before meanwhile, on processors that the devices of one side would have to do without."""
        seen = []

        def stands_still():
            seen.append(cpu_seconds(self.fleet.procs["pub"].pid))
            return len(seen) > 5 and seen[-1] == seen[-6]
        wait_for(stands_still, 60, "the publisher rests", every=0.1)

    def _look(self, more, is_enough):
        look = wire.Client(self.fleet.port["da"], client_id="look")
        look.subscribe("helio/v1/chunk/pub/+", *more)
        look.m.publish(MARK, b"", qos=1)    # behind all that is retained
        try:
            wait_for(lambda: is_enough(look.messages), 20, "all of it is seen")
        finally:
            look.close()

    def ours(self, package):
        """{most_ms, ...}"""
        if self.devices:
            self.fleet.ctl("channel", "publish", "default", package)
            return self.devices.measure()
        watch = wire.Client(self.fleet.port["control"], client_id="watch.9").subscribe("helio/v1/hb/+/+", "helio/v1/rsp/+", "helio/v1/want/+/+")
        try:
            self.fleet.ctl("channel", "publish", "default", package)
            beat, first, done = {}, {}, {}

            def all_done():
                while not watch.inbox.empty():
                    m = watch.inbox.get()
                    who = m.topic.rsplit("/", 1)[1]
                    if "/hb/" in m.topic:
                        beat[who, pb.Heartbeat.FromString(m.payload).seq] = m.at
                    elif "/rsp/" in m.topic:
                        r = pb.Response.FromString(m.payload)
                        if package in (p.package.hex() for p in r.body.retrieve.packages):
                            first.setdefault(who, beat[who, r.in_reply_to_seq])
                    elif (w := pb.Want.FromString(m.payload)).HasField("release") and w.release.package.hex() == package:
                        assert w.release.outcome == pb.OP_DONE
                        done.setdefault(who, m.at)
                return len(done) == len(first) == self.count
            wait_for(all_done, 120, "everybody has it")
        finally:
            watch.close()
        took = sorted(max(0.0, done[who] - first[who]) * 1000 for who in done)
        return {"p50_ms": took[len(took) // 2], "most_ms": took[-1]}

    def down(self):
        for part in reversed(self.parts):
            (part.down if isinstance(part, Devices) else part.stop)()
        self.echo.down()
        self.fleet.down()
        shutil.rmtree(self.stores, ignore_errors=True)


def measure(row, folder, part, count, size, pairs):
    world = World(folder, count, part == "agents")
    try:
        ours, raws = [], []
        for turn in range(pairs + 1):    # the first one warms up
            package = world.package(size)
            found, raw = world.ours(package), world.raw.measure()
            if turn:
                ours.append(found)
                raws.append(raw)
    finally:
        world.down()
    most, raw = [o["most_ms"] for o in ours], [r["most_ms"] for r in raws]
    row("publish_to_last", part=part, clients=count, bytes=size, pairs=pairs, p50_ms=statistics.median(o["p50_ms"] for o in ours),
        last_ms=statistics.median(most), spread=f"{min(most):.0f}..{max(most):.0f}", raw_last_ms=statistics.median(raw),
        ratio_to_raw=statistics.median(o / r for o, r in zip(most, raw)), tls=0, qos=1, mqtt=5)


def bench_publish_to_last(row, quick):
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        for part, count, size in (("agents", 8 if quick else 30, 10_000_000), ("devices", 1000, 100_000), *(() if quick else (("devices", 4000, 100_000), ("devices", 10000, 100_000)))):
            measure(row, pathlib.Path(d) / f"{part}-{count}", part, count, size, 1 if quick else 5)
