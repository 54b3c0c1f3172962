"""Decides from a record which of its files to ship.

1. The reference is the row that the record compares the others with (the given model's where there is one, else
   float32). Where it answers no better than chance, nothing is recommended.
2. A file is a candidate where it was loaded and ran, broke no limit and no promise, and is shown to lose less than the
   margin against the reference on the same samples. "No difference shown" is not enough. The more files are tested, the
   stricter each test, so that at most one record in twenty recommends a file that loses more.
3. Where a file is a candidate, the fastest of candidates and reference is for phones (times within 1 % are equal; of
   equal ones the smallest file), the smallest of integer tensors alone for microcontrollers, the smallest compressed
   with gzip for a download.
4. Where none is a candidate and one is undecided, the record cannot decide, and says how many samples could. Where
   none is undecided either, the reference is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgefm.comparison.shipping import quality, sentences
from edgefm.comparison.shipping.loading import not_on_microcontrollers, not_on_phones
from edgefm.comparison.shipping.verdict import (
    AS_GOOD,
    AT_CHANCE,
    BROKEN,
    DOWNLOAD,
    FAILED,
    KEEP,
    MICROCONTROLLERS,
    NOTHING,
    PHONES,
    REFERENCE,
    SHIP,
    TARGETS,
    UNDECIDED,
    UNJUDGED,
    UNSURE,
    JudgedFile,
    ShippingChoice,
    Verdict,
)
from edgefm.comparison.shipping.words import EQUAL_TIME
from edgefm.core.environment import multiplies_bytes
from edgefm.core.errors import ArgumentError
from edgefm.statistics.noninferiority import two_digits
from edgefm.statistics.round_comparison import time_ratio

_FLOAT32 = "float32"
_HOST = "host"


def decide(
    record: Mapping[str, Any],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    target: str = PHONES,
    margin: float | None = None,
) -> Verdict:
    """Return which files of a record to ship.

    Args:
      record: of the newest schema.
      facts: what `edgefm.benchmarking.file_facts` tells of each row's file, by the row's name.
      target: what `Verdict.file` is for: 'phones', 'microcontrollers' or 'download'.
      margin: loss of quality that does no harm, in the unit of the measure (0.01: one point of accuracy); by default
        one point of a share, and 5 % of the reference's value of another measure.
    Raises:
      ArgumentError: an unknown target, or a margin that is not above 0 (of shares: and below 1).
    """
    if target not in TARGETS:
        raise ArgumentError(f"target is '{target}'; one of {', '.join(TARGETS)} is expected")
    rows = {row["name"]: row for row in record["models"] if row["status"] == "ok"}
    failed = tuple(
        JudgedFile(name=row["name"], state=FAILED, reason=row["reason"] or "no reason was recorded",
                   size_bytes=row["size_bytes"], size_gzip_bytes=row["size_gzip_bytes"])
        for row in record["models"] if row["status"] != "ok"
    )  # fmt: skip
    base = _reference(record, rows)
    tested = [row for row in rows.values() if row is not base and not facts.get(row["name"], {}).get("broken")]
    by = quality.yardstick(record, base, margin, tests=len(tested)) if base is not None else None
    if margin is not None and (not margin > 0 or (by is not None and by.unit == "%" and margin >= 1)):
        raise ArgumentError(f"margin is {margin}; a number above 0, of shares below 1 (0.01: one point) is expected")
    judged = tuple(
        _judged(row, base, by, facts.get(row["name"], {}), target=record["target"]["name"]) for row in rows.values()
    )
    files = tuple(sorted((*judged, *failed), key=lambda file: list(_names(record)).index(file.name)))
    verdict = Verdict(
        state=NOTHING,
        headline="",
        target=target,
        reference=base["name"] if base is not None else None,
        fallback=base["name"] if base is not None else next(iter(rows)) if len(rows) == 1 else None,
        measure=by.name if by is not None else "",
        unit=by.unit if by is not None else "",
        samples=by.samples if by is not None else 0,
        margin=by.margin if by is not None else None,
        confidence=by.confidence if by is not None else None,
        needed_samples=None,
        choices=(),
        files=files,
    )
    useless = sentences.nothing_to_decide(record, base, by, files)
    if base is None or by is None or useless is not None:
        return _without(verdict, NOTHING, useless or sentences.NO_QUALITY)
    messages = [message for name in facts for message in facts[name].get("given_model", ())]
    chance = quality.at_chance(record, base, by)
    if chance is not None and chance.shown:
        return _without(verdict, AT_CHANCE, sentences.at_chance(chance.said))
    if messages:
        return _without(verdict, AT_CHANCE, sentences.of_given_model(messages[0]))
    if chance is not None:
        planned = [needed for file in files if (needed := file.needed_samples)]
        samples = two_digits(max(chance.needed_samples or 0, min(planned, default=0))) or None
        headline = sentences.too_few_for_chance(by, chance.said, samples)
        return _without(replace(verdict, needed_samples=samples), UNDECIDED, headline)
    decided = _decided(verdict, rows, by)
    return decided if _times_tell_of_phones(record) else _with_doubt(decided, rows)


def _times_tell_of_phones(record: Mapping[str, Any]) -> bool:
    """Return whether int8 files gain on the measured machine what they gain on phones, as far as can be known."""
    return record["target"]["name"] != _HOST or multiplies_bytes(record["environment"])


def _with_doubt(verdict: Verdict, rows: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """Return a verdict whose choice for phones says that it rests on times of another kind of processor."""
    timed = verdict.reference is not None and all(
        time_ratio(row, rows[verdict.reference]) is not None for row in rows.values()
    )
    choices = tuple(
        replace(choice, reason=f"{choice.reason}; {sentences.NO_BYTE_PRODUCTS}")
        if choice.target == PHONES and choice.file is not None and timed
        else choice
        for choice in verdict.choices
    )
    return replace(verdict, choices=choices)


def _decided(verdict: Verdict, rows: Mapping[str, Mapping[str, Any]], by: quality.Yardstick) -> Verdict:
    states = {file.state for file in verdict.files}
    if AS_GOOD in states:
        choices = tuple(_choice(need, verdict, rows, by, (REFERENCE, AS_GOOD)) for need in TARGETS)
        found = replace(verdict, state=SHIP, choices=choices)
        return replace(found, headline=sentences.ship(found))
    if UNSURE in states:
        unsure = [file for file in verdict.files if file.state == UNSURE]
        needed = min((file.needed_samples for file in unsure if file.needed_samples), default=None)
        headline = sentences.cannot_decide(verdict, by, unsure, needed)
        return _without(replace(verdict, needed_samples=needed), UNDECIDED, headline)
    if states <= {REFERENCE, UNJUDGED, FAILED, BROKEN} and UNJUDGED in states:
        return _without(verdict, NOTHING, sentences.not_judged(verdict))
    choices = tuple(_choice(need, verdict, rows, by, (REFERENCE,)) for need in TARGETS)
    return replace(verdict, state=KEEP, choices=choices, headline=sentences.keep(verdict, by))


def _without(verdict: Verdict, state: str, headline: str) -> Verdict:
    """Return a verdict that recommends no file."""
    choices = tuple(ShippingChoice(target=need, file=None, reason=headline) for need in TARGETS)
    return replace(verdict, state=state, headline=headline, choices=choices)


def _names(record: Mapping[str, Any]) -> Sequence[str]:
    return [row["name"] for row in record["models"]]


def _reference(record: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the row that the others are compared with; None where there is none, or it failed."""
    named = {row["against_reference"]["reference"] for row in record["models"] if row["against_reference"]}
    return next((row for name, row in rows.items() if name in (named or {_FLOAT32})), None)


