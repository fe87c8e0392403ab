"""A recording by mosquitto_sub, read as the conversation of one client: heartbeats and responses in the order of the wire."""
import re

from . import wire
from .wait import wait_for

pb = wire.pb


class Said:
    """hb: the heartbeat, or None; r: the response, or None."""

    def __init__(self, at, topic, payload):
        self.at, self.payload = at, payload
        is_beat = topic.startswith("helio/v1/hb/")
        self.hb = pb.Heartbeat.FromString(payload) if is_beat else None
        self.r = None if is_beat else pb.Response.FromString(payload)

    @property
    def kind(self):
        return self.r.body.kind if self.r else 0


def conversation(fleet, capture, client):
    """All that the two sides said in session."""
    own = (wire.hb_topic(client), f"helio/v1/rsp/{client}")
    said = [Said(at, topic, payload) for at, topic, payload in fleet.captured(capture) if topic in own]
    return [s for s in said if s.r or s.hb.session_id]


def recorded(fleet, capture, client, fact, what=""):
    """All that was said, once the recording holds what is asserted of it: it is written after the client was told."""
    return wait_for(lambda: (lambda said: fact(said) and said)(conversation(fleet, capture, client)), 10, what or "it is recorded", every=0.1)


def beats(said):
    return [s.hb for s in said if s.hb]


def next_beat(said, at):
    """The place of the first heartbeat after that of said[at]."""
    return next((n for n in range(at + 1, len(said)) if said[n].hb), None)


def answer_to(said, at):
    """The place of the response to the heartbeat said[at]."""
    hb = said[at].hb
    return next((n for n in range(at + 1, len(said)) if said[n].r and
                 (said[n].r.session_id, said[n].r.in_reply_to_seq) == (hb.session_id, hb.seq)), None)


def body_text(fleet, payload):
    """The body of a response as protoc prints it."""
    return re.search(r"^body \{\n.*?^\}$", fleet.protoc("Response", payload), re.M | re.S)[0]
