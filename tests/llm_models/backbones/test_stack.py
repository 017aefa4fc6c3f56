"""A stack computes what Hugging Face's model computes, runs in parts, and goes on from a cache."""

import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.errors import UsageError  # noqa: E402
from llm_models.backbones.layout import Layout  # noqa: E402
from llm_models.backbones.locate import locate  # noqa: E402
from llm_models.backbones.stack import load_stack, load_tokenizer, stack_of  # noqa: E402

TINY = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 60}
NO_SPECIALS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _bert():
    return hf.BertModel(hf.BertConfig(**TINY, max_position_embeddings=64))


def _roberta():
    return hf.RobertaModel(hf.RobertaConfig(**TINY, max_position_embeddings=64))


def _modernbert():
    settings = {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8, "global_attn_every_n_layers": 3}
    return hf.ModernBertModel(hf.ModernBertConfig(**TINY, **NO_SPECIALS, **settings))


def _gpt2():
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(n_embd=32, n_layer=4, n_head=4, vocab_size=60, n_positions=64, **NO_SPECIALS)
    )


def _llama():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**TINY, **NO_SPECIALS, num_key_value_heads=2))


def _mistral():
    return hf.MistralForCausalLM(hf.MistralConfig(**TINY, **NO_SPECIALS, num_key_value_heads=2, sliding_window=5))


def _qwen2():
    return hf.Qwen2ForCausalLM(hf.Qwen2Config(**TINY, **NO_SPECIALS, num_key_value_heads=2))


def _qwen3():
    return hf.Qwen3ForCausalLM(hf.Qwen3Config(**TINY, **NO_SPECIALS, num_key_value_heads=2, head_dim=16))


MADE = {
    "bert": _bert,
    "roberta": _roberta,
    "modernbert": _modernbert,
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}


@pytest.fixture(params=MADE)
def model(request):
    torch.manual_seed(3)
    made = MADE[request.param]().eval()
    for name, weight in made.named_parameters():  # biases and norms start at 0 and 1, which would hide a slip
        if weight.ndim == 1 or "position" in name:
            torch.nn.init.normal_(weight, 1.0 if "norm" in name.lower() or "ln_" in name else 0.0, 0.2)
    return made


def _tokens(rows=3, tokens=17):
    return torch.randint(3, 60, (rows, tokens), generator=torch.Generator().manual_seed(5))


def _forward(stack, tokens, visible, positions=None, **options):
    positions = torch.arange(tokens.shape[1])[None] if positions is None else positions
    return stack.run(stack.begin(stack.words(tokens), positions), visible, positions, **options)


