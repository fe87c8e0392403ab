"""The rows of the benchmark. Candidate and reference run in turn, several pairs; medians and spread are
printed, never asserted. Absolute figures of one machine mean little: read the ratios."""
import argparse
import contextlib
import itertools
import os
import pathlib
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/flow"), str(ROOT / "tests/bench")]

from lib import wire  # noqa: E402
from lib.fleet import BUILD, PROGRAMS, Fleet  # noqa: E402
from lib.procs import Proc, free_ports, port_answers  # noqa: E402
from lib.stage import COLOURS, Peak, Stage, huge_jpeg, huge_png, png_bytes  # noqa: E402
from lib.wait import wait_for  # noqa: E402
from agent_memory import bench_agent_memory  # noqa: E402
from fan import bench_fan_out, write_curves  # noqa: E402
from load import Generator, highest_rates  # noqa: E402
from older import bench_update_older  # noqa: E402
from pictures import bench_ingest, bench_packaging  # noqa: E402
from publish_last import bench_publish_to_last  # noqa: E402
from publishing import bench_publish_speed  # noqa: E402
from rates import bench_rates  # noqa: E402
from reconnect import bench_reconnect  # noqa: E402
from scale_out import bench_scale_out  # noqa: E402
from shelf import bench_shelf  # noqa: E402
from witness import SocketCount, cpu_seconds, rss  # noqa: E402
import data_sets  # noqa: E402

OUT = ROOT / "build/bench"
MB = 1000 * 1000
rows = []
kept = []    # what several rows use


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

    def __init__(self, folder, tls, up=True):
        self.folder = folder
        self.fleet = Fleet(folder, data_brokers=("da",), clients=("f1",), interval_ms=200, log_types="error",
                           tls=tls, level="info", capacity=20_000_000_000)
        self.version = 0
        if up:
            self.fleet.up()

    def witness(self, count):
        """Everything that anybody gets from the data broker, and the agent from the control broker, goes through it."""
        home = self.fleet.heliod_config    # the address of the data broker is what heliod tells everybody
        data = count.proxy(self.fleet.port["da"])

        def config(*of):
            real, self.fleet.port["da"] = self.fleet.port["da"], data
            try:
                return home(*of)
            finally:
                self.fleet.port["da"] = real
        self.fleet.heliod_config = config
        self.fleet.agent_extra = {"control": {"port": count.proxy(self.fleet.port["control"])}}

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


def bench_broker_memory(quick):
    """Ten versions in a row, each with a thirtieth of new bytes, fetched by a device: what the data broker holds. Twice: where
    each goes when nobody wants it any more, and where all ten stay (`kept`)."""
    size, part = (10 if quick else 40) * MB, 100_000
    for kept in (False, True):
        with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
            bench = Bench(pathlib.Path(d) / "fleet", True, up=False)
            bench.fleet.server_extra = {"data": {"linger_s": 300 if kept else 1}}
            try:
                bench.fleet.up()
                broker, file = bench.fleet.procs["broker-da"].pid, pathlib.Path(d) / "content" / "image.bin"
                file.parent.mkdir()
                random_file(file, size)
                empty, held = rss(broker), []
                for version in range(10):
                    with open(file, "r+b") as f:
                        for at in range(version * 1000, size - part, 30 * part) if version else ():
                            f.seek(at)
                            f.write(os.urandom(part))
                    package = stored(bench, bench.fleet.software_package("app", str(version), file.parent))
                    bench.fetch(package)
                    held.append(rss(broker) - empty)
                    if not kept:
                        wait_for(lambda: bench.fleet.ctl("package", "show", package)["state"] not in ("stored", "linger"), 60, "it goes")
                row("broker_memory", kept=int(kept), bytes=size, versions=10, empty_mb=empty / MB, one_mb=held[0] / MB,
                    most_mb=max(held) / MB, ratio_to_bytes=held[0] / size, ratio_to_one=max(held) / held[0],
                    **({} if kept else {"after_mb": (rss(broker) - empty) / MB}))
            finally:
                bench.down()


def stored(bench, package):
    wait_for(lambda: bench.fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 600, "it lies on the broker")
    return package


