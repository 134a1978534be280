"""Runs on a Ray cluster of two nodes on this machine, of which one is lost."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.run_lock import run_lock
from sweeping import ray_runs
from sweeping.engine import Engine
from sweeping.ray_runs import LOOPBACK, Share, _needs, _places
from sweeping.sweep import Sweep
from tests.helpers.idle_training import idle_project
from tests.helpers.runs.fake_training import fake_training, small_plan

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


def fake_ray(*machines):
    nodes = [{"Alive": alive, "Resources": have} for alive, have in machines]
    total = {"GPU": sum(node["Resources"].get("GPU", 0) for node in nodes)}
    return SimpleNamespace(nodes=lambda: nodes, cluster_resources=lambda: total)


def test_without_ray_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "none")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match="pip install -r requirements-cluster.txt"):
        ray_runs._connected()


def test_an_address_that_nobody_answers_at_is_said_to_be_one(monkeypatch):
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConnectionError, match="No Ray cluster answers at RAY_ADDRESS=127"):
            ray_runs._connected()


def test_places_are_those_of_living_machines():
    large, small = {"CPU": 8.0, "GPU": 2.0, "memory": 64.0 * GIB}, {"CPU": 3.0}
    ray = fake_ray((True, large), (True, small), (False, large))
    assert _places(ray, _needs(ray, Share())) == 2  # a GPU each
    assert _places(ray, _needs(ray, Share(gpus=0.25))) == 8
    assert _places(ray, _needs(ray, Share(gpus=0))) == 11
    assert _places(ray, _needs(ray, Share(cpus=2, gpus=0))) == 5
    assert _places(ray, _needs(ray, Share(gpus=0.25, memory=20))) == 3
    alone = fake_ray((True, small))
    assert _places(alone, _needs(alone, Share())) == 3
    with pytest.raises(ValueError, match=r"needs 1 CPU, 1 GPU; the most .* is 3 CPU\. Lower"):
        _places(alone, _needs(alone, Share(gpus=1)))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head of one core, to which tests may add nodes; on the loopback address."""
    if find_spec("ray") is None:  # it is imported below, for it reads the environment then
        pytest.skip("Ray is not installed")
    patch = pytest.MonkeyPatch()
    # Workers take the first train.py of their path, which is that of the working folder.
    variables = {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    calls = tmp_path_factory.mktemp("calls") / "calls"
    for name, text in {**LOOPBACK, **variables, "CALLS": str(calls)}.items():
        patch.setenv(name, text)
    from ray.cluster_utils import Cluster

    own = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
    head = {**own, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    patch.setenv("RAY_ADDRESS", cluster.address)
    yield SimpleNamespace(
        add=lambda: cluster.add_node(**own), remove=cluster.remove_node, calls=calls
    )
    cluster.shutdown()
    patch.undo()


@pytest.fixture
def compare(cluster, tmp_path_factory, tmp_path):
    """Starts compare.sh, with a train.py that trains nothing, on the cluster."""
    project = idle_project(tmp_path_factory.mktemp("project"), ROOT)
    cluster.calls.write_text("")

    def start(trainers, seeds):
        words = ["shapes_lt", "tiny", trainers, seeds]
        given = {"OUTPUT": str(tmp_path / "out"), "PYTHON": sys.executable, "ENGINE": "ray"}
        return subprocess.Popen(
            ["bash", str(project / "scripts/compare.sh"), *words],
            env=os.environ | given,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def noted(cluster):
    return [line.split() for line in cluster.calls.read_text().splitlines()]


def held_by(cluster):
    """Processes of runs that wait for "go"."""
    return [words[-1] for words in noted(cluster) if words[5] == "8"]


def lives(pid):
    return Path(f"/proc/{pid}").exists()


def within_a_minute(true):
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_runs_of_a_lost_node_start_again_and_nothing_is_lost(cluster, compare):
    node = cluster.add()
    process = compare("CoOp LMPT", "8 1 3")
    # Until each node holds a run. Ray keeps to no order.
    assert within_a_minute(lambda: len(held_by(cluster)) == 2)
    held = held_by(cluster)
    cluster.remove(node, allow_graceful=False)
    assert within_a_minute(lambda: not all(map(lives, held)))
    cluster.calls.with_name("go").touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    runs = [(words[3], words[5]) for words in noted(cluster)]
    assert len(runs) == 7 and len(set(runs)) == 6
    assert said.count("54.00 ± 3.61") == 2 and "6/6" in said


def test_a_signal_ends_all_that_runs(cluster, compare, tmp_path):
    cluster.calls.with_name("go").unlink(missing_ok=True)
    process = compare("CoOp", "8")
    assert within_a_minute(lambda: held_by(cluster))
    process.terminate()  # the shell alone, which tells nobody
    said, _ = process.communicate(timeout=60)
    assert "done" not in said and "1/1" not in said
    assert within_a_minute(lambda: not any(map(lives, held_by(cluster))))
    with run_lock(tmp_path / "out/shapes_lt/CoOp/tiny/seed8"):
        assert not (tmp_path / "out/shapes_lt/CoOp/tiny/seed8/results.json").exists()


def test_a_sweep_and_its_pruner(cluster, roots, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    calls = fake_training(tmp_path / "fake", monkeypatch)
    monkeypatch.chdir(tmp_path / "fake")
    monkeypatch.setattr(ray_runs, "_own_variables", lambda: {"CALLS": str(calls)})
    plan = small_plan(roots["ViT"], tmp_path, trainers=("CoOp",), trials=8, pruner="median")
    sweep = Sweep(plan)
    assert sweep.run(Engine("ray")) == []
    with open(sweep.table) as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert len(states) == 8 and "pruned" in states
    assert len(calls.read_text().splitlines()) == 8 + 2
