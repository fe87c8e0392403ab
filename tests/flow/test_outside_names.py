"""C3, C5: names and files that come from outside. Names of a shell's and a file system's nightmares go through everything that the publisher's
socket and the server's verbs take; nothing outside of their folders is written, and no name in them is one of those. Folders hold what is no
file: it is named, and not read."""
import json
import os
import re
import socket
import stat
import subprocess


from lib.orders import png
from lib.wait import wait_for

NAMES = ["", ".", "..", "../x", "/abs", "/", "//", "a//b", "a/", "a/../../b", "a/./b", "a/..", ".hidden", "a/.hidden", "a\\b", "..\\x", "a b", "a ", " a",
         "a\tb", "a\nb", "a\rb", "a\x01", "a\x7f", "a\x00b", "../\x00", "%2e%2e/x%", "%2e%2e", "．．/x", "\u2024\u2024/x", "ä.jpg", "a:b", "c:", "con:",
         "a*b", "a?b", "a#b", "a+b", "a|b", "a;b", "a$b", "$(x)", "`x`", "a&b", "a'b", 'a"b', "<a>", "a,b", "a=b", "~", "~root/x", "a@b", "a!b", "{a}",
         "[a]", "(a)", "../../..", "../../../../../../../../tmp/helio-evil", "a/b/../c", "con\\x", "./a", "a/.", "\x1b]52;", "x/..\\y", "a/" * 2048,
         "e" * 300, "../" * 1365, "\u202egpj"]
SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
MARK = b"helio-evil-mark" * 50


class Publisher:
    """Its socket, spoken to directly: no helioctl judges first."""

    def __init__(self, fleet):
        self.s, self.number = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), 0
        self.s.settimeout(30)
        self.s.connect(str(fleet.folder / "pub.sock"))

    def ask(self, fd=None, **request):
        self.number += 1
        socket.send_fds(self.s, [json.dumps({**request, "request": self.number}).encode()], [] if fd is None else [fd])
        while True:
            said = json.loads(self.s.recv(1 << 17))
            if "ok" in said and said.get("request") in (self.number, 0, None):
                return said


def written(folder):
    return {p.relative_to(folder) for p in folder.rglob("*")}