def bench_update_sets(quick):
    """Releases of real software, from each to the next, at the agent's socket, against the peers; and first installs in the small
    profile. `geometric_mean` is over all sets, `over_budget` what is above 1.15 x patch-from + 6 kB."""
    ratios = []
    for name, package, old, new, tuned in data_sets.chosen(quick):
        tars = [data_sets.tar_of(package, v) for v in (old, new)]
        with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
            folder = pathlib.Path(d)
            peers = data_sets.peers(folder, *tars)
            bench, count = Bench(folder / "fleet", True, up=False), SocketCount()
            try:
                bench.witness(count)
                bench.fleet.up()
                count.of(bench.fleet.procs["f1"].pid)
                bench.fetch(stored(bench, bench.fleet.software_package("set", "1", tars[0])))
                second = stored(bench, bench.fleet.software_package("set", "2", tars[1]))
                bench.fleet.procs["heliod"].wait_text("stored=1", 1200)
                made = bench.fleet.procs["pub"].lines("DELTA-MADE")[-1]
                before = count.snapshot()
                _, told = bench.fetch(second)
                received, handshake = count.since(before)
                ratios.append(received / peers["casync"])
                row("update_sets", part=name, tuned=int(tuned), received=received, handshake=handshake, told_by_agent=told,
                    **peers, delta_ms=int(re.search(r" ms=(\d+)", made)[1]), ratio_to_casync=received / peers["casync"],
                    ratio_to_patch_from=received / peers["patch_from"], ratio_to_full=received / peers["full_zstd_19"],
                    over_budget=max(0, received - int(1.15 * peers["patch_from"]) - 6000))
                cold = stored(bench, bench.fleet.software_package("cold", "1", tars[1], "--profile", "small", timeout=900))
                bench.forget(second)
                bench.fleet.ctl("channel", "create", "cold")
                bench.fleet.ctl("channel", "publish", "cold", cold)
                bench.fleet.ctl("client", "channel", "f1", "cold")    # where nothing else is shown
                bench.fleet.agent("f1")
                count.of(bench.fleet.procs["f1"].pid)
                before = count.snapshot()
                wait_for(lambda: (bench.fleet.folder / "f1" / "packages" / cold).exists(), 600, "the first install")
                received, _ = count.since(before)
                row("cold_bytes", part=name, tuned=int(tuned), received=received, ratio_to_full=received / peers["full_zstd_19"])
            finally:
                bench.down()
                count.stop()
    row("update_sets", part="all", sets=len(ratios), ratio_to_casync=statistics.geometric_mean(ratios))


def bench_update_bytes(quick):
    """Version 1 to 2 of a picture package with 10 % new pictures."""
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        folder = pathlib.Path(d)
        subprocess.run([PROGRAMS["helio-pictures"], folder / "pictures", "44"], check=True,
                       stdout=subprocess.DEVNULL)
        pictures = sorted((folder / "pictures").iterdir())
        bench = Bench(folder / "fleet", True, up=False)
        count = SocketCount()
        try:
            bench.witness(count)
            bench.fleet.up()
            count.of(bench.fleet.procs["f1"].pid)
            added = [i["image"] for p in pictures for i in bench.fleet.ctl("image", "add", p)["images"]]

            def build(version, ids):
                built = bench.fleet.ctl("package", "build", "--name", "art", "--version", version,
                                        *[w for i in ids for w in ("--image", i)])
                bench.fleet.ctl("package", "publish", built["package"])
                return built
            bench.fetch(build("1", added[:40])["package"])
            second = build("2", added[40:44] + added[4:40])
            before = count.snapshot()
            _, told = bench.fetch(second["package"])
            received, handshake = count.since(before)
            new = sum((bench.fleet.folder / "pub/images" / i[:2] / i).stat().st_size for i in added[40:44])
            row("update_bytes", pictures=40, new=4, received=received, handshake=handshake, told_by_agent=told, new_bytes=new, whole=second["size_bytes"],
                ratio_to_new=received / new, ratio_to_whole=received / second["size_bytes"],
                over_budget=max(0, received - int(1.02 * new) - 8000))
        finally:
            bench.down()
            count.stop()


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


