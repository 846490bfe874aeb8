"""The chat of `cria run MODEL` on a terminal: a pty, typed keys, and what the server was told in the end.

What a message became is read from the model that /save makes of the chat."""
import os
import re
import termios
import time

import pytest

from conftest import CRIA

pexpect = pytest.importorskip("pexpect")

ENTER, CTRL_C, CTRL_D, CTRL_J, CTRL_L, UP, LEFT = "\r", "\x03", "\x04", "\n", "\x0c", "\x1b[A", "\x1b[D"
PASTE, PASTE_END = "\x1b[200~", "\x1b[201~"
# The hints are on the screen only while an empty line waits for keys; the prompts alone are drawn again with the line.
READY, MORE = "Send a message (/? for help)\x1b[0m\x1b[28D", 'Use """ to end multi-line input\x1b[0m\x1b[31D'


@pytest.fixture(scope="session")
def talker(server):
    """A model with short answers."""
    status, answer = server.call("POST", "/api/create", {"model": "talker", "from": "smollm2", "stream": False,
                                                         "parameters": {"num_predict": 8, "temperature": 0}})
    assert status == 200, answer
    return "talker"


class Chat:
    """`cria run` in a pseudo terminal."""

    def __init__(self, server, home, model="talker", args=(), env=None, size=(24, 80)):
        self.server = server
        e = dict(server.env, HOME=str(home), TERM="xterm", LC_ALL="C.UTF-8")
        e.update(env or {})
        self.ready = READY if e["TERM"] == "xterm" else ">>> "
        self.p = pexpect.spawn(CRIA, ["run", model] + list(args), env=e, encoding="utf-8", codec_errors="replace", timeout=60, dimensions=size)
        self.p.delaybeforesend = None
        self.modes = termios.tcgetattr(self.p.child_fd)
        self.seen = ""
        self.prompt()

    def prompt(self, mark=None):
        """Waits for a prompt; the text before it without escape codes."""
        self.p.expect_exact(mark or self.ready)
        self.seen += self.p.before + self.p.after
        return plain(self.p.before)

    def say(self, text, mark=None):
        """Types a line and waits for the next prompt; the text in between, the echoed line in front."""
        self.p.send(text + ENTER)
        return self.prompt(mark)

    def messages(self):
        """The conversation as /save stores it: [(role, text)]."""
        assert "Created new model 'saved'" in self.say("/save saved")
        status, answer = self.server.call("POST", "/api/show", {"model": "saved"})
        assert status == 200, answer
        self.server.call("DELETE", "/api/delete", {"model": "saved"})
        return [(m["role"], m["content"]) for m in answer.get("messages", [])]

    def asked(self):
        return [text for role, text in self.messages() if role == "user"]

    def leave(self, keys="/bye" + ENTER):
        self.p.send(keys)
        self.p.expect(pexpect.EOF)
        self.seen += self.p.before
        self.p.close()
        return self.p.exitstatus


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")


@pytest.fixture
def chat(server, talker, tmp_path):
    made = []

    def make(**args):
        c = Chat(server, tmp_path, **args)
        made.append(c)
        return c

    yield make
    for c in made:
        c.p.close(force=True)


def test_answers_and_leaves(chat, tmp_path):
    c = chat()
    out = c.say("What is the capital of France?")
    assert len(out.split("\n", 1)[1].strip()) > 3, out
    asked = c.messages()
    assert asked[0] == ("user", "What is the capital of France?") and asked[1][0] == "assistant" and asked[1][1]
    assert c.leave() == 0
    assert (tmp_path / ".ollama" / "history").read_text().startswith("What is the capital of France?\n")


def test_conversation_is_kept_and_cleared(chat):
    c = chat()
    c.say("My name is Ada.")
    c.say("What is my name?")
    assert [r for r, _ in c.messages()] == ["user", "assistant"] * 2
    assert "Cleared session context" in c.say("/clear")
    c.say("Hello")
    assert c.asked() == ["Hello"]


def test_ctrl_d_leaves_and_deletes(chat):
    c = chat()
    c.say("abXc" + LEFT * 2 + CTRL_D)
    assert c.asked() == ["abc"]
    assert c.leave(CTRL_D) == 0


