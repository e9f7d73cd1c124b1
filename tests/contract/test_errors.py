from paper_lib.contract.errors import LONGEST, RunError, UserError


def test_what_a_terminal_would_act_on_is_escaped():
    assert str(UserError('a\nb\x1b[31m\r\u2028\udcff é 日')) == r'a\nb\x1b[31m\r\u2028\udcff é 日'


def test_a_long_message_keeps_its_beginning_and_its_advice():
    text = str(RunError(f"task='{'x' * 100_000}': unknown"))
    assert len(text) < LONGEST
    assert text.startswith("task='xxx") and text.endswith("xxx': unknown") and ' ... ' in text
