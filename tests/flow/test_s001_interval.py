"""How often a client speaks is the server's word (S001-c34), and how the conversation goes on when a broker begins anew (X-7).
Spacing and delays are those of mosquitto_sub's stamps."""
import statistics
import time

import pytest

from lib import wire
from lib.steps import settle
from lib.wait import wait_for

pb = wire.pb


def beats(fleet, capture, client, since=0.0):
    found = []
    for at, topic, payload in fleet.captured(capture):
        if at >= since and topic.startswith("helio/v1/hb/"):
            hb = pb.Heartbeat()
            hb.ParseFromString(payload)
            if hb.client_id == client and hb.session_id:
                found.append((at, hb))
    return found


def answers(fleet, capture, client, since=0.0):
    found = []
    for at, topic, payload in fleet.captured(capture):
        if at >= since and topic == f"helio/v1/rsp/{client}":
            r = pb.Response()
            r.ParseFromString(payload)
            found.append((at, r))
    return found


def spacing(rows):
    return [(b - a) * 1000 for (a, _), (b, _) in zip(rows, rows[1:])]


def spaced(fleet, capture, client, since, ms, count):
    """The first so many beats after `since` lie ms apart, give or take a tenth in the mean."""
    wait_for(lambda: len(beats(fleet, capture, client, since)) >= count, 30, f"{count} beats of {client}")
    return abs(statistics.mean(spacing(beats(fleet, capture, client, since)[:count])) - ms) <= ms / 10


def told(fleet, capture, client, ms, since):
    """When the first response after `since` says ms."""
    return wait_for(lambda: next((at for at, r in answers(fleet, capture, client, since) if r.heartbeat_interval_ms == ms), None),
                    10, f"{client} is told {ms}")


def test_S001_c34_an_interval_is_told_with_the_next_response_and_kept(fleet_of):
    fleet = fleet_of(clients=("f1", "f2", "f3"), data_brokers=(), publishers=(), interval_ms=800, log_types="error subscribe",
                     server={"server": {"interval_busy_ms": 800}}).up(agents=["f1", "f2"])
    capture = fleet.capture("helio/v1/#")
    for client in ("f1", "f2"):
        told(fleet, capture, client, 800, 0)
    asked = time.time()
    fleet.ctl("interval", "f1", "400")
    done = time.time()
    at = told(fleet, capture, "f1", 400, asked)
    # The next response said it: none that began after the request's end says anything else.
    assert {r.heartbeat_interval_ms for _, r in answers(fleet, capture, "f1", done)} <= {400}
    assert spaced(fleet, capture, "f1", at + 0.1, 400, 8)
    assert {hb.status.interval_ms for _, hb in beats(fleet, capture, "f1", at + 0.6)} == {400}
    # Every response says an interval, and only f1's changed.
    assert all(r.heartbeat_interval_ms for c in ("f1", "f2") for _, r in answers(fleet, capture, c))
    assert {r.heartbeat_interval_ms for _, r in answers(fleet, capture, "f2")} == {800}
    assert spaced(fleet, capture, "f2", asked, 800, 5)
    # What lies outside the limits is refused, and nothing changes; 0 is the policy's again.
    for wrong in ("1", "199", "1000000000"):
        assert fleet.ctl("interval", "f1", wrong, check=False).returncode != 0
    assert {r.heartbeat_interval_ms for _, r in answers(fleet, capture, "f1", done)} == {400}
    fleet.ctl("interval", "f1", "0")
    told(fleet, capture, "f1", 800, time.time())
    # A client that says it keeps another interval is seen.
    f3 = fleet.principal("f3").sign_in()
    settle(f3)
    deaf = f3.interval_ms
    fleet.ctl("interval", "f3", "500")
    mismatches = fleet.client("f3")["mismatches"]
    for _ in range(6):
        f3.beat(status=pb.Status(state="idle", agent_version="0.0.1", free_bytes=1, interval_ms=deaf, clock_quality=3))
    assert "why=interval" in fleet.procs["heliod"].text()
    assert fleet.client("f3")["mismatches"] > mismatches
    # Control: one that obeys is not.
    assert not [line for line in fleet.procs["heliod"].text().splitlines() if "why=interval" in line and "client=f1" in line]


