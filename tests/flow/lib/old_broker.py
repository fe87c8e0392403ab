"""A broker of before MQTT 5: it answers CONNECT as MQTT 3.1.1 says a broker must that does not speak the version it is asked for, over
TLS if it gets a folder with certificates. It counts who asked with which version."""
import pathlib
import socket
import ssl
import threading


class OldBroker:
    def __init__(self, port, home=None):
        self.versions, self.ends = [], False
        self.tls = None
        if home:
            home = pathlib.Path(home)
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(home / "tls.crt", home / "tls.key")
            self.tls.load_verify_locations(home / "ca.crt")
            self.tls.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ends:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(peer,), daemon=True).start()

    def answer(self, peer):
        try:
            peer.settimeout(10)
            with self.tls.wrap_socket(peer, server_side=True) if self.tls else peer as c:
                packet = c.recv(4096)
                if packet[:1] != b"\x10":
                    return
                at = packet.index(b"\x00\x04MQTT")
                self.versions.append(packet[at + 6])
                # CONNACK: session not present, return code 1 "unacceptable protocol version"; 0 for its own version.
                c.sendall(bytes((0x20, 2, 0, 0 if packet[at + 6] == 4 else 1)))
                if packet[at + 6] == 4:
                    c.recv(4096)
        except (OSError, ValueError):
            pass        # gone, or no certificate of ours

    def close(self):
        self.ends = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
