"""One frozen Config from one TOML file; what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.config import find_config, parse_config, parse_size, read_config
from papertape.errors import ConfigError
from papertape.jobs.opening import find_missing_ledger

LIBRARY = '[library]\nkind = "virtual"\npath = "library"\n'


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("5GB", 5 * 10**9),
        ("2.5 TB", 2_500_000_000_000),
        ("1MiB", 2**20),
        ("64KiB", 65536),
        ("64k", 64000),
        (" 3tb ", 3 * 10**12),
    ],
)
def test_a_size_is(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.2.3", "GB", "5XB", "5iB", "1e9", "٣GB", "0.1", "5 G B", "nan", "inf"]
)
def test_a_size_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


WRONG = [
    ("", "library"),
    ("[library", "at the end of a table"),
    ('surprise = 1\n[library]\nkind = "virtual"\npath = "library"', "surprise"),
    ('[library]\nkind = "virtual"\npath = "library"\nshelves = 3', "shelves"),
    ('[library]\nkind = "real"\npath = "library"', "real"),
    ('[library]\nkind = "virtual"', "path"),
    ('[library]\nkind = "virtual"\npath = "library"\ntiming = -1', "timing"),
    ('[library]\nkind = "virtual"\npath = "library"\ntiming = "fast"', "timing"),
    ('[library]\nkind = "scsi"\nchanger = "/dev/sg3"', "drives"),
    ('[library]\nkind = "scsi"\nchanger = "/dev/sg3"\ndrives = []', "drives"),
    ('[library]\nkind = "scsi"\nchanger = "sg3"\ndrives = ["/dev/nst0"]', "'sg3' is no device node"),
    ('[library]\nkind = "scsi"\nchanger = "/dev/sg3"\ndrives = ["/dev/nst0", "/dev/nst0"]', "twice"),
    (f"archive_size = 5\n{LIBRARY}", "archive_size"),
    (f'archive_size = "5 apples"\n{LIBRARY}', "5 apples"),
    (f'block_size = "1000"\n{LIBRARY}', "512"),
    (f'block_size = "1GiB"\n{LIBRARY}', "4"),
    (f'ring = "1MiB"\n{LIBRARY}', "ring"),
    (f'mount = "sideways"\n{LIBRARY}', "crossed, reload, in-place"),
    (f"prefixes = []\n{LIBRARY}", "prefixes"),
    (f'prefixes = ["A", "A"]\n{LIBRARY}', "prefixes"),
    (f'prefixes = ["papr1"]\n{LIBRARY}', "papr1"),
    (f'prefixes = "PAPR1"\n{LIBRARY}', "prefixes"),
    (f'host = "a b"\n{LIBRARY}', "a b"),
    (f"ledger = 3\n{LIBRARY}", "ledger"),
]


@pytest.mark.parametrize(("content", "word"), WRONG, ids=[word for _, word in WRONG])
def test_wrong_values_are_named(content: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Path("/lab/papertape.toml"), content.encode())
    assert str(caught.value).startswith("/lab/papertape.toml: ")
    assert word in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError):
        parse_config(Path("/lab/papertape.toml"), b"\xff\xfe\x00")


def test_paths_are_relative_to_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "papertape.toml"
    path.write_text(LIBRARY)
    monkeypatch.chdir(tmp_path)
    config = read_config(Path("papertape.toml"))
    assert config.ledger == f"sqlite:///{tmp_path}/ledger.sqlite"
    assert config.settings.spool == tmp_path / "spool"
    assert find_missing_ledger(config) == tmp_path / "ledger.sqlite"
    (tmp_path / "ledger.sqlite").touch()
    assert find_missing_ledger(config) is None


def test_a_ledger_on_a_server_is_not_looked_for() -> None:
    config = parse_config(Path("/lab/papertape.toml"), f'ledger = "postgresql:///lab"\n{LIBRARY}'.encode())
    assert config.ledger == "postgresql:///lab"
    assert find_missing_ledger(config) is None


def test_the_first_config_that_is_there_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PAPERTAPE_CONFIG", raising=False)
    home = tmp_path / ".config" / "papertape" / "papertape.toml"
    home.parent.mkdir(parents=True)
    home.write_text(LIBRARY)
    assert find_config(None) == home
    (tmp_path / "papertape.toml").write_text(LIBRARY)
    assert find_config(None) == Path("papertape.toml")
    monkeypatch.setenv("PAPERTAPE_CONFIG", "~/.config/papertape/papertape.toml")
    assert find_config(None) == home
    monkeypatch.setenv("PAPERTAPE_CONFIG", "")
    assert find_config(None) == Path("papertape.toml")
    with pytest.raises(ConfigError, match="--config"):
        find_config("elsewhere.toml")
