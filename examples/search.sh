#!/bin/sh
# The best network under a budget: searched on validation images, then trained over three seeds.
#
#     sh search.sh [DATA [TRIALS [EPOCHS]]]
#
# It needs the extra `search`. 200 trials of MNIST take hours; --plan says how many, and a search
# that was ended goes on by `smidgen search --resume runs/search`.
set -eu
data=${1:-mnist}
trials=${2:-200}
epochs=${3:-15} # of the winner's final trainings

cat > board.toml <<END
title = "a chip with 16 kB of flash and 8 kB of RAM"
max_flash_bytes = 16_384
max_ram_bytes = 8_192
END

smidgen search --budget board.toml --space chain --data "$data" --trials "$trials" --rungs 1,3 \
    --set "epochs=$epochs" --out runs/search --emit runs/winner
smidgen evaluate runs/winner
smidgen describe runs/winner
