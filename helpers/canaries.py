"""Twenty prompts that fail loudly when the model that answers is not the one that was shipped.

- ``record(ask, chats)``     the answers of the model that you trust, as a dict that fits in a JSON file
- ``check(ask, saved)``      ask again; one `Broken` for every canary that answers otherwise (empty: all is well)
- ``report(broken, saved)``  the broken ones in words: prompt, expected, got
- ``over_http(url)``         an `ask` for any server with an OpenAI-compatible endpoint

On a command line, with exit code 1 when a canary is broken and 2 when nothing could be asked:

    python -m helpers.canaries canaries.json --url http://127.0.0.1:8080/v1      # from the course's root
    python canaries.py canaries.json --url http://127.0.0.1:8080/v1              # a copy: the standard library is enough
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What a model said, and whether it stopped by itself (`ended`) or was cut at the limit of tokens."""

    text: str
    ended: bool = True


Ask = Callable[[list[dict]], Answer]  # a chat (list of messages) in, an Answer out


@dataclass(frozen=True)
class Broken:
    """One canary that no longer sings: the chat it was asked, what was recorded, what came, and the fault in words."""

    chat: list[dict]
    expected: Answer
    got: Answer
    why: str

    def __str__(self) -> str:
        return (
            f"{self.why}\n   prompt:   {self.chat[-1]['content']!r}\n   expected: {self.expected.text!r}\n"
            f"   got:      {self.got.text!r}"
        )


class Unreachable(RuntimeError):
    """No answer could be had from the server; the message says what to do."""


def record(ask: Ask, chats: list[list[dict]]) -> dict:
    """Ask the trusted model every chat once; ValueError where it does not end by itself: that is no canary.

    >>> saved = record(lambda chat: Answer(chat[-1]["content"].upper()), [[{"role": "user", "content": "hi"}]])
    >>> saved["canaries"][0]["answer"]
    'HI'
    """
    canaries = []
    for chat in chats:
        answer = ask(chat)
        if not answer.ended:
            raise ValueError(f"the answer to {chat[-1]['content']!r} was cut: raise the limit of tokens, or drop it")
        canaries.append({"chat": chat, "answer": answer.text})
    return {"canaries": canaries}


def check(ask: Ask, saved: dict) -> list[Broken]:
    """Ask every canary again; the broken ones, in order. An empty list is the good news.

    >>> saved = {"canaries": [{"chat": [{"role": "user", "content": "hi"}], "answer": "HI"}]}
    >>> check(lambda chat: Answer("HI"), saved)
    []
    >>> [broken.why for broken in check(lambda chat: Answer("HI and on and on", ended=False), saved)]
    ['runs on after the right answer: the end token is not obeyed']
    """
    if not saved["canaries"]:
        raise ValueError("no canary was recorded: an empty list would pass with any model")
    broken = []
    for canary in saved["canaries"]:
        expected, got = Answer(canary["answer"]), ask(canary["chat"])
        if got.ended and got.text == expected.text:
            continue
        if got.text.startswith(expected.text):
            why = "runs on after the right answer: the end token is not obeyed"
        elif not got.ended:
            why = "another answer, and it does not end"
        else:
            why = "another answer"
        broken.append(Broken(canary["chat"], expected, got, why))
    return broken


def report(broken: list[Broken], saved: dict, most: int = 3) -> str:
    """One line of verdict, then the first `most` broken canaries.

    >>> report([], {"canaries": [1, 2]})
    'all 2 canaries answer as recorded'
    """
    total = len(saved["canaries"])
    if not broken:
        return f"all {total} canaries answer as recorded"
    lines = [f"{len(broken)} of {total} canaries are BROKEN: this is not the model that was recorded"]
    lines += [f"{i}. {one}" for i, one in enumerate(broken[:most], 1)]
    if len(broken) > most:
        lines.append(f"... and {len(broken) - most} more")
    return "\n".join(lines)


def over_http(url: str, model: str = "canary", max_tokens: int = 64, timeout_s: float = 60) -> Ask:
    """An `ask` for the server at `url` (it ends in /v1): greedy, every sampling option that could blur it pinned.

    Raises Unreachable where nothing answers, or something that is no chat endpoint.
    """
    greedy = {"temperature": 0, "top_k": 1, "top_p": 1, "min_p": 0, "repeat_penalty": 1, "seed": 0}

    def ask(chat: list[dict]) -> Answer:
        body = {"model": model, "messages": chat, "max_tokens": max_tokens, **greedy}
        request = urllib.request.Request(
            url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                choice = json.load(reply)["choices"][0]
            return Answer((choice["message"]["content"] or "").strip(), choice["finish_reason"] == "stop")
        except urllib.error.HTTPError as problem:
            text = problem.read().decode(errors="replace")[:200]
            raise Unreachable(f"{url} answers {problem.code} ({text}): is it the address that ends in /v1, and is "
                              f"the model named {model!r} there (--model)?") from problem  # fmt: skip
        except (OSError, ValueError, LookupError, TypeError) as problem:
            raise Unreachable(f"{url} gave no chat answer ({problem}): start the server, or correct the address "
                              "(--url http://HOST:PORT/v1)") from problem  # fmt: skip

    return ask


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved", type=Path, help="the JSON file that record() filled")
    parser.add_argument("--url", required=True, help="of an OpenAI-compatible server, with /v1 at its end")
    parser.add_argument("--model", default="canary", help="the model's name on that server")
    parser.add_argument("--max-tokens", type=int, default=64)
    args = parser.parse_args(arguments)
    try:
        saved = json.loads(args.saved.read_text(encoding="utf-8"))
        broken = check(over_http(args.url, args.model, args.max_tokens), saved)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"cannot read canaries from {args.saved}: {problem!r}", file=sys.stderr)
        return 2
    except Unreachable as problem:
        print(problem, file=sys.stderr)
        return 2
    print(report(broken, saved), file=sys.stderr if broken else sys.stdout)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
