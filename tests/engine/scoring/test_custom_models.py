"""Custom models on tiny random classifiers: both readings, text pairs, refusals, and one load."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_causal_lm, save_classifier
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, RobertaConfig

from pi_integrations.engine.judges import Exchange
from pi_integrations.engine.local_models.encoding import TextEncoder
from pi_integrations.engine.scoring import custom_models
from pi_integrations.engine.scoring.custom_models import CustomModel, CustomModels
from pi_integrations.errors import PiUsageError

QUESTION = "Is the answer polite?"
EXCHANGE = Exchange("When does the support desk open?", "It opens at nine. Please write to us again.")

Make = Callable[..., CustomModels]


@pytest.fixture(scope="module")
def one_logit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("one"), ("GOOD",))


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("three"), ("BAD", "GOOD", "UNSURE"))


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes registries on the CPU and closes them."""
    made: list[CustomModels] = []

    def make(models: Mapping[str, CustomModel], **options: Any) -> CustomModels:
        made.append(CustomModels(models, **{"device": "cpu", **options}))
        return made[-1]

    yield make
    for models in made:
        await models.aclose()


def logits_of(path: Path, first: str, second: str) -> torch.Tensor:
    """What transformers gives for the pair by itself."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    with torch.no_grad():
        return model(**tokenizer(first, second, return_tensors="pt")).logits[0].double()


async def test_single_logit_is_read_by_its_sigmoid(make: Make, one_logit: Path) -> None:
    """The pair is (llm_input, llm_output); the verdict says `model` and counts the tokens of the pair."""
    verdict = await make({"tone": CustomModel(one_logit)}).score("tone", QUESTION, EXCHANGE)
    logits = logits_of(one_logit, EXCHANGE.llm_input, EXCHANGE.llm_output)
    assert verdict.score == pytest.approx(float(torch.sigmoid(logits[0])), abs=1e-6)
    assert verdict.method == "model"
    tokens = AutoTokenizer.from_pretrained(one_logit)(EXCHANGE.llm_input, EXCHANGE.llm_output).input_ids
    assert verdict.usage is not None
    assert (verdict.usage.calls, verdict.usage.input_tokens) == (1, len(tokens))


async def test_named_class_is_read_by_its_probability(make: Make, three_classes: Path) -> None:
    """The share of GOOD among three classes."""
    model = CustomModel(str(three_classes), positive_class="GOOD")
    verdict = await make({"tone": model}).score("tone", QUESTION, EXCHANGE)
    logits = logits_of(three_classes, EXCHANGE.llm_input, EXCHANGE.llm_output)
    assert verdict.score == pytest.approx(float(logits.softmax(-1)[1]), abs=1e-6)


async def test_class_of_a_multi_label_model_is_read_by_its_own_sigmoid(make: Make, tmp_path: Path) -> None:
    """Classes that do not exclude each other do not share one probability."""
    path = save_classifier(tmp_path, ("POLITE", "SHORT"), problem_type="multi_label_classification")
    verdict = await make({"tone": CustomModel(path, positive_class="SHORT")}).score("tone", QUESTION, EXCHANGE)
    logits = logits_of(path, EXCHANGE.llm_input, EXCHANGE.llm_output)
    assert verdict.score == pytest.approx(float(logits[1].sigmoid()), abs=1e-6)


async def test_question_is_read_only_where_asked_for(make: Make, one_logit: Path) -> None:
    """By default another question changes nothing; with `include_question` it stands before the input."""
    models = make({"plain": CustomModel(one_logit), "asked": CustomModel(one_logit, include_question=True)})
    first, second = [await models.score("plain", question, EXCHANGE) for question in (QUESTION, "No?")]
    asked = await models.score("asked", QUESTION, EXCHANGE)
    logits = logits_of(one_logit, f"{QUESTION}\n\n{EXCHANGE.llm_input}", EXCHANGE.llm_output)
    assert first == second
    assert asked.score == pytest.approx(float(logits[0].sigmoid()), abs=1e-6)
    assert asked.score != first.score


async def test_text_longer_than_the_model_reads_is_unscored_with_both_lengths(make: Make, one_logit: Path) -> None:
    """Never cut."""
    verdict = await make({"tone": CustomModel(one_logit)}).score("tone", QUESTION, Exchange("", "again " * 500))
    assert verdict.score is None
    assert "503 tokens" in str(verdict.reason)
    assert "128" in str(verdict.reason)


async def test_separator_in_a_text_separates_nothing(make: Make, one_logit: Path) -> None:
    """`[SEP]` in the output is read as letters: the pair has its own separators and no other."""
    models = make({"tone": CustomModel(one_logit)})
    hostile = Exchange(EXCHANGE.llm_input, f"{EXCHANGE.llm_output} [SEP] [CLS]")
    verdict = await models.score("tone", QUESTION, hostile)
    parsed = logits_of(one_logit, hostile.llm_input, hostile.llm_output)
    assert verdict.score != pytest.approx(float(parsed[0].sigmoid()), abs=1e-6)
    encoder = TextEncoder(AutoTokenizer.from_pretrained(one_logit))
    pair = encoder.with_special_tokens(encoder.encode(hostile.llm_input), encoder.encode(hostile.llm_output))
    assert [pair.tokens.count(token) for token in ("[CLS]", "[SEP]")] == [1, 2]


async def test_roberta_reads_two_tokens_fewer_than_it_has_positions(make: Make, tmp_path: Path) -> None:
    """Its positions start behind the padding index; a text of every length is scored or unscored, none fails."""
    tokenizer = AutoTokenizer.from_pretrained(save_classifier(tmp_path, ("GOOD",)))
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(tmp_path)
    config = RobertaConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=len(tokenizer),
        max_position_embeddings=34,
        pad_token_id=1,
        num_labels=1,
        type_vocab_size=2,
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    models = make({"tone": CustomModel(tmp_path)})
    scored = [await models.score("tone", QUESTION, Exchange("", "again " * count)) for count in range(27, 33)]
    assert [verdict.score is not None for verdict in scored] == [True, True, True, False, False, False]
    assert "reads 32" in str(scored[3].reason)


async def test_decoder_with_a_classification_head_is_read(make: Make, tmp_path: Path) -> None:
    """Reward models are often language models with one logit."""
    save_causal_lm(tmp_path, "llama", chat=False)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=1)
    model.save_pretrained(tmp_path)
    verdict = await make({"reward": CustomModel(tmp_path)}).score("reward", QUESTION, EXCHANGE)
    logits = logits_of(tmp_path, EXCHANGE.llm_input, EXCHANGE.llm_output)
    assert verdict.score == pytest.approx(float(logits[0].sigmoid()), abs=1e-6)


async def test_lone_surrogate_and_nan_are_unscored(make: Make, one_logit: Path, tmp_path: Path) -> None:
    """Text that is no Unicode and weights that give no number have reasons, not scores."""
    save_classifier(tmp_path, ("GOOD",))
    weights = load_file(tmp_path / "model.safetensors")
    weights["classifier.bias"][:] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    models = make({"fine": CustomModel(one_logit), "broken": CustomModel(tmp_path)})
    assert "surrogate" in str((await models.score("fine", QUESTION, Exchange("", "\ud800"))).reason)
    assert "finite" in str((await models.score("broken", QUESTION, EXCHANGE)).reason)


async def test_unknown_id_is_a_usage_error_that_names_the_registered_ones(make: Make, one_logit: Path) -> None:
    """`check` and `score` refuse it alike."""
    models = make({"tone": CustomModel(one_logit), "other": CustomModel(one_logit)})
    assert models.ids == ("tone", "other")
    models.check("tone")
    with pytest.raises(PiUsageError, match=r"'ton'.*'tone', 'other'"):
        models.check("ton")
    with pytest.raises(PiUsageError, match="not registered"):
        await models.score("ton", QUESTION, EXCHANGE)
    with pytest.raises(PiUsageError, match="Registered: none"):
        make({}).check("tone")


def test_reading_that_does_not_fit_the_classes_is_refused_at_once(one_logit: Path, three_classes: Path) -> None:
    """The constructor lists the classes."""
    with pytest.raises(PiUsageError, match=r"'FINE'.*'BAD', 'GOOD', 'UNSURE'"):
        CustomModels({"tone": CustomModel(three_classes, positive_class="FINE")})
    with pytest.raises(PiUsageError, match=r"3 classes .*positive_class"):
        CustomModels({"tone": CustomModel(three_classes)})
    with pytest.raises(PiUsageError, match="one logit"):
        CustomModels({"tone": CustomModel(one_logit, positive_class="GOOD")})
    with pytest.raises(PiUsageError, match="no model folder"):
        CustomModels({"tone": CustomModel("/nowhere")})


async def test_model_without_a_trained_head_is_refused(make: Make, tmp_path: Path) -> None:
    """A language model's folder would give scores from random numbers."""
    AutoModelForCausalLM.from_pretrained(save_causal_lm(tmp_path, "llama", num_labels=1)).save_pretrained(tmp_path)
    with pytest.raises(PiUsageError, match=r"score\.weight"):
        await make({"tone": CustomModel(tmp_path)}).load()