def million():
    """A store with a million known devices, made once for all rows that want it."""
    if not kept:
        kept.append(tempfile.TemporaryDirectory(prefix="helio-bench-"))
    return ("--clients", 1000000, "--dir", f"{kept[0].name}/1000000")


def bench_heartbeats_core(quick):
    """Parts a and a2: a million known clients in random order, the store on."""
    beats = ("--beats", 100000 if quick else 400000)
    lines = core_lines("heartbeats", *million(), "--pairs", 3 if quick else 5, *beats)
    row("heartbeats", part="a", clients=1000000, pairs=len(lines), per_s=core_median(lines, "per_s"),
        spread=spread([line["per_s"] for line in lines]), loop_per_s=core_median(lines, "peer_per_s"),
        ratio_to_loop=statistics.median(line["per_s"] / line["peer_per_s"] for line in lines),
        heartbeat_bytes=int(lines[0]["bytes"]), rows=int(core_median(lines, "rows")))
    lines = core_lines("through_paho", *million(), "--pairs", 3 if quick else 5, *beats)
    row("heartbeats", part="a2", clients=1000000, pairs=len(lines), per_s=core_median(lines, "per_s"),
        spread=spread([line["per_s"] for line in lines]), counting_per_s=core_median(lines, "counted_per_s"),
        ratio_to_counting=statistics.median(line["per_s"] / line["counted_per_s"] for line in lines), answers="sink",
        qos=0, tls=0, mqtt=5)


def bench_state_bytes(quick):
    line = core_lines("state_bytes", *million())[0]
    row("state_bytes", clients=int(line["clients"]), bytes_per_client=line["bytes_per_client"],
        after_start=line["loaded_bytes_per_client"])


def bench_start_of_core(quick):
    lines = core_lines("restart", *million(), "--pairs", 2 if quick else 5)
    row("restart", part="core", clients=int(lines[0]["clients"]), pairs=len(lines),
        first_answer_ms=core_median(lines, "first_answer_ms"), spread=spread([line["first_answer_ms"] for line in lines]),
        all_loaded_ms=core_median(lines, "rest_ms"))


def bench_growth(quick):
    beats = 5000 if quick else 50000
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        lines, counts = [], {}
        for clients in (1000, 100000) if quick else (1000, 10000, 100000, 1000000):  # a million take callgrind minutes
            folder = pathlib.Path(million()[3]).parent if clients == 1000000 else d
            store = ("--clients", clients, "--dir", f"{folder}/{clients}")
            core_lines("restart", *store, "--pairs", 1)  # makes the store, natively
            counts[clients] = core_instructions(folder, clients, beats)
            lines += core_lines("growth", *store, "--beats", 100000 if quick else 400000)  # leaves an event for everybody
    for line in lines:
        n = int(line["clients"])
        row("growth", clients=n, instructions=counts[n], ratio_to_1k=counts[n] / counts[1000], cpu_ns=line["cpu_ns"],
            ratio_to_1k_ns=line["cpu_ns"] / lines[0]["cpu_ns"], walk_ns_per_client=line["walk_ns_per_client"],
            broadcast_us=line["broadcast_us"], broadcast_elements=int(line["elements"]))


def bench_media(quick):
    """The walk for those who are away: what a tick costs must not grow with the fleet, how many ticks a walk takes may."""
    found = []
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        for clients in (1000, 100000) if quick else (1000, 10000, 100000, 1000000):
            found += core_lines("media", "--clients", clients, "--dir", f"{d}/{clients}")
            shutil.rmtree(f"{d}/{clients}")
    for line in found:
        row("media", clients=int(line["clients"]), away=int(line["away"]), open=int(line["open"]), walk_us_per_tick=line["walks_us_per_tick"],
            walk_most_us=line["walks_most_us"], orders_us_per_tick=line["orders_us_per_tick"], ticks_until_all_ordered=int(line["orders_ticks"]),
            ratio_to_1k=line["walks_us_per_tick"] / found[0]["walks_us_per_tick"])


