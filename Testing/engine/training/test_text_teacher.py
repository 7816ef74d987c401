from pathlib import Path

import numpy as np
import pytest
import torch

from leanseg.errors import LeanSegError, UnreadableFileError
from leanseg.training.text_teacher import TransformersEncoder
from Testing.engine.training.text_teacher_stub import PIECES, tokenizer_json

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of transformers itself
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def save_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer_json())
    names = {name: f"[{name[:3].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names).save_pretrained(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(PIECES), **SIZES)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def test_a_folder_is_read(bert: Path) -> None:
    encoder = TransformersEncoder(str(bert), length=7)
    assert (encoder.id, encoder.width, encoder.length) == ("tiny-bert", 8, 7)
    embedding = encoder.embed("Upper LEFT")
    assert embedding.tokens.shape == (1, 7, 8) and embedding.tokens.dtype == np.float32
    assert embedding.padding.tolist() == [[0, 0, 0, 0, 1, 1, 1]] and embedding.padding.dtype == np.float32
    assert not embedding.tokens[0, 4:].any() and embedding.tokens[0, :4].all()


def test_padding_has_no_effect(bert: Path) -> None:
    short, long = (TransformersEncoder(str(bert), length=length).embed("upper left") for length in (4, 24))
    np.testing.assert_allclose(short.tokens[0], long.tokens[0, :4], rtol=0, atol=1e-5)


def test_embeddings_are_remembered_and_the_callers_own(bert: Path) -> None:
    encoder = TransformersEncoder(str(bert))
    first = encoder.embed("mass").tokens.copy()
    encoder.embed("mass").tokens[:] = 9
    assert np.array_equal(encoder.embed("mass").tokens, first)


def test_a_long_text_is_cut_and_any_text_is_read(bert: Path) -> None:
    encoder = TransformersEncoder(str(bert), length=6)
    assert not encoder.embed("mass " * 1000).padding.any()
    for text in ("", "\ud83d", "😀"):
        assert np.isfinite(encoder.embed(text).tokens).all()


def test_what_a_student_needs(bert: Path) -> None:
    encoder = TransformersEncoder(str(bert))
    assert encoder.piece_vectors.shape == (len(PIECES), 8)
    assert '"##es"' in encoder.tokenizer_json
    ids, padding = torch.tensor([[3, 46, 4, 0]]), torch.tensor([[False, False, False, True]])
    np.testing.assert_allclose(encoder.hidden(ids, padding)[0, :3], encoder.embed("left").tokens[0, :3], atol=1e-5)


def test_the_text_half_of_a_clip(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-clip"
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": len(PIECES), "eos_token_id": 4, "max_position_embeddings": 24}
    config = transformers.CLIPConfig(text_config=text, vision_config={**SIZES, "image_size": 8, "patch_size": 4})
    transformers.CLIPModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    encoder = TransformersEncoder(str(folder))
    assert encoder.width == 8
    assert encoder.embed("upper left").tokens.shape == (1, 24, 8)


@pytest.mark.parametrize("name", ["/does/not/exist", "nobody/has-this-encoder"])
def test_nothing_is_downloaded_without_leave(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(UnreadableFileError, match=r"is neither a folder nor downloaded\. Give a folder") as caught:
        TransformersEncoder(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_safetensors_weights_is_refused(bert: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bert / name).read_bytes())
    with pytest.raises(UnreadableFileError, match=r"needs config\.json, tokenizer\.json and model\.safetensors"):
        TransformersEncoder(str(tmp_path))


def test_what_is_no_text_encoder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vision"
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])
    transformers.ResNetModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    with pytest.raises(LeanSegError, match="vision is no text encoder"):
        TransformersEncoder(str(folder))
