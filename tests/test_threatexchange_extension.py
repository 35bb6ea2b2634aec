"""The extension in threatexchange's own command, and signal types where others look for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from threatexchange.exchanges.clients.ncmec import hash_api
from threatexchange.exchanges.impl.ncmec_api import NCMECCollabConfig, NCMECSignalExchangeAPI
from threatexchange.extensions.manifest import ThreatExchangeExtensionManifest
from threatexchange.signal_type.md5 import VideoMD5Signal
from threatexchange.signal_type.pdq import signal as library
from threatexchange.storage.local_dbm import DBMStore

from hashmatch.threatexchange import blob
from threatexchange_originals import CENTRES, PDQIndex, flipped, ours, video

HASH = CENTRES[0]


class Command:
    """threatexchange's command, with a state of its own, each run in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        run = subprocess.run(
            [sys.executable, "-m", "threatexchange", *arguments],
            env=os.environ | {"TX_STATEDIR": str(self.state), "HOME": str(self.state)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == code, run.stderr
        return run.stdout, run.stderr

    def index(self, name: str) -> bytes:
        return (self.state / "index" / f"{name}.index").read_bytes()


def test_the_command_matches_by_our_indices(tmp_path: Path) -> None:
    command = Command(tmp_path)
    listed = tmp_path / "signals.txt"
    known = video([(HASH, 100), (CENTRES[1], 100)])
    listed.write_text(f"pdq {HASH}\npdq {flipped(HASH, range(31))}\nvpdq {known}\n")
    hashes = tmp_path / "hashes.txt"
    hashes.write_text(HASH + "\n")
    videos = tmp_path / "videos.txt"
    videos.write_text(video([(flipped(HASH, [1]), 100)]) + "\n")

    command("config", "collab", "edit", "local_file", "-C", "Mine", "--filename", str(listed))
    command("fetch")
    assert b"pdq_index" in command.index("pdq"), "the original's is not what is replaced here"
    assert (
        "vpdq - VPDQSignal" in command("config", "extensions", "add", "hashmatch.threatexchange")[0]
    )

    _, refusal = command("match", "-H", "-S", "pdq", "photo", str(hashes), code=1)
    assert "dataset --rebuild-indices" in refusal
    command("fetch")
    for name in ("pdq", "vpdq"):
        assert command.index(name).startswith(blob.PREFIX)
    shown, _ = command("match", "-A", "-H", "-S", "pdq", "photo", str(hashes))
    assert shown.splitlines() == [f"pdq {far} (Mine) INVESTIGATION_SEED" for far in (0, 31)]
    shown, _ = command("match", "-H", "-S", "vpdq", "video", str(videos))
    assert shown == "vpdq 100%[50%] (Mine) INVESTIGATION_SEED\n"


def test_reading_the_manifest_changes_nothing_outside_the_command() -> None:
    manifest = ThreatExchangeExtensionManifest.load_from_module_name("hashmatch.threatexchange")
    assert manifest.signal_types == (ours.PdqSignal, ours.VPDQSignal)
    assert library.PdqSignal.get_index_cls() is PDQIndex
    with pytest.raises(AttributeError, match="no attribute 'TX_OTHER'"):
        _ = ours.TX_OTHER


def test_pdq_of_ncmec_reaches_our_type() -> None:
    """Its exchange asks whether the library's PdqSignal is among the types it is given."""
    update = hash_api.NCMECEntryUpdate(
        id="image1",
        member_id=42,
        entry_type=hash_api.NCMECEntryType.image,
        deleted=False,
        classification="A1",
        fingerprints={"pdq": HASH},
        feedback={},
    )
    config = NCMECCollabConfig(hash_api.NCMECEnvironment.Industry, "NCMEC")
    for kind in (library.PdqSignal, ours.PdqSignal):
        converted = NCMECSignalExchangeAPI.naive_convert_to_signal_type(
            [VideoMD5Signal, kind], config, {"42-image1": update}
        )
        assert list(converted[kind]) == [HASH]
        assert [kind.get_name() for kind in converted] == ["pdq"]
    assert ours.PdqSignal != ours.VPDQSignal
    assert not issubclass(library.PdqSignal, ours.PdqSignal)
    assert issubclass(ours.PdqSignal, ours.PdqSignal)
    assert issubclass(ours.PdqSignal, library.PdqSignal)


def test_a_store_of_our_types(tmp_path: Path) -> None:
    store = DBMStore(tmp_path, signal_types=[ours.PdqSignal, ours.VPDQSignal])
    configs = store.get_signal_type_configs()
    assert configs["pdq"].signal_type.get_index_cls() is ours.PDQIndex
    assert configs["vpdq"].signal_type.get_index_cls() is ours.VPDQIndex


def test_without_the_library() -> None:
    program = "import sys; sys.modules['threatexchange'] = None; import hashmatch.threatexchange"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 1
    assert (
        "ImportError: threatexchange is not installed: pip install 'hashmatch[exchange]'"
        in run.stderr
    )
