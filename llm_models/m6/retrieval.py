"""M6-Rec retrieval with a tuned backbone: two normalised projections of what a language model makes of texts.

No id is ever shown to the model, so users and items never seen in training are served like any other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.errors import MissingInputError, ModelError, UsageError
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    RankedLists,
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)
from llm_models.backbones.locate import locate
from llm_models.m6.retrieval_settings import RetrievalSettings
from llm_models.m6.templates import load_template

if TYPE_CHECKING:
    from llm_models.m6.heads import Heads
    from llm_models.m6.retrieval_network import RetrievalNetwork
    from llm_models.m6.retrieval_serving import Server
    from llm_models.m6.retrieval_texts import FrozenTexts

__all__ = ["Retrieval"]


class Retrieval(Recommender):
    """Retrieval by text: cosine of a user's and an item's projections, of a backbone that is tuned for them.

    The score is ``<x, y>``, plus, where the settings say so, a prior of the item's text, and the weighed cosines of
    frozen vectors and of TF-IDF rows. A sequential request is answered from the items it shows, a direct one from the
    user's training items.
    """

    Settings: ClassVar[type[Settings]] = RetrievalSettings
    capabilities = Capabilities(cold_users="natively", cold_items="natively", needs_text=True)
    version = "1"
    side = "llm"
    libraries = ("numpy", "scikit-learn", "scipy", "tokenizers", "torch", "transformers")
    preload = ("llm_models.m6.retrieval_training",)

    settings: RetrievalSettings

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._training: Training | None = None
        self._server: Server | None = None

    @classmethod
    def label(cls, settings: Settings) -> str:
        """For example ``"M6 retrieval (MiniLM, adapters of rank 32 after layer 5, 128-d, + lexical)"``."""
        assert isinstance(settings, RetrievalSettings)
        s = settings
        prompts, adapters = f"{s.prompts} soft prompts", f"adapters of rank {s.rank}"
        tuned = {
            "head": "frozen",
            "prompt": prompts,
            "adapter": adapters,
            "prompt-adapter": f"{prompts} and {adapters}",
            "full": "fully tuned",
        }[s.method]
        parts = [s.backbone_name, f"{tuned} after layer {s.late}" if s.runs_late else tuned, f"{s.dim}-d"]
        parts += ["ordered users"] if s.user == "ordered" else []
        parts += [f"{s.pooling} pooling"] if s.pooling != "mean" else []
        parts += [f"template {s.template}"] if s.template != "described" else []
        parts += ["+ lexical"] if s.lexical else []
        parts += [f"+ {s.lexical_residual:g} TF-IDF cosine"] if s.lexical_residual else []
        parts += ["+ text prior"] if s.prior else []
        parts += [f"+ {s.residual:g} zero-shot"] if s.residual else []
        parts += [f"{s.hard_negatives} hard negatives"] if s.hard_negatives else []
        return f"M6 retrieval ({', '.join(parts)})"

    @classmethod
    def identity(cls, settings: Settings) -> dict[str, str]:
        """Digests of the backbone's weights, tokenizer and configuration, and of the templates."""
        assert isinstance(settings, RetrievalSettings)
        files = locate(settings.backbone, revision=settings.backbone_revision, weights_sha256=settings.backbone_sha256)
        words = {"lexical_template": load_template(settings.words_template).digest} if settings.lexical else {}
        return {**files.digests, "template": load_template(settings.template).digest, **words}

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Read the training items once, then train on pairs of a history and the item that followed.

        Raises
        ------
        MissingInputError
            When no training item has a title.
        ModelError
            When no user has two training items with text, or the budget would never end.
        UsageError
            When ``late`` leaves no layer to tune, or one setting has no effect beside the others.
        """
        from llm_models.m6.heads import Heads
        from llm_models.m6.lexical import Words
        from llm_models.m6.retrieval_serving import Server
        from llm_models.m6.retrieval_training import Items, Trainer
        from llm_models.m6.training import training_pairs

        if not training.has_text:
            raise MissingInputError(
                "M6 retrieval reads item titles, and this dataset has none here: add the file of items that its card "
                "names (`bench data show` prints where it is looked for), or leave this model out"
            )
        self.settings.must_agree()
        budget.must_end()
        settings, texts = self.settings, self._texts()
        read_before = texts.tokens_read
        words = None
        if settings.lexical:
            written = load_template(settings.words_template).write_items(training.items)
            words = Words.learn(written, settings.ngram_max)
        server = Server(texts, settings, words, np.zeros(texts.width, np.float32))
        table = server.table(training.items, lambda done, total: progress(done, total, "reading items"))
        if settings.center:
            server = Server(texts, settings, words, table.items.raw().mean(axis=0))
            table = server.table(training.items)
        sequences = table.items.rows_of(training.sequences)
        pairs = training_pairs(sequences, window=settings.window, targets_per_user=settings.targets_per_user)
        if not len(pairs):
            raise ModelError("M6 retrieval needs a user with two training items that have text; there is none")
        start = (
            Heads.principal(table.frozen[table.items.has_text], settings.dim)
            if settings.start == "principal"
            else Heads.random(texts.width, settings.dim, seed)
        )
        self._training, self._server = training, server
        network = server.network = self._made(server, start, seed)
        trainer = Trainer(network, Items(texts, table.row, table.frozen, table.words), pairs, settings)

        def number() -> float:
            server.forget()
            return validate(self)

        selection = trainer.train(budget=budget, seed=seed, validate=number, progress=progress)
        server.forget()
        trained = network.trained()
        inside = sum(weight.numel() for name, weight in trained.items() if name.startswith("m6.stack."))
        count = sum(weight.numel() for weight in trained.values())
        return FitReport(
            parameters_trained=count,
            parameters_total=sum(weight.numel() for weight in network.m6.stack.parameters()) + count - inside,
            notes={
                **self.identity(settings),
                "tokens_read": texts.tokens_read - read_before,
                "pairs": len(pairs),
                "backbone_tuned": not network.frozen,
                "words": 0 if words is None else len(words),
            },
            **selection.report_fields(),
        )

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Scores, shape (requests, candidates); NaN for an item without text and for a user of whom none is known."""
        training, server, _ = self._fitted()
        settings = self.settings
        user, item = server.users(requests, training), server.items(server.table(requests.catalogue.text))
        scores = user.projected @ item.projected.T
        if settings.residual:
            scores += settings.residual * (user.frozen @ item.frozen.T)
        if settings.lexical_residual:
            assert user.words is not None
            assert item.words is not None
            scores += settings.lexical_residual * (user.words @ item.words.T).toarray()
        scores[~user.known] = np.nan
        scores[:, ~item.known] = np.nan
        return scores

    def rank(self, requests: Requests, k: int, *, exclude: Ragged) -> RankedLists:
        """List the best ``k`` candidates of every request by exact search, past a million candidates with FAISS.

        The harness asks for scores; this is how a large catalogue is served. Where TF-IDF cosines weigh in, items are
        no dense vectors, and all are scored.

        Raises
        ------
        MissingInputError
            When FAISS is needed and not installed.
        """
        from llm_models.m6.search import Index, best

        codes, settings = requests.catalogue.items, self.settings
        if settings.lexical_residual:
            scores = self.score(requests)
            known = ~np.isnan(scores).all(axis=1)
            hidden = _among(codes, exclude)
            scores[hidden.row_of, hidden.values] = np.nan
            found = best(scores, k)
            return RankedLists(Ragged(found.rows.offsets, codes[found.rows.values]), found.scores, known)
        training, server, _ = self._fitted()
        user, item = server.users(requests, training), server.items(server.table(requests.catalogue.text))
        share, kept = np.float32(settings.residual**0.5), codes[item.known]
        index = Index(np.concatenate([item.projected, share * item.frozen], axis=1)[item.known])
        asked = np.concatenate([user.projected, share * user.frozen], axis=1)
        found = index.top(asked, k, exclude=_among(kept, exclude))
        keep = user.known[found.rows.row_of]
        rows = found.rows.keep(keep)
        return RankedLists(Ragged(rows.offsets, kept[rows.values]), found.scores[keep], user.known)

    def save(self, folder: Path) -> None:
        """Write what training gave; the backbone is only referred to, by its digests."""
        import torch
        from safetensors.torch import save_file

        training, server, network = self._fitted()
        arrays = {
            "training.user": training.user,
            "training.offsets": training.sequences.offsets,
            "training.values": training.sequences.values,
            "center": server.center,
            "frozen": np.array([network.frozen]),
        }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        tensors |= {f"trained.{name}": weight.detach() for name, weight in network.trained().items()}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / "m6.safetensors")
        training.items.write_parquet(folder / "items.parquet")
        if server.words is not None:
            server.words.save(folder)
        (folder / "identity.json").write_text(json.dumps(self.identity(self.settings), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read a saved model.

        Raises
        ------
        ModelError
            When the backbone or a template is not the one it was fitted with.
        """
        import torch
        from safetensors.torch import load_file

        from llm_models.m6.heads import Heads
        from llm_models.m6.lexical import Words
        from llm_models.m6.retrieval_serving import Server

        model = cls(settings, device=device)
        saved, now = json.loads((folder / "identity.json").read_text(encoding="utf-8")), cls.identity(settings)
        for name, digest in now.items():
            if saved.get(name) != digest:
                raise ModelError(
                    f"{folder}: fitted with {name} {saved.get(name)}, but the settings give {digest}; fit it again"
                )
        tensors = load_file(folder / "m6.safetensors")
        model._training = Training(
            user=tensors["training.user"].numpy(),
            sequences=Ragged(tensors["training.offsets"].numpy(), tensors["training.values"].numpy()),
            time=None,
            rating=None,
            items=pl.read_parquet(folder / "items.parquet"),
        )
        words = Words.load(folder, model.settings.ngram_max) if model.settings.lexical else None
        server = model._server = Server(model._texts(), model.settings, words, tensors["center"].numpy())
        user, item = (torch.zeros_like(tensors[f"trained.{side}.weight"]) for side in ("user", "item"))
        network = server.network = model._made(server, Heads(user, item), 0)
        network.frozen = bool(tensors["frozen"])
        with torch.no_grad():
            for name, weight in network.trained().items():
                weight.copy_(tensors[f"trained.{name}"])
        return model

    def _texts(self) -> FrozenTexts:
        """The reader of texts, which keeps the states that the tuned layers start from."""
        from llm_models.m6.retrieval_texts import shared_texts

        s = self.settings
        files = locate(s.backbone, revision=s.backbone_revision, weights_sha256=s.backbone_sha256)
        texts = shared_texts(files, s.late if s.runs_late else None, s.max_tokens, s.dtype, self.device)
        if s.runs_late and texts.late >= texts.stack.depth:
            raise UsageError(
                f"m6-retrieval: late is {s.late}, but {s.backbone_name} has {texts.stack.depth} layers, and the ones "
                f"after it are tuned: set late to {texts.stack.depth - 1} or less, or method to head"
            )
        return texts

    def _made(self, server: Server, start: Heads, seed: int) -> RetrievalNetwork:
        from llm_models.m6.retrieval_network import RetrievalNetwork

        words = 0 if server.words is None else len(server.words)
        return RetrievalNetwork(server.texts, self.settings, start, words=words, center=server.center, seed=seed)

    def _fitted(self) -> tuple[Training, Server, RetrievalNetwork]:
        if self._training is None or self._server is None or self._server.network is None:
            raise ModelError("fit or load this model before asking it anything")
        return self._training, self._server, self._server.network


def _among(codes: NDArray[np.int32], items: Ragged) -> Ragged:
    """Items as positions in sorted codes; others are left out."""
    place = np.searchsorted(codes, items.values).clip(max=max(len(codes) - 1, 0))
    known = codes[place] == items.values if len(codes) else np.zeros(len(place), bool)
    return Ragged.from_lengths(items.lengths, place).keep(known)
