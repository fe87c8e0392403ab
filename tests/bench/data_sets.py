"""Releases that repeat exactly: npm packages, untarred and tarred again, and what the peers make of each update.

Data sets lie in HELIO_BENCH_DATA (default build/bench/data); what lacks there is fetched by `npm pack`. The peers' figures
are kept beside them: the same files give the same bytes. HELIO_BENCH_SETS names the sets to measure (default: all)."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from lib.procs import Proc, free_ports, port_answers
from lib.wait import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = pathlib.Path(os.environ.get("HELIO_BENCH_DATA", ROOT / "build/bench/data"))

# name, npm package, old and new version, whether its figures were known when the delta was made
SETS = (("esbuild-21", "@esbuild/linux-x64", "0.21.4", "0.21.5", True),
        ("esbuild-25", "@esbuild/linux-x64", "0.25.0", "0.25.1", True),
        ("typescript", "typescript", "5.4.4", "5.4.5", True),
        ("next", "next", "14.2.4", "14.2.5", True),
        ("swc", "@swc/core-linux-x64-gnu", "1.7.0", "1.7.1", True),
        ("biome", "@biomejs/cli-linux-x64", "1.8.2", "1.8.3", False),
        ("lightningcss", "lightningcss-linux-x64-gnu", "1.25.0", "1.25.1", False),
        ("rollup", "@rollup/rollup-linux-x64-gnu", "4.18.0", "4.18.1", False),
        ("react-dom", "react-dom", "18.2.0", "18.3.0", False))
# from the newest to older ones: what a device costs that missed some
OLDER = (("esbuild-21", "@esbuild/linux-x64", ("0.21.5", "0.21.4", "0.21.3", "0.21.2")),
         ("lightningcss", "lightningcss-linux-x64-gnu", ("1.25.1", "1.25.0", "1.24.1", "1.24.0")))
QUICK = ("react-dom",)
CHOSEN = os.environ.get("HELIO_BENCH_SETS", "").replace(",", " ").split()
BSDIFF_MAX = 35_000_000     # it takes seventeen times as much memory, and minutes


def tar_of(package, version):
    """The release as one file: sorted names, no times, no owners."""
    tar = HOME / f"{package.lstrip('@').replace('/', '-')}-{version}.tar"
    if tar.exists():
        return tar
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as d:
        packed = subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=d, check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip().splitlines()[-1]
        subprocess.run(["tar", "-xzf", packed], cwd=d, check=True)
        subprocess.run(["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cf",
                        "release.tar", "package"], cwd=d, check=True)
        shutil.move(f"{d}/release.tar", tar)
    return tar


def zstd(folder, new, *more):
    out = folder / "peer.zst"
    subprocess.run(["zstd", "-q", "-f", "-19", "--long=31", *more, str(new), "-o", str(out)], check=True,
                   stderr=subprocess.DEVNULL)
    return out.stat().st_size


def casync(folder, old, new):
    """Its new chunks of 64 KiB, zstd, and its index."""
    stores = folder / "casync"
    shutil.rmtree(stores, ignore_errors=True)
    stores.mkdir()

    def make(name, tar):
        subprocess.run(["casync", "make", f"--store={stores}/store", "--chunk-size=64K", "--compression=zstd",
                        f"{stores}/{name}.caibx", str(tar)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return sum(f.stat().st_size for f in (stores / "store").rglob("*.cacnk"))
    before = make("old", old)
    after = make("new", new)
    return after - before + (stores / "new.caibx").stat().st_size


def zsync(folder, old, new):
    """What a web server sent: its table of sums and the ranges it asked for."""
    web = folder / "zsync"
    shutil.rmtree(web, ignore_errors=True)
    web.mkdir()
    (web / "new.tar").symlink_to(new)
    port, = free_ports(1)
    subprocess.run(["zsyncmake", "-u", f"http://127.0.0.1:{port}/new.tar", "-o", f"{web}/new.zsync", f"{web}/new.tar"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    conf = web / "nginx.conf"
    conf.write_text(f"""{'user root;' if os.getuid() == 0 else ''} daemon off; pid {web}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{ log_format sent '$bytes_sent'; access_log {web}/sent sent; max_ranges 10000; client_body_temp_path {web}/a; proxy_temp_path {web}/b;
 fastcgi_temp_path {web}/c; uwsgi_temp_path {web}/d; scgi_temp_path {web}/e; server {{ listen 127.0.0.1:{port}; root {web}; }} }}
""")
    server = Proc("zsync-nginx", ["nginx", "-c", conf], web).start()
    try:
        wait_for(lambda: port_answers(port), 10, "nginx listens")
        subprocess.run(["zsync", "-q", "-i", str(old), "-o", f"{web}/made", f"http://127.0.0.1:{port}/new.zsync"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=web)
    finally:
        server.stop()
    assert (web / "made").stat().st_size == new.stat().st_size
    return sum(int(w) for w in re.findall(r"\d+", (web / "sent").read_text()))


def bsdiff(folder, old, new):
    if new.stat().st_size > BSDIFF_MAX:
        return 0
    subprocess.run(["bsdiff", str(old), str(new), f"{folder}/patch"], check=True)
    return (folder / "patch").stat().st_size


def chosen(quick):
    return [s for s in SETS if (s[0] in CHOSEN if CHOSEN else not quick or s[0] in QUICK)]


def peers(folder, old, new):
    """Bytes of each peer for this update; 0: not measured."""
    kept = HOME / f"peers-{old.stem}-{new.stem}.json"
    if not kept.exists():
        kept.write_text(json.dumps({
            "casync": casync(folder, old, new), "zsync": zsync(folder, old, new),
            "patch_from": zstd(folder, new, f"--patch-from={old}"), "bsdiff": bsdiff(folder, old, new),
            "full_zstd_19": zstd(folder, new)}))
    return json.loads(kept.read_text())
