"""Tiny random models and tokenizers on disk, written and read by transformers' own code; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "save_causal_lm", "save_classifier", "save_tokenizer"]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>"
    "\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_CORPUS = [
    "Yes no No yes NO YES: the answer to the question is Yes or No, and no more.",
    "You judge one exchange between a user and an application; the input, then the output, each between two tags.",
    "Is the answer short, polite and correct? The support desk opens at nine. Please write to us again tomorrow.",
    "0 1 2 3 4 5 6 7 8 9 a b c d e f < > / | _ im start end think",
] * 4

_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}

# What a family calls its own; the initial weights are wide, so that attention and positions show in the scores.
_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2},
    "qwen2": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_neox": {**_SHAPE, "intermediate_size": 64},
    "mistral": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2, "sliding_window": 48},
    "gemma2": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 48},
    "gemma3_text": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 48},
    "phi3": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2},
    "mixtral": {**_SHAPE, "intermediate_size": 64, "num_key_value_heads": 2, "num_local_experts": 4},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2},
    "bart": {
        "d_model": 32,
        "decoder_layers": 2,
        "encoder_layers": 1,
        "decoder_attention_heads": 4,
        "encoder_attention_heads": 4,
        "decoder_ffn_dim": 64,
        "encoder_ffn_dim": 64,
    },
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 48,
    },
}


def save_tokenizer(
    folder: Path,
    *,
    chat: bool = True,
    kind: str = "bpe",
    model_max_length: int = 4096,
    extra: tuple[str, ...] = ("<think>",),
) -> PreTrainedTokenizerFast:
    """A tokenizer trained on a few sentences: `bpe` (byte level), `unigram` (with NFKC), `characters` or `wordpiece`.

    Args:
        folder: Where it is saved.
        chat: Whether it has a chat template.
        kind: The model of the tokenizer.
        model_max_length: What it says the model reads.
        extra: Added tokens that are not marked special.
    """
    special = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]"]
    tokenizer = {"bpe": _byte_level, "unigram": _unigram, "characters": _characters, "wordpiece": _wordpiece}[kind](
        special
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=model_max_length,
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]"],
        model_input_names=["input_ids", "attention_mask", *(["token_type_ids"] if kind == "wordpiece" else [])],
    )
    fast.add_tokens(list(extra))
    fast.chat_template = CHAT_TEMPLATE if chat else None
    fast.save_pretrained(folder)
    return fast


def save_causal_lm(
    folder: Path,
    family: str = "llama",
    *,
    chat: bool = True,
    kind: str = "bpe",
    seed: int = 0,
    positions: int = 1024,
    **config: Any,
) -> Path:
    """A random causal language model of `family` with its tokenizer; the same seed gives the same weights."""
    tokenizer = save_tokenizer(folder, chat=chat, kind=kind)
    limit = {"gpt2": "n_positions", "bloom": "seq_length", "mpt": "max_seq_len"}.get(family, "max_position_embeddings")
    settings = {
        **_FAMILIES[family],
        limit: positions,
        "vocab_size": len(tokenizer),
        "initializer_range": 0.3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **config,
    }
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings)).save_pretrained(folder)
    return folder


def save_classifier(
    folder: Path, labels: tuple[str, ...], *, seed: int = 0, positions: int = 128, **config: Any
) -> Path:
    """A random BERT sequence classifier over `labels` with its tokenizer."""
    tokenizer = save_tokenizer(folder, chat=False, kind="wordpiece", model_max_length=positions)
    settings = AutoConfig.for_model(
        "bert",
        **_SHAPE,
        intermediate_size=64,
        max_position_embeddings=positions,
        vocab_size=len(tokenizer),
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        **config,
    )
    torch.manual_seed(seed)
    AutoModelForSequenceClassification.from_config(settings).save_pretrained(folder)
    return folder


def _byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _unigram(special: list[str]) -> Tokenizer:
    """Holds its special tokens as entries of the vocabulary too, as many sentencepiece models do."""
    words = sorted({"▁" + word for line in _CORPUS for word in line.split()} | set("".join(_CORPUS)) | {"▁"})
    vocabulary = [(token, 0.0) for token in special] + [(word, -5.0 - 0.01 * len(word)) for word in words]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _characters(special: list[str]) -> Tokenizer:
    alphabet = [*special, *sorted(set("".join(_CORPUS)))]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _wordpiece(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        _CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer
