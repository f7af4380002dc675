#!/usr/bin/env bash
# What a journal leaves on a real file system when the power goes, the disk fills up, or it freezes. Run by hand, as root:
#
#     journal/tests/real_disk/run.sh [power-cut] [full] [frozen]        all three without arguments
#
# power-cut  An ext4 image on a loop device, over a FUSE export of qemu-storage-daemon that logs every block write. A writer runs
#            on it and notes what it calls durable; then the daemon is killed, and the writer has to say that its journal
#            failed. From the log images are made as a power cut at random requests would have left them: what the last flush
#            covers is there, of the rest each sector is or is not. Each is mounted, recovered and checked. CUTS (default 50) of
#            them; SEED (default: the clock) repeats a run. The control calls durable what was not flushed yet: it has to be caught.
# full       A small ext4: the writer warns before it fails, what was durable is there, and with room again it is resumed.
# frozen     fsfreeze for two seconds under load: nothing fails, and no call of the writer waits for the disk.
#
# Needs root, qemu-storage-daemon, mkfs.ext4, losetup, fsfreeze, /dev/fuse. What is missing is said, and that part skipped.
set -euo pipefail
cd "$(dirname "$0")/../../.."
cuts=${CUTS:-50}
seed=${SEED:-$(date +%s)}
work=$(mktemp -d "${TMPDIR:-/tmp}/tickcore-real-disk.XXXXXX")
daemon=
loops=()

