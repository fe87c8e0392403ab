"""A disk that remembers: an ext4 on a loop device over a file that we serve ourselves (the kernel's FUSE protocol, spoken here), so
that every write and every flush of the block layer is known in its order. A power cut is then any moment of that record: what was
written before the last flush is there, and of what was written since, any part.

Root only. Not covered: a disk that lies about flushes, sectors that rot, and writes that were under way beside a flush (they count
as flushed when they reached us before it).
"""
import ctypes
import errno
import os
import pathlib
import select
import struct
import subprocess
import threading
import time

import pytest

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, ACCESS = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20, 25, 26, 34
BATCH_FORGET, DESTROY = 42, 38
ROOT, FILE = 1, 2
DIRECT_IO = 1
BLOCK, SECTOR, MOST = 4096, 512, 128 * 1024
libc = ctypes.CDLL(None, use_errno=True)


def call(*words):
    return subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Served:
    """One file, `disk`, in a folder of its own; `log` has (offset, bytes) of each write and None for each flush."""

    def __init__(self, at, content):
        self.at, self.data, self.log, self.over = at, bytearray(content), [], False
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        at.mkdir(exist_ok=True)
        if libc.mount(b"disk", str(at).encode(), b"fuse", 0, f"fd={self.fd},rootmode=40000,user_id=0,group_id=0".encode()) != 0:
            os.close(self.fd)
            pytest.skip(f"no file system of our own can be mounted here: {os.strerror(ctypes.get_errno())}")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def end(self):
        libc.umount2(str(self.at).encode(), 2)
        self.over = True
        self.thread.join(10)
        os.close(self.fd)

    def attributes(self, node):
        mode, size = (0o40700, 0) if node == ROOT else (0o100600, len(self.data))
        return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, BLOCK, 0)

    def serve(self):
        waiting = select.poll()
        waiting.register(self.fd, select.POLLIN)
        while not self.over:
            if not waiting.poll(100):
                continue
            try:
                request = os.read(self.fd, MOST + 4096)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return      # unmounted
            opcode, unique, node = struct.unpack_from("<4xIQQ", request)
            if opcode in (FORGET, BATCH_FORGET):
                continue
            answer = self.answer(opcode, node, request[40:])
            error, body = (answer, b"") if isinstance(answer, int) else (0, answer)
            try:
                os.write(self.fd, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)
            except OSError as e:
                if e.errno != errno.ENOENT:     # who asked is gone
                    raise

    def answer(self, opcode, node, body):
        if opcode == INIT:
            return struct.pack("<4I2H2I2HI7I", 7, 31, 0, 0, 16, 12, MOST, 1, 0, 0, 0, *[0] * 7)
        if opcode == LOOKUP:
            return struct.pack("<4Q2I", FILE, 0, 3600, 3600, 0, 0) + self.attributes(FILE) if body == b"disk\0" else errno.ENOENT
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<Q2I", 3600, 0, 0) + self.attributes(node)
        if opcode == OPEN:
            return struct.pack("<Q2I", 1, DIRECT_IO, 0)
        if opcode == READ:
            offset, size = struct.unpack_from("<8xQI", body)
            return bytes(self.data[offset:offset + size])
        if opcode == WRITE:
            offset, size = struct.unpack_from("<8xQI", body)
            data = body[40:40 + size]
            self.data[offset:offset + size] = data
            self.log.append((offset, data))
            return struct.pack("<2I", size, 0)
        if opcode == FSYNC:
            self.log.append(None)
            return b""
        if opcode == STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, BLOCK, 255, BLOCK, 0)
        return b"" if opcode in (FLUSH, RELEASE, ACCESS, DESTROY) else errno.ENOSYS


class LoggedDisk:
    """An empty ext4 at `at`, recorded; later, what a cut left of it at the same place."""

    def __init__(self, folder, at, megabytes=24):
        self.folder, self.at, self.loop, self.served, self.cuts = folder, pathlib.Path(at), None, None, 0
        image = folder / "disk.image"
        with open(image, "wb") as f:
            f.truncate(megabytes << 20)
        made = call("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        assert made.returncode == 0, made.stdout
        self.base = image.read_bytes()
        self.at.mkdir(exist_ok=True)
        self.renew()

    def renew(self):
        """As it was made, recorded from now on."""
        self.end()
        self.served = Served(self.folder / "served", self.base)
        try:
            self.mount(self.folder / "served" / "disk")
        except BaseException:
            self.end()
            raise

    def end(self):
        self.unmount()
        if self.served:
            self.served.end()
        self.served = None

    def mount(self, file):
        found = call("losetup", "--show", "-f", file)
        if found.returncode != 0:
            pytest.skip(f"no loop device here: {found.stdout}")
        self.loop = found.stdout.strip()
        # It writes nothing of its own accord: what nobody syncs is not there after the cut.
        done = call("mount", "-o", "commit=300", self.loop, self.at)
        if done.returncode != 0:
            self.unmount()
            pytest.skip(f"no file can be mounted here: {done.stdout}")

    def unmount(self):
        end = time.monotonic() + 10
        while os.path.ismount(self.at) and call("umount", self.at).returncode != 0:
            assert time.monotonic() < end, f"{self.at} is busy"
            time.sleep(0.02)
        if self.loop:
            call("losetup", "-d", self.loop)
        self.loop = None

    def now(self):
        """A moment of the record."""
        return len(self.served.log)

    def recorded(self):
        """The record ends: what is unmounted now is no part of it. Returns it."""
        log = list(self.served.log)
        self.end()
        return log

    def left(self, log, moment, dice, kept=None):
        """The bytes of the disk after a cut at this moment of the record, and a word on it. kept: the share of what was not flushed
        yet that is there all the same."""
        data, flushed = bytearray(self.base), 0
        for i in range(moment):
            if log[i] is None:
                flushed = i
        for entry in log[:flushed]:
            if entry is not None:
                data[entry[0]:entry[0] + len(entry[1])] = entry[1]
        kept = dice.choice((0, 0.3, 0.7, 1)) if kept is None else kept
        for offset, written in (e for e in log[flushed:moment] if e is not None):
            for at in range(0, len(written), BLOCK):
                if dice.random() >= kept:
                    continue
                part = written[at:at + BLOCK]
                if kept != 1 and dice.random() < 0.1:     # torn between two of its sectors
                    part = part[:SECTOR * dice.randrange(1, 8)]
                data[offset + at:offset + at + len(part)] = part
        return data, f"moment={moment} flushed={flushed} kept={kept}"

    def cut(self, log, moment, dice, kept=None):
        """Mounts what is left, after e2fsck, or after the kernel's own look at its journal."""
        data, where = self.left(log, moment, dice, kept)
        # A new file each time: a mount may live on in a namespace that somebody else made meanwhile, and write to the one it knows.
        image = self.folder / f"cut.{self.cuts}"
        image.unlink(missing_ok=True)
        self.cuts += 1
        image = self.folder / f"cut.{self.cuts}"
        image.write_bytes(data)
        if dice.random() < 0.5:
            looked = call("e2fsck", "-fy", image)
            assert looked.returncode in (0, 1), looked.stdout
        self.mount(image)
        return where
