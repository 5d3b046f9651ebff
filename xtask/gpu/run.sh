#!/bin/sh
# Tests and measures `classify` on this machine's first NVIDIA GPU, in at most 8 minutes, and writes figures.json.
# `cargo xtask gpu-bundle` made this folder. The machine needs the NVIDIA driver and NVRTC 12 (12.8 or newer).
#
#   ./run.sh               everything
#   NVRTC=FOLDER ./run.sh  with the libnvrtc.so.12 in that folder

set -u
cd "$(dirname "$0")" || exit 1
rm -rf figures.json work
mkdir work || exit 1
: > work/figures
begun=$(date +%s)

# Writes figures.json from the figures so far.
write() {
    {
        echo '{'
        sed '$!s/$/,/; s/^/  /' work/figures
        echo '}'
    } > figures.json
}

# figure NAME JSON
figure() {
    printf '"%s": %s\n' "$1" "$2" >> work/figures
    write
    echo "$1: $2"
}

fail() {
    message=$(printf '%s' "$1" | tr -d '"\\' | tr '\n\t' '  ')
    figure failed "\"$message\""
    echo "error: $1" >&2
    exit 1
}

# Runs a command for at most so many seconds, with its output in work/NAME.log: limited NAME SECONDS COMMAND...
limited() {
    name=$1
    seconds=$2
    shift 2
    started=$(date +%s)
    timeout "$seconds" "$@" > "work/$name.out" 2> "work/$name.log"
    code=$?
    if [ $code -ne 0 ]; then
        tail -n 30 "work/$name.out" "work/$name.log" >&2
        [ $code -eq 124 ] && fail "$name took more than $seconds s"
        fail "$name failed with code $code; see work/$name.out and work/$name.log"
    fi
    figure "${name}_seconds" $(($(date +%s) - started))
}

# The folder of libnvrtc.so.12, if it is not where the loader looks.
nvrtc() {
    python=$(command -v python3 || command -v python || true)
    sites=''
    if [ -n "$python" ]; then
        sites=$("$python" -c 'import site, sys
for folder in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]:
    if folder: print(folder + "/nvidia/cuda_nvrtc/lib")' 2> /dev/null)
    fi
    # Only the last of these has no spaces to fear.
    for folder in "${NVRTC:-}" nvrtc/lib /usr/local/cuda/lib64 /usr/local/cuda-12*/lib64 \
        /usr/local/cuda-12*/targets/*/lib /opt/cuda/lib64 /usr/lib/x86_64-linux-gnu $sites; do
        if [ -n "$folder" ] && [ -e "$folder/libnvrtc.so.12" ]; then
            (cd "$folder" && pwd)
            return
        fi
    done
}

# The machine.

command -v nvidia-smi > /dev/null || fail "there is no nvidia-smi; this machine has no NVIDIA driver"
gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader -i 0) ||
    fail "nvidia-smi finds no GPU: $gpu"
figure gpu "\"$gpu\""
figure processors "$(nproc)"
./classify --version > work/version 2>&1 ||
    fail "classify does not start; was it built with a newer C library? $(cat work/version)"
folder=$(nvrtc)
if [ -n "$folder" ]; then
    LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export LD_LIBRARY_PATH
    figure nvrtc "\"$folder\""
elif ldconfig -p 2> /dev/null | grep -q 'libnvrtc\.so\.12'; then
    figure nvrtc '"the system"'
else
    fail "no libnvrtc.so.12 was found; run: pip install nvidia-cuda-nvrtc-cu12==12.8.93 (or unpack that wheel and set NVRTC to its folder nvidia/cuda_nvrtc/lib)"
fi

# The kernels against the CPU's engine, in f32, bf16 and f16.

GPU_REQUIRED=1 limited device_tests 150 ./device --nocapture

# The default recipe on MNIST, in each type.

gunzip -kf data/mnist/idx/*.gz || fail "cannot unpack data/mnist/idx"

# Runs a training and keeps its figures: trained NAME SECONDS SETTINGS...
trained() {
    name=$1
    seconds=$2
    shift 2
    limited "$name" "$seconds" ./classify train --config mnist.toml --run-dir "work/$name" --json-log \
        --set train.device=cuda "$@"
    ended=$(grep '"event":"epoch_finished"' "work/$name.out")
    # The first epoch decodes the images; the later ones find them in memory.
    speed=$(echo "$ended" | sed -n 's/.*"images_per_second":\([0-9.e+]*\).*/\1/p' | sort -g | tail -n 1)
    times=$(echo "$ended" | tail -n 1 | sed -n 's/.*"times":\({[^}]*}\).*/\1/p')
    executor=$(grep '"event":"run_started"' "work/$name.out" | sed -n 's/.*"executor":\("[^"]*"\).*/\1/p')
    accuracy=$(grep '"event":"result"' "work/$name.out" | sed -n 's/.*"accuracy":\([0-9.]*\).*/\1/p')
    figure "${name}_images_per_second" "${speed:-null}"
    figure "${name}_times" "${times:-null}"
    figure "${name}_executor" "${executor:-null}"
    figure "${name}_test_accuracy" "${accuracy:-null}"
    case $executor in
    *gpu*) ;;
    *) fail "$name ran on ${executor:-an unknown executor}, not on the GPU's" ;;
    esac
}

# accurate NAME LEAST
accurate() {
    awk -v found="${accuracy:-0}" -v least="$2" 'BEGIN { exit !(found >= least) }' ||
        fail "$1 reached an accuracy of ${accuracy:-nothing}, less than $2"
}

trained mnist_f32 90 --set train.precision=f32
accurate mnist_f32 0.985
trained mnist_bf16 60 --set train.precision=bf16
accurate mnist_bf16 0.985
trained mnist_f16 60 --set train.precision=f16
accurate mnist_f16 0.985

# Whole training of a large network with images from memory.

trained large_224_bf16 120 --set train.precision=bf16 --set model.name=mobilenet_v3_large \
    --set data.image_size=224 --set data.batch_size=256 --set data.cache_mb=4000 --set data.disk_cache_mb=0 \
    --set data.limit=8192 --set data.val_limit=256 --set train.epochs=4

# PyTorch, if it is there.

if [ -n "$(command -v python3)" ]; then
    limited pytorch 180 python3 -B compare.py
    figure pytorch "$(tail -n 1 work/pytorch.out)"
fi
figure seconds $(($(date +%s) - begun))
echo "figures.json has all figures"
