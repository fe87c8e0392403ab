"""Row fan_out: a crowd fetches one package at the same time, from one, two and three brokers. Like is held against like, in turn:
agents that verify and keep nothing (fan_out_verify) against raw subscribers that only hash the same objects, ratio_to_raw; agents that
install against raw subscribers that write what they hash and sync it, ratio_to_raw_writing. What is written lies in memory, a store
for each client: a crowd has as many disks. It is also the larger part of the work on a machine whose cores are all busy, which is why
agents that install are not held against subscribers that write nothing: their ratio is there as installed_ratio_to_raw."""
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import threading

from lib import wire
from lib.fleet import BUILD, Fleet
from lib.wait import wait_for

SIZE = 10 * 1024 * 1024
PROCESSES = 4          # of many clients each
WINDOW_BYTES = 1 << 20  # what heliod grants of 2 GiB to a crowd of two thousand
curves = []            # (label, [ms of each client])


def crowd_ended(commands, each):
    """One fan_out for each command, of so many clients each, that begin together: when each client had all of it, in ms, ascending."""
    procs = [subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for argv in commands]
    ended = []
    readers = [threading.Thread(target=lambda p=p: ended.extend(float(ms) for ms in re.findall(r"^end \d+ ([0-9.]+)", p.stdout.read(), re.M)))
               for p in procs]
    try:
        for p in procs:
            assert p.stdout.readline() == "ready\n"
        for p in procs:
            p.stdin.write("go\n")
            p.stdin.flush()
        for r in readers:
            r.start()
        for r in readers:
            r.join(300)
        assert len(ended) == each * len(procs), f"{len(ended)} of {each * len(procs)} clients have it"
    finally:
        for p in procs:
            p.kill()
            p.wait()
    return sorted(ended)


class Crowd:
    def __init__(self, folder):
        self.folder = folder
        self.fleet = Fleet(folder, data_brokers=("da", "db", "dc"), clients=("f1",), interval_ms=200, log_types="error", tls=False,
                           level="info", capacity=20_000_000_000)
        self.fleet.up()
        home = folder / "content"
        home.mkdir()
        with open("/dev/urandom", "rb") as random:
            (home / "image.bin").write_bytes(random.read(SIZE))
        self.package = self.fleet.software_package("bench", "1", home)
        wait_for(lambda: self.fleet.ctl("package", "show", self.package)["state"] in ("stored", "linger"), 60, "it lies on a broker")
        self.fleet.ctl("channel", "publish", "default", self.package)
        pages = self.fleet.folder / "f1/packages" / self.package / "pages"
        wait_for(pages.exists, 60, "an agent has it")
        self.topics = folder / "topics"
        self.topics.write_text("".join(f"helio/v1/chunk/pub/{name}\n" for name in self._chunks(pages)))
        self._mirror(self.fleet.ctl("package", "show", self.package)["broker"])
        # The crowd is alone with the brokers.
        for name in ("f1", "pub", "heliod", "broker-control"):
            self.fleet.procs[name].stop()

    @staticmethod
    def _chunks(pages):
        for page in sorted(pages.iterdir()):
            found = wire.pb.ManifestPage()
            found.ParseFromString(page.read_bytes())
            for f in found.files:
                sums = f.chunk_sha256 or f.sha256
                yield from (sums[i:i + 32].hex() for i in range(0, len(sums), 32))

    def _mirror(self, home):
        """The same retained messages at every broker."""
        source = wire.Client(self.fleet.port[home], client_id="mirror")
        objects = len(self.topics.read_text().splitlines()) + 2    # and the pages
        source.subscribe("helio/v1/chunk/#", "helio/v1/idx/#", "helio/v1/pkg/#")
        wait_for(lambda: len(source.messages) >= objects + 2, 30, "all of it is read")
        for name in self.fleet.data_ids:
            if name == home:
                continue
            target = wire.Client(self.fleet.port[name], client_id="mirror")
            for m in source.messages:
                target.m.publish(m.topic, m.payload, qos=1, retain=True).wait_for_publish(30)
            target.close()
        source.close()

    def run(self, kind, count, brokers, rate=0):
        """When each client had all of it, in ms since all began. kind: raw, writing, verifying or agents. rate: what each agent is
        granted, bytes/s; 0: no limit."""
        ports = ",".join(str(self.fleet.port[b]) for b in self.fleet.data_ids[:brokers])
        dir_ = pathlib.Path(tempfile.mkdtemp(prefix="helio-fan-", dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else self.folder))
        b = self.fleet.bundle("pub")
        key = wire.raw_public(wire.read_key(b / "identity.key")).hex()
        is_agent = kind in ("agents", "verifying")
        more = ["--topics", self.topics, *(["--dir", dir_] if kind == "writing" else [])] if not is_agent else [
            "--root-file", b / "root.bin", "--root-key", b / "root.pub", "--package", self.package, "--publisher", "pub",
            "--publisher-key", key, "--dir", dir_, "--window-bytes", WINDOW_BYTES, "--rate", int(rate)]
        each = count // PROCESSES
        program = BUILD / ("tests/fan_out_verify" if kind == "verifying" else "tests/fan_out")
        try:
            return crowd_ended([[program, "agents" if is_agent else "raw", each, n * each, ports, *more] for n in range(PROCESSES)], each)
        finally:
            shutil.rmtree(dir_, ignore_errors=True)

    def down(self):
        self.fleet.down()


