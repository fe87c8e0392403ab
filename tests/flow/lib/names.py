"""A small name server of the tests: SRV and A records over UDP on a loopback address of its own, and a way to start a program
that asks it and nobody else: a mount namespace with a private resolv.conf. Needs root."""
import os
import random
import socket
import struct
import subprocess
import threading

import pytest

A, SRV = 1, 33


def encode(name):
    return b"".join(bytes([len(w)]) + w.encode() for w in name.split(".") if w) + b"\0"


class Names:
    """srv: {name: [(priority, weight, port, target)]}, a: {name: address}; both may change at any time."""

    def __init__(self, folder):
        if os.getuid() != 0:
            pytest.skip("a private resolv.conf needs root")
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip("no mount namespace here")
        self.srv, self.a, self.asked, self.silent = {}, {}, [], False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(50):
            self.address = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
            try:
                self.socket.bind((self.address, 53))
                break
            except OSError:
                continue
        self.resolv = folder / "resolv.conf"
        self.resolv.write_text(f"nameserver {self.address}\noptions timeout:1 attempts:1\n")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                query, who = self.socket.recvfrom(4096)
            except OSError:
                return
            try:
                answer = self.answer(query)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue
            if answer and not self.silent:
                self.socket.sendto(answer, who)

    def answer(self, query):
        words, at = [], 12
        while query[at]:
            words.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack("!H", query[at + 1:at + 3])[0]
        question, name = query[12:at + 5], ".".join(words).lower()
        self.asked.append((name, kind))
        rows = []
        if kind == SRV:
            rows = [struct.pack("!HHH", *row[:3]) + encode(row[3]) for row in self.srv.get(name, [])]
        elif kind == A and name in self.a:
            rows = [socket.inet_aton(self.a[name])]
        known = name in self.srv or name in self.a
        out = query[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else 3), 1, len(rows), 0, 0) + question
        for data in rows:
            out += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(data)) + data
        return out

    def argv(self, *argv):
        """What starts a program that asks this server; it keeps the id of the process."""
        return ["unshare", "-m", "--propagation", "private", "sh", "-c",
                'mount --bind "$0" /etc/resolv.conf && exec "$@"', self.resolv, *argv]

    def close(self):
        self.socket.close()