def bench_orders(quick):
    """100 plans: what is told, built and sent stays 100 orders, however large the fleet. What a package of an order costs: `packaging`."""
    found = []
    for clients in (1000, 10000) if quick else (1000, 10000, 100000):
        found += core_lines("orders", "--clients", clients)
    for line in found:
        row("orders", clients=int(line["clients"]), plans=int(line["plans"]), orders=int(line["orders"]),
            start_us_per_client=line["start_ms"] * 1000 / line["clients"], restart_us_per_client=line["restart_ms"] * 1000 / line["clients"],
            edit_ms=line["edit_ms"], tell_all_ms=line["tell_ms"])


def bench_queue(quick):
    lines = core_lines("queue")
    for line in lines[1:]:    # the first one warms up
        row("queue", clients=int(line["clients"]), elements_per_broadcast=line["elements_per_broadcast"],
            append_ns=line["append_ns"], take_ns=line["take_ns"], consolidate_ns=line["consolidate_ns"],
            ratio_to_1k_append=line["append_ns"] / lines[1]["append_ns"],
            ratio_to_1k_take=line["take_ns"] / lines[1]["take_ns"])


def bench_placement(quick):
    line = core_lines("placement")[-1]
    row("placement", clients=int(line["clients"]), brokers=int(line["brokers"]), place_ms_per_1000_grants=line["place_ms_per_1000_grants"],
        target_ms_per_1000=line["target_ms_per_1000"], whole_ms_per_1000=line["whole_ms_per_1000"], ratio=line["place_ms_per_1000_grants"])


def bench_shares(quick):
    """Every rate worked out anew, after a transfer came and one went: ten times the leases and sites, and the log of it."""
    few, many = core_lines("shares")
    for line in (few, many):
        row("shares", leases=int(line["leases"]), sites=int(line["sites"]), settle_ms=line["settle_ms"], tell_us=line["tell_us"],
            ratio_to_few_a_lease=line["settle_ms"] / line["leases"] / (few["settle_ms"] / few["leases"]))


def p_of(found, key):
    return statistics.median(f[key] for f in found)


def latency_row(found, rate, **more):
    """found: a list of measurements a peer, taken in turn."""
    heliod, echo = found["heliod"], found["echo"]
    pairs = list(zip(heliod, echo))
    row("latency", rate=rate, pairs=len(pairs), **{f"{q}_us": p_of(heliod, f"{q}_us") for q in ("p50", "p99")},
        spread_p99=spread([f["p99_us"] for f in heliod]),
        **{f"echo_{q}_us": p_of(echo, f"{q}_us") for q in ("p50", "p99")}, echo_spread_p99=spread([f["p99_us"] for f in echo]),
        **{f"ratio_to_echo_{q}": statistics.median(h[f"{q}_us"] / max(1, e[f"{q}_us"]) for h, e in pairs)
           for q in ("p50", "p99")},
        cpu_us=p_of(heliod, "server_cpu_us"), echo_cpu_us=p_of(echo, "server_cpu_us"),
        overrun=sum(f["overrun"] for f in heliod), echo_overrun=sum(f["overrun"] for f in echo),
        unanswered=sum(f["sent"] - f["answered"] for f in heliod), **more)


def latency_pairs(generators, rate, seconds, pairs, before=None):
    found = {name: [] for name in generators}
    for _ in range(pairs):
        for name, g in generators.items():
            if before and name == "heliod":
                before()
            found[name].append(g.run(rate, seconds))
    return found


def latency_rollout(generators, rate, seconds, pairs):
    """A package to the whole channel in the middle of each run: everybody is told, one real agent fetches it."""
    g = generators["heliod"]
    found = {name: [] for name in generators}
    g.agent("f1")
    for i in range(pairs):
        home = g.folder / f"content-{i}"
        home.mkdir()
        random_file(home / "image.bin", 10 * MB)
        package = g.fleet.software_package("rollout", str(i + 1), home)
        wait_for(lambda: g.fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 60, "stored")
        begin = threading.Timer(seconds / 4, g.fleet.ctl, ("channel", "publish", "default", package))
        begin.start()
        found["heliod"].append(g.run(rate, seconds))
        begin.join()
        found["echo"].append(generators["echo"].run(rate, seconds))
    wait_for(lambda: (g.fleet.folder / "f1" / "packages" / package).exists(), 30, "the real agent fetched it")
    return found