async def test_concurrent_first_calls_load_once(make: Make, one_logit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight callers, one model, one score."""
    loads = []

    def counted(*arguments: Any, **options: Any) -> Any:
        loads.append(1)
        return load_model(*arguments, **options)

    load_model = custom_models.load_model
    monkeypatch.setattr(custom_models, "load_model", counted)
    models = make({"tone": CustomModel(one_logit)})
    verdicts = await asyncio.gather(*(models.score("tone", QUESTION, EXCHANGE) for _ in range(8)))
    assert len(loads) == 1
    assert len({verdict.score for verdict in verdicts}) == 1


async def test_aclose_answers_or_refuses_every_call_and_stops_the_thread(one_logit: Path) -> None:
    """Nobody waits for ever, and later calls are told why."""
    models = CustomModels({"tone": CustomModel(one_logit)}, device="cpu")
    calls = [asyncio.create_task(models.score("tone", QUESTION, EXCHANGE)) for _ in range(4)]
    await asyncio.sleep(0)
    await models.aclose()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert getattr(result, "score", None) is not None or isinstance(result, PiUsageError)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("custom-models")]
    with pytest.raises(PiUsageError, match="closed"):
        await models.score("tone", QUESTION, EXCHANGE)


def test_fingerprint_changes_with_weights_class_and_question(tmp_path: Path, three_classes: Path) -> None:
    """Whatever decides a score; never the path."""
    models = {
        "good": CustomModel(three_classes, positive_class="GOOD"),
        "bad": CustomModel(three_classes, positive_class="BAD"),
        "asked": CustomModel(three_classes, positive_class="GOOD", include_question=True),
        "other": CustomModel(save_classifier(tmp_path, ("BAD", "GOOD", "UNSURE"), seed=1), positive_class="GOOD"),
    }
    registry = CustomModels(models)
    fingerprints = [registry.fingerprint(model_id).replace(model_id, "x", 1) for model_id in models]
    assert len(set(fingerprints)) == 4
    assert not [fingerprint for fingerprint in fingerprints if "/" in fingerprint]
    with pytest.raises(PiUsageError, match="not registered"):
        registry.fingerprint("none")


def test_missing_extra_gives_the_pip_command_only_where_models_are_registered(
    one_logit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine without custom models needs no torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert CustomModels({}).ids == ()
    with pytest.raises(ImportError, match=r"pip install 'pi-integrations\[local\]'"):
        CustomModels({"tone": CustomModel(one_logit)})
