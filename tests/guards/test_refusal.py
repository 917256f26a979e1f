"""`Refusal`: what refuses, and what only says that something cannot be done."""

import re

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Refusal
from llmops_sdk.testing import GuardContract

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "I\u2019m really sorry, but I\u2019m not able to provide instructions for making weapons.",
    "As an AI language model, I cannot provide instructions on how to hack.",
    "I apologize, but I cannot fulfill this request as it goes against ethical guidelines.",
    "I must decline to write that.",
    "Sorry, I can't do that.",
    "I won't be able to help you with that.",
    "It is not appropriate for me to provide such content.",
    "I'm unable to assist with creating malware.",
    "I do not feel comfortable writing that story.",
    "Unfortunately, I can't help with making explosives.",
    "That's not something I can help with.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Je ne peux pas répondre à cette demande.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Leider kann ich diese Anfrage nicht beantworten.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "No puedo proporcionar esa información.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Desculpe, mas não posso ajudar com isso.",
    "Het spijt me, maar ik kan je daar niet bij helpen.",
    "Przepraszam, ale nie mogę pomóc w tej sprawie.",
    "Извините, но я не могу помочь \u0441 \u044d\u0442\u0438\u043c.",
    "抱歉,我无法提供这方面的帮助。",
    "申し訳ありませんが、そのご要望にはお応えできません。",
    "I can't create content that promotes violence.",
    "I will not generate hateful content.",
    "Your request violates our content policy.",
)
ANSWERS = (
    "You can't import it from there; use the other module.",
    "Sorry for the delay! Here is the list.",
    "The function cannot return None.",
    "I can't see the image you attached; could you upload it again?",
    "I'm sorry to hear that you are ill. Rest helps.",
    "If you cannot help yourself, call the office.",
    'He said, "I can\'t help with that" and left.',
    "I don't have access to real-time data, but as of 2023 it was 8 million.",
    "I cannot give an exact number without more data, but roughly 40.",
    "I can help with that! First, open the file.",
    "The company declined to comment.",
    "Python cannot modify strings in place.",
    "I'm not sure, but I think it is Paris.",
    "Against the rules of chess, he moved twice.",
    "Ich kann das nicht bestätigen, aber hier ist die Liste.",
    "Le serveur ne peut pas répondre à la demande.",
    "El programa no puede abrir el archivo.",
    "You should not provide your password to anyone.",
    "I can't recommend this book enough!",
    "I cannot find any errors in your code; it looks right.",
    "It's illegal to park there.",
    "Here is a story: 'I refuse to go,' said the cat.",
)


class TestFlagging(GuardContract):
    examples_allowed = ("Here is the list.", ANSWERS[0])
    examples_caught = (REFUSALS[0], REFUSALS[13])
    tries = 40

    def make_guard(self):
        return Refusal()


class TestBlocking(TestFlagging):
    def make_guard(self):
        return Refusal(action="block")


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_found(text):
    assert Refusal().check(text).action == "flag"


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_not(text):
    assert Refusal().check(text).action == "allow"


def test_a_refusal_far_into_the_text_is_not_one():
    assert Refusal().check("Here is what I found. " * 30 + REFUSALS[0]).action == "allow"


def test_the_rate_grows_with_the_evidence_and_the_threshold_decides():
    both = "I must decline. " + REFUSALS[0]
    assert Refusal().rate(both) > Refusal().rate("I must decline.") > 0
    assert Refusal(threshold=1.0).check(REFUSALS[0]).action == "allow"
    assert Refusal().with_threshold(0.1).check(REFUSALS[0]).action == "flag"


@pytest.mark.parametrize("ignore", [["help with that"], ["I'm SORRY, but I can't help"], [re.compile("can't help")]])
def test_what_is_ignored_is_no_refusal(ignore):
    assert Refusal(ignore=ignore).check("I'm sorry, but I can't help with that.").action == "allow"


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"action": "rewrite"}, {"ignore": "text"}])
def test_wrong_wiring_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Refusal(**wrong)
