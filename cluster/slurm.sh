#!/bin/bash
# sbatch cluster/slurm.sh CONFIG [KEY=VALUE ...]
#
# Starts Ray on all nodes of the job (`ray symmetric-run`), trains on them, and ends Ray. A run that leaves in time before
# the limit is put into the queue again and goes on from its checkpoint.
#SBATCH --job-name=gandist
#SBATCH --nodes=2                # CHANGE
#SBATCH --gpus-per-node=4        # CHANGE: leave it out to train on CPUs
#SBATCH --cpus-per-task=32       # CHANGE: all cores of a node
#SBATCH --time=12:00:00          # CHANGE
#SBATCH --output=gandist-%j.log
#SBATCH --ntasks-per-node=1
# At its end symmetric-run stops every Ray process of yours on the node, other jobs' too: so no others there.
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

VENV=${VENV:-$PWD/.venv}         # CHANGE: where `make install` put it; every node must see it
STORAGE=${STORAGE:-$PWD/runs}    # CHANGE: a folder that every node sees
MARGIN=${MARGIN:-15}             # minutes before the limit at which the run saves and leaves
INTERFACE=${INTERFACE:-}         # network of Ray and of the gradients, ib0 say; empty for the node's first

if [ $# -eq 0 ]; then
    echo "usage: sbatch $0 CONFIG [KEY=VALUE ...]" >&2
    exit 2
fi
if [ ! -x "$VENV/bin/gandist" ]; then
    echo "$VENV holds no gandist: type make install in the checkout, or set VENV" >&2
    exit 2
fi
export PATH="$VENV/bin:$PATH"

# The first node is the head. Its address, not its name, which many nodes take for their loopback.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on_head=(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}")
network=()
if [ -n "$INTERFACE" ]; then
    head_address=$("${on_head[@]}" ip -4 -brief address show "$INTERFACE" | awk '{sub("/.*", "", $3); print $3}')
    network=("cluster.interface=$INTERFACE")
else
    head_address=$("${on_head[@]}" hostname -I | awk '{print $1}')
fi
port=$((20000 + SLURM_JOB_ID % 10000))

# A token of this job's own keeps other users of the network out of its Ray.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

gpus=${SLURM_GPUS_ON_NODE:-0}
if [ "$gpus" -gt 0 ]; then
    workers=$((gpus * SLURM_JOB_NUM_NODES))
else
    workers=$SLURM_JOB_NUM_NODES
fi

limit=()
if [ -n "${SLURM_JOB_END_TIME:-}" ]; then
    left=$((SLURM_JOB_END_TIME - $(date +%s) - 60 * MARGIN))
    if [ "$left" -gt 0 ]; then
        limit=("train.hours=$(awk -v seconds="$left" 'BEGIN {printf "%.4f", seconds / 3600}')")
    fi
fi

# --workers and the storage stand before your own words, which have the last one.
code=0
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=1 \
    ray symmetric-run --address "$head_address:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$gpus" -- \
    python -m gandist train "$1" --address "$head_address:$port" \
    "cluster.workers=$workers" "cluster.storage=$STORAGE" "${network[@]}" "${limit[@]}" \
    "${@:2}" || code=$?

# 3: it left before its end, with a checkpoint.
if [ "$code" -eq 3 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
