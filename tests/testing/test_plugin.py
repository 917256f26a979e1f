import pytest


def test_the_fixtures_work_without_any_import(run_pytest):
    result = run_pytest(
        test_it="""
        from llmops_sdk import Pipeline, Scripted
        from llmops_sdk.calls import AttemptEnded, Ended
        from llmops_sdk.testing import FaultServer, Reply

        def test_scripted_engine(scripted_engine):
            engine = scripted_engine("Hello", ["Good", "bye"], name="mine")
            assert isinstance(engine, Scripted)
            assert engine.generate("?").text == "Hello"
            assert [chunk.text for chunk in engine.stream("?")][:2] == ["Good", "bye"]

        servers = []

        def test_fault_server(fault_server):
            one, other = fault_server(429), fault_server(Reply(text="Hi"), models=("a",))
            assert one.port != other.port
            servers.extend([one, other])
            from llmops_sdk import Engine
            with Engine.open(other.url, model="a") as engine:
                assert engine.generate("?").text == "Hi"

        def test_servers_are_stopped_after_the_test():
            assert [server.url for server in servers] == ["", ""]

        def test_memory_trace(memory_trace, scripted_engine):
            pipeline = "Say {{ what }}" | scripted_engine("Hello")
            pipeline.run(what="hello", hooks=[memory_trace])
            assert len(memory_trace.of(AttemptEnded)) == 1
            assert type(memory_trace.events[-1]) is Ended
        """
    )
    result.assert_outcomes(passed=4)


CASSETTES = """
    import pytest
    from llmops_sdk import Engine, Scripted

    def ask(cassette, text):
        return cassette.wrap(Scripted(text.upper())).generate(text).text

    def test_one(cassette):
        assert ask(cassette, "hi") == "HI"

    class TestClass:
        @pytest.mark.parametrize("text", ["plain", "a/b", "a:b"])
        def test_two(self, cassette, text):
            assert ask(cassette, text) == text.upper()

    def test_network_while_recording(cassette):
        import socket
        from llmops_sdk.testing import NetworkBlockedError
        blocked = False
        with socket.socket() as one:
            one.settimeout(0.01)
            try:
                one.connect_ex(("192.0.2.1", 9))
            except NetworkBlockedError:
                blocked = True
        assert blocked is not cassette.recording
        ask(cassette, "x")
"""


def test_cassettes_are_recorded_by_test_name_and_replayed(run_pytest, pytester):
    unrecorded = run_pytest(test_it=CASSETTES)
    unrecorded.assert_outcomes(errors=5)
    unrecorded.stdout.fnmatch_lines(["*there is no cassette*test_it.test_one.jsonl*--llmops-record*"])

    run_pytest("--llmops-record").assert_outcomes(passed=5)
    names = sorted(file.name for file in (pytester.path / "cassettes").iterdir())
    assert len(names) == 5
    assert {"test_it.test_one.jsonl", "test_it.TestClass.test_two_plain.jsonl"} < set(names)

    # Replay does not ask the engine, which would answer otherwise now.
    file = pytester.path / "test_it.py"
    file.write_text(file.read_text().replace("Scripted(text.upper())", "Scripted('changed')"))
    run_pytest().assert_outcomes(passed=5)

    file.write_text(file.read_text().replace('ask(cassette, "hi")', 'ask(cassette, "ho")'))
    changed = run_pytest()
    changed.assert_outcomes(passed=4, failed=1)
    changed.stdout.fnmatch_lines(["*-hi", "*+ho"])


CONNECTING = """
    import socket
    import pytest

    def connect():
        with socket.socket() as one:
            one.settimeout(0.01)
            one.connect_ex(("192.0.2.1", 9))  # gives the error of the system, and raises when it is blocked

    def test_plain():
        connect()

    def test_with_fixture(scripted_engine):
        connect()

    @pytest.mark.llmops_network
    def test_marked(scripted_engine):
        connect()

    @pytest.fixture
    def connecting_fixture(scripted_engine):
        connect()

    def test_with_a_fixture_that_connects(connecting_fixture):
        pass

    @pytest.fixture
    def cassette():
        return "another library's"

    def test_with_a_fixture_of_the_same_name(cassette):
        connect()
"""


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        ((), {"passed": 3, "failed": 1, "errors": 1}),
        (("-o", "llmops_block_network=true"), {"passed": 1, "failed": 3, "errors": 1}),
        (("--llmops-network",), {"passed": 5}),
        (("--llmops-network", "-o", "llmops_block_network=true"), {"passed": 5}),
    ],
    ids=["tests-with-fixtures", "all-tests", "allowed", "flag-before-ini"],
)
def test_the_network_is_blocked_where_it_should_be(run_pytest, arguments, outcomes):
    result = run_pytest("--strict-markers", *arguments, test_it=CONNECTING)
    result.assert_outcomes(**outcomes)
    if "failed" in outcomes:
        result.stdout.fnmatch_lines(["*NetworkBlockedError: the test wanted to connect to 192.0.2.1*"])


def test_a_suite_that_does_not_use_the_plugin_pays_nothing_for_it(run_pytest):
    result = run_pytest(
        "--strict-markers",
        test_it="""
        import socket, sys
        connect, lookup = socket.socket.connect, socket.getaddrinfo

        def test_nothing_is_loaded_or_patched():
            assert (socket.socket.connect, socket.getaddrinfo) == (connect, lookup)
            own = sorted(name for name in sys.modules if name.startswith("llmops_sdk"))
            assert own == ["llmops_sdk", "llmops_sdk.testing", "llmops_sdk.testing.plugin"]
            assert "asyncio" not in sys.modules or "pytest_asyncio" in sys.modules
        """,
    )
    result.assert_outcomes(passed=1)


def test_options_and_fixtures_are_listed(run_pytest):
    run_pytest("--help").stdout.fnmatch_lines(["*--llmops-record*", "*--llmops-network*", "*llmops_block_network*"])
    listed = run_pytest("--fixtures", "-v").stdout
    listed.fnmatch_lines_random(
        [f"{name}*" for name in ("scripted_engine", "fault_server", "cassette", "memory_trace")]
    )
    run_pytest("--markers").stdout.fnmatch_lines(["@pytest.mark.llmops_network*"])
