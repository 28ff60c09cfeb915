"""The timeline of a sandbox or container, for the verbose part of its status."""

from podwright.core.runtime import Runtime


def timeline(runtime: Runtime, object_id: str) -> list[dict[str, object]]:
    """The stages of its life that are over, in the order in which they began; times are nanoseconds since the epoch."""
    stages = sorted(runtime.timeline.of(object_id), key=lambda stage: stage.started_at)
    return [
        {"stage": stage.name, "startedAt": stage.started_at, "seconds": round(stage.seconds, 6), "error": stage.error}
        for stage in stages
    ]
