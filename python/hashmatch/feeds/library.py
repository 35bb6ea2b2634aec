"""Any exchange that a class of the threatexchange library implements, or an extension of it.

The library gives a class for each exchange and a way to turn its records into signals. Where it
loses records, deletions or whole pages, classes derived from this one do better: see meta.py,
ncmec.py, stopncii.py, tat.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import dacite
from threatexchange.exchanges.auth import CredentialHelper, SignalExchangeWithAuth
from threatexchange.exchanges.fetch_state import (
    FetchDeltaTyped,
    FetchedSignalMetadata,
    NoCheckpointing,
    SignalOpinion,
    SignalOpinionCategory,
)
from threatexchange.exchanges.signal_exchange_api import TSignalExchangeAPICls

from hashmatch.database.model import Kind, Verdict
from hashmatch.feeds.credentials import forms_of, read_credentials
from hashmatch.feeds.model import Delta, Entry, Hash, Position, Said, StalePosition
from hashmatch.feeds.options import made_of_options
from hashmatch.feeds.signal_types import SIGNAL_TYPES, Meaning, hashes_of, meaning_of

VERDICTS: Mapping[SignalOpinionCategory, Verdict] = {
    SignalOpinionCategory.POSITIVE_CLASS: "positive",
    SignalOpinionCategory.NEGATIVE_CLASS: "negative",
    SignalOpinionCategory.INVESTIGATION_SEED: "investigate",
}


class LibraryExchange:
    """An `Exchange` by a class of the library."""

    def __init__(
        self,
        api_class: TSignalExchangeAPICls,
        name: str,
        options: Mapping[str, str],
        credentials: str,
    ) -> None:
        """`credentials` says where they are; they are read when they are needed."""
        self._api_class: Any = api_class
        self._config = made_of_options(
            self._api_class.get_config_cls(), name, self._api_class.get_name(), options
        )
        self._where = credentials
        self._secrets: tuple[str, ...] = ()
        checkpoint_class = self._api_class.get_checkpoint_cls()
        # A position that says nothing is that of an exchange that always gives all it has.
        self._whole = issubclass(checkpoint_class, NoCheckpointing) or not dataclasses.fields(
            checkpoint_class
        )
        helper = self._credential_class()
        if credentials and helper is None:
            raise ValueError(f"exchange {self._api_class.get_name()!r} takes no credentials")
        if helper is not None and not credentials:
            raise ValueError(
                f"exchange {self._api_class.get_name()!r} needs credentials: give env:VARIABLE or "
                f"file:PATH{f', such as env:{helper.ENV_VARIABLE}' if helper.ENV_VARIABLE else ''}"
            )

    @property
    def whole(self) -> bool:
        """Whether each fetch gives all there is."""
        return self._whole

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not be shown or stored, known once credentials were read."""
        return self._secrets

    def is_stale(self, position: Position) -> bool:
        """Whether too much time has passed to go on from there."""
        return bool(self.checkpoint(position).is_stale())

    def progress(self, position: Position) -> datetime | None:
        """The time up to which the exchange was followed."""
        seconds = self.checkpoint(position).get_progress_timestamp()
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def fetch(self, position: Position | None) -> Iterator[Delta]:
        """What came after a position, or all."""
        api = self.connect()
        checkpoint = None if position is None else self.checkpoint(position)
        for delta in api.fetch_iter(SIGNAL_TYPES, checkpoint):
            yield self._converted(delta)

    # For derived classes.

    @property
    def config(self) -> Any:
        """An object of the library class's configuration class."""
        return self._config

    def credentials(self) -> Any:
        """An object of the library class's credential class, read anew."""
        helper = self._credential_class()
        if helper is None:
            return None
        text = read_credentials(self._where)
        self._secrets = forms_of([text])
        try:
            found = helper._from_str(text)
        except Exception:
            found = None
        if found is None or not found._are_valid():
            # Not even the reason: it may quote them.
            raise ValueError(f"the credentials in {self._where} are not of the form that is needed")
        private = (
            value
            for name, value in vars(found).items()
            if isinstance(value, str) and "url" not in name and "user" not in name
        )
        parts = [text, *private]
        self._secrets = forms_of([*parts, *(part.rpartition("|")[2] for part in parts)])
        return found

    def connect(self) -> Any:
        """An object of the library's class."""
        if self._credential_class() is None:
            return self._api_class.for_collab(self._config)
        return self._api_class.for_collab(self._config, self.credentials())

    def checkpoint(self, position: Position) -> Any:
        """A position as the library's class has it. StalePosition if it is of another form."""
        try:
            return dacite.from_dict(
                self._api_class.get_checkpoint_cls(),
                dict(position),
                dacite.Config(cast=[set, tuple, frozenset, Enum]),
            )
        except (dacite.DaciteError, TypeError, ValueError) as error:
            raise StalePosition(f"the checkpoint cannot be read ({error})") from None

    def _credential_class(self) -> type[CredentialHelper] | None:
        if not issubclass(self._api_class, SignalExchangeWithAuth):
            return None
        found: type[CredentialHelper] = self._api_class.get_credential_cls()
        return found

    # From the library's records to entries.

    def _converted(self, delta: FetchDeltaTyped[Any]) -> Delta:
        made = Delta()
        if delta.checkpoint is not None:
            made.position = position_of(delta.checkpoint)
        for key, value in delta.updates.items():
            name = key_text(key)
            # A record may be of any form: whatever it breaks, only that record is lost.
            try:
                merged = self._api_class.fetch_value_merge(None, value)
                made.put(name, None if merged is None else self._entry(key, merged))
            except Exception as error:
                made.skip(name, f"{error}" or type(error).__name__)
        return made

    def _entry(self, key: Any, value: Any) -> Entry:
        found = self._api_class.naive_convert_to_signal_type(
            SIGNAL_TYPES, self._config, {key: value}
        )
        hashes: list[Hash] = []
        kinds: list[Kind] = []
        metadata: list[Any] = []
        for signal_type, signals in found.items():
            meaning = meaning_of(signal_type.get_name())
            for text, about in signals.items():
                if meaning:
                    hashes += hashes_of(meaning, text)
                    kinds.append(meaning.kind)
                    metadata.append(about)
        if not hashes:
            _require_no_fault(key)
        opinions = [opinion for each in metadata for opinion in stated(each)]
        return Entry(
            tuple(hashes),
            kinds[0] if kinds else "image",
            united(opinion.labels for opinion in opinions),
            tuple({each.owner: each for each in opinions}.values()),
        )


