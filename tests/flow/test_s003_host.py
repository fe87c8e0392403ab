"""The server's sign of life lies on each broker: it counts while its number rises, and not because it lies there."""
import time

from lib import wire
from lib.wait import stays, wait_for

pb = wire.pb
HOST = "helio/v1/host/server.1"


def state_of(fleet, broker):
    """What a fresh subscriber is given, by Debian's own client."""
    payload = fleet.mosquitto_sub(HOST, "-C", "1", "-N", broker=broker)
    return payload, pb.HostState.FromString(payload)


def test_S003_4_a_host_state_that_only_lies_there_is_refused_and_one_that_rises_is_believed(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), publishers=(), interval_ms=300,
                     server={"server": {"host_period_ms": 500}}).up()
    for broker in ("control", "da"):
        payload, host = state_of(fleet, broker)
        assert host.up and host.server == "server.1" and wire.signature_holds(payload, HOST, fleet.online_public())
        wait_for(lambda: state_of(fleet, broker)[1].counter > host.counter, 10, f"it rises on {broker}")
    watch = fleet.watch(wire.hb_topic("f1"), "helio/v1/rsp/f1")
    heliod = fleet.procs["heliod"]
    wait_for(lambda: watch.of("helio/v1/rsp/f1"), 10)
    heliod.pause()
    rogue = []
    try:
        held, host = state_of(fleet, "control")
        assert host.up, "it lies there, as if the server lived"
        paused = time.time()

        def beats(session):
            found = [m.decode(pb.Heartbeat) for m in watch.of(wire.hb_topic("f1")) if m.at > paused]
            return [h for h in found if bool(h.session_id) == session]

        # More beats than it takes to sign in again go unanswered; the state that lies there changes nothing.
        wait_for(lambda: len(beats(True)) > 10, 20, "beats without an answer")
        assert "f1 1 helio/v1/host/+" in fleet.broker_log("control"), "the agent looks whether the server lives"
        assert not beats(False)
        # Neither does the same one again, nor one that rises and that somebody else signed.
        server = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
        rogue.append(server)
        key, wrong = (wire.read_key(fleet.bundle(b) / f) for b, f in (("server.1", "online.key"), ("f1", "identity.key")))
        server.publish(HOST, held, retain=True)

        def say(n, by):
            m = pb.HostState(schema=1, server="server.1", counter=host.counter + n, boot=host.boot,
                             server_unix_ms=int(time.time() * 1000), period_ms=500, up=True)
            server.publish(HOST, wire.sealed(m, HOST, sign_key=by), retain=True)

        for n in range(1, 4):
            say(n, wrong)
        stays(lambda: not beats(False), 1.5)
        # The server's own, rising: it lives and does not know this session. The agent signs in again.
        for n in range(1, 4):
            say(n, key)
        wait_for(lambda: beats(False), 10, "a sign-in")
    finally:
        for r in rogue:
            r.close()
        heliod.go_on()
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    resumed = time.time()
    wait_for(lambda: any(m.at > resumed for m in watch.of("helio/v1/rsp/f1")), 20, "answers go on")
