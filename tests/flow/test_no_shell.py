"""No name that comes from outside ever reaches a shell. strace, which sees every program that any of ours starts, is the witness; names as of a
shell's tricks go through everything that takes a name."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from lib.fleet import PROGRAMS
from lib.orders import png
from lib.procs import Proc
from lib.wait import wait_for

HIT = "hit-by-a-shell"
TRICKS = [f"$(touch {HIT})", f"`touch {HIT}`", f"; touch {HIT}", f"& touch {HIT} &", f"| touch {HIT}", f"|| touch {HIT}", f"&& touch {HIT}",
          f"\n touch {HIT}", f"' ; touch {HIT} ; '", f'" ; touch {HIT} ; "', f">{HIT}", f">>{HIT}", f"<({HIT})", f"$((a[$(touch {HIT})]))", f"${{IFS}}touch${{IFS}}{HIT}",
          f"{{touch,{HIT}}}", f"a;touch\t{HIT}", f"%0atouch {HIT}", f"$'\\x3btouch {HIT}'", f"() {{ :; }}; touch {HIT}", f"!touch {HIT}", f"~/{HIT}", f"* {HIT}",
          f"? {HIT}", f"[a-z] {HIT}", "-", "--", "-rf", "--help", "--eval=1", "-c touch", "-o ProxyCommand=touch", f"@{HIT}", f"#{HIT}", f"\\; touch {HIT}",
          f"$PATH {HIT}", "$0", "${0}", f"<<EOF\ntouch {HIT}\nEOF", f"eval touch {HIT}", f"exec touch {HIT}", f". {HIT}", f"source {HIT}", f"LD_PRELOAD={HIT}",
          f"BASH_ENV={HIT} x", f"PATH=. {HIT}", f"sh -c 'touch {HIT}'", f"/bin/sh -c 'touch {HIT}'", f"%s%n {HIT}", f"../{HIT}; touch {HIT}"]
SHELLS = ("sh", "bash", "dash", "zsh", "busybox")


def traced(fleet, folder, name):
    """strace at a program that runs."""
    pid = fleet.procs[name].p.pid
    out = Proc(f"strace-{name}", ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-s", "200", "-o", folder / f"execs-{name}", "-p", pid], folder).start()
    wait_for(lambda: "TracerPid:\t0\n" not in pathlib.Path(f"/proc/{pid}/status").read_text(), 10, "strace looks")
    return out


def ctl(fleet, folder, *words):
    """helioctl under strace; its exit code is its own affair."""
    argv = ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-s", "200", "-A", "-o", folder / "execs-helioctl", PROGRAMS["helioctl"],
            "--config", fleet.ctl_config(), "--json", *words]
    return subprocess.run([str(w) for w in argv], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env={**os.environ, "HELIO_TEST": "1"})


def shells_in(folder):
    lines = [line for f in folder.glob("execs-*") for line in f.read_text().splitlines() if "exec" in line]
    return lines, [line for line in lines if any(f'/{shell}", [' in line for shell in SHELLS)]


HANDLER = """import json, sys
with open("{log}", "a") as f:
    f.write(json.dumps(sys.argv[1:]) + "\\n")
"""


def program(folder, name):
    path, log = folder / name, folder / f"{name}.log"
    path.write_text(f"#!/usr/bin/python3\n" + HANDLER.format(log=log))
    path.chmod(0o755)
    return path, lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.skipif(not shutil.which("strace"), reason="strace sees what is run")
@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.long)])
def test_C7_no_name_reaches_a_shell(fleet_of, folder, count):
    tricks = TRICKS[:count]
    words = [t for t in tricks if "\n" not in t and "\t" not in t]
    assert len(tricks) == count
    handler, handled = program(folder, "handler")
    work, worked = program(folder, "work")
    fleet = fleet_of(clients=("f1",), interval_ms=200, agent={"commands": {"run": [f"work 30 {work} ..."]},
                                                             "update": {"handler": f"app script {handler}", "trial_s": 20}}).up()
    traces = [traced(fleet, folder, name) for name in ("heliod", "pub", "f1")]
    try:
        # As names of files, titles and tags of pictures.
        pictures = []
        for n, trick in enumerate(t for t in tricks if "/" not in t):
            pictures.append(png(folder / f"{trick}.png", 8, 8, seed=n + 1))
        added = ctl(fleet, folder, "image", "add", *[w for t in tricks[:3] for w in ("--tag", t)], "--", *pictures)
        assert len([i for i in json.loads(added.stdout)["images"] if i.get("image")]) >= 0.8 * len(pictures) > 4, added
        # As names of everything that has one; some are refused.
        for trick in tricks:
            ctl(fleet, folder, "customer", "add", f"--name={trick}", "harbour")
        codes = {ctl(fleet, folder, *verb, f"x{trick}").returncode for trick in tricks[:12]
                 for verb in (("channel", "create"), ("client", "show"), ("package", "show"), ("package", "build", "--name", "art", "--tag", "sea", "--version"))}
        assert 0 not in codes and codes <= {1, 2, 3, 4, 5}, codes
        # To a program that the device names: words, all of them, as they are.
        for at in range(0, len(words), 8):
            done = ctl(fleet, folder, "exec", "--wait", "f1", "work", "--", *words[at:at + 8])
            assert done.returncode == 0, done
        # To the handler of an update: a version as far as a version may go, and files of such names.
        home = folder / "release"
        home.mkdir()
        (home / "what").write_text("1")
        package = fleet.software_package("app", "1.0-x_y", home)
        fleet.ctl("channel", "publish", "default", package)
        wait_for(lambda: any(row[0] == "commit" for row in handled()), 30, "the handler was asked")
    finally:
        for t in traces:
            t.stop()
    assert [w for row in worked() for w in row] == words
    assert {row[0] for row in handled()} >= {"prepare", "install", "verify", "commit"} and all("1.0-x_y" in row for row in handled())
    lines, shells = shells_in(folder)
    for seen in (work, handler, PROGRAMS["helioctl"]):
        assert any(f'"{seen}"' in line for line in lines), "the witness sees what is run"
    assert "execve" in (folder / "execs-pub").read_text()   # the child that reads pictures
    assert not shells, shells
    assert not [p for p in folder.rglob(HIT)] and not pathlib.Path(HIT).exists()
    # Control: the witness would have seen one, and the tricks are tricks.
    subprocess.run(["strace", "-f", "-qq", "-e", "trace=execve", "-o", folder / "execs-control", "/bin/sh", "-c", f"echo {TRICKS[0]}"], cwd=folder, check=True,
                   stdout=subprocess.PIPE)
    assert shells_in(folder)[1] and (folder / HIT).exists()
