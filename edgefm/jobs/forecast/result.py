"""What a forecast says: a row a variant, before any training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgefm.core import html
from edgefm.core.documents import check_schema, read_versioned
from edgefm.core.errors import RunError
from edgefm.core.results import JsonResult
from edgefm.profiling.cost_model import LatencyForecast

FILE_NAME = "forecast.json"
_TWO_DECIMALS = 0.1
# What float32 sums in another order differ by.
_ROUNDING = 1e-6
HEADERS = ("variant", "size", "download", "MACs", "p50 (90 %)", "of float32", "loss (90 %)", "arena")
KIND, VERSION, SCHEMA = "edgefm/forecast", 1, "forecast-1"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure that is forecast, and the ends between which it is expected in nine of ten cases.

    Attributes:
      value: the figure.
      low: lower end; equal to the value where it is exact, or where nothing tells how far off it may be.
      high: upper end.
      why: where it comes from, in words.
      bounded: whether the ends tell how far off it may be.
    """

    value: float
    low: float
    high: float
    why: str
    bounded: bool = True

    @property
    def exact(self) -> bool:
        """Whether it is known, not expected."""
        return self.bounded and self.low == self.high


@dataclass(frozen=True, kw_only=True)
class VariantForecast:
    """What one variant will be like.

    Attributes:
      variant: its name.
      description: what it is, in words.
      size_bytes: of the file; exact, since training changes no structure, unless `notes` says otherwise.
      download_bytes: of the file compressed with gzip -9.
      macs: multiply-accumulates of one inference.
      latency: on the machine of the cost model.
      of_float32: p50 over that of the float32 file.
      arena_bytes: that TensorFlow Lite Micro takes for it on this machine, measured; None where it is not known.
      arena_reason: why not; None where it is known.
      loss: of quality on validation samples, in percentage points or the unit of the measure; None where not known.
      loss_reason: why not; None where it is known.
      untrained_loss: measured before any training; None where it was not measured.
      untrained_gzip_bytes: of the file before any training.
      notes: what the variant does not buy, and why.
      created: UTC, ISO 8601.
    """

    variant: str
    description: str
    size_bytes: int
    download_bytes: Interval
    macs: int
    latency: LatencyForecast
    of_float32: float
    arena_bytes: int | None
    arena_reason: str | None
    loss: Interval | None
    loss_reason: str | None
    untrained_loss: float | None
    untrained_gzip_bytes: int
    notes: tuple[str, ...]
    created: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return {**asdict(self), "latency": self.latency.to_json(), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VariantForecast:
        """Return the row that `to_json` gave."""
        latency, loss = value["latency"], value["loss"]
        return cls(
            **{
                **value,
                "download_bytes": Interval(**value["download_bytes"]),
                "latency": LatencyForecast.from_json(latency),
                "loss": None if loss is None else Interval(**loss),
                "notes": tuple(value["notes"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class ForecastResult(JsonResult):
    """What each variant of a model will cost and buy, told before any training.

    Attributes:
      model: name and sha256 of the given model.
      created: UTC, ISO 8601; rows that an earlier forecast told have their own.
      variants: a row each, in the order of the recipe.
      skipped: variants that the model or its data cannot give, with the reason.
      quality: name, unit and value of the measure of quality; None without data.
      cost_model: whose times they are: runtime, version, cpu, cpu_features, created, and the median, p90 and number of
        its held-out networks' errors.
      notes: what a reader must know.
    """

    model: Mapping[str, str] = field(hash=False)
    created: str
    variants: tuple[VariantForecast, ...]
    skipped: Mapping[str, str] = field(hash=False)
    quality: Mapping[str, Any] | None = field(hash=False)
    cost_model: Mapping[str, Any] = field(hash=False)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> VariantForecast:
        """Return the row of a variant; a KeyError says which there are."""
        for row in self.variants:
            if row.variant == name:
                return row
        reason = f" was left out: {self.skipped[name]}" if name in self.skipped else ""
        raise KeyError(f"{name!r}{reason}; the variants are {', '.join(row.variant for row in self.variants)}")

    def with_earlier(self, earlier: ForecastResult) -> ForecastResult:
        """Return this forecast with what an earlier one told of other variants.

        A row that is told again as it was keeps the time when it was first told. An earlier forecast of another model,
        of other data, or of another processor or runtime, adds nothing.
        """
        if self._about() != earlier._about():
            return self
        rows = {row.variant: row for row in earlier.variants if row.variant not in self.skipped}
        for row in self.variants:
            before = rows.get(row.variant)
            rows[row.variant] = before if before and replace(before, created=row.created) == row else row
        skipped = {name: why for name, why in {**earlier.skipped, **self.skipped}.items() if name not in rows}
        return replace(self, variants=tuple(rows.values()), skipped=skipped)

    def _about(self) -> list[Any]:
        """Return what two forecasts must have in common, for their rows to stand in one."""
        where = [self.cost_model.get(name) for name in ("runtime", "version", "cpu", "cpu_features")]
        data = [(self.quality or {}).get(name) for name in ("name", "samples")]
        return [self.model["sha256"], *where, *data]

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as a JSON object; schema forecast-1."""
        return {
            "kind": KIND,
            "schema_version": VERSION,
            "model": dict(self.model),
            "created": self.created,
            "variants": [row.to_json() for row in self.variants],
            "skipped": [{"variant": name, "reason": reason} for name, reason in self.skipped.items()],
            "quality": None if self.quality is None else dict(self.quality),
            "cost_model": dict(self.cost_model),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str = "the forecast") -> ForecastResult:
        """Return the forecast in a JSON object.

        Raises:
          RunError: it breaks the schema.
        """
        check_schema(value, SCHEMA, where=where, error=RunError, hint="Forecast again.")
        return cls(
            model=value["model"],
            created=value["created"],
            variants=tuple(
                VariantForecast.from_json({"created": value["created"], **row})  # older files have one for all rows
                for row in value["variants"]
            ),
            skipped={entry["variant"]: entry["reason"] for entry in value["skipped"]},
            quality=value["quality"],
            cost_model=value["cost_model"],
            notes=tuple(value["notes"]),
        )

    @classmethod
    def open(cls, path: Path) -> ForecastResult:
        """Return the forecast in a file.

        Raises:
          RunError: it is missing, damaged, or a newer edgefm wrote it.
        """
        value = read_versioned(
            path, what="forecast", newest=VERSION, schema=SCHEMA, error=RunError, hint="Forecast again."
        )
        return cls.from_json(value, where=str(path))

    def _repr_html_(self) -> str:
        caption = f"{self.model['name']}, before any training; times on {self.cost_model['cpu']}"
        told = "".join(map(html.paragraph, remarks(self)))
        return html.table([*map(cells, self.variants)], HEADERS, caption=caption) + told


def remarks(result: ForecastResult) -> list[str]:
    """Return what stands below the table, for people: each remark once, with the variants that it is of."""
    told: dict[str, list[str]] = {}
    for row in result.variants:
        loss = f"the loss is not known: {row.loss_reason}" if row.loss is None else f"loss: {row.loss.why}"
        arena = () if row.arena_reason is None else (f"no arena: {row.arena_reason}",)
        for remark in (*row.notes, loss, *arena, *row.latency.extrapolated):
            told.setdefault(remark, []).append(row.variant)
    return [
        *(f"{', '.join(names)}: {remark}" for remark, names in told.items()),
        *(f"left out: {name}: {reason}" for name, reason in result.skipped.items()),
        *(f"note: {note}" for note in result.notes),
    ]


def cells(row: VariantForecast) -> Sequence[str]:
    """Return the cells of a row, for people, as `HEADERS` names them."""
    latency, download = row.latency, row.download_bytes
    return [
        row.variant,
        f"{row.size_bytes / 1000:,.1f} KB",
        f"{download.value / 1000:,.1f} KB" if download.exact else _range(download, 1000, "KB"),
        f"{row.macs:,}",
        _time(latency),
        f"{row.of_float32:.2f}",
        _loss(row.loss),
        "-" if row.arena_bytes is None else f"{row.arena_bytes / 1000:,.1f} KB",
    ]


def _time(latency: LatencyForecast) -> str:
    p50, low, high = (time / 1000 for time in (latency.p50_ns, latency.low_ns, latency.high_ns))
    return f"{p50:,.1f} us ({low:,.1f} {f'to {high:,.1f}' if math.isfinite(high) else 'or more'})"


def _loss(loss: Interval | None) -> str:
    if loss is None:
        return "not known"
    if not loss.bounded:
        return f"{_signed(loss.value)} (interval not known)"
    return _signed(loss.value) + ("" if loss.exact else f" ({_signed(loss.low)} to {_signed(loss.high)})")


def _signed(loss: float) -> str:
    """Return a loss to two decimals, a smaller one (an error's, say) to two digits.

    >>> _signed(1.234), _signed(-0.00076), _signed(0.0), _signed(-7e-9)
    ('+1.23', '-0.00076', '+0.00', '+0.00')
    """
    return f"{loss:+.2f}" if abs(loss) >= _TWO_DECIMALS else f"{loss:+.2g}" if abs(loss) > _ROUNDING else "+0.00"


def _range(interval: Interval, unit: float, name: str) -> str:
    return f"{interval.low / unit:,.1f} to {interval.high / unit:,.1f} {name}"
