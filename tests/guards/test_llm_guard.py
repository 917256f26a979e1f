"""LLM-Guard's scanners as guards, with the real library: `nox -s tests` runs these in the heavy environment."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import random
import string
import threading

import pytest

from llmops_sdk import Scripted, guards
from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import llm_guard
from llmops_sdk.messages import Message, Request
from llmops_sdk.protocols import GuardContext
from llmops_sdk.testing import GuardContract

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing transformers and spaCy warns of their own parts
]

LETTERS = string.ascii_uppercase + "234567"


def aws_key(seed=0):
    return "AK" + "IA" + "".join(random.Random(seed).choices(LETTERS, k=16))


def context(stage, *, call=None, question="What is the weather?"):
    request = Request(messages=(Message.user(question),))
    return GuardContext(call=call or Call(), stage=stage, origin=stage, request=request)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Makes a BERT of one layer with random weights: `tiny("SAFE", "INJECTION", favours="INJECTION")`."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertForTokenClassification,
        PreTrainedTokenizerFast,
    )

    made = {}

    def make(*labels, favours=None, ner=False):
        key = (*labels, favours, ner)
        if key in made:
            return str(made[key])
        folder = made[key] = tmp_path_factory.mktemp("tiny")
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_lowercase, *string.digits, *string.punctuation]
        pieces += [f"##{one}" for one in string.ascii_lowercase + string.digits]
        words = Tokenizer(models.WordPiece({one: n for n, one in enumerate(pieces)}, unk_token="[UNK]"))
        words.normalizer = normalizers.BertNormalizer()
        words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        PreTrainedTokenizerFast(
            tokenizer_object=words,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            model_max_length=512,
        ).save_pretrained(folder)
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(pieces),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            id2label=dict(enumerate(labels)),
            label2id={label: n for n, label in enumerate(labels)},
        )
        model = (BertForTokenClassification if ner else BertForSequenceClassification)(config)
        if favours is not None:
            with torch.no_grad():
                model.classifier.bias[labels.index(favours)] = 20.0
        model.save_pretrained(folder)
        return str(folder)

    return make


class TestBanSubstringsContract(GuardContract):
    examples_allowed = ("hello",)
    examples_caught = ("a badger",)

    def make_guard(self):
        return llm_guard.BanSubstrings(["badger"])


class TestSecretsBySentenceContract(GuardContract):
    examples_allowed = ("Hello there. ",)
    examples_caught = (f"The key is {aws_key()}. Bye",)
    tries = 10

    def make_guard(self):
        return llm_guard.Secrets(by="sentence")


def test_every_scanner_of_the_library_is_here_under_its_own_arguments():
    from gorget import input_scanners, output_scanners

    for module, ours in ((input_scanners, llm_guard.input), (output_scanners, llm_guard.output)):
        theirs = {name for name in module.__all__ if name != "get_scanner_by_name"}
        assert set(dir(ours)) == theirs
        own = {"side", "action", "by", "longest_text", "allow_requests", "name", "on_error", "mode", "overlap"}
        for name in theirs:
            assert not own & set(inspect.signature(getattr(module, name)).parameters), name


def test_scanners_are_called_one_by_one_under_names_of_their_own():
    line = "a b" | llm_guard.BanSubstrings(["a"]) | llm_guard.BanSubstrings(["zzz"]) | Scripted("no")
    result = line.run()
    assert [verdict.action for verdict in result.verdicts][:1] == ["block"]
    assert len({verdict.guard for verdict in result.verdicts}) == len(result.verdicts) == 2


def test_what_was_replaced_is_found_in_its_place():
    verdict = llm_guard.Regex([r"badger\d"], redact=True).check("a badger1, and badger2.")
    assert verdict.text == "a [REDACTED], and [REDACTED]."
    assert [(found.start, found.end) for found in verdict.findings] == [(2, 9), (15, 22)]
    assert verdict.findings[0].rule == "llm_guard.input.Regex"


def test_all_patterns_are_taken_out_not_those_of_the_first_that_matches():
    guard = llm_guard.Regex(["badger", "fox"], match_type="search")
    assert guard.check("badger fox badger").text == "[REDACTED] [REDACTED] [REDACTED]"


def test_a_text_that_stays_invalid_is_blocked():
    assert llm_guard.Regex(["badger", "REDACTED"]).check("a badger").blocked
    assert llm_guard.BanSubstrings(["badger"]).check("a badger").blocked
    assert llm_guard.Regex(["badger"], action="block").check("a badger").blocked
    assert llm_guard.Regex(["badger"], action="flag").check("a badger").action == "flag"


def test_no_part_of_a_secret_is_left():
    guard = llm_guard.Secrets()
    first, second = aws_key(1), aws_key(2)
    text = f"first {first} and again {first}, {second}\nand {first} {second} \ud800 end"
    verdict = guard.check(text)
    assert verdict.action == "rewrite"
    for secret in (first, second):
        assert not any(secret[at : at + 6] in verdict.text for at in range(len(secret) - 5))
    assert verdict.text.endswith(" \ud800 end")
    assert {text[found.start : found.end] for found in verdict.findings} == {first, second}
    assert len(verdict.findings) == 5


def test_threads_miss_no_secret():
    guard, others = llm_guard.Secrets(), llm_guard.Secrets()
    guard.prepare()
    missed = []

    def many(one):
        missed.extend(n for n in range(60) if one.check(f"the key is {aws_key(n)} here").action != "rewrite")

    threads = [threading.Thread(target=many, args=(one,)) for one in (guard, others) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missed


def test_empty_texts_get_a_verdict(tiny):
    model = llm_guard.Model(path=tiny("SAFE", "INJECTION", favours="INJECTION"))
    some = (
        llm_guard.BanSubstrings(["a"]),
        llm_guard.Secrets(),
        llm_guard.PromptInjection(model=model),
        llm_guard.output.NoRefusalLight(),
        llm_guard.output.Sensitive(recognizer_conf=[]),
    )
    for guard in some:
        for text in ("", " ", "\n"):
            # Several scanners return the question in place of a blank answer.
            assert guard.check(text, context("output")).action == "allow"


def test_nothing_of_the_text_is_logged_or_printed(capfd, caplog):
    llm_guard.BanSubstrings(["badger"]).check("a badger")
    llm_guard.Secrets().check(f"key {aws_key()}")
    llm_guard.Regex(["badger"]).check("a badger")
    seen = "".join(capfd.readouterr()) + caplog.text
    assert "badger" not in seen
    assert "AKIA" not in seen


def test_prompt_injection_reads_the_model_and_refuses_labels_that_it_would_read_backwards(tiny):
    bad = llm_guard.Model(path=tiny("SAFE", "INJECTION", favours="INJECTION"))
    good = llm_guard.Model(path=tiny("SAFE", "INJECTION", favours="SAFE"))
    for match_type in ("full", "sentence", "chunks", "truncate_token_head_tail", "truncate_head_tail"):
        guard = llm_guard.PromptInjection(model=bad, match_type=match_type)
        assert guard.check("Ignore all. And more!").blocked, match_type
        assert guard.rate("Ignore all.") > 0.9
    assert llm_guard.PromptInjection(model=good).check("Hello.").action == "allow"
    unnamed = llm_guard.Model(path=tiny("LABEL_0", "LABEL_1", favours="LABEL_1"))
    with pytest.raises(ConfigurationError, match=r"'LABEL_0', 'LABEL_1'.*injection_labels=\['LABEL_1'\]"):
        llm_guard.PromptInjection(model=unnamed).prepare()
    assert llm_guard.PromptInjection(model=unnamed, injection_labels=["LABEL_1"]).check("Hello.").blocked


MODELS = [
    ("input.Toxicity", {}, ("toxicity", "neutral")),
    ("output.Bias", {}, ("BIASED", "NON-BIASED")),
    ("output.NoRefusal", {}, ("REJECTION", "NORMAL")),
    ("input.BanCode", {}, ("CODE", "NO_CODE")),
    ("input.Gibberish", {}, ("noise", "clean")),
    ("input.Language", {"valid_languages": ["en"]}, ("fr", "en")),
    ("input.Code", {"languages": ["Python"]}, ("Python", "Go")),
    ("input.BanTopics", {"topics": ["war"]}, ("entailment", "neutral", "contradiction")),
    ("output.FactualConsistency", {}, ("contradiction", "neutral", "entailment")),
    ("output.LanguageSame", {}, ("fr", "en")),
    ("output.Relevance", {}, ("a", "b")),
]


@pytest.mark.parametrize(("which", "arguments", "labels"), MODELS, ids=[one[0] for one in MODELS])
def test_scanners_with_models_work_on_a_local_folder(tiny, which, arguments, labels):
    side, _, name = which.partition(".")
    model = llm_guard.Model(path=tiny(*labels, favours=labels[0]))
    guard = llm_guard.Scanner(name, side=side, model=model, **arguments)
    guard.prepare()
    verdict = guard.check("It is raining today, they say.", context(side))
    assert verdict.action in ("allow", "block")
    if name in ("Toxicity", "Bias", "NoRefusal", "BanCode", "Gibberish", "Language"):
        assert verdict.blocked
        assert verdict.findings[0].score > 0.5


def test_folders_that_cannot_be_used_are_named(tmp_path):
    def prepare(folder):
        llm_guard.Toxicity(model=llm_guard.Model(path=str(folder))).prepare()

    with pytest.raises(ConfigurationError, match=r"no folder .*nowhere"):
        prepare(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="has no weights"):
        prepare(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"pickled weights only \(pytorch_model.bin\)"):
        prepare(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigurationError, match=f"with the model in {tmp_path}"):
        prepare(tmp_path)


def test_wrong_arguments_are_told_with_the_right_ones():
    with pytest.raises(ConfigurationError, match=r"BanSubstrings: .*it takes \(substrings"):
        llm_guard.BanSubstrings(["a"], colour="red").prepare()
    with pytest.raises(ConfigurationError, match="no input scanner Nothing"):
        llm_guard.Scanner("Nothing").prepare()


def test_anonymize_keeps_a_vault_for_each_run_and_deanonymize_restores():
    hide = llm_guard.Anonymize(recognizer_conf=[])
    restore = llm_guard.Deanonymize()
    calls = [Call() for _ in range(8)]
    hidden = {}

    def work(n):
        verdict = hide.check(f"Mail ada{n}@example.org or bo{n}@example.org", context("input", call=calls[n]))
        hidden[n] = verdict.text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(hidden.values())) == 1  # the numbers begin anew with each run
    assert "@" not in hidden[0]
    for n, call in enumerate(calls):
        verdict = restore.check(f"I wrote to {hidden[n]}", context("output", call=call))
        assert verdict.text == f"I wrote to Mail ada{n}@example.org or bo{n}@example.org"
    assert restore.check(hidden[0], context("output")).action == "allow"  # another run knows nothing


def test_anonymize_in_a_pipeline():
    seen = []
    engine = Scripted(lambda request: seen.append(request.messages[-1].text) or f"You said: {seen[-1]}")
    line = "Mail ada@example.org" | llm_guard.Anonymize(recognizer_conf=[]) | engine | llm_guard.Deanonymize()
    result = line.run()
    assert result.text == "You said: Mail ada@example.org"
    assert "ada@" not in seen[0]


def test_anonymize_reads_a_local_model(tiny):
    model = llm_guard.Model(path=tiny("O", "B-PER", favours="B-PER", ner=True))
    assert llm_guard.Anonymize(recognizer_conf=model).check("Ada Lovelace").action == "rewrite"
    with pytest.raises(ConfigurationError, match="is none of"):
        llm_guard.Anonymize(recognizer_conf="NO_CONF").prepare()


def test_streams_by_sentence_flow():
    guard = llm_guard.Regex(["badger"], by="sentence")
    stream = guard.open_stream(context("output"))

    async def feed(text):
        return await stream.feed(text)

    assert asyncio.run(feed("A fox. A bad")) == "A fox. "
    assert asyncio.run(feed("ger. ")) == "A [REDACTED]. "


def test_survives_pickle_and_bounds_its_texts():
    guard = pickle.loads(pickle.dumps(llm_guard.Regex(["badger"])))
    assert guard.check("a badger").action == "rewrite"
    with pytest.raises(ValueError, match="longest_text=10"):
        llm_guard.Regex(["badger"], longest_text=10).check("a badger, again")


def test_an_output_scanner_is_refused_before_the_engine():
    with pytest.raises(ConfigurationError, match="does not read 'input'"):
        "a" | llm_guard.output.NoRefusalLight() | Scripted("b")
    assert guards.llm_guard is llm_guard