def bench_latency(quick):
    """Open loop: a heartbeat's time counts from the moment it should have been sent."""
    seconds, pairs, clients = (0.7, 3, 1000) if quick else (4, 5, 1000)
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        generators = {}
        try:
            for name in ("heliod", "echo"):
                generators[name] = Generator(pathlib.Path(d) / name, clients, name == "echo",
                                             sizes=generators["heliod"].sizes(0) if generators else None)
            heliod, options = generators["heliod"], {"tls": 0, **generators["heliod"].broker_options()}
            latency_pairs(generators, 10000, 1, 1)    # warm
            for rate in (10000, 30000):
                latency_row(latency_pairs(generators, rate, seconds, pairs), rate, answers="no-action", qos=0, **options)
            plain = heliod.sizes(0)
            heliod.elements(3)
            sizes = heliod.sizes(1)
            for rate, records in itertools.product((5000, 15000), (False, True)):
                generators["echo"].echo_as(sizes, 1, records)
                heliod.kinds.clear()
                found = latency_pairs(generators, rate, seconds, pairs,
                                      lambda rate=rate: heliod.elements(int(rate * seconds / clients) + 2))
                latency_row(found, rate, answers="execute-command", qos=1, at_qos1=heliod.share_at_qos1(), outstanding=15,
                            echo_records=int(records), **options)
            generators["echo"].echo_as(plain, 0)
            latency_row(latency_rollout(generators, 10000, max(2, seconds), 2 if quick else pairs), 10000, answers="rollout", qos="0-1",
                        **options)
        finally:
            for g in generators.values():
                g.down()


def restart_answered(load, ids, rate, tries):
    """kill -9 in the middle of a load, `tries` times. Milliseconds from the start of the new heliod to its first answer on
    the wire, and the operations that somebody was told of."""
    fleet, taken, told = load.fleet, [], set()
    watch = wire.Client(fleet.port["control"], client_id="watch.2")
    watch.subscribe(*[f"helio/v1/rsp/{i}" for i in ids], qos=0)
    for _ in range(tries):
        load.elements(5)
        load.start(rate, 3)
        time.sleep(1.2)
        fleet.procs["heliod"].kill()
        time.sleep(0.2)    # what it said is read
        while not watch.inbox.empty():
            body = wire.pb.Response.FromString(watch.inbox.get().payload).body
            if body.op_id:
                told.add(body.op_id)
        begin = time.monotonic()
        fleet.heliod(wait=False)
        watch.inbox.get(timeout=60)
        taken.append((time.monotonic() - begin) * 1000)
        load.result()
        answers(fleet)
    watch.close()
    return taken, told


def operations_lost(fleet, told):
    """Operations that a device was told of and that the store, opened by another program, does not hold."""
    fleet.procs["heliod"].stop()
    with contextlib.closing(sqlite3.connect(fleet.folder / "heliod/heliod.db")) as db:
        kept = {row[0] for row in db.execute("SELECT op_id FROM operation")}
    return len(told - kept)


def answers(fleet):
    wait_for(lambda: fleet.ctl("queue", "default", check=False).returncode == 0, 60, "heliod answers")


def fill(fleet, first, clients):
    """Devices that nobody has heard of since, as rows of the store."""
    fleet.procs["heliod"].stop()
    store = fleet.folder / "heliod/heliod.db"
    with contextlib.closing(sqlite3.connect(store)) as db:
        epoch, pointer = db.execute("SELECT epoch, tail_seq FROM queue WHERE name = 'default'").fetchone()
    subprocess.run([BUILD / "tests/bench_core", "fill", store, str(epoch), str(pointer), str(first), str(clients)], check=True)
    fleet.heliod(wait=False)
    answers(fleet)


