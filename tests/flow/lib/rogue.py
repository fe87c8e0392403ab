"""A publisher made by hand: it signs in, offers and stores like a good one, and can be as wrong as a test wants."""
import hashlib
import os

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from . import wire

pb = wire.pb
MANIFEST = "application/vnd.heliograph.manifest.v1+protobuf"
INDEX = "application/vnd.heliograph.index.v1+protobuf"


def sha(data):
    return hashlib.sha256(data).digest()


def envelope(type_, payload, *keys):
    """DSSE v1 over the payload, as proto/envelope.h describes it."""
    covered = b"DSSEv1 %d %s %d " % (len(type_), type_.encode(), len(payload)) + payload
    e = pb.Envelope(payload=payload, payload_type=type_)
    for key in keys:
        e.signatures.add(key_id=sha(wire.raw_public(key)), signature=key.sign(covered))
    return e.SerializeToString()


class Content:
    """A package of one page and raw objects. Every part may be bent before bytes are made of it."""

    def __init__(self, files, name="app", version="1", kind=pb.SOFTWARE):
        self.page = pb.ManifestPage(schema=1)
        self.chunks = {}
        for path, data in sorted(files.items()):
            self.page.files.add(path=path, size_bytes=len(data), sha256=sha(data))
            self.chunks[sha(data)] = data
        self.manifest = pb.Manifest(schema=1, kind=kind, name=name, version=version)
        self.manifest.file_count = len(files)
        self.manifest.size_bytes = sum(map(len, files.values()))
        self.manifest.chunk_count = len(self.chunks)
        self.bend = lambda content: None              # after the page is bytes, before the root is
        self.bend_index = lambda index, page: None    # the index and its page, before they are bytes

    def make(self, release_key, publisher_key, index_key=None):
        page = self.page.SerializeToString()
        self.manifest.pages.add(sha256=sha(page), size_bytes=len(page), chunk_count=len(self.chunks),
                                file_count=self.manifest.file_count)
        self.bend(self)
        payload = self.manifest.SerializeToString()
        self.id = sha(payload)
        self.envelope = envelope(MANIFEST, payload, release_key)
        objects = pb.IndexPage(schema=1)
        order = list(dict.fromkeys(f.sha256 for f in self.page.files))
        for i, _ in enumerate(order):
            objects.objects.add(coding=pb.RAW, first_chunk=i, chunk_count=1)
        index = pb.Index(schema=1, package=self.id)
        self.bend_index(index, objects)
        raw = objects.SerializeToString()
        index.object_count = len(order) + 2
        index.object_bytes = sum(map(len, self.chunks.values())) + len(page) + len(raw)
        index.page_objects.add(coding=pb.RAW, first_chunk=0, chunk_count=1)
        ref = index.pages.add(sha256=sha(raw), size_bytes=len(raw))
        ref.object.coding, ref.object.first_chunk, ref.object.chunk_count = pb.RAW, 0, 1
        self.index = envelope(INDEX, index.SerializeToString(), index_key or publisher_key)
        self.objects = {**self.chunks, sha(page): page, sha(raw): raw}
        return self

    @property
    def hex(self):
        return self.id.hex()


class Publisher(wire.Principal):
    def __init__(self, fleet, id_):
        super().__init__(fleet.port["control"], fleet.bundle(id_), fleet.online_public())
        fleet.witnesses.append(self)
        self.fleet, self.request, self.data = fleet, 0, {}
        self.topic = f"helio/v1/pub/{id_}"
        self.link.subscribe(f"helio/v1/pubcmd/{id_}")
        self.mark = os.urandom(16)
        self.directives = {}
        self.sign_in()

    def sign_in_payload(self, share):
        m = pb.PublisherMsg(schema=1, publisher=self.id, session_id=0, seq=1, state=pb.PUB_SIGN_IN,
                            sign_in=self._sign_in(share))
        return wire.sealed(m, self.topic, sign_key=self.key)

    def sign_in(self, timeout=10):
        secret = X25519PrivateKey.generate()
        self.sign_in_bytes = self.sign_in_payload(wire.raw_public(secret))
        self.link.publish(self.topic, self.sign_in_bytes)
        self.take_offer(self.link.next(f"helio/v1/offer/{self.id}", timeout), secret)
        return self

    def say(self, state, **fields):
        self.seq += 1
        self.request += 1
        m = pb.PublisherMsg(schema=1, publisher=self.id, session_id=self.session_id, seq=self.seq, boot=self.boot,
                            request_id=self.request, state=state, **fields)
        self.link.publish(self.topic, wire.sealed(m, self.topic, mac_key=self.mac_up))
        return self.request

    def directive(self, kinds, package, timeout=15):
        while True:
            m = self.link.next(f"helio/v1/pubcmd/{self.id}", timeout)
            d = m.decode(pb.Directive)
            if d.session_id != self.session_id:
                continue                            # of a session before this one
            assert wire.mac_holds(m.payload, m.topic, self.mac_down)
            if d.package == package and d.kind in kinds:
                return d

    def offer_package(self, content):
        self.say(pb.PUB_OFFER, package=content.id, manifest=content.envelope,
                 object_bytes=sum(map(len, content.objects.values())))
        return self.directive((pb.TRANSMIT, pb.DIRECTIVE_NOTED), content.id)

    def broker(self, name):
        if name not in self.data:
            self.data[name] = wire.Client(self.fleet.port[name], self.fleet.bundle(self.id))
            self.fleet.witnesses.append(self.data[name])
        return self.data[name]

    def put(self, broker, what, topic, payload):
        self.broker(broker).publish(f"helio/v1/{what}/{self.id}{topic}", payload, retain=True)

    def store(self, content, broker):
        """Mark, objects, manifest, index: the order of publishing."""
        self.put(broker, "mark", "", self.mark)
        for id_, data in content.objects.items():
            self.put(broker, "chunk", f"/{id_.hex()}", data)
        self.put(broker, "pkg", f"/{content.hex}", content.envelope)
        self.put(broker, "idx", f"/{content.hex}/full", content.index)

    def publish(self, content):
        """Offers, stores and says so; returns the broker's name."""
        d = self.offer_package(content)
        assert d.kind == pb.TRANSMIT, d.reason
        broker = d.to.broker_id
        self.store(content, broker)
        self.say(pb.PUB_STORED, package=content.id, directive_id=d.directive_id, broker_id=broker, mark=self.mark,
                 index_sha256=sha(content.index), object_bytes=sum(map(len, content.objects.values())),
                 objects=len(content.objects))
        return broker
