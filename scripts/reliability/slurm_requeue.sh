#!/usr/bin/env bash
# Try scripts/slurm_array.sh on a Slurm of this machine alone: a task is started again in its middle.
#
# usage: bash scripts/reliability/slurm_requeue.sh [FOLDER]      default: output/slurm_requeue
#
# Needs root, and on Debian or Ubuntu: apt-get install slurmctld slurmd slurm-client munge. Sets up a
# cluster whose files lie in FOLDER, runs a small comparison on ShapesLT without Slurm and with it,
# requeues one of its tasks, and says whether the results are the same. Then one run has two ranks.
# The cluster ends with the script.
set -euo pipefail
if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=scripts/lib/run_names.sh
source "$root/scripts/lib/run_names.sh"
folder="$(from_here "${1:-}" "$root/output/slurm_requeue")"
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || fail "$program is not installed; --help says what is needed"
done
((EUID == 0)) || fail "munged and slurmd need root"
[[ ! -e "$folder" ]] || fail "$folder is there already; remove it, or name another folder"
if [[ -z "${PYTHON:-}" ]]; then
    source "$root/scripts/lib/setup_env.sh" requirements.txt
fi
export PYTHON SLURM_CONF="$folder/slurm.conf" OMP_NUM_THREADS=1
mkdir -p "$folder/state" "$folder/spool"

daemons=()
trap '((${#daemons[@]} == 0)) || kill "${daemons[@]}" 2>/dev/null || true' EXIT

if [[ ! -S /run/munge/munge.socket.2 ]]; then
    install -d -o munge -g munge -m 755 /run/munge
    runuser -u munge -- munged --foreground --force 2>"$folder/munged.txt" &
    daemons+=($!)
fi
machine="$(hostname -s)"
cat >"$SLURM_CONF" <<END
ClusterName=trial
SlurmctldHost=$machine(127.0.0.1)
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ReturnToService=2
KillWait=5
NodeName=$machine NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN)
PartitionName=trial Nodes=$machine Default=YES MaxTime=INFINITE State=UP
END
slurmctld -D 2>"$folder/slurmctld.txt" &
daemons+=($!)
slurmd -D 2>"$folder/slurmd.txt" &
daemons+=($!)

# within SECONDS COMMAND...: wait until it is true.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        ((SECONDS < end)) || fail "$* was not true in time; see the files in $folder"
        sleep 1
    done
}
idle() { [[ "$(sinfo --noheader --format %t)" == idle ]]; }
within 60 idle

comparison=(bash "$root/scripts/compare.sh" shapes_lt tiny "CoOp LMPT" "1 2")
compare() { # OUTPUT [WORDS in front]
    OUTPUT="$folder/$1" "${@:2}" "${comparison[@]}"
}
echo "== Without Slurm"
started=$SECONDS
compare plain >"$folder/plain.txt"
plain_seconds=$((SECONDS - started))

echo "== With Slurm"
started=$SECONDS
compare slurm bash "$root/scripts/slurm_array.sh" --folder "$folder/job" --time 1:00:00 --submit -- |
    tee "$folder/submitted.txt"
job="$(sed -n 's/^Submitted batch job //p' "$folder/submitted.txt")"
run="$folder/slurm/shapes_lt/LMPT/tiny/seed1"
task="$(($(grep -n "$run " "$folder/job/runs.txt" | cut -d : -f 1)))"
has_checkpoint() { compgen -G "$run/prompt_learner/model*" >/dev/null; }
within 600 has_checkpoint
echo "== Task ${job}_$task is requeued after $(grep -c '^epoch' "$run/log.txt" || true) lines of epochs"
scontrol requeue "${job}_$task"
again() { [[ "$(squeue --noheader --jobs "${job}_$task" --format %T)" == PENDING ]]; }
within 60 again
scontrol update "jobid=${job}_$task" StartTime=now # Slurm would wait for two minutes
ended() { [[ -z "$(squeue --noheader --jobs "$job" --format %T)" ]]; }
within 1200 ended
slurm_seconds=$((SECONDS - started))

echo "== The run that was requeued"
grep -hiE 'resum|goes on|checkpoint' "$folder/job/${job}"*_"$task".txt || true
compare slurm >"$folder/slurm.txt"
echo "== Seconds: $plain_seconds one run after the other, $slurm_seconds with Slurm"
"$PYTHON" "$root/scripts/reliability/same_results.py" "$folder/plain" "$folder/slurm"

echo "== One run on two ranks, under srun"
bash "$root/scripts/slurm_array.sh" --folder "$folder/large" --ranks 2 --cpus 2 --submit \
    --sbatch --wait -- "$PYTHON" "$root/train.py" --output-dir "$folder/two_ranks" --trainer CoOp \
    --seed 1 --root "${DATA:-$root/data}" --backbone tiny \
    --dataset-config-file "$root/configs/datasets/shapes_lt.yaml"
"$PYTHON" "$root/scripts/parse_results.py" "$folder/two_ranks"
