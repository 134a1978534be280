"""A train.py that trains nothing, for tests of the shell scripts, and what dry runs print."""

from __future__ import annotations

import shlex
from pathlib import Path
from subprocess import CompletedProcess

# Stands for train.py: "trains" in no time, fails for seed 2, sleeps for seed 9, takes its process
# with it for seed 7, and for seed 8 holds its folder until there is a file "go" beside the calls.
FAKE_TRAINING = """
import json, os, pathlib, signal, sys, time

def main(words):
    folder, trainer, seed = pathlib.Path(words[1]), words[3], int(words[5])
    with open(os.environ["CALLS"], "a") as file:
        print(*words, os.getpid(), file=file)
    if seed == 2:
        print("out of memory", file=sys.stderr)
        sys.exit(1)
    if seed == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 9:
        time.sleep(30)
    if seed == 8:
        from common.run_lock import run_lock
        with run_lock(folder):
            while not pathlib.Path(os.environ["CALLS"]).with_name("go").exists():
                time.sleep(0.05)
    print("threads:", os.environ.get("OMP_NUM_THREADS", ""))
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {"mAP": 50 + seed, "mAP_head": 1, "mAP_medium": 2, "mAP_tail": 3}
    metrics["mAP_softmax"] = 80 + seed
    (folder / "results.json").write_text(json.dumps(dict(
        dataset="VOCLT", backbone="RN50", trainer=trainer, split="test", score="logit",
        selection="last_step", seed=seed, seconds=90, per_class=[], metrics=metrics)))

if __name__ == "__main__":
    main(sys.argv[1:])
"""


def idle_project(folder: Path, root: Path) -> Path:
    """The project at `root` with that train.py in it, in an empty folder."""
    for path in root.iterdir():
        if path.name != "train.py" and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / "train.py").write_text(FAKE_TRAINING)
    return folder


def commands(done: CompletedProcess[str]) -> list[list[str]]:
    """Words of the train.py commands that a dry run printed."""
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines() if " train.py " in line]
    return [words[words.index("train.py") + 1 :] for words in lines]
