"""What a database must answer: plain dicts, and the distance of every query to every signal."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import oracle
from hashmatch import Database, DatabaseMatches
from hashmatch.database import Change
from hashmatch.hash_types import HASH_TYPES

Rows: TypeAlias = NDArray[np.uint8]
#: Set, contributor, ref.
Key = tuple[str, str, str]
#: Query, distance, set, contributor, ref, labels, verdicts.
Answer = tuple[int, int, str, str, str, tuple[str, ...], tuple[str, ...]]

VERDICTS = ("positive", "negative", "investigate")
#: One of each width.
TYPES = ("phash", "md5", "sha1", "pdq")
#: Codes lie around so many centres, so that there is something to find.
CENTRES = 5


class Add(NamedTuple):
    """Items to add or update, one row a signal. `contributor` None is the set's owner."""

    hash_type: str
    contributor: str | None
    refs: list[str]
    codes: Rows
    labels: list[str] | None = None


class Remove(NamedTuple):
    contributor: str | None
    refs: list[str]


class Opinion(NamedTuple):
    ref: str
    contributor: str
    verdict: Any


Step: TypeAlias = Add | Remove | Opinion


def make(change: Change, steps: Iterable[Step]) -> None:
    for step in steps:
        match step:
            case Add(hash_type, contributor, refs, codes, labels):
                change.add(hash_type, codes, refs=refs, contributor=contributor, labels=labels)
            case Remove(contributor, refs):
                change.remove(refs=refs, contributor=contributor)
            case Opinion(ref, contributor, verdict):
                change.opinion(ref, contributor=contributor, verdict=verdict)


@dataclass(frozen=True)
class Item:
    labels: tuple[str, ...]
    signals: dict[str, Rows]


@dataclass
class Model:
    #: Owner, and the distances that differ from the usual.
    sets: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)
    items: dict[Key, Item] = field(default_factory=dict)
    #: By set, ref, contributor.
    opinions: dict[Key, str] = field(default_factory=dict)
    generation: int = 0
    _held: dict[str, tuple[Rows, list[Key]]] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model(dict(self.sets), dict(self.items), dict(self.opinions), self.generation)

    def make(self, name: str, steps: Iterable[Step]) -> None:
        owner = self.sets[name][0]
        for step in steps:
            match step:
                case Add(hash_type, contributor, refs, codes, labels):
                    for ref in dict.fromkeys(refs):
                        key = (name, owner if contributor is None else contributor, ref)
                        before = self.items.get(key, Item((), {}))
                        mine = codes[[other == ref for other in refs]]
                        kept = before.labels if labels is None else tuple(dict.fromkeys(labels))
                        self.items[key] = Item(kept, {**before.signals, hash_type: mine})
                case Remove(contributor, refs):
                    for ref in refs:
                        self.items.pop(
                            (name, owner if contributor is None else contributor, ref), None
                        )
                case Opinion(ref, contributor, verdict):
                    self.opinions[name, ref, contributor] = verdict
        self.generation += 1
        self._held.clear()

    def verdicts(self, key: Key) -> tuple[str, ...]:
        given = {
            verdict
            for (name, ref, _), verdict in self.opinions.items()
            if (name, ref) == (key[0], key[2])
        }
        return tuple(verdict for verdict in VERDICTS if verdict in given)

    def held(self, hash_type: str) -> tuple[Rows, list[Key]]:
        """All signals of a type, and whose they are."""
        if hash_type not in self._held:
            codes: list[bytes] = []
            keys: list[Key] = []
            for key, item in self.items.items():
                rows = item.signals.get(hash_type, ())
                codes += map(bytes, rows)
                keys += [key] * len(rows)
            width = HASH_TYPES[hash_type].width
            self._held[hash_type] = (
                np.frombuffer(b"".join(codes), np.uint8).reshape(-1, width),
                keys,
            )
        return self._held[hash_type]

    def answer(
        self,
        hash_type: str,
        queries: Rows,
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Sequence[str] | None = None,
    ) -> list[Answer]:
        """Every match, in order of query, distance and what the item is called."""
        codes, keys = self.held(hash_type)
        usual = HASH_TYPES[hash_type].max_distance
        limits = np.full(len(keys), -1)
        for row, key in enumerate(keys):
            if sets is not None and key[0] not in sets:
                continue
            if verdicts is not None and not {*verdicts} & {*(self.verdicts(key) or ("none",))}:
                continue
            own = self.sets[key[0]][1].get(hash_type, usual)
            limits[row] = own if max_distance is None else max_distance
        far = oracle.distances(queries, codes)
        return sorted(
            (query, int(far[query, row]), *keys[row], self.items[keys[row]].labels,
             self.verdicts(keys[row]))
            for query, row in np.argwhere(far <= limits[None]).tolist()
        )  # fmt: skip