def bench_restart(quick):
    """kill -9 of heliod under load, with a million devices in its store; from its start to the first answer on the wire.
    The other devices are rows that nobody has loaded when it is answered."""
    clients, loading, rate = 1000000, 1000, 3000
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        load = Generator(pathlib.Path(d) / "load", loading, False)
        try:
            fill(load.fleet, loading, clients - loading)
            load.run(1000, 1)
            taken, told = restart_answered(load, [f"dev{i:06d}" for i in range(0, loading, 25)], rate, 3 if quick else 7)
            if not told:
                raise RuntimeError("no operation was under way")
            row("restart", part="heliod", clients=clients, pairs=len(taken), first_answer_ms=statistics.median(taken),
                spread=spread(taken), load_per_s=rate, acknowledged=len(told), lost=operations_lost(load.fleet, told), tls=0)
        finally:
            load.down()
    bench_restart_tls(quick, clients)
    bench_start_of_core(quick)


def bench_restart_tls(quick, clients):
    """The same with TLS and real agents, which beat every 100 ms."""
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        ids = [f"f{i}" for i in range(8)]
        fleet = Fleet(pathlib.Path(d) / "fleet", data_brokers=("da",), clients=ids, interval_ms=200, log_types="error",
                      level="info", server={"server": {"interval_ms": 200, "interval_min_ms": 200}})
        try:
            fleet.up()
            fill(fleet, 0, clients)
            watch = fleet.watch(*[f"helio/v1/rsp/{i}" for i in ids])
            taken = []
            for _ in range(3 if quick else 7):
                for i in ids:
                    fleet.wait_client(i, lambda c: c["reach"] == "online")
                fleet.procs["heliod"].kill()
                time.sleep(0.3)
                while not watch.inbox.empty():
                    watch.inbox.get()
                begin = time.monotonic()
                fleet.heliod(wait=False)
                watch.inbox.get(timeout=60)
                taken.append((time.monotonic() - begin) * 1000)
            row("restart", part="heliod-tls", clients=clients, pairs=len(taken), first_answer_ms=statistics.median(taken),
                spread=spread(taken), load_per_s=len(ids) * 5, tls=1)
        finally:
            fleet.down()


def bench_heartbeats(quick):
    bench_heartbeats_core(quick)
    bench_heartbeats_broker(quick)


def bench_heartbeats_broker(quick):
    for clients in (1000,) if quick else (1000, 10000):
        heartbeats_b(clients, *(1, 1, 2) if quick else (4, 3, 5))


