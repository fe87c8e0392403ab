"""A private PostgreSQL: its folder, its socket, its one process group. Nothing of it outlives the test."""
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

USER = "heliograph"


def programs():
    """The folder of initdb and postgres, or None where PostgreSQL is not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), reverse=True)
    return pathlib.Path(found[0]).parent if found else None


def account():
    """It refuses to run as root: then somebody without rights does."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("there is neither a user postgres nor nobody")


class Postgres:
    """durable=True: with fsync, for tests that are about what a power cut or a kill leaves."""

    def __init__(self, durable=False, settings=()):
        self.bin = programs()
        assert self.bin, "PostgreSQL is not installed (Debian: postgresql-15)"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="helio-pg-"))
        self.data, self.log = self.folder / "data", self.folder / "log"
        self.as_user, self.p = account(), None
        if self.as_user:
            os.chown(self.folder, self.as_user.pw_uid, self.as_user.pw_gid)
        self.settings = [f"unix_socket_directories={self.folder}", "listen_addresses=", "max_connections=40",
                         "shared_buffers=16MB", f"fsync={'on' if durable else 'off'}",
                         f"full_page_writes={'on' if durable else 'off'}", "autovacuum_naptime=5min",
                         "logging_collector=off", "log_line_prefix=%m [%p] ", *settings]
        made = subprocess.run(self._as(["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", "-D",
                                        self.data], "initdb"), capture_output=True, text=True, cwd="/")
        assert made.returncode == 0, made.stderr

    def _as(self, argv, program):
        argv = [str(self.bin / program), *map(str, argv)]
        if not self.as_user:
            return ["setpriv", "--pdeathsig", "INT", *argv]
        return ["setpriv", "--pdeathsig", "INT", f"--reuid={self.as_user.pw_uid}", f"--regid={self.as_user.pw_gid}",
                "--clear-groups", *argv]

    @property
    def url(self):
        return f"postgresql:///postgres?host={self.folder}&user={USER}"

    def start(self):
        options = [word for s in self.settings for word in ("-c", s)]
        with open(self.log, "ab") as out:
            self.p = subprocess.Popen(self._as(["-D", self.data, *options], "postgres"), stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=out, cwd="/", start_new_session=True)
        until = time.monotonic() + 30
        while subprocess.run([self.bin / "pg_isready", "-q", "-h", self.folder, "-U", USER]).returncode != 0:
            assert self.p.poll() is None and time.monotonic() < until, self.log.read_text()[-2000:]
            time.sleep(0.02)
        return self

    def sql(self, text, schema=None):
        """By psql: rows of fields."""
        env = {**os.environ, "PGOPTIONS": f"-csearch_path={schema}" if schema else ""}
        done = subprocess.run([self.bin / "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h",
                               self.folder, "-U", USER, "-d", "postgres", "-c", text], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def end(self, number=signal.SIGINT):
        """SIGINT: as a stop in order; SIGQUIT: as a crash, with recovery at the next start."""
        if self.p and self.p.poll() is None:
            os.kill(self.p.pid, number)
            try:
                self.p.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, signal.SIGKILL)
                self.p.wait()

    def close(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


def one(postgres, query):
    rows = postgres.sql(query)
    return rows[0][0] if rows else None
