"""Builds and runs every kind of test, and judges tests/requirements by what really ran."""
import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "flow"))
from lib.postgres import Postgres, programs  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
results = {}          # test name -> "passed" | "failed" | "skipped"
texts = {}            # test name -> what it printed, of failed ones


def record(name, outcome, text=""):
    results[name] = outcome
    if outcome == "failed":
        texts[name] = text


def say(text):
    print(text, flush=True)


def run(argv, polite=False, **options):
    """Runs to the end. What is polite takes the time that the others leave."""
    nice = ["nice", "-n", "15"] if polite else []
    return subprocess.run([*nice, *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **options)


# ------------------------------------------------------------------ build

def build(preset, targets=(), options=(), polite=False):
    """Configures and builds a preset; a build that fails is a failed test."""
    began = time.monotonic()
    fast = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=gold"]
    done = run(["cmake", "--preset", preset, *fast, *options], polite, cwd=ROOT)
    if done.returncode == 0:
        done = run(["cmake", "--build", "--preset", preset, *(["--target", *targets] if targets else [])], polite, cwd=ROOT)
    good = done.returncode == 0
    record(f"build_{preset}_without_warnings", "passed" if good else "failed", done.stdout[-6000:])
    say(f"  build {preset}: {'good' if good else 'FAILED'} ({time.monotonic() - began:.0f} s)")
    return good


# ------------------------------------------------------------------ unit tests and fuzz replay

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0",
}


def unit_program(path, suffix, polite, store=""):
    """One cmocka program: every test in it counts by its own name."""
    env = {**os.environ, **SANITIZER_ENV, "CMOCKA_MESSAGE_OUTPUT": "tap", "HELIO_TEST_STORE": store}
    try:
        done = run([path], polite, env=env, timeout=300, cwd=path.parent)
        text, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as e:
        text, code = f"no end within 300 s\n{e.stdout}", 1
    found = re.findall(r"^(ok|not ok) \d+ - (\S+)(.*)$", text, re.M)
    for word, name, rest in found:
        outcome = "skipped" if "# SKIP" in rest else "passed" if word == "ok" else "failed"
        record(f"{path.name}{suffix}.{name}", outcome, text[-4000:])
    if not found or (code != 0 and all(word == "ok" for word, _, _ in found)):
        record(f"{path.name}{suffix}.ends_well", "failed", text[-4000:])


def unit_tests(preset, suffix, words, only="", polite=True, store=""):
    began = time.monotonic()
    programs = sorted(p for p in (BUILD / preset / "tests").glob("test_*") if p.is_file() and os.access(p, os.X_OK))
    programs = [p for p in programs if not only or re.fullmatch(only, p.name)]
    programs = [p for p in programs if not words or any(w in p.name for w in words)]
    # More at a time than there are processors: some wait most of their time.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda p: unit_program(p, suffix, polite, store), programs))
    say(f"  unit tests, {preset}: {len(programs)} programs ({time.monotonic() - began:.0f} s)")


def fuzz_replay(preset, words):
    corpus = ROOT / "tests/fuzz/corpus"
    for program in sorted((BUILD / preset / "tests").glob("fuzz_*")):
        if not os.access(program, os.X_OK) or program.is_dir() or (words and not any(w in program.name for w in words)):
            continue
        inputs = corpus / program.name
        done = run([program, inputs], True, env={**os.environ, **SANITIZER_ENV}, timeout=300)
        played = re.search(r"replayed (\d+) inputs", done.stdout)
        good = done.returncode == 0 and played and int(played[1]) > 0
        record(f"{program.name}.corpus_is_replayed", "passed" if good else "failed", done.stdout[-4000:])


# What of the server's core also runs on PostgreSQL, one and the same for all of them.
ON_POSTGRES = "test_core_(commands|pipeline)|test_reach|test_shards|test_operator|test_customers"
ON_POSTGRES_LONG = "test_core(_.*)?|test_gate.*|test_reach|test_loading|test_freshness|test_shards|" \
                   "test_(operator|customers|presence|media)"


