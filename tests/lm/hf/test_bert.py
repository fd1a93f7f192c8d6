"""MiniLM in torch: on a small random BERT against transformers, and the real one against the numpy path."""

import json
import threading

import numpy as np
import pytest

pytest.importorskip("torch", reason="this encoder is an option where torch is installed")
pytest.importorskip("transformers", reason="the reference")
pytest.importorskip("tokenizers")

import torch  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402
from transformers import BertConfig, BertModel  # noqa: E402

from hexarec.core import CancelledError, ModelError, OptionError, run  # noqa: E402
from hexarec.core.run import Cancel  # noqa: E402
from hexarec.data.films import catalog  # noqa: E402
from hexarec.lm import models as installed  # noqa: E402
from hexarec.lm.base import Encoder  # noqa: E402
from hexarec.lm.encode import MiniLM  # noqa: E402
from hexarec.lm.hf import eightbit, minilm  # noqa: E402
from hexarec.lm.hf.bert import Block, Product, Shape, Span, spans  # noqa: E402
from hexarec.lm.open import open_encoder  # noqa: E402
from hexarec.parts.encoded import encoded, forget_encoded  # noqa: E402

DTYPES = ("float32", "bfloat16", "int8")
APART = {"float32": 1e-5, "bfloat16": 5e-3, "int8": 2e-2}  # of a row in two batches, as the docstring says
WORDS = "the a sea ship man love war of and star toy story heat last first red blue night day king 1994 1995 ( ) :"
TEXTS = [
    "the sea and the ship",
    "",
    "a",
    "toy story ( 1995 )",
    "love " * 400,
    "heat",
    "the last king of the red night",
    "unheard",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """2 layers, width 64, 4 heads, in the files of the real one."""
    place = tmp_path_factory.mktemp("bert")
    vocabulary = {word: row for row, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS.split()])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.save(str(place / "tokenizer.json"))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        model = BertModel(_config(len(vocabulary)))
        for name, weight in model.named_parameters():
            start = 1.0 if "LayerNorm.weight" in name else 0.0
            weight.copy_(start + (0.1 if weight.ndim == 1 else 0.15) * torch.randn_like(weight))
        model.save_pretrained(place)
    return place


def _config(size):
    return BertConfig(
        vocab_size=size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=256,
    )


@pytest.fixture(scope="module", params=DTYPES)
def encoder(request, folder):
    return opened(folder, request.param)


def opened(folder, dtype):
    if dtype == "int8" and not eightbit.exact():
        pytest.skip("no exact product of bytes here")
    return open_encoder(f"minilm:{folder}", dtype=dtype)


def reference(folder, texts):
    """Mean pooling of transformers' own BertModel, one text at a time."""
    tokenizer, model = Tokenizer.from_file(str(folder / "tokenizer.json")), BertModel.from_pretrained(folder).eval()
    tokenizer.enable_truncation(256)
    with torch.inference_mode():
        rows = [model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].mean(0) for text in texts]
    return torch.nn.functional.normalize(torch.stack(rows)).numpy()


def test_rows_are_those_of_transformers(encoder, folder):
    dtype = encoder.options.get("dtype", "float32")
    rows, wanted = encoder.encode(TEXTS), reference(folder, TEXTS)
    assert isinstance(encoder, Encoder) and encoder.dim == 64 and rows.shape == (len(TEXTS), 64)
    assert rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosine = (rows * wanted).sum(1)
    assert cosine.min() > {"float32": 0.999999, "bfloat16": 0.9995, "int8": 0.99}[dtype]
    if dtype == "float32":
        assert np.abs(rows - wanted).max() < 1e-4


def test_a_row_does_not_depend_on_its_batch(encoder):
    rows = encoder.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        assert np.abs(encoder.encode([text])[0] - rows[row]).max() < APART[encoder.options.get("dtype", "float32")]


def test_order_is_kept_and_equal_texts_have_equal_rows(encoder):
    rows = encoder.encode(TEXTS)
    turned = encoder.encode([*TEXTS[::-1], *TEXTS])
    apart = APART[encoder.options.get("dtype", "float32")]
    assert np.abs(turned[: len(TEXTS)][::-1] - rows).max() < apart and np.abs(turned[len(TEXTS) :] - rows).max() < apart
    assert np.array_equal(turned[: len(TEXTS)][::-1], turned[len(TEXTS) :])


def test_texts_at_the_ends(encoder):
    assert encoder.encode([]).shape == (0, 64)
    long = encoder.encode(["love " * 254, "love " * 900])
    assert np.array_equal(long[0], long[1])
    assert np.isfinite(encoder.encode(["", "\ud800 lone"])).all()


def test_several_batches(encoder, monkeypatch):
    texts = [f"the {'sea ' * (n % 9)} king {'red ' * (n % 5)}" for n in range(60)]
    whole = encoder.encode(texts)
    monkeypatch.setattr(minilm, "BATCH_TOKENS", 40)
    assert np.abs(encoder.encode(texts) - whole).max() < APART[encoder.options.get("dtype", "float32")]


def test_threads_do_not_disturb_each_other(encoder):
    wanted, found = encoder.encode(TEXTS), {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: encoder.encode(TEXTS)})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(rows, wanted) for rows in found.values())