def _causal(tokens):
    return torch.ones(1, tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()


@torch.inference_mode()
def test_the_forward_pass_is_hugging_faces_under_the_mask_of_the_original(model):
    stack, tokens = stack_of(model), _tokens()
    if stack.kind == "encoder":
        expected = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
        found = _forward(stack, tokens, None).hidden
    else:
        expected = model(input_ids=tokens).logits
        found = stack.head(_forward(stack, tokens, _causal(tokens)).hidden)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("model", ["bert", "roberta", "modernbert"], indirect=True)
def test_padding_changes_nothing_of_an_encoder(model):
    stack, tokens = stack_of(model), _tokens(2)
    attention = torch.ones_like(tokens)
    attention[1, 9:] = 0
    tokens = tokens.where(attention.bool(), torch.tensor(model.config.pad_token_id))
    expected = model(input_ids=tokens, attention_mask=attention).last_hidden_state
    layout = Layout.of([[(17, False)], [(9, False)]])
    found = _forward(stack, tokens, layout.visible(blocks=False)).hidden
    torch.testing.assert_close(found[layout.real], expected[layout.real], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_layers_run_in_parts_are_the_layers_run_at_once(model):
    stack, tokens = stack_of(model), _tokens()
    positions = torch.arange(17)[None]
    visible = _causal(tokens)
    whole = _forward(stack, tokens, visible, every_layer=True)
    lower = _forward(stack, tokens, visible, last=2)
    torch.testing.assert_close(lower.hidden, whole.layers[1])
    upper = stack.run(lower.hidden, visible, positions, first=2)
    torch.testing.assert_close(upper.hidden, whole.hidden)


@torch.inference_mode()
def test_states_wanted_at_some_places_are_those_of_the_whole(model):
    stack, tokens = stack_of(model), _tokens()
    at = torch.tensor([[16, 3], [0, 0], [7, 9]])
    for visible in (None, _causal(tokens)):
        whole = _forward(stack, tokens, visible).hidden
        some = _forward(stack, tokens, visible, at=at).hidden
        torch.testing.assert_close(some, whole.take_along_dim(at.unsqueeze(-1), dim=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_gradients_in_bfloat16_are_those_in_float32_to_its_precision(model, masked):
    tokens = _tokens(2, 11)
    found = []
    for kind in (torch.float32, torch.bfloat16):
        stack = stack_of(model.to(kind))
        start = stack.begin(stack.words(tokens), torch.arange(11)[None]).detach().float().requires_grad_()
        visible = _causal(tokens) if masked else None
        run = stack.run(start.to(kind), visible, torch.arange(11)[None])
        run.hidden.float().pow(2)[:, -1, :5].sum().backward()
        found.append(start.grad.flatten())
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.98


@torch.inference_mode()
def test_a_target_read_after_the_cached_source_is_the_target_read_in_one_pass(model):
    stack, tokens = stack_of(model), _tokens(4, 12)
    tokens[:, :7] = tokens[0, :7]  # four candidates of one user
    layout = Layout.of([[(3, False), (4, False), (5, True)]] * 4)
    whole = _forward(stack, tokens, layout.visible(blocks=False))
    source = Layout.of([[(3, False), (4, False)]])
    user = _forward(stack, tokens[:1, :7], source.visible(blocks=False), keep=True)
    torch.testing.assert_close(user.hidden.expand(4, -1, -1), whole.hidden[:, :7], atol=1e-5, rtol=1e-5)
    after = _forward(
        stack,
        tokens[:, 7:],
        layout.visible(blocks=False)[:, 7:],
        torch.arange(7, 12)[None],
        past=user.cache,
    )
    torch.testing.assert_close(after.hidden, whole.hidden[:, 7:], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_queries_or_keys_and_values_alone_are_those_of_the_whole_projection(model):
    stack = stack_of(model)
    hidden, positions = torch.randn(2, 5, stack.width), torch.arange(5)[None]
    for block in stack.blocks:
        rotation = stack.rotation(positions, block)
        queries, own = block.project(hidden, rotation)
        torch.testing.assert_close(block.queries(hidden, rotation), queries)
        torch.testing.assert_close(block.keys_values(hidden, rotation), own)


@torch.inference_mode()
def test_what_is_added_to_a_feed_forward_network_sees_its_input(model):
    stack, tokens = stack_of(model), _tokens()
    plain = _forward(stack, tokens, None).hidden
    nothing = _forward(stack, tokens, None, adapters=lambda layer: torch.zeros_like).hidden
    torch.testing.assert_close(nothing, plain)
    third = _forward(
        stack, tokens, None, adapters=lambda layer: (lambda z: 0.5 * z) if layer == 2 else None, every_layer=True
    )
    torch.testing.assert_close(third.layers[1], _forward(stack, tokens, None, every_layer=True).layers[1])
    assert (third.hidden - plain).abs().max() > 1e-3


def test_all_weights_of_a_stack_are_frozen(model):
    assert not any(weight.requires_grad for weight in stack_of(model).parameters())


def test_a_model_of_two_stacks_is_refused_by_name():
    config = hf.T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=20)
    with pytest.raises(UsageError, match="'t5' is not supported"):
        stack_of(hf.T5ForConditionalGeneration(config))


def test_the_packaged_minilm_loads_from_its_files():
    files = locate("packaged-minilm")
    stack, tokenizer = load_stack(files), load_tokenizer(files)
    expected = hf.AutoModel.from_pretrained(files.folder, local_files_only=True).eval()
    asked = tokenizer(["a lipstick in deep red"], return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(
            _forward(stack, asked["input_ids"], None).hidden, expected(**asked).last_hidden_state, atol=1e-5, rtol=1e-5
        )
    assert (stack.width, stack.depth, stack.longest, stack.head) == (384, 6, 512, None)
