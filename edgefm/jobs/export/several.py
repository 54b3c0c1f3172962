"""A bundle of several models: a folder each, with its card; the code that feeds them stands there once."""

from __future__ import annotations

from collections.abc import Mapping

from edgefm.core.text import Markdown, code
from edgefm.jobs.export.card import filled, notice, quality_words
from edgefm.jobs.export.facts import measured
from edgefm.jobs.export.models import MeantModel
from edgefm_converters.bundles.parts import BundleParts

USE = f"""\
| file | what it is |
|---|---|
| `model.tflite`, `contract.json`, `labels.txt`, `golden/` | the model and what an adapter needs of it |

How an app takes it stands in the `README.md` of the folder above. {code("manifest.json")} there holds their sums."""


def several_files(
    meant: Mapping[str, MeantModel], parts: Mapping[str, BundleParts], *, pictures: str
) -> dict[str, bytes]:
    """Return the files of a bundle for Android of several models, by path.

    Args:
      meant: the models by their folder, the first is what the demo opens.
      parts: what is written of each.
      pictures: what to say of sample pictures, Markdown; '' where there are none.
    """
    from edgefm_converters.bundles import for_android
    from edgefm_converters.bundles.parts import CARD_FILE, about_files, model_files

    models = list(parts.values())
    rows = [
        {
            "folder": f"{name}/",
            "model": f"{part.contract.name}, {part.contract.variant}",
            "bytes": len(part.model),
            "input": f"{part.contract.input.dtype} {list(part.contract.input.shape)}",
            "quality": quality_words(measured(meant[name].run, part.contract)),
        }
        for name, part in parts.items()
    ]
    page = filled(
        "several.md.j2",
        names=", ".join(parts),
        rows=rows,
        version=models[0].version,
        golden=len(models[0].golden),
        use=Markdown(for_android.use(list(parts)) + pictures),
    )
    return {
        **{f"{name}/{path}": content for name, part in parts.items() for path, content in model_files(part).items()},
        **for_android.code_files(list(parts)),
        **about_files(models, for_android.NEEDS, notice=notice(part.golden.source.get("name") for part in models)),
        CARD_FILE: page.encode(),
    }
