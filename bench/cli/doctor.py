"""``bench doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

__all__ = ["doctor"]


def wanted() -> dict[str, list[str]]:
    """Distributions that this one names, by extra ("core": without any); extras made of others are left out."""
    import re
    from importlib.metadata import requires

    found: dict[str, list[str]] = {"core": []}
    for line in requires("llm-rec-bench") or ():
        name = re.split(r"[^\w.-]", line)[0]
        extra = re.search(r"extra == ['\"]([\w.-]+)['\"]", line)
        if name != "llm-rec-bench" and (extra is None or extra[1] not in {"all", "dev"}):
            found.setdefault(extra[1] if extra else "core", []).append(name)
    return found


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
    for extra, names in wanted().items():
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
