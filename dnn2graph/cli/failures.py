"""How a command ends when it cannot do what it was asked: one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from ..errors import Dnn2graphError, UnsupportedOperation

BAD_INPUT = 2
INTERRUPTED = 130  # as a shell reports Ctrl-C
NO_READER = 141  # and a pipe that was closed

DEBUG = "dnn2graph.debug"

Command = TypeVar("Command", bound=Callable[..., Any])


def debug_option(command: Command) -> Command:
    """Add ``--debug``, which is accepted before and after the name of a command."""

    def remember(context: click.Context, option: click.Parameter, value: bool) -> None:
        if value:
            context.meta[DEBUG] = True

    option = click.option("--debug", is_flag=True, expose_value=False, callback=remember, help="Show tracebacks.")
    return option(command)


class Commands(click.Group):
    """A group whose commands turn errors into one line, and are silent when interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows here, not at exit
            return result
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _drop_output()
            ctx.exit(NO_READER)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Dnn2graphError as error:
            _fail(ctx, _message(error))
        except (OSError, MemoryError) as error:
            _fail(ctx, f"{type(error).__name__}: {error}")
        except Exception as error:
            fault = f"this is a fault of dnn2graph, not of your input ({type(error).__name__}: {error})"
            _fail(ctx, f"{fault}: run it again with --debug and report what it shows")


def _fail(ctx: click.Context, message: str) -> NoReturn:
    """End with a message, and with the traceback of the exception at hand if that is wanted."""
    if ctx.meta.get(DEBUG):
        traceback.print_exc()
    click.echo(f"dnn2graph: {message}", err=True)
    ctx.exit(BAD_INPUT)


def _message(error: Dnn2graphError) -> str:
    """Write an error in one line; unsupported operations have one each."""
    lines = str(error).splitlines() if isinstance(error, UnsupportedOperation) else [" ".join(str(error).split())]
    return "\n".join(printable(line) for line in lines)


def printable(text: str) -> str:
    """Show control characters instead of sending them to the terminal: names come from files."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _drop_output() -> None:
    """Let what is still buffered go nowhere: Python would complain when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