def test_S001_c34_fast_while_an_operation_runs_and_slow_again(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=(), publishers=(), interval_ms=1500, log_types="error subscribe",
                     server={"server": {"interval_busy_ms": 300}},
                     agent={"commands": {"run": "nap 30 /bin/sleep 2"}}).up()
    for client in ("f1", "f2"):
        fleet.wait_client(client, lambda c: c["at_tail"] and c["state"] == "idle" and c["interval_ms"] == 1500)
    capture = fleet.capture("helio/v1/#")
    began = time.time()
    fleet.ctl("exec", "f1", "nap", "--wait")
    ended = time.time()
    opened = next(at for at, r in answers(fleet, capture, "f1", began) if r.body.kind == pb.EXECUTE_COMMAND)
    during = beats(fleet, capture, "f1", opened)
    fast = [gap for gap in spacing([row for row in during if row[0] < ended])]
    assert len(fast) >= 4 and abs(statistics.median(fast) - 300) <= 60
    told(fleet, capture, "f1", 1500, opened)
    # f2 had nothing to do: slow throughout.
    assert {r.heartbeat_interval_ms for _, r in answers(fleet, capture, "f2", began)} == {1500}


# ---------------------------------------------------------------- a broker begins anew

def resumed(fleet, capture_from, client, interval_ms, since):
    """Seconds from the broker's new start to the first response."""
    return wait_for(lambda: next((m.at for m in capture_from.of(f"helio/v1/rsp/{client}") if m.at > since), None), 20,
                    f"{client} is answered again") - since


@pytest.mark.slow
def test_X_7_after_a_restart_of_the_control_broker_responses_resume_within_two_intervals(fleet_of):
    interval_ms = 2000
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), publishers=(), interval_ms=interval_ms, log_types="error",
                     agent={"control": {"backoff_min_ms": 200, "backoff_max_ms": 1000}}).up()
    agents = {c: fleet.procs[c] for c in ("f1", "f2")}
    sessions = {c: fleet.client(c)["session_id"] for c in agents}
    broker = fleet.procs["broker-control"]
    broker.kill()
    time.sleep(0.5)
    fleet.broker("control")
    up = time.time()
    watch = fleet.watch("helio/v1/hb/#", "helio/v1/rsp/#")
    taken = {c: resumed(fleet, watch, c, interval_ms, up) for c in agents}
    print({c: round(t, 2) for c, t in taken.items()})
    assert max(taken.values()) <= 2 * interval_ms / 1000
    # Heartbeats went on, in the session they had: nobody signed in again, nobody was started again.
    for c, agent in agents.items():
        assert agent.alive() and watch.of(wire.hb_topic(c))
        assert {m.decode(pb.Heartbeat).session_id for m in watch.of(wire.hb_topic(c))} == {int(sessions[c])}
    # The views are there again, by the server alone: the broker had forgotten them.
    for c in agents:
        view = pb.StateView()
        wait_for(lambda: fleet.mosquitto_sub(f"helio/v1/view/state/{c}", "-C", "1", "-N", timeout=1, check=False), 10, f"the view of {c}")
        view.ParseFromString(fleet.mosquitto_sub(f"helio/v1/view/state/{c}", "-C", "1", "-N"))
        assert view.reach == pb.REACH_ONLINE
    # A data broker that begins anew disturbs no heartbeat; the host state is there at once.
    fleet.procs["broker-da"].kill()
    fleet.broker("da")
    up = time.time()
    assert fleet.mosquitto_sub("helio/v1/host/server.1", "-C", "1", "-N", broker="da", timeout=10)
    for c in agents:
        wait_for(lambda: sum(m.at > up for m in watch.of(f"helio/v1/rsp/{c}")) >= 2, 10, "answers go on")
