#!/bin/bash
# A lab's first night, in the guest: init, add, dump; then everything back by hand, as the README on the tape says.
# Arguments: the papertape to run, and what to archive. Ends at the first thing that is not as it should be.
set -euo pipefail
papertape=$1; shift
lab=/srv/lab
"$papertape" init "$lab" --changer "$CHANGER" --drive /dev/nst0 --drive /dev/nst1 --capacity 64MB --ring 16MiB
cd "$lab"
sed -i 's/^archive_size = "5GB"/archive_size = "1MB"/' papertape.toml
"$papertape" add "$@"
"$papertape" dump
mtx -f "$CHANGER" status | head -n 3

echo "== by hand"
load() {
    slot=$(mtx -f "$CHANGER" status | sed -n "s/ *Storage Element \([0-9]*\):Full *:VolumeTag=$1 *$/\1/p")
    mtx -f "$CHANGER" load "$slot" "$2"
    mt -f "/dev/nst$2" setblk 0
    mt -f "/dev/nst$2" rewind
}
readme() {  # the commands below the line of the README that begins so
    awk -v head="$1" 'index($0, head) == 1 { on = 1; next } on && !/^  / { exit } on' /srv/README.txt
}
load PAPR2001 0
tar -b 2048 -xOf /dev/nst0 README.txt >/srv/README.txt
mkdir /srv/back; cd /srv/back
readme "With mt, tar" >../step; readme "List one" >>../step; readme "Extract and" >>../step
set -x; . ../step; set +x
next=$(sed -n 's/.*"\(mt [^"]*\)" before them.*/\1/p' ../README.txt)
while [ ! -e plan.json ] && [ ! -e catalog.json ]; do
    echo "+ $next"; $next
    readme "Extract and" | tail -n 2 >../step; . ../step
done
rm catalog.json datasets.csv files.csv
readme "Find the catalog" >../step
set -x; . ../step; set +x

echo "== one file"
IFS=, read -r T O NAME < <(python3 - <<'PY'
import csv
rows = [row for row in csv.DictReader(open("files.csv")) if row["member"].startswith("data/") and int(row["bytes"]) > 0]
row = max(rows, key=lambda row: (int(row["tape_file"]), int(row["offset"])))
print(row["tape_file"], row["offset"], row["member"], sep=",")
PY
)
B=$((O / 1048576)); R=$((O - B * 1048576))
mkdir /srv/one; cd /srv/one
readme "down) and R" | sed "s/ T\$/ $T/; s/ B\$/ $B/; s|NAME|$NAME|" >../step
set +o pipefail  # tar ends when it has its file, and dd is cut off
set -x; . ../step; set +x
set -o pipefail
cmp "$NAME" "/srv/back/$NAME"

echo "== compared"
for source in "$@"; do diff -r "$source" "/srv/back/data/$(hostname)$source"; done
load PAPR1001 1
mt -f /dev/nst0 rewind
mt -f /dev/nst0 fsf 1; mt -f /dev/nst1 fsf 1
files=0
while dd if=/dev/nst0 bs=1M of=/srv/a status=none && dd if=/dev/nst1 bs=1M of=/srv/b status=none && [ -s /srv/a ]; do
    cmp /srv/a /srv/b; files=$((files + 1))
done
echo "equal tape files: $files"
mt -f /dev/nst0 offline; mt -f /dev/nst1 offline
