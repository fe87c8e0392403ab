"""The independent witness on the wire: Debian's paho for Python, messages by Google's protobuf made
from the same .proto, cryptography for keys. Nothing here shares code with the programs."""
import hashlib
import hmac
import importlib
import os
import pathlib
import queue
import ssl
import subprocess
import sys
import tempfile
import time

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .wait import patience, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
_generated = tempfile.mkdtemp(prefix="helio-pb2-")
subprocess.run(["protoc", f"--python_out={_generated}", f"--proto_path={ROOT}/proto", "helio.proto"],
               check=True)
sys.path.insert(0, _generated)
pb = importlib.import_module("helio_pb2")
sys.path.remove(_generated)

AUTH_MAC = b"\xfa\x7f\x20"
AUTH_SIGNATURE = b"\xfa\x7f\x40"


def shard(client):
    return f"{hashlib.sha256(client.encode()).digest()[0]:02x}"


def hb_topic(client):
    return f"helio/v1/hb/{shard(client)}/{client}"


def sealed(message, topic, *, mac_key=None, sign_key=None):
    """Serialises a message without auth and appends it as the last field."""
    message.ClearField("auth")
    body = message.SerializeToString()
    covered = topic.encode() + b"\0" + body
    if sign_key is not None:
        return body + AUTH_SIGNATURE + sign_key.sign(covered)
    return body + AUTH_MAC + hmac.new(mac_key, covered, hashlib.sha256).digest()


def mac_holds(payload, topic, mac_key):
    body, tail = payload[:-35], payload[-35:]
    good = hmac.new(mac_key, topic.encode() + b"\0" + body, hashlib.sha256).digest()
    return tail == AUTH_MAC + good


def signature_holds(payload, topic, public):
    body, tail = payload[:-67], payload[-67:]
    if tail[:3] != AUTH_SIGNATURE:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(tail[3:], topic.encode() + b"\0" + body)
        return True
    except Exception:
        return False


def read_key(path):
    return serialization.load_pem_private_key(pathlib.Path(path).read_bytes(), password=None)