def _judged(
    row: Mapping[str, Any],
    base: Mapping[str, Any] | None,
    by: quality.Yardstick | None,
    facts: Mapping[str, Any],
    *,
    target: str,
) -> JudgedFile:
    contents = facts.get("contents")
    file = JudgedFile(
        name=row["name"],
        state=UNJUDGED,
        reason="the quality of the answers was not compared",
        time_ratio=time_ratio(row, base) if base is not None and row is not base else None,
        size_bytes=row["size_bytes"],
        size_gzip_bytes=row["size_gzip_bytes"],
        not_on_phones=not_on_phones(row, contents),
        not_on_microcontrollers=not_on_microcontrollers(row, contents, micro=facts.get("tflite_micro"), target=target),
    )
    if row is base:
        return replace(file, state=REFERENCE, reason="the others are compared with it")
    if base is not None and by is not None:
        measured = quality.judged(row, by, reference=base["name"])
        file = replace(file, state=measured.state, reason=measured.reason, difference=measured.difference,
                       needed_samples=measured.needed_samples)  # fmt: skip
    if facts.get("broken"):
        return replace(file, state=BROKEN, reason="; ".join(facts["broken"]), needed_samples=None)
    return file


def _choice(
    need: str,
    verdict: Verdict,
    rows: Mapping[str, Mapping[str, Any]],
    by: quality.Yardstick,
    states: Sequence[str],
) -> ShippingChoice:
    """Return the best file for a need among those of some states."""
    pool = [file for file in verdict.files if file.state in states and _lack(need)(file) is None]
    if not pool:
        return ShippingChoice(target=need, file=None, reason=sentences.none_for(need, verdict, _lack(need)))
    accuracy = {file.name: by.sign * float((rows[file.name]["quality"] or {}).get("value") or 0.0) for file in pool}

    def order(file: JudgedFile) -> tuple[float, ...]:
        sizes = (file.size_bytes, file.size_gzip_bytes)
        return (*(sizes[::-1] if need == DOWNLOAD else sizes), -accuracy[file.name])

    equal = pool
    if need == PHONES:
        equal = _fastest(pool, rows)
    best = min(equal, key=order)
    timed = all(time_ratio(rows[file.name], rows[best.name]) is not None for file in pool)
    return ShippingChoice(
        target=need, file=best.name, reason=sentences.why(need, best, pool, equal, verdict, by, timed=timed)
    )


def _fastest(pool: Sequence[JudgedFile], rows: Mapping[str, Mapping[str, Any]]) -> list[JudgedFile]:
    """Return the fastest file and those that are not shown to be more than 1 % slower; all where times are missing."""
    ratios = {file.name: time_ratio(rows[file.name], rows[pool[0].name]) for file in pool}
    values = {name: ratio.value for name, ratio in ratios.items() if ratio is not None}
    if len(values) < len(pool):
        return list(pool)
    swift = min(values, key=lambda name: values[name])
    against = {file.name: time_ratio(rows[file.name], rows[swift]) for file in pool}
    return [file for file in pool if (ratio := against[file.name]) is None or ratio.low <= 1 + EQUAL_TIME]


def _lack(need: str) -> Callable[[JudgedFile], str | None]:
    """Return what tells why a file cannot be loaded for a need."""
    if need == MICROCONTROLLERS:
        return lambda file: file.not_on_microcontrollers
    return lambda file: file.not_on_phones
