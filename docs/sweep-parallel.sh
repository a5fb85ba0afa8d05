#!/bin/sh
# One sweep with GNU parallel: on this machine as it stands, on others too with --sshloginfile and --workdir for a folder
# that all of them see. A part that failed is run again with --retries, and goes on where it stopped.
#
# In the folder that holds candles.csv.gz and recompra.toml:
#   sh sweep-parallel.sh
set -eu
seq 1 4 | parallel --will-cite --retries 3 --halt soon,fail=1 \
  recompra sweep --market candles.csv.gz --config recompra.toml --no-cache --threads 1 \
  --set rebuy_step_percent=0.5..2/0.5 --set take_profit_percent=0.5,1,2 --split 70% \
  --shard {}/4 --out part-{}.jsonl '>' part-{}.txt
recompra sweep merge part-*.jsonl --out sweep.jsonl
