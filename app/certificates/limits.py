"""What a certificate does not prove, in plain words. It is part of what is signed."""

from collections.abc import Iterable
from typing import Any

MEASURABLE = 50  # instances; below, figures are those of the batch (the engine's report says which)

ALWAYS = (
    "That copies which left the service are gone: earlier versions that somebody downloaded, predictions "
    "that were made with them, other copies of the training data.",
    "That the rows were deleted at their source. They are the controller's to delete.",
    "Who the persons are. Instances are named by keyed hashes; only the holder of the key can tell whose "
    "they are.",
    "Anything about later versions of the model. Each has measurements of its own.",
)
EMPIRICAL = (
    "That no trace of the forgotten supervision is left in the model. It was unlearned and measured, "
    "and measurements do not rule out what they do not see; only training anew without it does (guarantee "
    "exact).",
    "That a stronger attack finds nothing. Membership was tested by comparing losses; an attack with more "
    "knowledge, or with two versions of the model side by side, may see more.",
)
EXACT = (
    "That the training was carried out as recorded, beyond the service's word for it. Seed, recipe, code "
    "version and the digests of the data are stated, so that it can be repeated.",
)
OLD_VERSIONS = (
    "That earlier versions of the model, which still remember, are gone from the service. They are withdrawn "
    "and deleted by the clock of the model's policy, unless it has none, or a legal hold keeps them; a "
    "disposal statement says so once they are."
)
NOTHING_LEFT = (
    "Anything new about the model: the request found nothing left to forget. What is known about the "
    "deletions before it is in the certificates of the requests that caused them."
)


def of_unlearning(
    outcome: str, guarantee: str | None, own: Iterable[dict[str, Any]], gone: int, never_had: int
) -> list[str]:
    """`own`: the report's entries about this request, one per task. `gone`: instances that were no longer in
    the data. `never_had`: those of the request on the data set that are no part of this one."""
    others = [
        f"Anything about {never_had} more instances that the request on the data set named. None of the "
        "snapshots that this model learned from had them; models that learned from others have certificates "
        "of their own."
    ][: bool(never_had)]
    if outcome == "nothing_left":
        return [NOTHING_LEFT, *others, OLD_VERSIONS, *ALWAYS]
    small = [
        f"What became of these {entry['instances']} instances alone, for the task {entry['task']}: so few "
        f"cannot be measured by themselves. The figures are those of the {entry['measured_on']} that were "
        "forgotten together."
        for entry in own
        if entry.get("forget") is None
    ]
    if gone:
        small.append(
            f"How the model answers to {gone} of these instances: they were deleted at the source before "
            "this version was made, so that nothing could be measured on them. The version was trained anew, "
            "on data that does not have them."
        )
    return [*(EXACT if guarantee == "exact" else EMPIRICAL), *small, *others, OLD_VERSIONS, *ALWAYS]


def of_parts(not_done: int) -> list[str]:
    """Of a request on a data set. `not_done`: parts that failed or were taken back."""
    return [
        "That these are all models that ever learned from the data: it names those that the service has, on "
        "every snapshot of the data that was registered as one, when it was issued.",
        *[
            "That anything was forgotten in the parts that failed or were taken back: nothing was. There are "
            f"{not_done} of them."
        ][: bool(not_done)],
    ]


def of_disposal(erased: bool) -> list[str]:
    if erased:
        return [
            "That copies which left the service in the clear are gone: versions that somebody downloaded.",
            "That nobody kept a copy of the destroyed keys. The service keeps each in one place, outside of "
            "all backups; the operator answers for that place.",
            "That a destroyed key cannot be recovered from the disk that it lay on. Each was wrapped by the "
            "operator's master key, without which it opens nothing.",
        ]
    return [
        "That copies which left the service are gone: versions that somebody downloaded, and backups of the "
        "storage that the operator keeps.",
        "That the bytes cannot be recovered from the disks that they lay on. Deleting is not overwriting.",
    ]
