#!/bin/bash
# PID 1 of the guest, once init has switched to the host's root: waits for the tape devices, runs /run/rig/command,
# reports its status, and powers off. /run/rig/settings says DRIVES, SHARES (an array) and DISK (empty: there is none).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
trap 'busybox poweroff -f' EXIT                      # whatever happens, the guest ends
. /run/rig/settings

for port in /sys/class/virtio-ports/*; do            # rig.out, rig.err, rig.status, rig.wake become $rig_out ...
    read -r name <"$port/name"
    declare "${name/./_}=/dev/${port##*/}"
done
say() { echo "rig: $(cut -d' ' -f1 /proc/uptime): $*" >/dev/console; }
fail() {
    say "$*"
    echo "setup failed: $*" >"$rig_status"
    exit
}
say "in the guest's root"
ln -s /proc/self/fd /dev/fd
for pair in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${pair%:*}" "/dev/${pair#*:}"; done
busybox ip link set lo up
busybox hostname tape-guest
for share in "${SHARES[@]}"; do
    mkdir -p "$share"
    busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap "share$((n++))" "$share" ||
        fail "mount of $share"
done
if [ "$DISK" ]; then
    mkdir -p /srv
    busybox mount -t ext4 /dev/vda /srv || fail "mount of the disk"
fi

# devtmpfs makes the nodes, without udev: LUN l must be nst(l-1), which is mtx's drive l-1.
find_devices() {
    local sg lun found=0
    for sg in /sys/class/scsi_generic/sg*; do
        case $(cat "$sg/device/type" 2>/dev/null) in
            1) lun=$(readlink -f "$sg/device"); lun=${lun##*:}
               [ -d "$sg/device/scsi_tape/nst$((lun - 1))" ] && [ -c "/dev/nst$((lun - 1))" ] && found=$((found + 1)) ;;
            8) ln -sfn "/dev/${sg##*/}" /dev/changer; found=$((found + 1)) ;;
        esac
    done
    [ "$found" = $((DRIVES + 1)) ]
}
for _ in $(seq 200); do find_devices && break; sleep 0.05; done
find_devices || fail "tape devices are missing or in the wrong order"
chgrp tape /dev/st[0-9]* /dev/nst* /dev/sg*          # as udev's rules have it
chmod 660 /dev/st[0-9]* /dev/nst* /dev/sg*
say "devices ready"

# A port can be opened once only: with pipes before them, /dev/stdout and /dev/stderr can be opened as anywhere else.
mkfifo -m 666 /run/out /run/err
busybox cat /run/out >"$rig_out" & out=$!
busybox cat /run/err >"$rig_err" & err=$!
RIG_WAKE=$rig_wake bash /run/rig/command </dev/null >/run/out 2>/run/err
status=$?
say "the command ended with status $status"
for _ in $(seq 100); do                              # what it left running may hold the pipes open for ever
    kill -0 $out 2>/dev/null || kill -0 $err 2>/dev/null || break
    sleep 0.02
done
sync                                                 # an orderly end, unlike a power cut
[ -z "$DISK" ] || busybox umount /srv
echo $status >"$rig_status"
