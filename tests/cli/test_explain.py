"""`papertape explain`: a script on standard output that runs as it stands."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from .operatorlab import Lab


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    return subprocess.run(["sh"], input=script, cwd=folder, capture_output=True, text=True, check=False)


def test_the_printed_script_gets_everything_back(done: Lab, tmp_path: Path) -> None:
    ran = run(done.ok("explain", "PAPR1001"), tmp_path / "back")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "PAPR1001: everything came out and was checked; it is in data/\n"
    (root,) = (tmp_path / "back" / "data").iterdir()
    sources = [Path(path.partition(":")[2]) for (path,) in done.rows("SELECT source FROM datasets")]
    assert len(sources) == 6
    for source in sources:
        subprocess.run(["diff", "-r", source, root / source.relative_to("/")], check=True)


def test_one_data_set_and_json(done: Lab, tmp_path: Path) -> None:
    printed = done.ok("explain", "PAPR2001", "zen.002")
    assert done.json("explain", "PAPR2001", "zen.002") == {"volume": "PAPR2001", "script": printed}
    assert run(printed, tmp_path / "back").returncode == 0
    assert sorted(path.name for path in (tmp_path / "back").rglob("*") if path.is_file()) == [
        "README.txt",
        "header",
        "visdata",
        "volume.json",
    ]


def test_a_volume_that_cannot_be_explained_is_one_sentence(done: Lab) -> None:
    ran = done.run("explain", "PAPR9999")
    assert (ran.code, ran.out) == (2, "")
    assert "volume PAPR9999 is not in the ledger" in ran.error
    ran = done.run("explain", "PAPR1002")
    assert (ran.code, ran.out) == (2, "")
    assert "volume PAPR1002 is blank" in ran.error
    ran = done.run("explain", "PAPR1001", "nowhere")
    assert (ran.code, ran.out) == (3, "")
    assert ran.error == ("no data set on PAPR1001 matches 'nowhere'; `papertape find 'nowhere'` prints where it is")


def test_a_script_for_real_drives_needs_no_robot(done: Lab) -> None:
    config = done.folder / "real.toml"
    text = (done.folder / "papertape.toml").read_text().partition("[library]")[0]
    config.write_text(f'{text}[library]\nkind = "scsi"\nchanger = "/dev/no changer"\ndrives = ["/dev/nst7"]\n')
    script = done.ok("--config", str(config), "explain", "PAPR1001")
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    assert "DRIVE=${DRIVE:-/dev/nst7}\n" in script
    assert f"CHANGER=${{CHANGER:-{shlex.quote('/dev/no changer')}}}\n" in script
    assert "\n# The changer did not report where the volume is (" in script
    assert "\nmtx " not in script
    assert '\nmt -f "$DRIVE" offline\n' in script
