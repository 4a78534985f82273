"""The check-up of a real library in the rig: a right set-up, wrong ones, and what it measures on a scratch volume.

One guest goes through all of them, since booting and starting papertape take most of the time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rig.guest import Guest
from rig.library import TapeLibrary

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]

KIB = 1024
LONGEST = 256 * KIB
PAPERTAPE = Path(sys.executable).with_name("papertape")
GUEST_SERVER = Path(__file__).with_name("guest_server.py")
SCRIPT = """
mkdir -p /tmp/lab && cd /tmp/lab && chmod a+rwx .
umask 0
config() {   # NAME CHANGER DRIVES BLOCK_SIZE
    cat >$1.toml <<END
block_size = "$4"
ring = "16MiB"
[library]
kind = "scsi"
changer = "$2"
drives = [$3]
END
}
papertape() {   # WORDS..., in a process of its own after the words in $AS, else in a fork that has it loaded
    if [ "$AS" ]; then $AS PAPERTAPE "$@" >out 2>err; return; fi
    number=$((number + 1)); order=/run/orders/$number
    words=$(printf '"%s",' "$@")
    printf '{"kind":"papertape","words":[[%s]]}' "${words%,}" >$order.new
    mv $order.new $order.order
    kill -CHLD $server
    until [ -e $order.status ]; do sleep 0.05; done
    cp $order.out out; cp $order.err err
    return $(cat $order.status)
}
doctor() {   # NAME CONFIG OPTIONS...
    name=$1; config=$2; shift 2
    papertape --config $config.toml doctor --json "$@"
    status=$?
    mtx -f $CHANGER status >status 2>&1 || mtx.away -f $CHANGER status >status
    tail -n +2 status | grep -o 'Data Transfer Element .:Full.*' >loaded
    printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$name" $status "$(tr '\\n' '|' <err)" "$(tr '\\n' '|' <loaded)" "$(cat out)"
}
RIGHT='"/dev/nst0", "/dev/nst1"'
config right /dev/changer "$RIGHT" 256KiB
config swapped /dev/changer '"/dev/nst1", "/dev/nst0"' 256KiB
config tape /dev/sg0 "$RIGHT" 1MiB
config large /dev/changer "$RIGHT" 1MiB
mkdir /run/orders
PYTHON GUEST_SERVER /run/orders & server=$!
until [ -e /run/orders/ready ]; do sleep 0.1; done
papertape --config right.toml volumes add PAPR1001 PAPR2001 >/dev/null || exit
chmod -R a+rwX .
AS='setpriv --reuid 65534 --regid 65534 --groups tape' doctor right right --load PAPR1001
doctor swapped swapped --load PAPR1001
AS='setpriv --reuid 65534 --regid 65534 --clear-groups' doctor rights right --load PAPR1001
doctor tape tape --load PAPR1001
chmod 600 /dev/sg0 /dev/sg1
AS='setpriv --reuid 65534 --regid 65534 --groups tape' doctor large large --load PAPR1001
doctor scratch right --scratch SCR001 --scratch-size 20MB
mtx -f $CHANGER load 3 0 >/dev/null
mt -f /dev/nst0 setblk 0; mt -f /dev/nst0 eod; mt -f /dev/nst0 tell >tell
dd if=/dev/zero of=/dev/nst0 bs=64k count=4 2>/dev/null
mt -f /dev/nst0 offline
mtx -f $CHANGER unload 3 0 >/dev/null
doctor written right --scratch SCR001
mt -f /dev/nst1 stsetoptions no-wait two-fms no-blklimits
mt -f /dev/nst1 stsetoptions 0x8000
mt -f /dev/nst0 defblksize 512
mv /usr/sbin/mtx /usr/sbin/mtx.away; rm -f /usr/bin/mt; ln -s /bin/mt-gnu /usr/bin/mt
doctor nothing right --load PAPR1001
printf 'tell\\t0\\t\\t\\t%s\\n' "[]"; cat tell >&2
kill $server
"""


class Ran(NamedTuple):
    """What a check-up came to: its exit code, what lay in drives behind it, and what it found."""

    code: int
    said: list[str]
    loaded: str
    found: list[dict[str, Any]]

    def sentences(self, verdict: str) -> list[str]:
        return [f"{item['name']}: {item['sentence']}" for item in self.found if item["verdict"] == verdict]


class Night(NamedTuple):
    """All check-ups by name, and what the guest said on standard error."""

    runs: dict[str, Ran]
    errors: str


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    cartridges = {"PAPR1001": 64, "PAPR2001": 64, "SCR001": 64}
    script = tmp_path_factory.mktemp("doctor") / "script"
    words = {"PYTHON": sys.executable, "GUEST_SERVER": GUEST_SERVER, "PAPERTAPE": PAPERTAPE}
    text = SCRIPT
    for word, path in words.items():
        text = text.replace(word, str(path))
    script.write_text(text)
    with TapeLibrary(cartridges=cartridges, max_block=LONGEST) as library:
        guest = Guest(library, env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"})
        done = guest.run(["bash", str(script)], timeout=800)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    runs = {
        name: Ran(int(code), said.split("|"), loaded, json.loads(found)) for name, code, said, loaded, found in lines
    }
    assert runs, done
    return Night(runs, done.stderr)


@pytest.fixture(scope="module")
def runs(night: Night) -> dict[str, Ran]:
    return night.runs


def test_a_right_set_up_is_proven_by_a_user_of_the_group_tape(runs: dict[str, Ran]) -> None:
    right = runs["right"]
    assert (right.code, right.sentences("problem"), right.sentences("warning")) == (0, [], [])
    told = right.sentences("ok")
    assert "changer: it answers: 2 drives, 12 slots, 1 mail slot, 3 cartridges" in told
    assert "programs: /usr/sbin/mtx is mtx version 1.3.12" in told
    for number in range(2):
        opens = f"drive {number}: /dev/nst{number} opens: RIG ULTRIUM-TD, serial number RIGDRV{number + 1}, st options "
        assert opens + "buffer-writes async-writes read-ahead can-bsr" in told
        put = f"which drive: PAPR1001, put into drive {number} of the changer, became ready there: "
        assert f"{put}/dev/nst{number} is drive {number}" in told
        assert f"drive {number}: it takes blocks of up to 256KiB; `block_size` is 256KiB" in told
        assert f"drive {number}: /dev/nst{number} reads with blocks of 256KiB" in told


def test_swapped_drives_are_reported_with_the_line_for_the_config(runs: dict[str, Ran]) -> None:
    swapped = runs["swapped"]
    assert swapped.code == 2
    assert swapped.sentences("problem") == [
        f"which drive: PAPR1001, put into drive {element} of the changer, became ready at /dev/nst{element}, "
        f"which the config calls drive {1 - element}"
        for element in range(2)
    ]
    remedies = {item["remedy"] for item in swapped.found if item["verdict"] == "problem"}
    assert remedies == {'in the config, write drives = ["/dev/nst0", "/dev/nst1"]'}


def test_without_rights_the_group_is_named(runs: dict[str, Ran]) -> None:
    rights = runs["rights"]
    assert rights.code == 2
    use = "may not be used by this user; join the group that owns it (tape, on Debian), and log in again"
    assert rights.sentences("problem") == [
        'changer: /dev/changer: no permission to use it: the user must be in the group "tape"',
        f"drive 0: /dev/nst0 {use}",
        f"drive 1: /dev/nst1 {use}",
    ]


def test_without_mtx_the_package_is_named(runs: dict[str, Ran]) -> None:
    nothing = runs["nothing"]
    assert nothing.code == 2
    assert "programs: mtx is not installed: without it no cartridge is moved" in nothing.sentences("problem")
    (mt,) = [item for item in nothing.sentences("warning") if item.startswith("programs: ")]
    assert mt.startswith("programs: /usr/bin/mt says 'mt (GNU cpio) 2.1")
    assert "changer: not asked: mtx is missing" in nothing.sentences("skipped")


def test_a_device_that_is_no_changer_is_reported(runs: dict[str, Ran]) -> None:
    tape = runs["tape"]
    assert tape.code == 2
    changer, *_ = tape.sentences("problem")
    assert changer == 'changer: /dev/sg0: it is not a changer: correct "changer" in the config'
    assert "which drive: not tried: first repair what is wrong with the changer and the drives" in tape.sentences(
        "skipped"
    )


def test_blocks_that_are_too_long_are_reported_by_the_drives_own_limit(runs: dict[str, Ran]) -> None:
    _, *told = runs["tape"].sentences("problem")
    limit = "takes blocks of up to 256KiB, and `block_size` is 1MiB"
    assert told == [f"drive {number}: /dev/nst{number} {limit}" for number in range(2)]
    remedies = [item["remedy"] for item in runs["tape"].found if item["verdict"] == "problem"]
    assert remedies[1:] == ["set `block_size` in the config to 256KiB or less"] * 2


def test_blocks_that_are_too_long_are_found_by_reading_where_the_drive_may_not_be_asked(runs: dict[str, Ran]) -> None:
    large = runs["large"]
    assert large.code == 2
    assert large.sentences("problem") == [
        f"drive {number}: /dev/nst{number} refuses blocks of 1MiB, the `block_size`" for number in range(2)
    ]
    remedies = [item["remedy"] for item in large.found if item["verdict"] == "problem"]
    assert remedies == ["set `block_size` in the config to 256KiB"] * 2
    silent = "this user may not ask /dev/nst0 for its longest block: --load or --scratch tells"
    assert f"drive 0: {silent}" in large.sentences("skipped")


def test_scratch_measures_each_drive_and_leaves_the_tape_blank(night: Night) -> None:
    scratch = night.runs["scratch"]
    assert scratch.code == 0
    for number in range(2):
        told = [line for line in scratch.sentences("ok") if line.startswith(f"drive {number}: ")]
        assert f"drive {number}: it writes blocks of up to 256KiB" in told
        assert any("it writes" in line and "blocks of 256KiB, read back the same" in line for line in told)
        assert any("a filemark that is waited for takes" in line for line in told)
    assert "scratch: SCR001 is blank again" in scratch.sentences("ok")
    assert "At block 0." in night.errors


def test_a_scratch_volume_that_someone_wrote_to_is_refused(runs: dict[str, Ran]) -> None:
    written = runs["written"]
    assert written.code == 5
    (sentence,) = written.sentences("problem")
    assert "SCR001: it is not blank; doctor writes to blank tapes only, and nothing was written" in sentence


def test_options_of_the_driver_that_hinder_are_reported(runs: dict[str, Ran]) -> None:
    options = runs["nothing"]
    waits = "drive 1: /dev/nst1 has the st option no-wait-eof: a filemark that papertape waits for is not waited for"
    assert waits in options.sentences("problem")
    told = options.sentences("warning")
    assert "drive 0: /dev/nst0 comes up with fixed blocks of 512 bytes, which keeps tar and dd" in str(told)
    for option in ("two-fms", "no-blklimits", "no-wait"):
        assert any(line.startswith(f"drive 1: /dev/nst1 has the st option {option}: ") for line in told)


def test_every_cartridge_came_home(runs: dict[str, Ran]) -> None:
    assert {name: ran.loaded for name, ran in runs.items() if ran.loaded} == {}
