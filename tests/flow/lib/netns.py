"""A network namespace of a device, joined to this machine by a pair of veth: addresses that are not
loopback, and that may change. Names and addresses are private to the test, and all of it is removed
at its end, also when it fails."""
import contextlib
import ipaddress
import os
import random
import subprocess

import pytest

from .wait import wait_for


def ip(*words, check=True):
    done = subprocess.run(["ip", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert not check or done.returncode == 0, f"ip {words}: {done.stderr}"
    return done


class Namespace:
    """host4, host6: this machine's end. device(n): the n-th address that the device may have (1..)."""

    def __init__(self):
        rng = random.SystemRandom()
        word = f"{rng.randrange(1 << 32):08x}"
        self.name, self.outer, self.inner = f"helio-{word}", f"hv{word}o", f"hv{word}i"
        # 198.18.0.0/15 is for tests between networks (RFC 2544), fd00::/8 for everybody.
        self.net4 = ipaddress.ip_network((int(ipaddress.ip_address("198.18.0.0")) + rng.randrange(1 << 12) * 16, 28))
        self.net6 = ipaddress.ip_network((0xfd << 120 | rng.randrange(1 << 56) << 64, 64))
        self.host4, self.host6 = str(self.net4[1]), str(self.net6[1])

    def device4(self, n):
        return str(self.net4[1 + n])

    def device6(self, n):
        return str(self.net6[1 + n])

    def run(self, *words):
        """ip inside the namespace."""
        return ip("-n", self.name, *words).stdout

    def argv(self, *argv):
        """What starts a program inside; it keeps the id of the process."""
        return ["ip", "netns", "exec", self.name, *argv]

    def give(self, n):
        """The device has its n-th address of each family, beside what it has."""
        self.run("addr", "add", f"{self.device4(n)}/28", "dev", self.inner)
        self.run("-6", "addr", "add", f"{self.device6(n)}/64", "dev", self.inner, "nodad")

    def prefer(self, n):
        """This machine is reached from the n-th address from now on."""
        self.run("route", "replace", f"{self.host4}/32", "dev", self.inner, "src", self.device4(n))
        self.run("-6", "route", "replace", f"{self.host6}/128", "dev", self.inner, "src", self.device6(n))

    def take_all(self):
        """No address and no route is left on the device's end of the pair."""
        for family in ("-4", "-6"):
            self.run(family, "addr", "flush", "dev", self.inner, "scope", "global")
            self.run(family, "route", "flush", "dev", self.inner)

    def narrow(self, bytes_per_s, waits_ms=60):
        """What goes to the device goes no faster, and what would wait longer is lost, as at a router. 0: as fast as it is."""
        words = ["tbf", "rate", f"{bytes_per_s * 8}bit", "burst", "32kb", "latency", f"{waits_ms}ms"] if bytes_per_s else []
        done = subprocess.run(["tc", "qdisc", "replace" if words else "del", "dev", self.outer, "root", *words], stderr=subprocess.PIPE, text=True)
        if words and done.returncode != 0:
            pytest.skip(f"no narrow line here: {done.stderr.strip()}")

    def up(self):
        ip("link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name)
        ip("addr", "add", f"{self.host4}/28", "dev", self.outer)
        ip("-6", "addr", "add", f"{self.host6}/64", "dev", self.outer, "nodad")
        ip("link", "set", self.outer, "up")
        # Two addresses that are not the one of the route: the first that anybody finds who lists them.
        self.run("addr", "add", f"{self.net4[14]}/32", "dev", "lo")
        self.run("-6", "addr", "add", f"{self.net6[0xffff]}/128", "dev", "lo", "nodad")
        self.run("link", "set", "lo", "up")
        self.run("link", "set", self.inner, "up")
        wait_for(lambda: "state UP" in self.run("link", "show", self.inner), 5, "the pair carries")

    def down(self):
        ip("link", "del", self.outer, check=False)
        ip("netns", "del", self.name, check=False)
        assert self.outer not in ip("link", "show").stdout and self.name not in ip("netns", "list").stdout


@contextlib.contextmanager
def namespace():
    if os.getuid() != 0:
        pytest.skip("a network namespace needs root")
    n = Namespace()
    made = ip("netns", "add", n.name, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespace here: {made.stderr.strip()}")
    try:
        n.up()
        yield n
    finally:
        n.down()