clean_up() {
    set +e
    fsfreeze -u "$work/mount" 2>/dev/null
    mountpoint -q "$work/mount" && { umount "$work/mount" || umount -l "$work/mount"; } 2>/dev/null
    for loop in "${loops[@]}"; do losetup -d "$loop" 2>/dev/null; done
    [ -n "$daemon" ] && kill -9 "$daemon" 2>/dev/null
    mountpoint -q "$work/disk" && umount -l "$work/disk" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() { echo "FAILED: $*" >&2; exit 1; }
has() {
    local needed
    for needed in "$@"; do
        command -v "$needed" >/dev/null || { echo "SKIPPED: there is no $needed here"; return 1; }
    done
}
[ "$(id -u)" = 0 ] || { echo "SKIPPED: loop devices and mounts need root"; exit 0; }
has losetup mkfs.ext4 mount || exit 0

cargo build -q --release -p tickcore-journal --example real_disk
tool="$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples/real_disk"
mkdir "$work/mount"
make_ext4() { mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$1"; }
attach() { # file: leaves the device in $loop
    loop=$(losetup --find --show "$1")
    loops+=("$loop")
}
detach() { losetup -d "$loop"; unset 'loops[-1]'; }

# Runs the writer until the daemon is killed under it, with further arguments for the writer; leaves log and marks.
write_until_cut() {
    local bytes=$((256 << 20))
    rm -f "$work/base" "$work/log" "$work/marks" "$work/said"
    truncate -s "$bytes" "$work/base"
    : >"$work/log"
    : >"$work/disk"
    qemu-storage-daemon \
        --blockdev driver=file,node-name=base,filename="$work/base" \
        --blockdev driver=file,node-name=logfile,filename="$work/log" \
        --blockdev driver=blklogwrites,node-name=logged,file=base,log=logfile,log-super-update-interval=1 \
        --export fuse,id=export,node-name=logged,mountpoint="$work/disk",writable=on,growable=off &
    daemon=$!
    for _ in $(seq 100); do
        [ "$(stat -c %s "$work/disk" 2>/dev/null || echo 0)" = "$bytes" ] && break
        sleep 0.05
    done
    [ "$(stat -c %s "$work/disk")" = "$bytes" ] || fail "the export of qemu-storage-daemon does not come up"
    attach "$work/disk"
    make_ext4 "$loop"
    mount "$loop" "$work/mount"
    "$tool" write "$work/mount/journal" seconds=30 rate=40000 log="$work/log" marks="$work/marks" "$@" >"$work/said" &
    local writer=$!
    sleep 5
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null || true
    daemon=
    wait "$writer" || fail "the writer ended badly: $(cat "$work/said")"
    umount "$work/mount" 2>/dev/null || umount -l "$work/mount"
    detach
    umount -l "$work/disk" 2>/dev/null || true
    grep -q '^failed: ' "$work/said" || fail "the disk went and the writer did not say so: $(cat "$work/said")"
}

# Checks $cuts images of the log; prints how many were broken.
broken_cuts() {
    local broken=0 watermark
    for number in $(seq "$cuts"); do
        watermark=$("$tool" cut "$work/log" marks="$work/marks" image="$work/cut" bytes=$((256 << 20)) \
            seed=$((seed * 1000 + number)) 2>"$work/how")
        attach "$work/cut"
        mount "$loop" "$work/mount"
        if ! "$tool" check "$work/mount/journal" watermark="$watermark" >"$work/checked" 2>&1; then
            broken=$((broken + 1))
            echo "cut $number: $(cat "$work/checked"); $(cat "$work/how")" >&2
        fi
        umount "$work/mount"
        detach
    done
    echo "$broken"
}

power_cut() {
    has qemu-storage-daemon || return 0
    [ -c /dev/fuse ] || { echo "SKIPPED: there is no /dev/fuse here"; return 0; }
    echo "power-cut, seed $seed"
    write_until_cut
    sed 's/^/    /' "$work/said"
    local broken
    broken=$(broken_cuts)
    echo "  $cuts cuts, $broken broken"
    [ "$broken" = 0 ] || fail "a journal broke its word"
    write_until_cut early=yes
    broken=$(broken_cuts 2>/dev/null)
    echo "  the control, which calls durable what was not flushed: $broken of $cuts broken"
    [ "$broken" -gt 0 ] || fail "the control was not caught: this run shows nothing"
}

full() {
    echo "full"
    truncate -s 96M "$work/small"
    make_ext4 "$work/small"
    attach "$work/small"
    mount "$loop" "$work/mount"
    fallocate -l 24M "$work/mount/ballast"
    local written="$work/said" durable
    "$tool" write "$work/mount/journal" seconds=60 rate=400000 segment=4 >"$written"
    sed 's/^/    /' "$written"
    grep -q '^warned: .*make room' "$written" || fail "a full disk was not foreseen"
    grep -q '^failed: .*make room' "$written" || fail "a full disk was not a failure"
    durable=$(sed -n 's/^durable to //p' "$written")
    "$tool" check "$work/mount/journal" watermark="$durable" | sed 's/^/    /'
    rm "$work/mount/ballast"
    "$tool" write "$work/mount/journal" seconds=1 rate=20000 segment=4 >"$written"
    grep -q '^failed: ' "$written" && fail "with room it fails: $(cat "$written")"
    durable=$(sed -n 's/^durable to //p' "$written")
    "$tool" check "$work/mount/journal" watermark="$durable" | sed 's/^/    /'
    umount "$work/mount"
    detach
}

frozen() {
    has fsfreeze || return 0
    echo "frozen"
    truncate -s 2G "$work/frozen"
    make_ext4 "$work/frozen"
    attach "$work/frozen"
    mount "$loop" "$work/mount"
    "$tool" write "$work/mount/journal" seconds=6 rate=200000 segment=16 staging=256 >"$work/said" &
    local writer=$! durable call gap
    sleep 2
    fsfreeze -f "$work/mount"
    sleep 2
    fsfreeze -u "$work/mount"
    wait "$writer" || fail "the writer ended badly"
    sed 's/^/    /' "$work/said"
    grep -q '^failed: ' "$work/said" && fail "a frozen disk is no failure"
    call=$(sed -n 's/^longest call \([0-9]*\).*/\1/p' "$work/said")
    gap=$(sed -n 's/.*without progress \([0-9]*\).*/\1/p' "$work/said")
    [ "$gap" -ge 1500 ] || fail "the control: the disk was not frozen"
    [ "$call" -lt 500 ] || fail "a call of the writer waited for the disk"
    durable=$(sed -n 's/^durable to //p' "$work/said")
    "$tool" check "$work/mount/journal" watermark="$durable" | sed 's/^/    /'
    umount "$work/mount"
    detach
}

[ $# -gt 0 ] || set -- power-cut full frozen
for part in "$@"; do
    case $part in
        power-cut) power_cut ;;
        full) full ;;
        frozen) frozen ;;
        *) echo "there is no part $part: power-cut, full, frozen" >&2; exit 2 ;;
    esac
done
echo "done"
