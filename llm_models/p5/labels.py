"""What a table calls a P5: what was run, and what is not as usual about it."""

from __future__ import annotations

from pathlib import Path

from llm_models.p5.asking import collection
from llm_models.p5.settings import P5Settings, parameter_count

__all__ = ["label"]

_METHODS = {"kmeans": "k-means", "rq-vae": "RQ-VAE"}


def label(settings: P5Settings) -> str:
    """``P5 (T5-scratch 0.9 M, random ids)``, followed by what differs from the defaults."""
    if settings.checkpoint:
        size = f"checkpoint {Path(settings.checkpoint).name}"
    elif settings.pretrained:
        size = f"{Path(settings.pretrained).name}, pretrained"
    else:
        size = f"T5-scratch {parameter_count(settings) / 1e6:.1f} M"
    return f"P5 ({', '.join([size, *_learning(settings), *_asking(settings)])})"


def _learning(settings: P5Settings) -> list[str]:
    """The ids, and what else it learns from."""
    usual = P5Settings()
    ids = {
        "sequential-original": "original sequential ids (leaking)",
        "semantic": f"semantic ids ({_METHODS[settings.method]}{', MiniLM' * (settings.embedder == 'minilm')})",
    }
    said = [ids.get(settings.index, f"{settings.index} ids")]
    if settings.user_index != usual.user_index:
        said.append(f"{settings.user_index} user ids")
    if settings.families is not None:
        said.append(f"{' and '.join(settings.families)} only")
    if isinstance(settings.sampling, str):
        said.append(f"{settings.sampling} sampling")
    if settings.windows != usual.windows:
        said.append(f"{settings.windows} windows")
    if not settings.extra:
        said.append("no extra prompts")
    return said


def _asking(settings: P5Settings) -> list[str]:
    """How it is asked."""
    usual = P5Settings()
    changed = {name for name in settings.asking if getattr(settings, name) != getattr(usual, name)}
    said = []
    if settings.prompt == "held-out":
        said.append("held-out prompts")
    elif settings.prompt == "each":
        said.append("each prompt")
    elif settings.prompt is not None:
        group = collection(settings.prompts, settings.extra).template(settings.prompt).group
        said.append(f"prompt {settings.prompt}{ {'seen': '', 'held-out': ' held out'}.get(group, ' unseen') }")
    if both := sorted(changed & {"sequential", "direct"}):
        said.append("yes/no" if len(both) == 2 else f"{both[0]} by yes/no")
    if settings.decode == "exhaustive":
        said.append("exhaustive")
    elif "beams" in changed:
        said.append(f"{settings.beams} beams")
    if settings.stars == "greedy":
        said.append("greedy stars")
    if "text_beams" in changed:
        said.append(f"texts by {settings.text_beams} beams")
    if changed & {"shortest_text", "longest_text"}:
        said.append(f"texts of {settings.shortest_text} to {settings.longest_text} tokens")
    if settings.quirks:
        said.append(f"quirks: {', '.join(settings.quirks)}")
    return said
