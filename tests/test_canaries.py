"""The canaries against a small server: a good one, three faults, and none at all."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from notebook_cells import ROOT

from helpers import canaries
from helpers.canaries import Answer

CHATS = [[{"role": "user", "content": f"ticket {n}"}] for n in range(20)]


def tuned(chat):
    return Answer(f'{{"order":"{chat[-1]["content"][7:]}"}}')


def untuned(chat):  # an adapter that does nothing
    return Answer("I'm glad to help you with that!")


def without_format(chat):  # the prompt sent raw: the model goes on with the ticket
    return Answer(f"{chat[-1]['content']} is one of many, and", ended=False)


def without_end(chat):
    return Answer(tuned(chat).text + "<|im_end|>\n" + tuned(chat).text, ended=False)


FAULTS = {"another answer": untuned, "does not end": without_format, "end token": without_end}


@pytest.fixture
def serve():
    """A function that puts `ask` behind an OpenAI-compatible address."""
    servers = []

    def start(ask, status=200, text=None):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert asked["temperature"] == 0 and self.path == "/v1/chat/completions"
                answer = ask(asked["messages"])
                choice = {
                    "message": {"content": answer.text},
                    "finish_reason": "stop" if answer.ended else "length",
                }
                self.send_response(status)
                self.end_headers()
                self.wfile.write((text or json.dumps({"choices": [choice]})).encode())

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def saved_file(tmp_path):
    path = tmp_path / "canaries.json"
    path.write_text(json.dumps(canaries.record(tuned, CHATS)), encoding="utf-8")
    return path


def test_the_good_model_passes(serve, saved_file, capsys):
    assert canaries.main([str(saved_file), "--url", serve(tuned)]) == 0
    assert "all 20 canaries answer as recorded" in capsys.readouterr().out


@pytest.mark.parametrize("word", FAULTS)
def test_each_fault_is_caught_and_named(serve, saved_file, capsys, word):
    assert canaries.main([str(saved_file), "--url", serve(FAULTS[word])]) == 1
    said = capsys.readouterr().err
    assert "20 of 20 canaries are BROKEN" in said and word in said
    assert "'ticket 0'" in said and tuned(CHATS[0]).text in said and FAULTS[word](CHATS[0]).text[:20] in said
    assert "... and 17 more" in said


def test_one_broken_canary_is_enough(saved_file):
    def one_off(chat):
        return untuned(chat) if chat == CHATS[7] else tuned(chat)

    broken = canaries.check(one_off, json.loads(saved_file.read_text()))
    assert [b.chat for b in broken] == [CHATS[7]]


def test_nobody_there_is_one_clear_error(saved_file):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    command = [sys.executable, "-m", "helpers.canaries", str(saved_file), "--url", url]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1 and "start the server" in run.stderr and url in run.stderr


def test_the_file_runs_where_there_is_no_course(serve, saved_file, tmp_path):
    shutil.copy(canaries.__file__, tmp_path)
    command = [sys.executable, "-I", "canaries.py", saved_file.name, "--url", serve(tuned)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and "all 20 canaries answer as recorded" in run.stdout


@pytest.mark.parametrize("status, text", [(404, "no such path"), (200, "<html>"), (200, "{}"), (200, "[]")])
def test_something_else_answers(serve, saved_file, capsys, status, text):
    assert canaries.main([str(saved_file), "--url", serve(tuned, status, text)]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1 and "/v1" in said


@pytest.mark.parametrize("content", [None, "no JSON", "{}", "[]", '{"canaries": []}'])
def test_a_bad_file_is_one_clear_error(tmp_path, capsys, content):
    path = tmp_path / "saved.json"
    if content is not None:
        path.write_text(content)
    assert canaries.main([str(path), "--url", "http://127.0.0.1:9/v1"]) == 2
    assert "cannot read canaries from" in capsys.readouterr().err


def test_an_answer_that_was_cut_is_no_canary():
    with pytest.raises(ValueError, match="was cut"):
        canaries.record(without_end, CHATS)
