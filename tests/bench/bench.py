"""The rows of the benchmark. Candidate and reference run in turn, several pairs; medians and spread are
printed, never asserted. Absolute figures of one machine mean little: read the ratios."""
import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/flow"))

from lib import wire  # noqa: E402
from lib.fleet import BUILD, PROGRAMS, Fleet  # noqa: E402
from lib.procs import Proc, free_ports, port_answers  # noqa: E402
from lib.wait import wait_for  # noqa: E402

OUT = ROOT / "build/bench"
MB = 1000 * 1000
rows = []


def row(name, **values):
    """One line: bench ROW key=value ..."""
    text = " ".join(f"{k}={round(v, 3) if isinstance(v, float) else v}" for k, v in values.items())
    print(f"bench {name} {text}", flush=True)
    rows.append((name, values))


def spread(values):
    return f"{min(values):.3g}..{max(values):.3g}"


def random_file(path, size):
    with open(path, "wb") as f:
        left = size
        while left:
            n = min(left, 8 << 20)
            f.write(os.urandom(n))
            left -= n


class Memory:
    """Peak RSS of a process from the kernel, and the peak of its anonymous part sampled every 10 ms."""

    def __init__(self, pid):
        self.pid, self.anonymous, self.ended = pid, 0, False
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _field(self, name):
        found = re.search(rf"{name}:\s+(\d+) kB", pathlib.Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0

    def _watch(self):
        while not self.ended:
            try:
                self.anonymous = max(self.anonymous, self._field("RssAnon"))
            except OSError:
                return
            time.sleep(0.01)

    def end(self):
        peak = self._field("VmHWM")
        self.ended = True
        self.thread.join()
        return peak, self.anonymous


class Bench:
    """A fleet with one data broker, no logs in the way, and packages of random content."""

    def __init__(self, folder, tls):
        self.folder = folder
        self.fleet = Fleet(folder, data_brokers=("da",), clients=("f1",), interval_ms=200, log_types="error",
                           tls=tls, level="info", capacity=20_000_000_000)
        self.fleet.up()
        self.version = 0

    def publish(self, size):
        self.version += 1
        home = self.folder / f"content-{self.version}"
        home.mkdir()
        random_file(home / "image.bin", size)
        package = self.fleet.software_package("bench", str(self.version), home)
        wait_for(lambda: self.fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 600,
                 "it lies on the broker")
        return package, home

    def fetch(self, package):
        """Seconds from the agent's first byte asked to the package installed, by its own log stamps."""
        mark = len(self.fleet.procs["f1"].text())
        self.fleet.ctl("channel", "publish", "default", package)
        wait_for(lambda: "FETCH-DONE" in self.fleet.procs["f1"].text()[mark:], 900, "the agent has it", every=0.05)
        line = [w for w in self.fleet.procs["f1"].text()[mark:].splitlines() if "FETCH-DONE" in w][-1]
        return float(re.search(r"seconds=([0-9.]+)", line)[1]), int(re.search(r"received_bytes=(\d+)", line)[1])

    def forget(self, package):
        """Makes the agent fetch everything again next time."""
        self.fleet.procs["f1"].stop()
        shutil.rmtree(self.fleet.folder / "f1", ignore_errors=True)

    def topics(self, package, path):
        """The chunk topics of a package, as the agent's own manifest pages list them (RAW objects)."""
        from lib import wire
        names = []
        for page in sorted((self.fleet.folder / "f1" / "packages" / package / "pages").iterdir()):
            found = wire.pb.ManifestPage()
            found.ParseFromString(page.read_bytes())
            for f in found.files:
                sums = f.chunk_sha256 or f.sha256
                names += [sums[i:i + 32].hex() for i in range(0, len(sums), 32)]
        path.write_text("".join(f"helio/v1/chunk/pub/{n}\n" for n in names))
        return path

    def raw(self, topics):
        b = self.fleet.bundle("watch.1")
        argv = [BUILD / "tests/raw_fetch", "localhost" if self.fleet.tls else "127.0.0.1", self.fleet.port["da"], topics,
                "--sha256"]
        if self.fleet.tls:
            argv += ["--tls", b / "ca.crt", b / "tls.crt", b / "tls.key"]
        out = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, check=True, text=True).stdout
        return float(re.search(r"seconds[= ]([0-9.]+)", out)[1])

    def down(self):
        self.fleet.down()