@contextlib.contextmanager
def postgres():
    if not programs():
        say("  PostgreSQL is not installed: what needs it is skipped")
        yield False
        return
    with Postgres() as private:
        os.environ["HELIO_TEST_POSTGRES"] = private.url
        yield True


# ------------------------------------------------------------------ memcheck

MEMCHECK = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            "--child-silent-after-fork=yes", f"--suppressions={ROOT}/tests/valgrind.supp"]


def memcheck_program(path):
    """One unit program: what counts is what valgrind says; whether its tests pass in that slow motion is no matter."""
    try:
        # libjpeg-turbo's vector code reads beyond a row and throws that away, which valgrind cannot know.
        env = {**os.environ, "JSIMD_FORCENONE": "1"}
        done = run([*MEMCHECK, path], True, env=env, timeout=900, cwd=path.parent)
        said = [line for line in done.stdout.splitlines() if line.startswith("==")]
        record(f"{path.name}.is_clean_under_memcheck", "failed" if said or done.returncode == 99 else "passed",
               "\n".join(said[:200]))
    except subprocess.TimeoutExpired:
        record(f"{path.name}.is_clean_under_memcheck", "failed", "no end within 900 s")


def memcheck(words):
    began = time.monotonic()
    programs = sorted(p for p in (BUILD / "dev/tests").glob("test_*") if p.is_file() and os.access(p, os.X_OK))
    programs = [p for p in programs if not words or any(w in p.name for w in words)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(memcheck_program, programs))
    say(f"  memcheck: {len(programs)} programs ({time.monotonic() - began:.0f} s)")


# ------------------------------------------------------------------ pytest

def pytest_run(folders, words, long, preset, chosen="not quiet and not sanitized"):
    """chosen "quiet": the tests whose requirement is itself a time; nothing else may run beside them."""
    report = BUILD / f"pytest-{preset}.xml"
    report.unlink(missing_ok=True)
    argv = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "5" if chosen.startswith("not") else "1",
            "-m", chosen, f"--junitxml={report}", *folders]
    if words:
        argv += ["-k", " or ".join(words)]
    env = {**os.environ, "HELIO_BUILD": str(BUILD / preset), "HELIO_LONG": "1" if long else "",
           "PYTHONDONTWRITEBYTECODE": "1"}
    code = subprocess.run(argv, cwd=ROOT, env=env).returncode
    if not report.exists():
        record("pytest.ends_well", "failed", f"pytest ended with {code} and left no report")
        return
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        name = re.sub(r"^test_", "", case.get("name"))
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        if bad is not None:
            record(name, "failed", (bad.text or "")[-3000:])
        else:
            record(name, "skipped" if case.find("skipped") is not None else "passed")
    if code not in (0, 1, 5):
        record("pytest.ends_well", "failed", f"pytest ended with {code}")


# ------------------------------------------------------------------ requirements

