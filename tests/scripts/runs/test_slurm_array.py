"""What Slurm is handed, and what a task then does; stand-ins note how its commands are called."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

COMMANDS = {
    "sbatch": 'echo "$@" >"$NOTES/sbatch" && echo Submitted batch job 41',
    "srun": 'printf "%s\\0" "$@" >"$NOTES/srun"',
    "scontrol": "echo first; echo second",
}


@pytest.fixture
def array(script, project, tmp_path):
    """Runs slurm_array.sh where Slurm's commands are stand-ins; its job lies in tmp_path/job."""
    (tmp_path / "bin").mkdir()
    for name, text in COMMANDS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(*words, **environment):
        found = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NOTES": tmp_path}
        return script("slurm_array.sh", "--folder", "job", *words, **found, **environment)

    run.compare = ["bash", project / "scripts/compare.sh", "shapes_lt", "tiny"]
    return run


@pytest.fixture
def task(tmp_path):
    """Runs one task of the job as Slurm would; returns the finished process."""

    def run(number, machines=1, cores=1):
        slurm = {"ARRAY_TASK_ID": number, "JOB_NUM_NODES": machines, "CPUS_PER_TASK": cores}
        slurm |= {"JOB_ID": 40123, "JOB_NODELIST": "list"}
        variables = {f"SLURM_{name}": str(value) for name, value in slurm.items()}
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        own = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        own |= {"PATH": path, "NOTES": str(tmp_path), "CALLS": str(tmp_path / "calls")}
        return subprocess.run(
            ["bash", tmp_path / "job/job.sh"], env=own | variables, capture_output=True, text=True
        )

    return run


def directives(tmp_path):
    text = (tmp_path / "job/job.sh").read_text()
    return set(re.findall("^#SBATCH (.*)$", text, re.MULTILINE))


def lines(tmp_path):
    return [shlex.split(line) for line in (tmp_path / "job/runs.txt").read_text().splitlines()]


def test_every_run_that_has_not_finished_is_a_task(array, task, tmp_path):
    folder = tmp_path / "out/shapes_lt/LMPT/tiny_few-shots/seed1"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{}")
    command = [*array.compare, "CoOp LMPT", "1 3", "TRAINER.COOP.CTX_INIT", "a b"]
    done = array("--", *command, TAG="few shots")
    assert done.returncode == 0, done.stderr
    assert "LMPT, seed 1: finished before" in done.stdout and "3 tasks" in done.stdout
    assert f"sbatch {tmp_path}/job/job.sh" in done.stdout and not (tmp_path / "sbatch").exists()
    assert [(words[5], words[7]) for words in lines(tmp_path)] == [
        *(("CoOp", "1"), ("CoOp", "3"), ("LMPT", "3"))
    ]
    assert all(words[-1] == "a b" and words[0] == sys.executable for words in lines(tmp_path))
    assert "--array=1-3" in directives(tmp_path) and "--requeue" in directives(tmp_path)
    assert not [text for text in directives(tmp_path) if "gres" in text or "mem" in text]
    for number in (3, 1, 3, 2):
        done = task(number, cores=4)
        assert done.returncode == 0, done.stderr
        again = number == 3 and "Finished before" in done.stdout
        assert again or "threads: 4" in done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 3  # of four tasks one found its run finished
    done = array("--", *command, TAG="few shots")
    assert done.returncode == 0 and "Nothing is left to run" in done.stdout


def test_options_become_those_of_sbatch(array, tmp_path):
    options = "--gpus a100:1 --cpus 8 --memory 16G --time 1-12:00:00 --partition gpu --account me"
    options += " --at-once 2 --name mine --no-requeue --submit"
    more = ("--sbatch", "--qos=high --exclusive")
    done = array(*options.split(), *more, "--", *array.compare, "CoOp", "1 3")
    assert done.returncode == 0, done.stderr
    assert "Submitted batch job 41" in done.stdout
    assert (tmp_path / "sbatch").read_text() == f"{tmp_path}/job/job.sh\n"
    assert directives(tmp_path) == {
        *("--array=1-2%2", "--gres=gpu:a100:1", "--cpus-per-task=8", "--mem=16G"),
        *("--time=1-12:00:00", "--partition=gpu", "--account=me", "--job-name=mine"),
        *("--no-requeue", "--qos=high", "--exclusive", "--nodes=1", "--ntasks-per-node=1"),
        *("--open-mode=append", f"--output={tmp_path}/job/%A_%a.txt"),
    }


def test_workers_of_a_sweep_are_as_many_tasks_of_one_line(array, task, tmp_path):
    sweep = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "CoOp LMPT", "--trials", "9"]
    done = array("--workers", "3", "--", *sweep)
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path) == [sweep] * 3 and "--array=1-3" in directives(tmp_path)
    assert task(2).stdout == "['CoOp LMPT', '--trials', '9']\n"
    done = array("--workers", "3", "--nodes", "2", "--", *sweep)
    assert done.returncode == 2 and "a worker is one process" in done.stderr


def test_a_large_run_starts_a_rank_for_each_gpu_of_its_machines(array, task, tmp_path):
    run = ["python", "train.py", "--output-dir", "large", "--trainer", "CoOp", "OPTIM.LR", "0.1"]
    done = array("--nodes", "2", "--gpus", "4", "--cpus", "32", "--", *run)
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path) == [run] and {"--array=1-1", "--nodes=2"} < directives(tmp_path)
    assert task(1, machines=2, cores=32).returncode == 0
    found = (tmp_path / "srun").read_text().split("\0")[:-1]
    assert found[:4] == ["--cpus-per-task=32", "python", "-m", "torch.distributed.run"]
    assert found[4:10] == [
        *("--nnodes=2", "--nproc_per_node=4", "--max_restarts=3", "--rdzv_id=40123"),
        *("--rdzv_backend=c10d", "--rdzv_endpoint=first:20123"),
    ]
    assert found[10:] == run[1:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpu", "1"], "OPTION must be one of .*got --gpu. Did you mean --gpus?"),
        (["--gpus", "two"], "--gpus must be like 1, or a100:1, got two"),
        (["--time"], "--time must be like 2:00:00, got nothing"),
        (["--memory", "16GB"], "--memory must be like 16G, got 16GB"),
        (["--workers", "0"], "--workers must be like 4, got 0"),
        ([], "expected -- COMMAND after the options"),
        (["--", "echo", "hello"], "echo hello lists no runs with DRY_RUN=1"),
        (["--", "false", "hello"], "false hello does not list its runs"),
    ],
)
def test_wrong_words_are_refused(words, message, array, tmp_path):
    done = array(*words)
    assert done.returncode == 2 and re.search(message, done.stderr)
    assert not (tmp_path / "job").exists()
