"""The four laws of the house and the style page, as far as a script can see them."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sources(*folders):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *folders], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE, text=True).stdout.split()
    return [ROOT / f for f in listed if f.endswith((".c", ".h")) and (ROOT / f).exists()]


def name_of(path):
    return str(path.relative_to(ROOT))


def plain(text):
    """Code without comments and strings."""
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', '""', text)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)


def includes(path):
    return re.findall(r'#include [<"]([^>"]+)[>"]', path.read_text())


def test_house_knows_only_what_lies_below():
    wrong = []
    for path in sources("proto", "server", "client", "broker-conf"):
        room = name_of(path).split("/")[0]
        for inc in includes(path):
            other = inc.split("/")[0]
            below = () if room == "broker-conf" else (room, "proto")     # a broker links nothing of ours
            if other in ("proto", "server", "client", "tests") and other not in below:
                wrong.append(f"{name_of(path)} includes {inc}")
    assert not wrong, "\n".join(wrong)


def test_house_display_shares_nothing_with_the_agent():
    wrong = [f"{name_of(p)} includes {inc}" for p in sources("client") for inc in includes(p)
             if inc.startswith("client/") and ("client/display/" in name_of(p)) != inc.startswith("client/display/")]
    assert not wrong, "\n".join(wrong)


DOORS = {
    # library: files that may open its door
    r"MQTTAsync|MQTTClient|MQTTProperties": r"proto/mqtt_link[a-z_]*\.[ch]|tests/.*",
    r"openssl/": r"proto/(digest|sign|seal_content)\.c|server/ctl/ca[a-z_]*\.c|tests/.*",
    r"helio\.pb-c\.h": r"proto/codec[a-z_]*\.[ch]|tests/.*",
    r"sqlite3\.h": r"server/db/db_sqlite(_pipeline)?\.[ch]|server/publisher/[a-z_]*db\.[ch]|tests/.*",
    r"libpq-fe\.h": r"server/db/db_postgres\.c|tests/.*",
    r"SDL": r"client/display/(screen|picture|main)[a-z_]*\.[ch]",
    r"ini\.h": r"proto/base/settings\.c",
    r"archive(_entry)?\.h": r"server/publisher/medium_iso\.c|client/medium_file\.c|tests/.*",
    r"lcms2\.h": r"server/publisher/colour\.c",
    r"jpeglib\.h|png\.h|webp/": r"server/publisher/[a-z_]*\.c|client/display/[a-z_]*\.c|deploy/.*|tests/.*",
}


def test_house_each_library_has_one_door():
    wrong = []
    for path in sources("proto", "server", "client", "broker-conf"):
        for inc in includes(path):
            for library, allowed in DOORS.items():
                if re.match(library, inc) and not re.fullmatch(allowed, name_of(path)):
                    wrong.append(f"{name_of(path)} includes {inc}")
    assert not wrong, "\n".join(wrong)


BANNED = r"\b(strcpy|strcat|sprintf|vsprintf|strtok|gets|atoi|atol|atof|alloca|system|popen|tmpnam|mktemp)\s*\("


def test_house_banned_functions_do_not_occur():
    wrong = []
    for path in sources("proto", "server", "client", "broker-conf", "deploy", "tests"):
        for number, line in enumerate(plain(path.read_text()).splitlines(), 1):
            if re.search(BANNED, line):
                wrong.append(f"{name_of(path)}:{number}: {line.strip()}")
            if re.search(r"\b(time|gettimeofday)\s*\(", line) and "clock.c" not in name_of(path) \
                    and "tests/" not in name_of(path):
                wrong.append(f"{name_of(path)}:{number}: the clock is read outside clock.c: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_house_holds_no_todo_and_no_dead_code():
    wrong = []
    for path in sources("proto", "server", "client", "broker-conf", "deploy", "tests"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            # An example in a header is indented; a line of code behind "// " is dead code.
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) or re.match(r"\s*// ?[a-z_]+[^ ]* ?[=(].*;\s*$", line):
                wrong.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def functions(path):
    """(name, first line, lines) of every function body: a line that starts at column 0 and a brace."""
    lines = path.read_text().splitlines()
    start, name = None, ""
    for number, line in enumerate(lines):
        if line == "{" and number:
            back = number - 1
            while back > 0 and not re.match(r"[a-zA-Z]", lines[back]):
                back -= 1
            match = re.search(r"(\w+)\s*\(", lines[back])
            start, name = number, match[1] if match else lines[back]
        elif line.startswith("}") and start is not None:
            yield name, start + 1, number - start - 1
            start = None


def test_house_functions_and_files_stay_small():
    wrong, sizes = [], []
    for path in sources("proto", "server", "client", "broker-conf"):
        count = len(path.read_text().splitlines())
        if count > 800:
            wrong.append(f"{name_of(path)} has {count} lines, at most 800")
        for name, line, size in functions(path):
            sizes.append(size)
            if size > 70:
                wrong.append(f"{name_of(path)}:{line}: {name} has {size} lines, at most 70")
    assert not wrong, "\n".join(wrong)
    sizes.sort()
    assert sizes[len(sizes) // 2] <= 20, f"the median function has {sizes[len(sizes) // 2]} lines"


def test_house_every_file_says_what_it_is_for():
    """At its top, or in the header of the same name, which is its contract."""
    def says(path):
        return path.exists() and path.read_text().startswith("//")
    wrong = [name_of(p) for p in sources("proto", "server", "client", "broker-conf") if not says(p) and not says(p.with_suffix(".h"))]
    assert not wrong, "\n".join(wrong)


def test_house_says_nothing_of_the_machine_it_was_made_on():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    wrong = []
    for f in listed:
        path = ROOT / f
        if not path.is_file() or f.startswith("tests/fuzz/corpus/") or f == "tests/rules/test_house.py":
            continue
        text = path.read_bytes()
        for word in (b"/work/", b"/tmp/build", b"/root/"):
            if word in text:
                wrong.append(f"{f} holds {word.decode()}")
    assert not wrong, "\n".join(wrong)


def test_house_log_ids_are_unique_and_stable_words():
    seen = {}
    for path in sources("proto", "server", "client", "broker-conf"):
        for id_ in re.findall(r'\blog_(?:debug|info|warn|error)\(\s*"([^"]*)"', path.read_text()):
            assert re.fullmatch(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*", id_), f"{name_of(path)}: log id {id_!r}"
            seen.setdefault(id_, set()).add(name_of(path))
    shared = {i: sorted(f) for i, f in seen.items() if len(f) > 2}
    assert not shared, f"log ids used in many files: {shared}"
