"""Arm's Ethos-U accelerators, estimated by vela, Arm's own compiler for them; nothing is run.

Address: 'vela', 'vela:ethos-u65-512', or with a system config and a memory mode of vela's configuration file:
'vela:ethos-u55-128,system_config=Ethos_U55_Deep_Embedded,memory_mode=Sram_Only'. Both decide the estimate (clock,
bandwidths, where weights and activations lie): every figure holds them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgefm.core.errors import EdgefmError, ModelError, RecipeError, unknown_name
from edgefm.core.text import command
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.targets.base import Figure, Mode, Place, TargetError
from edgefm.targets.vela import program
from edgefm.tflite.graph import OperatorInfo
from edgefm.tflite.inspection import Inspection, inspect

ACCELERATORS = (
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
)
DEFAULT = "ethos-u55-256"  # vela's own
OWN_CONFIG = "Arm/vela.ini"  # comes with vela
_OPTIONS = ("system_config", "memory_mode", "config")
_ACCELERATED = "CUSTOM:ethos-u"
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")
_BYTES_IN_KIB = 1024
_NS_IN_S = 1e9


def target(rest: str) -> Vela:
    """Return the accelerator at an address.

    Raises:
      RecipeError: an unknown accelerator or option, or one of system_config and memory_mode without the other.
    """
    first, *others = rest.split(",") if rest else [DEFAULT]
    if "=" in first:
        first, others = DEFAULT, [first, *others]
    if first not in ACCELERATORS:
        raise unknown_name("accelerator", first, ACCELERATORS)
    options = {}
    for other in others:
        key, _, value = other.partition("=")
        if key not in _OPTIONS:
            raise unknown_name("option of the target vela", key, _OPTIONS)
        if not value:
            raise RecipeError(f"the option '{key}' of 'vela:{rest}' has no value", hint=f"Write {key}=NAME.")
        options[key] = value
    if options and not {"system_config", "memory_mode"} <= options.keys():
        raise RecipeError(
            f"'vela:{rest}' gives only {' and '.join(options)}; vela needs both system_config and memory_mode",
            hint=f"List their names with: {command('vela', '--list-configs', options.get('config', OWN_CONFIG))}",
        )
    return Vela(
        name=f"vela:{rest}" if rest else "vela",
        accelerator=first,
        system_config=options.get("system_config"),
        memory_mode=options.get("memory_mode"),
        config=options.get("config"),
    )


@dataclass(frozen=True, kw_only=True)
class Vela:
    """One Ethos-U configuration.

    Attributes:
      name: the address.
      accelerator: e.g. 'ethos-u55-128': the number is that of MACs a cycle.
      system_config: clock and memories, by the name in the configuration file; None takes vela's default.
      memory_mode: what lies where, likewise.
      config: configuration file; None takes the one that comes with vela.
    """

    name: str
    accelerator: str
    system_config: str | None = None
    memory_mode: str | None = None
    config: str | None = None
    mode: Mode = "estimated"
    latency: bool = False
    runtimes: tuple[str, ...] = ()

    def availability(self) -> Availability:
        """Return whether vela answers, and knows the configuration."""
        try:
            self._look()
        except TargetError as error:
            return Unavailable(str(error))
        return Available()

    def open(self, runtime: str) -> Place:
        """Nothing is run there."""
        raise TargetError(
            f"the target '{self.name}' runs no models: its figures are estimates of a compiler",
            hint="To run the model, choose another target: see edgefm doctor.",
        )

    def check(self) -> None:
        """Raise a TargetError unless vela is there and knows the configuration."""
        self._look()

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Return vela's estimates for a model with a fixed batch of 1; see `compiled`."""
        return self.compiled(model)[1]

    def compiled(self, model: Path) -> tuple[bytes, tuple[Figure, ...]]:
        """Return the compiled .tflite file of a model with a fixed batch of 1, and vela's estimates for it.

        Figures, all estimated: 'latency_ns' (none where a part stays on the CPU, whose time vela does not know),
        'npu_latency_ns' and 'npu_cycles' of the part on the accelerator, 'npu_operator_share' (0 to 1),
        'arena_bytes' (the tensors that the host's runtime places, its own book-keeping not included),
        'model_bytes' of the compiled file, and what the accelerator's part takes of each memory.

        Raises:
          ModelError: vela cannot compile the model, or it has a dynamic shape.
          TargetError: vela is not there, or does not know the configuration.
        """
        source = inspect(Path(model))
        _check_shapes(source)
        version, config = self._look()
        with program.compiled(
            Path(model),
            accelerator=self.accelerator,
            config=config,
            system_config=self.system_config,
            memory_mode=self.memory_mode,
        ) as compiled:
            try:
                estimate = _Estimate(source, compiled, accelerator=self.accelerator, version=version)
                return compiled.model.read_bytes(), estimate.figures
            except EdgefmError:
                raise
            except Exception as error:  # of another version of vela: columns and tables may be missing or otherwise
                raise ModelError(
                    f"the output of vela {version} for {model} has an unexpected form ({type(error).__name__}: {error})"
                ) from error

    def _look(self) -> tuple[str, str | None]:
        """Return vela's version and the configuration file that is used, None for its defaults."""
        try:
            version = program.version()
            if self.system_config is None or self.memory_mode is None:
                return version, None
            config = self.config or OWN_CONFIG
            program.check_configuration(config=config, system_config=self.system_config, memory_mode=self.memory_mode)
        except RecipeError as error:
            raise TargetError(error.message, hint=error.hint) from error
        return version, config