def test_terminal_modes_come_back(chat):
    c = chat()
    before = c.modes
    assert c.p.isalive() and termios.tcgetattr(c.p.child_fd)[3] & termios.ECHO == 0
    c.p.send("/bye" + ENTER)
    c.p.expect(pexpect.EOF)
    assert termios.tcgetattr(c.p.child_fd)[:4] == before[:4] or c.p.closed


def test_ctrl_c_cancels_a_line(chat, tmp_path):
    c = chat()
    c.p.send("half a thought" + CTRL_C)
    c.p.expect_exact("Use Ctrl + d or /bye to exit.")
    c.prompt()
    c.say('"""never', mark=MORE)
    c.p.send(CTRL_C)
    c.p.expect_exact("Use Ctrl + d or /bye to exit.")
    c.prompt()
    c.say("whole")
    assert c.asked() == ["whole"]
    c.leave()
    assert "half" not in (tmp_path / ".ollama" / "history").read_text()


def test_history_with_arrow_keys(chat, tmp_path):
    c = chat()
    c.say("one")
    c.say("two")
    c.p.send(UP + UP + ENTER)
    c.prompt()
    assert c.asked() == ["one", "two", "one"]
    c.leave()
    c = chat()
    c.say(UP * 4 + " more")
    assert c.asked() == ["two more"]


def test_history_file_is_bounded_and_shared(chat, tmp_path):
    (tmp_path / ".ollama").mkdir()
    f = tmp_path / ".ollama" / "history"
    f.write_text("".join("old %d\n" % i for i in range(150)))
    c = chat()
    with open(f, "a") as other:
        other.write("by another chat\n")
    c.say("/clear")
    lines = f.read_text().split("\n")[:-1]
    assert len(lines) == 100 and lines[-2:] == ["by another chat", "/clear"] and lines[0] == "old 52"


@pytest.mark.parametrize("name", ["OLLAMA_NOHISTORY", "CRIA_NOHISTORY"])
def test_no_history(chat, tmp_path, name):
    c = chat(env={name: "1"})
    c.say("/clear")
    c.leave()
    assert not (tmp_path / ".ollama").exists()


def test_set_nohistory(chat, tmp_path):
    c = chat()
    assert "Set 'nohistory' mode." in c.say("/set nohistory")
    c.say("/clear")
    assert "Set 'history' mode." in c.say("/set history")
    c.leave()
    assert (tmp_path / ".ollama" / "history").read_text() == "/set nohistory\n/bye\n"


def test_multi_line_with_quotes(chat):
    c = chat()
    c.say('"""first', mark=MORE)
    c.say("second", mark=MORE)
    c.say('third"""')
    c.say('"""on one line"""')
    assert c.asked() == ["first\nsecond\nthird", "on one line"]


def test_ctrl_j_breaks_the_line(chat):
    c = chat()
    c.say("first" + CTRL_J + "second")
    c.p.send(UP + ENTER)
    c.prompt()
    assert c.asked() == ["first\nsecond"] * 2


def test_bracketed_paste(chat):
    c = chat()
    assert "\x1b[?2004h" in c.seen
    c.p.send(PASTE + "def f():\r\treturn 1\r\n\rprint(f())" + PASTE_END)
    time.sleep(0.3)
    c.say(" # run it")
    assert c.asked() == ["def f():\n\treturn 1\n\nprint(f()) # run it"]


def test_pasted_keys_do_nothing(chat):
    c = chat()
    c.p.send(PASTE + "a\x03b\x04c\x1b[31md\x7fe" + PASTE_END)
    c.say("")
    assert c.asked() == ["abc[31mde"]


def test_long_paste(chat):
    c = chat()
    c.say("/set parameter num_predict 1")
    text = "\r".join("line %d of a long text" % i for i in range(60))
    c.p.send(PASTE + text + PASTE_END)
    c.say("")
    assert c.asked() == [text.replace("\r", "\n")]


def test_wide_characters(chat):
    c = chat()
    c.say("日本X語" + LEFT + "\x7f" + "\x05" + "é🙂")
    assert c.asked() == ["日本語é🙂"]
    assert "日本" in c.seen


def test_broken_utf8_becomes_a_mark(chat):
    c = chat()
    os.write(c.p.child_fd, b"a\xff\xe3\x81b\r")
    c.prompt()
    assert c.asked() == ["a\ufffd\ufffdb"]


