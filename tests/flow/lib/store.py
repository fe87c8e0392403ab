"""heliod's store as sqlite3 sees it, on a copy: the server holds its files for itself. What was said is in the redo log, and follows
into the rows within a moment: who asks after an answer is shown rows that hold all that the log held when it asked."""
import os
import pathlib
import struct
import subprocess
import time

BLOCK = 4096
AREA = 4 << 20
HEAD = struct.Struct("<8s5Q")       # magic, log, lap, first, last, size of the records; a digest follows
ENDINGS = ("", "-wal")


def _area(file, begin):
    """The batches of one lap: (lap, last group)."""
    at, first = 0, None
    while at < AREA:
        file.seek(begin + at)
        magic, log, lap, _, last, size = HEAD.unpack(file.read(HEAD.size).ljust(HEAD.size, b"\0"))
        if magic != b"HELREDO1" or (first and (log, lap) != first):
            return
        first = log, lap
        yield log, last
        at += -(-(HEAD.size + 32 + size) // BLOCK) * BLOCK


def last_logged(source):
    """{number of a log: the last group in its file}. Empty where there is no redo log."""
    ends = {}
    try:
        with open(f"{source}-redo", "rb", buffering=0) as file:
            for begin in (BLOCK, BLOCK + AREA):
                for log, last in _area(file, begin):
                    ends[log] = max(last, ends.get(log, 0))
    except FileNotFoundError:
        pass
    return ends


def _stamps(source):
    return [(s.st_mtime_ns, s.st_size) for s in (os.stat(f"{source}{e}") for e in ENDINGS if os.path.exists(f"{source}{e}"))]


def _copied(source, copy):
    """Both files as they were at one moment."""
    for _ in range(200):
        before = _stamps(source)
        for ending in ENDINGS:
            target = pathlib.Path(f"{copy}{ending}")
            try:
                target.write_bytes(pathlib.Path(f"{source}{ending}").read_bytes())
            except FileNotFoundError:
                target.unlink(missing_ok=True)
        pathlib.Path(f"{copy}-shm").unlink(missing_ok=True)
        if _stamps(source) == before:
            return
        time.sleep(0.002)


def _ask(copy, query):
    done = subprocess.run(["sqlite3", copy, query], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def asked(source, copy, query, is_alive=lambda: False, timeout=10):
    """What the query finds. A server that is not alive brings no more rows: then what is there is all there is."""
    ends, deadline = last_logged(source), time.monotonic() + timeout
    while True:
        _copied(source, copy)
        if not ends:
            return _ask(copy, query)
        meta = dict(row.split("|") for row in _ask(copy, "select key, number from meta where key in ('redo-log', 'redo-seq')").splitlines())
        if not is_alive() or int(meta.get("redo-seq", 0)) >= ends.get(int(meta.get("redo-log", 0)), 0):
            return _ask(copy, query)
        assert time.monotonic() < deadline, f"rows are behind the log: {meta} of {ends}"
        time.sleep(0.005)