def nginx(folder, document, bundle):
    """What a user would pick instead: a web server, curl, fsync, sha256sum."""
    plain, tls = free_ports(2)
    conf = folder / "nginx.conf"
    conf.write_text(f"""{'user root;' if os.getuid() == 0 else ''} daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{ access_log off; sendfile on; client_body_temp_path {folder}/nb; proxy_temp_path {folder}/np;
 fastcgi_temp_path {folder}/nf; uwsgi_temp_path {folder}/nu; scgi_temp_path {folder}/ns;
 server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; ssl_certificate {bundle}/tls.crt;
  ssl_certificate_key {bundle}/tls.key; ssl_protocols TLSv1.3; root {document.parent}; }} }}
""")
    proc = Proc("nginx", ["nginx", "-c", conf], folder).start()
    wait_for(lambda: port_answers(plain), 10, "nginx listens")
    return proc, plain, tls


def curl_once(folder, url, ca):
    target = folder / "curled"
    target.unlink(missing_ok=True)
    begin = time.monotonic()
    subprocess.run(["curl", "-s", "-f", "--cacert", str(ca), "-o", str(target), url], check=True)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    subprocess.run(["sha256sum", str(target)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def bench_fetch_1g(quick):
    size = 256 * MB if quick else 1000 * MB
    pairs = 3 if quick else 5
    for tls in (False, True):
        with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
            folder = pathlib.Path(d)
            bench = Bench(folder / "fleet", tls)
            try:
                package, home = bench.publish(size)
                bench.fetch(package)    # warm
                topics = bench.topics(package, folder / "topics")
                server, plain, secure = nginx(folder, home / "image.bin", bench.fleet.bundle("da"))
                url = f"https://localhost:{secure}/image.bin" if tls else f"http://127.0.0.1:{plain}/image.bin"
                ours, raws, curls = [], [], []
                for _ in range(pairs):
                    bench.forget(package)
                    bench.fleet.agent("f1")
                    mark_wait(bench, package)
                    ours.append(last_seconds(bench))
                    raws.append(bench.raw(topics))
                    curls.append(curl_once(folder, url, bench.fleet.bundle("da") / "ca.crt"))
                server.stop()
                mbs = [size / MB / s for s in ours]
                row("fetch_1g", tls=int(tls), bytes=size, pairs=pairs, mb_per_s=statistics.median(mbs), spread=spread(mbs),
                    raw_sha_mb_per_s=size / MB / statistics.median(raws),
                    curl_fsync_sha_mb_per_s=size / MB / statistics.median(curls),
                    ratio_to_raw_sha=statistics.median(r / o for r, o in zip(raws, ours)),
                    ratio_to_curl=statistics.median(c / o for c, o in zip(curls, ours)),
                    qos=1, nodelay=1, mqtt=5)
            finally:
                bench.down()


def mark_wait(bench, package):
    wait_for(lambda: (bench.fleet.folder / "f1" / "packages" / package).exists() and
             "FETCH-DONE" in bench.fleet.procs["f1"].text().splitlines()[-1] + bench.fleet.procs["f1"].text()[-4000:], 900,
             "fetched again", every=0.05)


def last_seconds(bench):
    line = bench.fleet.procs["f1"].lines("FETCH-DONE")[-1]
    return float(re.search(r"seconds=([0-9.]+)", line)[1])


def bench_agent_memory(quick):
    for tls in (False, True):
        base = None
        for size in (1 * MB, 256 * MB if quick else 1000 * MB):
            with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
                bench = Bench(pathlib.Path(d) / "fleet", tls)
                try:
                    package, _ = bench.publish(size)
                    memory = Memory(bench.fleet.procs["f1"].pid)
                    bench.fetch(package)
                    peak, anonymous = memory.end()
                    base = base or peak
                    row("agent_memory", tls=int(tls), bytes=size, peak_rss_mb=peak / MB, peak_anonymous_mb=anonymous / MB,
                        ratio_to_1mb=peak / base)
                finally:
                    bench.down()


def bench_update_bytes(quick):
    """Version 1 to 2 of a picture package with 10 % new pictures."""
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        folder = pathlib.Path(d)
        subprocess.run([PROGRAMS["helio-pictures"], folder / "pictures", "44"], check=True,
                       stdout=subprocess.DEVNULL)
        pictures = sorted((folder / "pictures").iterdir())
        bench = Bench(folder / "fleet", True)
        try:
            added = [i["image"] for p in pictures for i in bench.fleet.ctl("image", "add", p)["images"]]

            def build(version, ids):
                built = bench.fleet.ctl("package", "build", "--name", "art", "--version", version,
                                        *[w for i in ids for w in ("--image", i)])
                bench.fleet.ctl("package", "publish", built["package"])
                return built
            bench.fetch(build("1", added[:40])["package"])
            second = build("2", added[40:44] + added[4:40])
            _, received = bench.fetch(second["package"])
            new = sum((bench.fleet.folder / "pub/images" / i[:2] / i).stat().st_size for i in added[40:44])
            row("update_bytes", pictures=40, new=4, received=received, new_bytes=new, whole=second["size_bytes"],
                ratio_to_new=received / new, ratio_to_whole=received / second["size_bytes"],
                over_budget=max(0, received - int(1.02 * new) - 8000))
        finally:
            bench.down()


class Generator:
    """helio-fleet against heliod, or against the echo server, through a Mosquitto of its own."""

    def __init__(self, folder, clients, echo):
        self.folder, self.clients, self.echo = folder, clients, echo
        self.fleet = Fleet(folder, data_brokers=("da",), clients=(), publishers=("pub",), interval_ms=60000,
                           log_types="error", tls=False, level="warn")
        if echo:
            self.fleet.broker("control")
            self.server = Proc("echo", [BUILD / "tests/echo_server", self.fleet.port["control"]], folder).start()
            self.server.wait_text("ready")
        else:
            subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--count", str(clients), "--enrol-key",
                            self.fleet.ca / "keys/enrol.key", "--out", self.fleet.ca / "enrolments"], check=True,
                           stdout=subprocess.DEVNULL)
            self.fleet.server_extra = {"server": {"offers_per_s": 100000}}
            self.fleet.brokers()
            self.server = self.fleet.heliod(wait=False)
            wait_for(lambda: self.fleet.ctl("status", check=False).returncode == 0, 60, "heliod answers")

        self.devices = self._devices()

    def _devices(self):
        """Connected, signed in, warmed up; they stay for every measurement."""
        b = self.fleet.bundle("server.1")
        argv = [PROGRAMS["helio-fleet"], "beats", "--steps", "--count", self.clients, "--port",
                self.fleet.port["control"], "--root-file", b / "root.bin", "--root-key", b / "root.pub",
                "--rate", 2000, "--server-pid", self.server.pid, "--broker-pid", self.fleet.procs["broker-control"].pid]
        with open(self.folder / "helio-fleet.log", "w") as log:
            devices = subprocess.Popen([str(a) for a in argv + (["--echo"] if self.echo else [])], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        if "ready" not in devices.stdout.readline():
            raise RuntimeError((self.folder / "helio-fleet.log").read_text())
        return devices

    def run(self, rate, seconds):
        self.devices.stdin.write(f"{rate} {seconds}\n")
        self.devices.stdin.flush()
        return json.loads(self.devices.stdout.readline())

    def keeps_up(self, rate, seconds):
        """Every beat answered, and no queue that grows. A stall of the machine may spoil one try, not two."""
        for _ in range(2):
            found = self.run(rate, seconds)
            if not found["overrun"] and found["answered"] >= 0.999 * found["sent"] and found["late_p50_us"] < 100000 and \
                    found["sent"] >= 0.97 * rate * seconds:
                return True
            time.sleep(0.5)    # what queued drains before the next measurement
        return False

    def down(self):
        self.devices.stdin.close()
        self.devices.wait(30)
        if self.echo:
            self.server.stop()
        self.fleet.down()


def highest_rates(generators, seconds):
    """The highest rate without queueing of each, searched in turn so that both see the same machine."""
    low = dict.fromkeys(generators, 4000)
    high = dict.fromkeys(generators)
    while any(high[n] is None or high[n] / low[n] > 1.06 for n in generators):
        for name, g in generators.items():
            if high[name] and high[name] / low[name] <= 1.06:
                continue
            rate = int(low[name] * 1.5 if high[name] is None else (low[name] * high[name]) ** 0.5)
            if g.keeps_up(rate, seconds):
                low[name] = rate
            else:
                high[name] = rate
    return low


def core_lines(what, *argv):
    """bench_core prints a line of key=value for each measurement."""
    out = subprocess.run([BUILD / "tests/bench_core", what, *map(str, argv)], stdout=subprocess.PIPE, check=True,
                         text=True).stdout
    return [{k: float(v) for k, v in (w.split("=") for w in line.split())} for line in out.splitlines()]


def core_median(lines, key):
    return statistics.median(line[key] for line in lines)


def core_instructions(folder, clients, beats):
    """callgrind's count for one heartbeat."""
    argv = ["instructions", "--clients", str(clients), "--beats", str(beats), "--dir", f"{folder}/{clients}"]
    found = subprocess.run(["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out",
                            BUILD / "tests/bench_core", *argv], stderr=subprocess.PIPE, check=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", found)[1]) / beats


def bench_heartbeats_core(quick):
    """Parts a and a2: a million known clients in random order, the store on."""
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        store = ("--clients", 1000000, "--dir", f"{d}/store")
        lines = core_lines("heartbeats", *store, "--pairs", 5, "--beats", 100000 if quick else 400000)
        row("heartbeats", part="a", clients=1000000, pairs=len(lines), per_s=core_median(lines, "per_s"),
            spread=spread([line["per_s"] for line in lines]), loop_per_s=core_median(lines, "peer_per_s"),
            ratio_to_loop=statistics.median(line["per_s"] / line["peer_per_s"] for line in lines),
            heartbeat_bytes=int(lines[0]["bytes"]), rows=int(core_median(lines, "rows")))
        lines = core_lines("through_paho", *store, "--pairs", 3 if quick else 5, "--beats", 100000 if quick else 400000)
        row("heartbeats", part="a2", clients=1000000, pairs=len(lines), per_s=core_median(lines, "per_s"),
            spread=spread([line["per_s"] for line in lines]), counting_per_s=core_median(lines, "counted_per_s"),
            ratio_to_counting=statistics.median(line["per_s"] / line["counted_per_s"] for line in lines), answers="sink",
            qos=0, tls=0, mqtt=5)
        bench_state_bytes(quick, store)
        bench_start_of_core(store)


def bench_state_bytes(quick, store=("--clients", 1000000)):
    line = core_lines("state_bytes", *store)[0]
    row("state_bytes", clients=int(line["clients"]), bytes_per_client=line["bytes_per_client"],
        after_start=line["loaded_bytes_per_client"])


def bench_start_of_core(store):
    lines = core_lines("restart", *store, "--pairs", 5)
    row("restart", part="core", clients=int(lines[0]["clients"]), pairs=len(lines),
        first_answer_ms=core_median(lines, "first_answer_ms"), spread=spread([line["first_answer_ms"] for line in lines]),
        all_loaded_ms=core_median(lines, "rest_ms"))


def bench_growth(quick):
    beats = 10000 if quick else 50000
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        lines, counts = [], {}
        for clients in (1000, 10000, 100000, 1000000):
            lines += core_lines("growth", "--clients", clients, "--beats", 100000 if quick else 400000, "--dir",
                                f"{d}/{clients}")
            counts[clients] = core_instructions(d, clients, beats)
    for line in lines:
        n = int(line["clients"])
        row("growth", clients=n, instructions=counts[n], ratio_to_1k=counts[n] / counts[1000], cpu_ns=line["cpu_ns"],
            ratio_to_1k_ns=line["cpu_ns"] / lines[0]["cpu_ns"], walk_ns_per_client=line["walk_ns_per_client"],
            broadcast_us=line["broadcast_us"], broadcast_elements=int(line["elements"]))


def bench_queue(quick):
    lines = core_lines("queue")
    for line in lines[1:]:    # the first one warms up
        row("queue", clients=int(line["clients"]), elements_per_broadcast=line["elements_per_broadcast"],
            append_ns=line["append_ns"], take_ns=line["take_ns"], consolidate_ns=line["consolidate_ns"],
            ratio_to_1k_append=line["append_ns"] / lines[1]["append_ns"],
            ratio_to_1k_take=line["take_ns"] / lines[1]["take_ns"])


def bench_latency(quick):
    """Open loop: a heartbeat's time counts from the moment it should have been sent."""
    seconds, pairs = (2, 3) if quick else (5, 5)
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        generators = {}
        try:
            for name in ("heliod", "echo"):
                generators[name] = Generator(pathlib.Path(d) / name, 1000, name == "echo")
            for rate in (10000, 30000):
                found = {name: [] for name in generators}
                for _ in range(pairs):
                    for name, g in generators.items():
                        found[name].append(g.run(rate, seconds))
                ratio = {q: statistics.median(h[q] / max(1, e[q]) for h, e in zip(found["heliod"], found["echo"]))
                         for q in ("p50_us", "p99_us")}
                row("latency", rate=rate, pairs=pairs, p50_us=statistics.median(f["p50_us"] for f in found["heliod"]),
                    p99_us=statistics.median(f["p99_us"] for f in found["heliod"]),
                    echo_p50_us=statistics.median(f["p50_us"] for f in found["echo"]),
                    echo_p99_us=statistics.median(f["p99_us"] for f in found["echo"]),
                    ratio_to_echo_p50=ratio["p50_us"], ratio_to_echo_p99=ratio["p99_us"],
                    overrun=sum(f["overrun"] for f in found["heliod"]), qos=0, tls=0, nodelay=1, mqtt=5)
        finally:
            for g in generators.values():
                g.down()


def restart_once(fleet, answers):
    """Milliseconds from the start of heliod to an answer on the wire; what was acknowledged is still there."""
    said = fleet.ctl("channel", "rate", "default", random.randrange(1000000, 2000000))
    fleet.procs["heliod"].kill()
    time.sleep(0.3)
    while not answers.empty():
        answers.get()
    begin = time.monotonic()
    fleet.heliod(wait=False)
    answers.get(timeout=60)
    ms = (time.monotonic() - begin) * 1000
    kept = fleet.ctl("queue", "default")
    if str(said["flow"]) not in json.dumps(kept):
        raise RuntimeError(f"acknowledged and lost: {said}")
    return ms


def bench_restart(quick):
    """kill -9 of heliod with a fleet in its store; from its start to the first answer on the wire, by a device that
    goes on beating. The other devices are rows that nobody has loaded when it is answered."""
    clients = 200000 if quick else 1000000
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        fleet = Fleet(pathlib.Path(d) / "fleet", data_brokers=("da",), clients=("f1",), interval_ms=200,
                      log_types="error", tls=False, level="info")
        try:
            fleet.up()
            fleet.procs["heliod"].stop()
            store = fleet.folder / "heliod/heliod.db"
            with contextlib.closing(sqlite3.connect(store)) as db:
                epoch, pointer = db.execute("SELECT epoch, tail_seq FROM queue WHERE name = 'default'").fetchone()
            subprocess.run([BUILD / "tests/bench_core", "fill", store, str(epoch), str(pointer), "0", str(clients)],
                           check=True)
            fleet.heliod()
            watch = wire.Client(fleet.port["control"], client_id="watch.1")
            watch.subscribe("helio/v1/rsp/f1")
            taken = [restart_once(fleet, watch.inbox) for _ in range(3 if quick else 5)]
            row("restart", part="heliod", clients=clients, pairs=len(taken), first_answer_ms=statistics.median(taken),
                spread=spread(taken), acknowledged_lost=0)
        finally:
            fleet.down()


def bench_heartbeats(quick):
    bench_heartbeats_core(quick)
    bench_heartbeats_broker(quick)


def bench_heartbeats_broker(quick):
    clients, seconds, pairs = 1000, 1.5 if quick else 4, 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        generators = {}
        try:
            for name in ("heliod", "echo"):
                generators[name] = Generator(pathlib.Path(d) / name, clients, name == "echo")
            highest = [highest_rates(generators, seconds) for _ in range(pairs)]
            best = {name: statistics.median(h[name] for h in highest) for name in generators}
            half = best["heliod"] // 2
            at_half = {name: [] for name in generators}
            for _ in range(3 if quick else 5):
                for name, g in generators.items():
                    at_half[name].append(g.run(half, seconds))
            found = {name: {k: statistics.median(f[k] for f in v) for k in v[0]} for name, v in at_half.items()}
            row("heartbeats", part="b", clients=clients, highest_per_s=best["heliod"], echo_per_s=best["echo"],
                ratio_to_echo=statistics.median(h["heliod"] / h["echo"] for h in highest), half_rate=half,
                p50_us=found["heliod"]["p50_us"], p99_us=found["heliod"]["p99_us"], echo_p50_us=found["echo"]["p50_us"],
                echo_p99_us=found["echo"]["p99_us"], cpu_us=found["heliod"]["server_cpu_us"],
                echo_cpu_us=found["echo"]["server_cpu_us"], broker_cpu_us=found["heliod"]["broker_cpu_us"],
                generator_cpu_us=found["heliod"]["generator_cpu_us"],
                echo_generator_cpu_us=found["echo"]["generator_cpu_us"], qos=0, tls=0, nodelay=1, mqtt=5)
        finally:
            for g in generators.values():
                g.down()


BENCHES = {"fetch_1g": bench_fetch_1g, "agent_memory": bench_agent_memory, "update_bytes": bench_update_bytes,
           "heartbeats": bench_heartbeats, "latency": bench_latency, "state_bytes": bench_state_bytes,
           "restart": bench_restart, "growth": bench_growth, "queue": bench_queue}


def write_table():
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "table.md", "w") as f:
        for name, values in rows:
            f.write(f"## {name}\n\n| " + " | ".join(values) + " |\n|" + "---|" * len(values) + "\n| " +
                    " | ".join(str(round(v, 3) if isinstance(v, float) else v) for v in values.values()) + " |\n\n")
    write_svg()


def write_svg():
    """Bars of every ratio; the line is 1.0, the peer."""
    bars = [(f"{name} {k[9:]}" + (" tls" if values.get("tls") else ""), v) for name, values in rows for k, v in values.items()
            if k.startswith("ratio_to_")]
    height = 24 * len(bars) + 40
    top = max([2.0] + [v for _, v in bars])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for i, (name, value) in enumerate(bars):
        y, w = 20 + 24 * i, 440 * value / top
        out.append(f'<text x="8" y="{y + 14}">{name}</text><rect x="220" y="{y}" width="{w:.0f}" height="18" fill="#d99a2b"/>'
                   f'<text x="{226 + w:.0f}" y="{y + 14}">{value:.2f}</text>')
    x = 220 + 440 / top
    out.append(f'<line x1="{x:.0f}" y1="10" x2="{x:.0f}" y2="{height - 10}" stroke="#444" stroke-dasharray="4 3"/></svg>')
    (OUT / "ratios.svg").write_text("\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(BENCHES))
    options = parser.parse_args()
    unknown = [r for r in options.rows if r not in BENCHES]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}; there are {' '.join(BENCHES)}")
    for name in options.rows or BENCHES:
        BENCHES[name](options.quick)
    write_table()
    print(f"table and graph in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