def test_resize_keeps_the_line(chat):
    c = chat()
    c.p.send("a line that is longer than the new terminal is wide, ")
    time.sleep(0.2)
    c.p.setwinsize(20, 36)
    time.sleep(0.2)
    c.say("typed on")
    assert c.asked() == ["a line that is longer than the new terminal is wide, typed on"]


def test_answers_wrap_at_the_width(chat, server):
    text = "word " * 40
    server.call("POST", "/api/create", {"model": "wordy", "from": "talker", "stream": False,
                                        "messages": [{"role": "user", "content": "Say words"}, {"role": "assistant", "content": text}]})
    c = chat(model="wordy", size=(24, 40))
    assert ">>> Say words\n" in plain(c.seen + c.say("/show system"))
    lines = [l for l in plain(c.seen).split("\n") if l.startswith("word")]
    assert len(lines) > 4 and max(map(len, lines)) <= 35
    c.leave()
    c = chat(model="wordy", size=(24, 40), args=["--nowordwrap"])
    c.say("/clear")
    assert text.strip() in plain(c.seen)


def test_ctrl_c_stops_an_answer(chat):
    c = chat()
    c.say("/set parameter num_predict 3000")
    c.say("/set parameter stop zzzzzz")
    c.p.send("Write a very long story about the sea." + ENTER)
    c.p.expect(r"(?s)\x1b\[\?2004l.*?[A-Za-z]+ [A-Za-z]+ [A-Za-z]+")
    start = time.time()
    c.p.send(CTRL_C)
    c.prompt()
    assert time.time() - start < 10
    roles = c.messages()
    assert [r for r, _ in roles] == ["user", "assistant"] and roles[1][1]
    c.say("/set parameter num_predict 3")
    c.say("go on")
    assert len(c.asked()) == 2


def test_typing_during_an_answer_waits(chat):
    c = chat()
    c.p.send("Tell me something." + ENTER)
    time.sleep(0.05)
    c.p.send("and then this" + ENTER)
    c.prompt()
    assert c.asked() == ["Tell me something.", "and then this"]


def test_set(chat):
    c = chat()
    for line, text in (("/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'"),
                       ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'"),
                       ("/set parameter nonsense 1", "Couldn't set parameter: \"unknown parameter 'nonsense'\""),
                       ("/set parameter seed many", "Couldn't set parameter: \"invalid int value [many]\""),
                       ("/set system You are brief.", "Set system message."), ("/set wordwrap", "Set 'wordwrap' mode."),
                       ("/set nowordwrap", "Set 'nowordwrap' mode."), ("/set quiet", "Set 'quiet' mode."),
                       ("/set format json", "Set format to 'json' mode."), ("/set noformat", "Disabled format."),
                       ("/set think", "Set 'think' mode."), ("/set think high", "Set 'think' mode to 'high'."),
                       ("/set nothink", "Set 'nothink' mode."), ("/set think deep", "is no level"),
                       ("/set nonsense", "Unknown command '/set nonsense'. Type /? for help"), ("/set", "/set parameter"),
                       ("/set parameter", "num_ctx")):
        assert text in c.say(line), line
    out = c.say("/show parameters")
    assert re.search(r"User defined parameters:\n  temperature +0.5\n  stop +\[\"a\",\"b\"\]", out), out
    assert re.search(r"num_predict +8", out)
    assert "You are brief." in c.say("/show system")
    assert "SYSTEM You are brief." in c.say("/show modelfile")


def test_multi_line_system(chat):
    c = chat()
    c.say('/set system """You are', mark=MORE)
    assert "Set system message." in c.say('a pirate."""')
    assert "You are\na pirate." in c.say("/show system")


def test_verbose(chat):
    c = chat()
    c.say("/set verbose")
    assert re.search(r"eval rate: +\d+\.\d\d tokens/s", c.say("hi"))
    c.say("/set quiet")
    assert "eval rate" not in c.say("hi")


def test_show(chat):
    c = chat()
    assert re.search(r"  Model\n    architecture +llama", c.say("/show info"))
    assert "FROM /" in c.say("/show modelfile")
    assert "<|im_start|>" in c.say("/show template")
    assert "No license was specified" in c.say("/show license")
    assert "No system message was specified" in c.say("/show system")
    assert "Unknown command '/show x'. Type /? for help" in c.say("/show x")
    assert "/show modelfile" in c.say("/show")


