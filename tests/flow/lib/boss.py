"""The server's words to a publisher, said by a test in its place: it has the server's key, and directs as it likes."""
import hashlib
import hmac
import os
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import wire

pb = wire.pb


class FakeServer:
    """The server's own words to a publisher, said by a test: it has the server's key. It offers a session and then directs as it likes."""

    def __init__(self, fleet, publisher="pub"):
        self.fleet, self.publisher = fleet, publisher
        self.link = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
        fleet.witnesses.append(self.link)
        self.online = wire.read_key(fleet.bundle("server.1") / "online.key")
        self.topic, self.seq, self.session_id = f"helio/v1/pubcmd/{publisher}", 0, 0
        self.link.subscribe(f"helio/v1/pub/{publisher}")

    def session(self, session_id):
        while True:
            m = self.link.next(f"helio/v1/pub/{self.publisher}", 60)
            said = m.decode(pb.PublisherMsg)
            if said.state == pb.PUB_SIGN_IN:
                break
        secret = X25519PrivateKey.generate()
        self.boot, self.seq, self.session_id = os.urandom(16), 0, session_id
        o = pb.SessionOffer(schema=1, principal=self.publisher, session_id=session_id, x25519_share=wire.raw_public(secret), nonce=os.urandom(16),
                            boot=self.boot, server_key_id=hashlib.sha256(wire.raw_public(self.online)).digest(), next_lineage=os.urandom(16),
                            sign_in_sha256=hashlib.sha256(m.payload).digest(), server_unix_ms=int(time.time() * 1000))
        topic = f"helio/v1/offer/{self.publisher}"
        payload = wire.sealed(o, topic, sign_key=self.online)
        shared = secret.exchange(X25519PublicKey.from_public_bytes(said.sign_in.x25519_share))
        up = HKDF(hashes.SHA256(), 32, hashlib.sha256(m.payload + payload).digest(), b"helio/v1 mac-up").derive(shared)
        self.mac_up, self.mac_down = up, hmac.new(up, b"helio/v1 mac-down", hashlib.sha256).digest()
        self.link.publish(topic, payload)
        return self

    def say(self, kind, package, directive_id, broker=None, mac_key=None, request_id=0, **more):
        self.seq += 1
        d = pb.Directive(schema=1, publisher=self.publisher, session_id=self.session_id, seq=self.seq, boot=self.boot, request_id=request_id, kind=kind,
                         directive_id=directive_id, package=package, reason="test", **more)
        if broker:
            d.to.broker_id, d.to.host, d.to.ip, d.to.port, d.to.tls = broker, "localhost", "127.0.0.1", self.fleet.port[broker], True
            d.to.topic = f"helio/v1/pkg/{self.publisher}/{package.hex()}"
        payload = wire.sealed(d, self.topic, mac_key=mac_key or self.mac_down)
        self.link.publish(self.topic, payload)
        return payload

    def heard(self, state, package=None):
        return [m for m in (x.decode(pb.PublisherMsg) for x in self.link.of("helio/v1/pub/")) if m.state == state
                and package in (None, m.package)]
