"""Loopback ports that stay free until whoever they are for listens on them.

A port is held by a bound socket that never listens. It is bound alone, so no other socket may have the port, not
even one that lingers; then SO_REUSEADDR lets a server with that option listen beside it, as Mosquitto, nginx and
OpenSSL do, while the kernel gives the port to no connection and to no other bind. It stays held, a server ended
and started again included, as long as this process lives. The ports lie outside of those that connections get
anyway, so that they stay where they are after this process has ended.
tests/unit/port.h is the same in C.
"""
import os
import pathlib
import random
import socket

FIRST, LAST = 10000, 65535
held = []       # the sockets, until the process ends


def candidates():
    """Every port that the kernel gives to no connection, or all of them where it gives every one, in any order."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    apart = [port for port in range(FIRST, LAST + 1) if not low <= port <= high]
    return random.Random(os.urandom(8)).sample(apart or range(FIRST, LAST + 1), len(apart) or LAST + 1 - FIRST)


def hold(port):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", port))
    except OSError:
        s.close()
        return False
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.append(s)
    return True


def free_ports(count):
    found = []
    for port in candidates():
        if len(found) == count:
            return found
        if hold(port):
            found.append(port)
    raise OSError(f"no {count} free ports on loopback")
