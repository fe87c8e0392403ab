"""C11: text that comes from outside reaches no terminal and no log as more than text. A device, pictures, customers, orders, a ledger and an
operator's own words say escape sequences, ends of lines, marks that turn the reading direction, and forged records; then all that helioctl and
the logs say is searched for them byte by byte, and every line of a log is one record."""
import csv
import io
import json
import re
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.orders import png
from lib.wait import wait_for

pb = wire.pb

# What a terminal obeys or hides. Each of them stands in a text that is forged as well.
RAW = {"clipboard": "\x1b]52;c;aGk=\x07", "cursor": "\x1b[2J\x1b[H", "lines": "\r\n", "line": "\n", "delete": "\x7f", "nine-bit": "\u009b31m",
       "reverse": "\u202e", "isolate": "\u2067", "hidden": "\u200b", "separator": "\u2028", "tag": "\U000e0041"}
FORGED = '2026-01-01T00:00:00.000Z heliod error FORGED-RECORD by="device"'
EVIL = {name: f"a{bytes_}{FORGED} b=c" for name, bytes_ in RAW.items()}
HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")
# One record: when, who, how grave, its id, perhaps a word, and pairs. A value with a blank in it is quoted, and its quotes are escaped.
RECORD = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [\w-]+ (debug|info|warn|error) [A-Z][A-Z0-9-]+'
                    r'( [\w-]+)?( [\w.]+=("(\\.|[^"\\])*"|[^\s"]*))*')
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')

READING = [["status"], ["status", "f2"], ["why", "f2"], ["queue", "default"], ["brokers"], ["channel", "list"], ["client", "list"], ["client", "show", "f2"],
           ["client", "show", "f3"], ["operations", "f2"], ["operations", "f1"], ["counters"], ["package", "list"], ["package", "list", "--store"],
           ["image", "list"], ["doctor"], ["servers"], ["customer", "list"], ["customer", "show", "acme"], ["customer", "history", "acme"],
           ["customer", "preview", "acme"], ["usage", "sums"], ["usage", "sums", "--by", "picture"], ["usage", "gaps", "f1"], ["reports", "f1", "logs"],
           ["reports", "f1", "usage"], ["media", "list"]]


def clean(text):
    """Nothing a terminal would obey; nothing of the forged lines begins a line."""
    bad = HOSTILE.search(text.replace("\r\n", "\n"))
    assert not bad, (bad[0], text[max(0, bad.start() - 80):bad.end() + 20])
    assert not re.search(r"(?m)^2026-01-01T00", text), text[:2000]