def test_a_cancel_ends_it_between_batches(folder):
    made = opened(folder, "float32")
    stop = Cancel()
    stop.set()
    with run(cancel=stop), pytest.raises(CancelledError):
        made.encode(TEXTS)


def test_the_reference_opens_the_same_encoder(encoder):
    again = open_encoder(encoder.spec, **encoder.options)
    assert again.name == encoder.name and np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_vectors_are_kept_apart_by_dtype(folder):
    forget_encoded()
    made = [MiniLM(folder), opened(folder, "float32"), opened(folder, "bfloat16")]
    # float32 is one encoder in either runtime
    assert [one.name for one in made] == ["minilm", "minilm", "minilm-bfloat16"]
    made = [open_encoder(f"minilm:{folder}"), made[2]]
    for one in made:
        assert np.allclose(encoded(one, TEXTS), one.encode(TEXTS), atol=1e-6)
    assert not np.array_equal(encoded(made[0], TEXTS), encoded(made[1], TEXTS))
    forget_encoded()


def test_errors_say_what_mends_them(folder, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="float16") as caught:
        open_encoder(f"minilm:{folder}", dtype="float16")
    assert "bfloat16" in caught.value.hint
    with pytest.raises(OptionError, match="speed"):
        open_encoder(f"minilm:{folder}", dtype="float32", speed=3)
    with pytest.raises(ModelError, match="no tokenizer"):
        open_encoder(f"minilm:{tmp_path}", dtype="float32")
    monkeypatch.setattr(minilm, "exact", lambda: False)
    with pytest.raises(OptionError, match="no exact product"):
        open_encoder(f"minilm:{folder}", dtype="int8")


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"num_hidden_layers": 3}, {"hidden_size": 32}])
def test_another_network_is_refused(folder, tmp_path, change):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match="does not hold MiniLM"):
        open_encoder(f"minilm:{tmp_path}", dtype="float32")


def test_without_packed_weights_the_rows_are_the_same(folder, monkeypatch):
    wanted = opened(folder, "float32").encode(TEXTS)
    monkeypatch.setattr("hexarec.lm.hf.bert.packable", lambda: False)
    assert np.abs(open_encoder(f"minilm:{folder}", dtype="float32").encode(TEXTS) - wanted).max() < 1e-5


def test_spans_are_runs_of_equal_length():
    assert spans([]) == []
    assert spans([[1], [2, 2], [3, 3], [4, 4, 4]]) == [Span(0, 1, 1), Span(1, 5, 2), Span(5, 8, 3)]


def test_eight_bit_products_follow_their_scales():
    if not eightbit.exact():
        pytest.skip("no exact product of bytes here")
    draw = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*size, generator=draw) for size in ((200, 64), (48, 64), (48,)))
    x[:, 5] *= 40  # one channel of another range, as a trained net has them
    layer = eightbit.Smooth((weight, bias), x)
    wanted = Product((weight, bias), torch.float32)(x)
    made = layer.product(layer.codes(x), torch.float32)
    assert float((made - wanted).norm() / wanted.norm()) < 0.02
    assert torch.allclose(layer.product.plus(layer.codes(x), wanted), made + wanted, atol=1e-3)


def test_what_lies_above_the_codes_is_added(folder):
    if not eightbit.exact():
        pytest.skip("no exact product of bytes here")
    shape, draw = Shape(64, 4, 1, 1e-12), torch.Generator().manual_seed(2)
    up, down = torch.randn(96, 64, generator=draw) * 0.1, torch.randn(64, 96, generator=draw)
    up[7] *= 60
    x = torch.randn(100, 64, generator=draw)
    inner = torch.nn.functional.gelu(x @ up.T)
    zero = torch.zeros(96)
    norm = (torch.ones(shape.width), torch.zeros(shape.width))
    block = Block(norm, norm, (up, zero), (down, torch.zeros(64)), (norm, norm))
    made = eightbit.Down8(block, inner)
    codes = (inner / made.product.step + made.product.zero).round().clamp(0, 255).to(torch.uint8)
    wanted = x + inner @ down.T
    assert float((made.plus(codes, x) - wanted).norm() / wanted.norm()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "mean", "least", "overlap"), [
    ("float32", 0.999999, 0.99999, 0.999),
    ("bfloat16", 0.9999, 0.9995, 0.97),
    ("int8", 0.99, 0.95, 0.85),
])  # fmt: skip
def test_the_real_one_agrees_with_the_numpy_path(dtype, mean, least, overlap):
    if "minilm" not in installed.installed():
        pytest.skip("the model minilm is not installed: hexarec models install")
    films = catalog()
    texts = [*films.titles, *films.texts[:60]]
    texts += ["", "word " * 600, "重庆森林 1994 王家卫"]
    plain, fast = MiniLM().encode(texts), opened_real(dtype).encode(texts)
    cosine = (plain * fast).sum(1)
    near = [np.argsort(-(rows @ rows.T) + 9 * np.eye(len(rows)), axis=1)[:, :10] for rows in (plain, fast)]
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*near, strict=True)])
    assert cosine.mean() >= mean and cosine.min() >= least and shared >= overlap


def opened_real(dtype):
    if dtype == "int8" and not eightbit.exact():
        pytest.skip("no exact product of bytes here")
    return open_encoder("minilm", dtype=dtype)
