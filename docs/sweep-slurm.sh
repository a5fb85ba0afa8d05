#!/bin/sh
# One sweep on many nodes: a job array, each task one shard. A task that is requeued goes on where it stopped.
#
# In a folder that all nodes see, with candles.csv.gz and recompra.toml in it:
#   sbatch sweep-slurm.sh
# and when the array is done:
#   recompra sweep merge part-*.jsonl --out sweep.jsonl
#SBATCH --job-name=recompra-sweep
#SBATCH --array=1-4
#SBATCH --cpus-per-task=2
#SBATCH --mem=512M
#SBATCH --requeue
set -eu
recompra sweep --market candles.csv.gz --config recompra.toml --no-cache \
  --set rebuy_step_percent=0.5..2/0.5 --set take_profit_percent=0.5,1,2 --split 70% \
  --threads "${SLURM_CPUS_PER_TASK:-1}" \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --out "part-$SLURM_ARRAY_TASK_ID.jsonl"
