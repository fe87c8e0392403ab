"""Fixtures of the flow tests."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib.fleet import Fleet, LONG, PROGRAMS  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


@pytest.fixture
def folder(request):
    """A private folder; kept when the test failed and HELIO_KEEP is set."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="helio-"))
    yield path
    failed = getattr(request.node, "report_call", None) and request.node.report_call.failed
    if failed and os.environ.get("HELIO_KEEP"):
        print(f"kept {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def fleet_of(folder, request):
    """fleet_of(**options) makes a fleet that is ended with the test."""
    made = []

    def make(**options):
        fleet = Fleet(folder / f"fleet{len(made)}" if made else folder, **options)
        made.append(fleet)
        return fleet
    yield make
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        for fleet in made:
            print(fleet.tails())
    for fleet in made:
        fleet.down()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One running fleet for the tests of a module that disturb nothing."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="helio-"))
    fleet = Fleet(path).up()
    yield fleet
    fleet.down()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def drawn_pictures(tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures")
    subprocess.run([PROGRAMS["helio-pictures"], out, "4"], check=True, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture
def pictures(folder, drawn_pictures):
    return sorted(shutil.copytree(drawn_pictures, folder / "pictures").iterdir())


def pytest_collection_modifyitems(items):
    for item in items:
        if "long" in item.keywords and not LONG:
            item.add_marker(pytest.mark.skip(reason="runs with --long"))
    items.sort(key=lambda item: not {"slow", "long"} & set(item.keywords))


def pytest_configure(config):
    config.addinivalue_line("markers", "quiet: the requirement is itself a time; runs alone, after the others")
    config.addinivalue_line("markers", "sanitized: of programs built with sanitizers; run beside the other builds")
    config.addinivalue_line("markers", "long: takes long; runs with tests/run --long")
    config.addinivalue_line("markers", "slow: takes more than about 10 s; begins before the others, so that none waits for it")


def pytest_xdist_make_scheduler(config, log):
    """Hands the tests out one after the other, not in blocks, so that all workers end at about the same time."""
    from xdist.scheduler import LoadScheduling

    class OneByOne(LoadScheduling):
        def _send_tests(self, node, num):
            super()._send_tests(node, max(0, min(num, 2 - len(self.node2pending[node]))))

    return OneByOne(config, log)
