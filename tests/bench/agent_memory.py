"""Row agent_memory: what an agent holds at most while it fetches. `bare`: a client of the same link that does nothing else, on
the same machine, for library pages count in the peak and no kernel maps as many of them as another."""
import pathlib
import random
import re
import subprocess
import tempfile

from lib.fleet import BUILD
from lib.wait import wait_for

MB = 1000 * 1000


def bare(bench, topics):
    """Peak RSS of a client that fetches one object."""
    one = topics.with_suffix(".one")
    one.write_text(topics.read_text().splitlines()[0] + "\n")
    argv = [BUILD / "tests/raw_fetch", "localhost" if bench.fleet.tls else "127.0.0.1", bench.fleet.port["da"], one]
    b = bench.fleet.bundle("watch.1")
    if bench.fleet.tls:
        argv += ["--tls", b / "ca.crt", b / "tls.crt", b / "tls.key"]
    out = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(re.search(r"peak_kib=(\d+)", out)[1]) * 1024


def whole(row, bench_of, memory_of, tls, sizes):
    base = None
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
            bench = bench_of(pathlib.Path(d) / "fleet", tls)
            try:
                package, _ = bench.publish(size)
                memory = memory_of(bench.fleet.procs["f1"].pid)
                bench.fetch(package)
                peak, anonymous = memory.end()
                base = base or peak
                row("agent_memory", part="whole", tls=int(tls), bytes=size, peak_rss_mb=peak / MB, peak_anonymous_mb=anonymous / MB,
                    bare_mb=(alone := bare(bench, bench.topics(package, pathlib.Path(d) / "topics"))) / MB,
                    over_bare_mb=(peak - alone) / MB, ratio_to_1mb=peak / base)
            finally:
                bench.down()


def moved(code):
    """As machine code is after a small change: an address every few kilobytes, so that every chunk is another."""
    new = bytearray(code)
    for at in range(3000, len(new), 3000):
        new[at] = (new[at] + 16) % 256
    return new


def with_delta(row, bench_of, memory_of, tls, size):
    """From version 1 to 2 by a delta, by an agent that just began; against an agent that fetched version 1 whole."""
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        home = pathlib.Path(d) / "home"
        home.mkdir()
        code = random.Random(size).randbytes(size)
        (home / "image.bin").write_bytes(code)
        bench = bench_of(pathlib.Path(d) / "fleet", tls, up=False)
        bench.fleet.server_extra = {"data": {"recent_period_s": 0}}
        try:
            bench.fleet.up()
            peaks = []
            for version in ("1", "2"):
                package = bench.fleet.software_package("app", version, home)
                wait_for(lambda: bench.fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 600, "it is there")
                if version == "2":
                    bench.fleet.procs["heliod"].wait_text("stored=1", 1200)
                    bench.fleet.procs["f1"].stop()
                    bench.fleet.agent("f1")
                memory = memory_of(bench.fleet.procs["f1"].pid)
                _, received = bench.fetch(package)
                peaks.append(memory.end())
                (home / "image.bin").write_bytes(moved(code))
            assert received < size / 2, "it came without a delta"
            row("agent_memory", part="delta", tls=int(tls), bytes=size, received=received, peak_rss_mb=peaks[1][0] / MB,
                peak_anonymous_mb=peaks[1][1] / MB, more_mb=(peaks[1][0] - peaks[0][0]) / MB,
                more_anonymous_mb=(peaks[1][1] - peaks[0][1]) / MB)
        finally:
            bench.down()


def bench_agent_memory(row, bench_of, memory_of, quick):
    for tls in (False, True):
        whole(row, bench_of, memory_of, tls, (1 * MB, 256 * MB if quick else 1000 * MB))
        with_delta(row, bench_of, memory_of, tls, 8 * MB if quick else 24 * MB)