class _Estimate:
    """The figures of one compiled model."""

    def __init__(self, source: Inspection, compiled: program.Compiled, *, accelerator: str, version: str) -> None:
        self._source = source
        self._compiled = compiled
        self._result = inspect(compiled.model)
        self._details = {
            "accelerator_config": accelerator,
            "system_config": compiled.summary["system_config"],
            "memory_mode": compiled.summary["memory_mode"],
            "core_clock_hz": int(float(compiled.summary["core_clock"])),
            "vela_version": version,
        }

    @cached_property
    def on_cpu(self) -> tuple[OperatorInfo, ...]:
        """Operators of the compiled file that the accelerator does not run."""
        return tuple(operator for operator in self._result.operators if operator.name != _ACCELERATED)

    @cached_property
    def accelerated(self) -> bool:
        """Whether anything runs on the accelerator."""
        return len(self.on_cpu) < len(self._result.operators)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """All figures; read while the compiled file is there."""
        operators = len(self._source.operators)
        left = min(len(self.on_cpu), operators)
        whole = None
        if self.accelerated and self.on_cpu:
            stay = f"{left} of its {operators} operators stay on the CPU{self._why()}"
            whole = f"{stay}; vela estimates the accelerator's part alone (npu_latency_ns)"
        seconds = "inference_time"
        return (
            self._of_summary("latency_ns", seconds, _NS_IN_S, reason=whole),
            self._of_summary("npu_latency_ns", seconds, _NS_IN_S, layers=self._layers()),
            self._of_summary("npu_cycles", "cycles_total"),
            self._figure(
                "npu_operator_share",
                value=(operators - left) / operators,
                operators=operators,
                on_cpu=[self._fallback(operator) for operator in self.on_cpu],
                on_cpu_macs=sum(operator.macs for operator in self.on_cpu),
                macs=self._source.macs,
            ),
            self._figure("arena_bytes", value=self._arena_bytes()),
            self._figure("model_bytes", value=self._result.size_bytes),
            *(self._of_summary(f"{memory}_bytes", f"{memory}_memory_used", _BYTES_IN_KIB) for memory in _MEMORIES),
        )

    def _of_summary(
        self, name: str, column: str, unit: float = 1, *, reason: str | None = None, **details: Any
    ) -> Figure:
        """Return a figure from a column of the summary, or with the reason given, or where nothing is accelerated."""
        if not self.accelerated:
            reason = f"vela leaves the whole model on the CPU{self._why()}"
        value = None if reason else float(round(self._number(column) * unit))
        return self._figure(name, value=value, reason=reason, **details)

    def _figure(self, name: str, *, value: float | None = None, reason: str | None = None, **details: Any) -> Figure:
        return Figure(name=name, value=value, mode="estimated", reason=reason, details={**self._details, **details})

    def _number(self, column: str) -> float:
        """Return a number of the summary; a ModelError where vela left none."""
        text = self._compiled.summary.get(column, "")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ModelError(f"vela's summary of {self._source.path} has {column} = '{text}', not a finite number")
        return number

    def _arena_bytes(self) -> float:
        """Return the end of the last tensor that vela placed, from the compiled file's own plan of its arena."""
        import numpy as np

        from edgefm.tflite import flatbuffer

        parsed = flatbuffer.read(self._compiled.model.read_bytes())
        plans = [entry for entry in parsed.metadata or () if entry.name == b"OfflineMemoryAllocation"]
        if len(plans) != 1:
            raise ModelError(f"vela's output for {self._source.path} holds {len(plans)} arena plans; 1 is expected")
        plan = plans[0]
        # int32 version, subgraph, number of tensors, then an offset a tensor; -1: not in the arena.
        offsets = np.frombuffer(bytes(parsed.buffers[plan.buffer].data), "<i4")[3:]
        sizes = [tensor.size_bytes for tensor in self._result.tensors]
        ends = [int(offset) + size for offset, size in zip(offsets, sizes, strict=False) if offset >= 0]
        return float(max(ends, default=0))

    def _fallback(self, operator: OperatorInfo) -> dict[str, Any]:
        name = self._result.tensors[operator.outputs[0]].name if operator.outputs else ""
        return {"operator": operator.name, "output": name, "reason": self._compiled.refusals.get(name)}

    def _why(self) -> str:
        """Return the operators' names and vela's first reason, for a sentence."""
        names = list(dict.fromkeys(operator.name for operator in self.on_cpu))
        reasons = [reason for operator in self.on_cpu if (reason := self._fallback(operator)["reason"])]
        because = f": {reasons[0]}" if reasons else ""
        return f" ({', '.join(names)}{because})"

    def _layers(self) -> list[Mapping[str, Any]]:
        """Return cycles and MACs by layer, as vela splits and fuses the model's operators."""
        return [
            {
                "operator": row["Original Operator"],
                "step": row["NNG Operator"],
                "output": row["Name"],
                "cycles": int(float(row["Op Cycles"])),
                "macs": int(float(row["MAC Count"])),
            }
            for row in self._compiled.layers
            if row["Target"] == "NPU"
        ]


def _check_shapes(source: Inspection) -> None:
    """Refuse a dynamic size other than the batch: vela would take it for 1, as every runtime takes the batch."""
    for index in (*source.inputs, *source.outputs):
        if not 0 <= index < len(source.tensors):
            raise ModelError(
                f"{source.path} is damaged: it has no tensor {index}", hint="Copy or write the file again."
            )
        tensor = source.tensors[index]
        if -1 in tensor.shape[1:]:
            raise ModelError(
                f"'{tensor.name}' of {source.path} has the dynamic shape {tensor.shape}",
                hint="Convert the model again with a fixed batch of 1.",
            )
    if not source.operators:
        raise ModelError(f"{source.path} has no operators: there is nothing to estimate")
