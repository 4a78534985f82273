#!/bin/sh
# Gets data back from the tape volume PAPR1001 without papertape: mtx, mt, dd, tar and sha256sum (or md5sum) do it.
# Run it in an empty folder: what comes back is put into data/ there. It ends at the first thing that is wrong.
# The same data are on PAPR2001.
set -eu
LC_ALL=C  # names are bytes
export LC_ALL
mkdir data  # not there yet: so nothing is overwritten, and no link leads elsewhere

# Bytes in each block of the archives.
BLOCK=65536

# The drive, one that does not rewind by itself (nst), and the robot. No other program may use them meanwhile.
DRIVE=${DRIVE:-/dev/nst1}
CHANGER=${CHANGER:-/dev/sg3}
# From slot 5, where it lay, into drive 1, which is $DRIVE.
mtx -f "$CHANGER" load 5 1
mt -f "$DRIVE" setblk 0  # blocks of any length
mt -f "$DRIVE" rewind
FILE=0 AT=0  # the tape file and the block in it that the tape stands before

# wind T B C: have the tape stand before block B of tape file T; C blocks, or, without C, all will be read from there.
wind() {
    if [ "$1" -lt "$FILE" ]; then
        mt -f "$DRIVE" rewind
        FILE=0 AT=0
    fi
    if [ "$1" -gt "$FILE" ]; then
        mt -f "$DRIVE" fsf "$(($1 - FILE))"
        FILE=$1 AT=0
    fi
    if [ "$2" -gt "$AT" ]; then mt -f "$DRIVE" fsr "$(($2 - AT))"; fi
    if [ "$2" -lt "$AT" ]; then mt -f "$DRIVE" bsr "$((AT - $2))"; fi
    if [ -n "${3:-}" ]; then AT=$(($2 + $3)); else FILE=$(($1 + 1)) AT=0; fi
}

# tape_file T B C: write tape file T from block B on, where "wind T B C" has brought the tape.
tape_file() {
    dd if="$DRIVE" bs="$BLOCK" ${3:+count="$3"} status=none
}

# unpack T B C S L N: read C blocks of tape file T from block B on, leave out the first S bytes of them, and unpack the
# next L bytes, which are N members. Where reading fails, members are missing, or their digests are wrong.
unpack() {
    wind "$1" "$2" "$3"
    names=$(
        tape_file "$1" "$2" "$3" | tail -c "+$(($4 + 1))" | head -c "$5" |
            tar --warning=no-unknown-keyword --warning=no-timestamp --quoting-style=escape -xpvf -
    )
    count=$(printf '%s\n' "$names" | wc -l)
    if [ "$count" -ne "$6" ]; then
        echo "tape file $1: of $6 members $count came out" >&2
        exit 1
    fi
}

# check: compare files with the lines of standard input, which are those of SHA256SUMS, odd bytes in octal.
check() {
    while IFS= read -r line; do printf '%b\n' "$line"; done | sha256sum --quiet --strict -c -
}

# check_listed: compare all files of an archive with its SHA256SUMS.
check_listed() {
    if [ -s SHA256SUMS ]; then sha256sum --quiet --strict -c SHA256SUMS; fi
    rm SHA256SUMS
}

# Tape file 0, the label.
unpack 0 0 1 0 65536 2
check <<'END'
abababababababababababababababababababababababababababababababab  volume.json
END

# Tape file 2.
# Rejected: pot1:/data/\xc3\xbc: gone
unpack 2 0 1 0 512 1
unpack 2 0 1 1024 64512 1
check_listed

# From tape file 2:
unpack 2 0 2 65024 513 2
check <<'END'
\\abababababababababababababababababababababababababababababababab  data/a\\nb\0047\0377\\\\
END

mt -f "$DRIVE" offline
mtx -f "$CHANGER" unload 5 1
echo "PAPR1001: everything came out and was checked; it is in data/"
