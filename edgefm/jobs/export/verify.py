"""`edgefm.verify`: whether a bundle is whole, and whether its model answers here as its golden vectors say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.jobs.arguments import optional_path
from edgefm.jobs.export.signature import FILE_NAME as SIGNATURE_FILE
from edgefm.jobs.export.signature import problem_of
from edgefm.tflite import contract as contracts

if TYPE_CHECKING:
    from edgefm_converters.bundles.golden import GoldenVectors


@dataclass(frozen=True, kw_only=True)
class CheckedFamily:
    """The answers of one kernel family, held against this machine's.

    Attributes:
      model: name of the model's folder in the bundle; '' where the only one lies at the top.
      name: of the family.
      held: whether they are within its tolerance.
      text: what was found.
    """

    name: str
    held: bool
    text: str
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class VerificationResult(JsonResult):
    """What was found of a bundle.

    Attributes:
      folder: of the bundle.
      kind: of the bundle, e.g. 'python'.
      written_by: name and version of what wrote it.
      problems: what is not as it was written, in sentences; () where it is whole.
      families: what the golden vectors say; () where files are changed, or nothing was run.
      signature: 'held', 'failed' (problems says why), 'not checked' (there is one, but no key was given) or 'none'.
    """

    folder: Path
    kind: str
    written_by: str
    problems: tuple[str, ...]
    families: tuple[CheckedFamily, ...]
    signature: str

    @property
    def held(self) -> bool:
        """Whether the bundle is whole, and all answers that were asked for are within their tolerance."""
        return not self.problems and all(family.held for family in self.families)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {**asdict(self), "folder": str(self.folder), "problems": list(self.problems), "held": self.held,
                "families": [asdict(family) for family in self.families]}  # fmt: skip

    def _repr_html_(self) -> str:
        rows = [["", problem] for problem in self.problems]
        rows += [["held" if family.held else "FAILED", family.text] for family in self.families]
        return html.table(rows or [["held", "every file is as it was written"]], ["", str(self.folder)])


def verify(
    bundle: PathLike, *, run: bool = True, key: PathLike | None = None, progress: Progress | bool | None = None
) -> VerificationResult:
    """Check a bundle: each file against the manifest, each contract against its model, the answers against the vectors.

    No code of the bundle is run. Who wrote it is known only where it is signed and the signer's public key is given.

    Args:
      bundle: folder that `edgefm.export` wrote.
      run: run the models on their golden inputs, by LiteRT's kernels on this machine.
      key: public elliptic-curve key in PEM that the bundle must be signed by; None checks no signature.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: the folder is no bundle, or a newer edgefm wrote it.
      RecipeError: the key is missing, or none.
      RuntimeUnavailableError: a key is given, and model-signing is not installed.
    """
    from edgefm_converters.bundles.manifest import changes, model_folders, read_manifest
    from edgefm_converters.bundles.parts import MODEL_FILE

    folder = as_path(bundle, "bundle")
    check_type(run, "run", bool, "True or False")
    manifest = read_manifest(folder)
    public_key = optional_path(key, "key")
    problems = list(changes(folder, manifest, beside=(SIGNATURE_FILE,)))
    signature = "not checked" if (folder / SIGNATURE_FILE).exists() else "none"
    if public_key is not None:
        wrong = problem_of(folder, public_key)
        problems += [] if wrong is None else [wrong]
        signature = "held" if wrong is None else "failed"
    families: list[CheckedFamily] = []
    if not problems:
        names = model_folders(manifest)
        problems += () if names else (f"it holds no {MODEL_FILE}",)
        with shown(progress) as receiver:
            for name in names:
                try:
                    golden = _consistent(folder / name)
                except ModelError as error:
                    problems.append(f"{name}: {error.message}" if name else error.message)
                else:
                    families += _families(folder / name, name, golden, receiver) if run else ()
    return VerificationResult(
        folder=folder,
        kind=manifest["bundle"],
        written_by=manifest["written_by"],
        problems=tuple(problems),
        families=tuple(families),
        signature=signature,
    )


def _consistent(folder: Path) -> GoldenVectors:
    """Return the golden vectors of a model in a bundle.

    Raises:
      ModelError: its contract or labels are of another model, or the vectors cannot be read.
    """
    from edgefm_converters.bundles.golden import read_golden
    from edgefm_converters.bundles.parts import LABELS_FILE, MODEL_FILE

    contract = contracts.read(folder / MODEL_FILE)
    if contract is None:
        raise ModelError(f"{contracts.FILE_NAME} is of another file than {MODEL_FILE}")
    golden = read_golden(folder, of=contract)
    labels = folder / LABELS_FILE
    lines = labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else []
    if lines != [" ".join(label.splitlines()) for label in contract.labels]:
        raise ModelError(f"{LABELS_FILE} has {len(lines)} labels, the contract {len(contract.labels)}, or others")
    return golden


def _families(folder: Path, name: str, golden: GoldenVectors, progress: Progress) -> list[CheckedFamily]:
    """Return how the golden answers compare with those of LiteRT's kernel sets on this machine."""
    from edgefm.agreement.asking import ask
    from edgefm.agreement.cells import HOST, AgreementCell
    from edgefm.jobs.export.golden import KERNELS
    from edgefm_converters.bundles.golden import differences
    from edgefm_converters.bundles.parts import MODEL_FILE

    checked = []
    which = f"{name.rpartition('/')[2]}: " if name else ""
    for place, family in enumerate(golden.families):
        runtime = KERNELS.get(family.name, KERNELS["xnnpack"])
        progress.step("golden vectors", place, len(golden.families), {"kernels": runtime})
        answers = ask(AgreementCell(runtime=runtime, target=HOST), folder / MODEL_FILE, golden.inputs)
        apart, share = differences(answers.outputs, family.outputs)
        held, largest = family.tolerance.holds(apart, share), max(apart)
        alike = (
            f"at most {largest:.3g} apart, {100 * share:.1f} % of the values differ" if share else "equal bit for bit"
        )
        text = f"{which}{family.title}: {len(golden)} golden vectors, {alike} ({runtime} here, {family.made_by} there)"
        checked.append(CheckedFamily(model=name, name=family.name, held=held, text=text))
    progress.step("golden vectors", len(golden.families), len(golden.families))
    return checked
