"""What a long phase says: nothing at first, then how far it is and how long it takes."""

import io

import pytest

from simclr_tf import phases


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(phases.time, "monotonic", lambda: now[0])
    return now


def test_a_short_phase_says_nothing(clock):
    stream = io.StringIO()
    one = phases.Phase("features", 10, stream=stream)
    for clock[0] in (0.5, 1.0, 1.9):
        one.advance()
    one.close()
    assert stream.getvalue() == ""


def test_a_long_phase_says_how_far_it_is_and_what_is_left(clock):
    stream = io.StringIO()
    one = phases.Phase("features", 1000, stream=stream)
    for clock[0] in (1.0, 2.0, 3.0, 4.0, 12.0):
        one.advance(100)
    clock[0] = 200.0
    one.advance(500)
    one.close()
    assert stream.getvalue().splitlines() == [
        "features: 200/1,000 images, about 8 s left",
        "features: 500/1,000 images, about 12 s left",
        "features: 1,000/1,000 images, about 0 s left",
        "features: 1,000 images in 3 min 20 s",
    ]


def test_a_terminal_shows_one_line(clock):
    stream = Terminal()
    one = phases.Phase("penalties", 4, "penalties", stream=stream)
    for clock[0] in (2.0, 2.1, 3.0):
        one.advance()
    one.close()
    said = stream.getvalue()
    assert said.count("\n") == 1 and said.count("\r") == 3
    assert "2.1" not in said and said.endswith("penalties: 3 penalties in 3 s\n")


def test_a_phase_that_counts_nothing_is_named_while_it_lasts(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(phases.sys, "stderr", stream)
    monkeypatch.setattr(phases, "_SILENT_SECONDS", 0.05)
    with phases.phase("building", unit=""):
        deadline = phases.time.monotonic() + 10
        while not stream.getvalue() and phases.time.monotonic() < deadline:
            phases.time.sleep(0.01)
        assert stream.getvalue() == "building ...\n"
    assert stream.getvalue() == "building ...\nbuilding in 0 s\n"


def test_what_an_earlier_call_did_counts_for_the_state_and_not_for_the_pace(clock):
    stream = io.StringIO()
    one = phases.Phase("embed", 1000, stream=stream, start=800)
    clock[0] = 10.0
    one.reach(900)
    clock[0] = 20.0
    one.reach(1000)
    one.close()
    assert stream.getvalue().splitlines() == [
        "embed: 900/1,000 images, about 10 s left",
        "embed: 1,000/1,000 images, about 0 s left",
        "embed: 200 images in 20 s",
    ]


def test_a_line_is_cut_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    phases.rewrite(stream, "x" * 30)
    assert stream.getvalue() == "\r\x1b[K" + "x" * 18 + "…"


def test_quiet_says_nothing(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(phases.sys, "stderr", stream)
    monkeypatch.setattr(phases, "_SILENT_SECONDS", 0.0)
    with phases.quiet(), phases.phase("features", 2) as one:
        one.advance()
    assert stream.getvalue() == "" and phases.said_to() is stream


def test_rows_of_batches_are_counted(monkeypatch):
    seen = []
    monkeypatch.setattr(phases.Phase, "advance", lambda self, count: seen.append(count))
    labels = [{"label": phases_label(3)}, {"label": phases_label(2)}]
    assert list(phases.counted(labels, "features", 5)) == labels
    assert seen == [3, 2]


def phases_label(rows):
    class Label:
        shape = (rows,)

    return Label()


def test_durations_in_words():
    assert [phases.in_words(s) for s in (0.4, 59.4, 60, 3725)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "1 h 2 min",
    ]
