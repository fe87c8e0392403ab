"""The server's own words, said by a test while the server is stopped: a test agent writes down the keys of its session."""
from . import wire
from .wait import wait_for

pb = wire.pb


class Voice:
    """with Voice(fleet, "f1") as v: heliod stands still, and v speaks in its place."""

    def __init__(self, fleet, client):
        self.fleet, self.client = fleet, client

    def __enter__(self):
        self.watch = self.fleet.watch(wire.hb_topic(self.client), seat="watch.2")
        self.fleet.procs["heliod"].pause()
        self.link = wire.Client(self.fleet.port["control"], self.fleet.bundle("server.1"))
        return self

    def __exit__(self, *args):
        self.link.close()
        self.watch.close()
        self.fleet.witnesses.remove(self.watch)
        self.fleet.procs["heliod"].go_on()

    def key(self):
        lines = (self.fleet.folder / f"{self.client}.session").read_text().splitlines()
        return bytes.fromhex(dict(line.split() for line in lines)["mac_down"])

    def beats(self):
        found = [m.decode(pb.Heartbeat) for m in self.watch.of("helio/v1/hb/")]
        return [hb for hb in found if hb.session_id]

    def next_beat(self, since=None):
        seen = len(self.beats()) if since is None else since
        return wait_for(lambda: self.beats()[seen:], 15, "a heartbeat")[0]

    def answer(self, hb, body, interval_ms):
        """Answers a heartbeat; the body is a message, or its bytes as the server stored them."""
        r = pb.Response(schema=1, client_id=self.client, session_id=hb.session_id, in_reply_to_seq=hb.seq, boot=hb.boot,
                        heartbeat_interval_ms=interval_ms)
        r.body.CopyFrom(body)
        topic = f"helio/v1/rsp/{self.client}"
        self.link.publish(topic, wire.sealed(r, topic, mac_key=self.key()))
