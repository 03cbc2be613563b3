"""Deletion requests, posted until they are accepted, and some of them taken back; now and then a model."""

import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.journey import GaveUp, Subject, instance, register_model
from tests.worker.tiny import TRAIN, Tiny

PAUSE = (0.05, 0.4)
SHARE_TAKEN_BACK = 0.12
REGULATIONS = (None, None, "gdpr", "ccpa")


@dataclass
class Accepted:
    """What clients were promised: the ids of requests that were answered with 202 or 200."""

    requests: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Stream:
    """Posts from a thread of its own while it is not paused. `victim` is a model that it leaves alone."""

    def __init__(
        self, subjects: Sequence[Subject], victim: Subject, tiny: Tiny, random: random.Random
    ) -> None:
        self.victim = victim
        self.accepted = Accepted()
        self.failure: str | None = None
        self._subjects = list(subjects)
        self._tiny = tiny
        self._random = random
        self._victims = 0
        self._next = dict.fromkeys((subject.name for subject in subjects), 0)
        self._flowing = threading.Event()
        self._ended = threading.Event()
        self._more_models = threading.Event()
        self._threads = [
            threading.Thread(target=self._post_on, name="stream", daemon=True),
            threading.Thread(target=self._register_on, name="registrar", daemon=True),
        ]

    def start(self) -> None:
        self._flowing.set()
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def post_one_more(self) -> None:
        """From the caller's thread: return when it is accepted."""
        self._post(self._subjects[0], [instance(self._random.randrange(TRAIN))], "all", None)

    def another_victim(self) -> str:
        """An instance of the victim's that was not deleted yet."""
        self._victims += 1
        return instance(self._victims)

    def register_another(self) -> None:
        """Have one more model registered now."""
        self._more_models.set()

    def stop(self) -> None:
        """Wait for the answers that are outstanding."""
        self._ended.set()
        self._flowing.set()
        self._more_models.set()
        for thread in self._threads:
            thread.join()

    def _post_on(self) -> None:
        try:
            while not self._ended.is_set():
                self._flowing.wait()
                self._post_one()
                time.sleep(self._random.uniform(*PAUSE))
        except GaveUp as gave_up:
            self.failure = str(gave_up)

    def _post_one(self) -> None:
        subject = self._random.choice(self._subjects)
        count = self._random.choice((1, 1, 2, 3))
        first = self._next[subject.name]
        self._next[subject.name] += count
        named = sorted({instance(first + number) for number in range(count)})
        tasks = self._random.choice(["all", ["colour"]])
        request = self._post(subject, named, tasks, self._random.choice(REGULATIONS))
        if request is not None and self._random.random() < SHARE_TAKEN_BACK:
            time.sleep(self._random.uniform(0.0, 0.6))
            subject.caller.call("POST", f"/v1/deletion-requests/{request}/cancel")

    def _post(
        self, subject: Subject, instances: list[str], tasks: str | list[str], regulation: str | None
    ) -> str | None:
        """The id of the request once it is accepted. The key makes sure that it is only once."""
        body: dict[str, Any] = {"model": subject.name, "instances": instances, "tasks": tasks}
        body |= {"regulation": regulation} if regulation else {}
        key = {"Idempotency-Key": str(uuid.UUID(int=self._random.getrandbits(128), version=4))}
        answer = subject.caller.call("POST", "/v1/deletion-requests", json=body, headers=key)
        if answer.status_code not in (200, 202):
            self.accepted.refused.append(answer.json().get("code", answer.text))
            return None
        request: str = answer.json()["id"]
        self.accepted.requests.append(request)
        return request

    def _register_on(self) -> None:
        """Uploads and validations are part of the journey too."""
        number = 0
        try:
            while self._more_models.wait() and not self._ended.is_set():
                self._more_models.clear()
                number += 1
                like = self._subjects[0]
                name = f"extra-{number}"
                register_model(like.caller, name, "data", like.method, self._tiny)
                self.accepted.models.append(name)
        except GaveUp as gave_up:
            self.failure = str(gave_up)
