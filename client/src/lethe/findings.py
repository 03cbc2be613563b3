"""What a check has shown, and what it has not."""

from dataclasses import dataclass, field


class NotVerified(Exception):
    """The file is not what was signed; the sentence says what is wrong with it."""


@dataclass
class Findings:
    """Sentences for a person. Nothing is a finding before its check has passed."""

    title: str
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = [self.title, "", "Proven:"]
        lines += [f"  + {sentence}" for sentence in self.proven]
        lines += ["", "NOT proven:"]
        lines += [f"  - {sentence}" for sentence in self.not_proven]
        return "\n".join(lines)
