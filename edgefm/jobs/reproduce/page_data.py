"""The section of a reproduction's page on the data that it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefm.jobs.reproduce.page_text import NOT_YET, how


def section(facts: Mapping[str, Any] | None, pictures: str) -> list[str]:
    """Return what S2 shows of the data: principal components, t-SNE, the balance of the classes."""
    said = "S2 shows the data by principal components and by t-SNE, and keeps 187 components for 95 % of the variance."
    if facts is None:
        return [f"{said} {NOT_YET.capitalize()}: {how('pca_dnn')}"]
    t_sne = (
        f" t-SNE of {facts['embedded']:,} of them (perplexity {facts['perplexity']:g}) keeps neighbours beside each "
        "other; distances between groups mean little in it."
        if facts["perplexity"] is not None
        else ""
    )
    counts = ", ".join(
        f"{split} {min(each):,} to {max(each):,}" if min(each) != max(each) else f"{split} {min(each):,}"
        for split, each in facts["counts"].items()
    )
    return [
        f"{said} Of {facts['n']:,} training images {facts['needed']} components keep {100 * facts['wanted']:g} %; "
        f"S2's {facts['stated']} keep {100 * facts['stated_share']:.2f} %.",
        f"![Variance of the principal components]({pictures}variance.png)",
        f"The first two components, {facts['drawn']:,} images drawn evenly from the classes.{t_sne}",
        f"![The images by their first two principal components and by t-SNE]({pictures}classes.png)",
        f"Images of each class: {counts}.",
        f"![Images of each class]({pictures}balance.png)",
    ]
