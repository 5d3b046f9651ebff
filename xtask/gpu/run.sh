#!/bin/sh
# Tests and measures `classify` on this machine's first NVIDIA GPU, in less than 8 minutes, and writes figures.json.
# `cargo xtask gpu-bundle` made this folder. The machine needs the NVIDIA driver and, where the programs have no kernels for
# its GPU, NVRTC 12 (12.8 or newer). PyTorch is measured if it is there.
#
#   ./run.sh                 everything
#   NVRTC=FOLDER ./run.sh    with the libnvrtc.so.12 in that folder
#   PYTHON=PROGRAM ./run.sh  with the PyTorch of that Python
#
# A step that fails or takes too long is named under "failures", and the next one runs. Only a machine without a GPU ends
# the script at once. It ends with 1 if anything failed.

set -u
cd "$(dirname "$0")" || exit 1
rm -rf figures.json work
mkdir work || exit 1
: > work/figures
: > work/failures
begun=$(date +%s)
# All steps end within this time, in seconds, even if each takes all of its own.
BUDGET=475

# A text as a JSON string.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\n\t' '  ' | LC_ALL=C tr -cd '\040-\176' | sed 's/[\\"]/\\&/g')"
}

# Writes figures.json from the figures so far, as a whole or not at all.
write() {
    {
        echo '{'
        sed 's/^/  /; s/$/,/' work/figures
        # Not echo, which may read backslashes.
        printf '  "failures": [%s],\n' "$(paste -s -d , work/failures)"
        printf '  "seconds": %s\n}\n' $(($(date +%s) - begun))
    } > work/new.json && mv work/new.json figures.json
}

# figure NAME JSON
figure() {
    printf '"%s": %s\n' "$1" "$2" >> work/figures
    write
    printf '%s: %s\n' "$1" "$2"
}

failed() {
    quoted "$1" >> work/failures
    echo >> work/failures
    write
    printf 'error: %s\n' "$1" >&2
}

stop() {
    failed "$1"
    exit 1
}

trap 'stop "interrupted"' INT TERM

# Runs a command for at most so many seconds, with its output in work/NAME.out and work/NAME.log:
# step NAME SECONDS COMMAND...
step() {
    name=$1
    limit=$2
    shift 2
    left=$((BUDGET - $(date +%s) + begun))
    [ "$limit" -gt "$left" ] && limit=$left
    if [ "$limit" -lt 1 ]; then
        failed "$name: no time is left"
        return 1
    fi
    echo "$name, at most $limit s"
    started=$(date +%s)
    timeout -k 2 "$limit" "$@" > "work/$name.out" 2> "work/$name.log"
    code=$?
    figure "${name}_seconds" $(($(date +%s) - started))
    case $code in
    0) return 0 ;;
    124 | 137) why="took more than $limit s" ;;
    *) why="ended with code $code" ;;
    esac
    tail -n 30 "work/$name.out" "work/$name.log" >&2
    failed "$name $why; work/$name.log ends with: $(grep -v '^note: ' "work/$name.log" | tail -n 2)"
    return 1
}

# A number or a string in a line of JSON: field NAME < LINE
field() {
    sed -n 's/.*"'"$1"'": *\("[^"]*"\|-\{0,1\}[0-9][0-9.eE+-]*\).*/\1/p' | tail -n 1
}