def raw_public(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Message:
    def __init__(self, m):
        self.topic, self.payload = m.topic, bytes(m.payload)
        self.qos, self.retain, self.at = m.qos, m.retain, time.time()

    def decode(self, kind):
        found = kind()
        found.ParseFromString(self.payload)
        return found


class Client:
    """One MQTT 5 connection with a certificate of the test fleet. Everything received is kept."""

    def __init__(self, port, bundle=None, client_id=None, host="127.0.0.1", ca=None, receive_maximum=None):
        self.messages, self.inbox, self.reasons = [], queue.Queue(), {}
        self.suback = {}
        self.m = mqtt.Client(client_id=client_id or (pathlib.Path(bundle).name if bundle else ""),
                             protocol=mqtt.MQTTv5)
        if bundle:
            bundle = pathlib.Path(bundle)
            self.m.tls_set(str(ca or bundle / "ca.crt"), str(bundle / "tls.crt"), str(bundle / "tls.key"),
                           tls_version=ssl.PROTOCOL_TLS_CLIENT)
        self.m.max_inflight_messages_set(1000)
        self.connected = None
        self.m.on_connect = self._on_connect
        self.m.on_message = self._on_message
        self.m.on_disconnect = self._on_disconnect
        self.m.on_publish = lambda c, u, mid: self.reasons.setdefault(mid, 0)
        self.m.on_subscribe = lambda c, u, mid, codes, props: self.suback.__setitem__(mid, codes)
        self.m.connect(host, port, keepalive=30)
        self.m.loop_start()
        wait_for(lambda: self.connected is not None, 10, "CONNACK")
        assert self.connected == 0, f"connection refused: {self.connected}"

    def _on_connect(self, c, u, flags, reason, properties):
        self.connected = reason if isinstance(reason, int) else reason.value

    def _on_disconnect(self, *args):
        self.gone = True

    def _on_message(self, c, u, m):
        found = Message(m)
        self.messages.append(found)
        self.inbox.put(found)

    def subscribe(self, *topics, qos=1):
        _, mid = self.m.subscribe([(t, mqtt.SubscribeOptions(qos=qos)) for t in topics])
        wait_for(lambda: mid in self.suback, 10, "SUBACK")
        return self

    def publish(self, topic, payload, qos=1, retain=False, wait=True):
        info = self.m.publish(topic, payload, qos=qos, retain=retain)
        if wait and qos:
            info.wait_for_publish(10)
        return info

    def of(self, prefix):
        return [m for m in list(self.messages) if m.topic.startswith(prefix)]

    def next(self, prefix="", timeout=10):
        """The next message not yet taken whose topic begins with prefix."""
        end = time.monotonic() + patience(timeout)
        while True:
            left = end - time.monotonic()
            assert left > 0, f"nothing on {prefix} within {timeout} s"
            try:
                m = self.inbox.get(timeout=left)
            except queue.Empty:
                continue
            if m.topic.startswith(prefix):
                return m

    def close(self, graceful=True):
        if graceful:
            self.m.disconnect()
        self.m.loop_stop()


class Principal:
    """Signs in by the two beats and seals messages: what `hbgen` is in the requirements. It can be
    as wrong as a test wants: every field may be forced, and every byte changed."""

    def __init__(self, port, bundle, online_public=None):
        self.id = pathlib.Path(bundle).name
        self.key = read_key(pathlib.Path(bundle) / "identity.key")
        self.link = Client(port, bundle)
        self.online_public = online_public
        self.session_id, self.seq = 0, 0
        self.boot, self.mac_up, self.mac_down = b"", b"", b""
        self.store_id, self.lineage, self.boot_counter = os.urandom(16), b"", 1
        self.last_response_id, self.ack = 0, pb.ACK_NOTHING
        self.op = None
        self.interval_ms = 1000
        self.link.subscribe(f"helio/v1/offer/{self.id}", f"helio/v1/rsp/{self.id}", f"helio/v1/grant/{self.id}")

    def _sign_in(self, share):
        s = pb.SignIn(public_key=raw_public(self.key), nonce=os.urandom(16), store_id=self.store_id,
                      x25519_share=share, boot_counter=self.boot_counter, lineage=self.lineage)
        return s

    def _status(self):
        return pb.Status(state="idle", agent_version="0.0.1", free_bytes=1 << 30, interval_ms=self.interval_ms,
                         clock_quality=3)

    def sign_in_payload(self, share):
        hb = pb.Heartbeat(schema=1, client_id=self.id, ip_address=bytes([127, 0, 0, 1]), session_id=0, seq=1,
                          ack=pb.ACK_NOTHING, status=self._status(), sign_in=self._sign_in(share))
        return sealed(hb, hb_topic(self.id), sign_key=self.key)

    def sign_in(self, timeout=10):
        secret = X25519PrivateKey.generate()
        share = raw_public(secret)
        self.sign_in_bytes = self.sign_in_payload(share)
        self.link.publish(hb_topic(self.id), self.sign_in_bytes, qos=0)
        m = self.link.next(f"helio/v1/offer/{self.id}", timeout)
        self.take_offer(m, secret)
        return self

    def take_offer(self, m, secret):
        offer = m.decode(pb.SessionOffer)
        if self.online_public:
            assert signature_holds(m.payload, m.topic, self.online_public), "the offer is not signed by the server"
        assert offer.sign_in_sha256 == hashlib.sha256(self.sign_in_bytes).digest()
        shared = secret.exchange(X25519PublicKey.from_public_bytes(offer.x25519_share))
        salt = hashlib.sha256(self.sign_in_bytes + m.payload).digest()

        def derive(info):
            return HKDF(hashes.SHA256(), 32, salt, info).derive(shared)
        self.mac_up = derive(b"helio/v1 mac-up")
        self.mac_down = hmac.new(self.mac_up, b"helio/v1 mac-down", hashlib.sha256).digest()
        self.session_id, self.boot, self.lineage = offer.session_id, offer.boot, offer.next_lineage
        self.seq = 0
        self.offer = offer

    def heartbeat(self, **forced):
        """A good heartbeat of this session, with any field forced. Does not send."""
        self.seq += 1
        hb = pb.Heartbeat(schema=1, client_id=self.id, ip_address=bytes([127, 0, 0, 1]), session_id=self.session_id,
                          seq=self.seq, sent_unix_ms=int(time.time() * 1000), ack=self.ack, boot=self.boot,
                          last_response_id=self.last_response_id, status=self._status())
        if self.op is not None:
            hb.op.CopyFrom(self.op)
        for name, value in forced.items():
            if value is None:
                hb.ClearField(name)
            elif isinstance(value, (list, tuple)):
                hb.ClearField(name)
                getattr(hb, name).extend(value)
            elif hasattr(value, "SerializeToString"):
                getattr(hb, name).CopyFrom(value)
            else:
                setattr(hb, name, value)
        return hb

    def send(self, hb, topic=None, mac_key=None, payload=None):
        topic = topic or hb_topic(self.id)
        payload = payload if payload is not None else sealed(hb, topic, mac_key=mac_key or self.mac_up)
        self.link.publish(topic, payload, qos=0)
        return payload

    def response(self, timeout=10):
        m = self.link.next(f"helio/v1/rsp/{self.id}", timeout)
        r = m.decode(pb.Response)
        assert mac_holds(m.payload, m.topic, self.mac_down), "the response's MAC does not hold"
        return r

    def beat(self, timeout=10, **forced):
        """Sends a heartbeat, waits for its response and acknowledges it from now on."""
        hb = self.heartbeat(**forced)
        self.send(hb)
        while True:
            r = self.response(timeout)
            if r.in_reply_to_seq == hb.seq:
                break
        self.boot, self.interval_ms = r.boot, r.heartbeat_interval_ms
        if r.body.response_id:
            self.last_response_id, self.ack = r.body.response_id, pb.ACK_RESPONSE
        return r

    def quiet(self, seconds=0.6):
        """Asserts that no response comes."""
        time.sleep(seconds)
        assert not self.link.of(f"helio/v1/rsp/{self.id}")[self.seen:], "a response came"

    @property
    def seen(self):
        return getattr(self, "_seen", 0)

    def mark_seen(self):
        self._seen = len(self.link.of(f"helio/v1/rsp/{self.id}"))
        while not self.link.inbox.empty():
            self.link.inbox.get_nowait()

    def close(self):
        self.link.close()
