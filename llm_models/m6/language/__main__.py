"""Tune a backbone on a file of texts, and write those that are missing.

::

    python -m llm_models.m6.language --task title --file items.jsonl.gz --steps 300 --out written.jsonl

Lines that hold what is to be written teach it; a share of them is held out to choose the weights. Lines without are
answered; where every line teaches, the held-out ones are answered, with what they hold beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import BenchError, UsageError
from bench.models import Budget
from llm_models.m6.behaviour import Writer, load_behaviour
from llm_models.m6.language.files import FORMATS, read_conversations, read_products, read_queries, read_titles
from llm_models.m6.language.recommender import BEHAVIOUR, backbone_files
from llm_models.m6.language.settings import WriterSettings
from llm_models.m6.wording import WritingPrompt

__all__ = ["main"]

EVALUATIONS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        _run(asked)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    own = WriterSettings()
    parser = argparse.ArgumentParser(
        prog="python -m llm_models.m6.language",
        description="Tune a backbone on a file of texts, and write missing ones.",
    )
    parser.add_argument("--task", required=True, choices=sorted(FORMATS))
    parser.add_argument("--file", required=True, type=Path, help="JSON Lines, .gz or not")
    parser.add_argument("--out", required=True, type=Path, help="JSON Lines with what was written")
    parser.add_argument("--backbone", default=own.backbone, help="a folder, a hub name, or packaged-minilm")
    parser.add_argument("--tuned", default=own.tuned, choices=["head", "prompt", "adapter", "prompt-adapter", "full"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=own.learning_rate)
    parser.add_argument("--max-source", type=int, default=own.max_source, help="tokens that are read")
    parser.add_argument("--longest", type=int, default=own.longest, help="tokens that are written")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--top-p", type=float, help="draw from the likeliest tokens instead")
    parser.add_argument("--most", type=int, help="lines that are learned from, drawn at random")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the lines that teach")
    parser.add_argument("--answers", type=int, default=1000, help="texts that are written")
    parser.add_argument("--turns", type=int, help="of a conversation, that are read")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _prompts(asked: argparse.Namespace) -> list[WritingPrompt]:
    if asked.task == "conversation":
        return read_conversations(asked.file, last=asked.turns)
    if asked.task == "query":
        return read_queries(asked.file, Writer(load_behaviour(BEHAVIOUR), None, window=WriterSettings().window))
    return read_titles(asked.file) if asked.task == "title" else read_products(asked.file)


def _run(asked: argparse.Namespace) -> None:
    if not 0 < asked.held_out < 1:
        raise UsageError(f"--held-out is a share between 0 and 1, not {asked.held_out:g}")
    prompts = _prompts(asked)
    order = np.random.default_rng(asked.seed).permutation(len(prompts))
    told = [prompts[place] for place in order if prompts[place].target]
    held = math.ceil(len(told) * asked.held_out)
    if held == len(told):
        raise UsageError(f"{asked.file}: one line that teaches is too few, as some are held out")
    held_out, learned = told[:held], told[held:][: asked.most]
    wanted = [prompt for prompt in prompts if not prompt.target] or held_out

    from llm_models.backbones.stack import load_stack, load_tokenizer
    from llm_models.m6.language.casing import Casing, forgets_case
    from llm_models.m6.language.generation import Decoding
    from llm_models.m6.language.texts import fit_texts, write_texts

    files = backbone_files(WriterSettings(backbone=asked.backbone))
    model, selection = fit_texts(
        load_stack(files),
        load_tokenizer(files),
        {asked.task: learned},
        held_out={asked.task: held_out[: asked.answers]},
        budget=Budget(max_steps=asked.steps, eval_every_steps=max(1, asked.steps // EVALUATIONS), patience=EVALUATIONS),
        tuned=asked.tuned,
        learning_rate=asked.learning_rate,
        seed=asked.seed,
        reading="prefix",
        max_source=asked.max_source,
        max_target=WriterSettings().max_target + asked.longest,
        progress=lambda done, total, note="": print(f"step {done} of {total}: {note}", file=sys.stderr),
    )
    decoding = Decoding(
        by="beams" if asked.top_p is None else "top-p",
        beams=asked.beams,
        top_p=asked.top_p or 1.0,
        no_repeat=WriterSettings().no_repeat,
        longest=asked.longest,
        seed=asked.seed,
    )
    texts = write_texts(model, {asked.task: wanted[: asked.answers]}, decoding)[asked.task]
    if forgets_case(model.tokenizer):
        casing = Casing.learn(prompt.target or "" for prompt in learned)
        texts = [casing.restore(text) for text in texts]
    with asked.out.open("w", encoding="utf-8") as out:
        for prompt, text in zip(wanted, texts, strict=False):
            line = {"source": prompt.source, "prefix": prompt.target_prefix, "written": text, "actual": prompt.target}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    trained = sum(weight.numel() for weight in model.trained().values())
    head = "its own" if model.head.pretrained else "trained here"
    before, after = (math.exp(-value) for value in (selection.curve[0]["validation"], selection.best_value))
    print(f"{len(learned)} texts learned from, {trained:,} of {model.parameters_total:,} parameters trained")
    print(f"language-model head: {head}")
    print(f"held-out perplexity {before:.1f} at the start, {after:.1f} at step {selection.best_step} of {asked.steps}")
    print(f"{len(texts)} texts in {asked.out}")


if __name__ == "__main__":
    sys.exit(main())