def _require_no_fault(key: Any) -> None:
    """The library says nothing of a signal that it drops. Where the key is one, ValueError does."""
    meaning: Meaning | None = None
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], str):
        meaning = meaning_of(key[0])
    if meaning:
        hashes_of(meaning, str(key[1]))


def key_text(key: Any) -> str:
    """An exchange's key as text: a pair's parts with a space between."""
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def stated(metadata: Any) -> list[Said]:
    """The opinions in the library's metadata, unless they are those that it makes up for exchanges
    that have none.
    """
    if type(metadata).get_as_opinions is FetchedSignalMetadata.get_as_opinions:
        return []
    return [
        Said(_owner(each), VERDICTS[each.category], tuple(sorted(map(str, each.tags))))
        for each in metadata.get_as_opinions()
    ]


def _owner(opinion: SignalOpinion) -> str:
    for name in ("owner_app_id", "esp_id", "owner", "source"):
        if (owner := getattr(opinion, name, None)) is not None:
            return str(owner)
    return "me" if opinion.is_mine else "others"


def united(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Labels of several lists, each once, in an order that does not depend on that of the lists:
    exchanges have them in any, and an item is not another one for that.
    """
    return tuple(sorted({label for labels in lists for label in labels}))


def position_of(checkpoint: Any) -> Position:
    """A checkpoint of the library as JSON can hold it. ValueError if JSON cannot."""
    return {key: _plain(value) for key, value in dataclasses.asdict(checkpoint).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"the checkpoint has a {type(value).__name__}, which cannot be stored")
