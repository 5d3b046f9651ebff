#!/bin/sh
# Drives the full-screen view of a run in tmux: it draws, saves on `s`, stops on `q`, and gives the terminal back after a
# normal end, SIGTERM and a second Ctrl-C.
# usage: tui.sh CLASSIFY FOLDER   (the program; a folder with train, val and test of small images)
# Exit code 1 with a message on any difference.
set -u
classify=$(realpath "$1")
images=$(realpath "$2")
dir=$(mktemp -d)
session=tui-$$
trap 'tmux -L "$session" kill-server 2>/dev/null; rm -rf "$dir"' EXIT

fail() {
    echo "tui.sh: $1" >&2
    tmux -L "$session" capture-pane -p -t "$session" >&2
    exit 1
}

# Waits up to a minute until the screen has a text.
shows() {
    for _ in $(seq 600); do
        tmux -L "$session" capture-pane -p -S -100 -t "$session" | grep -q -e "$1" && return 0
        sleep 0.1
    done
    fail "the screen never shows: $1"
}

# The other screen is on while the view is shown.
is_restored() {
    [ "$(tmux -L "$session" display -p -t "$session" '#{alternate_on}')" = 0 ] || fail "$1: the other screen is still on"
    tmux -L "$session" send-keys -t "$session" 'stty -a | grep -o -e "[-]*icanon" -e "[-]*echo "' Enter
    shows '^icanon'
    shows '^echo'
}

# Starts a run and waits for its curves.
begin() {
    tmux -L "$session" send-keys -t "$session" "clear; $classify train --tui --run-dir $1 $2 --set data.source=folder \
--set data.root=$images --set data.limit=400 --set data.val_limit=100 --set model.width=0.25 --set data.image_size=32 --set train.epochs=500; echo code=\$?" Enter
    shows 's save  q stop'
    shows 'loss: + train'
    shows 'epoch 2/500'
}

tmux -L "$session" -f /dev/null new-session -d -s "$session" -x 120 -y 40 -c "$dir" 'PS1="$ " sh'
begin run ''
[ "$(tmux -L "$session" display -p -t "$session" '#{alternate_on}')" = 1 ] || fail "the view is not on the other screen"
tmux -L "$session" send-keys -t "$session" '?'
shows 'show or hide this help'
tmux -L "$session" send-keys -t "$session" '?' s
shows 'the state is saved after this step'
shows 'saved the state of epoch'
tmux -L "$session" send-keys -t "$session" q
shows 'code=130'
shows 'classify train --resume run'
is_restored 'after q'
[ -n "$(ls "$dir"/run/state)" ] || fail 'q saved no state'

# A small screen has no curves, and the figures remain.
tmux -L "$session" resize-window -t "$session" -x 40 -y 10
tmux -L "$session" send-keys -t "$session" "clear; $classify train --tui --resume run; echo code=\$?" Enter
shows 's save  q stop'
tmux -L "$session" resize-window -t "$session" -x 120 -y 40
shows 'loss: + train'
kill -TERM "$(pgrep -P "$(tmux -L "$session" display -p -t "$session" '#{pane_pid}')")"
shows 'code=130'
is_restored 'after SIGTERM'

begin second ''
tmux -L "$session" send-keys -t "$session" C-c C-c
shows 'code=130'
is_restored 'after a second Ctrl-C'
echo 'the full-screen view draws, saves, stops and gives the terminal back'
