"""The ground the tests stand on: a port that a test was given is its own."""
import multiprocessing
import pathlib
import socket

from lib.procs import Proc, free_ports, port_answers
from lib.wait import wait_for

LOOPBACK = "127.0.0.1"


def broker_conf(folder, port):
    conf = folder / f"{port}.conf"
    conf.write_text(f"listener {port} {LOOPBACK}\nallow_anonymous true\n")
    return conf


def connect_again_and_again(port, ended, made):
    """Short connections take local port after local port, as many as the kernel has."""
    while not ended.is_set():
        with socket.create_connection((LOOPBACK, port)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            made.value += 1


def ports_of_a_worker(folder, count, queue):
    """What one test process does: ports first, its brokers on them later; each of them twice."""
    ports = free_ports(count)
    refused = []
    for _ in range(2):
        brokers = [Proc(f"{port}", ["mosquitto", "-c", broker_conf(folder, port)], folder).start() for port in ports]
        for port, broker in zip(ports, brokers):
            wait_for(lambda: port_answers(port) or not broker.alive(), 20, f"a broker on {port}")
            refused += broker.lines("in use")
            refused += [] if broker.alive() else [f"{port}: ended with {broker.p.returncode}"]
        for broker in brokers:
            broker.kill()
    queue.put((ports, refused))


def test_ports_are_kept_while_connections_come_and_go(folder):
    context = multiprocessing.get_context("fork")
    listener = socket.create_server((LOOPBACK, 0), backlog=512)
    ended, made, queue = context.Event(), context.Value("Q", 0), context.Queue()
    noise = context.Process(target=connect_again_and_again, args=(listener.getsockname()[1], ended, made))
    sink = context.Process(target=lambda: [listener.accept()[0].close() for _ in iter(int, 1)])
    workers = []
    for number in range(3):
        home = folder / str(number)
        home.mkdir()
        workers.append(context.Process(target=ports_of_a_worker, args=(home, 12, queue)))
    for p in (sink, noise, *workers):
        p.start()
    try:
        found = [queue.get(timeout=60) for _ in workers]
        wait_for(lambda: made.value > 2000, 30, "thousands of connections")
    finally:
        ended.set()
        noise.join(10)
        sink.kill()
        for p in workers:
            p.join(10)
        listener.close()
    ports = [port for some, _ in found for port in some]
    assert [text for _, refused in found for text in refused] == []
    assert len(set(ports)) == 36, "two test processes were given the same port"


def connection_from(port, to):
    """A connection whose local port is that one; None when it cannot be had."""
    try:
        return socket.create_connection(to, source_address=(LOOPBACK, port))
    except OSError:
        return None


def found_and_let_go():
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        return s.getsockname()[1]


def test_ports_that_are_only_found_free_are_taken(folder):
    """The control: a connection may sit on a port that was looked at and let go; on one that is held, none."""
    kept = free_ports(1)[0]
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not low <= kept <= high or (low <= 10000 and high == 65535)
    with socket.create_server((LOOPBACK, 0)) as listener:
        to = listener.getsockname()
        assert connection_from(kept, to) is None
        taken = next(c for c in (connection_from(found_and_let_go(), to) for _ in range(20)) if c)
        with taken:
            for port, refused in ((taken.getsockname()[1], True), (kept, False)):
                broker = Proc(f"broker-{port}", ["mosquitto", "-c", broker_conf(folder, port)], folder).start()
                wait_for(lambda: not broker.alive() or port_answers(port), 10, "the broker listens or ends")
                assert bool(broker.lines("Address already in use")) == refused == (not broker.alive()), broker.text()
                broker.kill()
