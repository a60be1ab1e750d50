"""``notelog tail``: follows a service on the terminal, or into a pipe as a JSON object a line."""

import asyncio
import os
import sys
from urllib.parse import urlsplit

import click

from service.settings import WrongSetting
from service.terminal.output import EXIT_DOES_NOT_HOLD


def _http_url(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Another one would be tried again for ever."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in value
        (parts.hostname or "").encode("idna")
    except ValueError:  # no port, no address, no name
        good = False
    if not good:
        raise click.BadParameter(f"expected a URL like http://127.0.0.1:8080, got {value!r}")
    return value


@click.command("tail")
@click.option(
    "--url",
    envvar="NOTELOG_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    callback=_http_url,
    help="The service.",
)
@click.option(
    "--after", type=click.IntRange(min=0), help="Begin after this position; 0: with all. Default: what is new."
)
@click.option(
    "--feed", type=click.Choice(["events", "notes"]), default="events", show_default=True, help="What to follow."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, which is also what a pipe gets.")
def tail_command(url: str, after: int | None, feed: str, as_json: bool) -> None:
    """Follow a service: what happens, as it happens, without holes or repeats over all breaks.

    Ctrl-C ends it with 0. The token, where one is needed, is read from NOTELOG_TOKEN.
    """
    from service.client.errors import ClientError, Forbidden, Unauthorized  # late: other commands need no client
    from service.terminal.following import follow, remark

    try:
        asyncio.run(follow(url, os.environ.get("NOTELOG_TOKEN"), feed, after, as_json))
    except KeyboardInterrupt:
        pass  # Ctrl-C: that is how it is meant to end
    except BrokenPipeError:
        # What is still in the buffer must not be tried again at the exit (docs.python.org/3/library/signal.html).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Unauthorized, Forbidden) as error:
        raise WrongSetting(f"NOTELOG_TOKEN: {error}") from None
    except ClientError as error:
        remark(str(error))
        sys.exit(EXIT_DOES_NOT_HOLD)