def test_C3_no_name_leads_out_of_a_folder(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up(agents=[])
    assert len(NAMES) >= 60
    pub, mark = Publisher(fleet), folder / "mark"
    mark.write_bytes(MARK)
    picture = png(folder / "good.png", 8, 8, seed=1)
    fleet.ctl("customer", "add", "acme")
    before, taken = written(folder), []
    for name in NAMES:
        with open(mark, "rb") as f, open(picture, "rb") as p:
            asked = [pub.ask(f.fileno(), verb="package-build", kind="software", name=name, version="1", file="ok"),
                     pub.ask(f.fileno(), verb="package-build", kind="software", name="app", version=name, file="ok"),
                     pub.ask(f.fileno(), verb="package-build", kind="software", name="app", version="1", file=name),
                     pub.ask(f.fileno(), verb="package-build", kind="software", name="app", version="1", file="ok", customer=name or "../acme"),
                     pub.ask(verb="package-show", package=name), pub.ask(verb="image-thumb", image=name), pub.ask(verb="image-remove", image=name),
                     pub.ask(verb="command-put", broker=name, host="localhost", port=1, tls=False, sha256=name),
                     pub.ask(p.fileno(), verb="image-add", title=name, tags=["sea"], licence="x")]
        taken += [(name, n) for n, said in enumerate(asked) if said["ok"]]
        begin = name.split("\0")[0]        # where JSON's text ends here
        assert not (asked[2]["ok"] and begin and not SAFE.fullmatch(begin)) and not asked[3]["ok"] and not any(said["ok"] for said in asked[4:8]), (name, asked)
    assert fleet.procs["pub"].alive()
    # The server: through helioctl, some of them; it judges first what no server should hear.
    for name in NAMES[1:] if os.environ.get("HELIO_LONG") else ["../x", "/abs", "a/../../b", "a b"]:
        if "\x00" in name or name.startswith("-"):
            continue
        for verb in (["channel", "create", name], ["client", "channel", name, "default"], ["customer", "add", name], ["customer", "place", "acme", name]):
            assert fleet.ctl(*verb, check=False).returncode != 0, (verb, name)
    # A picture with such a title goes into a package under a name that is a name.
    assert fleet.ctl("package", "build", "--name", "art", "--version", "1", "--tag", "sea")["files"] >= 1
    new = written(folder) - before
    strange = [p for p in new if not all(SAFE.fullmatch(level) for level in p.parts)]
    assert not strange, strange
    outside = [p for p in new if p.parts[0] not in ("pub", "heliod", "helioctl.ini") and p.suffix != ".log"]
    assert not outside, outside
    assert not os.path.exists("/tmp/helio-evil")
    for path in new:                            # what was taken lies in the store of objects, under its own hash
        if (folder / path).is_file() and MARK in (folder / path).read_bytes():
            assert path.parts[0] == "pub" and re.search(r"[0-9a-f]{8}", path.name), path
    # The control: a good name is taken, and is seen to be written.
    with open(mark, "rb") as f:
        built = pub.ask(f.fileno(), verb="package-build", kind="software", name="good", version="1", file="good.bin")
    assert built["ok"] and built["files"] == 1
    assert {n for _, n in taken} <= {0, 1, 2, 8}, taken


def odd_folder(root, name, suffix):
    """One of each that is no plain file, and two plain ones."""
    home = root / name
    home.mkdir()
    (home / f"link{suffix}").symlink_to(root / "secret")
    os.mkfifo(home / f"pipe{suffix}")
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(home / f"socket{suffix}"))
    s.close()
    if os.geteuid() == 0:
        os.mknod(home / f"zero{suffix}", 0o20666, os.makedev(1, 5))
    with open(home / f"sparse{suffix}", "wb") as f:
        f.truncate(1 << 40)
    return home


def test_C5_a_folder_of_odd_files_is_read_as_far_as_it_has_plain_ones(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, server={"data": {"recent_period_s": 0}}).up()
    (folder / "secret").write_bytes(MARK)
    home = odd_folder(folder, "pictures", ".png")
    png(home / "good.png", 8, 8, seed=1)
    done = fleet.ctl("image", "add", home, check=False)
    listed = fleet.ctl("image", "list")["images"]
    assert [one["title"] for one in listed] == ["good"], (done, listed)
    said = done.stdout + done.stderr
    assert "sparse.png" in said and "too-large" in said or "64 MiB" in said or "large" in said, said
    # Software: each of them alone makes the folder one that cannot be packed, and is named.
    for odd in sorted(p.name for p in odd_folder(folder, "software", "").iterdir()):
        one = folder / f"only-{odd}"
        one.mkdir()
        (one / "good").write_bytes(b"good")
        os.rename(folder / "software" / odd, one / odd)
        refused = fleet.ctl("package", "build", "app", "1", "--software", one, check=False)
        assert refused.returncode != 0 and odd in refused.stdout + refused.stderr, (odd, refused)
    assert fleet.ctl("package", "list", "--store")["packages"] == []
    # Modes: nothing of setuid or of others' rights arrives.
    home = folder / "modes"
    home.mkdir()
    for name, mode in {"suid": 0o6755, "sticky": 0o1644, "all": 0o777, "plain": 0o644}.items():
        (home / name).write_bytes(name.encode())
        (home / name).chmod(mode)
    package = fleet.software_package("app", "1", home)
    fleet.ctl("channel", "publish", "default", package)
    files = folder / "f1/packages" / package / "files"
    wait_for(files.exists, 30, "it is installed")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in files.iterdir()}
    assert modes == {"suid": 0o555, "all": 0o555, "sticky": 0o444, "plain": 0o444}, modes
    # The control: nothing of what a link names was read into the store.
    held = subprocess.run(["grep", "-rlc", MARK[:30].decode(), folder / "pub"], stdout=subprocess.PIPE)
    assert held.returncode == 1, held.stdout
