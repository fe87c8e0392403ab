"""A TCP proxy of ours: records, delays, cuts. The witness of what crosses a wire, and a bad network."""
import select
import socket
import threading
import time


class Proxy:
    def __init__(self, to_port, to_host="127.0.0.1", at=("127.0.0.1", 0), narrow=False):
        self.to = (to_host, to_port)
        self.listener = socket.create_server(at)
        self.port = self.listener.getsockname()[1]
        self.up, self.down = bytearray(), bytearray()
        self.pairs, self.ended = [], False
        self.accepted = []                 # when each connection came, by the monotonic clock
        self.held = threading.Event()      # set: bytes are held back
        self.narrow = narrow               # next to nothing is on its way in our own buffers
        self.rate = 0                      # bytes a second to each client; 0: no limit
        self.refuse = False

    def start(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stop()

    def recorded(self):
        return bytes(self.up) + bytes(self.down)

    def _accept(self):
        while not self.ended:
            try:
                client, _ = self.listener.accept()
                self.accepted.append(time.monotonic())
                if self.refuse:
                    client.close()
                    continue
                server = self._connect()
            except OSError:
                if self.ended:
                    return
                continue
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((client, server))
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _connect(self):
        if not self.narrow:
            return socket.create_connection(self.to)
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)    # before the connection, or it is too late
        server.connect(self.to)
        return server

    def _carry(self, client, server):
        try:
            while not self.ended:
                ready, _, _ = select.select([client, server], [], [], 0.2)
                if self.held.is_set():
                    self.held_wait()
                for s in ready:
                    data = s.recv(max(64, min(8192, self.rate // 10)) if self.rate and s is server else 65536)
                    if not data:
                        return
                    if self.rate and s is server:
                        time.sleep(len(data) / self.rate)
                    (self.up if s is client else self.down).extend(data)
                    (server if s is client else client).sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def held_wait(self):
        while self.held.is_set() and not self.ended:
            select.select([], [], [], 0.05)

    def cut(self):
        """Ends every connection that is open now."""
        for client, server in self.pairs:
            for s in (client, server):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs.clear()

    def stop(self):
        self.ended = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)     # else it listens until accept() returns
        except OSError:
            pass
        self.listener.close()
        self.cut()
