"""The link is the Internet: everything goes out as TCP with TLS over one routed path, of either family, and
nothing comes in. The side under test lives in a network namespace of its own behind a packet filter, as behind a
router that translates addresses."""
import contextlib
import re
import shutil
import subprocess

import pytest

from lib.fleet import PROGRAMS
from lib.netns import namespace
from lib.procs import Proc
from lib.wait import wait_for

RULES = """
add table inet fence
add chain inet fence inward { type filter hook input priority 0; policy drop; }
add rule inet fence inward iifname "lo" accept
add rule inet fence inward ct state established,related accept
add rule inet fence inward icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
add rule inet fence inward tcp flags syn counter drop
add chain inet fence outward { type filter hook output priority 0; policy accept; }
add rule inet fence outward oifname "lo" accept
add rule inet fence outward icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
add rule inet fence outward ip6 daddr ff02::/16 icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } accept
add rule inet fence outward meta l4proto tcp counter
add rule inet fence outward meta l4proto != tcp counter
"""


def inside(net, *argv, **options):
    return subprocess.run(net.argv(*map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def knock(host, port):
    """From this machine to the device: does anything answer within a second?"""
    done = subprocess.run(["timeout", "1", "bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}"], stderr=subprocess.DEVNULL)
    return done.returncode == 0


def packets(net):
    """(tcp, other) packets that left, and connections from outside that were dropped; the kernel's count."""
    said = inside(net, "nft", "list", "table", "inet", "fence").stdout
    count = {word: int(re.search(rf"{word} counter packets (\d+)", said)[1])
             for word in (r"meta l4proto tcp", r"meta l4proto != tcp", r"tcp flags syn")}
    return list(count.values())


@contextlib.contextmanager
def fenced(net, address):
    """The packet filter, after it was seen that without it somebody would come in."""
    listener = Proc("listener", net.argv("/usr/bin/python3", "-m", "http.server", "8000", "--bind", address), "/")
    listener.log = net.folder / "listener.log"
    listener.start()
    try:
        wait_for(lambda: knock(address, 8000), 10, "without the filter the device can be reached")
        done = inside(net, "nft", "-f", "-", input=RULES)
        assert done.returncode == 0, done.stdout
        assert not knock(address, 8000)
        assert packets(net)[2] > 0
    finally:
        listener.stop()
    yield


def one_path(net, family, host):
    """Of this family there is one route, to the brokers' machine; of the other none."""
    for f, given in (("-4", net.device4(1)), ("-6", net.device6(1))):
        net.run(f, "addr", "flush", "dev", net.inner)
        net.run(f, "route", "flush", "dev", net.inner)
        if f == family:
            net.run(f, "addr", "add", f"{given}/{32 if f == '-4' else 128}", "dev", net.inner, *(["nodad"] if f == "-6" else []))
            net.run(f, "route", "add", host, "dev", net.inner)
    routes = [line for line in net.run(family, "route", "show", "dev", net.inner).splitlines() if "fe80" not in line]
    own = net.device4(1) if family == "-4" else net.device6(1)
    assert all(line.split()[0] in (host, own) for line in routes), routes


def only_tls_goes_out(net, fleet, own, hosts):
    """The brokers saw the device's address; inside nobody listens, and all connections lead to the brokers."""
    assert not inside(net, "ss", "-ltnuH").stdout.strip(), "somebody waits to be called"
    for line in inside(net, "ss", "-tnH", "state", "established").stdout.splitlines():
        peer = line.split()[-1]
        if peer.startswith("127.0.0.1:"):    # a program that wakes itself; it does not leave the device
            continue
        assert peer.rsplit(":", 1)[0].strip("[]") in hosts and int(peer.rsplit(":", 1)[1]) in fleet.port.values(), line
    for broker in ("control", "da"):
        assert f"New connection from {own}:" in fleet.broker_log(broker)
    tcp, other, _ = packets(net)
    assert tcp > 50 and other == 0, "only TCP leaves: no multicast, no search of neighbours, no datagram"


def internet_fleet(fleet_of, net, host, *programs):
    """Brokers on this machine, at loopback for the witnesses and at the address that the namespace is routed to."""
    net.folder = None
    away = {"control": {"name": "", "ip": host}}
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), binds=("127.0.0.1", host),
                     agent=away if "f1" in programs else {}, publisher=away if "pub" in programs else {},
                     server={"data": {"broker": []}, **(away if "heliod" in programs else {})})
    fleet.server_extra["data"]["broker"] = [f"da - {host} {fleet.port['da']} 100000000"]
    for name in programs:
        fleet.under[name] = tuple(net.argv())
    net.folder = fleet.folder
    return fleet


FAMILIES = pytest.mark.parametrize("family", ["-4", "-6"], ids=["ipv4", "ipv6"])


def distribution(fleet_of, pictures, family, *programs):
    if not shutil.which("nft"):
        pytest.skip("no packet filter here")
    with namespace() as net:
        host, own = (net.host4, net.device4(1)) if family == "-4" else (net.host6, net.device6(1))
        fleet = internet_fleet(fleet_of, net, host, *programs)
        one_path(net, family, host)
        with fenced(net, own):
            fleet.up()
            package = fleet.image_package("art", "1", pictures[:2])
            fleet.ctl("channel", "publish", "default", package)
            files = fleet.folder / "f1" / "packages" / package / "files"
            wait_for(lambda: files.exists() and len(list(files.iterdir())) == 2, 30, "the package is installed")
            got = subprocess.run(["sha256sum", *sorted(files.iterdir())], stdout=subprocess.PIPE, text=True, check=True).stdout
            assert {line.split()[0] for line in got.splitlines()} == {i["image"] for i in fleet.ctl("image", "list")["images"]}
            only_tls_goes_out(net, fleet, own, (host,))
            # Somebody without a name is told no at the same door, by MQTT's own client from the same place.
            b = fleet.bundle("f1")
            said = inside(net, "mosquitto_sub", "-V", "5", "-h", host, "-p", fleet.port["control"], "--cafile", b / "ca.crt",
                          "-t", "#", "-C", "1", "-W", "3")
            assert said.returncode not in (0, 27), f"it was let in, or waited in vain: {said.stdout}"
            assert "peer did not return a certificate" in fleet.broker_log("control")
            for name in programs:
                assert fleet.procs[name].alive()
        return fleet


@FAMILIES
def test_S001_c2_a_device_behind_a_fence_completes_a_package_over_one_routed_path(fleet_of, pictures, family):
    distribution(fleet_of, pictures, family, "f1")


@FAMILIES
def test_S001_c14_server_publisher_and_device_only_call_out(fleet_of, pictures, family):
    distribution(fleet_of, pictures, family, "heliod", "pub", "f1")
