# shellcheck shell=bash disable=SC2154 # here, folder and ranks are set by the heading of job.sh
# The end of every job.sh that scripts/slurm_array.sh writes: one task of the array.
set -euo pipefail
cd "$here"
eval "words=($(sed -n "${SLURM_ARRAY_TASK_ID}p" "$folder/runs.txt"))"
for ((i = 0; i < ${#words[@]} - 1; i++)); do
    if [[ "${words[i]}" == --output-dir && -e "${words[i + 1]}/results.json" ]]; then
        echo "Finished before: ${words[i + 1]}"
        exit
    fi
done
cores=$((${SLURM_CPUS_PER_TASK:-1} / ranks))
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > 1 ? cores : 1))}"
# Of a try whose machine was lost, a file server holds the lock for a while.
export LMPT_LOCK_PATIENCE="${LMPT_LOCK_PATIENCE:-120}"
if ((ranks * SLURM_JOB_NUM_NODES == 1)); then
    exec "${words[@]}"
fi
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)"
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${words[0]}" -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc_per_node="$ranks" --max_restarts=3 \
    --rdzv_id="$SLURM_JOB_ID" --rdzv_backend=c10d \
    --rdzv_endpoint="$first:$((20000 + SLURM_JOB_ID % 20000))" "${words[@]:1}"
