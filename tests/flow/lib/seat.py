"""An operator's seat by hand: it signs in by the two beats and asks the API, as many questions at a time as it likes. What is
answered is kept; nothing is said again of its own accord."""
import hashlib
import hmac
import json
import os
import pathlib
import queue
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import wire
from .wait import patience

pb = wire.pb


class Seat:
    def __init__(self, fleet, id_="alice.2"):
        self.id, self.level = id_, "byhand"
        bundle = pathlib.Path(fleet.bundle(id_))
        self.key = wire.read_key(bundle / "identity.key")
        self.online_public = fleet.online_public()
        self.link = wire.Client(fleet.port["control"], bundle)
        self.link.subscribe(f"helio/v1/offer/{id_}", f"helio/v1/apir/{id_}/{self.level}")
        self.topic = f"helio/v1/api/{id_}"
        self.request_id = time.time_ns() // 1000  # those of a seat rise
        self.sign_in()

    def close(self):
        """Before the next one of the same id: a broker knows each but once."""
        self.link.close()

    def sign_in(self):
        secret = X25519PrivateKey.generate()
        m = pb.ApiRequest(schema=1, seat=self.id, session_id=0, seq=1, verb="sign-in", answer_level=self.level,
                          sign_in=pb.SignIn(public_key=wire.raw_public(self.key), nonce=os.urandom(16), store_id=bytes(15) + b"\1",
                                            x25519_share=wire.raw_public(secret), boot_counter=1))
        said = wire.sealed(m, self.topic, sign_key=self.key)
        found = self.offered(said)
        assert wire.signature_holds(found.payload, found.topic, self.online_public)
        offer = found.decode(pb.SessionOffer)
        shared = secret.exchange(X25519PublicKey.from_public_bytes(offer.x25519_share))
        salt = hashlib.sha256(said + found.payload).digest()
        self.up = HKDF(hashes.SHA256(), 32, salt, b"helio/v1 mac-up").derive(shared)
        self.down = hmac.new(self.up, b"helio/v1 mac-down", hashlib.sha256).digest()
        self.session_id, self.boot, self.seq = offer.session_id, offer.boot, 0

    def offered(self, said):
        """A server that is just starting hears the second or third."""
        for _ in range(20):
            self.link.publish(self.topic, said)
            try:
                return self.link.next(f"helio/v1/offer/{self.id}", 0.5)
            except AssertionError:
                pass
        raise AssertionError(f"no offer for {self.id}")

    def ask(self, verb, wait=True, **args):
        """Sends; returns the request's id."""
        self.seq += 1
        self.request_id += 1
        m = pb.ApiRequest(schema=1, seat=self.id, session_id=self.session_id, seq=self.seq, boot=self.boot,
                          request_id=self.request_id, verb=verb, answer_level=self.level)
        for name, value in args.items():
            m.args.add(name=name, value=str(value))
        self.link.publish(self.topic, wire.sealed(m, self.topic, mac_key=self.up), wait=wait)
        return self.request_id

    def heard(self, timeout=10):
        """(request id, word of the error or "", document) of the next answer; None when there is none."""
        try:
            found = self.link.inbox.get(timeout=patience(timeout))
        except queue.Empty:
            return None
        if "/apir/" not in found.topic:
            return self.heard(timeout)
        assert wire.mac_holds(found.payload, found.topic, self.down)
        answer = found.decode(pb.ApiAnswer)
        assert answer.parts == 1
        return answer.request_id, "" if answer.ok else answer.error_word, json.loads(answer.json or b"{}")

    def call(self, verb, **args):
        asked = self.ask(verb, **args)
        while True:
            said = self.heard()
            assert said, f"{verb} is not answered"
            if said[0] == asked:
                assert not said[1], said
                return said[2]
