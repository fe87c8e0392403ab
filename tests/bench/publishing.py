"""Row publish_speed: from `helioctl package build` to all of it retained on a data broker, in the fast profile. The peer is one
thread that only cuts, hashes and compresses the same bytes, and sends nothing. What is known is measured twice: in one file that
changed at a few places, all of which is read again, and in a tree of which a few files changed, where the others are not read
(read_mb says what was)."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from lib.fleet import BUILD, Fleet
from lib.wait import wait_for

MB = 1000 * 1000
SPOTS = 20    # places where the next version differs
FILES = 200   # of the tree; the twentieth part of them differs
SETTLED_S = 3    # what is read sooner after it was written is read again


def programs():
    """Bytes of this machine's own libraries and programs, biggest first: they compress as software does."""
    found = [p for home in ("/usr/lib", "/usr/bin", "/usr/share") for p in pathlib.Path(home).rglob("*")
             if p.is_file() and not p.is_symlink()]
    return sorted(found, key=lambda p: (-p.stat().st_size, str(p)))


def content(path, size, files):
    """The first files of the list, as much as there is room for; they are taken from it."""
    left = size
    with open(path, "wb") as out:
        while left and files:
            data = files.pop(0).read_bytes()[:left]
            left -= len(data)
            out.write(data)
    assert not left, "this machine has too few programs"


def change(path, size, fresh):
    """The twentieth part anew, at a few places."""
    part = size // 20 // SPOTS
    with open(path, "r+b") as f, open(fresh, "rb") as news:
        for spot in range(SPOTS):
            f.seek(spot * (size // SPOTS))
            f.write(news.read(part))


def tree(home, image):
    """The same bytes as many files."""
    data, part = image.read_bytes(), image.stat().st_size // FILES
    home.mkdir()
    for i in range(FILES):
        (home / f"part-{i:03}.bin").write_bytes(data[i * part:(i + 1) * part])


def change_tree(home, fresh):
    part = (home / "part-000.bin").stat().st_size
    with open(fresh, "rb") as news:
        for i in range(0, FILES, 20):
            (home / f"part-{i:03}.bin").write_bytes(news.read(part))


def loop(path):
    out = subprocess.run([BUILD / "tests/publish_loop", path], stdout=subprocess.PIPE, check=True, text=True).stdout
    return float(re.search(r"seconds=([0-9.]+)", out)[1])


def publish(fleet, version, home, name="app"):
    pub = fleet.procs["pub"]
    os.sync()    # what this program wrote is not the publisher's to bring to the disk
    stored, began = len(pub.lines("PUBLISH-STORED")), time.monotonic()
    fleet.software_package(name, version, home, timeout=600)
    built = time.monotonic() - began
    wait_for(lambda: len(pub.lines("PUBLISH-STORED")) > stored, 600, "all of it is retained", every=0.01)
    return time.monotonic() - began, built


def read_mb(fleet):
    return int(re.search(r"read_bytes=(\d+)", fleet.procs["pub"].lines("PACKAGE-BUILT")[-1])[1]) / MB


def measure(row, folder, size, tls, pairs):
    parts = {"new": [], "95 % known": [], "95 % known, unmodified files": []}
    loops, built, read = [], [], {}
    (folder / "home").mkdir()
    image, fresh, files = folder / "home/image.bin", folder / "fresh", programs()
    for pair in range(pairs):
        rest = list(files)
        content(image, size, rest)
        content(fresh, size // 20, rest)
        fleet = Fleet(folder / f"fleet-{pair}", data_brokers=("da",), clients=(), log_types="error", tls=tls, level="info",
                      capacity=20_000_000_000, server={"data": {"recent_period_s": 0}})
        try:
            fleet.up()
            loops.append(loop(image))
            took, packing = publish(fleet, "1", image.parent)
            built.append(packing)
            parts["new"].append(took)
            read["new"] = read_mb(fleet)
            change(image, size, fresh)
            parts["95 % known"].append(publish(fleet, "2", image.parent)[0])
            read["95 % known"] = read_mb(fleet)
            home = folder / f"tree-{pair}"
            tree(home, image)
            time.sleep(SETTLED_S)
            publish(fleet, "1", home, "tree")
            change_tree(home, fresh)
            parts["95 % known, unmodified files"].append(publish(fleet, "2", home, "tree")[0])
            read["95 % known, unmodified files"] = read_mb(fleet)
            shutil.rmtree(home)
        finally:
            fleet.down()
    for part, took in parts.items():
        speeds = [size / MB / t for t in took]
        row("publish_speed", part=part, tls=int(tls), bytes=size, pairs=pairs, mb_per_s=statistics.median(speeds),
            spread=f"{min(speeds):.0f}..{max(speeds):.0f}", read_mb=read[part], loop_mb_per_s=size / MB / statistics.median(loops),
            **({"build_s": statistics.median(built)} if part == "new" else {}),
            ratio_to_loop=statistics.median(a / b for a, b in zip(loops, took)))


def bench_publish_speed(row, quick):
    size, pairs = (100 * MB, 2) if quick else (500 * MB, 5)
    for tls in (False,) if quick else (False, True):
        with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
            measure(row, pathlib.Path(d), size, tls, pairs)
