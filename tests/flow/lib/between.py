"""A man between a program and a broker who reads MQTT 5: he may lose, bend or hold back single messages, as a bad network
or a bad host does. He holds the keys of the transport, which the test fleet gave him, and none of the messages' own."""
import select
import socket
import ssl
import threading

PUBLISH, PUBACK = 3, 4


class Packet:
    """One MQTT packet; of a PUBLISH also topic and payload, which may be another one when it goes on."""

    def __init__(self, head, body):
        self.kind, self.flags, self.body = head >> 4, head & 15, body
        if self.kind != PUBLISH:
            return
        size = int.from_bytes(body[:2], "big")
        self.topic, at = body[2:2 + size].decode(), 2 + size
        self.qos = self.flags >> 1 & 3
        self.id = body[at:at + 2] if self.qos else b""
        at += len(self.id)
        length, used = varint(body, at)
        self.front, self.payload = body[:at + used + length], body[at + used + length:]

    def bytes(self, payload=None):
        body = self.body if payload is None else self.front + payload
        return bytes([self.kind << 4 | self.flags]) + varint_bytes(len(body)) + body

    def puback(self):
        return bytes([PUBACK << 4, 2]) + self.id if self.qos == 1 else b""


def varint(data, at):
    """(value, bytes used), or None where more bytes are needed."""
    value = 0
    for n in range(4):
        if at + n >= len(data):
            return None
        value |= (data[at + n] & 127) << 7 * n
        if data[at + n] < 128:
            return value, n + 1
    raise ValueError("no length")


def varint_bytes(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


class Stream:
    """Bytes of one direction, cut into packets."""

    def __init__(self):
        self.data = bytearray()

    def packets(self, more):
        self.data += more
        while len(self.data) >= 2:
            length = varint(self.data, 1)
            if length is None or len(self.data) < 1 + length[1] + length[0]:
                return
            end = 1 + length[1] + length[0]
            packet = Packet(self.data[0], bytes(self.data[1 + length[1]:end]))
            del self.data[:end]
            yield packet


def received(s):
    """None: what came were words of TLS alone, and nobody waits for more."""
    s.settimeout(0)
    try:
        return s.recv(65536)
    except ssl.SSLWantReadError:
        return None
    finally:
        s.settimeout(10)


class Between:
    """down(topic, payload) and up(topic, payload) are asked about each message to and from the program: they give back
    the payload that goes on, or None: it is lost, and whoever sent it believes that it arrived."""

    def __init__(self, fleet, broker="control"):
        self.fleet, self.to = fleet, fleet.port[broker]
        self.down = self.up = lambda topic, payload: payload
        b = fleet.bundle(broker)
        self.accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.accepting.load_cert_chain(b / "tls.crt", b / "tls.key")
        self.accepting.load_verify_locations(b / "ca.crt")
        self.accepting.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ended, self.failures = False, []
        self.sockets, self.threads = set(), []

    def __enter__(self):
        self._thread(self._accept)
        return self

    def __exit__(self, *args):
        self.stop()
        assert not self.failures, self.failures

    def settings(self):
        """Of the program that goes through here."""
        return {"control": {"port": self.port}}

    def _thread(self, work, *args):
        self.threads.append(threading.Thread(target=work, args=args, daemon=True))
        self.threads[-1].start()

    def _accept(self):
        while not self.ended:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            self._thread(self._carry, plain)

    def _open(self, plain):
        plain.settimeout(10)
        client = self.accepting.wrap_socket(plain, server_side=True)
        name = dict(rdn[0] for rdn in client.getpeercert()["subject"])["commonName"]
        b = self.fleet.bundle(name)
        context = ssl.create_default_context(cafile=str(b / "ca.crt"))
        context.load_cert_chain(b / "tls.crt", b / "tls.key")
        broker = context.wrap_socket(socket.create_connection(("127.0.0.1", self.to), 10), server_hostname="localhost")
        for s in (client, broker):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, broker

    def _carry(self, plain):
        client = broker = plain
        try:
            client, broker = self._open(plain)
            ways = {client: (broker, Stream(), "up"), broker: (client, Stream(), "down")}
            self.sockets |= {client, broker}
            while not self.ended:
                ready = [s for s in ways if s.pending()] or select.select(list(ways), [], [], 0.2)[0]
                for s in ready:
                    data = received(s)
                    if data == b"":
                        return
                    if data:
                        self._pass(s, *ways[s], data)
        except (OSError, ssl.SSLError):
            pass
        except Exception as e:      # noqa: BLE001  a judge that fails is the test's failure, not the thread's
            self.failures.append(repr(e))
        finally:
            for s in (client, broker):
                self.sockets.discard(s)
                s.close()

    def _pass(self, source, sink, stream, way, data):
        for p in stream.packets(data):
            if p.kind != PUBLISH:
                sink.sendall(p.bytes())
                continue
            payload = getattr(self, way)(p.topic, p.payload)
            if payload is not None:
                sink.sendall(p.bytes(payload))
            elif p.qos:
                source.sendall(p.puback())

    def stop(self):
        self.ended = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for t in self.threads:
            t.join(5)
