"""Media in tests: orders by sqlite3, images by bsdtar, imports by the agent's command."""
import os
import pathlib
import random
import subprocess

from lib import wire
from lib.fleet import PROGRAMS
from lib.wait import wait_for

pb = wire.pb

QUICK = {"silent_after_s": 2, "reconnect_spread_s": 0, "medium_after_s": 2, "medium_never_after_s": 0}


def rig(fleet_of, clients=("f1", "f2"), agents=("f1",), data=None, **server):
    fleet = fleet_of(clients=clients, server={"server": {**QUICK, **server}, "data": {"recent_period_s": 0, **(data or {})}})
    return fleet.up(agents=list(agents))


def package(fleet, version="1", name="art", size=3000):
    path = fleet.folder / f"{name}-{version}"
    path.write_bytes(random.Random(f"{name} {version}").randbytes(size))
    return fleet.software_package(name, version, path)


def orders(fleet, client=None, package=None):
    """By sqlite3, not by the server."""
    where = " and ".join(["1"] + ([f"client = '{client}'"] if client else []) + ([f"hex(package) = '{package.upper()}'"] if package else []))
    rows = fleet.sql(f"select number, client, state, reason, path, lower(hex(sha256)), detail from media_order where {where} order by number")
    keys = ("number", "client", "state", "reason", "path", "sha256", "detail")
    return [dict(zip(keys, row.split("|"))) for row in rows.splitlines()]


def recorded(fleet, client, package, timeout=20):
    def look():
        found = orders(fleet, client, package)
        return found[-1] if found and int(found[-1]["state"]) == pb.MEDIA_RECORDED else None
    return wait_for(look, timeout, f"a recorded medium for {client}")


def unpack(iso, into):
    """bsdtar, which is not ours, reads the image."""
    into.mkdir(exist_ok=True)
    done = subprocess.run(["bsdtar", "-xf", iso, "-C", into], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    subprocess.run(["chmod", "-R", "u+w", into], check=True)
    return into


def sha256sum(path):
    return subprocess.run(["sha256sum", path], stdout=subprocess.PIPE, check=True, text=True).stdout.split()[0]


def agent_settings(fleet, client, **agent):
    """The settings that the agent has or would have."""
    settings = fleet.common(client)
    settings["agent"] = {"state_dir": fleet.folder / client, "interval_ms": fleet.interval_ms, **agent}
    fleet.write(client, settings, {})
    return fleet.folder / f"{client}.ini"


def importing(fleet, client, path, env=None, under=(), wait_s=60, **agent):
    """helio-agent import; under: a command that starts it."""
    if not (fleet.folder / f"{client}.ini").exists() or agent:
        agent_settings(fleet, client, **agent)
    return subprocess.run([*map(str, under), str(PROGRAMS["helio-agent"]), "import", str(path), "--config", str(fleet.folder / f"{client}.ini")],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=wait_s, env={**os.environ, "HELIO_TEST": "1", **(env or {})})


def tree(folder):
    return {str(p.relative_to(folder)): sha256sum(p) for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file() and not p.is_symlink()}


def shown(fleet, client, name="art", kind="software"):
    current = fleet.folder / client / f"slots/{kind}/{name}/current"
    return current.resolve().name if current.exists() else None
