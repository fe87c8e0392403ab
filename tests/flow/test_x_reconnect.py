"""A fleet that lost its broker comes back within the time it was told, each device at a moment of its own. The
broker's own log says who came in which second."""
import re
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.wait import wait_for

pb = wire.pb
DEVICES = 200


def devices(fleet):
    """helio-fleet in the background: the agent's core, many times, over connections of its own."""
    b = fleet.bundle("server.1")
    argv = [PROGRAMS["helio-fleet"], "beats", "--prefix", "dev", "--count", DEVICES, "--port", fleet.port["control"],
            "--root-file", b / "root.bin", "--root-key", b / "root.pub", "--rate", DEVICES, "--seconds", 600]
    return subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL)


def came(fleet, since):
    """Second of the broker's clock -> how many devices came back in it, each counted once."""
    seconds = {}
    for at, who in re.findall(r"(\S+): New client connected from \S+ as (dev\S+) ", fleet.broker_log("control")[since:]):
        seconds.setdefault(who, at)
    found = {}
    for at in seconds.values():
        found[at] = found.get(at, 0) + 1
    return found


def told(watch):
    """What each device was told last: the spread in milliseconds."""
    return {m.topic: m.decode(pb.Response).reconnect_spread_ms for m in watch.of("helio/v1/rsp/dev")}


def lose_the_broker(fleet):
    """Kills it, starts it again at once, and returns who came when."""
    broker = fleet.procs["broker-control"]
    broker.kill()
    since = len(broker.text())
    fleet.broker("control")
    wait_for(lambda: sum(came(fleet, since).values()) == DEVICES, 40, "everybody is back", every=0.2)
    return came(fleet, since)


@pytest.mark.slow
def test_X_7_a_fleet_comes_back_within_the_spread_it_was_told_and_evenly(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=(), tls=False, level="info", log_types="error notice", interval_ms=5000,
                     server={"server": {"offers_per_s": 100000, "reconnect_spread_s": 5}})
    subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--prefix", "dev", "--count", str(DEVICES), "--enrol-key",
                    fleet.ca / "keys/enrol.key", "--out", fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)
    fleet.brokers()
    fleet.heliod()
    agent = fleet.agent("f1")
    running = devices(fleet)
    try:
        watch = wire.Client(fleet.port["control"], client_id="watch").subscribe("helio/v1/rsp/#")
        wait_for(lambda: len(told(watch)) == DEVICES, 30, "all are answered")
        assert set(told(watch).values()) == {5000}
        # The agent keeps it over a power cut.
        state = fleet.folder / "f1/state.bin"
        wait_for(lambda: "reconnect_spread_ms\t5000\n" in state.read_text(), 10)
        watch.close()
        evenly = lose_the_broker(fleet)
        print(evenly)
        # A fifth of them a second, and nobody much later than he was told; the edges are no whole seconds.
        assert max(evenly.values()) <= 0.5 * DEVICES, evenly
        assert len(evenly) <= 9, evenly
        agent.wait_text("CONNECT connect", 20, count=2)
        # Without a spread they come together: the witness sees a crowd when there is one.
        fleet.procs["heliod"].stop()
        fleet.server_extra["server"]["reconnect_spread_s"] = 0
        fleet.heliod()
        watch = wire.Client(fleet.port["control"], client_id="watch").subscribe("helio/v1/rsp/#")
        wait_for(lambda: len(told(watch)) == DEVICES and set(told(watch).values()) == {0}, 30, "all were told")
        watch.close()
        crowd = lose_the_broker(fleet)
        print(crowd)
        assert max(crowd.values()) > 0.5 * DEVICES, crowd
    finally:
        running.kill()
        running.wait()