# The folder of libnvrtc.so.12, if it is not where the loader looks.
nvrtc() {
    sites=''
    if [ -n "$python" ]; then
        sites=$(timeout 5 "$python" -c 'import site, sys
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

python=${PYTHON:-$(command -v python3 || command -v python || true)}
for program in programs/*.gz; do
    name=$(basename "$program" .gz)
    gunzip -c "$program" > "$name" || stop "cannot unpack $program"
    chmod +x "$name"
done
for file in data/mnist/idx/*.gz; do
    gunzip -c "$file" > "${file%.gz}" || stop "cannot unpack $file"
done
XDG_CACHE_HOME=$PWD/work/cache
GPU_KERNELS=$XDG_CACHE_HOME/classify/kernels
GPU_REQUIRED=1
# Reasons, not traces, are the last lines of a log.
RUST_BACKTRACE=0
export XDG_CACHE_HOME GPU_KERNELS GPU_REQUIRED RUST_BACKTRACE

figure processors "$(nproc)"
if command -v nvidia-smi > /dev/null; then
    step driver 10 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader -i 0 &&
        figure driver "$(quoted "$(head -n 1 work/driver.out)")"
else
    echo 'there is no nvidia-smi; the driver may still be there'
fi
step version 5 ./classify --version ||
    stop 'classify does not start; was it built with a newer C library than that of this machine?'
step bandwidth 15 ./bandwidth ||
    stop 'this machine has no NVIDIA GPU that works; the line before says what is missing'
figure bandwidth "$(tail -n 1 work/bandwidth.out)"
copy=$(field copy < work/bandwidth.out)
folder=$(nvrtc)
if [ -n "$folder" ]; then
    LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export LD_LIBRARY_PATH
    figure nvrtc "$(quoted "$folder")"
elif ldconfig -p 2> /dev/null | grep -q 'libnvrtc\.so\.12'; then
    figure nvrtc '"the system"'
else
    figure nvrtc null
    echo 'no libnvrtc.so.12 was found. If kernels must be compiled, the next steps fail. Then run
    pip install nvidia-cuda-nvrtc-cu12==12.8.93
or unpack that wheel and set NVRTC to its folder nvidia/cuda_nvrtc/lib' >&2
fi

# The kernels, and whole networks, against the CPU's engine in f32, bf16 and f16. Kernels are compiled first.

step device_tests 70 ./device --nocapture
step network_tests 60 ./networks device:: --nocapture --test-threads 1

# MNIST to 99 %, in each type.

# trained NAME SECONDS SETTINGS...
trained() {
    run=$1
    seconds=$2
    shift 2
    step "$run" "$seconds" ./classify train --config mnist-fast.toml --run-dir "work/$run" --json-log \
        --set train.device=cuda "$@" || return
    grep '"event":"epoch_finished"' "work/$run.out" > "work/$run.epochs"
    # The first epoch decodes the images; the later ones find them in memory.
    speed=$(sed -n 's/.*"images_per_second":\([0-9.e+]*\).*/\1/p' "work/$run.epochs" | sort -g | tail -n 1)
    times=$(tail -n 1 "work/$run.epochs" | sed -n 's/.*"times":\({[^}]*}\).*/\1/p')
    executor=$(grep '"event":"run_started"' "work/$run.out" | field executor)
    accuracy=$(grep '"event":"result"' "work/$run.out" | field accuracy)
    figure "${run}_images_per_second" "${speed:-null}"
    figure "${run}_times" "${times:-null}"
    figure "${run}_executor" "${executor:-null}"
    figure "${run}_test_accuracy" "${accuracy:-null}"
    case $executor in
    *gpu*) ;;
    *) failed "$run ran on ${executor:-an unknown executor}, not on the GPU's" ;;
    esac
    awk -v found="${accuracy:-0}" 'BEGIN { exit !(found >= 0.99) }' ||
        failed "$run reached an accuracy of ${accuracy:-nothing}, less than 0.99"
}

trained mnist_f32 40 --set train.precision=f32
trained mnist_bf16 25 --set train.precision=bf16
trained mnist_f16 25 --set train.precision=f16

# Whole training steps, with images from the host's memory, and the share of the roofline: the time in which a copy moves
# the bytes of all kernels, as part of the step's time.

{
    echo 'run 5'
    for _ in 1 2 3 4 5; do echo 'run 20'; done
    echo quit
} > work/rounds

# measured NETWORK SECONDS
measured() {
    step "step_$1" "$2" ./train_step --model "$1" --image-size 224 --batch 256 --classes 1000 --device cuda \
        --precision bf16 --pixels bytes --kernels "$GPU_KERNELS" < work/rounds || return
    # The first number is the warm-up's.
    speed=$(grep '^[0-9]' "work/step_$1.out" | tail -n 5 | sort -g | sed -n 3p |
        awk '{ printf "%.1f", 20 * 256 / $1 }')
    figure "step_$1_images_per_second" "${speed:-null}"
    bytes=$(grep "\"$1\"" work/roofline.out | field bytes_per_image)
    figure "step_$1_bytes_per_image" "${bytes:-null}"
    share=$(awk -v speed="${speed:-0}" -v bytes="${bytes:-0}" -v copy="${copy:-1}" \
        'BEGIN { printf "%.3f", speed * bytes / copy }')
    figure "step_$1_share_of_bandwidth" "$share"
}

step roofline 5 ./roofline --model mobilenet_v3_large --model resnet50 --model mobilenet_v3_small --size 224 --batch 256 \
    --storage bf16 --json yes
measured mobilenet_v3_large 15
measured resnet50 15
measured mobilenet_v3_small 15

# A large network with the loader: decoding, then images from memory.

step loader 25 ./classify train --config mnist-fast.toml --run-dir work/loader --json-log --set train.device=cuda \
    --set train.precision=bf16 --set model.name=mobilenet_v3_large --set model.width=1.0 --set model.stem_stride=2 \
    --set data.image_size=224 --set data.batch_size=256 --set data.cache_mb=4000 --set data.disk_cache_mb=0 \
    --set data.limit=8192 --set data.val_limit=256 --set train.epochs=4 &&
    figure loader_images_per_second "$(sed -n 's/.*"event":"epoch_finished".*"images_per_second":\([0-9.e+]*\).*/\1/p' \
        work/loader.out | sort -g | tail -n 1 | grep . || echo null)"

# PyTorch, if it is there: the same steps, in turns with ours.

if [ -n "$python" ] && timeout 20 "$python" -c 'import torch' 2> /dev/null; then
    TORCHINDUCTOR_CACHE_DIR=$PWD/work/inductor
    export TORCHINDUCTOR_CACHE_DIR
    step pytorch 120 "$python" -B compare.py 110
    # Each line has all figures so far.
    figure pytorch "$(grep '^{.*}$' work/pytorch.out | tail -n 1 | grep . || echo null)"
else
    figure pytorch '{"skipped": "no Python with PyTorch was found; set PYTHON to one"}'
fi

write
cat figures.json
if [ -s work/failures ]; then
    echo 'some steps failed; figures.json names them' >&2
    exit 1
fi
echo 'everything passed; figures.json has all figures'
