#!/bin/sh
# Gets data back from the tape volume H0C10001 without papertape: mtx, mt, dd, tar and sha256sum (or md5sum) do it.
# Run it in an empty folder: what comes back is put into data/ there. It ends at the first thing that is wrong.
set -eu
LC_ALL=C  # names are bytes
export LC_ALL
mkdir data  # not there yet: so nothing is overwritten, and no link leads elsewhere

# Bytes in each block of the archives.
BLOCK=10240

# The drive, one that does not rewind by itself (nst), and the robot. No other program may use them meanwhile.
DRIVE=${DRIVE:-/dev/nst0}
CHANGER=${CHANGER:-/dev/sg3}
# The volume lay in mail slot 7.
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

# unpack T M...: read tape file T, an archive with another in it, and unpack of the inner one the data sets M, or all.
# It has to be read whole. A data set host:/path becomes data/host:/path.
unpack() {
    number=$1
    shift
    wind "$number" 0
    problem=$(
        {
            {
                tape_file "$number" 0 | tar -b 20 -xOf - --wildcards "*paper.[0-9]*.$((number - 1)).tar" ||
                    echo "tape file $number is not whole" >&3
            } | tar --warning=no-unknown-keyword --warning=no-timestamp \
                -C data --strip-components=1 --wildcards --no-unquote -xpf - "$@"
        } 3>&1 >&2
    )
    if [ -n "$problem" ]; then
        echo "$problem" >&2
        exit 1
    fi
}

# check: compare data sets with the lines of standard input: MD5, blank, name, odd bytes in octal. The MD5 of a
# directory is that of the file visdata in it; nothing proves its other files.
check() {
    while IFS= read -r line; do
        name=$(printf '%b.' "data/${line#* }")
        name=${name%.}
        if [ -d "$name" ]; then name=$name/visdata; fi
        sum=$(md5sum <"$name")
        if [ "${sum%% *}" != "${line%% *}" ]; then
            printf '%s: its MD5 is %s\n' "$line" "${sum%% *}" >&2
            exit 1
        fi
    done
}

# Tape file 0, the catalog: a line for each data set, item:tape_index:archive_index:md5:host:/path.
# Tape file N + 1 is the archive with the tape_index N.
BLOCK=32768
wind 0 0
tape_file 0 0 | tr -d '\000' >catalog.txt
head -n 1 catalog.txt
BLOCK=10240

# Whole.
unpack 1
check <<'END'
cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd pot1:/data/zen.1.uv
END

# Two.
unpack 3 \
    'paper.[0-9]*.2/pot1:/data/a \[x]\*\\' \
    "$(printf '%b' 'paper.[0-9]*.2/pot1:/data/\0377\0047')"
check <<'END'
efefefefefefefefefefefefefefefef pot1:/data/\0377\0047
END

mt -f "$DRIVE" offline
echo "H0C10001: everything came out and was checked; it is in data/"