def answers(matches: DatabaseMatches) -> list[Answer]:
    """A database's matches as the model has them; their order is looked at here."""
    places = list(zip(matches.query, matches.distance, matches.signal, strict=True))
    assert places == sorted(places)
    assert len(set(zip(matches.query, matches.signal, strict=True))) == len(places)
    return sorted(
        (m.query, m.distance, m.set, m.contributor, m.ref, tuple(m.labels), m.verdicts)
        for m in matches
    )


def codes_near(hash_type: str, count: int, seed: int, most: int = 12) -> Rows:
    """Codes 0 to `most` bits from one of a few centres, every second one exactly there."""
    kind = HASH_TYPES[hash_type]
    chance = np.random.default_rng(seed)
    centres = oracle.random_codes(CENTRES, kind.bits, 1)
    codes = centres[chance.integers(0, CENTRES, count)]
    for row in range(0, count, 2):
        codes[row] = oracle.flipped(codes[row], int(chance.integers(0, most + 1)), row + seed)
    return codes


def random_steps(seed: int, rows: int = 12, refs: int = 30) -> list[Step]:
    """Some steps of a change, the same for the same seed."""
    chance = random.Random(seed)
    steps: list[Step] = []
    for turn in range(chance.randint(1, 4)):
        contributor = chance.choice([None, None, "guest"])
        names = [f"ref-{chance.randrange(refs)}" for _ in range(chance.randint(1, rows))]
        match chance.choice(["add", "add", "add", "remove", "opinion"]):
            case "add":
                hash_type = chance.choice(TYPES)
                codes = codes_near(hash_type, len(names), seed * 10 + turn)
                labels = chance.choice([None, [], ["x"], ["y", "z"]])
                steps.append(Add(hash_type, contributor, names, codes, labels))
            case "remove":
                steps.append(Remove(contributor, names[: chance.choice([1, rows])]))
            case "opinion":
                by = chance.choice(["guest", "analyst"])
                steps.append(Opinion(names[0], by, chance.choice(VERDICTS)))
    return steps


def assert_equal(database: Database, model: Model, seed: int = 0) -> None:
    """The database holds what the model holds: the same counts, and the same answers."""
    assert database.generation == model.generation
    assert_answers(database, {model.generation: model}, seed)
    records = {record.name: record for record in database.sets()}
    assert records.keys() == model.sets.keys()
    for name, record in records.items():
        own = [item for key, item in model.items.items() if key[0] == name]
        assert record.items == len(own)
        assert record.signals == sum(len(rows) for i in own for rows in i.signals.values())
    for name, held in database.status().types.items():
        assert held.signals == len(model.held(name)[1])


def assert_answers(database: Database, models: dict[int, Model], seed: int = 0) -> None:
    """Every answer is that of the model of the generation that it names."""
    for hash_type in TYPES:
        queries = codes_near(hash_type, 4, seed)
        matches = database.match(hash_type, queries, max_distance=10)
        wanted = models[matches.generation].answer(hash_type, queries, max_distance=10)
        assert answers(matches) == wanted
