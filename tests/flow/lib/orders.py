"""The server by hand, as far as a publisher sees it: it signs publishers in, orders packages, takes offers and outcomes, and
can be as forgetful as a test wants. And the witnesses: what lies on a broker, read without any code of ours."""
import hashlib
import hmac
import os
import pathlib
import queue
import subprocess
import threading
import time
import zlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import wire
from .fleet import ROOT
from .wait import wait_for

pb = wire.pb


class OrderVoice:
    """Speaks as server.1 in heliod's place. deaf: kinds of messages that are heard and not answered."""

    def __init__(self, fleet, publisher="pub", broker="da"):
        self.fleet, self.publisher, self.broker = fleet, publisher, broker
        self.key = wire.read_key(fleet.bundle("server.1") / "online.key")
        self.boot, self.session, self.seq, self.keys = os.urandom(16), int(time.time()), 0, None
        self.directive_id = int(time.time())
        self.said, self.outcomes, self.offers, self.deaf = [], [], [], set()
        self.refuse = ""
        self.placed = set()
        self.link = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
        self.link.subscribe(f"helio/v1/pub/{publisher}")
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        fleet.witnesses.append(self)

    def close(self):
        self.ended = True
        self.thread.join()
        self.link.close()

    def _run(self):
        while not self.ended:
            try:
                m = self.link.inbox.get(timeout=0.1)
            except queue.Empty:
                continue
            self._take(m)

    def _take(self, m):
        said = m.decode(pb.PublisherMsg)
        if said.state == pb.PUB_SIGN_IN:
            self._sign_in(said, m.payload)
            return
        if not self.keys or said.session_id != self.session or not wire.mac_holds(m.payload, m.topic, self.keys[0]):
            return
        self.said.append(said)
        if said.state == pb.PUB_ORDERED:
            self.outcomes.append(said.ordered)
        if said.state == pb.PUB_OFFER:
            self.offers.append(said)
        if said.state in self.deaf:
            return
        if said.state == pb.PUB_OFFER and not self.refuse and said.package not in self.placed:
            self.placed.add(said.package)
            self.directive_id += 1
            self.direct(pb.TRANSMIT, request_id=said.request_id, package=said.package, directive_id=self.directive_id,
                        to=pb.Address(broker_id=self.broker, host="localhost", ip="127.0.0.1",
                                      port=self.fleet.port[self.broker], tls=True))
        else:
            self.direct(pb.DIRECTIVE_NOTED, request_id=said.request_id, package=said.package,
                        reason=self.refuse if said.state == pb.PUB_OFFER else "")

    def _sign_in(self, said, payload):
        secret = X25519PrivateKey.generate()
        self.session += 1
        self.seq = 0
        offer = pb.SessionOffer(schema=1, principal=self.publisher, session_id=self.session,
                                x25519_share=wire.raw_public(secret), nonce=said.sign_in.nonce, boot=self.boot,
                                server_key_id=hashlib.sha256(wire.raw_public(self.key)).digest(),
                                next_lineage=os.urandom(16), sign_in_sha256=hashlib.sha256(payload).digest(),
                                server_unix_ms=int(time.time() * 1000), incarnation=1)
        topic = f"helio/v1/offer/{self.publisher}"
        raw = wire.sealed(offer, topic, sign_key=self.key)
        shared = secret.exchange(X25519PublicKey.from_public_bytes(said.sign_in.x25519_share))
        up = HKDF(hashes.SHA256(), 32, hashlib.sha256(payload + raw).digest(), b"helio/v1 mac-up").derive(shared)
        self.keys = (up, hmac.new(up, b"helio/v1 mac-down", hashlib.sha256).digest())
        self.link.publish(topic, raw, wait=False)

    def direct(self, kind, **fields):
        self.seq += 1
        d = pb.Directive(schema=1, publisher=self.publisher, session_id=self.session, seq=self.seq, boot=self.boot,
                         kind=kind, **fields)
        topic = f"helio/v1/pubcmd/{self.publisher}"
        self.link.publish(topic, wire.sealed(d, topic, mac_key=self.keys[1]), wait=False)

    # ------------------------------------------------------------ what a test says and hears

    def ready(self):
        return wait_for(lambda: self.keys and self.said, 20, "the publisher's session")

    def order(self, order):
        """Says it again until its outcome comes, as the server does."""
        seen = len(self.outcomes)

        def heard():
            return [o for o in self.outcomes[seen:] if o.order == order.order and o.revision >= order.revision]
        end = time.monotonic() + 30
        while time.monotonic() < end:
            self.direct(pb.PACKAGE_ORDER, order=order)
            try:
                return wait_for(heard, 2, "an outcome")[-1]
            except AssertionError:
                continue
        raise AssertionError(f"no outcome of {order.order}; said: {self.said[-5:]}")

    def outcome(self, order, fact, timeout=20):
        """The next outcome of this order of which the fact holds."""
        return wait_for(lambda: [o for o in self.outcomes if o.order == order and fact(o)], timeout, f"outcome of {order}")[-1]


