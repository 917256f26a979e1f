"""`Prompt.fit`: what is cut, what is never cut, and what is said about it."""

from __future__ import annotations

import pickle
import threading
import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.calls import Aside, Rendered, event_json
from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ConfigurationError, ContextLengthError, EngineTimeout, PromptError
from llmops_sdk.messages import Document, Message, Request, ToolCall
from llmops_sdk.prompts import Prompt, Section
from llmops_sdk.prompts._files import parse_prompt
from llmops_sdk.prompts._fitting.breaks import break_after, break_before
from llmops_sdk.protocols import Capabilities
from llmops_sdk.tokens import counter_of

SENTENCE = "The parcel left the depot on Monday and nobody knows where it is now. "


def words(text: str) -> int:
    return len(text.split())


def quarters(text: str) -> int:
    """A token for four bytes: exact for a vocabulary that nobody has."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def tokens_of(request: Request, counter: object = words) -> int:
    return counter_of(counter).request(request).tokens


def parsed(text: str) -> Prompt:
    return parse_prompt(text.encode(), name="support/answer", where="prompts/support/answer.prompt.md")


ANSWER = parsed(
    """[system]
You answer questions of customers.

[history priority=5]

[user name=sources priority=1 shrink=end]
Sources:
{{ sources }}

[+ name=notes priority=3 shrink=start]
Notes: {{ notes }}

