"""What a worker does for each command: load a model, time it, answer samples. `worker` has the commands' fields."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import environment
from edgefm.core.errors import ModelError, RuntimeUnavailableError
from edgefm.core.given.memory import limit
from edgefm.runtimes import import_runtime
from edgefm.runtimes.base import RuntimeSession, TakesMany, TellsFacts, TimesItself, Unavailable
from edgefm.runtimes.random_inputs import random_input
from edgefm.tflite.contract import Contract, dequantize
from edgefm.worker import disturbance
from edgefm.worker.energy import Meter, of_invoke
from edgefm.worker.memory import memory, reset_peak
from edgefm.worker.timing import timed_calls

# What classify writes for each picture.
ANSWER = np.dtype([("predicted", "<i4"), ("confidence", "<f4")])
_ENCODED_AT_ONCE = 256
_THRESHOLD = 0.5


class ModelCommands:
    """The state of a worker: one session and what feeds it."""

    def __init__(self) -> None:
        self.session: RuntimeSession | None = None
        self.contract: Contract | None = None
        self.pictures: NDArray[Any] | None = None
        self.inputs: tuple[str, NDArray[Any]] | None = None
        self.threads = 1

    def load(self, *, path: str, runtime: str, kernels: str | None, threads: int, memory_bytes: int) -> dict[str, Any]:
        """Load the model; the runtime's import and the check of the file come before the bare figure."""
        started = time.perf_counter_ns()
        module = import_runtime(runtime)
        usable = module.availability()  # imports the native library: it belongs to the bare runtime
        import_ns = time.perf_counter_ns() - started
        if isinstance(usable, Unavailable):
            raise RuntimeUnavailableError(usable.reason)
        prepare = getattr(module, "prepare", None)
        if prepare is not None:
            prepare(Path(path))
        version = module.version()
        # A browser is a process of its own: it reserves far more addresses than it uses, and the model lies there.
        here = getattr(module, "LIMITS_MEMORY", True)
        if here:
            limit(memory_bytes)  # of what can be written: a file that is mapped does not count
        reset_peak()
        bare_bytes, _ = memory()
        options: dict[str, Any] = {} if kernels is None else {"kernels": kernels}
        started = time.perf_counter_ns()
        session = module.load(Path(path), threads=threads, **options)
        load_ns = time.perf_counter_ns() - started
        self.session, self.threads = session, threads
        session.set_input(random_input(session.input))
        started = time.perf_counter_ns()
        session.invoke()
        first_invoke_ns = time.perf_counter_ns() - started
        _, peak_bytes = memory()
        facts = dict(session.facts()) if isinstance(session, TellsFacts) else {}
        if isinstance(session, TimesItself):  # what it tells of itself, not the way to it and back
            load_ns, first_invoke_ns = facts.get("load_ns", load_ns), facts.get("first_invoke_ns", first_invoke_ns)
        return {
            "runtime": module.name,
            "version": version,
            "bare_bytes": bare_bytes if here else None,
            "peak_bytes": peak_bytes if here else None,
            "import_ns": import_ns,
            "load_ns": load_ns,
            "first_invoke_ns": first_invoke_ns,
            "input": session.input.to_json(),
            "outputs": [tensor.to_json() for tensor in session.outputs],
            "facts": facts,
        }

    def feed(self, *, contract: dict[str, Any] | None, pictures: str | None) -> dict[str, Any]:
        """Take what turns pictures into inputs."""
        self.contract = None if contract is None else Contract.from_json(contract)
        self.pictures = None if pictures is None else np.load(pictures, mmap_mode="r")
        return {}

    def samples(
        self, *, warmup_calls: int, least_calls: int, least_ns: int, most_calls: int, most_ns: int
    ) -> dict[str, Any]:
        """Time one turn: warm-up, invokes alone, then end to end (encode, set, invoke, get) of one picture."""
        session = self._loaded()
        picture = None if self.pictures is None else np.array(self.pictures[:1])
        contract = self.contract
        set_input, invoke, get_output = session.set_input, session.invoke, session.get_output
        known = contract is not None and picture is not None
        set_input(contract.encode(picture) if contract and picture is not None else random_input(session.input))
        limits = {
            "least_calls": least_calls,
            "least_ns": least_ns,
            "most_calls": most_calls,
            "most_ns": most_ns,
        }
        meter = Meter()
        watch = disturbance.Watch()
        if isinstance(session, TimesItself):
            watch.start()
            timed = session.timed_invokes(warmup_calls=warmup_calls, **limits)
            conditions = watch.stop()
            return {
                "warmup_ns": timed.warmup_ns,
                "invoke_ns": timed.invoke_ns,
                "end_to_end_ns": [],
                "disturbed": [*timed.refused, *timed.disturbed],
                "refused": bool(timed.refused),
                "conditions": conditions,
                "energy": {"value": None, "reason": "the runtime runs in another process; its energy is not measured"},
            }
        warmup_ns = timed_calls(invoke, least_calls=warmup_calls, least_ns=0, most_calls=warmup_calls, most_ns=most_ns)
        watch.start()
        meter.start()
        invoke_ns = timed_calls(invoke, **limits)
        microjoules = meter.microjoules()
        end_to_end_ns: list[int] = []
        if known:

            def whole() -> None:
                assert contract is not None and picture is not None
                set_input(contract.encode(picture))
                invoke()
                get_output()

            end_to_end_ns = timed_calls(whole, **limits)
        conditions = watch.stop()
        energy: dict[str, Any] = {"value": None, "reason": meter.reason}
        if microjoules is not None:
            energy = of_invoke(microjoules, invoke_ns)
        cores = environment.usable_cores()
        return {
            "warmup_ns": warmup_ns,
            "invoke_ns": invoke_ns,
            "end_to_end_ns": end_to_end_ns,
            "refused": False,
            "disturbed": disturbance.reasons(conditions, threads=self.threads, cores=cores),
            "conditions": conditions,
            "energy": energy,
        }

    def classify(self, *, start: int, stop: int, out: str) -> dict[str, Any]:
        """Classify pictures at batch 1, one after the other."""
        contract = self.contract
        assert contract is not None
        answers = np.empty(stop - start, dtype=ANSWER)
        best_scores = np.empty(stop - start, dtype=contract.output.dtype)
        if contract.head == "logits":
            return self._classify_logits(contract, start, stop, out)
        for place, outputs in enumerate(self._outputs(start, stop, first_only=True)):
            scores = outputs[0].reshape(-1)
            best = int(np.argmax(scores))  # the place of the first NaN, if there is one
            answers["predicted"][place] = best
            best_scores[place] = scores[best]
        answers["confidence"] = contract.decode(best_scores)
        if contract.output.size == 1:
            _of_one_score(answers)
        _refuse_nan(answers["confidence"], start)
        np.save(out, answers)
        return {}

    def _classify_logits(self, contract: Contract, start: int, stop: int, out: str) -> dict[str, Any]:
        """Classify by scores that become probabilities only here."""
        answers = np.empty(stop - start, dtype=ANSWER)
        for place, outputs in enumerate(self._outputs(start, stop, first_only=True)):
            scores = contract.probabilities(contract.decode(outputs[0].reshape(1, -1)))[0]
            answers["predicted"][place] = best = int(np.argmax(scores))
            answers["confidence"][place] = scores[best]
        if contract.output.size == 1:
            _of_one_score(answers)
        _refuse_nan(answers["confidence"], start)
        np.save(out, answers)
        return {}

    def answer(self, *, start: int, stop: int, out: str) -> dict[str, Any]:
        """Write all outputs of pictures, as real numbers; at batch 1, one after the other."""
        contract = self.contract
        assert contract is not None
        answers = [np.empty((stop - start, *tensor.shape[1:]), tensor.dtype) for tensor in contract.outputs]
        for place, outputs in enumerate(self._outputs(start, stop)):
            for answer, output in zip(answers, outputs, strict=True):
                answer[place] = output.reshape(answer.shape[1:])
        real = [dequantize(answer, tensor) for answer, tensor in zip(answers, contract.outputs, strict=True)]
        for values in real:
            _refuse_nan(values, start)
        np.savez(out, *real)
        return {}

    def _outputs(self, start: int, stop: int, *, first_only: bool = False) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield the outputs of each picture as the model gives them; with `first_only` the first output alone."""
        session, contract, pictures = self._loaded(), self.contract, self.pictures
        assert contract is not None and pictures is not None
        for block in range(start, stop, _ENCODED_AT_ONCE):
            samples = contract.encode(np.array(pictures[block : min(block + _ENCODED_AT_ONCE, stop)]))
            if isinstance(session, TakesMany):
                many = session.outputs_of(samples)
                for place in range(len(samples)):
                    yield tuple(array[place : place + 1] for array in many)
                continue
            for place in range(len(samples)):
                sample = samples[place : place + 1]
                if first_only:
                    yield (session.run(sample),)
                else:
                    session.set_input(sample)
                    session.invoke()
                    yield session.get_outputs()

    def outputs(self, *, inputs: str, start: int, stop: int, out: str) -> dict[str, Any]:
        """Write the raw outputs for raw inputs; at batch 1, one after the other."""
        session = self._loaded()
        if self.inputs is None or self.inputs[0] != inputs:
            self.inputs = (inputs, np.load(inputs, mmap_mode="r"))
        samples = self.inputs[1]
        if not session.input.parts and (samples.dtype.name, samples.shape[1:]) != (
            session.input.dtype,
            session.input.shape[1:],
        ):
            raise ModelError(
                f"inputs of {samples.dtype.name} {list(samples.shape[1:])} do not fit: the model takes "
                f"{session.input.dtype} {list(session.input.shape[1:])}"
            )
        if isinstance(session, TakesMany):
            many = session.outputs_of(np.array(samples[start:stop]))
        else:
            answers = []
            for index in range(start, stop):
                session.set_input(np.array(samples[index : index + 1]))
                session.invoke()
                answers.append(session.get_outputs())
            places = range(len(session.outputs))
            many = tuple(np.concatenate([np.atleast_1d(answer[place]) for answer in answers]) for place in places)
        arrays: dict[str, Any] = {str(place): array for place, array in enumerate(many)}
        np.savez(out, **arrays)
        return {}

    def environment(self) -> dict[str, Any]:
        """Tell of the machine and its software."""
        return {"environment": environment.environment()}

    def peak(self) -> dict[str, Any]:
        """Tell the greatest resident set so far."""
        return {"peak_bytes": memory()[1]}

    def macs(self, *, path: str) -> dict[str, Any]:
        """Count the multiply-accumulates of one inference; null where the file cannot be parsed."""
        from edgefm.tflite.inspection import inspect

        try:
            return {"macs": inspect(Path(path)).macs}
        except ModelError:  # a runtime may take other formats
            return {"macs": None}

    def _loaded(self) -> RuntimeSession:
        assert self.session is not None, "no model is loaded"
        return self.session


def _refuse_nan(values: NDArray[Any], start: int) -> None:
    """Raise a ModelError where the values of a sample, [n, ...] from sample `start` on, hold NaN."""
    broken = np.flatnonzero(np.isnan(values).reshape(len(values), -1).any(axis=1))
    if broken.size:
        raise ModelError(f"its output is NaN for {broken.size} images, first image {start + int(broken[0])}")


def _of_one_score(answers: NDArray[Any]) -> None:
    """Turn the probability of the second of two classes into the class and its own probability."""
    second = answers["confidence"] > _THRESHOLD
    answers["predicted"] = second
    answers["confidence"] = np.where(second, answers["confidence"], 1 - answers["confidence"])