def heartbeats_b(clients, seconds, searches, pairs):
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        generators = {}
        try:
            for name in ("heliod", "echo"):
                generators[name] = Generator(pathlib.Path(d) / name, clients, name == "echo",
                                             sizes=generators["heliod"].sizes(0) if generators else None)
            highest = [highest_rates(generators, seconds) for _ in range(searches)]
            best = {name: statistics.median(h[name] for h in highest) for name in generators}
            half = int(best["heliod"] // 2)
            at_half = {name: [] for name in generators}
            for _ in range(pairs):
                for name, g in generators.items():
                    at_half[name].append(g.run(half, seconds))
            h, e = at_half["heliod"], at_half["echo"]
            row("heartbeats", part="b", clients=clients, highest_per_s=best["heliod"], echo_per_s=best["echo"],
                spread=spread([one["heliod"] for one in highest]), echo_spread=spread([one["echo"] for one in highest]),
                ratio_to_echo=statistics.median(one["heliod"] / one["echo"] for one in highest), half_rate=half,
                cpu_us=p_of(h, "server_cpu_us"), echo_cpu_us=p_of(e, "server_cpu_us"),
                ratio_to_echo_cpu=statistics.median(x["server_cpu_us"] / max(0.01, y["server_cpu_us"]) for x, y in zip(h, e)),
                p50_us=p_of(h, "p50_us"), p99_us=p_of(h, "p99_us"), echo_p50_us=p_of(e, "p50_us"),
                echo_p99_us=p_of(e, "p99_us"), broker_cpu_us=p_of(h, "broker_cpu_us"),
                generator_cpu_us=p_of(h, "generator_cpu_us"), echo_generator_cpu_us=p_of(e, "generator_cpu_us"),
                qos=0, tls=0, **generators["heliod"].broker_options())
        finally:
            for g in generators.values():
                g.down()


# ---------------------------------------------------------------- display

def display_start(folder):
    """A stage of 1080p, and how long a cold start takes to its first picture."""
    stage = Stage(folder, 1920, 1080)
    d = stage.folder / "one"
    d.mkdir()
    (d / "0001.png").write_bytes(png_bytes(1920, 1080, COLOURS["red"]))
    stage.write([("helio-playlist", 2), ("package", "1" * 64, "art", 1), ("dir", d), ("defaults", 2500, 0, "fit", "000000"),
                 ("image", "0001.png", 0, "", "", 0, 1, 0, 0)])
    stage.configure(level="info")
    begin = time.monotonic()
    stage.start()
    stage.proc.wait_text(" SHOWING ", 20)
    return stage, (time.monotonic() - begin) * 1000


def fades_seen(stage, seconds):
    """Times at which the middle of the screen changed, by ffmpeg at 120 frames a second over 2 x 2 pixels; and how often it looked a second."""
    done = subprocess.run(["ffmpeg", "-nostats", "-f", "x11grab", "-framerate", "120", "-video_size", "2x2", "-grab_x", "960",
                           "-grab_y", "540", "-t", str(seconds), "-i", stage.screen, "-copyts", "-vf", "format=rgb24,showinfo",
                           "-f", "null", "-"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = re.findall(r" pts:\s*(\d+) .*checksum:([0-9A-F]+) ", done.stderr)
    return [int(b[0]) / 1000 for a, b in zip(found, found[1:]) if a[1] != b[1]], len(found) / seconds


def bench_display(quick):
    """First picture, a fade of 1080p by the software renderer, pictures of 100 megapixels. There is no peer in the run."""
    with tempfile.TemporaryDirectory() as folder:
        stage, first_ms = display_start(pathlib.Path(folder) / "stage")
        try:
            d = stage.folder / "two"
            d.mkdir()
            for n, c in enumerate(("red", "white"), 1):
                (d / f"000{n}.png").write_bytes(png_bytes(1920, 1080, COLOURS[c]))
            lines = [("image", f"000{n}.png", 0, "", "", 0, 1, 0, 0) for n in (1, 2)]
            before = cpu_seconds(stage.proc.pid)
            stage.write([("helio-playlist", 2), ("package", "2" * 64, "art", 2), ("dir", d),
                         ("defaults", 2500, 1000, "fit", "000000"), *lines])
            at, looks = fades_seen(stage, 8 if quick else 16)
            cpu = cpu_seconds(stage.proc.pid) - before
            fades, gaps, begin = 1, [], at[0]
            for a, b in zip(at, at[1:]):
                fades += b - a > 500
                # A fade ends softly: in its last tenth the next of 255 levels is several frames away, and nothing is drawn.
                gaps += [b - a] if b - a <= 500 and a - begin < 850 else []
                begin = b if b - a > 500 else begin
            # A frame that came late or never leaves a gap of two; looked at twice a frame, one that is in time may be seen half of one late. Their
            # number says nothing: the witness may begin and end within a fade.
            late = sum(round(gap * 60 / 1000) - 1 for gap in gaps if gap > 29)
            row("display", part="fade", first_picture_ms=first_ms, fades=fades, changes_per_fade=len(at) / fades,
                dropped_per_fade=late / fades, median_frame_ms=statistics.median(gaps), longest_frame_ms=max(gaps),
                cpu_s_per_fade=cpu / fades, cpu_ms_per_frame=1000 * cpu / len(at), budget_ms=1000 / 60, witness_looks_per_s=looks,
                witness_of=120)
            huge_png(d / "0003.png", 10_000)
            huge_jpeg(d / "0004.jpg", 10_000)
            for name in ("0003.png", "0004.jpg"):
                peak = Peak(stage)
                n = len(stage.rows())
                begin = time.monotonic()
                stage.write([("helio-playlist", 2), ("package", name[:4] * 16, "art", 3), ("dir", d),
                             ("defaults", 250, 0, "fit", "000000"), ("image", name, 0, "", "", 0, 1, 0, 0)])
                wait_for(lambda: name in [r[3] for r in stage.rows()[n:]], 30)
                kib = peak.end()
                assert kib, "the decoder was not seen"
                status = pathlib.Path(f"/proc/{stage.proc.pid}/status").read_text()
                row("display", part=f"100-megapixel {name[5:]}", decoder_peak_kib=kib,
                    display_peak_kib=int(re.search(r"VmHWM:\s+(\d+)", status).group(1)),
                    one_picture_whole_kib=10_000 * 10_000 * 4 // 1024, shown_after_ms=(time.monotonic() - begin) * 1000)
        finally:
            stage.end()


BENCHES = {"fetch_1g": bench_fetch_1g, "agent_memory": lambda quick: bench_agent_memory(row, Bench, Memory, quick), "update_bytes": bench_update_bytes,
           "update_sets": bench_update_sets, "broker_memory": bench_broker_memory, "update_older": lambda quick: bench_update_older(row, quick),
           "publish_speed": lambda quick: bench_publish_speed(row, quick),
           "heartbeats": bench_heartbeats, "latency": bench_latency, "state_bytes": bench_state_bytes,
           "restart": bench_restart, "reconnect": lambda quick: bench_reconnect(row, quick), "growth": bench_growth, "media": bench_media, "orders": bench_orders, "queue": bench_queue, "placement": bench_placement, "shares": bench_shares, "rates": lambda quick: bench_rates(row, quick), "display": bench_display,
           "fan_out": lambda quick: bench_fan_out(row, quick), "publish_to_last": lambda quick: bench_publish_to_last(row, quick), "scale_out": lambda quick: bench_scale_out(row, quick),
           "shelf": lambda quick: bench_shelf(row, Memory, quick),
           "ingest": lambda quick: bench_ingest(row, quick), "packaging": lambda quick: bench_packaging(row, quick)}


def write_table():
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "table.md", "w") as f:
        for name, values in rows:
            f.write(f"## {name}\n\n| " + " | ".join(values) + " |\n|" + "---|" * len(values) + "\n| " +
                    " | ".join(str(round(v, 3) if isinstance(v, float) else v) for v in values.values()) + " |\n\n")
    for old in OUT.glob("*.svg"):
        old.unlink()
    write_svg("ratios", rows)
    for name in dict.fromkeys(name for name, _ in rows):
        write_svg(name, [one for one in rows if one[0] == name])


def bar_names(name, values):
    """What tells this line from the others of its row."""
    marks = [f"{k}={values[k]}" for k in ("part", "clients", "brokers", "rate", "answers", "bytes", "tls") if k in values]
    return " ".join([name, *marks])


def write_svg(name, some):
    """Bars of every ratio; the line is 1.0, the peer."""
    bars = [(f"{bar_names(row_name, values)}: {k[9:]}", v) for row_name, values in some for k, v in values.items()
            if k.startswith("ratio_to_")]
    if not bars:
        return
    height = 24 * len(bars) + 40
    top = max([2.0] + [v for _, v in bars])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for i, (text, value) in enumerate(bars):
        y, w = 20 + 24 * i, 440 * value / top
        out.append(f'<text x="8" y="{y + 14}">{text}</text><rect x="420" y="{y}" width="{w:.0f}" height="18" fill="#d99a2b"/>'
                   f'<text x="{426 + w:.0f}" y="{y + 14}">{value:.2f}</text>')
    x = 420 + 440 / top
    out.append(f'<line x1="{x:.0f}" y1="10" x2="{x:.0f}" y2="{height - 10}" stroke="#444" stroke-dasharray="4 3"/></svg>')
    (OUT / f"{name}.svg").write_text("\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="all rows within five minutes")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(BENCHES))
    options = parser.parse_args()
    unknown = [r for r in options.rows if r not in BENCHES]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}; there are {' '.join(BENCHES)}")
    failed = []
    for name in BENCHES:  # in this order: `growth` changes the store that others use
        if options.rows and name not in options.rows:
            continue
        begin = time.monotonic()
        try:
            BENCHES[name](options.quick)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"{name} took {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    for folder in kept:
        folder.cleanup()
    write_table()
    write_curves(OUT)
    print(f"table and graphs in {OUT.relative_to(ROOT)}")
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()