def test_save_and_load(chat, server):
    c = chat()
    c.say("/set system You are a parrot.")
    c.say("/set parameter top_k 7")
    c.say("Polly?")
    assert "Created new model 'parrot'" in c.say("/save parrot")
    assert "error: The model name 'a:b:c' is invalid" in c.say("/save a:b:c")
    assert "/save MODEL" in c.say("/save")
    c.say("/clear")
    out = c.say("/load parrot")
    assert "Loading model 'parrot'" in out
    assert ">>> Polly?" in plain(c.seen)
    status, answer = server.call("POST", "/api/show", {"model": "parrot"})
    assert answer["system"] == "You are a parrot." and re.search(r"top_k +7", answer["parameters"])
    assert "Couldn't find model 'nope'" in c.say("/load nope")
    c.say("More")
    assert c.asked() == ["Polly?", "More"]


def test_load_of_a_model_that_cannot_chat(chat, server):
    if server.call("POST", "/api/show", {"model": "all-minilm"})[0] != 200:
        pytest.skip("no embedding model")
    c = chat()
    assert "embedding model" in c.say("/load all-minilm")
    c.say("still here")
    assert c.asked() == ["still here"]


def test_help_and_list(chat):
    c = chat()
    for line, text in (("/?", "/load MODEL"), ("/help", "/? shortcuts"), ("/? set", "/set nothink"), ("/? /show", "/show template"),
                       ("/? shortcuts", "Ctrl + j"), ("/? set parameter", "repeat_penalty"), ("/list", "talker:latest"),
                       ("/nonsense x", "Unknown command '/nonsense'. Type /? for help")):
        assert text in c.say(line), line
    assert c.leave("/exit" + ENTER) == 0


def test_images_are_refused(chat, tmp_path):
    picture = tmp_path / "my cat.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    c = chat()
    for line in ("What is on %s ?" % picture, str(picture).replace(" ", "\\ "), "look at /etc/hosts and %s" % picture):
        out = c.say(line)
        assert "Images are not supported yet" in out and "my cat.png'" in out.replace("\n", ""), out
    c.say("There is no /nowhere/x.png")
    assert c.asked() == ["There is no /nowhere/x.png"]


def test_editor(chat, tmp_path):
    script = tmp_path / "edit"
    script.write_text("#!/bin/sh\nprintf ' and\\nmore\\n' >> \"$2\"\n")
    script.chmod(0o755)
    c = chat(env={"OLLAMA_EDITOR": "%s -w" % script})
    c.p.send("start\x07")
    time.sleep(0.5)
    c.say("")
    assert c.asked() == ["start and\nmore"]


def test_clear_screen(chat):
    c = chat()
    c.p.send("kept" + CTRL_L)
    c.p.expect_exact("kept")
    c.p.expect_exact("\x1b[2J")
    c.say(" line")
    assert c.asked() == ["kept line"]


def test_dumb_terminal_gets_no_escape_codes(chat):
    c = chat(env={"TERM": "dumb"})
    c.say("/? set")
    c.say("hello")
    assert "\x1b" not in c.seen.split(">>> ", 1)[1] and "/set nothink" in c.seen
    c.leave()


def test_blank_lines_are_not_sent(chat):
    c = chat()
    c.say("")
    c.say("   ")
    c.say("x")
    assert c.asked() == ["x"]


def test_server_that_went_away(chat, fresh, tmp_path):
    s = fresh()
    c = Chat(s, tmp_path, model="smollm2")
    s.stop()
    assert "cria serve" in c.say("anybody?")
    s.start()
    c.say("/set parameter num_predict 2")
    c.say("hello")
    assert c.asked() == ["hello"]
    assert c.leave() == 0


def test_model_that_is_missing(server, tmp_path):
    p = pexpect.spawn(CRIA, ["run", "nope"], env=dict(server.env, TERM="xterm"), encoding="utf-8", timeout=30)
    p.expect_exact("Error: pull model manifest: ")  # run pulls what is missing
    p.expect(pexpect.EOF)
    p.close()
    assert p.exitstatus == 1