def bench_fan_out(row, quick):
    pairs = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        crowd = Crowd(pathlib.Path(d) / "fleet")
        try:
            for clients in (100, 1000):
                for brokers in (1, 2, 3):
                    if quick and clients == 1000 and brokers > 1:
                        continue
                    ours, raws, writing, verifying = [], [], [], []
                    for _ in range(pairs):
                        raws.append(crowd.run("raw", clients, brokers))
                        verifying.append(crowd.run("verifying", clients, brokers))
                        writing.append(crowd.run("writing", clients, brokers))
                        ours.append(crowd.run("agents", clients, brokers))
                    # Each is granted its share of 85 % of what all of them got, a budget that can be kept: then they end together. They
                    # keep nothing: how fast this machine's memory takes 10 GB is nobody's rate.
                    rate = 850 * SIZE / statistics.median(v[-1] for v in verifying)
                    rated = [crowd.run("verifying", clients, brokers, rate) for _ in range(pairs)]
                    curves.append((f"{clients} agents, {brokers} broker{'s' * (brokers > 1)}", ours[-1]))
                    curves.append((f"{clients} raw, {brokers} broker{'s' * (brokers > 1)}", raws[-1]))
                    last = [o[-1] for o in ours]
                    row("fan_out", clients=clients, brokers=brokers, bytes=SIZE, pairs=pairs, first_ms=statistics.median(o[0] for o in ours),
                        median_ms=statistics.median(o[len(o) // 2] for o in ours), last_ms=statistics.median(last),
                        spread=f"{min(last):.0f}..{max(last):.0f}", raw_last_ms=statistics.median(r[-1] for r in raws),
                        first_to_last=statistics.median((o[-1] - o[0]) / o[-1] for o in ours),
                        raw_first_to_last=statistics.median((r[-1] - r[0]) / r[-1] for r in raws),
                        rated_last_ms=statistics.median(r[-1] for r in rated),
                        rated_first_to_last=statistics.median((r[-1] - r[0]) / r[-1] for r in rated),
                        mb_per_s=clients * SIZE / 1e3 / statistics.median(last),
                        verified_last_ms=statistics.median(v[-1] for v in verifying), raw_writing_last_ms=statistics.median(w[-1] for w in writing),
                        ratio_to_raw=statistics.median(r[-1] / v[-1] for r, v in zip(raws, verifying)),
                        ratio_spread="{:.2f}..{:.2f}".format(*(f(r[-1] / v[-1] for r, v in zip(raws, verifying)) for f in (min, max))),
                        installed_ratio_to_raw=statistics.median(r[-1] / o[-1] for r, o in zip(raws, ours)),
                        ratio_to_raw_writing=statistics.median(w[-1] / o[-1] for w, o in zip(writing, ours)), window_bytes=WINDOW_BYTES, qos=1, mqtt=5)
        finally:
            crowd.down()


def write_curves(out):
    """How many have it, over time: one line for each number of brokers, dashed for raw subscribers."""
    if not curves:
        return
    width, height, colours = 960, 300, {1: "#c0392b", 2: "#2471a3", 3: "#1e8449"}
    crowds = sorted({len(ms) for _, ms in curves})
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{len(crowds) * height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for place, size in enumerate(crowds):
        some = [(label, ms) for label, ms in curves if len(ms) == size]
        longest, top = max(ms[-1] for _, ms in some), place * height + 20
        svg.append(f'<text x="60" y="{top}">share of {size} clients that have the package, over milliseconds</text>'
                   f'<path d="M60 {top + 10}V{top + 240}H700" stroke="#444" fill="none"/>'
                   f'<text x="8" y="{top + 20}">100 %</text><text x="660" y="{top + 256}">{longest:.0f} ms</text>')
        for n, (label, ms) in enumerate(some):
            brokers = int(re.search(r"(\d) broker", label)[1])
            line = "".join(f"L{60 + 640 * at / longest:.1f} {top + 240 - 230 * (i + 1) / len(ms):.1f}" for i, at in enumerate(ms))
            dash = ' stroke-dasharray="5 3"' if "raw" in label else ""
            svg.append(f'<path d="M60 {top + 240}{line}" stroke="{colours[brokers]}" fill="none"{dash}/>'
                       f'<text x="720" y="{top + 20 + 18 * n}" fill="{colours[brokers]}">{label}: {ms[-1]:.0f} ms</text>')
    (out / "fan_out_curves.svg").write_text("\n".join([*svg, "</svg>"]))
