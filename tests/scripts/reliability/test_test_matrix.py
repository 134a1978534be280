"""The script that runs the tests under several CPUs' instruction sets and versions."""

from __future__ import annotations

import subprocess

import pytest

from scripts.reliability import test_matrix as matrix

REPORT = '<testsuites><testsuite tests="9" failures="{}" errors="0" skipped="2"/></testsuites>'


@pytest.fixture
def calls(monkeypatch):
    """Stands for other processes: a CPU with AVX2, Pythons 3.10 and 3.12, tests that pass."""
    made = []

    def run(command, **options):
        made.append((list(command), options.get("env") or {}))
        printed = "3.10.1 2.4.0 AVX2" if matrix._DESCRIBE in command else "AVX2"
        failures = int("--fail" in command)
        for word in command:
            if word.startswith("--junitxml="):
                with open(word.partition("=")[2], "w") as file:
                    file.write(REPORT.format(failures))
        return subprocess.CompletedProcess(command, failures, printed, "")

    monkeypatch.setattr(matrix.subprocess, "run", run)
    monkeypatch.setattr(matrix.shutil, "which", lambda name: None if "3.13" in name else name)
    return made


def test_all_that_the_machine_has_is_run_and_the_rest_is_named(calls, capsys):
    assert matrix.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "avx512 is not run: the CPU has AVX2 at most" in lines
    assert "python3.13 is not run: python3.13 is not on PATH" in lines
    assert lines[-1] == (
        "5 combinations, 2 not run: 35 tests passed, 0 failed, 0 combinations without an end"
    )


def test_limits_versions_and_words_reach_pytest(calls):
    matrix.main(["--only", "default", "torch2.4", "--", "-x", "tests/trainers/test_lmpt.py"])
    tests = [(command, env) for command, env in calls if "pytest" in command]
    assert all(command[-2:] == ["-x", "tests/trainers/test_lmpt.py"] for command, _ in tests)
    assert tests[0][1]["ONEDNN_MAX_CPU_ISA"] == "SSE41"
    installed = next(command for command, _ in calls if "install" in command)
    assert {"torch==2.4.0", "torchvision==0.19.0"} <= set(installed)
    assert tests[1][0][0] == installed[0]  # the new environment's Python


def test_a_failure_is_counted_and_ends_with_1(calls, capsys):
    assert matrix.main(["--only", "avx2", "--", "--fail"]) == 1
    assert "6 tests passed, 1 failed" in capsys.readouterr().out.splitlines()[-1]


def test_an_end_without_a_report_is_no_success(calls, capsys, monkeypatch):
    monkeypatch.setattr(matrix, "counts", lambda report: (0, 0, 0))
    assert matrix.main(["--only", "avx2", "--", "--fail"]) == 1
    assert "1 combinations without an end" in capsys.readouterr().out
