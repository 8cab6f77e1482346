#!/bin/sh
# From a training to the firmware of a BBC micro:bit, which blinks the digit that it reads.
#
#     sh board.sh [DATA]
#
# On Debian: apt-get install gcc gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm make
set -eu
data=${1:-mnist}
examples=$(cd "$(dirname "$0")" && pwd)

smidgen check smidgen_1936 --budget mcu-16k      # flash and RAM, before anything is trained
smidgen train smidgen_1936 --recipe default --data "$data" --epochs 3 --out runs/board
smidgen export runs/board --format c --out exports/board
make -C "$examples/cortex-m" MODEL="$PWD/exports/board"
echo "copy $examples/cortex-m/firmware.hex onto the board's drive"
