"""The locked versions beside the floors of requirements*.txt."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FLOORS = (
    *("requirements.txt", "requirements-dev.txt"),
    *("requirements-optional.txt", "requirements-cluster.txt"),
)


def listed(name):
    """Requirements of one file, without comments and the files that it includes."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]


@pytest.fixture(scope="module")
def locked():
    """Version of each package by its canonical name."""
    versions = {}
    for requirement in listed("requirements-lock.txt"):
        (pin,) = requirement.specifier
        assert pin.operator == "==" and "*" not in pin.version and not requirement.url
        assert canonicalize_name(requirement.name) not in versions
        versions[canonicalize_name(requirement.name)] = pin.version
    return versions


@pytest.mark.parametrize("file", FLOORS)
def test_the_lock_satisfies_the_floors(file, locked):
    assert listed(file)
    for requirement in listed(file):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


@pytest.mark.skipif(
    (sys.version_info[:2], sys.platform, platform.machine()) != ((3, 11), "linux", "x86_64"),
    reason="the lock was made with Python 3.11 on Linux, x86_64; others need other packages",
)
def test_the_lock_has_all_that_locked_packages_need(locked):
    """Of those that are installed in the very version, as their own metadata say."""
    compared = 0
    for name, pinned in locked.items():
        try:
            if version(name) != pinned:
                continue
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed = canonicalize_name(requirement.name)
                assert requirement.specifier.contains(locked[needed], prereleases=True), name
                compared += 1
    if not compared:
        pytest.skip("no package is installed here in its locked version")
