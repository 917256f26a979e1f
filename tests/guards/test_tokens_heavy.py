"""`Tokens` with the tokenizers that people have."""

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Tokens

pytestmark = pytest.mark.heavy


def test_tiktoken_counts_with_a_vocabulary_at_hand(vocabularies):
    guard = Tokens(most=2)
    assert guard.counts_with in {"o200k_base", "cl100k_base"}
    assert guard.check("hello world").action == "allow"
    assert guard.check("<|endoftext|> hello world").reason.endswith("more than 2")


def test_a_damaged_vocabulary_is_not_at_hand(vocabularies):
    for file in vocabularies.iterdir():
        file.write_bytes(b"damaged")
    assert Tokens(most=2).estimates
    with pytest.raises(ConfigurationError, match="TIKTOKEN_CACHE_DIR"):
        Tokens(most=2, counter="cl100k_base")


def test_a_tokenizer_file_counts(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"one": 0, "two": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for counter in (tmp_path, str(tmp_path / "tokenizer.json")):
        assert Tokens(most=3, counter=counter).check("one two one two").reason == "4 tokens, more than 3"
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="no tokenizer"):
        Tokens(most=3, counter=tmp_path)
