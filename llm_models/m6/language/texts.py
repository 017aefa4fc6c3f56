"""Texts of any kind, tuned and written together: tasks as pairs of what is read and what follows.

::

    model = fit_texts(stack, tokenizer, {"product": product_prompts(items), "query": queries}, budget=budget)
    write_texts(model, {"product": product_prompts(new)}, Decoding(longest=40))

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.errors import UsageError
from bench.models import Budget, Progress, Selection
from llm_models.backbones.stack import Stack
from llm_models.m6.language.generation import Decoding, generate
from llm_models.m6.language.model import LanguageModel, Tuned
from llm_models.m6.language.rows import Row, Rows
from llm_models.m6.language.training import fit_rows
from llm_models.m6.wording import WritingPrompt

__all__ = ["fit_texts", "prompt_rows", "text_of", "train_texts", "write_texts"]

Prompts = Mapping[str, Sequence[WritingPrompt]]
"""Task -> its texts."""


def prompt_rows(packer: Rows, prompts: Prompts) -> list[Row]:
    """Rows of all tasks, one after the other."""
    return [
        row
        for task, own in prompts.items()
        for row in packer.rows(
            task,
            [prompt.source for prompt in own],
            [prompt.target_prefix for prompt in own],
            [prompt.target or "" for prompt in own],
        )
    ]


def fit_texts(
    stack: Stack,
    tokenizer: Any,
    texts: Prompts,
    *,
    budget: Budget,
    tuned: Tuned = "prompt-adapter",
    learning_rate: float = 2e-3,
    batch_tokens: int = 2048,
    held_out: Prompts | None = None,
    seed: int = 0,
    progress: Progress = lambda done, total, note="": None,
    **options: Any,
) -> tuple[LanguageModel, Selection]:
    """Tune a backbone on texts of one or several tasks, in mixed-task batches.

    Parameters
    ----------
    texts : mapping of str to sequence of WritingPrompt
        Task -> its texts; those without a target teach nothing and are left out.
    held_out : mapping, optional
        Texts of the same tasks: training keeps the weights under which theirs are likeliest. Without, the last ones.
    options
        Of :class:`~llm_models.m6.language.model.LanguageModel`: ``prompts``, ``rank``, ``reading``, ``max_source``,
        ``max_target``.

    Raises
    ------
    UsageError
        When a task has no text with a target.
    """
    model = LanguageModel(stack, tokenizer, list(texts), tuned=tuned, seed=seed, **options)
    kept = prompt_rows(model.rows, held_out or {})
    validate = (lambda: float(model.mean_likelihoods(kept).mean())) if kept else (lambda: 0.0)
    budget = budget if kept else budget.model_copy(update={"patience": 0})
    selection = train_texts(
        model,
        texts,
        learning_rate=learning_rate,
        batch_tokens=batch_tokens,
        budget=budget,
        seed=seed,
        validate=validate,
        progress=progress,
    )
    return model, selection


def train_texts(model: LanguageModel, prompts: Prompts, *, validate: Callable[[], float], **how: Any) -> Selection:
    """Train a model on texts; see :func:`~llm_models.m6.language.training.fit_rows` for ``how``.

    Raises
    ------
    UsageError
        When a task has no text with a target.
    """
    told = {task: [prompt for prompt in own if prompt.target] for task, own in prompts.items()}
    if untold := [task for task, own in told.items() if not own]:
        raise UsageError(f"{', '.join(untold)}: no text with a target, so there is nothing to learn from")
    return fit_rows(model, prompt_rows(model.rows, told), validate=validate, **how)


def write_texts(model: LanguageModel, prompts: Prompts, decoding: Decoding) -> dict[str, list[str]]:
    """Write what follows each prompt, all tasks in the same batches; task -> texts in order."""
    rows = prompt_rows(model.rows, prompts)
    texts = iter([text_of(model, tokens) for tokens in generate(model, rows, decoding)])
    return {task: [next(texts) for _ in own] for task, own in prompts.items()}


def text_of(model: LanguageModel, tokens: Sequence[int]) -> str:
    """Tokens as a text."""
    decoded = model.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=True)
    return " ".join(decoded.split())
