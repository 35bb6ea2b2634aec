"""Tokens: the file of them, the commands that change it, and edits that went wrong."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command import Run
from hashmatch.server.callers import Caller
from hashmatch.server.tokens import Tokens, add_token, new_token, read_tokens, remove_token
from mutation import mutants

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


def line(**members: object) -> str:
    sound = {"name": "uploads", "sha256": "ab" * 32, "scopes": ["read"]}
    return json.dumps({key: value for key, value in (sound | members).items() if value is not None})


def test_a_token_is_shown_once_and_kept_as_its_hash(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    code, out, err = run(
        *("token", "add", file, "uploads", "--scope", "write", "--scope", "read"),
        *("--set", "a", "--set", "b c", "--expires", "2027-01-01"),
    )
    secret = out.strip()
    assert code == 0 and secret.startswith("hm_") and len(secret) == 46 and secret not in err
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (token,) = read_tokens(file)
    assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert (token.name, token.scopes, token.sets) == ("uploads", ("read", "write"), ("a", "b c"))
    assert token.expires == datetime(2027, 1, 1, tzinfo=UTC)
    code, out, _ = run("token", "list", file)
    assert code == 0
    assert "uploads  read write  a b c  2027-01-01 00:00:00" in out and token.sha256 not in out
    assert run("token", "add", file, "uploads", "--scope", "read")[0] == 2
    assert run("token", "add", file, "other", "--scope", "owner")[0] == 2
    assert run("token", "add", file, "other")[0] == 2
    assert run("token", "remove", file, "uploads")[0] == 0
    assert run("token", "remove", file, "uploads")[0] == 2
    assert read_tokens(file) == []


def test_lines_of_others_stay_as_they_are_and_so_does_the_mode(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    written = f"# who may call\n\n{line()}"
    file.write_text(written)
    file.chmod(0o640)
    secret = add_token(file, "other", ["admin"])
    assert file.read_text().startswith(f"{written}\n")
    remove_token(file, "uploads")
    assert file.read_text().startswith("# who may call\n\n{")
    assert [token.name for token in read_tokens(file)] == ["other"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    caller = Tokens(file).caller(secret, NOW.timestamp())
    assert caller is not None and caller.scopes == {"admin"} and caller.sets is None


def test_many_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    threads = [
        threading.Thread(target=add_token, args=(file, f"caller-{number}", ["read"]))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {token.name for token in read_tokens(file)} == {f"caller-{n}" for n in range(12)}
    assert len(os.listdir(tmp_path)) == 1


def test_who_calls_with_which_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    lasting = add_token(file, "lasting", ["read"], ["a"])
    ending = add_token(file, "ending", ["write"], None, NOW)
    tokens = Tokens(file)
    caller = tokens.caller(lasting, NOW.timestamp())
    assert caller is not None and caller.name == "lasting" and caller.sets == frozenset("a")
    before = tokens.caller(ending, (NOW - timedelta(milliseconds=1)).timestamp())
    assert before is not None and before.name == "ending"
    assert tokens.caller(ending, NOW.timestamp()) is None
    digest = hashlib.sha256(lasting.encode()).hexdigest()
    for wrong in ("", "hm_", digest, lasting[:-1], f"{lasting}x", f" {lasting}", lasting.upper()):
        assert tokens.caller(wrong, NOW.timestamp()) is None
    for wrong in (new_token(), "x" * 10_000, lasting * 300, "\xff\x00"):
        assert tokens.caller(wrong, NOW.timestamp()) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "no JSON"),
        ("[]", "must be a JSON object"),
        ("[" * 100_000, "no JSON"),
        (line(scope=["read"]), "may only have the members"),
        (line(name=None), "name must be"),
        (line(name=""), "name must be"),
        (line(name="two words"), "name must be"),
        (line(name="\u0661"), "name must be"),
        (line(name="socket"), "and not anyone"),
        (line(name="x" * 65), "name must be"),
        (line(sha256="AB" * 32), "sha256 must be"),
        (line(sha256="ab" * 31), "sha256 must be"),
        (line(sha256="hm_secret"), "sha256 must be"),
        (line(sha256=7), "sha256 must be"),
        (line(scopes=[]), "scopes must be"),
        (line(scopes="read"), "scopes must be"),
        (line(scopes=["read", "owner"]), "scopes must be"),
        (line(sets=[]), "sets must be"),
        (line(sets=[1]), "sets must be"),
        (line(expires="tomorrow"), "expires must be"),
        (line(expires="2027-01-01T00:00:00"), "expires must be"),
        (line(expires="2027-13-01"), "expires must be"),
        (line(expires="0001-01-01T00:00:00+23:59"), "expires must be"),
        (line(expires=1_800_000_000), "expires must be"),
        (f"{line()}\n{line()}", "line 2: is of the name"),
        (f"{line()}\n\n{line(name='other')}", "line 3: is of the name, or has the sha256"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_without_repeating_it(
    tmp_path: Path, text: str, fault: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(ValueError, match=fault) as raised:
        read_tokens(file)
    assert f"{file}, line " in str(raised.value)
    assert "hm_secret" not in str(raised.value)


def test_an_edit_takes_effect_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    first = add_token(file, "first", ["read"])
    tokens, now = Tokens(file), NOW.timestamp()
    second = add_token(file, "second", ["read"])
    assert tokens.caller(second, now) is None
    assert tokens.reload() is None
    assert tokens.caller(second, now) is not None
    sound = file.read_bytes()
    for bad in (sound[:-20], b"{", b"\xff" + sound, sound + sound):
        file.write_bytes(bad)
        assert "line" in (tokens.reload() or "")
        assert tokens.caller(first, now) is not None and tokens.caller(second, now) is not None
    file.unlink()
    assert "No such file" in (tokens.reload() or "")
    assert tokens.caller(first, now) is not None
    file.write_bytes(b"")
    assert tokens.reload() is None
    assert tokens.caller(first, now) is None


def test_a_damaged_file_never_lets_anybody_else_in(tmp_path: Path) -> None:
    """Whatever is done to the bytes: either all of it holds as it stands, or nothing changes."""
    file = tmp_path / "tokens"
    secrets = [add_token(file, name, ["read"], [name]) for name in ("first", "second")]
    of_hashes = {hashlib.sha256(secret.encode()).hexdigest(): secret for secret in secrets}
    tokens, now = Tokens(file), NOW.timestamp()
    held = {hash: f"{tokens.caller(secret, now)}" for hash, secret in of_hashes.items()}
    taken = 0
    for changed in mutants(file.read_bytes(), 600, 7):
        file.write_bytes(changed)
        fault = tokens.reload()
        if fault is None:
            taken += 1
            stands = {token.sha256: token for token in read_tokens(file)}
            held = {}
            for hash in of_hashes:
                token = stands.get(hash)
                caller = None
                if token is not None and (token.expires is None or token.expires > NOW):
                    sets = None if token.sets is None else frozenset(token.sets)
                    caller = Caller(token.name, frozenset(token.scopes), sets)
                held[hash] = f"{caller}"
        else:
            assert fault.startswith(f"{file}, line ")
        for hash, secret in of_hashes.items():
            assert f"{tokens.caller(secret, now)}" == held[hash]
            assert fault is None or hash not in fault
        assert tokens.caller(new_token(), now) is None
    assert 20 < taken < 580