def requirements():
    rows = []
    for number, line in enumerate((ROOT / "tests/requirements").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split(None, 2)
        rows.append((number, fields[0], fields[1] if len(fields) > 1 else "", fields[2] if len(fields) > 2 else ""))
    return rows


def requirements_check(everything):
    """Each id that `holds` names tests that ran and passed; ids are complete and unique."""
    wrong = []
    # A unit test counts as "program.test"; a test of the real programs by its name, with its case in brackets.
    plain = {name: re.sub(r"\[.*$", "", name).rsplit(".", 1)[-1].removeprefix("test_") for name in results}
    ran = {plain[name] for name, outcome in results.items() if outcome != "skipped"}
    failed = {plain[name] for name, outcome in results.items() if outcome == "failed"}
    seen = set()
    for number, id_, state, tests in requirements():
        prefix = id_.replace("-", "_").replace(".", "")
        if id_ in seen:
            wrong.append(f"line {number}: {id_} stands twice")
        seen.add(id_)
        names = [t for t in re.split(r"[,\s]+", tests) if t]
        if state not in ("holds", "open"):
            wrong.append(f"line {number}: {id_} is {state}, neither holds nor open")
        if state == "holds" and not names:
            wrong.append(f"line {number}: {id_} holds without a test")
        for name in names:
            # One test may show several: S002_8_S002_9_... is of both.
            if not re.match(rf"((S\d{{3}}|X)_[a-z]*\d+[a-i]?_)*{prefix}(_|$)", name):
                wrong.append(f"line {number}: {name} is not named by {id_} ({prefix}_...)")
            if everything and name not in ran:
                wrong.append(f"line {number}: {name} does not exist or did not run")
            if state == "holds" and name in failed:
                wrong.append(f"line {number}: {id_} is said to hold, but {name} failed")
    missing = (set((ROOT / "tests/requirements.ids").read_text().split()) - seen)
    wrong += [f"{id_} has no line" for id_ in sorted(missing)]
    record("requirements_are_honest", "failed" if wrong else "passed", "\n".join(wrong))


# ------------------------------------------------------------------ main

# clang is asked for its warnings alone, which do not depend on the optimization.
CLANG_FAST = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=-O0"]
# Whose code runs on several threads: the links, the store's disk, the fetcher's writers.
WITH_THREADS = ["test_mqtt_link", "test_mqtt_link_faults", "test_db", "test_db_later", "test_agent_fetcher"]
# Enough for the lines of a sanitizer's report.
SANITIZED_FAST = ["-DCMAKE_C_FLAGS_DEBUG=-g1"]


def other_builds(words, everything):
    """The other builds, and the unit tests and fuzz inputs under sanitizers."""
    if build("asan", options=SANITIZED_FAST, polite=True):
        unit_tests("asan", "[asan]", words)
        fuzz_replay("asan", words)
        pytest_run(["tests/flow/test_display.py"], words, False, "asan", "sanitized")
    if everything:
        if build("tsan", WITH_THREADS, SANITIZED_FAST, polite=True):
            unit_tests("tsan", "[tsan]", words, "|".join(WITH_THREADS))
        build("clang", options=CLANG_FAST, polite=True)


def integers(words):
    """Every number that wraps or loses bits ends the test, but for what tests/integer.ignore names."""
    if build("integer", options=SANITIZED_FAST, polite=True):
        unit_tests("integer", "[integer]", words)
        fuzz_replay("integer", words)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="also what takes long")
    parser.add_argument("--list", action="store_true", help="print every test's outcome")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    began = time.monotonic()
    everything = not options.words

    with postgres() as has_postgres:
        good = run_all(options, everything, has_postgres)
    if good and options.long:
        integers(options.words)
        memcheck(options.words)
    if everything:
        requirements_check(everything)
    return finish(options, began)


def unit_tests_dev(options, has_postgres):
    unit_tests("dev", "", options.words, polite=False)
    if has_postgres:
        unit_tests("dev", "[postgresql]", options.words, ON_POSTGRES_LONG if options.long else ON_POSTGRES,
                   store="postgresql")


def run_all(options, everything, has_postgres):
    good = build("dev")
    # The tests of the real programs wait more than they work. All else is done meanwhile, and steps back for them.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        sides = [pool.submit(other_builds, options.words, everything)]
        if good:
            sides.append(pool.submit(unit_tests_dev, options, has_postgres))
            pytest_run(["tests/rules", "tests/flow"], options.words, options.long, "dev")
        for side in sides:
            side.result()
    if good:
        pytest_run(["tests/flow"], options.words, options.long, "dev", "quiet")
    return good


def finish(options, began):
    for name, outcome in sorted(results.items()):
        if outcome == "failed":
            say(f"\nFAILED {name}\n{texts.get(name, '')}")
        elif options.list:
            say(f"{outcome:8} {name}")
    count = {word: sum(1 for o in results.values() if o == word) for word in ("passed", "failed", "skipped")}
    holds = [row for row in requirements() if row[2] == "holds"]
    say(f"\n{len(holds)} of {len(requirements())} requirements hold; {time.monotonic() - began:.0f} s")
    line = f"{count['passed']} passed, {count['failed']} failed"
    say(line + (f", {count['skipped']} skipped" if count["skipped"] else ""))
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