[+]
Question: {{ question }}
"""
)


def conversation(exchanges: int) -> list[Message]:
    said = []
    for number in range(exchanges):
        said += [Message.user(f"question {number}, of five words"), Message.assistant(f"answer {number} in four")]
    return said


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages]


def values(**others: object) -> dict[str, object]:
    return {"history": conversation(3), "sources": SENTENCE * 3, "notes": "none", "question": "Where?", **others}


class TestWhatFits:
    def test_a_prompt_that_fits_is_rendered_as_it_is(self) -> None:
        assert ANSWER.fit(1_000, counter=words).render(**values()) == ANSWER.render(**values())
        assert ANSWER.fit(1_000, counter=words).report(**values()).cuts == ()

    def test_the_report_counts_each_section(self) -> None:
        report = ANSWER.fit(1_000, counter=words).report(**values())

        assert report.sections == {"system": 5, "history": 27, "sources": 43, "notes": 2, "user": 2}
        assert report.tokens == tokens_of(report.request)
        assert (report.budget, report.counter) == (1_000, "words")

    def test_sections_without_names_are_told_apart(self) -> None:
        prompt = Prompt([Section("user", "a b"), Section("assistant", "c"), Section("user", "d")])
        assert prompt.fit(100, counter=words).report().sections == {"user": 2, "assistant": 1, "user-2": 1}

    def test_an_equal_text_is_counted_once(self) -> None:
        counted = []

        def counter(text: str) -> int:
            counted.append(text)
            return len(text.split())

        fitted = ANSWER.fit(1_000, counter=counter)
        fitted.render(**values())
        first = len(counted)
        fitted.render(**values())
        assert len(counted) == first


class TestOrder:
    def test_the_lowest_priority_is_cut_first(self) -> None:
        report = ANSWER.fit(110, counter=words).report(**values(sources=SENTENCE * 20))

        assert [(cut.section, cut.how) for cut in report.cuts] == [("sources", "cut at the end")]
        assert report.tokens <= 110
        text = report.request.messages[-1].text
        assert text.startswith("Sources:\nThe parcel left")
        assert text.endswith("it is now. [...]\n\nNotes: none\n\nQuestion: Where?")

    def test_then_the_next_one(self) -> None:
        report = ANSWER.fit(110, counter=words).report(**values(sources=SENTENCE * 20, notes=SENTENCE * 20))

        assert [cut.section for cut in report.cuts] == ["sources", "notes"]
        assert report.cuts[0].how == "dropped"
        assert report.cuts[1].how == "cut at the start"
        assert report.request.messages[-1].text.startswith("Notes: [...] ")
        assert texts(report.request.messages[1:-1]) == texts(conversation(3))

    def test_what_was_empty_is_no_cut(self) -> None:
        prompt = parsed("[history priority=1]\n[user name=sources priority=2]\n{{ sources }}\n[user]\nWhy?")
        report = prompt.fit(60, counter=words).report(history=[], sources=SENTENCE * 20)

        assert [cut.section for cut in report.cuts] == ["sources"]

    def test_of_equal_priorities_the_last_one_is_cut_first(self) -> None:
        prompt = Prompt(
            [Section("user", "{{ a }}", name="one", priority=1), Section("user", "{{ a }}", name="two", priority=1)]
        )
        report = prompt.fit(60, counter=words).report(a="word " * 40)
        assert [cut.section for cut in report.cuts] == ["two"]

    def test_a_cut_says_how_many_tokens_went(self) -> None:
        before = ANSWER.fit(1_000, counter=words).report(**values(sources=SENTENCE * 20))
        after = ANSWER.fit(110, counter=words).report(**values(sources=SENTENCE * 20))
        (cut,) = after.cuts

        assert cut.after == after.sections["sources"]
        assert cut.before == before.sections["sources"]

    def test_one_variable_in_two_sections_is_cut_where_it_may_be(self) -> None:
        prompt = Prompt([Section("system", "{{ a }}"), Section("user", "{{ a }}", priority=1)])
        request = prompt.fit(70, counter=words).render(a="word " * 40)

        assert request.messages[0].text == "word " * 40
        assert request.messages[1].text.endswith(" [...]")

    def test_the_longest_variable_of_a_section_is_cut(self) -> None:
        prompt = Prompt([Section("user", "# {{ title }}\n{{ body }}", priority=1)])
        text = (
            prompt.fit(40, counter=words).render(title="A title of six words, say", body=SENTENCE * 9).messages[0].text
        )
        assert text.startswith("# A title of six words, say\nThe parcel")


class TestWays:
    @pytest.mark.parametrize(
        ("way", "begins", "ends"),
        [("end", "0 1 2", " [...]"), ("start", "[...] ", "98 99"), ("middle", "0 1", "98 99")],
    )
    def test_a_text_is_cut_on_the_side_that_is_asked_for(self, way: str, begins: str, ends: str) -> None:
        prompt = parsed(f"[user priority=1 shrink={way}]\n{{{{ numbers }}}}\n")
        text = prompt.fit(40, counter=words).render(numbers=" ".join(map(str, range(100)))).messages[0].text

        assert text.startswith(begins)
        assert text.endswith(ends)
        assert text.count("[...]") == 1

    def test_a_section_can_only_be_dropped_with_drop(self) -> None:
        prompt = parsed("[user]\nA question.\n\n[+ name=extra priority=1 shrink=drop]\n{{ extra }}\n")
        request = prompt.fit(20, counter=words).render(extra="word " * 50)
        assert [message.text for message in request.messages] == ["A question."]

    def test_what_follows_a_dropped_section_begins_the_message(self) -> None:
        prompt = parsed("[system]\nRules.\n\n[user priority=1 shrink=drop]\n{{ a }}\n\n[+]\nThe question: {{ b }}\n")
        request = prompt.fit(30, counter=words).render(a="word " * 50, b="why")

        assert [(message.role, message.text) for message in request.messages] == [
            ("system", "Rules."),
            ("user", "The question: why"),
        ]
        assert request.messages[1].origins[0].start == len("The question: ")

    def test_a_sections_own_words_are_cut_where_it_has_no_variables(self) -> None:
        prompt = parsed(f"[system priority=1]\n{SENTENCE * 10}\n\n[user]\nWhy?\n")
        text = prompt.fit(60, counter=words).render().messages[0].text
        assert text.endswith("now. [...]")
        assert text != SENTENCE * 10

    def test_words_around_a_variable_stay(self) -> None:
        prompt = parsed("[user priority=1]\n<text>\n{{ text }}\n</text>\n")
        text = prompt.fit(30, counter=words).render(text=SENTENCE * 10).messages[0].text
        assert text.startswith("<text>\nThe")
        assert text.endswith("[...]\n</text>")

    def test_documents_are_dropped_from_the_end(self) -> None:
        documents = [Document(id=str(number), text=SENTENCE) for number in range(10)]
        report = ANSWER.fit(130, counter=words).report(**values(sources=documents))

        origins = report.request.messages[-1].origins
        kept = [origin.source for origin in origins if origin.source.startswith("document:")]
        assert 1 < len(kept) < 10
        assert kept == [f"document:{number}" for number in range(len(kept))]
        text = report.request.messages[-1].text
        assert all(text[origin.start : origin.end] == SENTENCE for origin in origins[: len(kept)])

    def test_a_document_that_does_not_fit_alone_is_cut(self) -> None:
        documents = [Document(id="long", text=SENTENCE * 30), Document(id="short", text="x")]
        message = ANSWER.fit(110, counter=words).render(**values(sources=documents)).messages[-1]

        origin = message.origins[0]
        assert origin.source == "document:long"
        assert (SENTENCE * 30).startswith(message.text[origin.start : origin.end])

    def test_other_values_are_not_cut_but_their_section_goes(self) -> None:
        prompt = Prompt([Section("user", "Why?"), Section("user", "{{ a.b }}", priority=1)])
        report = prompt.fit(20, counter=words).report(a={"b": SENTENCE * 3})
        assert [message.text for message in report.request.messages] == ["Why?"]
        assert report.cuts[0].how == "dropped"

    @pytest.mark.parametrize(
        ("declared", "body"),
        [
            ("{type: str}", "{{ a }}"),
            ("{type: str}", "{{ a | upper }}"),
            ("{type: str, fence: xml}", "{{ a }}"),
            ("{type: str, fence: quote}", "{{ a }}"),
            ("{type: documents, fence: xml}", "{{ a }}"),
        ],
    )
    def test_the_mark_of_a_cut_is_of_no_variable(self, declared: str, body: str) -> None:
        matter = f"---\nvariables: {{a: {declared}, b: str}}\n---\n"
        prompt = parsed(f"{matter}[user priority=1 shrink=middle]\n{body}\n\n[+]\n{{{{ b }}}}")
        text = "</a>" + "One line.\n" * 30
        given = [Document(id="d", text=text)] if "documents" in declared else text
        message = prompt.fit(40, counter=words).render(a=given, b="not [...] cut").messages[0]

        *cut, whole = [message.text[origin.start : origin.end] for origin in message.origins]
        assert len(cut) == 2
        assert all("[...]" not in one and "line" in one.lower() for one in cut)
        assert whole == "not [...] cut"

    def test_another_marker(self) -> None:
        fitted = Prompt([Section("user", "{{ a }}", priority=1)]).fit(30, counter=words, marker="(shortened)")
        assert fitted.render(a="word " * 90).messages[0].text.endswith("word (shortened)")
        without = Prompt([Section("user", "{{ a }}", priority=1)]).fit(30, counter=words, marker="")
        assert without.render(a="word " * 90).messages[0].text.endswith("word")


class TestHistories:
    def test_the_oldest_exchanges_go(self) -> None:
        prompt = parsed("[system]\nRules.\n\n[history priority=1]\n\n[user]\n{{ question }}\n")
        request = prompt.fit(80, counter=words).render(history=conversation(20), question="Why?")
        kept = request.messages[1:-1]

        assert texts(kept) == texts(conversation(20)[-len(kept) :])
        assert len(kept) % 2 == 0
        assert kept

    def test_calls_of_tools_keep_their_results(self) -> None:
        steps = [Message.user("Find it")]
        for number in range(20):
            call = ToolCall(id=str(number), name="search", arguments='{"q": "a b c"}')
            steps += [Message.assistant(tool_calls=(call, call))]
            steps += [Message.tool("one two three four", tool_call_id=str(number))] * 2
        prompt = parsed("[history priority=1]\n\n[user]\n{{ question }}\n")
        kept = prompt.fit(160, counter=words).render(history=steps, question="Why?").messages[:-1]

        assert kept[0].text == steps[0].text
        assert 1 < len(kept) < len(steps)
        assert texts(kept[1:]) == texts(steps[-len(kept) + 1 :])
        assert kept[1].tool_calls

    def test_the_whole_history_may_go(self) -> None:
        prompt = parsed("[history priority=1]\n\n[user]\n{{ question }}\n")
        report = prompt.fit(20, counter=words).report(history=conversation(5), question="Why?")
        assert [message.text for message in report.request.messages] == ["Why?"]


class TestExamples:
    CASES = tuple({"question": f"question {number}", "answer": f"answer {number}"} for number in range(9))

    @pytest.mark.parametrize(("way", "first"), [("end", 0), ("start", 5)])
    def test_whole_examples_are_dropped(self, way: str, first: int) -> None:
        prompt = parsed(
            f"---\nexamples:\n{''.join(f'  - {case}' + chr(10) for case in self.CASES)}---\n[system]\nRules.\n\n"
            f"[examples priority=1 shrink={way}]\n\n[user]\n{{{{ question }}}}\n"
        )
        report = prompt.fit(90, counter=words).report(question="Why?")

        shown = texts(report.request.messages[1:-1])
        assert shown == [one for case in self.CASES[first : first + 4] for one in (case["question"], case["answer"])]
        assert report.cuts[0].section == "examples"
        assert report.cuts[0].how == ("first examples dropped" if way == "start" else "last examples dropped")


class TestWhatDoesNotFit:
    def test_the_error_has_the_tokens_of_every_section(self) -> None:
        with pytest.raises(ContextLengthError) as caught:
            ANSWER.fit(30, counter=words).render(**values(question=SENTENCE * 5))

        message = str(caught.value)
        assert "priority=1 shrink=end" in message
        assert "sources (priority 1, end)" in message
        assert "user (never cut)" in message
        assert "71" in message
        assert (caught.value.window, caught.value.tokens) == (
            30,
            tokens_of(ANSWER.render(**values(question=SENTENCE * 5, history=[])), words) - 45,
        )

    def test_a_request_without_messages_is_none(self) -> None:
        with pytest.raises(ContextLengthError):
            Prompt([Section("user", "word word", priority=1, shrink="drop")]).fit(8, counter=words).render()

    def test_wrong_variables_are_refused_as_always(self) -> None:
        with pytest.raises(PromptError, match="question"):
            ANSWER.fit(30, counter=words).render()


class TestWrongWiring:
    @pytest.mark.parametrize(
        ("tokens", "options", "says"),
        [
            (0, {}, "over 0"),
            (1.5, {}, "whole number"),
            (True, {}, "an engine"),
            ("all", {}, "an engine"),
            ("window", {"counter": words}, "an engine"),
            (9, {"counter": 3}, "counter"),
            (9, {"marker": None}, "marker"),
            (9, {"summary_share": 0}, "summary_share"),
            (9, {"summariser": "gpt"}, "summariser"),
            (Scripted("x"), {}, "max_tokens"),
        ],
    )
    def test_is_refused(self, tokens: object, options: dict[str, object], says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            ANSWER.fit(tokens, **options)  # type: ignore[arg-type]

    def test_summaries_need_an_engine(self) -> None:
        with pytest.raises(ConfigurationError, match="summariser="):
            parsed("[user priority=1 shrink=summarise]\n{{ a }}\n").fit(9)

    @pytest.mark.parametrize(
        ("heading", "says"),
        [
            ("[user shrink=end]", "`shrink=end` has no effect without a priority"),
            ("[user priority=1 shrink=stop]", "`shrink=stop` is no way to shorten this; there are end, start, middle"),
            ("[user priority=1 shrink=oldest]", "`shrink=oldest` is no way"),
            (
                "[examples priority=1 shrink=middle]",
                "`shrink=middle` is no way to shorten this; there are end",
            ),
            ("[history priority=1 shrink=end]", "`shrink=end` is no way to shorten this; there are oldest, drop"),
        ],
    )
    def test_a_wrong_heading_is_refused_with_its_line(self, heading: str, says: str) -> None:
        with pytest.raises(PromptError) as caught:
            parsed(f"[system]\nx\n\n{heading}\ny\n")
        assert str(caught.value).startswith(f"prompts/support/answer.prompt.md:4: {says}")

    def test_a_way_to_shrink_is_part_of_the_version(self) -> None:
        assert parsed("[user priority=1]\nx\n").hash != parsed("[user priority=1 shrink=start]\nx\n").hash


class TestWindows:
    def test_the_window_of_an_engine_less_the_answer(self) -> None:
        engine = Scripted("x", capabilities=Capabilities(context_window=100))
        prompt = Prompt([Section("user", "{{ a }}", priority=1)], parameters={"max_tokens": 40})

        assert prompt.fit(engine).budget == 60
        assert prompt.fit("window", counter=engine).budget == 60
        report = prompt.fit(engine).report(a=SENTENCE * 90)
        assert report.tokens <= 60
        assert report.doubt == "the engine 'scripted' has no tokenizer at hand, so tokens are estimated by bytes"
        assert not report.exact

    def test_a_window_that_nobody_knows_is_an_error(self) -> None:
        fitted = Prompt([Section("user", "x")], parameters={"max_tokens": 4}).fit(Scripted("x"))
        with pytest.raises(ConfigurationError, match="window of the engine 'scripted'"):
            fitted.render()


class TestInPipelines:
    def test_a_run_records_what_was_cut(self) -> None:
        engine = Scripted("Here.")
        result = (ANSWER.fit(110, counter=words) | engine).run(**values(sources=SENTENCE * 20))

        (rendered,) = [event for event in result.call.events if isinstance(event, Rendered)]
        assert [cut.section for cut in rendered.cuts] == ["sources"]
        assert rendered.prompt == ANSWER.ref
        assert tokens_of(engine.requests[0]) <= 110
        assert "sources: " in str(result.explain())
        assert event_json(result.call, rendered)["cuts"][0]["how"] == "cut at the end"

    def test_it_travels_between_processes(self) -> None:
        fitted = pickle.loads(pickle.dumps(ANSWER.fit(110, counter=words, marker="(cut)")))
        request = fitted.render(**values(sources=SENTENCE * 20))
        assert request == ANSWER.fit(110, counter=words, marker="(cut)").render(**values(sources=SENTENCE * 20))

    @pytest.mark.parametrize(
        ("given", "beside"),
        [
            ({"sources": SENTENCE * 2_000}, True),
            ({"sources": [Document(id=str(number), text=SENTENCE * 100) for number in range(9)]}, True),
            ({"history": [Message.user(SENTENCE * 500), Message.assistant("Well.")]}, True),
            ({"sources": SENTENCE * 20}, False),
        ],
        ids=["text", "documents", "history", "short"],
    )
    async def test_long_texts_are_counted_beside_the_loop(self, given: dict[str, object], beside: bool) -> None:
        threads: set[int] = set()

        def counter(text: str) -> int:
            threads.add(threading.get_ident())
            return words(text)

        result = await (ANSWER.fit(110, counter=counter) | Scripted("Here.")).arun(**values(**given))
        assert result.text == "Here."
        assert (threading.get_ident() not in threads) == beside


SUMMED = parsed("[system]\nRules.\n\n[user name=sources priority=1 shrink=summarise]\n{{ sources }}\n\n[+]\nWhy?\n")


class TestSummaries:
    def test_a_run_asks_for_a_summary_and_pays_for_it(self) -> None:
        summariser = Scripted("A parcel is lost.", name="small")
        fitted = SUMMED.fit(60, counter=words, summariser=summariser)
        engine = Scripted("Because.")
        result = (fitted | engine).run(sources=SENTENCE * 20)

        assert engine.requests[0].messages[1].text == "A parcel is lost.\n\nWhy?"
        (aside,) = [event for event in result.call.events if isinstance(event, Aside)]
        assert (aside.asker, aside.attempt.engine) == ("support/answer:summary", "small")
        (rendered,) = [event for event in result.call.events if isinstance(event, Rendered)]
        assert rendered.cuts[0].how == "summarised"
        assert SENTENCE in summariser.requests[0].messages[1].text

    def test_a_summary_is_made_once(self) -> None:
        summariser = Scripted("A parcel is lost.")
        pipeline = SUMMED.fit(60, counter=words, summariser=summariser) | Scripted("Because.")
        for _ in range(3):
            pipeline.run(sources=SENTENCE * 20)
        assert len(summariser.requests) == 1

    async def test_it_works_outside_of_a_run(self) -> None:
        fitted = SUMMED.fit(60, counter=words, summariser=Scripted("A parcel is lost."))
        cut = fitted.report(sources=SENTENCE * 20).cuts[0]
        report = await fitted.areport(sources=SENTENCE * 20)

        assert cut.how == "cut at the end, since there is no summary"
        assert report.cuts[0].how == "summarised"
        assert fitted.render(sources=SENTENCE * 20) == report.request
        assert await fitted.arender(sources=SENTENCE * 20) == report.request

    @pytest.mark.parametrize(
        "answer", [EngineTimeout("late", engine="small"), "", SENTENCE * 20], ids=["an error", "nothing", "too long"]
    )
    def test_without_a_summary_the_text_is_cut(self, answer: object) -> None:
        fitted = SUMMED.fit(60, counter=words, summariser=Scripted(answer))
        engine = Scripted("Because.")
        (fitted | engine).run(sources=SENTENCE * 20)
        assert engine.requests[0].messages[1].text.endswith("now. [...]\n\nWhy?")

    def test_a_slow_summary_leaves_time_for_the_answer(self) -> None:
        fitted = SUMMED.fit(60, counter=words, summariser=Scripted("late", delay_s=30), summary_share=0.1)
        result = (fitted | Scripted("Because.")).run(sources=SENTENCE * 20, deadline_s=2)
        assert result.text == "Because."

    async def test_documents_become_one(self) -> None:
        fitted = SUMMED.fit(60, counter=words, summariser=Scripted("Lost."))
        documents = [Document(id=str(number), text=SENTENCE) for number in range(9)]
        request = await fitted.arender(sources=documents)

        assert request.messages[1].text == "Lost.\n\nWhy?"
        assert not request.messages[1].origins[0].trusted

    async def test_a_conversation_keeps_its_newest_messages(self) -> None:
        prompt = parsed("[history priority=1 shrink=summarise]\n\n[user]\n{{ question }}\n")
        fitted = prompt.fit(90, counter=words, summariser=Scripted("They talked."))
        messages = (await fitted.arender(history=conversation(20), question="Why?")).messages

        assert messages[0].text == "Summary of the conversation so far: They talked."
        origin = messages[0].origins[0]
        assert messages[0].text[origin.start : origin.end] == "They talked."
        assert (origin.source, origin.trusted) == ("variable:history", False)
        assert texts(messages[1:-1]) == texts(conversation(20)[-len(messages) + 2 :])


LETTERS = st.sampled_from(
    [
        *"abcde é.!?\n",
        "e\u0301",
        "\U0001f469\u200d\U0001f4bb",
        "\U0001f1e8\U0001f1ed",
        "\u4f60",
        "\ud800",
        "\r\n",
        "word ",
        SENTENCE,
    ]
)
TEXTS = st.lists(LETTERS, max_size=120).map("".join)


def falls_apart(text: str, at: int) -> bool:
    return 0 < at < len(text) and (unicodedata.combining(text[at]) > 0 or "\u200d" in (text[at - 1], text[at]))


@settings(max_examples=80, deadline=None)
@given(
    first=TEXTS,
    second=st.one_of(TEXTS, st.lists(TEXTS.map(lambda text: Document(id="d", text=text)), min_size=1, max_size=5)),
    said=st.integers(0, 6),
    ways=st.tuples(*[st.sampled_from(["end", "start", "middle", "drop"])] * 2),
    budget=st.integers(30, 300),
    counter=st.sampled_from([words, quarters, len]),
)
def test_what_is_rendered_fits_and_its_origins_are_exact(
    first: str, second: object, said: int, ways: tuple[str, str], budget: int, counter: object
) -> None:
    prompt = Prompt(
        [
            Section("system", "Rules."),
            Section("user", "", kind="history", name="history", priority=2),
            Section("user", "One: {{ one }}!", priority=1, shrink=ways[0]),  # type: ignore[arg-type]
            Section("user", "Two: {{ two }}!", kind="more", priority=3, shrink=ways[1]),  # type: ignore[arg-type]
            Section("user", "{{ end }}", kind="more"),
        ]
    )
    report = prompt.fit(budget, counter=counter).report(one=first, two=second, history=conversation(said), end="Why?")

    assert report.tokens == tokens_of(report.request, counter) <= budget
    assert report.request.messages[0].text == "Rules."
    assert report.request.messages[-1].text.endswith("Why?")
    whole = {
        "variable:one": [first],
        "variable:two": [second],
        "variable:end": ["Why?"],
        "variable:history": texts(conversation(said)),
        "document:d": [one.text for one in second] if isinstance(second, list) else [],
    }
    for message in report.request.messages:
        for origin in message.origins:
            text = message.text[origin.start : origin.end]
            sources = [source for source in whole[origin.source] if text in source]
            assert sources
            if text and text not in whole[origin.source]:
                for source in sources:
                    places = [at for at in range(len(source)) if source.startswith(text, at)]
                    assert any(not falls_apart(source, at) and not falls_apart(source, at + len(text)) for at in places)


LONG = st.lists(st.sampled_from([SENTENCE, "word ", "a", "\n", "longerwords"]), min_size=200, max_size=400).map("".join)


@settings(max_examples=50, deadline=None)
@given(
    text=LONG,
    way=st.sampled_from(["end", "start", "middle"]),
    budget=st.integers(60, 200),
    counter=st.sampled_from([words, quarters]),
)
def test_little_of_the_budget_is_wasted(text: str, way: str, budget: int, counter: object) -> None:
    prompt = Prompt([Section("user", "{{ text }}", priority=1, shrink=way)])  # type: ignore[arg-type]
    report = prompt.fit(budget, counter=counter).report(text=text)
    if report.cuts:
        sides = 2 if way == "middle" else 1
        for_a_better_place = min(200 // 4, budget // 4) + 1
        assert budget - report.tokens <= sides * for_a_better_place + 2 * quarters(" [...] ") + 6


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, seed=st.integers(0, 9))
def test_a_counter_that_makes_no_sense_is_survived(text: str, seed: int) -> None:
    def odd(given: str) -> int:
        return (len(given) * 7919 + seed) % 50

    prompt = Prompt([Section("user", "{{ text }}", priority=1), Section("user", "Why?")])
    try:
        report = prompt.fit(45, counter=odd).report(text=text)
    except ContextLengthError:
        return
    assert report.tokens <= 45


@pytest.mark.parametrize(
    "character", ["e\u0301", "\U0001f469\u200d\U0001f4bb", "\U0001f1e8\U0001f1ed", "\ud83d\ude00", "\u1112\u1161"]
)
def test_no_character_is_cut_apart(character: str) -> None:
    text = "x" * 60 + character + "y" * 60
    for at in range(len(text)):
        assert not 60 < break_before(text, at) < 60 + len(character)
        assert not 60 < break_after(text, at) < 60 + len(character)


def test_parts_that_take_more_tokens_together_are_cut_further() -> None:
    prompt = Prompt([Section("user", "{{ one }}", priority=1), Section("user", "word " * 20, kind="more")])
    report = prompt.fit(200, counter=lambda text: int(len(text) ** 1.2 / 2)).report(one="word " * 200)

    assert report.tokens <= 200
    assert report.cuts[0].how == "cut at the end"
    assert report.sections["user"] > 20
