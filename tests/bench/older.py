"""Row update_older: the delta to the newest release from the one before (N-1), from N-2 and from N-3, each made for its base as the
server asks for it, and what zstd --patch-from makes of the same two. How much more there is to say is the releases' affair: the
peer's own ratio stands beside ours."""
import pathlib
import re
import subprocess
import tempfile

import data_sets
from lib.fleet import BUILD


def delta(old, new):
    """Bytes of objects and index."""
    out = subprocess.run([BUILD / "tests/delta_bytes", old, new], stdout=subprocess.PIPE, check=True, text=True).stdout
    line = out.splitlines()[-1]
    return sum(int(re.search(rf" {key}=(\d+)", line)[1]) for key in ("object_bytes", "index_bytes"))


def bench_update_older(row, quick):
    for name, package, versions in data_sets.OLDER[:1] if quick else data_sets.OLDER:
        tars = [data_sets.tar_of(package, v) for v in (versions[:3] if quick else versions)]
        first = None
        for back, old in enumerate(tars[1:], 1):
            with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
                peer = data_sets.zstd(pathlib.Path(d), tars[0], f"--patch-from={old}")
            ours = delta(old, tars[0])
            first = first or (ours, peer)
            row("update_older", part=name, back=back, bytes=ours, patch_from=peer, ratio_to_patch_from=ours / peer,
                ratio_to_one_back=ours / first[0], ratio_of_patch_from_to_one_back=peer / first[1])