def order_of(id_, expression, revision=1, name=None, **fields):
    o = pb.PackageOrder(order=id_, revision=revision, customer=fields.pop("customer", "harbour"), name=name or id_.split(".")[1],
                        **fields)
    if expression is not None:
        o.parts.add(plan="all", expression=expression)
    return o


# ---------------------------------------------------------------- pictures made by program

def png(path, width=64, height=48, seed=1, depth=8, chunks=()):
    """Noise of a seed, so that no two are alike."""
    value, rows = seed * 2654435761 % (1 << 32), bytearray()
    for _ in range(height):
        rows.append(0)
        for _ in range(width * 3 * depth // 8):
            value = (value * 1664525 + 1013904223) % (1 << 32)
            rows.append(value >> 24)
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, 2, 0, 0, 0])

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    body = chunk(b"IHDR", head) + b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b"")
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


# ---------------------------------------------------------------- witnesses

def on_broker(fleet, topic, broker="da", timeout=10):
    """The retained bytes, by mosquitto_sub."""
    return fleet.mosquitto_sub(topic, "-C", "1", "-N", broker=broker, timeout=timeout)


def protoc_decode(kind, data):
    """Decoded by protoc's own decoder and by Google's runtime, which must agree on the kind."""
    done = subprocess.run(["protoc", f"--decode=helio.v1.{kind}", f"--proto_path={ROOT}/proto", "helio.proto"], input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    found = getattr(pb, kind)()
    found.ParseFromString(data)
    return found


def manifest_on(fleet, package, broker="da", publisher="pub"):
    """Root and files of a package as they lie on the broker: mosquitto_sub, sha256sum's algorithm, zstd, protoc."""
    envelope = protoc_decode("Envelope", on_broker(fleet, f"helio/v1/pkg/{publisher}/{package.hex()}", broker))
    assert hashlib.sha256(envelope.payload).digest() == package, "the manifest does not hash to the package id"
    root = protoc_decode("Manifest", envelope.payload)
    index_envelope = protoc_decode("Envelope", on_broker(fleet, f"helio/v1/idx/{publisher}/{package.hex()}/full", broker))
    index = protoc_decode("Index", index_envelope.payload)
    files = []
    for page, ref in zip(index.page_objects, root.pages):
        name = page.sha256 or ref.sha256
        raw = on_broker(fleet, f"helio/v1/chunk/{publisher}/{name.hex()}", broker)
        assert hashlib.sha256(raw).digest() == name
        if page.coding != pb.RAW:
            raw = subprocess.run(["zstd", "-dc"], input=raw, stdout=subprocess.PIPE, check=True).stdout
        assert hashlib.sha256(raw).digest() == ref.sha256
        files += protoc_decode("ManifestPage", raw).files
    return root, files, envelope
