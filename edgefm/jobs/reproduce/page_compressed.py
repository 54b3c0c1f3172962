"""The section of a reproduction's page on further variants of the systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefm.jobs.reproduce.page_text import NOT_YET, how, ratio, table

COLUMNS = ("system", "variant", "test", "points", "size", "gzip", "MACs", "p50, ratio")
_INT8 = "int8_w8a8"


def section(record: Mapping[str, Any] | None) -> list[str]:
    """Return what further variants of the systems came to, in a table, with those that could not be made."""
    again = (
        "Further variants of each system's first training, tried once on the test images: "
        f"{how('--variant', 'pruned80_int8_w8a8', '--variant', 'slim50_int8_w8a8')} makes and measures them, see "
        "[edgefm quantize](commands/quantize.md)."
    )
    made = _made(record) if record else []
    if record is None or not made:
        return [again, f"Of these: {NOT_YET}."]
    text = (
        f"{again} Points are percentage points of test accuracy against `{_INT8}` of the same training. A pruned or "
        "clustered file is smaller as a download (gzip) only. Layers that are not trained, as the principal component "
        "analysis, are left alone."
    )
    shown = rows(record)
    left_out = [
        f"- `{row['id']}`, `{variant['variant']}` was left out: {variant['left_out']}"
        for row, variant in made
        if variant["left_out"] is not None
    ]
    notes = [*left_out, *(_origin(row, variant) for row, variant in made if _is_elsewhere(row, variant))]
    return [text, *([table(COLUMNS, shown)] if shown else []), *(["\n".join(notes)] if notes else [])]


def rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return a row of `COLUMNS` for each further variant that was made."""
    return [
        [
            f"`{row['id']}`",
            f"`{variant['variant']}`",
            "-" if variant["test"] is None else f"{variant['test']:.2f}",
            _against_int8(variant),
            f"{variant['size_bytes'] / 1000:,.1f} KB",
            f"{variant['gzip_bytes'] / 1000:,.1f} KB",
            "-" if variant["macs"] is None else f"{variant['macs'] / 1e6:.2f} M",
            ratio(record["latency"], f"{row['id']} {variant['variant']}"),
        ]
        for row, variant in _made(record)
        if variant["left_out"] is None
    ]


def _made(record: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each further variant with its system's row; a record from before there were any has none."""
    return [(row, variant) for row in record["systems"] for variant in row.get("compressed", ())]


def _is_elsewhere(row: Mapping[str, Any], variant: Mapping[str, Any]) -> bool:
    """Return whether a variant comes from an earlier record than its row."""
    return bool(variant.get("recorded")) and variant["recorded"] != row.get("recorded")


def _origin(row: Mapping[str, Any], variant: Mapping[str, Any]) -> str:
    recorded = variant["recorded"]
    return f"- `{row['id']}`, `{variant['variant']}`: recorded on {recorded['cpu']}, {recorded['created'][:10]}"


def _against_int8(variant: Mapping[str, Any]) -> str:
    """Return the points of a variant against int8 of the training that it was made of."""
    reference = variant.get("int8_test")
    return "-" if reference is None or variant["test"] is None else f"{variant['test'] - reference:+.2f}"
