"""Counts what crosses a process's sockets, from outside of it: a proxy before each broker, and /proc to tell whose
connection it is. The TLS handshake is counted apart: what the broker says before the client speaks a second time."""
import os
import pathlib
import re

from lib.proxy import Proxy


def rss(pid):
    """Bytes of memory that a process holds now."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def cpu_seconds(pid, children=False):
    """What a process used of the processors; children: and those of it that ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15 if children else 13])) / os.sysconf("SC_CLK_TCK")


def owner_has(pid, port):
    """The process has the loopback TCP socket with this local port."""
    with open("/proc/net/tcp") as f:
        inodes = {line.split()[9] for line in f if line.split()[1].endswith(f":{port:04X}")}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return True
    return False


class Connection:
    def __init__(self, pid):
        self.pid, self.spoke, self.received, self.handshake = pid, 0, 0, 0


class Counting(Proxy):
    def __init__(self, count, to_port):
        super().__init__(to_port)
        self.count = count

    def _carry(self, client, server):
        mine = self.count.connection(client.getpeername()[1])
        super()._carry(Counted(client, mine, True), Counted(server, mine, False))


class Counted:
    """A socket whose recv is counted: the client's tells the phase, the server's the bytes."""

    def __init__(self, sock, connection, is_client):
        self.sock, self.connection, self.is_client = sock, connection, is_client

    def recv(self, size):
        data, c = self.sock.recv(size), self.connection
        if self.is_client:
            c.spoke += bool(data) and (c.spoke == 0 or c.handshake > 0)
        elif c.spoke < 2:
            c.handshake += len(data)
        else:
            c.received += len(data)
        return data

    def __getattr__(self, name):
        return getattr(self.sock, name)


class SocketCount:
    def __init__(self):
        self.proxies, self.connections, self.pid = [], [], 0

    def proxy(self, to_port):
        self.proxies.append(Counting(self, to_port).start())
        return self.proxies[-1].port

    def connection(self, port):
        c = Connection(self.pid if self.pid and owner_has(self.pid, port) else None)
        c.port = port
        self.connections.append(c)
        return c

    def of(self, pid):
        """From now on the connections of this process count; those that it has already, too."""
        self.pid = pid
        for c in self.connections:
            if owner_has(pid, c.port):
                c.pid = pid

    def snapshot(self):
        mine = [c for c in self.connections if c.pid and c.pid == self.pid]
        return sum(c.received for c in mine), sum(c.handshake for c in mine)

    def since(self, before):
        return [now - then for now, then in zip(self.snapshot(), before)]

    def stop(self):
        for p in self.proxies:
            p.stop()
