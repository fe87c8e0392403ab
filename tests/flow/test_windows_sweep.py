"""The measuring window on real narrow lines, swept: what a broker keeps for one client, how fast the line is (the kernel's token bucket, which
loses what does not fit), how large the objects are and how wide the window may be. The broker never drops a message: by its own count and by
its log. The control is as many objects at once over the same line from the same broker."""
import random
import re
import shutil
import subprocess

import pytest

from lib.netns import namespace
from lib.presence import counted, stored
from lib.wait import wait_for
from test_presence_leases import installed

DROPPED = "$SYS/broker/publish/messages/dropped"
LINES = {250_000: 2_000_000, 2_500_000: 6_000_000, 25_000_000: 16_000_000}     # bytes a second: bytes to fetch


def one_large(folder, size, seed):
    (folder / "data").write_bytes(random.Random(seed).randbytes(size))


def many_small(folder, size, seed):
    noise = random.Random(seed)
    for n in range(size // 20_000):
        (folder / f"{n:05d}").write_bytes(noise.randbytes(20_000))


def beyond(net, fleet_of, queue, window_kib):
    """One device behind the line, and a broker that keeps so little for it."""
    away = {"control": {"name": "", "ip": net.host4}}
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, binds=("127.0.0.1", net.host4), agent={**away, "agent": {"window_kib": window_kib}},
                     server={"server": {"reconnect_spread_s": 0}, "probe": {"enabled": False},
                             "data": {"broker": [], "sys_interval_s": 1, "recent_period_s": 0, "queue_bytes": queue}})
    fleet.server_extra["data"]["broker"] = [f"da - {net.host4} {fleet.port['da']} 2000000000"]
    fleet.under["f1"] = tuple(net.argv())
    fleet.broker_extra["da"] = {"max_queued_bytes": queue}
    return fleet.up()


def chunks_asked(log):
    return re.findall(r": f1 1 (helio/v1/chunk/\S+)", log)


def dropped(fleet, drops):
    counted(fleet)
    return int(float(fleet.captured(drops)[-1][2]))


@pytest.mark.long
@pytest.mark.parametrize("queue, window_kib", [(1_500_000, 16384), (6_000_000, 16384), (134_217_728, 16384), (6_000_000, 512)])
def test_on_any_narrow_line_the_broker_drops_nothing(fleet_of, queue, window_kib):
    if not shutil.which("tc"):
        pytest.skip("no tc here")
    with namespace() as net:
        net.give(1)
        net.run("route", "add", "default", "via", net.host4)
        net.narrow(1_000_000)
        net.narrow(0)
        fleet = beyond(net, fleet_of, queue, window_kib)
        drops = fleet.capture(DROPPED, broker="da", seat="watch.1")
        told = {}
        for line, size in LINES.items():
            for make in (one_large, many_small):
                name = f"{make.__name__.replace('_', '-')}-{line}"
                home = fleet.folder / name
                home.mkdir()
                make(home, size, name)
                package = fleet.software_package(name, "1", home)
                stored(fleet, package)
                net.narrow(line)
                mark = len(fleet.broker_log("da"))
                fleet.ctl("channel", "publish", "default", package)
                wait_for(lambda: installed(fleet, "f1", package), 90, f"{name} is installed")
                net.narrow(0)
                log = fleet.broker_log("da")[mark:]
                asked, packets = chunks_asked(log), len(re.findall(r"Received SUBSCRIBE from f1", log))
                told[name] = {"objects": len(set(asked)), "again": len(asked) - len(set(asked)), "packets": packets, "dropped": dropped(fleet, drops)}
        print(queue, window_kib, told)
        assert not [n for n, t in told.items() if t["dropped"]], told
        assert "Outgoing messages are being dropped" not in fleet.broker_log("da")
        # What a busy machine keeps waiting for seconds is asked for again; it is no rule.
        assert sum(t["again"] for t in told.values()) <= sum(t["objects"] for t in told.values()) / 10, told
        # The control: all at once, from the same broker over the same line.
        if queue <= 6_000_000:
            everything = list(dict.fromkeys(chunks_asked(fleet.broker_log("da"))))
            net.narrow(250_000)
            b = fleet.bundle("watch.2")
            argv = ["mosquitto_sub", "-V", "5", "-h", net.host4, "-p", fleet.port["da"], "--cafile", b / "ca.crt", "--cert", b / "tls.crt", "--key",
                    b / "tls.key", "-i", "watch.2", "-q", "1", "-W", "3", "-F", "%l", *[w for t in everything[:400] for w in ("-t", t)]]
            subprocess.run(net.argv(*map(str, argv)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            wait_for(lambda: dropped(fleet, drops) > 0, 20, "the broker dropped what was too much for it", every=0.3)

