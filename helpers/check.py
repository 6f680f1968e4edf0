"""Self-checks: predictions before a run, exercises after it.

- ``prediction(guess, right)``   compare a guess with what was then measured; a missing guess is fine
- ``try_exercise(...)``          one word of verdict and a hint, never a traceback for the reader
"""

from __future__ import annotations


def prediction(guess, right: str, because: str = "") -> None:
    """Say whether the guess was right. `...` (nothing entered) shows the answer without blame.

    >>> prediction("B", "C", "the count shrinks too")
    You said B. Measured: C (the count shrinks too).
    >>> prediction(..., "C")
    No guess entered. Measured: C.
    """
    tail = f" ({because})." if because else "."
    if guess is ...:
        print(f"No guess entered. Measured: {right}{tail}")
    elif str(guess).strip().upper() == right.upper():
        print(f"Right: {right}{tail}")
    else:
        print(f"You said {guess}. Measured: {right}{tail}")


def try_exercise(name: str, function, test, hint: str) -> None:
    """Run the reader's `function` through `test` (returns True when right); a stub that returns `...` is not an error.

    >>> try_exercise("2", lambda x: ..., lambda f: f(2) == 4, "square it")
    Exercise 2: not started. Replace the ... and run this cell again.
    >>> try_exercise("2", lambda x: x * x, lambda f: f(2) == 4, "square it")
    Exercise 2: solved.
    """
    started = True

    def watched(*args, **kwargs):
        nonlocal started
        result = function(*args, **kwargs)
        if result is ...:
            started = False
        return result

    try:
        passed = bool(test(watched))
    except Exception as fault:  # the reader's code may do anything; say it in one line
        passed, hint = False, f"{hint} (your code raised {type(fault).__name__}: {fault})" if started else hint
    if not started:
        print(f"Exercise {name}: not started. Replace the ... and run this cell again.")
    elif passed:
        print(f"Exercise {name}: solved.")
    else:
        print(f"Exercise {name}: not yet. Hint: {hint}")
