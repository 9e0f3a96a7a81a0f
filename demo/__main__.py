"""``python -m demo [--once]``: tell the story, then keep everything running; ``--once`` ends after it."""

from __future__ import annotations

import argparse
import signal
import sys

import httpx

from demo.errors import NotObservedError, StageError
from demo.invitation import invite
from demo.stage import Stage, running_stage
from demo.story import Story
from demo.timeline import Timeline

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Give 0 when each step was observed, 1 when one was not, 2 when something did not start or ended by itself."""
    parser = argparse.ArgumentParser(prog="./dev demo", description="See Keysteward do its first job, on real input.")
    parser.add_argument("--once", action="store_true", help="end after the story; exit code 0 only if all was observed")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    timeline = Timeline(sys.stdout)
    timeline.title(
        "Keysteward keeps Atlas's customer-managed keys in Azure Key Vault rotated.",
        "Starting Azurite (storage), a simulated Atlas and Azure, and the real app in a local Functions host ..",
    )
    told = False
    try:
        with running_stage() as stage:
            if not _told(stage, timeline):
                return 1
            told = True
            if not options.once:
                invite(timeline, stage)
                stage.run_on()
    except StageError as error:
        timeline.failure("The demo cannot go on", str(error))
        return 2
    except KeyboardInterrupt:
        timeline.heading("Ended; nothing is left running.")
        return 0 if told else _INTERRUPTED
    return 0


def _told(stage: Stage, timeline: Timeline) -> bool:
    story = Story(stage, timeline)
    try:
        story.tell()
    except (NotObservedError, httpx.HTTPError) as error:
        stage.check()
        seen = "".join(f"  ok       {step}: {evidence}\n" for step, evidence in story.observed)
        logs = "".join(f"Last log lines of {child.name}:\n{child.log_tail()}" for child in stage.children)
        timeline.failure("Not observed", f"{seen}  missing  {error}\n{logs}")
        return False
    timeline.summary(story.observed)
    return True


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