def said(fleet, *args):
    return subprocess.run([str(PROGRAMS["helioctl"]), "--config", str(fleet.ctl_config()), *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)


def log_is_one_record_a_line(path, seen):
    for line in path.read_bytes().decode("utf-8").split("\n")[:-1]:
        clean(line)
        assert RECORD.fullmatch(line), (path.name, line)
        # Outside of quotes nobody forged anything.
        assert "FORGED" not in QUOTED.sub("", line), (path.name, line)
        seen["quoted"] += "FORGED" in line


def evil_pictures(fleet, folder, texts):
    for n, text in enumerate(texts):
        picture = folder / f"p{n} {text[:200].replace('/', '')}.png"
        png(picture, 16, 16, seed=n + 1)
        yield said(fleet, "image", "add", picture, "--title", text, "--tag", "sea", "--license", "x")
    yield said(fleet, "image", "add", folder / f"absent{EVIL['clipboard']}.png")


def evil_customers(fleet, texts):
    for text in texts:
        yield said(fleet, "customer", "set", "acme", f"--name={text}")
        yield said(fleet, "customer", "place", "acme", "quay", f"--name={text}")
        yield said(fleet, "customer", "plan", "acme", "p1", f"--expression={text}")
        for verb in (["client", "show"], ["why"], ["package", "show"], ["channel", "create"], ["nonsense"], ["status", "--nonsense"]):
            yield said(fleet, *verb, text)


def evil_device(device, texts):
    """A device with a good session says it in each of its fields: what only turns or hides is taken, and shown escaped; the rest is refused."""
    for text in texts:
        status = device._status()
        for field, room in (("state", 60), ("agent_version", 60), ("showing_image", 200), ("hw_class", 60)):
            setattr(status, field, text[:room])
            device.send(device.heartbeat(status=status))
            setattr(status, field, "idle" if field == "state" else "1")
        device.send(device.heartbeat(op=pb.Operation(op_id=7, status=pb.OP_FAILED, detail=text)))
    status = device._status()
    status.showing_image = EVIL["reverse"][:200]
    device.send(device.heartbeat(status=status))


@pytest.mark.parametrize("which", [("clipboard", "lines", "reverse"), pytest.param(tuple(RAW), marks=pytest.mark.long)], ids=["three", "all"])
def test_C11_text_from_outside_is_nothing_but_text(fleet_of, folder, which):
    texts = [EVIL[name] for name in which]
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=200)
    # A label in an enrolment, which an operator was told by somebody.
    fleet.enrol("client", "f3", "--name", EVIL["reverse"][:60])
    fleet.up(agents=["f1"])
    outputs = list(evil_pictures(fleet, folder, texts))
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "client", "acme", "f1", "--screen", "16x16")
    fleet.ctl("customer", "plan", "acme", "p1", "--expression", "sea")
    outputs += evil_customers(fleet, texts)
    outputs += [said(fleet, "exec", "f1", text[:60]) for text in texts]
    outputs += [said(fleet, "exec", "f1", "ping", text[:200]) for text in texts]
    device = fleet.principal("f2").sign_in()
    device.beat()
    evil_device(device, texts)
    wait_for(lambda: "\u202e" in json.dumps(fleet.ctl("client", "show", "f2"), ensure_ascii=False), 15, "what it shows is held as it was said")
    ledger = folder / "f1/display/shown.log"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    images = ["=cmd|x!A1.png", "+1.png", "-1.png", "@x.png", f"0001-{EVIL['reverse'][:60]}.png", 'a,"b";c.png', "\uff1dcmd.png"]
    now = int(time.time() * 1000) - 3_600_000
    ledger.write_text("".join(f"{n + 1}\t{'b0' * 16}\t{'ab' * 32}\t{image}\t{now + n * 9000}\t8000\t3\n" for n, image in enumerate(images)))
    fleet.ctl("ask", "f1", "usage", "--wait")
    fleet.ctl("ask", "f1", "logs", "--wait")
    try:
        # All that people read, and all that scripts read.
        texts = [(f"{done.args[3:]} {stream}", getattr(done, stream)) for done in outputs for stream in ("stdout", "stderr")]
        for args in READING:
            for form in ([], ["--json"]):
                done = said(fleet, *form, *args)
                assert done.returncode in (0, 1, 5), (args, done)
                texts += [(f"{args} {form}", done.stdout), (f"{args} {form} errors", done.stderr)]
                assert not form or isinstance(json.loads(done.stdout), (dict, list))
        table, exported = said(fleet, "usage", "export", "--csv").stdout, said(fleet, "--json", "usage", "export").stdout
        texts += [("csv", table), ("json", exported)]
        for what, text in texts:
            try:
                clean(text.decode("utf-8"))
            except (AssertionError, UnicodeDecodeError) as e:
                raise AssertionError(what) from e
        shown = "\n".join(text.decode() for _, text in texts)
        assert shown.count("\\u{202e}") > 3 and "\\x1b]52" in shown, "it was there, and is seen escaped"
        assert "\u202e" in json.dumps(json.loads(exported), ensure_ascii=False), "a script has the very text"
        # The table: a record a line, and no cell that a spreadsheet computes.
        rows = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
        assert len(rows) == len(images) == table.count(b"\r\n") - 1 and table.count(b"\n") == table.count(b"\r\n")
        cells = [cell for row in rows for cell in row.values()]
        assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")] and "'=cmd|x!A1.png" in cells and 'a,"b";c.png' in cells
    finally:
        device.close()
    seen = {"quoted": 0}
    for log in ("heliod", "pub", "f1"):
        log_is_one_record_a_line(folder / f"{log}.log", seen)
    assert seen["quoted"] > 1, "what was refused stands in a log, quoted"
    # The control: the search sees what a terminal would obey.
    for name, text in EVIL.items():
        if name not in ("line", "lines"):
            assert HOSTILE.search(text), name
    assert not RECORD.fullmatch("forged") and "FORGED" in QUOTED.sub("", f"x y {FORGED}")
