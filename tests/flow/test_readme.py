"""README.md is the tour: every command of it is run, in order, in one shell, as a newcomer would."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from lib.fleet import BUILD, PROGRAMS, ROOT

README = (ROOT / "README.md").read_text()
# They install, build or run the tests that this is one of.
HEAVY = {"deploy/quickstart --once", "tests/run"}


def blocks():
    return re.findall(r"^```sh\n(.*?)^```$", README, re.S | re.M)


def commands(block):
    """The lines of a block, with continued ones joined."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def processes(path):
    found = []
    for line in path.read_text().splitlines():
        pid, began, name = line.split()
        found.append((int(pid), began, name))
    return found


def is_running(pid, began):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[19] == began and fields[0] != "Z"


@pytest.fixture
def tour():
    """Runs the whole README; what each command said, and with which code it ended."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="helio-tour-"))
    home = base / "a home"      # with a blank: quoting is part of what is promised
    home.mkdir()
    script = ["exec 2>&1", f"cd '{ROOT}'"]
    wanted = []
    for block in blocks():
        for command in commands(block):
            if command in HEAVY:
                continue
            if command == "deploy/quickstart --stop":
                script.append("cp ~/heliograph-quickstart/pids ~/pids-before")
            script.append(command)
            script.append(f"printf '\\n@@ %d {len(wanted)}\\n' $?")
            wanted.append(command)
    # bash reads commands from a file, as from a terminal: assignments and PATH live on.
    path = base / "tour.sh"
    path.write_text("set -o pipefail\n" + "\n".join(script) + "\n")
    env = {k: v for k, v in os.environ.items() if k not in ("HELIOCTL_CONFIG", "XDG_CONFIG_HOME", "DISPLAY", "WAYLAND_DISPLAY")}
    env.update({"HOME": str(home), "HELIO_QUICKSTART_BUILD": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"})
    try:
        done = subprocess.run(["bash", path], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=300)
        said = re.split(r"\n@@ (\d+) (\d+)\n", done.stdout)
        results = {wanted[int(said[i + 2])]: (int(said[i + 1]), said[i]) for i in range(0, len(said) - 2, 3)}
        before = processes(home / "pids-before") if (home / "pids-before").exists() else []
        left = [(pid, name) for pid, began, name in before if is_running(pid, began)]
        yield {"wanted": wanted, "results": results, "before": before, "left": left, "home": home, "all": done.stdout}
    finally:
        subprocess.run([ROOT / "deploy/quickstart", "--stop"], env=env, stdout=subprocess.DEVNULL)
        shutil.rmtree(base, ignore_errors=True)


@pytest.mark.slow
def test_X_6_every_command_of_the_readme_runs(tour):
    """One test, because the tour is long: every command succeeds, says what is promised, and --stop leaves nothing."""
    assert len(tour["wanted"]) >= 20, tour["wanted"]
    failed = [f"$ {c}  -> {tour['results'].get(c, ('not reached', ''))[0]}\n{tour['results'].get(c, ('', ''))[1][-1500:]}"
              for c in tour["wanted"] if tour["results"].get(c, (None,))[0] != 0]
    assert not failed, "\n".join(failed)
    check_promises(tour)
    check_nothing_is_left(tour)


def check_promises(tour):
    said = {command: text for command, (_, text) in tour["results"].items()}
    assert re.search(r"four kinds|version 2 cost", said["deploy/quickstart"]) and "screenshot.png" in said["deploy/quickstart"]
    assert (tour["home"] / "heliograph-quickstart/screenshot.png").stat().st_size > 10_000
    assert "4 clients: 4 online" in said["helioctl status"]
    assert "f3 is online" in said["helioctl why f3"] and "retrieve-information" in said["helioctl why f3"]
    assert "data-a" in said["helioctl brokers"] and "data-b" in said["helioctl brokers"]
    assert "error" not in said["helioctl doctor"]
    assert "1 of 1 done" in said["helioctl exec f4 ping --wait"]
    assert "1 of 1 done" in said["helioctl channel publish lobby gallery@3 --wait"]
    assert re.search(r"^gallery@3 ", said["helioctl package list"], re.M)
    would = said['helioctl customer plan cafe all --expression "mine and width >= 4000" --dry-run']
    assert re.search(r"pictures that come \d+, that go \d+", would) and "would be at revision" in would, would
    assert "all" in said["helioctl customer show cafe"] and "terrace" in said["helioctl customer show cafe"]
    assert "1920x1080" in said["helioctl customer show cafe"] and "alice" in said["helioctl customer history cafe"]
    wire = next(text for command, text in said.items() if "helioctl decode" in command)
    assert "hb " in wire and "rsp" in wire and "helioctl: line" not in wire, wire
    assert len([line for line in wire.strip().splitlines() if not line.startswith("    ")]) == 20
    day = said["cut -d' ' -f2- ~/day.txt | helioctl decode"]
    assert "execute-command" in day and "no-action" in day and re.search(r"^hb\b.*f4", day, re.M) and re.search(r"^rsp\b.*f4", day, re.M), day
    assert re.search(r"\d+ (idle|what ended is still shown)", said["helioctl why f4"]), said["helioctl why f4"]
    replay = said["helioctl replay ~/day.txt --set mismatch_limit=1"]
    assert re.search(r"answers compared: 0 would have been different", replay), replay
    assert 'client_id: "f3"' in next(text for command, text in said.items() if "protoc --decode" in command)
    assert not re.search(r"\x1b", tour["all"]), "no colours where there is no terminal"


def check_nothing_is_left(tour):
    names = [name for _, _, name in tour["before"]]
    assert {"broker-control", "heliod", "helio-publisher", "f1", "f4", "display"} <= set(names), names
    assert not tour["left"], tour["left"]
    said = tour["results"]["deploy/quickstart --stop"][1]
    assert "heliod" in said and "broker-control" in said and not (tour["home"] / "heliograph-quickstart/pids").exists()


def test_X_6_the_two_commands_of_the_readme_exist():
    named = {c for block in blocks() for c in commands(block)}
    assert HEAVY <= named, "the README no longer begins with its two commands"
    for command in HEAVY:
        assert os.access(ROOT / command.split()[0], os.X_OK), command
    helped = subprocess.run([ROOT / "deploy/quickstart", "--help"], stdout=subprocess.PIPE, text=True)
    assert helped.returncode == 0 and all(o in helped.stdout for o in ("--once", "--stop", "--home", "--build"))


def test_X_6_what_the_readme_names_is_there():
    """Folders and files in backquotes exist; what it says of a settings line is what the agent takes."""
    rooms = {row.split("`")[1] for row in re.findall(r"^\| `[^|]*\|", README, re.M)}
    assert {"proto/", "server/", "client/", "tests/"} <= rooms
    missing = [room for room in rooms if not (ROOT / room).is_dir()]
    for room, about in re.findall(r"^\| `([^`]+)` \| (.*) \|$", README, re.M):
        for name in re.findall(r"`([A-Za-z_./]+)`", about):
            places = [ROOT / room / name, ROOT / room / f"{name}.c", ROOT / room / f"{name}.h", ROOT / name]
            if not any(p.exists() for p in places) and name not in PROGRAMS:
                missing.append(f"{room} {name}")
    for name in re.findall(r"`((?:proto|server|client|tests|deploy|broker-conf)/[A-Za-z_./]+)`", README):
        if not (ROOT / name).exists():
            missing.append(name)
    assert not missing, missing
    helped = subprocess.run([PROGRAMS["helio-agent"], "--help"], stdout=subprocess.PIPE, text=True).stdout
    line = re.search(r"`run = (NAME TIMEOUT_S /PATH ARG\.\.\.)` below `\[commands\]`", README)
    assert line and line[1] in helped


@pytest.mark.parametrize("wrong", ["--nonsense", "--build=/absent"])
def test_X_6_the_quickstart_refuses_in_a_sentence(wrong, folder):
    done = subprocess.run([ROOT / "deploy/quickstart", "--home", folder / "q", wrong], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr and done.stderr.strip()
    # A folder that is not a quickstart's is never emptied.
    (folder / "precious").mkdir()
    (folder / "precious/file").write_text("x")
    done = subprocess.run([ROOT / "deploy/quickstart", "--home", folder / "precious", "--build", BUILD], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "--home" in done.stderr and (folder / "precious/file").read_text() == "x"
    assert [p.name for p in (folder / "precious").iterdir()] == ["file"]
