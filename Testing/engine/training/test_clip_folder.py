from pathlib import Path

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from leanseg.errors import UnreadableFileError
from leanseg.networks.cm_mask_sd import CMMaskSD, CMMaskSDConfig
from leanseg.training.clip_folder import CLIPFolder

WORDS = {"[UNK]": 0, "the": 1, "largest": 2, "lesion": 3, "<begin>": 4, "<end>": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {"vocab_size": 6, "max_position_embeddings": 8, "bos_token_id": 4, "eos_token_id": 5}
    vision = sizes | {"image_size": 16, "patch_size": 4}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(tmp_path / "clip")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<begin> $A <end>", None, [("<begin>", 4), ("<end>", 5)])
    tokenizer.save(str(tmp_path / "clip" / "tokenizer.json"))
    return tmp_path / "clip"


def test_a_clip_of_a_folder_reads_sentences_and_pictures(folder: Path) -> None:
    clip = CLIPFolder(folder)
    ids, padding = clip.pieces(["The largest lesion", "the", "the " * 30])
    assert ids[0].tolist() == [4, 1, 2, 3, 5, 5, 5, 5] and padding[0].tolist() == [False] * 5 + [True] * 3
    assert ids[1, :3].tolist() == [4, 1, 5] and padding[1].sum() == 5
    assert ids[2].tolist() == [4, *[1] * 6, 5] and not padding[2].any()
    network = CMMaskSD(CMMaskSDConfig(width=16, layers=1, neck_width=8), clip.encoder).eval()
    with torch.no_grad():
        logits = network(torch.rand(3, 1, 16, 24), ids, padding).logits
    assert logits.shape == (3, 1, 16, 24) and logits.isfinite().all()


def test_what_is_missing_or_broken_is_named(folder: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"has no config\.json\. Give a folder of a CLIP"):
        CLIPFolder(folder / "nowhere")
    safetensors.torch.save_file({"other": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnreadableFileError, match=r"holds another network than a CLIP"):
        CLIPFolder(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnreadableFileError, match=r"holds no CLIP that can be read \(.*\)\. Restore it"):
        CLIPFolder(folder)
