"""Row shelf: what a data broker with the shelf (broker-conf/shelf) hands out, and what it costs the broker, beside a stock broker that
retains as many objects of the same size under the same names, in turn in the same run. Part `one`: one raw windowed subscriber with hash
fetches all of it; `cold_mb_per_s` is the shelf's when the kernel has forgotten the files. Part `crowd`: as many raw subscribers that fetch
the same objects at the same time. Memory is the broker's peak while it serves, its anonymous part sampled every 10 ms; what lies in files
is the kernel's, and no part of it. Both brokers ask an acl_file. What to read: the ratio, and the two memories and CPU times side by side."""
import hashlib
import os
import pathlib
import re
import statistics
import subprocess
import tempfile

from fan import crowd_ended
from lib.fleet import BUILD, PROGRAMS
from lib.procs import Proc, free_ports, port_answers
from lib.wait import wait_for
from witness import cpu_seconds

PLUGIN = BUILD / "broker-conf/shelf/helio-shelf.so"
OBJECT = 1 << 20
CROWD, CROWD_OBJECTS, PROCESSES = 100, 10, 4
MIB = 1 << 20


class Broker:
    """One that holds all of it: on a shelf, or retained."""

    def __init__(self, folder, memory, shelf):
        self.memory, self.port, home = memory, free_ports(1)[0], folder / ("shelf-broker" if shelf else "stock-broker")
        user = "root" if os.getuid() == 0 else os.environ["USER"]
        subprocess.run([PROGRAMS["helioctl"], "broker-conf", "test", "--out", home, f"port={self.port}", f"run_user={user}", f"conf_dir={home}",
                        "log_types=error", "max_connections=-1"], check=True, stdout=subprocess.DEVNULL)
        (home / "acl").write_text("topic readwrite #\n")
        self.objects = home / "objects"
        self.objects.mkdir(mode=0o700)
        with open(home / "mosquitto.conf", "a") as conf:
            conf.write(f"acl_file {home}/acl\n")
            if shelf:
                conf.write(f"plugin {PLUGIN}\nplugin_opt_folder {self.objects}\n")
        self.proc = Proc(home.name, ["mosquitto", "-c", home / "mosquitto.conf"], folder).start()
        wait_for(lambda: port_answers(self.port) or not self.proc.alive(), 10, "the broker listens")
        assert self.proc.alive(), self.proc.text()
        self.runs = []    # (MB/s, CPU seconds per GB, peak RSS, peak anonymous)

    def fetch(self, topics, *more):
        """MB/s of one raw subscriber."""
        done = subprocess.run([str(a) for a in (BUILD / "tests/raw_fetch", "127.0.0.1", self.port, topics, "--sha256", *more)],
                              stdout=subprocess.PIPE, text=True, check=True, timeout=300)
        return float(re.search(r"raw_fetch .*mb_per_s=([0-9.]+)", done.stdout)[1])

    def crowd(self, topics):
        """MB/s of all of them together, until the last one has it."""
        each, size = CROWD // PROCESSES, CROWD_OBJECTS * OBJECT
        ended = crowd_ended([[BUILD / "tests/fan_out", "raw", each, n * each, self.port, "--topics", topics] for n in range(PROCESSES)], each)
        return len(ended) * size / 1e3 / ended[-1]

    def measure(self, kind, topics, size):
        pathlib.Path(f"/proc/{self.proc.pid}/clear_refs").write_text("5")    # its peak begins anew
        before, seen = cpu_seconds(self.proc.pid), self.memory(self.proc.pid)
        try:
            rate = kind(topics)
        finally:
            peak, anonymous = seen.end()
        self.runs.append((rate, (cpu_seconds(self.proc.pid) - before) * 1e9 / size, peak, anonymous))
        return rate

    def forget(self):
        """The kernel's copy of what lies on the shelf."""
        os.sync()
        for path in self.objects.rglob("*"):
            if path.is_file():
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def medians(self, name):
        rate, cpu, peak, anonymous = zip(*self.runs)
        self.runs = []
        return {f"{name}mb_per_s": statistics.median(rate), f"{name}spread": f"{min(rate):.0f}..{max(rate):.0f}",
                f"{name}cpu_s_per_gb": statistics.median(cpu), f"{name}anon_mib": max(anonymous) / MIB, f"{name}rss_mib": max(peak) / MIB}


def topics_of(path, count):
    path.write_text("".join(f"helio/v1/chunk/pub/{hashlib.sha256(b'%d' % n).hexdigest()}\n" for n in range(count)))
    return path


def in_turn(shelf, stock, pairs, kind, topics, size):
    """What a line says of the shelf, of the stock broker, and of one to the other."""
    kind(shelf, topics)    # both warm up
    kind(stock, topics)
    ratios = [shelf.measure(lambda t: kind(shelf, t), topics, size) / stock.measure(lambda t: kind(stock, t), topics, size) for _ in range(pairs)]
    return {"pairs": pairs, **shelf.medians(""), **stock.medians("retained_"), "ratio_to_retained": statistics.median(ratios),
            "ratio_spread": f"{min(ratios):.2f}..{max(ratios):.2f}"}


def bench_shelf(row, memory, quick):
    if not PLUGIN.exists():
        print("shelf: it was not built, mosquitto-dev and libmosquitto-dev are missing")
        return
    objects, pairs = (256, 3) if quick else (1024, 7)
    brokers = []
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        d = pathlib.Path(d)
        try:
            for shelf in (True, False):
                brokers.append(Broker(d, memory, shelf))
            shelf, stock = brokers
            everything, some = topics_of(d / "everything", objects), topics_of(d / "some", CROWD_OBJECTS)
            for b in brokers:
                b.fetch(everything, "--put", OBJECT)
            os.sync()    # what is still written to the disk would be measured with it
            found = in_turn(shelf, stock, pairs, Broker.fetch, everything, objects * OBJECT)
            cold = [shelf.forget() or shelf.fetch(everything) for _ in range(pairs)]
            row("shelf", part="one", clients=1, bytes=objects * OBJECT, **found, cold_mb_per_s=statistics.median(cold), qos=1, tls=0, mqtt=5)
            found = in_turn(shelf, stock, pairs, Broker.crowd, some, CROWD * CROWD_OBJECTS * OBJECT)
            row("shelf", part="crowd", clients=CROWD, bytes=CROWD_OBJECTS * OBJECT, **found, qos=1, tls=0, mqtt=5)
        finally:
            for b in brokers:
                b.proc.stop()
