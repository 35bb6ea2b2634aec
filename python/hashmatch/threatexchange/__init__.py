"""hashmatch in the place of threatexchange's own indices.

For its command, which then matches PDQ and vPDQ by hashmatch:

    threatexchange config extensions add hashmatch.threatexchange

For HMA, in its configuration:

    from hashmatch.threatexchange import PdqSignal, VPDQSignal
    STORAGE_IFACE_INSTANCE = DefaultOMMStore(signal_types=[PdqSignal, VPDQSignal, VideoMD5Signal])

In code, `PDQIndex` and `VPDQIndex` are used as the classes of the same names in threatexchange are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hashmatch.extras import need

need("threatexchange", "exchange")

from threatexchange.extensions.manifest import ThreatExchangeExtensionManifest
from threatexchange.signal_type.pdq import signal as library

from hashmatch.threatexchange import blob
from hashmatch.threatexchange.entries import allow
from hashmatch.threatexchange.pdq_index import PDQIndex
from hashmatch.threatexchange.signals import PdqSignal, VPDQSignal
from hashmatch.threatexchange.vpdq_classes import VPDQSimilarityInfo
from hashmatch.threatexchange.vpdq_index import VPDQIndex

if TYPE_CHECKING:
    TX_MANIFEST: ThreatExchangeExtensionManifest

__all__ = [
    "TX_MANIFEST",
    "PDQIndex",
    "PdqSignal",
    "VPDQIndex",
    "VPDQSignal",
    "VPDQSimilarityInfo",
    "allow",
    "loads",
]


def loads(payload: bytes) -> PDQIndex[Any] | VPDQIndex[Any]:
    """The index in the envelope that `serialize` writes; what `pickle.load` calls on reading one.

    ValueError if it is damaged or something else.
    """
    stored = blob.read_payload(payload)
    for index in (PDQIndex, VPDQIndex):
        if stored.kind == index.kind:
            return index._of(stored)
    raise ValueError(f"the stored index is one of {stored.kind!r}, which is not known")


def __getattr__(name: str) -> Any:
    if name == "TX_MANIFEST":
        return _manifest()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _manifest() -> ThreatExchangeExtensionManifest:
    """What the extension has.

    threatexchange's command refuses a type whose name one of its own has, as `pdq` is, and its
    NCMEC exchange knows its own PdqSignal only. So when the command loads the extension, that class
    gets our index.
    """
    if "threatexchange.cli.main" not in sys.modules:
        return ThreatExchangeExtensionManifest(signal_types=(PdqSignal, VPDQSignal))
    library.PdqSignal.get_index_cls = PdqSignal.get_index_cls  # type: ignore[method-assign, assignment]
    return ThreatExchangeExtensionManifest(signal_types=(VPDQSignal,))
