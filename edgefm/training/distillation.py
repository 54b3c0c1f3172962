"""Teachers: trained models whose answers a student learns beside the labels (Hinton et al. 2015, arXiv:1503.02531).

A teacher gets the inputs of its student, value for value. A run of edgefm and the models it trains scale their
pixels themselves (they start with Rescaling), so that any of them can teach any other; a model of your own has to
take the range of values that the student takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, RecipeError
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory
from edgefm.core.task_names import SCORED
from edgefm.data.batches import evaluation_batch
from edgefm.keras_graph.output_activation import output_activation
from edgefm.recipes import SELF, Distillation
from edgefm.training import own_objects
from edgefm_converters.readers.keras_file import check_file

# A batch of model inputs to probabilities (or to numbers, for another task than classification), float32 [n, ...] both.
Teacher = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# Least probability whose logarithm is taken, as in Keras.
LEAST_PROBABILITY = 1e-7
# A teacher that has hardly learnt is about as good as a guess; one that gets wrong inputs is sure of wrong answers.
_WORSE_THAN_A_GUESS = 1.5


def load_teacher(
    names: Sequence[str],
    *,
    source: Any = None,
    classes: int,
    input_shape: tuple[int | None, ...],
    task: str = "classification",
    binary: bool = False,
    sample: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
) -> Teacher:
    """Return a function from inputs to a teacher's first output; the answers of several are averaged.

    Args:
      names: run folders (their newest trained model), `.keras` or `.h5` files, or 'source'. A classifier of one unit
        answers for the second of two classes.
      source: keras.Model that 'source' stands for; None where the name is not allowed.
      classes: length of the last axis of the student's first output.
      input_shape: of one of the student's inputs.
      task: of the data; where it has labels, a teacher that ends in logits gets a softmax (a sigmoid, for one unit).
      binary: each unit answers yes or no by itself: such a teacher gets a sigmoid.
      sample: some of the student's inputs with their labels, for classification: a teacher (but 'source') that is
        surely wrong on them, far worse than a guess, was trained on values of another range or on other classes.
    Returns:
      float32 [n, *input_shape] to float32 [n, ..., classes], of a batch that fits into memory, see `answers_of`.
    Raises:
      ModelError: a teacher cannot be loaded, takes another input or has another number of classes than the student,
        or is far worse than a guess.
      RunError: a run folder holds no trained model.
      RecipeError: 'source' where it is not allowed.
    """
    members = []
    for name in names:
        model = _model(name, source)
        one_for_two = (
            task == "classification" and not binary and (classes, tuple(model.outputs[0].shape[1:])) == (2, (1,))
        )
        _check_shapes(name, model, classes=1 if one_for_two else classes, input_shape=input_shape)
        member = _answers(model, probabilities=task in SCORED, binary=binary or task == "multilabel")
        member = _of_both(member) if one_for_two else member
        if sample is not None and name != SELF:
            _check_knows(name, model, member, *sample)
        members.append(member)

    def teach(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = members[0](inputs)
        for member in members[1:]:
            answers = answers + member(inputs)
        return answers / np.float32(len(members))

    return teach


def teacher_file(name: str) -> Path:
    """Return the model file that a teacher's name stands for, 'source' left out.

    Raises:
      ModelError: there is no such file or folder.
      RunError: the folder is no run, or holds no trained model.
    """
    from edgefm.training.files import model_of

    path = Path(name)
    if path.is_dir():
        return model_of(RunDirectory.open(path))
    if not path.is_file():
        raise ModelError(f"no teacher at {path}", hint="Give the folder of a run, or a .keras file.")
    return path


def answers_of(
    teacher: Teacher,
    images: NDArray[Any],
    inputs: Callable[[NDArray[Any]], NDArray[np.float32]],
    *,
    batch: int,
    label: str,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return a teacher's answers to all images of an epoch, float32 [n, ...], asked a batch at a time.

    Of several batches the last one is filled up with the first images: another size would be compiled anew. `inputs`
    makes the model's inputs of some images, one or more of each; `label` is shown with the progress.
    """
    size, answers = min(batch, len(images)), []
    for start in range(0, len(images), size):
        answers.append(teacher(inputs(np.take(images, range(start, start + size), axis=0, mode="wrap"))))
        progress.step(label, min(start + size, len(images)), len(images))
    whole = np.concatenate(answers)
    return whole[: len(whole) * len(images) // (len(answers) * size)]


def distilled(
    hard: Any,
    scores: Any,
    teacher: Any,
    distillation: Distillation,
    *,
    ops: Any,
    binary: bool = False,
    reduce: Callable[[Any], Any] = lambda loss: loss,
) -> Any:
    """Return (1 - weight) * hard + weight * temperature^2 * KL(teacher_T || student_T), p_T ~ p^(1 / T).

    Args:
      hard: loss against the labels, after `reduce`.
      scores: logits of the student, or logarithms of its probabilities, [n, classes].
      teacher: its probabilities, [n, classes].
      distillation: weight and temperature.
      ops: keras.ops, or functions of the same names of another framework.
      binary: each unit answers yes or no by itself.
      reduce: of the divergence of each sample, [n], ([n, units] where binary) to the form of `hard`.
    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    wanted = scores_of(teacher, ops=ops, binary=binary) / distillation.temperature
    softened = scores / distillation.temperature
    if binary:  # CE(t, p) - CE(t, t) = KL(t || p)
        soft = ops.sigmoid(wanted)
        taught = ops.binary_crossentropy(soft, softened, from_logits=True)
        taught = taught - ops.binary_crossentropy(soft, wanted, from_logits=True)
    else:
        taught = ops.sum(ops.softmax(wanted) * (ops.log_softmax(wanted) - ops.log_softmax(softened)), axis=-1)
    return (1 - distillation.weight) * hard + distillation.weight * distillation.temperature**2 * reduce(taught)


def scores_of(probabilities: Any, *, ops: Any, binary: bool = False) -> Any:
    """Return logarithms of probabilities; of a unit that answers by itself its logit. `ops` as for `distilled`."""
    safe = ops.clip(probabilities, LEAST_PROBABILITY, 1.0)
    return ops.log(safe) - ops.log(ops.maximum(1 - safe, LEAST_PROBABILITY)) if binary else ops.log(safe)


def distillation_loss(distillation: Distillation, *, classes: int, label_smoothing: float) -> Callable[[Any, Any], Any]:
    """Return a loss for keras.Model.compile, on any backend.

    It takes [labels, teacher's probabilities] side by side, float32 [n, 2 * classes], and the student's
    probabilities, float32 [n, classes], and gives the loss of each sample, float32 [n]; see `distilled`.
    """
    from keras import ops

    def loss(wanted: Any, student: Any) -> Any:
        wanted, student = ops.cast(wanted, "float32"), ops.cast(student, "float32")
        labels = wanted[:, :classes] * (1 - label_smoothing) + label_smoothing / classes
        scores = scores_of(student, ops=ops)
        return distilled(-ops.sum(labels * scores, axis=-1), scores, wanted[:, classes:], distillation, ops=ops)

    return loss


def label_accuracy(classes: int) -> Callable[[Any, Any], Any]:
    """Return a metric called 'accuracy' for targets as `distillation_loss` takes them."""
    from keras import ops

    def accuracy(wanted: Any, student: Any) -> Any:
        right = ops.equal(ops.argmax(wanted[:, :classes], axis=-1), ops.argmax(student, axis=-1))
        return ops.cast(right, "float32")

    return accuracy


def _model(name: str, source: Any) -> Any:
    if name == SELF:
        if source is None:
            raise RecipeError(
                f"the teacher '{SELF}' is a model before its first compression pass; a training has none",
                hint="Name a run or a .keras file.",
            )
        return source
    import keras

    import edgefm.keras_graph.folding  # noqa: F401  # registers ChannelShift, which a folded model holds

    path, trusted = teacher_file(name), False
    if Path(name).is_dir():
        run = RunDirectory.open(Path(name))
        trusted = own_objects.prepare(run, run.require("train"), path)
    else:
        check_file(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trusted)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"the teacher {path} cannot be loaded: {reason[0][:300]}") from error


def _check_shapes(name: str, model: Any, *, classes: int, input_shape: tuple[int | None, ...]) -> None:
    if len(model.inputs) != 1:
        raise ModelError(f"the teacher '{name}' has {len(model.inputs)} inputs; one is expected")
    own = tuple(model.inputs[0].shape[1:])
    fits = len(own) == len(input_shape) and all(
        length in (None, wanted) for length, wanted in zip(own, input_shape, strict=True)
    )
    if not fits:
        raise ModelError(
            f"the teacher '{name}' takes inputs of shape {_shape(own)}, its student {_shape(input_shape)}",
            hint="Choose a teacher that was trained on the same data.",
        )
    answered = model.outputs[0].shape[-1]
    if answered != classes:
        raise ModelError(
            f"the teacher '{name}' answers {answered} classes (output "
            f"{_shape(tuple(model.outputs[0].shape[1:]))}), its student {classes}",
            hint="Choose a teacher that was trained for the same classes.",
        )


def _of_both(member: Teacher) -> Teacher:
    """Return the answers about two classes of a teacher that gives the probability of the second one alone."""

    def answer(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        second = member(inputs)
        return np.concatenate([1 - second, second], axis=-1)

    return answer


def _answers(model: Any, *, probabilities: bool, binary: bool = False) -> Teacher:
    """Return a model's first output as a function of inputs, all at once; logits as probabilities where wanted."""
    import keras

    logits = probabilities and output_activation(model.outputs[0]) not in ("softmax", "sigmoid")

    def answer(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        first, *_ = keras.tree.flatten(model.predict_on_batch(inputs))
        whole = np.asarray(first, np.float32)
        return _probabilities(whole, binary=binary) if logits else whole

    return answer


def _probabilities(logits: NDArray[np.float32], *, binary: bool) -> NDArray[np.float32]:
    if binary or logits.shape[-1] == 1:
        return (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    exact = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(np.float64))
    return (exact / exact.sum(axis=-1, keepdims=True)).astype(np.float32)


def _check_knows(
    name: str, model: Any, member: Teacher, inputs: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """Raise a ModelError where a teacher's mean cross-entropy on some samples is far above that of a guess."""
    size = evaluation_batch(inputs.shape[1:])
    answers = np.concatenate([member(inputs[start : start + size]) for start in range(0, len(inputs), size)])
    if answers.shape[-1] == 1:
        answers = np.concatenate([1 - answers, answers], axis=-1)
    guess = float(np.log(answers.shape[-1]))
    entropy = float(-np.log(np.maximum(answers[np.arange(len(labels)), labels], LEAST_PROBABILITY)).mean())
    if entropy > _WORSE_THAN_A_GUESS * guess:
        scales = any(type(layer).__name__ in ("Rescaling", "Normalization") for layer in model.layers)
        raise ModelError(
            f"the teacher '{name}' is surely wrong: its cross-entropy on {len(labels)} validation samples is "
            f"{entropy:.2f}, that of a guess {guess:.2f}. It gets its student's inputs, {inputs.min():g} to "
            f"{inputs.max():g}, and {'scales them itself' if scales else 'has no layer that scales them'}",
            hint="Choose a teacher that was trained on the same classes and the same range of input values.",
        )


def _shape(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if length is None else str(length) for length in shape)})"
