"""F37, C5: a stick or a disc that is pulled while it is read: from some call on the kernel gives nothing of it any more, neither a name nor
a byte. ptrace answers in the kernel's place; the old package stays until the new one is whole, and the same medium put in again brings it."""
import pathlib
import re
import shutil

import pytest

from lib.cut import Cutter
from lib.media import importing, package, recorded, rig, sha256sum, shown, tree, unpack
from test_f36_cuts import spread


class Trial:
    """A device that holds version 1, and version 2 on a stick and on a disc; nobody is there to ask."""

    def __init__(self, fleet_of, folder):
        self.fleet, self.folder, self.cutter = rig(fleet_of, clients=("f2",), agents=()), folder, Cutter(folder)
        self.ids, self.want = {}, {}
        for version in ("1", "2"):
            one = self.ids[version] = package(self.fleet, version, size=700_000)
            self.want[one] = {f"art-{version}": sha256sum(folder / f"art-{version}")}
            self.fleet.ctl("channel", "publish", "default", one)
            self.disc = recorded(self.fleet, "f2", one)["path"]
            self.stick = unpack(self.disc, folder / f"stick{version}")
            if version == "1":
                assert importing(self.fleet, "f2", self.stick).returncode == 0 and shown(self.fleet, "f2") == one
        self.fleet.leave_agents_alone()
        shutil.copytree(folder / "f2", folder / "before", symlinks=True)

    def back(self):
        shutil.rmtree(self.folder / "f2")
        shutil.copytree(self.folder / "before", self.folder / "f2", symlinks=True)

    def pulled(self, medium, number):
        """The import, and the calls that looked at the medium; from the number-th on none of them is done."""
        self.back()
        done = importing(self.fleet, "f2", medium, under=self.cutter.argv(f"{number}:out", medium, []))
        now = shown(self.fleet, "f2")
        assert tree(self.folder / f"f2/packages/{now}/files") == self.want[now], (number, now)
        return done, now, self.cutter.names()

    def at_each(self, medium, most):
        """Of what was met: whether the new one was there, by the number of the call, and the words of what was refused."""
        done, now, calls = self.pulled(medium, 0)
        assert done.returncode == 0 and now == self.ids["2"] and len(calls) > 15, (done, calls)
        met, words = {}, set()
        for number in spread(len(calls), most):
            done, now, names = self.pulled(medium, number)
            where = (medium, number, names, done.stderr[-1500:])
            met[number] = now == self.ids["2"]
            told = set(re.findall(r"media refused reason=(\S+) ", done.stderr)) | set(re.findall(r"IMPORT-NO-RETURN .*word=(\S+)", done.stderr))
            words |= told
            assert told or done.returncode != 0, where          # it never says that all was well
            assert met[number] or done.returncode != 0, where
            # Put in again.
            again = importing(self.fleet, "f2", medium)
            assert again.returncode == 0 and shown(self.fleet, "f2") == self.ids["2"], (*where, again.stderr[-1500:])
            assert tree(self.folder / f"f2/packages/{self.ids['2']}/files") == self.want[self.ids["2"]], where
        return met, words


def stick_and_disc(fleet_of, folder, most):
    trial = Trial(fleet_of, folder)
    for medium in (trial.stick, pathlib.Path(trial.disc)):
        met, words = trial.at_each(medium, most)
        assert met[1] is False and not all(met.values()), met
        # Not "missing": a broker that has not all of it is waited for, and asked again; a stick that is out is told at once.
        assert words == {"io"} or medium.is_file() and words == {"io", "image"}, words     # libarchive does not tell all reasons


def test_S001_c3_a_medium_that_is_pulled_while_it_is_read_leaves_the_old_and_goes_on(fleet_of, folder):
    stick_and_disc(fleet_of, folder, 8)


@pytest.mark.long
def test_S001_c3_a_medium_that_is_pulled_at_every_call_leaves_the_old_and_goes_on(fleet_of, folder):
    stick_and_disc(fleet_of, folder, 10**6)
