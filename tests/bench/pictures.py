"""Rows of the publisher: pictures into the store, and orders to packages. What an order costs is the publisher's own
processor time, because many clients share an order and none of them is seen here."""
import pathlib
import subprocess
import tempfile
import time

from lib import wire
from lib.fleet import PROGRAMS, Fleet
from lib.orders import OrderVoice, order_of, png
from lib.wait import wait_for
from witness import cpu_seconds


def cpu_ms(pid):
    """Of a process and its children that ended: the decoders."""
    return 1000 * cpu_seconds(pid, children=True)


def publisher(folder):
    fleet = Fleet(folder, data_brokers=("da",), clients=(), level="info")
    fleet.publisher_extra = {"packager": {"settle_ms": 200, "period_s": 1, "image_key": fleet.ca / "keys/image.key"}}
    fleet.brokers()
    fleet.publisher()
    return fleet


def add(fleet, folder, *more):
    began, used = time.monotonic(), cpu_ms(fleet.procs["pub"].pid)
    fleet.ctl("image", "add", folder, "--recursive", *more, timeout=900)
    return time.monotonic() - began, cpu_ms(fleet.procs["pub"].pid) - used


def bench_ingest(row, quick):
    """A folder of drawn pictures of 1920 x 1080, new and once more."""
    count = 100 if quick else 1000
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        folder = pathlib.Path(d)
        subprocess.run([PROGRAMS["helio-pictures"], folder / "in", str(count)], check=True, stdout=subprocess.DEVNULL)
        size = sum(p.stat().st_size for p in (folder / "in").iterdir())
        fleet = publisher(folder / "fleet")
        try:
            took, used = add(fleet, folder / "in")
            again, _ = add(fleet, folder / "in")
            row("ingest", pictures=count, mb=size / 1e6, s=took, pictures_per_s=count / took, cpu_ms_per_picture=used / count,
                again_s=again)
        finally:
            fleet.down()


def bench_packaging(row, quick):
    """1,000 pictures, 100 distinct orders: until the last outcome; one picture more; and nothing at all."""
    pictures, orders = (200, 20) if quick else (1000, 100)
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        folder = pathlib.Path(d)
        fleet = publisher(folder / "fleet")
        try:
            tags = 50
            for t in range(tags):
                for i in range(pictures // tags):
                    png(folder / f"in/{t}/{t}-{i}.png", seed=t * 1000 + i)
                add(fleet, folder / f"in/{t}", "--tag", f"t{t}")
            pid = fleet.procs["pub"].pid
            idle = idle_ms(pid, quick)
            voice = OrderVoice(fleet)
            voice.ready()
            wanted = [order_of(f"c.n{n}.a", " or ".join(f"t{(n * 7 + k * (1 + n // tags)) % tags}" for k in range(5)))
                      for n in range(orders)]
            began, used = time.monotonic(), cpu_ms(pid)
            for o in wanted:
                voice.direct(wire.pb.PACKAGE_ORDER, order=o)
            wait_for(lambda: len({o.order for o in voice.outcomes if o.package}) == orders, 300, "every outcome")
            took, used = time.monotonic() - began, cpu_ms(pid) - used
            wait_for(lambda: fleet.sql("SELECT count(*) FROM package_order WHERE told = 0", "pub") == "0", 60, "all told")
            ticks = idle_ms(pid, quick)
            voice.placed |= {o.package for o in voice.outcomes}
            seen, before, began = len(voice.outcomes), cpu_ms(pid), time.monotonic()
            fleet.ctl("image", "add", png(folder / "more.png", seed=987654), "--tag", "t0")
            wait_for(lambda: len(voice.outcomes) > seen, 60, "a new version")
            row("packaging", pictures=pictures, orders=orders, distinct_packages=len({o.package for o in voice.outcomes[:seen]}),
                s=took, cpu_ms_per_order=used / orders, idle_cpu_ms_per_s=idle, ticking_cpu_ms_per_s=ticks,
                one_more_picture_s=time.monotonic() - began, one_more_picture_cpu_ms=cpu_ms(pid) - before)
        finally:
            fleet.down()


def idle_ms(pid, quick):
    """Processor time in a second in which nothing changes; a period is one second here."""
    seconds = 3 if quick else 10
    used = cpu_ms(pid)
    time.sleep(seconds)
    return (cpu_ms(pid) - used) / seconds
